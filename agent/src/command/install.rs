//! `lastgood install`: entries for all generations, one of them selected.

use std::io::Write;
use std::path::Path;

use boot_entries::generation::Generation;
use boot_entries::name::stem_of;
use boot_entries::systemd_boot::Policy;
use boot_entries::{GenerationId, Root};

use super::{next_boot, print};
use crate::cli::Install;
use crate::config;
use crate::error::Error;
use crate::machine::{Event, Standing, State, Subject};
use crate::secrets;
use crate::session::Session;
use crate::view::View;

pub(super) fn run(root: &Root, arguments: &Install, out: &mut impl Write) -> Result<(), Error> {
    let mut session = Session::open(root)?;
    let subject = wanted(&session, arguments.toplevel.as_deref())?;
    check_config(root, &subject.toplevel)?;
    let id = subject.generation.clone();
    if !arguments.again {
        may_be_tried(&session, &subject)?;
    }
    let selected = Event::Selected {
        subject: subject.clone(),
    };
    let naming = session.naming();
    let is_news = arguments.again || session.state.selected.as_ref() != Some(&subject);
    let news = naming.iter().chain(is_news.then_some(&selected));
    let state = news.fold(session.state.clone(), State::after);
    if arguments.dry_run && root.is_live() && would_finish(&session, &subject, out)? {
        return Ok(());
    }
    if !arguments.dry_run {
        session.finish_initrds(&subject)?;
    }
    let overrides = session.overrides_to_clear(&state)?;
    let mut prepared = session.prepare(&state, !state.armed, Policy::Update)?;
    session.prove(&mut prepared, boot_entries::plan::prove)?;
    if arguments.dry_run {
        for one in &overrides {
            print(
                out,
                &format!("would clear EFI variable {}\n", one.variable.name()),
            )?;
        }
        for (place, step) in prepared.steps() {
            let place =
                place.map_or_else(String::new, |place| format!(" in {}", place.name.display()));
            print(out, &format!("would {step}{place}\n"))?;
        }
        print(out, &format!("would select generation {id}\n"))?;
        return prepared.complaints.into_result();
    }
    session.may_be_written(&prepared)?;
    let changes = prepared.steps().count();
    let unchanged = prepared.unchanged();
    let unchanged = unchanged.map(|(boot, band)| (boot.clone(), band));
    // The closure itself must be on the disk before anything boots it: Nix does not see to that. What is armed was
    // flushed by the run that selected it.
    if is_news || !state.armed || changes > 0 {
        flush_store(root, &subject.toplevel)?;
    }
    if let Some(naming) = naming.filter(|_| is_news || changes > 0) {
        session.record(&naming)?;
    }
    // The wish is on record before the first entry changes: a crash in between leaves a later run to finish it.
    if is_news {
        session.record(&selected)?;
    }
    session.clear(&overrides, &state);
    let complaints = session.carry_out(prepared)?;
    session.keep_roots()?;
    secrets::sweep(root, &session.generations())?;
    if !state.armed {
        let subject = subject.clone();
        session.record(&Event::Armed { subject })?;
    }
    let count = match changes {
        0 if state.armed => "nothing to do".to_owned(),
        1 => "1 change".to_owned(),
        count => format!("{count} changes"),
    };
    let word = super::Word::of(session.state.standing(&subject), true).text();
    let boots = match unchanged {
        Some((boot, band)) => next_boot::predict_of(&session, &boot, band, 0),
        None => next_boot::predict(&session, 0)?,
    };
    match boots.first() {
        Some(boot) if boot.generation.as_ref() == Some(&id) => {
            let line = format!("generation {id} ({word}) boots next; {count}\n");
            print(out, &line)?;
            complaints.into_result()
        }
        Some(boot) => Err(Error::Refused(format!(
            "generation {id} is installed and selected, but {} boots next: {}",
            boot.entry, boot.why
        ))),
        None => Err(Error::Refused(format!(
            "generation {id} is installed and selected, but no entry can be started from here"
        ))),
    }
}

/// A generation that was rejected, or that has used up its tries, is not selected by any automatism (invariant A5).
fn may_be_tried(session: &Session, subject: &Subject) -> Result<(), Error> {
    let id = &subject.generation;
    let insist = format!("see `lastgood why {id}`, and run again with --again to try it once more");
    if let Some(rejection) = session.state.rejected.get(&subject.toplevel) {
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
    let names = session.entry_names()?;
    let mut tries = names
        .iter()
        .filter(|name| name.stem == stem)
        .filter_map(|name| name.tries);
    if session.state.standing(subject) != Standing::Proven && tries.any(|tries| tries.left == 0) {
        return Err(Error::Refused(format!(
            "generation {id} has used up its tries; {insist}"
        )));
    }
    Ok(())
}

fn flush_store(root: &Root, toplevel: &Path) -> Result<(), Error> {
    let opened = root.resolve(toplevel).and_then(std::fs::File::open);
    let flushed = opened.and_then(|directory| Ok(nix::unistd::syncfs(directory)?));
    flushed.map_err(|source| Error::Read {
        what: toplevel.display().to_string(),
        source,
    })
}

/// Tells which programs an install would run first. Whether `subject` is among those whose initrd they finish: what would
/// be written then can only be known after that.
fn would_finish(session: &Session, subject: &Subject, out: &mut impl Write) -> Result<bool, Error> {
    let missing = session.to_finish(subject);
    for toplevel in &missing {
        let program =
            secrets::program_of(&session.root, toplevel, &session.documents).unwrap_or_default();
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
    config::read(root, toplevel).map(drop).map_err(|error| {
        Error::Refused(format!(
            "{}: {error}; mend it and build the generation again",
            path.display()
        ))
    })
}
