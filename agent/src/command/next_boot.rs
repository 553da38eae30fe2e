//! `lastgood next-boot`: what the loader will do, by the model of it.

use std::io::Write;

use boot_entries::Root;
use boot_entries::boot_partition::Place;

use crate::cli::Output;
use crate::entries::prediction::{Prediction, look};
use crate::error::Error;
use crate::report::label::{StateLabel, not_selected};
use crate::report::line::one_line;
use crate::report::print::{print, print_json, table};
use crate::view::View;

pub(super) fn run(
    root: &Root,
    failures: usize,
    output: Output,
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
        tell(&boots, out)?;
    }
    outcome
}

fn tell(boots: &[Prediction], out: &mut impl Write) -> Result<(), Error> {
    let row = |boot: &Prediction| {
        let mut row: Vec<String> = boot.place.iter().cloned().collect();
        row.extend([
            match boot.failures {
                0 => "now".to_owned(),
                1 => "after 1 failed boot".to_owned(),
                count => format!("after {count} failed boots"),
            },
            match (&boot.id, boot.stand_in) {
                _ if boot.another_system => "another system's".to_owned(),
                (Some(id), false) => format!("generation {id}"),
                (Some(id), true) => format!("generation {id}, as before lastgood"),
                (None, true) => "what booted before lastgood".to_owned(),
                (None, false) if boot.is_image => "a unified kernel image, not ours".to_owned(),
                (None, false) => "not ours".to_owned(),
            },
            boot.state.map_or("-", StateLabel::text).to_owned(),
            boot.entry.clone(),
            boot.why.clone(),
        ]);
        row
    };
    let rows: Vec<Vec<String>> = boots.iter().map(row).collect();
    Ok(print(out, &table(&rows))?)
}
