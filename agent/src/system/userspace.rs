//! Which user space this is: the kernel's first one, or one that a soft-reboot has started; and what it runs.
//!
//! Over a soft-reboot the kernel stays: its command line still names what it was started with, its boot id is the same,
//! the loader's variables as well, and `/run` is kept. So what runs has to be told by whoever went there. A mark in `/run`
//! names the closure, and from which soft-reboot on it runs; systemd counts them, from 256 on.
//!
//! systemd tells its generators that count too late: after a soft-reboot, 257 gives them the count only from the next
//! reload on. So they take what was gone to for what runs, and the steps after them ask.

use std::io;
use std::path::{Path, PathBuf};

use boot_entries::{Root, durable};
use serde::{Deserialize, Serialize};

use super::manager::{self, Manager};
use crate::host::{SOFT_REBOOTED, USERSPACE};

/// From a soft-reboot on, another closure runs than the one that the command line names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneTo {
    /// Which.
    pub closure: PathBuf,
    /// From which soft-reboot of this kernel on, counted from 1.
    pub from: u64,
}

/// The soft-reboots of this kernel so far, as the last step that asked systemd has left it. Nothing there: none.
#[must_use]
pub fn count(root: &Root) -> u64 {
    let text = std::fs::read_to_string(root.join(USERSPACE));
    text.ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

/// What systemd counts. None: it does not count, or does not answer.
#[must_use]
pub fn asked() -> Option<u64> {
    let mut manager = Manager::system(manager::PATIENCE).ok()?;
    asked_of(&mut manager)
}

/// The same of a manager that is at hand.
pub fn asked_of(manager: &mut Manager) -> Option<u64> {
    let found = manager.own_properties(&[SOFT_REBOOTS]).ok()?;
    found.number(SOFT_REBOOTS)
}

const SOFT_REBOOTS: &str = "SoftRebootsCount";

/// Leaves the count for all that ask by [`count`].
///
/// # Errors
/// When it cannot be written.
pub fn note(root: &Root, count: u64) -> Result<(), durable::Error> {
    put(root, USERSPACE, &format!("{count}\n"))
}

/// The closure that runs since a soft-reboot. None: the one that the command line names.
#[must_use]
pub fn runs(root: &Root) -> Option<PathBuf> {
    let count = count(root);
    let arrived = |one: &GoneTo| one.from <= count;
    marks(root)
        .into_iter()
        .rfind(arrived)
        .map(|one| one.closure)
}

/// The closure that a soft-reboot is going to, or has gone to and nobody has noticed yet. None: there is no such.
#[must_use]
pub fn on_its_way(root: &Root) -> Option<PathBuf> {
    let count = count(root);
    let last = marks(root).pop()?;
    (last.from > count).then_some(last.closure)
}

/// Leaves word that from the next soft-reboot on `closure` runs.
///
/// # Errors
/// When it cannot be written.
pub fn go_to(root: &Root, closure: &Path) -> Result<(), durable::Error> {
    let from = count(root) + 1;
    runs_from(root, closure, from)
}

/// Leaves word that `closure` runs from this soft-reboot on.
///
/// # Errors
/// When it cannot be written.
pub fn runs_from(root: &Root, closure: &Path, from: u64) -> Result<(), durable::Error> {
    let mut marks = marks(root);
    marks.retain(|one| one.from < from);
    marks.push(GoneTo {
        closure: closure.to_owned(),
        from,
    });
    put_marks(root, &marks)
}

/// Takes it back: no soft-reboot came of it.
///
/// # Errors
/// When it cannot be written.
pub fn stays(root: &Root) -> Result<(), durable::Error> {
    let count = count(root);
    let mut marks = marks(root);
    let before = marks.len();
    marks.retain(|one| one.from <= count);
    if marks.len() == before {
        return Ok(());
    }
    put_marks(root, &marks)
}

/// In their order. What cannot be read is none: the command line then says what runs.
fn marks(root: &Root) -> Vec<GoneTo> {
    match std::fs::read_to_string(root.join(SOFT_REBOOTED)) {
        Ok(text) => serde_json::from_str(&text).unwrap_or_else(|error| {
            tracing::error!("{SOFT_REBOOTED} is not what an agent leaves there: {error}");
            Vec::new()
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            tracing::error!("cannot read {SOFT_REBOOTED}: {error}");
            Vec::new()
        }
    }
}

fn put_marks(root: &Root, marks: &[GoneTo]) -> Result<(), durable::Error> {
    let text = serde_json::to_string(marks).unwrap_or_default();
    put(root, SOFT_REBOOTED, &text)
}

fn put(root: &Root, path: &'static str, text: &str) -> Result<(), durable::Error> {
    durable::put_text(text, &root.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (tempfile::TempDir, Root) {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        (tree, root)
    }

    fn closure(number: u32) -> PathBuf {
        format!("/nix/store/{number}").into()
    }

    #[test]
    fn a_mark_counts_from_its_soft_reboot_on() {
        let (_tree, root) = tree();
        assert_eq!((runs(&root), on_its_way(&root)), (None, None));
        go_to(&root, &closure(1)).unwrap();
        // Written, and not gone yet.
        assert_eq!(runs(&root), None);
        assert_eq!(on_its_way(&root), Some(closure(1)));
        note(&root, 1).unwrap();
        assert_eq!((runs(&root), on_its_way(&root)), (Some(closure(1)), None));
        // The operator's own soft-reboot leads nowhere else.
        note(&root, 2).unwrap();
        assert_eq!(runs(&root), Some(closure(1)));
        go_to(&root, &closure(2)).unwrap();
        assert_eq!(runs(&root), Some(closure(1)));
        assert_eq!(on_its_way(&root), Some(closure(2)));
        note(&root, 3).unwrap();
        assert_eq!(runs(&root), Some(closure(2)));
    }

    #[test]
    fn a_mark_that_led_nowhere_is_taken_back_and_the_one_before_stays() {
        let (_tree, root) = tree();
        stays(&root).unwrap();
        assert!(
            !root.join(SOFT_REBOOTED).is_file(),
            "nothing was to be written"
        );
        go_to(&root, &closure(1)).unwrap();
        note(&root, 1).unwrap();
        go_to(&root, &closure(2)).unwrap();
        go_to(&root, &closure(3)).unwrap();
        assert_eq!(on_its_way(&root), Some(closure(3)), "one at a time");
        stays(&root).unwrap();
        assert_eq!((runs(&root), on_its_way(&root)), (Some(closure(1)), None));
        note(&root, 2).unwrap();
        assert_eq!(runs(&root), Some(closure(1)));
    }

    #[test]
    fn what_cannot_be_read_is_no_mark() {
        let (_tree, root) = tree();
        note(&root, 1).unwrap();
        for text in ["", "{", "[{\"closure\":1}]"] {
            durable::put_text(text, &root.join(SOFT_REBOOTED)).unwrap();
            assert_eq!((runs(&root), on_its_way(&root)), (None, None), "{text}");
        }
        durable::put_text("many", &root.join(USERSPACE)).unwrap();
        assert_eq!(count(&root), 0);
    }
}
