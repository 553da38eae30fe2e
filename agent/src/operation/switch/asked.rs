//! What is asked for, and whether it may be done: everything that can be refused is refused before the first change.

use std::path::{Path, PathBuf};

use boot_entries::Root;

use super::fit::{self, NeedsReboot};
use super::request::{Action, Request};
use crate::config;
use crate::error::Error;
use crate::host::CURRENT_SYSTEM;
use crate::operation::select;
use crate::session::Session;
use crate::state::{Standing, Subject};
use crate::system::manager::{Manager, Wanted};
use crate::view::View;

/// The unit that judges a boot.
const ASSESSOR: &str = "lastgood-assess.service";

/// A switch that may be made.
#[derive(Debug)]
pub(super) struct Asked {
    /// The closure that is active.
    pub(super) before: PathBuf,
    /// The closure that is to be.
    pub(super) after: PathBuf,
    /// Which generation that is. None: no profile names it.
    pub(super) subject: Option<Subject>,
    /// What only a boot puts in place.
    pub(super) needs_reboot: NeedsReboot,
    /// A boot has proven it, or the operator insists on it.
    is_trusted: bool,
}

impl Asked {
    /// Finds out what is meant, and refuses what must not be done. [`Self::check_closure`] is the rest.
    ///
    /// # Errors
    /// Why it must not.
    pub(super) fn of(session: &mut Session, request: &Request) -> Result<Self, Error> {
        let view = &session.view;
        if view.state.uninstalled {
            return Err(Error::Refused(
                "lastgood is uninstalled here: $BOOT was given back; `lastgood install` takes it again".to_owned(),
            ));
        }
        let before = active(view)?;
        let (after, subject) = select::find(view, request.toplevel.as_deref())?;
        let root = &view.root;
        if subject.is_none() && request.action == Action::Switch {
            return Err(Error::Refused(format!(
                "{0} is no generation of any profile, so it could not boot next; make it one with `nix-env --profile \
                 /nix/var/nix/profiles/system --set {0}`, or try it with `lastgood test {0}`",
                after.display()
            )));
        }
        if root.join(after.join("etc")).symlink_metadata().is_err() {
            return Err(Error::Refused(format!(
                "{} is no closure of a system: it has no etc; see that the path is right",
                after.display()
            )));
        }
        fit::check_hostname(root, &after, request.new_hostname)?;
        fit::check_init_interface(root, &before, &after)?;
        if !request.no_check {
            super::inhibitors::check(root, &before, &after)?;
        }
        if let Some(subject) = &subject {
            not_rejected(view, subject, request.again)?;
        }
        let is_trusted = request.again
            || subject
                .as_ref()
                .is_some_and(|subject| view.state.standing(subject) == Standing::Proven);
        Ok(Self {
            needs_reboot: fit::needs_reboot(root, &after)?,
            before,
            after,
            subject,
            is_trusted,
        })
    }

    /// Looks into the closure: what would fail is refused. This runs programs (`nft`, `systemd-analyze`), and takes a
    /// while.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check_closure(&self, root: &Root) -> Result<(), Error> {
        if !self.is_trusted {
            return select::check_closure(root, &self.after, false);
        }
        // What a boot has proven, or the operator insists on, is not taken apart again: what fails is undone.
        config::check(root, &self.after).map_err(|error| {
            let path = self.after.join(config::PATH);
            Error::Refused(format!(
                "{}: {error}; mend it and build it again",
                path.display()
            ))
        })
    }
}

/// The closure that is active.
///
/// # Errors
/// When none is.
pub(in crate::operation) fn active(view: &View) -> Result<PathBuf, Error> {
    let link = Path::new(CURRENT_SYSTEM);
    let is_there = view.root.join(link).symlink_metadata().is_ok();
    if !is_there {
        return Err(Error::Refused(format!(
            "no closure is active here: {CURRENT_SYSTEM} is not there; `lastgood install` and a reboot make one so"
        )));
    }
    view.root.canonical(link).map_err(|source| Error::Read {
        what: CURRENT_SYSTEM.to_owned(),
        source,
    })
}

/// A switch in the middle of an assessment would be judged by it (invariant A11).
///
/// # Errors
/// When the boot is being assessed.
pub(super) fn is_judged(manager: &mut Manager) -> Result<(), Error> {
    let answers = manager.properties(&[ASSESSOR], &[Wanted::unit("ActiveState")])?;
    let is_busy = answers
        .iter()
        .flatten()
        .any(|unit| unit.text("ActiveState") == "activating");
    if is_busy {
        return Err(Error::Refused(
            "this boot is still being assessed, and a switch would be blamed on it; wait until `lastgood status` says how it \
             ended, or accept it now with `lastgood good`"
                .to_owned(),
        ));
    }
    Ok(())
}

fn not_rejected(view: &View, subject: &Subject, is_insisted_on: bool) -> Result<(), Error> {
    let rejection = view.state.rejected.get(&subject.toplevel);
    match rejection.filter(|_| !is_insisted_on) {
        None => Ok(()),
        Some(rejection) => {
            let id = &subject.generation;
            Err(Error::Refused(format!(
                "generation {id} was rejected ({}); see `lastgood why {id}`, and run again with --again to try it once more",
                rejection.cause.summary
            )))
        }
    }
}
