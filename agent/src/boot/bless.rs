//! A healthy verdict becomes the last good generation.

use std::io;
use std::path::PathBuf;

use boot_entries::{Root, durable};
use serde::{Deserialize, Serialize};

use super::attempt;
use crate::activation::generator::PROVEN;
use crate::error::Error;
use crate::report::line::one_line;
use crate::state::baseline::Baseline;
use crate::state::cause::Stage;
use crate::state::{Event, WhenHealthy};

/// What an assessment leaves for the blessing. In `/run`: it speaks of this boot only.
const PATH: &str = "/run/lastgood/healthy.json";

/// A healthy verdict.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Healthy {
    /// The boot it is about.
    pub(super) boot: String,
    /// What the machine looked like.
    pub(super) baseline: Baseline,
}

impl Healthy {
    /// Leaves the verdict for [`run`].
    pub(super) fn leave(&self, root: &Root) -> Result<(), Error> {
        let text = serde_json::to_string(self)?;
        Ok(durable::put_text(&text, &place(root, PATH)?)?)
    }

    fn read(root: &Root) -> Result<Option<Self>, Error> {
        match std::fs::read_to_string(root.join(PATH)) {
            Ok(text) => Ok(Some(serde_json::from_str(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Read {
                what: PATH.to_owned(),
                source,
            }),
        }
    }
}

/// Only an assessment of this very boot blesses (invariant A1): not a unit started by hand, not a verdict of before.
pub(super) fn run(root: &Root) -> Result<(), Error> {
    let mut session = attempt::session(root)?;
    let Some(boot) = session.this_boot().filter(|boot| boot.running.is_some()) else {
        tracing::info!("nothing to bless: this boot is no generation's");
        return Ok(());
    };
    let Some(healthy) = Healthy::read(root)?.filter(|healthy| healthy.boot == boot.id) else {
        return Err(Error::Refused(
            "nothing is blessed: no assessment has found this boot healthy; `lastgood good` accepts it without one".to_owned(),
        ));
    };
    match session.state.when_healthy() {
        WhenHealthy::Bless(subject) => {
            let id = subject.generation.clone();
            let baseline = healthy.baseline;
            // A second attempt at what follows is no second verdict. The operator's own one is none of that: it knows no
            // baseline.
            let is_on_record = session.state.baseline() == Some(&baseline)
                && session
                    .this_boot()
                    .is_some_and(|boot| boot.stage == Stage::Proven);
            if !is_on_record {
                session.record(&Event::Proven { subject, baseline })?;
            }
            // From here on the boot is no trial any more: an emergency mode is then the operator's.
            durable::put_text("", &place(root, PROVEN)?)?;
            session.restate()?;
            if let Err(error) = session.tidy() {
                tracing::warn!("{}", one_line(&error));
            }
            tracing::info!("blessed: generation {id}");
        }
        WhenHealthy::Leave(why) => tracing::warn!("not blessed: {why}"),
    }
    Ok(())
}

fn place(root: &Root, path: &str) -> Result<PathBuf, Error> {
    root.place(path).map_err(|source| Error::Read {
        what: path.to_owned(),
        source,
    })
}
