//! The whole image: the guest, the agent and its units, systemd-boot, and the entries `lastgood install` writes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::base::{self, Base};
use crate::cache::{Built, Step};
use crate::closures::{Closures, Staged, Variant};
use crate::debian::Debian;
use crate::guest::{self, Guest};
use crate::initrds::{self, Initrd};
use crate::{command, disk, esp, files, program, units};

/// What kind of machine an image is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The rig's own initrd mounts the root, and starts systemd.
    Quick,
    /// An initrd as Debian makes it mounts the root read-only, and starts a stage 2; what is mounted otherwise is the
    /// closure's to say. With dracut `/nix` is on a partition of its own.
    Staged(Initrd),
    /// The same with initramfs-tools, and with `/nix` on a partition of its own.
    NixPartition,
}

impl Kind {
    /// The closure that is generation 1.
    fn first(self) -> Variant {
        match self {
            Self::Quick => Variant::One,
            Self::Staged(initrd) => Variant::Staged(initrd, Staged::One),
            Self::NixPartition => Variant::NixPartition,
        }
    }

    fn has_nix_partition(self) -> bool {
        matches!(self, Self::Staged(Initrd::Dracut) | Self::NixPartition)
    }

    /// Of different lengths or letters, so that none is the beginning of another.
    fn steps(self) -> [&'static str; 2] {
        match self {
            Self::Quick => ["image", "trixie-image"],
            Self::Staged(Initrd::InitramfsTools) => {
                ["initramfs-tools-image", "trixie-initramfs-tools-image"]
            }
            Self::Staged(Initrd::Dracut) => ["dracut-image", "trixie-dracut-image"],
            Self::NixPartition => ["nix-partition-image", "trixie-nix-partition-image"],
        }
    }
}

/// A disk that boots generation 1, and the tree it was made from.
pub struct Image {
    /// The steps, in order, with how long each took.
    pub steps: Vec<(&'static str, Built)>,
    dir: PathBuf,
    closures: Closures,
}

impl Image {
    /// The disk image. Never booted itself: each scenario takes a sparse copy.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        self.dir.join("disk.img")
    }

    /// The tree the root was made from, with agent and units installed.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// The toplevel of `variant`, as the guest sees it.
    ///
    /// # Errors
    /// When it was not built.
    pub fn toplevel(&self, variant: Variant) -> Result<&Path> {
        self.closures.toplevel(variant)
    }
}

/// Builds what is missing and gives the image.
///
/// # Errors
/// When a step fails.
pub fn build() -> Result<Image> {
    build_kind(Debian::Twelve, Kind::Quick)
}

/// Like [`build`], of any release and kind of machine.
///
/// # Errors
/// When a step fails.
pub fn build_kind(debian: Debian, kind: Kind) -> Result<Image> {
    let base: Base = base::build(debian)?;
    let initrds = initrds::build(&base)?;
    let guest: Guest = guest::build(&base, &initrds)?;
    let program = program::build()?;
    let mut step = Step::new(base.step(kind.steps()))
        .text(&guest.built.key)
        .text(include_str!("image.rs"));
    step = step
        .text(concat!(include_str!("disk.rs"), include_str!("units.rs")))
        .tree(&program)?;
    if units::source().try_exists()? {
        step = step.tree(&units::source())?;
    }
    let closures = guest.closures()?;
    let first = closures.toplevel(kind.first())?.to_owned();
    let built = step.get(|dir| assemble(dir, kind, &first, &guest, &program))?;
    let dir = built.dir.clone();
    Ok(Image {
        steps: vec![
            ("base", base.built),
            ("initrds", initrds.built),
            ("guest", guest.built),
            ("image", built),
        ],
        dir,
        closures,
    })
}

fn assemble(dir: &Path, kind: Kind, first: &Path, guest: &Guest, program: &Path) -> Result<()> {
    let root = dir.join("root");
    files::copy_tree(&guest.root(), &root)?;
    files::link(first, &root.join("nix/var/nix/profiles/system-1-link"))?;
    if kind != Kind::Quick {
        // The closure has it. A file of the host's would stay in its way.
        files::remove(&root.join("etc/fstab"))?;
    }
    install_agent(&root, program)?;

    let boot = root.join("boot");
    loader(&root, &boot)?;
    command::run(
        &program.to_string_lossy(),
        ["--root".as_ref(), root.as_os_str(), "install".as_ref()],
    )?;

    // The tree's /boot becomes the ESP, and is an empty mount point from here on.
    let image = dir.join("disk.img");
    let esp = dir.join("esp");
    fs::rename(&boot, &esp)?;
    fs::create_dir(&boot)?;
    if kind.has_nix_partition() {
        let nix = dir.join("nix");
        fs::rename(root.join("nix"), &nix)?;
        fs::create_dir(root.join("nix"))?;
        disk::write(&image, &esp, &root, Some(&nix))?;
    } else {
        disk::write(&image, &esp, &root, None)?;
    }
    let entries = esp::entries(&image)?;
    ensure!(
        !entries.is_empty(),
        "`lastgood install` wrote no entry: nothing would boot"
    );
    Ok(())
}

/// Puts the agent where a package would put it.
pub(crate) fn install_agent(root: &Path, program: &Path) -> Result<()> {
    fs::copy(program, root.join("usr/bin/lastgood"))?;
    files::link(
        "/usr/bin/lastgood",
        &root.join("usr/lib/systemd/system-generators/lastgood-generator"),
    )?;
    units::install(root)
}

/// What `bootctl install` would put on the ESP. The guest's own systemd-boot, so that loader and userspace agree.
fn loader(root: &Path, boot: &Path) -> Result<()> {
    let systemd_boot = root.join("usr/lib/systemd/boot/efi/systemd-bootx64.efi");
    for place in ["EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi"] {
        let content = fs::read(&systemd_boot).context("no systemd-boot in the guest")?;
        files::write(&boot.join(place), content)?;
    }
    fs::create_dir_all(boot.join("loader/entries"))?;
    files::write(&boot.join("loader/loader.conf"), "timeout 0\n")
}
