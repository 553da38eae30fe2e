//! What the boot before has left for this one to find: a panic's record, a watchdog's status.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use boot_entries::{Root, bounded};

use crate::host::{LEDGER, PSTORE, PSTORE_KEPT, UPTIME, WATCHDOGS};
use crate::state::reset::{Panic, panic_of};

/// `WDIOF_CARDRESET` of `linux/watchdog.h`: the last reset was the watchdog's.
const CARD_RESET: u32 = 0x20;
/// A kernel's log is not longer, in bytes.
const LOG: u64 = 4 * 1024 * 1024;
/// So deep are records below the directory that systemd-pstore keeps them in: 252 has one level, 257 two.
const LEVELS: u32 = 2;

/// What a kernel that panicked in the boot before has left. None: nothing that can be seen.
///
/// systemd-pstore.service moves the records out of pstore early in the next boot, so those are taken that came to their
/// place since this boot began.
#[must_use]
pub fn panic(root: &Root) -> Option<Panic> {
    panic_since(root, began(root)?)
}

fn panic_since(root: &Root, began: Duration) -> Option<Panic> {
    // What waits there may be old, where nobody moves it. The ledger's last word is of the boot before, or younger.
    let since = root
        .join(LEDGER)
        .symlink_metadata()
        .map_or(0, |meta| meta.mtime());
    let is_young = |path: &PathBuf| {
        path.symlink_metadata()
            .is_ok_and(|meta| meta.mtime() >= since)
    };
    let mut waiting = files_in(&root.join(PSTORE));
    waiting.retain(is_young);
    let mut kept = Vec::new();
    moved_since(&root.join(PSTORE_KEPT), began, LEVELS, &mut kept);
    let is_log = |path: &&PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("dmesg"))
    };
    let logs: Vec<String> = waiting
        .iter()
        .chain(&kept)
        .filter(is_log)
        .filter_map(|path| bounded::read(path, LOG).ok())
        .collect();
    (!logs.is_empty()).then(|| panic_of(&logs.join("\n")))
}

/// Whether a hardware watchdog says that the last reset was its own.
#[must_use]
pub fn watchdog(root: &Root) -> bool {
    let Ok(all) = fs::read_dir(root.join(WATCHDOGS)) else {
        return false;
    };
    all.flatten().any(|one| {
        let status = fs::read_to_string(one.path().join("bootstatus")).unwrap_or_default();
        let status: u32 = status.trim().parse().unwrap_or(0);
        status & CARD_RESET != 0
    })
}

/// When this boot began, by the clock that files are stamped with. It may be wrong, and is the same for both.
fn began(root: &Root) -> Option<Duration> {
    let uptime = fs::read_to_string(root.join(UPTIME)).ok()?;
    let seconds: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let since = Duration::try_from_secs_f64(seconds).ok()?;
    Some(now.saturating_sub(since))
}

fn files_in(directory: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(directory).into_iter().flatten().flatten();
    all.map(|entry| entry.path()).collect()
}

/// Files below `directory` whose place is younger than `since`.
fn moved_since(directory: &Path, since: Duration, levels: u32, found: &mut Vec<PathBuf>) {
    for path in files_in(directory) {
        let Ok(meta) = path.symlink_metadata() else {
            continue;
        };
        // When it was put there: its own time is that of the panic.
        let changed = Duration::from_secs(u64::try_from(meta.ctime()).unwrap_or(0));
        if meta.is_dir() && levels > 0 {
            moved_since(&path, since, levels - 1, found);
        } else if meta.is_file() && changed + Duration::from_secs(1) >= since {
            found.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::cause::Stage;
    use boot_entries::durable;

    fn put(root: &Root, path: &str, text: &str) {
        let place = root.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        durable::put_text(text, &place).unwrap();
    }

    #[test]
    fn a_record_that_was_moved_in_this_boot_is_this_one_s() {
        let record = "<0>[ 1.2] Kernel panic - not syncing: no root\n";
        for place in [
            "/var/lib/systemd/pstore/179582850/dmesg-efi-179582850314001",
            "/var/lib/systemd/pstore/1795829785/001/dmesg-efi_pstore-179582978503001",
            "/sys/fs/pstore/dmesg-efi_pstore-179582978503001",
        ] {
            let tree = tempfile::tempdir().unwrap();
            let root = Root::new(tree.path());
            assert_eq!(panic(&root), None);
            put(&root, "/proc/uptime", "100.00 50.00\n");
            assert_eq!(panic(&root), None);
            put(&root, place, record);
            let found = panic(&root).unwrap();
            assert_eq!(found.stage, Stage::Kernel, "{place}");
            assert!(found.words.unwrap().ends_with("no root"), "{place}");
        }
    }

    #[test]
    fn a_record_of_long_ago_says_nothing() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        put(
            &root,
            "/var/lib/systemd/pstore/1/dmesg.txt",
            "Kernel panic - x",
        );
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        assert!(panic_since(&root, now).is_some());
        // The machine was started after the record had been moved.
        assert_eq!(panic_since(&root, now + Duration::from_hours(1)), None);
    }

    #[test]
    fn the_watchdog_that_fired_says_so() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        assert!(!watchdog(&root));
        for (status, fired) in [
            ("0\n", false),
            ("32\n", true),
            ("288", true),
            ("256", false),
            ("", false),
        ] {
            put(&root, "/sys/class/watchdog/watchdog1/bootstatus", "0\n");
            put(&root, "/sys/class/watchdog/watchdog0/bootstatus", status);
            assert_eq!(watchdog(&root), fired, "{status:?}");
        }
    }
}
