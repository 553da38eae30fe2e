//! Each rule of `docs/switch.md`, one row each.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;

use super::*;
use crate::switch::set::{Leads, Units};
use crate::switch::situation::{Active, Before, State};

mod hanging;
mod model;
mod mounts;
mod rows;
mod session;
mod sockets;
mod standing;
mod undo;
mod whose;

/// The same text is the same file of the store.
fn file(name: &str, text: &str) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    PathBuf::from(format!("/nix/store/{:x}/{name}", hasher.finish()))
}

fn put(units: &mut Units, name: &str, text: &str) {
    let leads = if text == "masked" {
        Leads::Nowhere
    } else if let Some(other) = text.strip_prefix("alias ") {
        Leads::Alias(other.to_owned())
    } else {
        let path = file(name, text);
        units.texts.insert(path.clone(), text.to_owned());
        Leads::File(path)
    };
    if let Some((unit, drop_in)) = name.split_once(".d/") {
        let files = units.drop_ins.entry(unit.to_owned()).or_default();
        files.insert(drop_in.to_owned(), leads);
    } else {
        units.insert(name, leads);
    }
}

fn up() -> State {
    State {
        active: Active::Active,
        sub: "running".to_owned(),
        since: 1,
        ..State::default()
    }
}

/// Units with what the old closure says of each, and the new one; "-": nothing. What the old one has runs from it.
fn given(units: &[(&str, &str, &str)]) -> Situation {
    let mut situation = Situation::default();
    for (name, old, new) in units {
        if *old != "-" {
            put(&mut situation.old, name, old);
        }
        if *new != "-" {
            put(&mut situation.new, name, new);
        }
        let runs = !matches!(*old, "-" | "masked") && !old.starts_with("alias ");
        if runs && !name.contains(".d/") && !name.contains("@.") {
            runs_as(&mut situation, name);
        }
    }
    situation
}

/// Something that runs from the old closure's file, or from its template's.
fn runs_as(situation: &mut Situation, name: &str) {
    let template = crate::switch::set::template_of(name);
    let own = situation.old.files.contains_key(name);
    let file = template.filter(|_| !own).unwrap_or_else(|| name.to_owned());
    let state = State {
        fragment: format!("/etc/systemd/system/{file}"),
        names: BTreeSet::from([name.to_owned()]),
        ..up()
    };
    situation.states.insert(name.to_owned(), state);
}

fn state<'a>(situation: &'a mut Situation, name: &str) -> &'a mut State {
    situation.states.get_mut(name).unwrap()
}

/// `who` is wanted by `by` in both closures.
fn wanted(situation: &mut Situation, by: &str, who: &str) {
    for units in [&mut situation.old, &mut situation.new] {
        let names = units.wanted.entry(by.to_owned()).or_default();
        names.insert(who.to_owned());
    }
}

/// A reverse dependency that PID 1 knows: what hangs goes down and up with its base.
fn hangs(situation: &mut Situation, who: &str, on: &str) {
    let state = state(situation, on);
    state.stops.insert(who.to_owned());
    state.restarts.insert(who.to_owned());
}

fn triggers(situation: &mut Situation, who: &str, whom: &str) {
    state(situation, who).triggers.insert(whom.to_owned());
    let service = situation.states.entry(whom.to_owned()).or_default();
    service.triggered_by.insert(who.to_owned());
}

/// The lines of the dry run without their "would", and without the reload that is always there.
fn lines(plan: &Plan) -> Vec<String> {
    let lines = plan.lines().into_iter().map(|line| line.dry());
    let lines = lines.map(|line| line.trim_start_matches("would ").to_owned());
    lines
        .filter(|line| !line.starts_with("reload systemd:"))
        .collect()
}

/// The same without the reasons.
fn deeds(plan: &Plan) -> Vec<String> {
    let lines = lines(plan).into_iter();
    lines
        .map(|line| {
            let end = line.rfind(": ").unwrap_or(line.len());
            let deed = line.get(..end).unwrap_or_default();
            deed.split(": ").next().unwrap_or_default().to_owned()
        })
        .collect()
}

fn intents(plan: &Plan) -> Vec<(&str, Intent)> {
    let intended = plan.intended.iter();
    intended
        .map(|(unit, intent)| (unit.as_str(), *intent))
        .collect()
}
