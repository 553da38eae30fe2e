//! The closures the rig boots: real store paths in NixOS's layout, built by real Nix inside the guest's own root, so
//! that the store and its database are the guest's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::base::Base;
use crate::initrd::Parts;
use crate::{command, files, paths};

/// A closure by what is right or wrong with it. What each holds is in `tests/guest/closures.nix`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Good: generation 1 of every image.
    One,
    /// Good, with another page.
    Two,
    /// A misspelt word in `nginx.conf`: the unit that is required fails.
    BadNginx,
    /// Its initrd gives up: the kernel panics before any root is mounted.
    Panic,
    /// Good, with yet another page.
    Four,
}

impl Variant {
    /// Every variant.
    pub const ALL: [Self; 5] = [
        Self::One,
        Self::Two,
        Self::BadNginx,
        Self::Panic,
        Self::Four,
    ];

    /// Its attribute in `closures.nix`, and the word on its page.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Two => "two",
            Self::BadNginx => "bad-nginx",
            Self::Panic => "panic",
            Self::Four => "four",
        }
    }

    /// What its page says.
    #[must_use]
    pub fn page(self) -> String {
        format!("generation {}", self.name())
    }
}

/// The store path of every variant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Closures(BTreeMap<String, PathBuf>);

impl Closures {
    /// The toplevel of `variant`, as the guest sees it.
    ///
    /// # Errors
    /// When it was not built.
    pub fn toplevel(&self, variant: Variant) -> Result<&Path> {
        let path = self
            .0
            .get(variant.name())
            .with_context(|| format!("no closure {}", variant.name()))?;
        Ok(path)
    }

    /// Reads what [`build`] left at `path`.
    ///
    /// # Errors
    /// When it is not there or not ours.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(serde_json::from_str(&text)?)
    }
}

/// Builds every variant in the store of `root`, makes the first one generation 1 of the system profile, and writes the
/// list to `list`. Only generation 1 has a root: `nix-collect-garbage` in the guest removes what was not installed.
///
/// # Errors
/// When Nix or a tool says no.
pub fn build(base: &Base, root: &Path, list: &Path) -> Result<()> {
    let work = root.join("rig");
    let release = base.kernel_release()?;
    payload(base, root, &work.join("payload"), &release)?;
    let files_of_guest = paths::guest_files();
    fs::copy(
        files_of_guest.join("closures.nix"),
        work.join("closures.nix"),
    )?;
    fs::create_dir(work.join("closure"))?;
    files::overlay(&files_of_guest.join("closure"), &work.join("closure"))?;

    let mut toplevels = BTreeMap::new();
    for variant in Variant::ALL {
        let mut nix = command::inside(root, "nix-build", ["/rig/closures.nix", "--no-out-link"]);
        nix.args([
            "--attr",
            variant.name(),
            "--arg",
            "payload",
            "/rig/payload",
            "--argstr",
            "version",
            &release,
        ]);
        let path = PathBuf::from(command::output(&mut nix)?.trim());
        ensure!(
            path.starts_with("/nix/store"),
            "nix-build printed {} for {}",
            path.display(),
            variant.name()
        );
        toplevels.insert(variant.name().to_owned(), path);
    }
    let closures = Closures(toplevels);
    let first = closures.toplevel(Variant::One)?;
    let profile = ["--profile", "/nix/var/nix/profiles/system", "--set"].map(AsRef::as_ref);
    command::output(&mut command::inside(
        root,
        "nix-env",
        profile.into_iter().chain([first.as_os_str()]),
    ))?;
    // Links of the builds above into a /tmp that is gone.
    for root in files::sorted_entries(&root.join("nix/var/nix/gcroots/auto"))? {
        files::remove(&root)?;
    }
    files::write(list, serde_json::to_string_pretty(&closures)?)?;
    files::remove(&work)
}

/// The kernel and both initrds, each in a directory named as its store path will be.
fn payload(base: &Base, root: &Path, payload: &Path, release: &str) -> Result<()> {
    let kernel = payload.join(format!("linux-{release}"));
    fs::create_dir_all(&kernel)?;
    fs::copy(
        base.kernel().join(format!("boot/vmlinuz-{release}")),
        kernel.join("bzImage"),
    )?;
    let guest = paths::guest_files().join("initrd");
    let modules = files::list(&guest.join("modules"))?;
    for (init, name) in [("init", "initrd"), ("init-panic", "initrd-panic")] {
        let dir = payload.join(format!("{name}-linux-{release}"));
        fs::create_dir_all(&dir)?;
        let parts = Parts {
            kernel: &base.kernel(),
            release,
            busybox: &root.join("usr/bin/busybox"),
            init: &guest.join(init),
            modules: &modules,
        };
        parts.write(&payload.join("scratch"), &dir.join("initrd"))?;
    }
    Ok(())
}
