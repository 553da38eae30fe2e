//! `lastgood rollback`: which generation it is, and whether it takes a boot.

use boot_entries::{GenerationId, Root};

use super::{asked, fit};
use crate::error::Error;
use crate::exit::Exit;
use crate::session::Session;
use crate::state::{Standing, Subject};
use crate::store::profile;
use crate::view::View;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Which generation. None: the one before the active one.
    pub to: Option<&'a GenerationId>,
    /// By a reboot.
    pub reboot: bool,
}

/// How to get there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// By a live switch to it.
    Live(Subject),
    /// By selecting it, and a reboot.
    Reboot(Subject),
}

/// Finds out where to and how.
///
/// # Errors
/// When there is no such generation, or it takes a reboot and none is asked for.
pub fn rollback(root: &Root, wanted: Wanted<'_>) -> Result<Way, Error> {
    super::live_only(root)?;
    let session = Session::look(root)?;
    let view = &session.view;
    let subject = match wanted.to {
        Some(id) => view.subject(id)?,
        None => before_the_active_one(view)?,
    };
    if wanted.reboot {
        return Ok(Way::Reboot(subject));
    }
    let needs = fit::needs_reboot(root, &subject.toplevel)?;
    if needs.is_needed() {
        let id = &subject.generation;
        return Err(Error::Ended {
            exit: Exit::RebootNeeded,
            text: format!(
                "generation {id} takes a reboot: {}; nothing was changed; `lastgood rollback --to {id} --reboot` goes there",
                needs.words()
            ),
        });
    }
    Ok(Way::Live(subject))
}

/// Lets the profile point at what a rollback has selected for the next boot, as `nix-env --rollback` does: the next
/// `lastgood install`, or garbage collection, is not to take the one that was left for the current one.
///
/// # Errors
/// When the link cannot be replaced.
pub fn point_profile_at(root: &Root, subject: &Subject) -> Result<(), Error> {
    let session = Session::open(root)?;
    let view = &session.view;
    if !view.is_current(subject) && view.lists(subject) {
        profile::point_at(&view.root, &subject.generation)?;
    }
    Ok(())
}

/// As nix-env's `--rollback` has it: the next lower number of the profile; of what was not rejected.
fn before_the_active_one(view: &View) -> Result<Subject, Error> {
    let active = asked::active(view)?;
    let is_active = |subject: &Subject| subject.toplevel == active;
    let current = view.profiles.current_system();
    let all = view.generations();
    let of_active = all.iter().filter(|one| is_active(&one.subject()));
    let from = of_active
        .clone()
        .find(|one| current == Some(&one.id))
        .or_else(|| of_active.max_by_key(|one| one.id.clone()))
        .map(|one| one.id.base())
        .or_else(|| current.cloned());
    let Some(from) = from else {
        return Err(Error::Refused(
            "what is active is no generation of any profile; name one with --to".to_owned(),
        ));
    };
    let earlier = all.iter().filter(|one| {
        one.id.profile() == from.profile()
            && one.id.number() < from.number()
            && one.id.specialisation().is_none()
            && one.toplevel != active
            && view.lists(&one.subject())
            && view.state.standing(&one.subject()) != Standing::Rejected
    });
    earlier
        .max_by_key(|one| one.id.number())
        .map(boot_entries::generation::Generation::subject)
        .ok_or_else(|| {
            Error::Refused(format!(
                "there is no generation before {from} that was not rejected; name one with --to, `lastgood list-generations` \
                 shows all"
            ))
        })
}
