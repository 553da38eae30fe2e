//! `lastgood install`: entries for all generations, one of them selected.

use std::io::Write;
use std::path::Path;

use boot_entries::Root;

use super::print;
use crate::cli::Install;
use crate::config;
use crate::error::Error;
use crate::machine::{Event, Standing, Subject};
use crate::session::Session;
use crate::view::{View, subject_of};

pub(super) fn run(root: &Root, arguments: &Install, out: &mut impl Write) -> Result<(), Error> {
    let mut session = Session::open(root)?;
    let subject = wanted(&session, arguments.toplevel.as_deref())?;
    check_config(root, &subject.toplevel)?;
    let standing = session.state.standing(&subject);
    if standing == Standing::Rejected && !arguments.again {
        let summary = session
            .state
            .rejected
            .get(&subject)
            .map(|cause| cause.summary.as_str());
        return Err(Error::Refused(format!(
            "generation {id} was rejected ({}); see `lastgood why {id}`, and run again with --again to try it once more",
            summary.unwrap_or("no cause is recorded"),
            id = subject.generation,
        )));
    }
    let event = Event::Selected {
        subject: subject.clone(),
    };
    let is_news = arguments.again || session.state.selected.as_ref() != Some(&subject);
    let state = if is_news {
        session.state.clone().after(&event)
    } else {
        session.state.clone()
    };
    let prepared = session.prepare(&state, arguments.again)?;
    let steps = &prepared.plan.steps;
    if arguments.dry_run {
        for step in steps {
            print(out, &format!("would {step}\n"))?;
        }
        return print(
            out,
            &format!("would select generation {}\n", subject.generation),
        );
    }
    // The wish is on record before the first entry changes: a crash in between leaves a later run to finish it.
    if is_news {
        session.record(&event)?;
    }
    session.keep_roots()?;
    session.carry_out(&prepared)?;
    let count = match steps.len() {
        0 if !is_news => "nothing to do".to_owned(),
        1 => "1 change".to_owned(),
        count => format!("{count} changes"),
    };
    let word = super::Word::of(session.state.standing(&subject), true).text();
    print(
        out,
        &format!(
            "generation {} ({word}) boots next; {count}\n",
            subject.generation
        ),
    )
}

/// The generation that TOPLEVEL is, or the one the system profile points at.
fn wanted(view: &View, toplevel: Option<&Path>) -> Result<Subject, Error> {
    let Some(toplevel) = toplevel else {
        let current = view.profiles.current_system().ok_or_else(|| {
            Error::Refused("the system profile points at no generation; name a TOPLEVEL".to_owned())
        })?;
        return view.subject(current);
    };
    let closure = view
        .root
        .canonical(toplevel)
        .map_err(|source| Error::Read {
            what: toplevel.display().to_string(),
            source,
        })?;
    let same = |id| {
        view.profiles
            .generations
            .iter()
            .find(|g| g.id == id && g.toplevel == closure)
    };
    let current = view.profiles.current.iter().cloned().find_map(same);
    let newest = || {
        view.profiles
            .generations
            .iter()
            .rev()
            .find(|g| g.toplevel == closure)
    };
    current.or_else(newest).map(subject_of).ok_or_else(|| {
        Error::Refused(format!(
            "{} is no generation of any profile; make it one with `nix-env --profile /nix/var/nix/profiles/system --set {}`",
            toplevel.display(),
            closure.display(),
        ))
    })
}

/// A configuration with a mistake is refused here, where somebody can mend it.
fn check_config(root: &Root, toplevel: &Path) -> Result<(), Error> {
    let path = toplevel.join(config::PATH);
    match config::read(root, toplevel) {
        Ok(_) => Ok(()),
        Err(config::Error::Mistake(mistake)) => Err(Error::Refused(format!(
            "{}: {mistake}; mend it and build the generation again",
            path.display()
        ))),
        Err(config::Error::Read(source)) => Err(Error::Read {
            what: path.display().to_string(),
            source,
        }),
    }
}
