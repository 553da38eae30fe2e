//! What a plan consists of. A plan is data: it can be shown, counted, and cut anywhere by a test.

use std::borrow::Borrow;
use std::fmt;
use std::path::PathBuf;
use std::slice;

use crate::payload::{self, Content};
use systemd_boot_model::{ENTRIES, Partition};

/// So many files of payload are written together, at most: under their temporary names all of them take slots in one
/// directory.
const TOGETHER: usize = 16;
/// And so many bytes, unless a single file has more: a run that is cut short loses what is written together.
const BYTES: u64 = 512 * 1024 * 1024;

/// One change to a place. Paths are relative to the top of the partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Copy a file from the store.
    Copy {
        /// From, as a path of this process.
        source: PathBuf,
        /// What it must hold.
        content: Content,
        /// To which partition.
        on: Partition,
        /// To.
        path: String,
    },
    /// Write a small text file.
    Text {
        /// All of it.
        text: String,
        /// To which partition.
        on: Partition,
        /// To.
        path: String,
    },
    /// Remove a file.
    Remove {
        /// On which partition.
        on: Partition,
        /// Which.
        path: String,
    },
}

impl Step {
    /// The partition that changes.
    #[must_use]
    pub fn on(&self) -> Partition {
        match self {
            Self::Copy { on, .. } | Self::Text { on, .. } | Self::Remove { on, .. } => *on,
        }
    }

    /// How many bytes are written for it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Copy { content, .. } => content.size,
            Self::Text { text, .. } => text.len() as u64,
            Self::Remove { .. } => 0,
        }
    }

    /// The file that changes, as a path on the partition.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Copy { path, .. } | Self::Text { path, .. } | Self::Remove { path, .. } => path,
        }
    }
}

/// Steps that follow each other, as they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a, T> {
    /// Payload that is new on one partition, to different files: nothing points at it yet, so none of it waits for any
    /// other.
    Payload(&'a [T]),
    /// Entries that are new on one partition, the lowest rank first.
    Entries(&'a [T]),
    /// Everything else. A file that is replaced might get lost, and takes room until it is.
    Alone(&'a T),
}

impl<'a, T> Piece<'a, T> {
    /// The steps that are begun, all of them, before the first of them is finished.
    pub(crate) fn together(self) -> Vec<&'a [T]> {
        match self {
            Self::Payload(steps) => vec![steps],
            Self::Entries(steps) => steps.chunks(1).collect(),
            Self::Alone(step) => vec![slice::from_ref(step)],
        }
    }
}

/// What a step can be made together with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Payload(Partition),
    Entry(Partition),
}

impl Kind {
    fn of(step: &Step, is_there: &impl Fn(&Step) -> bool) -> Option<Self> {
        let kind = match step {
            Step::Copy { on, path, .. } => payload::name_of(path).map(|_| Self::Payload(*on))?,
            Step::Text { on, path, .. } => {
                path.strip_prefix(ENTRIES)?.strip_prefix('/')?;
                Self::Entry(*on)
            }
            Step::Remove { .. } => return None,
        };
        (!is_there(step)).then_some(kind)
    }
}

