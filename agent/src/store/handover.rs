//! What one step of a boot leaves for another, or for a unit. In `/run`: it speaks of this boot only.

use std::io;
use std::path::PathBuf;

use boot_entries::{Root, durable};
use serde::{Deserialize, Serialize};

use crate::host::{HEALTHY, STAGE_2};
use crate::state::baseline::Baseline;

/// Something in `/run` that cannot be read or left.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading, or finding its place.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: &'static str,
        /// Why.
        source: io::Error,
    },
    /// It is not what an agent leaves.
    #[error("cannot make or read JSON")]
    Json(#[from] serde_json::Error),
    /// Writing.
    #[error(transparent)]
    Write(#[from] durable::Error),
}

/// A healthy verdict.
#[derive(Debug, Serialize, Deserialize)]
pub struct Healthy {
    /// The boot it is about: the kernel's id.
    pub boot: String,
    /// What the machine looked like.
    pub baseline: Baseline,
}

impl Healthy {
    /// Leaves the verdict for the blessing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn leave(&self, root: &Root) -> Result<(), Error> {
        let text = serde_json::to_string(self)?;
        put(root, HEALTHY, &text)
    }

    /// What was left. None: no assessment has ended well since the machine started.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(root: &Root) -> Result<Option<Self>, Error> {
        match std::fs::read_to_string(root.join(HEALTHY)) {
            Ok(text) => Ok(Some(serde_json::from_str(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(at(HEALTHY, source)),
        }
    }
}

/// What stage 2 has done before systemd was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage2 {
    /// The closure that it made the machine's.
    pub closure: PathBuf,
    /// How many changes that took.
    pub changes: usize,
    /// What is not as it should be, a line each.
    pub problems: Vec<String>,
}

impl Stage2 {
    /// Leaves it for the steps that follow.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn leave(&self, root: &Root) -> Result<(), Error> {
        put(root, STAGE_2, &serde_json::to_string(self)?)
    }

    /// What was left. None: no stage 2 of ours was there before systemd, or it did not come to its end.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(root: &Root) -> Result<Option<Self>, Error> {
        match std::fs::read_to_string(root.join(STAGE_2)) {
            Ok(text) => Ok(Some(serde_json::from_str(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(at(STAGE_2, source)),
        }
    }
}

/// Leaves a sign whose name says all: [`crate::host::PROVEN`] or [`crate::host::FIREWALLED`].
///
/// # Errors
/// When it cannot be written.
pub fn mark(root: &Root, path: &'static str) -> Result<(), Error> {
    put(root, path, "")
}

fn put(root: &Root, path: &'static str, text: &str) -> Result<(), Error> {
    let place: PathBuf = root.place(path).map_err(|source| at(path, source))?;
    Ok(durable::put_text(text, &place)?)
}

fn at(path: &'static str, source: io::Error) -> Error {
    Error::Read { path, source }
}
