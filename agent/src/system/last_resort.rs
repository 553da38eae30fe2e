//! What ends a hang that no unit ends: of the kernel, or of PID 1. A hardware watchdog resets the machine when PID 1 stops
//! feeding it; with `panic_on_oops` and its like the kernel panics where it would go on half dead, and a panic reboots.
//!
//! For trials only: on a proven generation a reset would be no way to anything better, and might come again and again
//! (invariant A3). What was changed is [recorded](Kept) and put back. What the host or the closure has said itself
//! stays as it is.
//!
//! [`decide`](mod@decide) is pure; here is what is looked at, and how it is set.

pub mod decide;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use boot_entries::Root;

use crate::system::manager::{self, Manager, Setting};
pub use decide::{Change, Device, Found, Kept};
use decide::{PANIC, SYSCTLS};

/// The kernel's watchdogs (`Documentation/ABI/testing/sysfs-class-watchdog`).
const DEVICES: &str = "/sys/class/watchdog";
/// The device of the first one.
const NODE: &str = "/dev/watchdog0";
/// Written last before it is closed, it lets the device stop ("magic close" of `Documentation/watchdog/watchdog-api.rst`).
const MAY_STOP: &[u8] = b"V";
/// The kernel's settings (sysctl(8)).
const SETTINGS: &str = "/proc/sys";
/// Where somebody may have said what a setting is to be (sysctl.d(5)).
const SAID: [&str; 5] = [
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
    "/lib/sysctl.d",
];
/// The same in one file, which older releases read.
const SAID_IN: &str = "/etc/sysctl.conf";
/// How long PID 1 feeds the device for, in microseconds; 0: not at all (org.freedesktop.systemd1(5)).
const RUNTIME: &str = "RuntimeWatchdogUSec";

/// What cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting of the kernel's.
    #[error("cannot set {name} to {to}")]
    Setting {
        /// Its name.
        name: String,
        /// What to.
        to: i64,
        /// Why.
        source: io::Error,
    },
    /// PID 1's part.
    #[error("cannot set systemd's {RUNTIME} to {to}")]
    Manager {
        /// What to.
        to: u64,
        /// Why.
        source: manager::Error,
    },
}

impl Error {
    /// Whether the kernel is another machine's: a container may not change it.
    #[must_use]
    pub fn is_not_ours(&self) -> bool {
        matches!(self, Self::Setting { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem)
    }
}

/// Looks. What cannot be read is not there.
#[must_use]
pub fn look(root: &Root, manager: Option<&mut Manager>) -> Found {
    let names = SYSCTLS.iter().map(|(name, _)| *name).chain([PANIC]);
    let settings = names.filter_map(|name| Some((name.to_owned(), number(&setting(root, name))?)));
    let runtime = manager.and_then(|manager| manager.own_properties(&[RUNTIME]).ok());
    Found {
        settings: settings.collect(),
        said: said(root),
        device: device(root),
        runtime: runtime.and_then(|properties| properties.number(RUNTIME)),
    }
}

/// The watchdog that PID 1 takes: the first one.
#[must_use]
pub fn device(root: &Root) -> Option<Device> {
    let of = root.join(DEVICES).join("watchdog0");
    let text = |name: &str| {
        let text = std::fs::read_to_string(of.join(name)).ok()?;
        Some(text.trim().to_owned())
    };
    let seconds = |name: &str| text(name).and_then(|text| text.parse().ok());
    let status =
        text("status").and_then(|text| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok());
    Some(Device {
        identity: text("identity")?,
        shortest: seconds("min_timeout").unwrap_or(0),
        longest: seconds("max_timeout").unwrap_or(0),
        is_active: text("state").as_deref() == Some("active"),
        never_stops: text("nowayout").as_deref() == Some("1"),
        gives_up: status.is_some_and(|status| status & decide::MAGIC_CLOSE != 0),
    })
}

/// Sets one thing.
///
/// # Errors
/// When it cannot be set.
pub fn set(root: &Root, manager: Option<&mut Manager>, change: &Change) -> Result<(), Error> {
    match change {
        Change::Setting { name, to, .. } => {
            put(&setting(root, name), *to).map_err(|source| Error::Setting {
                name: name.clone(),
                to: *to,
                source,
            })
        }
        Change::Watchdog { to, anew, .. } => {
            let Some(manager) = manager else {
                return Ok(());
            };
            let mut put = |to| {
                manager
                    .set_own(RUNTIME, &Setting::Number(to))
                    .map_err(|source| Error::Manager { to, source })
            };
            if *anew {
                put(0)?;
                if let Err(error) = forget(&root.join(NODE)) {
                    tracing::warn!("cannot open and close {NODE}: {error}");
                }
            }
            put(*to)
        }
    }
}

/// Takes back what an earlier PID 1 has left on a device that nobody has open: that it may stop without a word. systemd stops
/// a device before it writes that and closes it, and the kernel takes the word back only from one that counts.
fn forget(node: &Path) -> io::Result<()> {
    // Opened it counts, closed after this word it stops. Whoever dies in between leaves it counting, and PID 1 takes it over.
    File::options().write(true).open(node)?.write_all(MAY_STOP)
}

fn setting(root: &Root, name: &str) -> PathBuf {
    root.join(SETTINGS).join(name.replace('.', "/"))
}

fn number(path: &Path) -> Option<i64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn put(path: &Path, to: i64) -> io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    file.write_all(to.to_string().as_bytes())
}