/// `steps` in the pieces in which they are made. `is_there` says of a step whether its file is there before any of
/// them.
pub(crate) fn pieces<T: Borrow<Step>>(
    steps: &[T],
    is_there: impl Fn(&Step) -> bool,
) -> Vec<Piece<'_, T>> {
    let kind = |step: &T| Kind::of(step.borrow(), &is_there);
    let kinds: Vec<Option<Kind>> = steps.iter().map(kind).collect();
    let mut pieces = Vec::new();
    let mut at = 0;
    while let (Some(first), Some(kind)) = (steps.get(at), kinds.get(at)) {
        let alike = kinds.iter().skip(at).take_while(|other| *other == kind);
        let alike = alike.count();
        let count = match kind {
            None => 1,
            Some(Kind::Entry(_)) => alike,
            Some(Kind::Payload(_)) => {
                let sizes = steps.iter().skip(at).map(|step| step.borrow().bytes());
                let sums = sizes.scan(0_u64, |sum, size| {
                    *sum = sum.saturating_add(size);
                    Some(*sum)
                });
                let fitting = sums.take_while(|sum| *sum <= BYTES).count();
                fitting.clamp(1, TOGETHER).min(alike)
            }
        };
        let piece = steps.get(at..at + count).unwrap_or_default();
        pieces.push(match kind {
            None => Piece::Alone(first),
            Some(Kind::Entry(_)) => Piece::Entries(piece),
            Some(Kind::Payload(_)) => Piece::Payload(piece),
        });
        at += count;
    }
    pieces
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy { path, content, .. } => write!(f, "copy {path} ({} bytes)", content.size),
            Self::Text { path, .. } => write!(f, "write {path}"),
            Self::Remove { path, .. } => write!(f, "remove {path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(on: Partition, number: usize, size: u64) -> Step {
        let content = Content::of(&mut &b""[..]).unwrap();
        Step::Copy {
            source: PathBuf::new(),
            content: Content { size, ..content },
            on,
            path: format!("{}/{number:032x}-initrd", payload::DIRECTORY),
        }
    }

    fn text(on: Partition, path: &str) -> Step {
        Step::Text {
            text: String::new(),
            on,
            path: path.to_owned(),
        }
    }

    /// The pieces in short: their kinds, and how long they are.
    fn cut(steps: &[Step], there: &[&Step]) -> String {
        let pieces = pieces(steps, |step| there.contains(&step));
        let short = pieces.iter().map(|piece| match piece {
            Piece::Payload(steps) => format!("p{}", steps.len()),
            Piece::Entries(steps) => format!("e{}", steps.len()),
            Piece::Alone(_) => "a".to_owned(),
        });
        short.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_made_together() {
        let (boot, esp) = (Partition::Boot, Partition::Esp);
        let many: Vec<Step> = (0..=2 * TOGETHER)
            .map(|number| copy(boot, number, 1))
            .collect();
        assert_eq!(cut(&many, &[]), "p16 p16 p1");
        assert_eq!(cut(&many[..4], &[&many[1]]), "p1 a p2");
        let entry = |on, name: &str| text(on, &format!("{ENTRIES}/{name}.conf"));
        let mixed = [
            text(boot, "loader/loader.conf"),
            text(boot, "loader/entries.srel"),
            copy(boot, 1, 1),
            copy(boot, 2, 1),
            copy(esp, 1, 1),
            entry(boot, "a"),
            entry(boot, "b"),
            entry(boot, "c"),
            entry(esp, "a"),
            Step::Remove {
                on: boot,
                path: format!("{ENTRIES}/d.conf"),
            },
            copy(esp, 2, 1),
        ];
        assert_eq!(cut(&mixed, &[]), "a a p2 p1 e3 e1 a p1");
        assert_eq!(cut(&mixed, &[&mixed[6]]), "a a p2 p1 e1 a e1 e1 a p1");
    }

    #[test]
    fn what_is_large_is_made_by_itself() {
        let copies = |sizes: &[u64]| -> Vec<Step> {
            let numbered = sizes.iter().enumerate();
            let copies = numbered.map(|(number, size)| copy(Partition::Boot, number, *size));
            copies.collect()
        };
        for (sizes, pieces) in [
            (&[BYTES, 1][..], "p1 p1"),
            (&[BYTES - 1, 1, 1], "p2 p1"),
            (&[BYTES + 1, BYTES + 1, 1, 1], "p1 p1 p2"),
            (&[u64::MAX, u64::MAX], "p1 p1"),
        ] {
            assert_eq!(cut(&copies(sizes), &[]), pieces, "{sizes:?}");
        }
    }
}
