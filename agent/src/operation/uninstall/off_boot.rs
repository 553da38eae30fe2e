//! What lastgood has off `$BOOT`, and gives back with it: the link farm in `/etc`, links in `/run`, and roots for Nix's
//! garbage collector. The roots go last, and those of closures that an entry still starts stay: until then nothing that
//! is read may be collected.

use std::path::{Path, PathBuf};

use boot_entries::observe::BootFiles;
use boot_entries::{durable, nixpkgs};

use crate::activation;
use crate::activation::etc::give_back::{self, GiveBack};
use crate::error::Error;
use crate::host::{self, BOOTED_SYSTEM, CURRENT_SYSTEM, GC_ROOTS, Kind};
use crate::store::gc_roots::{self, Change};
use crate::view::View;

/// What is to be given back.
#[derive(Debug, Default)]
pub struct OffBoot {
    /// The host is a NixOS one: `/etc` and `/run` are its own.
    pub is_nixos: bool,
    /// The links of our farm. None: there is none.
    etc: Option<Vec<GiveBack>>,
    /// Links that go.
    links: Vec<PathBuf>,
    roots: Vec<Change>,
}

impl OffBoot {
    /// What there is, if `left` is what stays in each place. None: not everywhere can that be told, and no root goes.
    ///
    /// # Errors
    /// When something is there and cannot be read.
    pub(super) fn look(view: &View, left: Option<&[BootFiles]>) -> Result<Self, Error> {
        let root = &view.root;
        let is_nixos = host::kind(root)? == Kind::NixOs;
        let generations = view.generations();
        let etc = (!is_nixos).then(|| give_back::look(root, &generations));
        let etc = etc
            .transpose()
            .map_err(|problem| incomplete(vec![problem]))?;
        let is_ours = |link: &Path| {
            let leads = std::fs::read_link(root.join(link));
            leads.is_ok_and(|leads| generations.iter().any(|one| one.toplevel == leads))
        };
        let mut links = Vec::new();
        for link in [BOOTED_SYSTEM, CURRENT_SYSTEM] {
            let kept = PathBuf::from(link.replace("/run", GC_ROOTS));
            let is_kept =
                std::fs::read_link(root.join(&kept)).is_ok_and(|to| to == Path::new(link));
            let link = PathBuf::from(link);
            let is_gone = root.join(&link).symlink_metadata().is_err();
            let is_ours = is_ours(&link);
            links.extend((is_kept && (is_ours || is_gone)).then_some(kept));
            links.extend(is_ours.then_some(link));
        }
        let roots = left.map(|left| {
            let entries = left.iter().flat_map(BootFiles::all);
            let started = entries.filter_map(|(_, file)| nixpkgs::init_of(&file.entry));
            let is_unlisted =
                |closure: &PathBuf| !view.listed.iter().any(|one| one.toplevel == *closure);
            gc_roots::releases(root, &started.filter(is_unlisted).collect())
        });
        Ok(Self {
            is_nixos,
            etc: etc.flatten(),
            links: if is_nixos { Vec::new() } else { links },
            roots: roots.transpose()?.unwrap_or_default(),
        })
    }

    /// Every change, a line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let etc = self.etc.iter().flatten().map(ToString::to_string);
        let farm = self.etc.iter().map(|_| "remove /etc/static".to_owned());
        let links = self
            .links
            .iter()
            .map(|link| format!("remove {}", link.display()));
        let roots = self.roots.iter().map(ToString::to_string);
        etc.chain(farm).chain(links).chain(roots).collect()
    }

    /// Gives it back. What cannot be keeps the rest from going: something may still be read through it.
    ///
    /// # Errors
    /// What could not be given back.
    pub(super) fn carry_out(self, view: &View) -> Result<(), Error> {
        let root = &view.root;
        if let Some(etc) = &self.etc {
            give_back::give_back(root, etc).map_err(incomplete)?;
        }
        for link in &self.links {
            durable::remove(&root.join(link)).map_err(|error| incomplete(vec![error.into()]))?;
        }
        Ok(gc_roots::make(root, self.roots)?)
    }
}

fn incomplete(problems: Vec<activation::etc::Problem>) -> Error {
    let problems = problems.into_iter().map(activation::Problem::File);
    activation::Error::Incomplete(problems.collect()).into()
}
