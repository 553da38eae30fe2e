//! The guest: Debian made fast to boot under emulation, without configuration of its own for what closures configure.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::base::Base;
use crate::cache::{Built, Step};
use crate::closures::{self, Closures};
use crate::initrds::Initrds;
use crate::{command, files, paths};

/// The guest's tree with its store, but without the agent.
pub struct Guest {
    /// How it was made.
    pub built: Built,
}

impl Guest {
    /// The root file system.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.built.dir.join("root")
    }

    /// What is in its store.
    ///
    /// # Errors
    /// When the list is damaged.
    pub fn closures(&self) -> Result<Closures> {
        Closures::read(&self.built.dir.join("closures.json"))
    }
}

/// Makes the guest from `base` and `initrds`, or finds the one made before.
///
/// # Errors
/// When a tool says no.
pub fn build(base: &Base, initrds: &Initrds) -> Result<Guest> {
    let built = Step::new(base.step(["guest", "trixie-guest"]))
        .text(&base.built.key)
        .text(&initrds.built.key)
        .text(concat!(
            include_str!("guest.rs"),
            include_str!("closures.rs"),
            include_str!("initrd.rs")
        ))
        .tree(&paths::guest_files())?
        .get(|dir| {
            let root = dir.join("root");
            files::copy_tree(&base.root(), &root)?;
            configure(&root)?;
            kernel_modules(base, &root)?;
            closures::build(base, initrds, &root, &dir.join("closures.json"))?;
            mark_updated(&root)
        })?;
    Ok(Guest { built })
}

/// Newer than /usr: systemd must not take the first boot for the one after an update.
pub(crate) fn mark_updated(root: &Path) -> Result<()> {
    for stamp in ["etc/.updated", "var/.updated"] {
        File::create(root.join(stamp))?;
    }
    Ok(())
}

/// Makes the machine of `tests/guest/` of what Debian ships.
pub(crate) fn configure(root: &Path) -> Result<()> {
    let guest = paths::guest_files();
    for path in files::list(&guest.join("removed"))? {
        files::remove(&root.join(path))?;
    }
    files::overlay(&guest.join("root"), root)?;
    let masks = [
        ("masked-units", "etc/systemd/system"),
        ("masked-generators", "etc/systemd/system-generators"),
        ("masked-udev-rules", "etc/udev/rules.d"),
    ];
    for (list, dir) in masks {
        for name in files::list(&guest.join(list))? {
            files::link("/dev/null", &root.join(dir).join(name))?;
        }
    }
    systemctl_enable(root, "systemd-networkd.service")
}

/// Enables a unit in a tree, as its `[Install]` section says.
pub(crate) fn systemctl_enable(root: &Path, unit: &str) -> Result<()> {
    let root = fs::canonicalize(root)?;
    command::run(
        "systemctl",
        [&format!("--root={}", root.display()), "enable", unit],
    )?;
    Ok(())
}

/// Only the modules named in `tests/guest/kernel-modules`: copying all of them takes longer than the rest of the image.
fn kernel_modules(base: &Base, root: &Path) -> Result<()> {
    let release = base.kernel_release()?;
    let from = base.kernel().join("lib/modules").join(&release);
    let to = root.join("usr/lib/modules").join(&release);
    let built_in = fs::read_to_string(from.join("modules.builtin"))?;
    for path in files::list(&paths::guest_files().join("kernel-modules"))? {
        let plain = format!("kernel/{path}");
        // Debian 13 compresses them.
        let packed = format!("{plain}.xz");
        let Some(path) = [&plain, &packed]
            .into_iter()
            .find(|path| matches!(from.join(path).try_exists(), Ok(true)))
        else {
            let is_built_in = built_in.lines().any(|line| line == plain);
            ensure!(is_built_in, "the kernel has no {plain}");
            continue;
        };
        let into = to.join(path);
        fs::create_dir_all(into.parent().context("a module outside the module tree")?)?;
        files::copy_tree(&from.join(path), &into)?;
    }
    for list in [
        "modules.builtin",
        "modules.builtin.modinfo",
        "modules.order",
    ] {
        fs::copy(from.join(list), to.join(list)).with_context(|| format!("no {list}"))?;
    }
    command::run(
        "depmod",
        ["-b".as_ref(), root.as_os_str(), release.as_ref()],
    )?;
    Ok(())
}
