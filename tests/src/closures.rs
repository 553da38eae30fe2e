//! The closures the rig boots: real store paths in NixOS's layout, built by real Nix inside the guest's own root, so
//! that the store and its database are the guest's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::base::Base;
use crate::initrd::Parts;
use crate::initrds::{Initrd, Initrds};
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
    /// The same, and it may be left without a reboot.
    BadNginxLive,
    /// Good. Its server waits in its start where there is a pipe `/run/hold`, and says so on the console: `rig: held`.
    Held,
    /// Good, with another word on the kernel's command line.
    OtherParameters,
    /// Its initrd gives up: the kernel panics before any root is mounted.
    Panic,
    /// Good, with yet another page.
    Four,
    /// Its `fstab` has a line that cannot be mounted, and its first boot reads another one.
    LateFstab,
    /// With a stage 2, and an initrd as Debian makes it.
    Staged(Initrd, Staged),
    /// With a stage 2, and with `/nix` on a partition of its own.
    NixPartition,
    /// The same, and the initrd is not told where `/nix` is.
    NixUntold,
}

/// A closure with a stage 2. All have an `fstab`: the initrd mounts the root read-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staged {
    /// Good.
    One,
    /// Its `fstab` has a line that cannot be mounted.
    BadFstab,
    /// The same, and `nginx.conf` has a misspelt word.
    BadBoth,
}

impl Variant {
    /// Every variant.
    pub const ALL: [Self; 17] = [
        Self::One,
        Self::Two,
        Self::BadNginx,
        Self::BadNginxLive,
        Self::Held,
        Self::OtherParameters,
        Self::Panic,
        Self::Four,
        Self::LateFstab,
        Self::Staged(Initrd::InitramfsTools, Staged::One),
        Self::Staged(Initrd::InitramfsTools, Staged::BadFstab),
        Self::Staged(Initrd::InitramfsTools, Staged::BadBoth),
        Self::Staged(Initrd::Dracut, Staged::One),
        Self::Staged(Initrd::Dracut, Staged::BadFstab),
        Self::Staged(Initrd::Dracut, Staged::BadBoth),
        Self::NixPartition,
        Self::NixUntold,
    ];

    /// Its attribute in `closures.nix`.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Staged(initrd, _) => format!("{}-{}", initrd.name(), self.word()),
            _ => self.word().to_owned(),
        }
    }

    /// The word on its page.
    fn word(self) -> &'static str {
        match self {
            Self::One | Self::Staged(_, Staged::One) => "one",
            Self::Two => "two",
            Self::BadNginx => "bad-nginx",
            Self::BadNginxLive => "bad-nginx-live",
            Self::Held => "held",
            Self::OtherParameters => "other-parameters",
            Self::Panic => "panic",
            Self::Four => "four",
            Self::LateFstab => "late-fstab",
            Self::Staged(_, Staged::BadFstab) => "bad-fstab",
            Self::Staged(_, Staged::BadBoth) => "bad-both",
            Self::NixPartition => "nix-partition",
            Self::NixUntold => "nix-untold",
        }
    }

    /// What its page says.
    #[must_use]
    pub fn page(self) -> String {
        format!("generation {}", self.word())
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
            .get(&variant.name())
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
pub fn build(base: &Base, initrds: &Initrds, root: &Path, list: &Path) -> Result<()> {
    let work = root.join("rig");
    let release = base.kernel_release()?;
    payload(base, initrds, root, &work.join("payload"), &release)?;
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
            &variant.name(),
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
        toplevels.insert(variant.name(), path);
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

/// The kernel and the initrds, each in a directory named as its store path will be.
fn payload(
    base: &Base,
    initrds: &Initrds,
    root: &Path,
    payload: &Path,
    release: &str,
) -> Result<()> {
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
    for initrd in Initrd::ALL {
        let dir = payload.join(format!("initrd-{}-linux-{release}", initrd.name()));
        fs::create_dir_all(&dir)?;
        fs::copy(initrds.path(initrd), dir.join("initrd"))?;
    }
    Ok(())
}
