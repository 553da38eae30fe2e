//! What one step of a boot leaves for another, or for a unit. In `/run`: it speaks of this boot only.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use boot_entries::{Root, durable};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::host::{
    EMERGENCY, FIREWALLED, HEALTHY, HELD, LAST_RESORT, PROBATION, PROVEN, SNIPPETS, STAGE_2, TRIED,
    UNITS,
};
use crate::state::baseline::Baseline;
use crate::state::ladder::Rung;
use crate::system::last_resort::Kept;

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
    #[error(
        "{path} is not what an agent leaves there: {source}; remove it, the next boot leaves another one"
    )]
    Odd {
        /// The file.
        path: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Making it.
    #[error("cannot say in JSON what one step of a boot leaves for another")]
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
        left(root, HEALTHY)
    }
}

/// What whoever watches a proven generation has seen so far: it may be killed, and goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Watching {
    /// In which boot.
    pub boot: String,
    /// What is watched.
    pub closure: PathBuf,
    /// Whether the name servers answered when it was looked at first. None: nobody has asked yet.
    pub answered: Option<bool>,
    /// What was seen, as whoever watches says it.
    pub memory: serde_json::Value,
}

impl Watching {
    /// Leaves it for whoever goes on.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn leave(&self, root: &Root) -> Result<(), Error> {
        put(root, PROBATION, &serde_json::to_string(self)?)
    }

    /// What was left of this `closure` in this `boot`. None: nothing was.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(root: &Root, boot: &str, closure: &Path) -> Result<Option<Self>, Error> {
        let left = left::<Self>(root, PROBATION)?;
        Ok(left.filter(|left| left.boot == boot && left.closure == closure))
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
        left(root, STAGE_2)
    }
}

/// What the generator has given systemd of a closure's units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Units {
    /// The closure whose units they are.
    pub closure: String,
    /// How many links and files were made.
    pub made: usize,
    /// What was left out on purpose.
    pub left_out: Vec<LeftOut>,
    /// What could not be read or made, a line each.
    pub problems: Vec<String>,
    /// What an earlier run of this boot could not. systemd had started without it.
    pub missed: Vec<String>,
}

/// The snippets of NixOS's activation that failed, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snippets(pub BTreeSet<String>);

impl Snippets {
    /// Leaves them for the assessment.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn leave(&self, root: &Root) -> Result<(), Error> {
        put(root, SNIPPETS, &serde_json::to_string(self)?)
    }

    /// What was left. None: activation has not looked, or this is not NixOS.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(root: &Root) -> Result<Option<Self>, Error> {
        left(root, SNIPPETS)
    }
}

/// What came of bringing a machine in emergency mode to the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emergency {
    /// Units that were started, beyond those that were up.
    pub started: Vec<String>,
    /// Units that did not come up.
    pub failed: Vec<String>,
}

impl Emergency {
    /// Leaves it for `status`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn leave(&self, root: &Root) -> Result<(), Error> {
        put(root, EMERGENCY, &serde_json::to_string(self)?)
    }

    /// What was left. None: this boot has not been in emergency mode, or is well again.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(root: &Root) -> Result<Option<Self>, Error> {
        left(root, EMERGENCY)
    }
}

/// What was set on this trial that is no unit's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastResort(pub Kept);

impl LastResort {
    /// Leaves it for whoever puts it back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn leave(&self, root: &Root) -> Result<(), Error> {
        put(root, LAST_RESORT, &serde_json::to_string(self)?)
    }

    /// What was left. None: nothing was set in this boot.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(root: &Root) -> Result<Option<Self>, Error> {
        left(root, LAST_RESORT)
    }
}

/// The ways back that were tried in this boot. That it goes on means that they failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The boot: its id.
    pub boot: String,
    /// Which.
    pub rungs: BTreeSet<Rung>,
}

impl Tried {
    /// Those of the boot `boot`.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(root: &Root, boot: &str) -> Result<Self, Error> {
        let known = left::<Self>(root, TRIED)?.filter(|tried| tried.boot == boot);
        Ok(known.unwrap_or_else(|| Self {
            boot: boot.to_owned(),
            rungs: BTreeSet::new(),
        }))
    }

    /// Leaves it for whoever looks next in this boot.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn leave(&self, root: &Root) -> Result<(), Error> {
        put(root, TRIED, &serde_json::to_string(self)?)
    }
}

/// The operator holds a boot: no automatic reboot ends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The boot: its id.
    pub boot: String,
    /// Who it was, in words.
    pub by: String,
}

