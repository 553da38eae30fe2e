//! What is known of the units that a switch is judged by, kept up to date at little cost: of hundreds only those are asked
//! about again of which there is news.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::judge::{Now, PROPERTIES};
use crate::error::Error;
use crate::switch::plan::Intent;
use crate::system::manager::{Listed, Manager, Refusal, Signal};

/// What is told within so long is looked at together.
const TOGETHER: Duration = Duration::from_millis(20);

/// So few are asked about without a list of all.
const FEW: usize = 8;

/// What was seen of the units, and which of them there is news of since.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Each, as it was seen last.
    pub(super) units: BTreeMap<String, Result<Now, Refusal>>,
    /// Since then.
    news: News,
}

/// Of which units there is news.
#[derive(Debug, Default)]
struct News {
    units: BTreeSet<String>,
    /// Some may not have been heard of.
    is_of_all: bool,
}

impl Known {
    /// Asks about those of `names` that may not be what they were: one list of all units, and then the details of those
    /// that are new, that there is news of, or that the list does not show as they were.
    ///
    /// # Errors
    /// When PID 1 does not answer.
    pub(super) fn look(
        &mut self,
        manager: &mut Manager,
        intended: &BTreeMap<String, Intent>,
    ) -> Result<(), Error> {
        let listed = if intended.len() > FEW {
            manager.units()?
        } else {
            Vec::new()
        };
        let listed: BTreeMap<&str, &Listed> = listed
            .iter()
            .map(|unit| (unit.name.as_str(), unit))
            .collect();
        // What was told before the list: one that ended and was started again looks in it as it did.
        let until = Instant::now() + TOGETHER;
        while let Some(signal) = manager.signal(Duration::ZERO)? {
            self.news.hear(&signal, intended);
            if Instant::now() >= until {
                break;
            }
        }
        let news = std::mem::take(&mut self.news);
        let may_differ = |name: &String| {
            let is_as_listed = |now: &Now| {
                listed.get(name.as_str()).is_some_and(|listed| {
                    (&listed.load, &listed.active, &listed.sub)
                        == (&now.load, &now.active, &now.sub)
                })
            };
            let known = self.units.get(name).and_then(|known| known.as_ref().ok());
            news.is_of_all || news.units.contains(name) || !known.is_some_and(is_as_listed)
        };
        let names: Vec<&String> = intended.keys().filter(|name| may_differ(name)).collect();
        let answers = manager.properties(&names, &PROPERTIES)?;
        for (name, answer) in names.into_iter().zip(answers) {
            let now = answer.map(|answer| Now::of(&answer));
            self.units.insert(name.clone(), now);
        }
        Ok(())
    }

    /// Waits for news of one of these units, or until then. That a unit was read or forgotten is no news: the question
    /// about one that is gone makes systemd do both.
    ///
    /// # Errors
    /// When the connection with PID 1 is lost.
    pub(super) fn wait(
        &mut self,
        manager: &mut Manager,
        until: Instant,
        intended: &BTreeMap<String, Intent>,
    ) -> Result<(), Error> {
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        let mut until = until;
        let mut is_first = true;
        while let Some(signal) = manager.signal(left(until))? {
            if self.news.hear(&signal, intended) && std::mem::take(&mut is_first) {
                // What comes together is looked at together. On a busy machine it never ends.
                until = until.min(Instant::now() + TOGETHER);
            }
            if left(until).is_zero() {
                break;
            }
        }
        Ok(())
    }
}

impl News {
    /// Whether a signal may say that one of these units is not what it was.
    fn hear(&mut self, signal: &Signal, intended: &BTreeMap<String, Intent>) -> bool {
        match signal {
            Signal::Changed { unit, .. } | Signal::JobRemoved { unit, .. } => {
                let is_one = intended.contains_key(unit);
                if is_one {
                    self.units.insert(unit.clone());
                }
                is_one
            }
            // Its settings may be other ones as well.
            Signal::Missed | Signal::Reloading { begins: false } => {
                self.is_of_all = true;
                true
            }
            _ => false,
        }
    }
}
