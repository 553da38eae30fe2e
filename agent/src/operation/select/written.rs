//! From the record of a selection to entries that say so, and what follows from that.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use boot_entries::Root;
use systemd_boot_model::Override;

use super::asked::Asked;
use crate::entries::prediction::{self, Prediction};
use crate::entries::{Done, Ready, carry_out, overrides};
use crate::error::Error;
use crate::operation::on_record::keep_roots;
use crate::session::Session;
use crate::state::{Event, Standing, Subject};
use crate::store::secrets;

/// A selection that the ledger has.
#[derive(Debug)]
pub(super) struct Recorded {
    asked: Asked,
    ready: Ready,
    overrides: Vec<Override>,
    changes: usize,
}

/// A selection that the entries have, as far as they could be written.
#[derive(Debug)]
pub(super) struct Written {
    asked: Asked,
    changes: usize,
    /// What boots next, where nothing was to be written in the place that the loader reads.
    unchanged: Option<Vec<Prediction>>,
    done: Done,
}

/// A selection whose closures Nix keeps.
#[derive(Debug)]
pub(super) struct Kept(Written);

/// A generation that is selected.
#[derive(Debug)]
pub struct Selected {
    /// Which.
    pub subject: Subject,
    /// How it stands.
    pub standing: Standing,
    /// How many changes that took. None: there was nothing to do.
    pub changes: Option<usize>,
    /// What boots next, or why nobody can tell.
    pub next: Result<Option<Prediction>, Error>,
    /// Where all is written, and what is not.
    pub done: Done,
}

impl Recorded {
    /// Puts the selection on record before the first entry changes: a crash in between leaves a later run to finish it.
    pub(super) fn of(
        session: &mut Session,
        asked: Asked,
        (ready, overrides): (Ready, Vec<Override>),
    ) -> Result<Self, Error> {
        let changes = ready.prepared().steps().count();
        // The closure itself must be on the disk before anything boots it: Nix does not see to that. What is armed was
        // flushed by the run that selected it.
        if asked.is_news() || !asked.state.armed || changes > 0 {
            flush_store(&session.view.root, &asked.subject.toplevel)?;
        }
        let naming = asked.naming.iter();
        let naming = naming.filter(|_| asked.is_news() || changes > 0);
        let events: Vec<&Event> = naming.chain(&asked.selected).collect();
        if !events.is_empty() {
            session.record_all(&events)?;
        }
        Ok(Self {
            asked,
            ready,
            overrides,
            changes,
        })
    }

    /// Clears what the firmware would choose over the entries, and writes these.
    pub(super) fn write(self, session: &mut Session) -> Result<Written, Error> {
        overrides::clear(&mut session.view, &self.overrides, &self.asked.state);
        let view = &session.view;
        let unchanged = self.ready.prepared().unchanged(view);
        Ok(Written {
            asked: self.asked,
            changes: self.changes,
            unchanged,
            done: carry_out(view, self.ready)?,
        })
    }
}

impl Written {
    /// Has Nix keep what a fallback may need, and removes initrds that nobody needs now that the entries are written.
    pub(super) fn keep(self, session: &Session) -> Result<Kept, Error> {
        let view = &session.view;
        let kept = keep_roots(session).and_then(|()| match view.state.bound_by {
            // What is on record and not known may need an initrd that nobody here knows of.
            Some(_) => Ok(()),
            None => Ok(secrets::sweep(&view.root, &view.generations())?),
        });
        if let Err(error) = kept {
            self.done.complaints.tell();
            return Err(error);
        }
        Ok(Kept(self))
    }
}

impl Kept {
    /// Records where the entries now say what is selected. What the loader does with those that do not means nothing.
    pub(super) fn arm(self, session: &mut Session) -> Result<Selected, Error> {
        let Self(Written {
            asked,
            changes,
            unchanged,
            done,
        }) = self;
        let subject = asked.subject;
        let state = session.state();
        let is_new = |place: &PathBuf| !state.is_armed_in(place);
        if done.places.iter().any(is_new) {
            let mut places: BTreeSet<PathBuf> = done.places.iter().cloned().collect();
            if state.armed {
                places.extend(state.armed_in.iter().flatten().cloned());
            }
            session.record(&Event::Armed {
                subject: subject.clone(),
                places: Some(places),
            })?;
        }
        let next = match (unchanged, done.next_release) {
            (Some(boots), _) => Ok(boots),
            (None, Some(release)) => {
                let boot = session.view.boot();
                boot.map(|boot| prediction::predict_of(&session.view, &boot, release, 0))
            }
            (None, None) => prediction::predict(&session.view, 0),
        };
        Ok(Selected {
            standing: session.state().standing(&subject),
            subject,
            changes: (changes > 0 || !asked.state.armed).then_some(changes),
            next: next.map(|boots| boots.into_iter().next()),
            done,
        })
    }
}

/// Puts the file system of `toplevel` on the disk.
fn flush_store(root: &Root, toplevel: &Path) -> Result<(), Error> {
    let opened = root.resolve(toplevel).and_then(std::fs::File::open);
    let flushed = opened.and_then(|directory| Ok(nix::unistd::syncfs(directory)?));
    flushed.map_err(|source| Error::Read {
        what: toplevel.display().to_string(),
        source,
    })
}
