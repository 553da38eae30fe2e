//! `lastgood next-boot`: what the loader will do, by the model of it.

use std::io::Write;

use boot_entries::loader::{self, Band};
use boot_entries::name::{EntryName, stem_of};
use boot_entries::observe::Boot;
use boot_entries::{GenerationId, Root, nixpkgs};
use serde::Serialize;

use super::{Word, print, print_json, table};
use crate::cli::Output;
use crate::error::Error;
use crate::view::View;

/// One boot to come.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Prediction {
    failures: usize,
    pub(super) entry: String,
    pub(super) generation: Option<GenerationId>,
    state: Option<Word>,
    /// It starts what booted before lastgood came, which may be a generation.
    stand_in: bool,
    /// Another system with lastgood on the same `$BOOT` has written it.
    another_system: bool,
    pub(super) why: &'static str,
}

pub(super) fn run(
    root: &Root,
    failures: usize,
    output: Output,
    out: &mut impl Write,
) -> Result<(), Error> {
    let view = View::read(root)?;
    let boots = predict(&view, failures)?;
    if output.json {
        return print_json(out, &boots);
    }
    if boots.is_empty() {
        return Err(Error::Refused(
            "no entry can be started: the machine would not boot; run `lastgood install`"
                .to_owned(),
        ));
    }
    let row = |boot: &Prediction| {
        vec![
            match boot.failures {
                0 => "now".to_owned(),
                1 => "after 1 failed boot".to_owned(),
                count => format!("after {count} failed boots"),
            },
            match (&boot.generation, boot.stand_in) {
                _ if boot.another_system => "another system's".to_owned(),
                (Some(id), false) => format!("generation {id}"),
                (Some(id), true) => format!("generation {id}, as before lastgood"),
                (None, true) => "what booted before lastgood".to_owned(),
                (None, false) => "not ours".to_owned(),
            },
            boot.state.map_or("-", Word::text).to_owned(),
            boot.entry.clone(),
            boot.why.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = boots.iter().map(row).collect();
    print(out, &table(&rows))
}

/// What boots now and after each of `failures` failed boots.
pub(super) fn predict(view: &View, failures: usize) -> Result<Vec<Prediction>, Error> {
    let boot = view.boot()?;
    Ok(predict_of(view, &boot, view.band(&boot.place), failures))
}

/// [`predict`], for entries that were read before, by a loader of `band`.
pub(super) fn predict_of(
    view: &View,
    files: &Boot,
    band: Band,
    failures: usize,
) -> Vec<Prediction> {
    let generations = view.generations();
    let boots = files.loader(band, view.variables.clone()).predict(failures);
    let prediction = |(failures, boot): (usize, loader::Boot)| {
        // Whose number it is, first: telling names apart takes a hash each.
        let of = |name: &EntryName| {
            let number = name.generation_number()?;
            let mut same = generations.iter().filter(|g| g.id.number() == number);
            same.find(|g| stem_of(&g.subject()) == name.stem)
        };
        // By its stem: the file may be called otherwise by then.
        let started = files.files_of(&boot.name.stem).next();
        let own = of(&boot.name);
        let another_system =
            own.is_none() && started.is_some_and(|(_, file)| view.is_anothers(file));
        let stand_in = !another_system && boot.name.is_stand_in();
        let generation = if stand_in {
            let closure = started.and_then(|(_, file)| nixpkgs::init_of(&file.entry));
            closure.and_then(|closure| generations.iter().find(|g| g.toplevel == closure))
        } else {
            own
        };
        Prediction {
            failures,
            entry: boot.file,
            generation: generation.map(|g| g.id.clone()),
            state: generation.map(|g| Word::of(view.state.standing(&g.subject()), true)),
            stand_in,
            another_system,
            why: boot.why,
        }
    };
    boots.into_iter().enumerate().map(prediction).collect()
}
