//! What it takes to boot a closure, or why it cannot be booted.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::bootspec::{self, Bootspec, Document};
use crate::payload::{self, Content, Kind};
use crate::{Root, kernel};

/// A file an entry points at, in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Where it is, as a path of this process.
    pub source: PathBuf,
    /// Its bytes.
    pub content: Content,
    /// What for.
    pub kind: Kind,
}

impl Payload {
    /// Where it goes, on `$BOOT`.
    #[must_use]
    pub fn path(&self) -> String {
        let name = payload::file_name(&self.content, self.kind);
        format!("{}/{name}", payload::DIRECTORY)
    }
}

/// What it takes to boot a closure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootable {
    /// bootspec's label.
    pub label: String,
    /// The kernel's command line.
    pub options: String,
    /// The kernel.
    pub kernel: Payload,
    /// The initrd.
    pub initrd: Option<Payload>,
}

/// A closure that has everything a boot needs, its files not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// What it says about itself.
    pub spec: Bootspec,
    /// The names of its specialisations.
    pub specialisations: Vec<String>,
    kernel: PathBuf,
    initrd: Option<PathBuf>,
}

/// Looks at the closure `toplevel` without reading its kernel and initrd whole.
///
/// # Errors
/// Why it cannot be booted: what, where, why, in one line.
pub fn examine(root: &Root, toplevel: &Path) -> Result<Examined, String> {
    let path = toplevel.join(bootspec::FILE);
    let said = |error: &dyn Display| format!("{}: {error}", path.display());
    let here = root.resolve(&path).map_err(|error| said(&error))?;
    let text = std::fs::read_to_string(here).map_err(|error| said(&error))?;
    let document = Document::parse(&text).map_err(|mistake| said(&mistake))?;
    let spec = document.bootspec;
    if spec.initrd_secrets.is_some() {
        return Err(said(
            &"initrd secrets (initrdSecrets) are not supported yet",
        ));
    }
    // The running closure is known by its `init=`: an entry for another one would be taken for it.
    if spec.init.parent() != Some(toplevel) {
        let init = spec.init.display();
        return Err(said(&format!("init is {init}, outside this closure")));
    }
    let file = |path: &Path| {
        let said = |error| format!("cannot read {}: {error}", path.display());
        let here = root.resolve(path).map_err(said)?;
        match std::fs::metadata(&here).map_err(said)? {
            found if !found.is_file() => Err(format!("{} is no file", path.display())),
            found if found.len() == 0 => Err(format!("{} is empty", path.display())),
            _ => Ok(here),
        }
    };
    let kernel = file(&spec.kernel)?;
    kernel::check(&kernel).map_err(|no| format!("{} {no}", spec.kernel.display()))?;
    let initrd = spec.initrd.as_deref().map(file).transpose()?;
    Ok(Examined {
        spec,
        specialisations: document.specialisations.into_keys().collect(),
        kernel,
        initrd,
    })
}

/// Reads closures; a file that several of them share is hashed once.
pub(crate) struct Closures<'a> {
    root: &'a Root,
    contents: BTreeMap<PathBuf, Content>,
}

impl<'a> Closures<'a> {
    pub(crate) fn new(root: &'a Root) -> Self {
        Self {
            root,
            contents: BTreeMap::new(),
        }
    }

    pub(crate) fn bootable(&mut self, toplevel: &Path) -> Result<Bootable, String> {
        let examined = examine(self.root, toplevel)?;
        let kernel = self.payload(examined.kernel, Kind::Kernel)?;
        let initrd = examined
            .initrd
            .map(|source| self.payload(source, Kind::Initrd));
        let mut options = format!("init={}", examined.spec.init.display());
        for parameter in &examined.spec.kernel_params {
            options.push(' ');
            options.push_str(parameter);
        }
        Ok(Bootable {
            label: examined.spec.label,
            options,
            kernel,
            initrd: initrd.transpose()?,
        })
    }

    fn payload(&mut self, source: PathBuf, kind: Kind) -> Result<Payload, String> {
        let content = match self.contents.get(&source) {
            Some(content) => *content,
            None => Content::of_file(&source)
                .map_err(|error| format!("cannot read {}: {error}", source.display()))?,
        };
        self.contents.insert(source.clone(), content);
        Ok(Payload {
            source,
            content,
            kind,
        })
    }
}
