//! A run that changes something, or tells what it would change: the lock, the ledger, the entries, the profile, the roots.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use boot_entries::systemd_boot::Policy;
use boot_entries::{Root, durable, plan};
use jiff::Timestamp;

use crate::error::Error;
use crate::report::line::one_line;
use crate::state::{Event, Subject};
use crate::store::{gc_roots, ledger, lock, secrets};
use crate::system::journal;
use crate::view::View;

/// How long an operator's command waits for another run to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a step of a boot does: nearly as long as its unit may take, because a verdict must not get lost.
const LONG_PATIENCE: Duration = Duration::from_mins(4);

/// A new random UUID at every look.
const RANDOM: &str = "/proc/sys/kernel/random/uuid";

/// The right to change things, or to look while nobody else does, and the machine as it was when that right was taken.
#[derive(Debug)]
pub struct Session {
    pub(crate) view: View,
    /// Closures whose initrd could not be finished in this run, and why.
    pub(crate) unfinished: BTreeMap<PathBuf, String>,
    /// None: nothing is to be changed, and there is none to share.
    _lock: Option<lock::Lock>,
}

impl Deref for Session {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

impl Session {
    /// Takes the lock, and only then reads anything: for a command of the operator.
    ///
    /// # Errors
    /// When another run keeps the lock, or something cannot be read.
    pub fn open(root: &Root) -> Result<Self, Error> {
        Self::open_with(root, || lock::take(root, PATIENCE).map(Some))
    }

    /// The same for a command that changes nothing, and creates nothing either: not even a lock, where there is none.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn look(root: &Root) -> Result<Self, Error> {
        Self::open_with(root, || {
            let lock = lock::share(root, PATIENCE)?;
            if lock.is_none() {
                tracing::debug!(
                    "looking without a lock: there is none yet, so nobody has changed anything"
                );
            }
            Ok(lock)
        })
    }

