//! `lastgood install`: entries for all generations, one of them selected.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use boot_entries::generation::Generation;
use boot_entries::loader::Override;
use boot_entries::name::stem_of;
use boot_entries::systemd_boot::Policy;
use boot_entries::{GenerationId, Root};

use super::next_boot::{self, Prediction};
use super::{lines, print, print_would};
use crate::cli::Install;
use crate::config;
use crate::entries::{Done, Prepared};
use crate::error::Error;
use crate::report::line::one_line;
use crate::session::Session;
use crate::state::{Event, Standing, State, Subject};
use crate::store::{gc_roots, secrets};
use crate::view::View;

pub(super) fn run(root: &Root, arguments: &Install, out: &mut impl Write) -> Result<(), Error> {
    let mut session = if arguments.dry_run {
        Session::look(root)?
    } else {
        Session::open(root)?
    };
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
        // What can be told without the initrd: whether there is a place for it.
        return session.places(&state).map(drop);
    }
    if !arguments.dry_run {
        session.finish_initrds(&subject)?;
    }
    let overrides = session.overrides_to_clear(&state)?;
    let mut prepared = session.prepare(&state, Policy::Update)?;
    session.prove(&mut prepared, &subject)?;
    let mut prepared = session.may_be_written(prepared)?;
    session.look_ahead(&mut prepared);
    if arguments.dry_run {
        let lines = would(&session, &prepared, &state, &overrides)?;
        let news = is_news.then(|| format!("select generation {id}"));
        return would_be(&session, prepared, &id, lines.into_iter().chain(news), out);
    }
    let changes = prepared.steps().count();
    // The closure itself must be on the disk before anything boots it: Nix does not see to that. What is armed was
    // flushed by the run that selected it.
    if is_news || !state.armed || changes > 0 {
        flush_store(root, &subject.toplevel)?;
    }
    // The wish is on record before the first entry changes: a crash in between leaves a later run to finish it.
    let naming = naming.iter().filter(|_| is_news || changes > 0);
    let events: Vec<&Event> = naming.chain(is_news.then_some(&selected)).collect();
    if !events.is_empty() {
        session.record_all(&events)?;
    }
    session.clear(&overrides, &state);
    let unchanged = prepared.unchanged();
    let unchanged = unchanged.map(|(boot, band)| next_boot::predict_of(&session, boot, band, 0));
    let done = session.carry_out(prepared)?;
    let kept = session.keep_roots();
    let kept = match session.state.bound_by {
        Some(_) => kept,
        None => kept.and_then(|()| Ok(secrets::sweep(root, &session.generations())?)),
    };
    if kept.is_err() {
        done.complaints.tell();
    }
    kept?;
    arm(&mut session, &subject, &done)?;
    let count = match changes {
        0 if state.armed => "nothing to do".to_owned(),
        1 => "1 change".to_owned(),
        count => format!("{count} changes"),
    };
    let boots = match (unchanged, done.next_band) {
        (Some(boots), _) => Ok(boots),
        (None, Some(band)) => {
            let boot = session.boot();
            boot.map(|boot| next_boot::predict_of(&session, &boot, band, 0))
        }
        (None, None) => next_boot::predict(&session, 0),
    };
    boots_next(&session, &subject, &count, boots, done, out)
}

/// The last line: that it is installed and selected is not all. Something else may be stronger, or it is not where the loader
/// looks.
fn boots_next(
    session: &Session,
    subject: &Subject,
    count: &str,
    boots: Result<Vec<Prediction>, Error>,
    done: Done,
    out: &mut impl Write,
) -> Result<(), Error> {
    let id = &subject.generation;
    let what = match boots {
        Ok(boots) => match instead(id, &boots) {
            None => {
                let word = super::StateLabel::of(session.state.standing(subject), true).text();
                let line = format!("generation {id} ({word}) boots next; {count}\n");
                print(out, &line)?;
                return done.complaints.into_result();
            }
            Some(what) => what,
        },
        // Why there is nothing to ask is what the line begins with.
        Err(_) if done.complaints.iter().next().is_some() => {
            "but what boots next cannot be told".to_owned()
        }
        Err(error) => format!("but what boots next cannot be told: {}", one_line(&error)),
    };
    let names = done.places.iter().map(|name| name.display().to_string());
    let names: Vec<String> = names.collect();
    let how = match (done.has_next, names.as_slice()) {
        (true, _) => "is installed and selected".to_owned(),
        (false, []) => "is selected, and is installed nowhere yet".to_owned(),
        (false, names) => format!("is selected, and is installed in {} only", names.join(", ")),
    };
    let told = format!("generation {id} {how}, {what}");
    Err(Error::Refused(match done.complaints.into_first() {
        Some(why) => format!("{}; {told}", one_line(&why)),
        None => told,
    }))
}

