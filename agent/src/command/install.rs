//! `lastgood install`: entries for all generations, one of them selected.

use std::io::Write;
use std::path::Path;

use boot_entries::generation::Generation;
use boot_entries::{GenerationId, Root};

use super::print;
use crate::cli::Install;
use crate::config;
use crate::error::Error;
use crate::machine::{Event, Standing, Subject};
use crate::secrets;
use crate::session::Session;
use crate::view::View;

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
    if arguments.dry_run && root.is_live() && would_finish(&session, &subject, out)? {
        return Ok(());
    }
    if !arguments.dry_run {
        session.finish_initrds(&subject)?;
    }
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
    secrets::sweep(root, &session.generations())?;
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

/// Tells which programs an install would run first. Whether `subject` is among those whose initrd they finish: what would
/// be written then can only be known after that.
fn would_finish(session: &Session, subject: &Subject, out: &mut impl Write) -> Result<bool, Error> {
    let missing = session.to_finish(subject);
    for toplevel in &missing {
        let program = secrets::program_of(&session.root, toplevel).unwrap_or_default();
        let (toplevel, program) = (toplevel.display(), program.display());
        print(
            out,
            &format!("would add initrd secrets of {toplevel} with {program}\n"),
        )?;
    }
    let selected = missing.contains(&subject.toplevel);
    if selected {
        let id = &subject.generation;
        print(out, &format!("would select generation {id}\n"))?;
    }
    Ok(selected)
}

/// The generation that TOPLEVEL is, or the one the system profile points at.
fn wanted(view: &View, toplevel: Option<&Path>) -> Result<Subject, Error> {
    let Some(toplevel) = toplevel else {
        let current = view.profiles.current_system().ok_or_else(|| {
            Error::Refused("the system profile points at no generation; name a TOPLEVEL".to_owned())
        })?;
        return view.subject(current);
    };
    // A path of that form can be written with a `./` before it.
    if let Some(id) = toplevel
        .to_str()
        .and_then(|text| text.parse::<GenerationId>().ok())
    {
        return view.subject(&id);
    }
    let closure = view
        .root
        .canonical(toplevel)
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
    same().max_by_key(preferred).map(Generation::subject).ok_or_else(|| {
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
