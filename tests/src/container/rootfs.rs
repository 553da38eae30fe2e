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
        let base = base::build()?;
        let guest = guest::build(&base, &initrds::build(&base)?)?;
        let (of_debian, step) = match debian {
            Debian::Twelve => ("debian-12", "rootfs-12"),
            Debian::Thirteen => ("debian-13", "rootfs-13"),
        };
        let mut packages = files::list(&paths::guest_files().join("packages"))?;
        let own = paths::repository().join("tests/container/packages");
        packages.extend(files::list(&own)?);
        let unpacked = Step::new(of_debian)
            .text(debian.suite())
            .text(&packages.join("\n"))
            .text(include_str!("../debian.rs"))
            .get(|dir| debian.unpack(&dir.join("root"), &packages, &[]))?;
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
            .get(|dir| assemble(dir, &unpacked.dir.join("root"), &guest, &program))?;
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

fn assemble(dir: &Path, unpacked: &Path, guest: &Guest, program: &Path) -> Result<()> {
    let root = &dir.join("root");
    files::copy_tree(unpacked, root)?;
    guest::configure(root)?;
    // The same closures in each release, as after an upgrade of the host.
    files::remove(&root.join("nix"))?;
    files::copy_tree(&guest.root().join("nix"), &root.join("nix"))?;
    // With its list: one that is built anew from the same has other store paths.
    std::fs::copy(guest.built.dir.join(CLOSURES), dir.join(CLOSURES))?;
    image::install_agent(root, program)?;
    guest::mark_updated(root)
}
