//! What a machine may be left with.

use std::path::Path;

use crate::entry::EntryFile;
use crate::generation::{Generation, Subject};
use crate::name::OurName as _;
use crate::nixpkgs;
use crate::observe::Observation;
use crate::plan::{Intent, Standing};
use systemd_boot_model::LoaderConf;

/// What the machine may be left with, the best first.
pub(super) fn acceptable(observed: &Observation, intent: &Intent) -> Vec<Subject> {
    let is_proven =
        |subject: &&Subject| intent.standings.get(subject).copied() == Some(Standing::Proven);
    let selected = intent.selected.iter().filter(is_proven);
    let others = intent.standings.keys().rev().filter(is_proven);
    let mut all: Vec<Subject> = Vec::new();
    for subject in intent.last_good.iter().chain(selected).chain(others) {
        if !all.contains(subject) {
            all.push(subject.clone());
        }
    }
    if !all.is_empty() {
        return all;
    }
    let files = || observed.boot.all().map(|(_, file)| file);
    let before = stand_in(observed, intent);
    let conf = LoaderConf::parse(observed.boot.loader_conf.as_deref().unwrap_or_default());
    let named = files().find(|file| conf.default.as_ref() == Some(&file.name.to_string()));
    let started = before.into_iter().chain(named);
    let closures = started.filter_map(|file| nixpkgs::init_of(&file.entry));
    let before = closures.filter_map(|closure| newest(observed, &closure));
    let subjects = intent.running.iter().cloned().chain(before);
    subjects.take(1).collect()
}

/// What stands in for a predecessor of ours.
pub(super) fn stand_in<'a>(observed: &'a Observation, intent: &Intent) -> Option<&'a EntryFile> {
    let mut files = observed.boot.all().map(|(_, file)| file);
    files
        .find(|file| file.name.is_stand_in() && !observed.is_other_systems(&intent.ownership, file))
}

/// The newest generation that is `closure`, and rather itself than a specialisation of it.
fn newest(observed: &Observation, closure: &Path) -> Option<Subject> {
    let generations = observed.generations.iter().map(|found| &found.generation);
    generations
        .filter(|generation| generation.toplevel == closure)
        .max_by_key(|generation| {
            let id = &generation.id;
            (id.base(), id.specialisation().is_none())
        })
        .map(Generation::subject)
}