/// What boots next if that is not `id`.
fn instead(id: &GenerationId, boots: &[Prediction]) -> Option<String> {
    match boots.first() {
        Some(boot) if boot.id.as_ref() == Some(id) => None,
        Some(boot) => Some(format!(
            "but {} boots next: {}; `lastgood next-boot` shows what comes after it, and `lastgood status` what overrides the \
             selection",
            boot.entry, boot.why
        )),
        None => Some(
            "but no entry can be started from here; `lastgood verify` says what is missing"
                .to_owned(),
        ),
    }
}

/// A dry run: tells `lines`, what would be done, and then what would boot next, as far as it can be told now.
fn would_be(
    session: &Session,
    prepared: Prepared,
    id: &GenerationId,
    lines: impl Iterator<Item = String>,
    out: &mut impl Write,
) -> Result<(), Error> {
    let lines: Vec<String> = lines.collect();
    print_would(out, &lines)?;
    if lines.is_empty() {
        let line = format!("nothing to do: generation {id} is selected, and all is written\n");
        print(out, &line)?;
    }
    let boots = match prepared.outcome() {
        Some((boot, band)) => {
            let band = band.map_or_else(|| session.band(&boot.place), Ok)?;
            next_boot::predict_of(session, &boot, band, 0)
        }
        None => Vec::new(),
    };
    if let Some(what) = instead(id, &boots) {
        return Err(Error::Refused(format!(
            "generation {id} would be installed and selected, {what}"
        )));
    }
    prepared.complaints.into_result()
}

/// Records where the entries now say what is selected. What the loader does with those that do not means nothing.
fn arm(session: &mut Session, subject: &Subject, done: &Done) -> Result<(), Error> {
    let subject = subject.clone();
    let is_new = |place: &PathBuf| !session.state.is_armed_in(place);
    if !done.places.iter().any(is_new) {
        return Ok(());
    }
    let mut places: BTreeSet<PathBuf> = done.places.iter().cloned().collect();
    if session.state.armed {
        places.extend(session.state.armed_in.iter().flatten().cloned());
    }
    let places = Some(places);
    session.record(&Event::Armed { subject, places })
}

/// What an install does besides selecting, a line each.
fn would(
    session: &Session,
    prepared: &Prepared,
    state: &State,
    overrides: &[Override],
) -> Result<Vec<String>, Error> {
    let clear = |one: &Override| format!("clear EFI variable {}", one.variable.name());
    let mut all: Vec<String> = overrides.iter().map(clear).collect();
    all.extend(lines(prepared));
    for (place, programs) in prepared.programs() {
        all.push(format!("run {programs} in {}", place.name.display()));
    }
    let roots = gc_roots::changes(&session.root, state)?;
    all.extend(roots.iter().map(ToString::to_string));
    let left = secrets::left_over(&session.root, &session.generations_in(state))?;
    all.extend(left.iter().map(|path| format!("remove {}", path.display())));
    Ok(all)
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
    let is_used_up = session.state.standing(subject) != Standing::Proven
        && tries.any(|tries| tries.left == 0)
        && !is_owed_tries(session, subject)?;
    if is_used_up {
        return Err(Error::Refused(format!(
            "generation {id} has used up its tries; {insist}"
        )));
    }
    Ok(())
}

/// Whether the entry that is looked at has not heard of this selection, while those elsewhere have: its counter is an older
/// one's.
fn is_owed_tries(session: &Session, subject: &Subject) -> Result<bool, Error> {
    let state = &session.state;
    let places = session.places(state)?;
    let first = places.usable.first();
    let is_missed = first.is_some_and(|place| !state.is_armed_in(&place.name));
    Ok(is_missed && state.armed && state.selected.as_ref() == Some(subject))
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
        print(
            out,
            &format!(
                "would select generation {id}; what is written for it is known when its program has run\n"
            ),
        )?;
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
        if view.root.join(&closure).try_exists().is_ok_and(|there| !there) {
            let toplevel = toplevel.display();
            return Error::Refused(format!(
                "{toplevel} is not there; see that the path is right, and that the store is mounted"
            ));
        }
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
    config::check(root, toplevel).map_err(|error| {
        Error::Refused(format!(
            "{}: {error}; mend it and build the generation again",
            path.display()
        ))
    })
}
