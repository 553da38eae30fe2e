//! What is asked for, and whether it may be.

use std::path::{Path, PathBuf};

use boot_entries::GenerationId;
use boot_entries::generation::Generation;
use boot_entries::name::stem_of;

use super::{closure, readiness};
use crate::error::Error;
use crate::operation::switch::fit;
use crate::session::Session;
use crate::state::{Event, Standing, State, Subject};
use crate::view::View;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// A closure, a link to one, or a generation. None: what the system profile points at.
    pub toplevel: Option<&'a Path>,
    /// The operator insists: what was rejected, or has used up its tries, is tried once more.
    pub again: bool,
    /// The operator insists on a closure with another machine's name.
    pub new_hostname: bool,
}

/// A request that may be granted, and what the machine's state is once it is on record.
#[derive(Debug)]
pub(super) struct Asked {
    /// What is to boot next.
    pub(super) subject: Subject,
    /// Gives the system its mark, if it has none.
    pub(super) naming: Option<Event>,
    /// The selection. None: it is on record already.
    pub(super) selected: Option<Event>,
    /// The state with both.
    pub(super) state: State,
}

impl Asked {
    /// Finds out what `request` means, and refuses what must not be selected.
    pub(super) fn of(session: &Session, request: &Request<'_>) -> Result<Self, Error> {
        let view = &session.view;
        let subject = wanted(view, request.toplevel)?;
        fit::check_hostname(&view.root, &subject.toplevel, request.new_hostname)?;
        // What was proven with it, and what the operator insists on, is installed all the same.
        let is_trusted = request.again || view.state.standing(&subject) == Standing::Proven;
        closure::check(&view.root, &subject.toplevel, is_trusted)?;
        for warning in readiness::warnings(&subject, &readiness::look(&view.root, &subject)) {
            tracing::warn!("{warning}");
        }
        for warning in readiness::in_the_way(&view.root, &subject) {
            tracing::warn!("{warning}");
        }
        // It is installed all the same: what is booted next is what was asked for. But nobody is to rely on a way back.
        if let Some(volatile) = view.volatile_state() {
            tracing::warn!("{volatile}");
        }
        let is_news = request.again || view.state.selected.as_ref() != Some(&subject);
        let naming = session.naming();
        let selected = is_news.then(|| Event::Selected {
            subject: subject.clone(),
            by: None,
        });
        let events = naming.iter().chain(&selected);
        let state = events.fold(view.state.clone(), State::after);
        if !request.again {
            may_be_tried(view, &subject, &state)?;
        }
        Ok(Self {
            subject,
            naming,
            selected,
            state,
        })
    }

    /// Whether the ledger does not say so yet.
    pub(super) fn is_news(&self) -> bool {
        self.selected.is_some()
    }
}

/// The generation that TOPLEVEL is, or the one the system profile points at.
fn wanted(view: &View, toplevel: Option<&Path>) -> Result<Subject, Error> {
    let (closure, subject) = find(view, toplevel)?;
    subject.ok_or_else(|| {
        Error::Refused(format!(
            "{} is no generation of any profile; make it one with `nix-env --profile /nix/var/nix/profiles/system --set {}`",
            toplevel.unwrap_or(&closure).display(),
            closure.display(),
        ))
    })
}

/// The closure that TOPLEVEL is, and which generation that is, if any.
///
/// # Errors
/// When it is not there, or no generation has that number.
pub(in crate::operation) fn find(
    view: &View,
    toplevel: Option<&Path>,
) -> Result<(PathBuf, Option<Subject>), Error> {
    let of = |subject: Subject| (subject.toplevel.clone(), Some(subject));
    let Some(toplevel) = toplevel else {
        let current = view.profiles.current_system().ok_or_else(|| {
            Error::Refused("the system profile points at no generation; name a TOPLEVEL".to_owned())
        })?;
        return view.subject(current).map(of);
    };
    // A path of that form can be written with a `./` before it.
    if let Some(id) = toplevel
        .to_str()
        .and_then(|text| text.parse::<GenerationId>().ok())
    {
        return view.subject(&id).map(of);
    }
    // On the running machine a relative path is relative to where we stand; in a tree, to its top.
    let absolute = if view.root.is_live() {
        std::path::absolute(toplevel)
    } else {
        Ok(toplevel.to_owned())
    };
    let closure = absolute
        .and_then(|path| view.root.canonical(path))
        .map_err(|source| Error::Read {
            what: toplevel.display().to_string(),
            source,
        })?;
    let all = view.generations();
    let same = || {
        all.iter()
            .filter(|generation| generation.toplevel == closure)
    };
    // Where the profile points, then the newest; a generation rather than a specialisation of it.
    let preferred = |generation: &&Generation| {
        let base = generation.id.base();
        let current = view.profiles.current.contains(&base) && view.lists(&generation.subject());
        (current, base, generation.id.specialisation().is_none())
    };
    let subject = same().max_by_key(preferred).map(Generation::subject);
    if subject.is_none()
        && view
            .root
            .join(&closure)
            .try_exists()
            .is_ok_and(|there| !there)
    {
        let toplevel = toplevel.display();
        return Err(Error::Refused(format!(
            "{toplevel} is not there; see that the path is right, and that the store is mounted"
        )));
    }
    Ok((closure, subject))
}

/// A generation that was rejected, or that has used up its tries, is not selected by any automatism (invariant A5). Its
/// entry is where it says itself that ESPs are: nothing else may have said so yet.
fn may_be_tried(view: &View, subject: &Subject, selected: &State) -> Result<(), Error> {
    let id = &subject.generation;
    let insist = format!("see `lastgood why {id}`, and run again with --again to try it once more");
    if let Some(rejection) = view.state.rejected.get(&subject.toplevel) {
        let (former, summary) = (&rejection.subject.generation, &rejection.cause.summary);
        let as_former = if former == id {
            String::new()
        } else {
            format!(" as generation {former}")
        };
        return Err(Error::Refused(format!(
            "generation {id} was rejected{as_former} ({summary}); {insist}"
        )));
    }
    let stem = stem_of(subject);
    let names = view.entry_names(selected)?;
    let mut tries = names
        .iter()
        .filter(|name| name.stem == stem)
        .filter_map(|name| name.tries);
    let is_used_up = view.state.standing(subject) != Standing::Proven
        && tries.any(|tries| tries.left == 0)
        && !is_owed_tries(view, subject, selected)?;
    if is_used_up {
        return Err(Error::Refused(format!(
            "generation {id} has used up its tries; {insist}"
        )));
    }
    Ok(())
}

/// Whether the entry that is looked at has not heard of this selection, while those elsewhere have: its counter is an
/// older one's.
fn is_owed_tries(view: &View, subject: &Subject, selected: &State) -> Result<bool, Error> {
    let state = &view.state;
    let places = view.places(selected)?;
    let first = places.usable.first();
    let is_missed = first.is_some_and(|place| !state.is_armed_in(&place.name));
    Ok(is_missed && state.armed && state.selected.as_ref() == Some(subject))
}
