//! The guest before anything of ours: Debian minbase with systemd, real nginx, real Nix, and Debian's cloud kernel.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cache::{Built, Step};
use crate::debian::Debian;
use crate::{command, files, paths};

/// Debian's kernel for virtual machines: `NVMe` and ext4 are built in, so the root needs no module.
const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";

/// The unpacked guest, as Debian ships it. Shared by every step after it: never changed in place.
pub struct Base {
    /// How it was made.
    pub built: Built,
    /// Of which release it is.
    pub debian: Debian,
}

impl Base {
    /// The root file system.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.built.dir.join("root")
    }

    /// The kernel package's tree: `boot/vmlinuz-*`, `lib/modules/*`.
    #[must_use]
    pub fn kernel(&self) -> PathBuf {
        self.built.dir.join("kernel")
    }

    /// The name of a step that makes something of it, of those for each release.
    #[must_use]
    pub(crate) fn step(&self, [twelve, thirteen]: [&'static str; 2]) -> &'static str {
        match self.debian {
            Debian::Twelve => twelve,
            Debian::Thirteen | Debian::Sid => thirteen,
        }
    }

    /// The kernel's release, e.g. `6.1.0-56-cloud-amd64`.
    ///
    /// # Errors
    /// When the kernel package is not as expected.
    pub fn kernel_release(&self) -> Result<String> {
        let modules = files::sorted_entries(&self.kernel().join("lib/modules"))?;
        let release = modules
            .first()
            .and_then(|path| path.file_name())
            .context("the kernel package has no modules")?;
        Ok(release.to_string_lossy().into_owned())
    }
}

/// Debootstraps the guest, or finds the one made before. Updates of Debian are not noticed: remove `target/rig/base-*`,
/// or `target/rig/trixie-base-*`.
///
/// # Errors
/// When the packages cannot be fetched, or it is no guest that any story is about.
pub fn build(debian: Debian) -> Result<Base> {
    let lists = ["packages", "machine-packages"].map(|list| paths::guest_files().join(list));
    let step = match debian {
        Debian::Twelve => "base",
        Debian::Thirteen => "trixie-base",
        Debian::Sid => bail!("no machine is of {}", debian.name()),
    };
    let built = Step::new(step)
        .text(KERNEL_PACKAGE)
        .text(debian.suite())
        .text(concat!(
            include_str!("base.rs"),
            include_str!("debian/unpack.rs")
        ))
        .tree(&lists[0])?
        .tree(&lists[1])?
        .get(|dir| {
            let all: Result<Vec<_>> = lists.iter().map(|list| files::list(list)).collect();
            debootstrap(debian, dir, &all?.concat())
        })?;
    debian.check(&built.dir.join("root"))?;
    Ok(Base { built, debian })
}

fn debootstrap(debian: Debian, dir: &Path, packages: &[String]) -> Result<()> {
    let root = dir.join("root");
    // The kernel is only unpacked: installing it would build an initrd with tools the guest does not need.
    let download = format!(
        r#"--customize-hook=mkdir "$1/kernel" && cd "$1/kernel" && export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" && \
apt-get download "$(apt-cache depends {KERNEL_PACKAGE} | sed -n 's/ *Depends: //p' | head -n 1)""#
    );
    debian.unpack(&root, packages, &[download])?;

    let debs = files::sorted_entries(&root.join("kernel"))?;
    let deb = debs
        .first()
        .context("the kernel package was not downloaded")?;
    let kernel = dir.join("kernel");
    command::run("dpkg", ["-x".as_ref(), deb.as_os_str(), kernel.as_os_str()])?;
    // Debian 13 has no `/lib` but the link.
    if !kernel.join("lib").try_exists()? {
        files::link("usr/lib", &kernel.join("lib"))?;
    }
    for release in files::sorted_entries(&kernel.join("lib/modules"))? {
        let release = release.file_name().unwrap_or_default();
        command::run("depmod", ["-b".as_ref(), kernel.as_os_str(), release])?;
    }
    files::remove(&root.join("kernel"))
}
