//! What a plan consists of. A plan is data: it can be shown, counted, and cut anywhere by a test.

use std::fmt;
use std::path::PathBuf;

use crate::boot_partition::Partition;
use crate::payload::Content;

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

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy { path, content, .. } => write!(f, "copy {path} ({} bytes)", content.size),
            Self::Text { path, .. } => write!(f, "write {path}"),
            Self::Remove { path, .. } => write!(f, "remove {path}"),
        }
    }
}
