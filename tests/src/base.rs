//! The guest before anything of ours: Debian minbase with systemd, real nginx, real Nix, and Debian's cloud kernel.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cache::{Built, Step};
use crate::debian::Debian;
use crate::{command, files, paths};

/// What the guest is.
pub(crate) const DEBIAN: Debian = Debian::Twelve;

/// Debian's kernel for virtual machines: `NVMe` and ext4 are built in, so the root needs no module.
const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";

/// The unpacked guest, as Debian ships it. Shared by every step after it: never changed in place.
pub struct Base {
    /// How it was made.
    pub built: Built,
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

/// Debootstraps the guest, or finds the one made before. Updates of Debian are not noticed: remove `target/rig/base-*`.
///
/// # Errors
/// When the packages cannot be fetched.
pub fn build() -> Result<Base> {
    let list = paths::guest_files().join("packages");
    let built = Step::new("base")
        .text(KERNEL_PACKAGE)
        .text(concat!(
            include_str!("base.rs"),
            include_str!("debian/unpack.rs")
        ))
        .tree(&list)?
        .get(|dir| debootstrap(dir, &files::list(&list)?))?;
    Ok(Base { built })
}

fn debootstrap(dir: &Path, packages: &[String]) -> Result<()> {
    let root = dir.join("root");
    // The kernel is only unpacked: installing it would build an initrd with tools the guest does not need.
    let download = format!(
        r#"--customize-hook=mkdir "$1/kernel" && cd "$1/kernel" && export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" && \
apt-get download "$(apt-cache depends {KERNEL_PACKAGE} | sed -n 's/ *Depends: //p' | head -n 1)""#
    );
    DEBIAN.unpack(&root, packages, &[download])?;

    let debs = files::sorted_entries(&root.join("kernel"))?;
    let deb = debs
        .first()
        .context("the kernel package was not downloaded")?;
    let kernel = dir.join("kernel");
    command::run("dpkg", ["-x".as_ref(), deb.as_os_str(), kernel.as_os_str()])?;
    for release in files::sorted_entries(&kernel.join("lib/modules"))? {
        let release = release.file_name().unwrap_or_default();
        command::run("depmod", ["-b".as_ref(), kernel.as_os_str(), release])?;
    }
    files::remove(&root.join("kernel"))
}