/// Which settings somebody has said something of.
fn said(root: &Root) -> BTreeSet<String> {
    let files = SAID.iter().flat_map(|directory| {
        let entries = std::fs::read_dir(root.join(directory)).into_iter();
        entries.flatten().flatten().map(|entry| entry.path())
    });
    let files = files.chain([root.join(SAID_IN)]);
    let texts = files.filter_map(|file| boot_entries::bounded::read(&file, LIMIT).ok());
    texts.flat_map(|text| decide::named_in(&text)).collect()
}

/// No file of settings is larger, in bytes.
const LIMIT: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            File::create(path)
                .unwrap()
                .write_all(text.as_bytes())
                .unwrap();
        }
        (tree, root)
    }

    #[test]
    fn a_machine_without_any_of_it_has_nothing_to_set() {
        let (_tree, root) = tree(&[]);
        let found = look(&root, None);
        assert_eq!(found, Found::default());
        assert!(decide::arm(&found, &Kept::default()).is_empty());
    }

    #[test]
    fn what_is_there_is_set_recorded_and_put_back() {
        let (_tree, root) = tree(&[
            ("/proc/sys/kernel/panic", "10\n"),
            ("/proc/sys/kernel/panic_on_oops", "0\n"),
            ("/proc/sys/kernel/softlockup_panic", "0\n"),
            (
                "/etc/sysctl.d/60.conf",
                "# kernel.panic_on_oops\n-kernel/softlockup_panic = 0\n",
            ),
            ("/sys/class/watchdog/watchdog0/identity", "i6300ESB timer\n"),
            ("/sys/class/watchdog/watchdog0/status", "0x8320\n"),
            ("/sys/class/watchdog/watchdog0/state", "active\n"),
            ("/sys/class/watchdog/watchdog0/nowayout", "0\n"),
            ("/sys/class/watchdog/watchdog0/min_timeout", "1\n"),
            ("/sys/class/watchdog/watchdog0/max_timeout", "2046\n"),
        ]);
        let device = device(&root).unwrap();
        assert!(device.gives_up && device.is_active && !device.never_stops);
        let mut kept = Kept::default();
        let oops = setting(&root, "kernel.panic_on_oops");
        for change in decide::arm(&look(&root, None), &kept) {
            set(&root, None, &change).unwrap();
            kept.note(&change);
        }
        assert_eq!(number(&oops), Some(1));
        assert_eq!(
            number(&setting(&root, "kernel.softlockup_panic")),
            Some(0),
            "said by the closure"
        );
        for change in decide::give_back(&look(&root, None), &kept) {
            set(&root, None, &change).unwrap();
        }
        assert_eq!(number(&oops), Some(0));
    }
}
