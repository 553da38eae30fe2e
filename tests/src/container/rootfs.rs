//! What a container starts from: a release of Debian, the agent and its units, and the guest's store.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::base;
use crate::cache::Step;
use crate::closures::{Closures, Variant};
use crate::debian::Debian;
use crate::guest::{self, Guest};
use crate::{files, image, initrds, paths, program, units};

/// The list of the closures there are.
const CLOSURES: &str = "closures.json";

/// What the guest goes without, and packages' own scripts do not.
const PERL: [&str; 3] = [
    "usr/lib/x86_64-linux-gnu/perl",
    "usr/share/perl",
    "usr/share/perl5",
];

/// The tree of a release. Shared by all containers: each lays what is its own over it.
pub struct Rootfs {
    dir: PathBuf,
    closures: Closures,
}

impl Rootfs {
    /// Builds what is missing, and gives the tree.
    ///
    /// # Errors
    /// When a step fails.
    pub fn build(debian: Debian) -> Result<Self> {
        let base = base::build(Debian::Twelve)?;
        let guest = guest::build(&base, &initrds::build(&base)?)?;
        let (of_debian, step) = match debian {
            Debian::Twelve => ("debian-12", "rootfs-12"),
            Debian::Thirteen => ("debian-13", "rootfs-13"),
            Debian::Sid => ("debian-sid", "rootfs-sid"),
        };
        let packages = packages(&[])?;
        let unpacked = Step::new(of_debian)
            .text(debian.suite())
            .text(&packages.join("\n"))
            .text(include_str!("../debian/unpack.rs"))
            .get(|dir| debian.unpack(&dir.join("root"), &packages, &[]))?;
        debian.check(&unpacked.dir.join("root"))?;
        let program = program::build()?;
        let built = Step::new(step)
            .text(&unpacked.key)
            .text(&guest.built.key)
            .text(concat!(
                include_str!("rootfs.rs"),
                include_str!("../image.rs"),
                include_str!("../units.rs")
            ))
            .tree(&program)?
            .tree(&units::source())?
            .get(|dir| {
                assemble(dir, &unpacked.dir.join("root"), &guest)?;
                let root = dir.join("root");
                image::install_agent(&root, &program)?;
                guest::mark_updated(&root)
            })?;
        Ok(Self {
            closures: Closures::read(&built.dir.join(CLOSURES))?,
            dir: built.dir,
        })
    }

    /// The same without the agent, for what installs it from its package: with needrestart, and with what dpkg and Perl
    /// need to work.
    ///
    /// # Errors
    /// When a step fails.
    pub fn build_bare(debian: Debian) -> Result<Self> {
        let base = base::build(Debian::Twelve)?;
        let guest = guest::build(&base, &initrds::build(&base)?)?;
        let (of_debian, step) = match debian {
            Debian::Twelve => ("debian-for-packages-12", "rootfs-for-packages-12"),
            Debian::Thirteen => ("debian-for-packages-13", "rootfs-for-packages-13"),
            Debian::Sid => ("debian-for-packages-sid", "rootfs-for-packages-sid"),
        };
        let packages = packages(&["needrestart"])?;
        let unpacked = Step::new(of_debian)
            .text(debian.suite())
            .text(&packages.join("\n"))
            .text(include_str!("../debian/unpack.rs"))
            .get(|dir| debian.unpack(&dir.join("root"), &packages, &[]))?;
        let built = Step::new(step)
            .text(&unpacked.key)
            .text(&guest.built.key)
            .text(include_str!("rootfs.rs"))
            .get(|dir| {
                let unpacked = unpacked.dir.join("root");
                let root = dir.join("root");
                assemble(dir, &unpacked, &guest)?;
                for kept in PERL {
                    files::copy_tree(&unpacked.join(kept), &root.join(kept))?;
                }
                // It leaves out what a person reads, and that is part of a package.
                files::remove(&root.join("etc/dpkg/dpkg.cfg.d/99mmdebstrap"))?;
                guest::mark_updated(&root)
            })?;
        Ok(Self {
            closures: Closures::read(&built.dir.join(CLOSURES))?,
            dir: built.dir,
        })
    }

    /// The root file system.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// The toplevel of `variant`, as the container sees it.
    ///
    /// # Errors
    /// When it was not built.
    pub fn toplevel(&self, variant: Variant) -> Result<&Path> {
        self.closures.toplevel(variant)
    }
}

fn packages(more: &[&str]) -> Result<Vec<String>> {
    let mut packages = files::list(&paths::guest_files().join("packages"))?;
    let own = paths::repository().join("tests/container/packages");
    packages.extend(files::list(&own)?);
    packages.extend(more.iter().map(|one| (*one).to_owned()));
    Ok(packages)
}

fn assemble(dir: &Path, unpacked: &Path, guest: &Guest) -> Result<()> {
    let root = &dir.join("root");
    files::copy_tree(unpacked, root)?;
    guest::configure(root)?;
    // The same closures in each release, as after an upgrade of the host.
    files::remove(&root.join("nix"))?;
    files::copy_tree(&guest.root().join("nix"), &root.join("nix"))?;
    // With its list: one that is built anew from the same has other store paths.
    std::fs::copy(guest.built.dir.join(CLOSURES), dir.join(CLOSURES)).map(drop)?;
    Ok(())
}