impl Held {
    /// Leaves it for whoever would reboot.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn leave(&self, root: &Root) -> Result<(), Error> {
        put(root, HELD, &serde_json::to_string(self)?)
    }

    /// Who holds the boot `boot`. None: nobody.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(root: &Root, boot: &str) -> Result<Option<Self>, Error> {
        Ok(left::<Self>(root, HELD)?.filter(|held| held.boot == boot))
    }
}

/// A unit or drop-in of the closure that systemd does not get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its path below the directory of units.
    pub unit: String,
    /// The file, or the word of the kernel's command line, by which the operator masks it. None: it is one of those
    /// that no closure has a say in.
    pub masked_by: Option<String>,
}

impl Units {
    /// None of the units of `closure`.
    #[must_use]
    pub fn none(closure: impl AsRef<Path>) -> Self {
        Self {
            closure: closure.as_ref().display().to_string(),
            made: 0,
            left_out: Vec::new(),
            problems: Vec::new(),
            missed: Vec::new(),
        }
    }

    /// Takes over what an earlier run of this boot has to say that is not mended by this one.
    pub fn follows(&mut self, before: Option<Self>) {
        let Some(before) = before.filter(|before| before.closure == self.closure) else {
            return;
        };
        self.missed = before.missed;
        for problem in before.problems {
            if !self.missed.contains(&problem) {
                self.missed.push(problem);
            }
        }
    }

    /// Whether it is known that in this boot systemd got all units of its closure: the store was there in time.
    #[must_use]
    pub fn are_complete(root: &Root) -> bool {
        let left = Self::read(root).ok().flatten();
        left.is_some_and(|units| units.problems.is_empty() && units.missed.is_empty())
    }

    /// Leaves it for the assessment.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn leave(&self, root: &Root) -> Result<(), Error> {
        put(root, UNITS, &serde_json::to_string(self)?)
    }

    /// What was left. None: no generator of ours has come to its end since the machine started.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(root: &Root) -> Result<Option<Self>, Error> {
        left(root, UNITS)
    }
}

/// Leaves a sign whose name says all: [`crate::host::PROVEN`] or [`crate::host::FIREWALLED`].
///
/// # Errors
/// When it cannot be written.
pub fn mark(root: &Root, path: &'static str) -> Result<(), Error> {
    put(root, path, "")
}

/// A soft-reboot keeps `/run`: what spoke of the user space before it goes. What the generator has left is of the new one,
/// but for what it took over.
///
/// # Errors
/// When something cannot be removed.
pub fn forget_userspace(root: &Root) -> Result<(), Error> {
    for path in [PROVEN, FIREWALLED, HEALTHY] {
        match std::fs::remove_file(root.join(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(path, error)),
            _ => {}
        }
    }
    if let Some(mut units) = Units::read(root)?
        && !units.missed.is_empty()
    {
        units.missed.clear();
        units.leave(root)?;
    }
    Ok(())
}

/// Whether a sign is there.
#[must_use]
pub fn is_marked(root: &Root, path: &'static str) -> bool {
    root.join(path).symlink_metadata().is_ok()
}

/// Takes a sign away.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn unmark(root: &Root, path: &'static str) -> Result<(), Error> {
    match std::fs::remove_file(root.join(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path, error)),
        _ => Ok(()),
    }
}

fn left<T: DeserializeOwned>(root: &Root, path: &'static str) -> Result<Option<T>, Error> {
    match std::fs::read_to_string(root.join(path)) {
        Ok(text) => match serde_json::from_str(&text) {
            Ok(left) => Ok(Some(left)),
            Err(source) => Err(Error::Odd { path, source }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(at(path, source)),
    }
}

fn put(root: &Root, path: &'static str, text: &str) -> Result<(), Error> {
    let place: PathBuf = root.place(path).map_err(|source| at(path, source))?;
    Ok(durable::put_text(text, &place)?)
}

fn at(path: &'static str, source: io::Error) -> Error {
    Error::Read { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::line::one_line;

    #[test]
    fn what_no_agent_has_left_is_told_with_its_place() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        assert!(Units::read(&root).unwrap().is_none());
        durable::put_text("{", &root.join(UNITS)).unwrap();
        let line = one_line(&Units::read(&root).unwrap_err());
        for words in [UNITS, "is not what an agent leaves", "; remove it"] {
            assert!(line.contains(words), "{line}");
        }
    }
}
