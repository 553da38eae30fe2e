//! Initrds as Debian makes them, by Debian's own programs, in a tree that has nothing else to do.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::base::Base;
use crate::cache::{Built, Step};
use crate::{command, files, paths};

/// What an initrd is made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initrd {
    /// Debian's own: shell scripts and udev.
    InitramfsTools,
    /// dracut, with systemd as its first process.
    Dracut,
}

impl Initrd {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::InitramfsTools, Self::Dracut];

    /// What its program is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InitramfsTools => "initramfs-tools",
            Self::Dracut => "dracut",
        }
    }

    /// What makes it, at `out`. Debian's defaults, but for the compression: gzip takes seconds under emulation.
    fn command(self, out: &str, release: &str) -> Vec<String> {
        let words = match self {
            Self::InitramfsTools => vec!["mkinitramfs", "-o", out, release],
            Self::Dracut => vec!["dracut", "--no-hostonly", "--zstd", out, release],
        };
        words.into_iter().map(str::to_owned).collect()
    }
}

/// The initrds that were made.
pub struct Initrds {
    /// How.
    pub built: Built,
}

impl Initrds {
    /// Where one is.
    #[must_use]
    pub fn path(&self, initrd: Initrd) -> PathBuf {
        self.built.dir.join(initrd.name())
    }
}

/// Makes them, or finds those made before.
///
/// # Errors
/// When the packages cannot be fetched, or a program says no.
pub fn build(base: &Base) -> Result<Initrds> {
    let list = paths::guest_files().join("initrd-packages");
    let built = Step::new(base.step(["initrds", "trixie-initrds"]))
        .text(&base.built.key)
        .text(include_str!("initrds.rs"))
        .tree(&list)?
        .tree(&source())?
        .get(|dir| make(base, dir, &files::list(&list)?))?;
    Ok(Initrds { built })
}

/// What the project has for initrds.
fn source() -> PathBuf {
    paths::repository().join("initrd")
}

fn make(base: &Base, dir: &Path, packages: &[String]) -> Result<()> {
    let root = dir.join("root");
    base.debian.unpack(&root, packages, &[])?;
    let release = base.kernel_release()?;
    let modules = Path::new("lib/modules").join(&release);
    fs::create_dir_all(root.join("usr/lib/modules"))?;
    files::copy_tree(
        &base.kernel().join(&modules),
        &root.join("usr").join(&modules),
    )?;
    // What the kernel can do: without it nobody knows how an initrd may be compressed.
    let config = format!("boot/config-{release}");
    fs::copy(base.kernel().join(&config), root.join(&config)).context("no configuration")?;
    // As docs/operator.md says.
    for (from, to) in [
        (
            "initramfs-tools",
            "etc/initramfs-tools/scripts/local-bottom",
        ),
        ("dracut", "usr/lib/dracut/modules.d"),
    ] {
        files::overlay(&source().join(from), &root.join(to))?;
    }
    for initrd in Initrd::ALL {
        let out = format!("/boot/{}", initrd.name());
        let words = initrd.command(&out, &release);
        let (program, arguments) = words.split_first().context("no command")?;
        command::output(&mut command::inside(&root, program, arguments))?;
        let made = root.join("boot").join(initrd.name());
        ensure!(
            fs::metadata(&made)?.len() > 1_000_000,
            "{program} made nothing that could boot"
        );
        fs::copy(made, dir.join(initrd.name()))?;
    }
    files::remove(&root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// What the loader and the kernel left, and whether that is a trial's boot.
    struct Case {
        cmdline: &'static str,
        counted: Option<&'static str>,
        selected: Option<&'static str>,
        is_trial: bool,
    }

    /// By systemd-boot: it hands on where the initrd is.
    const LOADED: &str = r"initrd=\lastgood\x init=/nix/store/x/init panic=10";
    const NAMED: &str = r"\loader\entries\lastgood-3-x+2-1.conf";

    const CASES: [Case; 12] = [
        // 252 names the entry as it was, 257 and later without its counter.
        trial(LOADED, Some(NAMED), Some("lastgood-3-x+3.conf"), true),
        trial(LOADED, Some(NAMED), Some("lastgood-3-x.conf"), true),
        trial("init=/x", Some(NAMED), Some("lastgood-3-x.conf"), false),
        trial(LOADED, None, Some("lastgood-3-x.conf"), false),
        trial(LOADED, Some(NAMED), None, false),
        // An entry that could not be started, and then this one.
        trial(LOADED, Some(NAMED), Some("lastgood-2-x.conf"), false),
        trial(
            LOADED,
            Some(r"\loader\entries\debian+2-1.conf"),
            Some("debian.conf"),
            false,
        ),
        trial(
            LOADED,
            Some(r"\loader\entries\lastgood-3-x+0-3.conf"),
            Some("lastgood-3-x.conf"),
            true,
        ),
        trial(
            LOADED,
            Some(r"\loader\entries\lastgood-3-x+0-4.conf"),
            Some("lastgood-3-x.conf"),
            false,
        ),
        trial(
            LOADED,
            Some(r"\loader\entries\lastgood-3-x+2.conf"),
            Some("lastgood-3-x+3.conf"),
            true,
        ),
        trial(
            r"lastgood.wait initrd=\x",
            Some(NAMED),
            Some("lastgood-3-x.conf"),
            false,
        ),
        trial("initrd=/x", Some(NAMED), Some("lastgood-3-x.conf"), false),
    ];

    const fn trial(
        cmdline: &'static str,
        counted: Option<&'static str>,
        selected: Option<&'static str>,
        is_trial: bool,
    ) -> Case {
        Case {
            cmdline,
            counted,
            selected,
            is_trial,
        }
    }

    #[test]
    fn an_initrd_knows_a_trial_by_what_the_loader_left() {
        let script = source().join("dracut/90lastgood-deadline/is-trial");
        for case in CASES {
            let tree = tempfile::tempdir().unwrap();
            let put =
                |path: &str, bytes: &[u8]| files::write(&tree.path().join(path), bytes).unwrap();
            put("proc/cmdline", format!("{}\n", case.cmdline).as_bytes());
            for (name, text) in [
                ("BootCountPath", case.counted),
                ("EntrySelected", case.selected),
            ] {
                let Some(text) = text else { continue };
                let mut bytes = 6_u32.to_le_bytes().to_vec();
                bytes.extend(text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
                let vendor = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
                put(
                    &format!("sys/firmware/efi/efivars/Loader{name}-{vendor}"),
                    &bytes,
                );
            }
            for shell in ["dash", "bash"] {
                let status = Command::new(shell).arg(&script).arg(tree.path()).status();
                assert_eq!(
                    status.unwrap().success(),
                    case.is_trial,
                    "{shell}: {} {:?} {:?}",
                    case.cmdline,
                    case.counted,
                    case.selected
                );
            }
        }
    }
}
