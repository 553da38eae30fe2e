//! A run that changes something: the lock, the ledger, the entries, the profile, the roots.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use boot_entries::observe::Observation;
use boot_entries::plan::{self, Plan};
use boot_entries::{Root, apply, durable};
use jiff::Timestamp;

use crate::error::Error;
use crate::machine::{Event, State, Subject};
use crate::view::View;
use crate::{gc_roots, journal, ledger, lock};

/// How long an operator's command waits for another run to end.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The right to change things, and the machine as it was when that right was taken.
#[derive(Debug)]
pub struct Session {
    view: View,
    _lock: lock::Lock,
}

impl Deref for Session {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

/// A plan, and where it is to be carried out.
#[derive(Debug)]
pub struct Prepared {
    /// `$BOOT`, as a path of this process.
    pub directory: PathBuf,
    /// The steps.
    pub plan: Plan,
}

impl Session {
    /// Takes the lock, and only then reads anything.
    ///
    /// # Errors
    /// When another run keeps the lock, or something cannot be read.
    pub fn open(root: &Root) -> Result<Self, Error> {
        let lock = lock::take(root, PATIENCE)?;
        Ok(Self {
            view: View::read(root)?,
            _lock: lock,
        })
    }

    /// Adds an event to the ledger, and to the journal where there is one.
    ///
    /// # Errors
    /// When the ledger cannot be written: then it has not happened.
    pub fn record(&mut self, event: &Event) -> Result<(), Error> {
        ledger::record(&self.view.root, Timestamp::now(), event)?;
        if self.view.root.is_live() {
            journal::event(event);
        }
        let state = std::mem::take(&mut self.view.state);
        self.view.state = state.after(event);
        Ok(())
    }

    /// Plans the entries that `state` asks for, and changes nothing.
    ///
    /// # Errors
    /// When `$BOOT` cannot be read, or the plan is refused.
    pub fn prepare(&self, state: &State, rearm: bool) -> Result<Prepared, Error> {
        let directory = self.boot_directory()?;
        let kept: Vec<_> = self.generations();
        let observed = Observation::read(&self.root, &directory, &self.profiles, &kept)?;
        let plan = plan::plan(&observed, &self.intent(state, rearm))?;
        for (id, why) in &plan.skipped {
            tracing::warn!("generation {id} cannot be booted and is left out: {why}");
        }
        Ok(Prepared { directory, plan })
    }

    /// Carries a plan out.
    ///
    /// # Errors
    /// At the first step that fails; a later run goes on from there.
    pub fn carry_out(&self, prepared: &Prepared) -> Result<(), Error> {
        let steps = &prepared.plan.steps;
        let mut number = 0;
        apply::apply(&prepared.directory, steps, |step| {
            number += 1;
            tracing::info!("{number}/{} {step}", steps.len());
        })?;
        Ok(())
    }

    /// Brings entries and garbage collector roots to what the ledger says.
    ///
    /// # Errors
    /// When either cannot be written.
    pub fn settle(&self) -> Result<(), Error> {
        self.keep_roots()?;
        self.carry_out(&self.prepare(&self.state, false)?)
    }

    /// Keeps what a fallback may need from the garbage collector.
    ///
    /// # Errors
    /// When a root cannot be written.
    pub fn keep_roots(&self) -> Result<(), Error> {
        Ok(gc_roots::keep(&self.root, &self.state.protected())?)
    }

    /// Lets the profile of a rejected generation point at `to` again, if it still points at the rejected one: else the
    /// next `nixos-rebuild boot` or garbage collection would take the bad one for the current one.
    ///
    /// # Errors
    /// When the link cannot be replaced.
    pub fn repoint_profile(&self, rejected: &Subject, to: &Subject) -> Result<(), Error> {
        let (from, to) = (&rejected.generation, &to.generation);
        let listed = self.profiles.generations.iter().any(|g| g.id == *to);
        if from.profile() == to.profile() && listed && self.profiles.current.contains(from) {
            let link = self.root.join(from.profile_link());
            durable::put_link(Path::new(&to.link_name()), &link)?;
            tracing::info!("profile {} points at generation {to} again", from.profile());
        }
        Ok(())
    }
}
