//! A healthy verdict becomes the last good generation.

use std::io;

use boot_entries::{Root, durable};
use serde::{Deserialize, Serialize};

use crate::assessment::baseline::Baseline;
use crate::error::Error;
use crate::machine::{Event, Reaction, Verdict};
use crate::session::Session;

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
        Ok(durable::put_text(&text, &root.join(PATH))?)
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
    let mut session = Session::open(root)?;
    let boot = session.state.boot.clone();
    let healthy = Healthy::read(root)?;
    let Some(healthy) = healthy.filter(|healthy| boot.is_some_and(|boot| boot.id == healthy.boot))
    else {
        return Err(Error::Refused(
            "nothing is blessed: no assessment has found this boot healthy; `lastgood good` accepts it without one".to_owned(),
        ));
    };
    match session.state.reaction(Verdict::Healthy) {
        Reaction::Bless(subject) => {
            let id = subject.generation.clone();
            let baseline = healthy.baseline;
            session.record(&Event::Proven { subject, baseline })?;
            session.settle()?;
            tracing::info!("proven: generation {id}");
        }
        Reaction::StayUp(why) => tracing::warn!("not blessed: {why}"),
        Reaction::FallBack { .. } => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{State, Subject};
    use boot_entries::GenerationId;
    use jiff::Timestamp;

    #[test]
    fn nothing_is_blessed_without_an_assessment_of_this_boot() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let running = Subject {
            generation: GenerationId::system(1),
            toplevel: "/nix/store/1".into(),
        };
        let began = Event::Began {
            boot: "this".to_owned(),
            running: Some(running),
        };
        crate::ledger::record(&root, Timestamp::now(), &began).unwrap();
        let proven = || {
            crate::ledger::Ledger::read(&root)
                .unwrap()
                .state()
                .proven
                .len()
        };
        assert!(matches!(run(&root), Err(Error::Refused(_))));
        let verdict = |boot: &str| Healthy {
            boot: boot.to_owned(),
            baseline: Baseline::default(),
        };
        verdict("another").leave(&root).unwrap();
        assert!(matches!(run(&root), Err(Error::Refused(_))));
        assert_eq!(proven(), 0);
        verdict("this").leave(&root).unwrap();
        // There is no $BOOT here to write to; the record is made first, and the next run finishes the work.
        assert!(matches!(run(&root), Err(Error::NoBoot(_))));
        assert_eq!(proven(), 1);
        assert_ne!(
            crate::ledger::Ledger::read(&root).unwrap().state(),
            State::default()
        );
    }
}
