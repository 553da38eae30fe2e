//! What a plan consists of. A plan is data: it can be shown, counted, and cut anywhere by a test.

use std::borrow::Borrow;
use std::fmt;
use std::path::PathBuf;

use crate::boot_partition::Partition;
use crate::payload::{self, Content};

/// So many files of payload are written together, at most: under their temporary names all of them take slots in one
/// directory, and what is cut short loses all of them.
const TOGETHER: usize = 8;

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

/// `steps` in the pieces in which they are made: payload that follows each other on one partition together, and everything
/// else alone. Nothing points at payload yet, so none of it waits for any other.
pub(crate) fn pieces<T: Borrow<Step>>(steps: &[T]) -> impl Iterator<Item = &[T]> {
    let payload_on = |step: &Step| match step {
        Step::Copy { on, path, .. } => payload::name_of(path).map(|_| *on),
        Step::Text { .. } | Step::Remove { .. } => None,
    };
    let are_together = move |a: &T, b: &T| {
        let on = payload_on(a.borrow());
        on.is_some() && on == payload_on(b.borrow())
    };
    let runs = steps.chunk_by(are_together);
    runs.flat_map(|run| run.chunks(TOGETHER))
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

    #[test]
    fn payload_is_made_in_pieces() {
        let content = Content::of(&mut &b""[..]).unwrap();
        let copy = |on, number: usize| Step::Copy {
            source: PathBuf::new(),
            content,
            on,
            path: format!("{}/{number:032x}-initrd", payload::DIRECTORY),
        };
        let text = || Step::Text {
            text: String::new(),
            on: Partition::Boot,
            path: "loader/loader.conf".to_owned(),
        };
        let (boot, esp) = (Partition::Boot, Partition::Esp);
        let lengths = |steps: &[Step]| {
            let lengths: Vec<usize> = pieces(steps).map(<[Step]>::len).collect();
            lengths
        };
        let many: Vec<Step> = (0..=2 * TOGETHER)
            .map(|number| copy(boot, number))
            .collect();
        assert_eq!(lengths(&many), [TOGETHER, TOGETHER, 1]);
        let mixed = [
            text(),
            text(),
            copy(boot, 1),
            copy(boot, 2),
            copy(esp, 1),
            text(),
            copy(esp, 2),
        ];
        assert_eq!(lengths(&mixed), [1, 1, 2, 1, 1, 1]);
    }
}
