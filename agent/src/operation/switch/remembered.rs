//! What the machine was before a live switch: kept where a process that takes up the work finds it. Gone at a reboot, and
//! a machine that was rebooted needs none of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use boot_entries::{Root, durable};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::host::SWITCH_BEFORE;
use crate::switch::plan::Plan;
use crate::switch::situation::Before;

/// What the machine was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remembered {
    /// The closure that was active.
    pub(super) closure: PathBuf,
    /// Units that ran.
    pub(super) units: BTreeMap<String, Was>,
    /// Units that had failed.
    #[serde(default)]
    pub(super) failed: BTreeSet<String>,
    /// The units that the session of whoever asked belongs to.
    pub(super) session: Vec<String>,
    /// Where the process that made the switch said how far it was. One that finds its own name here was killed in the
    /// middle.
    pub(super) said: PathBuf,
    /// When the time to confirm it is up, in microseconds of the monotonic clock. None: nobody is asked to.
    #[serde(default)]
    pub(super) until: Option<u64>,
    /// What only a boot puts in place, in half a sentence.
    pub(super) needs_reboot: Option<String>,
}

/// How a unit was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Was {
    /// It ran.
    pub(super) up: bool,
    /// Since when, in microseconds of the monotonic clock. 0: that is not known.
    pub(super) since: u64,
    /// The plan of the switch touches it.
    #[serde(default)]
    pub(super) touched: bool,
    /// The switch may have reloaded it.
    #[serde(default)]
    pub(super) reloaded: bool,
}

impl From<Before> for Was {
    fn from(before: Before) -> Self {
        let Before {
            up,
            since,
            touched,
            reloaded,
        } = before;
        Self {
            up,
            since,
            touched,
            reloaded,
        }
    }
}

impl From<Was> for Before {
    fn from(was: Was) -> Self {
        let Was {
            up,
            since,
            touched,
            reloaded,
        } = was;
        Self {
            up,
            since,
            touched,
            reloaded,
        }
    }
}

impl Remembered {
    /// Keeps it.
    ///
    /// # Errors
    /// When it cannot be written: then nothing may be changed.
    pub(super) fn keep(&self, root: &Root) -> Result<(), Error> {
        let place = root.place(SWITCH_BEFORE).map_err(at)?;
        let text = serde_json::to_string(self).map_err(|error| at(error.into()))?;
        Ok(durable::put_text(&text, &place)?)
    }

    /// Keeps that `planned` touches more than was known at first: a script has asked for it.
    ///
    /// # Errors
    /// When it cannot be written: then nothing of it may be done.
    pub(super) fn touch(root: &Root, planned: &Plan) -> Result<(), Error> {
        let Some(mut kept) = Self::read(root) else {
            return Ok(());
        };
        for (name, was) in &mut kept.units {
            was.touched |= planned.touches(name);
            was.reloaded |= planned.reload.contains_key(name);
        }
        kept.keep(root)
    }

    /// What was kept. None: nothing, or nothing that makes sense. Going back is then to the closure alone.
    pub(super) fn read(root: &Root) -> Option<Self> {
        let text = std::fs::read_to_string(root.join(SWITCH_BEFORE)).ok()?;
        serde_json::from_str(&text)
            .inspect_err(|error| tracing::error!("{SWITCH_BEFORE}: {error}"))
            .ok()
    }

    /// Forgets it.
    pub(super) fn forget(root: &Root) {
        let removed = root
            .place(SWITCH_BEFORE)
            .map_err(at)
            .and_then(|place| Ok(durable::remove(&place)?));
        if let Err(error) = removed {
            tracing::warn!("{error}");
        }
    }

    /// As a plan wants it.
    pub(super) fn before(&self) -> BTreeMap<String, Before> {
        let units = self.units.iter();
        units
            .map(|(name, was)| (name.clone(), Before::from(*was)))
            .collect()
    }
}

fn at(source: std::io::Error) -> Error {
    Error::Read {
        what: SWITCH_BEFORE.to_owned(),
        source,
    }
}