    /// The same for a step of a boot, which has more time.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_at_boot(root: &Root) -> Result<Self, Error> {
        Self::open_with(root, || lock::take(root, LONG_PATIENCE).map(Some))
    }

    fn open_with(
        root: &Root,
        lock: impl FnOnce() -> Result<Option<lock::Lock>, lock::Error>,
    ) -> Result<Self, Error> {
        if !std::fs::metadata(root.directory()).is_ok_and(|found| found.is_dir()) {
            let directory = root.directory().display();
            return Err(Error::Refused(format!(
                "{directory} is no directory; give --root the top of a tree"
            )));
        }
        let lock = lock()?;
        Ok(Self {
            view: View::read(root)?,
            unfinished: BTreeMap::new(),
            _lock: lock,
        })
    }

    /// Adds an event to the ledger, and to the journal where there is one.
    ///
    /// # Errors
    /// When the ledger cannot be written: then it has not happened.
    pub fn record(&mut self, event: &Event) -> Result<(), Error> {
        self.record_all(&[event])
    }

    /// The same for several events, in this order.
    ///
    /// # Errors
    /// As [`Self::record`]: then none of them has happened, or those before the one that is missing.
    pub fn record_all(&mut self, events: &[&Event]) -> Result<(), Error> {
        // Before the first entry of all. Where there are some without a mark, marking them is for a run that is asked to
        // write entries.
        let leads_to_entries = events.iter().any(|event| event.leads_to_entries());
        let is_named = events
            .iter()
            .any(|event| matches!(event, Event::Named { .. }));
        let named = (leads_to_entries && !is_named && !self.state.wrote_unmarked)
            .then(|| self.naming())
            .flatten();
        let all: Vec<&Event> = named.iter().chain(events.iter().copied()).collect();
        ledger::record(&self.view.root, Timestamp::now(), &all)?;
        for event in all {
            if self.view.root.is_live() {
                journal::event(event);
            }
            let state = std::mem::take(&mut self.view.state);
            self.view.state = state.after(event);
        }
        // After the record, and when nothing waits for what follows: neither a boot nor a fallback.
        let may_wait = events.iter().all(|event| {
            matches!(
                event,
                Event::Selected { .. } | Event::Proven { .. } | Event::Degraded { .. }
            )
        });
        if may_wait
            && std::mem::take(&mut self.view.ledger.is_due)
            && let Err(error) = ledger::tend(&self.view.root, &|subject| self.lists(subject))
        {
            tracing::warn!("{} is not tidied: {}", ledger::PATH, one_line(&error));
        }
        Ok(())
    }

    /// The event that gives the system what its entries are known by. None: it has that, or there is nothing to be had.
    #[must_use]
    pub fn naming(&self) -> Option<Event> {
        if self.state.owner.is_some() {
            return None;
        }
        // The kernel's that runs, whatever tree this is about.
        let uuid = std::fs::read_to_string(RANDOM).inspect_err(|error| {
            tracing::warn!(
                "entries are not marked as this system's: cannot read {RANDOM}: {error}"
            );
        });
        let owner = uuid.ok()?.split('-').next()?.parse().ok()?;
        Some(Event::Named { owner })
    }

    /// Adds initrd secrets where they are still to be added: for `selected` first, then for all others. This runs
    /// programs of the closures, and is left out in a tree.
    ///
    /// # Errors
    /// When it fails for `selected`. Another generation's failure is its own, and told with the plan.
    pub fn finish_initrds(&mut self, selected: &Subject) -> Result<(), Error> {
        if !self.root.is_live() {
            return Ok(());
        }
        let root = self.root.clone();
        for toplevel in self.to_finish(selected) {
            tracing::info!("adding initrd secrets of {}", toplevel.display());
            let Err(why) = secrets::finish_or_say(&root, &toplevel) else {
                continue;
            };
            if toplevel == selected.toplevel {
                return Err(plan::Refusal::Unbootable(selected.clone(), why).into());
            }
            self.unfinished.insert(toplevel, why);
        }
        Ok(())
    }

    /// The closures whose initrd is still to be finished, that of `selected` first.
    #[must_use]
    pub fn to_finish(&self, selected: &Subject) -> Vec<PathBuf> {
        let initrds = secrets::finished(&self.root, &self.generations(), &self.documents);
        let missing = initrds.into_iter().filter(|(_, found)| found.is_err());
        let mut missing: Vec<PathBuf> = missing.map(|(toplevel, _)| toplevel).collect();
        missing.sort_by_key(|toplevel| *toplevel != selected.toplevel);
        missing
    }

    /// Everything else that the ledger asks for: garbage collector roots, missing and damaged payload, what is no longer
    /// needed. After [`Self::restate`], so that nothing here stands in a verdict's way.
    ///
    /// # Errors
    /// The first of what cannot be done. All that can be done is.
    pub fn tidy(&self) -> Result<(), Error> {
        let roots = self.keep_roots();
        if self.state.uninstalled {
            return roots;
        }
        // A boot brings no other loader: whoever selects a closure does.
        let prepared = self.prepare(&self.state, Policy::Mend);
        roots.and(prepared.and_then(|prepared| self.carry_out(prepared)?.complaints.into_result()))
    }

    /// Keeps what a fallback may need from the garbage collector.
    ///
    /// # Errors
    /// When a root cannot be written.
    pub fn keep_roots(&self) -> Result<(), Error> {
        Ok(gc_roots::keep(&self.root, &self.state)?)
    }

    /// Lets the profile of a rejected generation point at `to` again, if it still points at the rejected one: else the
    /// next `nixos-rebuild boot` or garbage collection would take the bad one for the current one.
    ///
    /// # Errors
    /// When the link cannot be replaced.
    pub fn repoint_profile(&self, rejected: &Subject, to: &Subject) -> Result<(), Error> {
        // A profile knows nothing of specialisations: that one of them is bad says nothing about what it points at. And a
        // link whose number came back with another closure leads to that one.
        let from = &rejected.generation;
        let to_id = &to.generation;
        if from.profile() == to_id.profile()
            && from.number() != to_id.number()
            && self.is_current(rejected)
            && self.lists(to)
        {
            let path = from.profile_link();
            let link = self.root.place(&path).map_err(|source| Error::Read {
                what: path.display().to_string(),
                source,
            })?;
            durable::put_link(Path::new(&to_id.link_name()), &link)?;
            tracing::info!(
                "profile {} points at generation {} again",
                from.profile(),
                to_id.base()
            );
        }
        Ok(())
    }
}
