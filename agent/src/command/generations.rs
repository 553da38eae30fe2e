//! `lastgood list-generations`: nixos-rebuild's list, and how each generation stands.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use boot_entries::generation::Generation;
use boot_entries::name::stem_of;
use boot_entries::observe::BootFiles;
use boot_entries::{GenerationId, Root, closure};
use serde::Serialize;

use crate::cli::Output;
use crate::error::Error;
use crate::report::label::{Number, StateLabel};
use crate::report::line::{one_line, plain};
use crate::report::print::{local_of, print, print_json};
use crate::report::style::{Cell, Line, Style, Tone};
use crate::view::{View, versions};

/// What nixos-rebuild writes for what it cannot find out.
const UNKNOWN: &str = "Unknown";

/// One generation. The first seven keys are nixos-rebuild's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(
    clippy::struct_excessive_bools,
    reason = "the contract's keys, each a fact of its own"
)]
struct Row {
    #[serde(skip)]
    id: GenerationId,
    generation: Number,
    date: String,
    nixos_version: String,
    kernel_version: String,
    configuration_revision: String,
    specialisations: Vec<String>,
    #[serde(skip)]
    closures: BTreeMap<String, PathBuf>,
    current: bool,
    state: StateLabel,
    booted: bool,
    selected: bool,
    last_good: bool,
    tries_left: Option<u32>,
    toplevel: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    unbootable_because: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    specialisation_generations: Vec<Row>,
}

impl Row {
    /// Whether `other` is a specialisation of this very closure.
    fn has(&self, other: &Self) -> bool {
        let of = |name: &str| self.closures.get(name).map(PathBuf::as_path);
        other.id.base() == self.id
            && other.id.specialisation().and_then(of) == Some(Path::new(&other.toplevel))
    }
}

/// Puts specialisations into the row of their generation: nixos-rebuild's list has one row for each of those. One that
/// outlived its generation has a row of its own.
fn nested(rows: Vec<Row>) -> Vec<Row> {
    let mut all: Vec<Row> = Vec::new();
    for row in rows {
        match all.iter_mut().find(|whole| whole.has(&row)) {
            Some(whole) => whole.specialisation_generations.push(row),
            None => all.push(row),
        }
    }
    all
}

pub(super) fn run(
    root: &Root,
    output: Output,
    style: Style,
    out: &mut impl Write,
) -> Result<(), Error> {
    let view = View::read(root)?;
    let boot = view.boot().unwrap_or_else(|error| {
        tracing::warn!("tries are not shown: {}", one_line(&error));
        BootFiles::default()
    });
    let mut generations = view.generations().into_owned();
    // Newest first, and each before its specialisations.
    generations.sort_by(|a, b| (b.id.base(), &a.id).cmp(&(a.id.base(), &b.id)));
    let rows: Vec<Row> = generations.iter().map(|g| row(&view, &boot, g)).collect();
    if output.json {
        return Ok(print_json(out, &nested(rows))?);
    }
    let mut lines = vec![headings()];
    for row in &rows {
        lines.push(Line::Row(cells(row)));
        if let Some(why) = &row.unbootable_because {
            let why = format!("generation {} cannot be booted: {why}", row.id);
            lines.push(Line::Note(Cell::new(Tone::Bad, why)));
        }
    }
    Ok(print(out, &style.table(&lines, &LEAST_NEEDED))?)
}

fn row(view: &View, boot: &BootFiles, generation: &Generation) -> Row {
    let subject = generation.subject();
    // No `$BOOT` that could be read has no directory either.
    let directory = Some(boot.place.boot.as_path()).filter(|path| !path.as_os_str().is_empty());
    let examined = view.examine(generation, directory);
    let document = closure::document(&view.root, &generation.toplevel);
    let closures = document.map_or_else(
        |_| BTreeMap::new(),
        |document| document.specialisations.closures,
    );
    let is = |other: Option<&_>| other == Some(&subject);
    let left = boot
        .files_of(&stem_of(&subject))
        .filter_map(|(_, file)| file.name.tries)
        .map(|tries| tries.left)
        .min();
    let id = &generation.id;
    // The link by that name may be another generation's by now.
    let is_listed = view.lists(&subject);
    let made = is_listed.then(|| id.made(&view.root)).flatten();
    Row {
        id: id.clone(),
        generation: Number::of(id),
        date: local_of(made),
        nixos_version: versions::nixos(&view.root, &generation.toplevel)
            .unwrap_or_else(|| UNKNOWN.to_owned()),
        kernel_version: versions::kernel(&view.root, &generation.toplevel)
            .unwrap_or_else(|| UNKNOWN.to_owned()),
        // nixos-rebuild runs the closure's own nixos-version for this; a tool that must not fail runs nothing.
        configuration_revision: UNKNOWN.to_owned(),
        specialisations: closures.keys().cloned().collect(),
        closures,
        current: view.is_current(&subject),
        state: StateLabel::of(view.state.standing(&subject), examined.is_ok()),
        booted: is(view.running()),
        selected: is(view.state.selected.as_ref()),
        last_good: is(view.state.last_good()),
        tries_left: left,
        toplevel: generation.toplevel.display().to_string(),
        unbootable_because: examined.err().map(|why| plain(&why)),
        specialisation_generations: Vec::new(),
    }
}

/// nixos-rebuild's, and ours.
const HEADINGS: [&str; 7] = [
    "Generation",
    "Build-date",
    "NixOS version",
    "Kernel",
    "State",
    "Tries left",
    "Marks",
];
/// What is left out first where there is no room: kernel, then version, then date.
const LEAST_NEEDED: [usize; 3] = [3, 2, 1];

fn headings() -> Line {
    let heading = |name| Cell::new(Tone::Heading, name);
    Line::Row(HEADINGS.map(heading).to_vec())
}

fn cells(row: &Row) -> Vec<Cell> {
    let marks = [
        (row.booted, "booted"),
        (row.selected, "selected"),
        (row.last_good, "last good"),
        (row.current, "current"),
    ];
    let marks: Vec<&str> = marks
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, name)| *name)
        .collect();
    let left = row.tries_left.map(|left| left.to_string());
    vec![
        row.id.to_string().into(),
        row.date.clone().into(),
        row.nixos_version.clone().into(),
        row.kernel_version.clone().into(),
        Cell::new(row.state.tone(), row.state.text()),
        left.unwrap_or_else(|| "-".to_owned()).into(),
        marks.join(", ").into(),
    ]
}
