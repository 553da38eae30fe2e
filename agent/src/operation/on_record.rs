//! What follows from a verdict, and that it comes after the record.
//!
//! A crash between the record and what it announces is made good by the next run: what the ledger says can be carried
//! through as often as one likes.

use boot_entries::plan::Counter;

use crate::entries::write_verdict;
use crate::error::Error;
use crate::report::line::one_line;
use crate::session::Session;
use crate::state::baseline::Baseline;
use crate::state::cause::Cause;
use crate::state::{Event, Subject};
use crate::store::{gc_roots, profile};

/// A verdict that the ledger has: what entries, profile and roots are changed by while a machine boots. A repair
/// changes them to what is on record already, a selection to what it has [recorded](super::select).
#[derive(Debug)]
#[must_use = "a verdict on record is to be carried through"]
pub struct OnRecord {
    /// What was rejected, and what its profile is to point at instead.
    repoint: Option<(Subject, Subject)>,
    /// What becomes of the selected generation's counter.
    counter: Counter,
}

/// A verdict that the entries say, or cannot be made to say.
#[derive(Debug)]
#[must_use = "a verdict on record is to be carried through"]
pub struct InEntries {
    written: Result<(), Error>,
    repoint: Option<(Subject, Subject)>,
}

/// How far a verdict was carried through. What fails in one part keeps nobody from the others.
#[derive(Debug)]
#[must_use]
pub struct CarriedThrough {
    /// Counters and ranks of the entries.
    pub entries: Result<(), Error>,
    /// The profile's link.
    pub profile: Result<(), Error>,
    /// Roots for Nix's garbage collector.
    pub roots: Result<(), Error>,
}

/// That a verdict was carried through as far as it could be. No way down begins without it: what boots next is decided
/// before the machine is asked to go.
#[derive(Debug)]
pub struct Carried(());

impl Carried {
    /// There is no verdict: what runs is to be tried again.
    #[must_use]
    pub fn nothing() -> Self {
        Self(())
    }
}

impl OnRecord {
    /// Records that `subject` is proven.
    ///
    /// # Errors
    /// When the ledger cannot be written: then it is not.
    pub fn proven(
        session: &mut Session,
        subject: Subject,
        baseline: Baseline,
    ) -> Result<Self, Error> {
        session.record(&Event::Proven { subject, baseline })?;
        Ok(Self::already())
    }

    /// Records that `subject` is rejected. Its profile is to point at what the machine goes back to.
    ///
    /// # Errors
    /// When the ledger cannot be written: then it is not.
    pub fn rejected(session: &mut Session, subject: Subject, cause: Cause) -> Result<Self, Error> {
        let rejected = subject.clone();
        session.record(&Event::Rejected { subject, cause })?;
        let repoint = session.state().last_good().map(|to| (rejected, to.clone()));
        Ok(Self {
            repoint,
            counter: Counter::Stays,
        })
    }

    /// What the ledger says already.
    pub fn already() -> Self {
        Self::counting(Counter::Stays)
    }

    /// The same, and the selected generation's counter is to be another.
    pub fn counting(counter: Counter) -> Self {
        Self {
            repoint: None,
            counter,
        }
    }

    /// The profile of `rejected` is to point at `to`.
    pub fn going_back(self, rejected: &Subject, to: &Subject) -> Self {
        Self {
            repoint: Some((rejected.clone(), to.clone())),
            ..self
        }
    }

    /// Brings entries, profile and roots to what is on record.
    pub fn carry_through(self, session: &Session) -> CarriedThrough {
        self.write_entries(session).go_on(session)
    }

    /// Brings the entries to what is on record: they come first, because they decide what boots. No payload is read or
    /// written for it, so that this ends soon.
    pub fn write_entries(self, session: &Session) -> InEntries {
        InEntries {
            written: write_verdict(&session.view, self.counter),
            repoint: self.repoint,
        }
    }
}

impl InEntries {
    /// Whether they say so.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.written.is_ok()
    }

    /// Brings the profile and the roots to what is on record.
    pub fn go_on(self, session: &Session) -> CarriedThrough {
        let view = &session.view;
        let repoint = self.repoint.as_ref();
        let repoint = repoint.filter(|(rejected, to)| view.is_to_be_repointed(rejected, to));
        CarriedThrough {
            entries: self.written,
            profile: repoint.map_or(Ok(()), |(_, to)| {
                Ok(profile::point_at(&view.root, &to.generation)?)
            }),
            roots: keep_roots(session),
        }
    }
}

impl CarriedThrough {
    /// What was not done, the most important first.
    pub fn errors(self) -> impl Iterator<Item = Error> {
        let all = [self.entries, self.profile, self.roots];
        all.into_iter().filter_map(Result::err)
    }

    /// Tells what was not done, and lets nothing stop for it.
    pub fn tell(self) -> Carried {
        for error in self.errors() {
            tracing::error!("{}", one_line(&error));
        }
        Carried(())
    }
}

/// Keeps what a fallback may need from the garbage collector.
///
/// # Errors
/// When a root cannot be written.
pub fn keep_roots(session: &Session) -> Result<(), Error> {
    // Nothing is gone back to then, and nobody would release them.
    if session.state().uninstalled {
        return Ok(());
    }
    Ok(gc_roots::keep(&session.view.root, session.state())?)
}
