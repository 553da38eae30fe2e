//! `lastgood next-boot`: what the loader will do, by the model of it.

use std::io::Write;

use boot_entries::Root;
use boot_entries::boot_partition::Place;

use crate::cli::Output;
use crate::entries::prediction::{Prediction, look};
use crate::error::Error;
use crate::report::label::not_selected;
use crate::report::line::one_line;
use crate::report::print::{print, print_json};
use crate::report::style::{Cell, Line, Style, Tone};
use crate::view::View;

pub(super) fn run(
    root: &Root,
    failures: usize,
    output: Output,
    style: Style,
    out: &mut impl Write,
) -> Result<(), Error> {
    let view = View::read(root)?;
    let mut places = view.places(&view.state)?;
    // Mirrors say nothing of what the loader reads next.
    let is_missing = !places.has_next && !places.unusable.is_empty();
    let missing = is_missing.then(|| places.unusable.remove(0));
    let mut outcome = missing.map_or(Ok(()), |error| Err(Error::from(error)));
    if let Some(ahead) = view.ahead() {
        tracing::warn!("{}", not_selected(&ahead));
    }
    for error in &places.unusable {
        tracing::warn!("{}", one_line(error));
    }
    let mut usable = places.usable;
    if usable.is_empty() && !is_missing {
        usable.push(Place::default());
    }
    let are_several = usable.len() > 1 || is_missing;
    let mut boots = Vec::new();
    for (number, place) in usable.iter().enumerate() {
        let name = place.name.display().to_string();
        let looked = look(&view, place, failures).and_then(|(found, trouble)| {
            for mut boot in found {
                boot.place = are_several.then(|| name.clone());
                boots.push(boot);
            }
            trouble.map_or(Ok(()), |trouble| Err(Error::Refused(trouble)))
        });
        match looked {
            // What the loader reads next.
            first if number == 0 && !is_missing => outcome = first,
            Err(error) => tracing::warn!("{name}: {}", one_line(&error)),
            Ok(()) => {}
        }
    }
    if output.json {
        print_json(out, &boots)?;
    } else {
        tell(&boots, style, out)?;
    }
    outcome
}

fn tell(boots: &[Prediction], style: Style, out: &mut impl Write) -> Result<(), Error> {
    let row = |boot: &Prediction| {
        let mut row: Vec<Cell> = boot.place.iter().cloned().map(Cell::from).collect();
        row.extend([
            match boot.failures {
                0 => "now".into(),
                1 => "after 1 failed boot".into(),
                count => Cell::from(format!("after {count} failed boots")),
            },
            boot.what().into(),
            match boot.state {
                Some(state) => Cell::new(state.tone(), state.text()),
                None => "-".into(),
            },
            boot.entry.clone().into(),
            match boot.broken {
                Some(_) => Cell::new(Tone::Bad, boot.why.clone()),
                None => boot.why.clone().into(),
            },
        ]);
        Line::Row(row)
    };
    let rows: Vec<Line> = boots.iter().map(row).collect();
    let starts = failed_starts(boots)
        .into_iter()
        .map(|line| Line::Note(line.into()));
    let lines: Vec<Line> = rows.into_iter().chain(starts).collect();
    Ok(print(out, &style.table(&lines, &[]))?)
}

/// What becomes of the machine where what is chosen cannot be started: a trial with tries left, and anything else. Of those
/// that are known to be broken it is said with each.
fn failed_starts(boots: &[Prediction]) -> Vec<String> {
    let of = |is_counted: bool, what: &str| {
        let is_it = |boot: &&Prediction| boot.is_counted() == is_counted;
        let boot = boots.iter().find(is_it)?;
        Some(format!(
            "{what} that cannot be started: {}",
            boot.failed_start
        ))
    };
    let (trial, other) = ("a trial with tries left", "an entry without tries left");
    let all = [of(true, trial), of(false, other)];
    all.into_iter().flatten().collect()
}
