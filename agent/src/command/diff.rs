//! `lastgood diff`: what is different between two closures, a line each.

use std::io::Write;
use std::path::Path;

use boot_entries::Root;
use serde::Serialize;

use crate::cli::Output;
use crate::error::Error;
use crate::operation::diff::compare::{Change, Difference};
use crate::operation::diff::{Compared, Side, diff};
use crate::report::print::{print, print_json};
use crate::report::style::{Cell, Style, Tone};
use crate::view::View;

/// The answer.
#[derive(Debug, Serialize)]
struct Answer {
    version: u32,
    #[serde(flatten)]
    compared: Compared,
}

pub(super) fn run(
    root: &Root,
    (from, to): (&Path, &Path),
    output: Output,
    style: Style,
    out: &mut impl Write,
) -> Result<(), Error> {
    let compared = diff(&View::read(root)?, from, to)?;
    if output.json {
        let version = 1;
        return Ok(print_json(out, &Answer { version, compared })?);
    }
    Ok(print(out, &told(&compared, style))?)
}

fn told(compared: &Compared, style: Style) -> String {
    let Compared {
        from,
        to,
        differences,
        left_out,
    } = compared;
    let sides = format!("{} -> {}", named(from), named(to));
    let mut text = style.paragraph("", &Cell::new(Tone::Heading, sides));
    let mut is_same = true;
    for (about, all) in differences.sections() {
        if all.is_empty() {
            continue;
        }
        is_same = false;
        text.push_str(&style.paragraph("", &Cell::new(Tone::Heading, about)));
        for one in all {
            let sign = style.paint(tone(one.change), one.change.sign());
            // The sign's colour takes no room.
            let line = style.paragraph("    ", &line(one).into());
            text.push_str(&line.replacen("    ", &format!("  {sign} "), 1));
        }
    }
    if is_same {
        text.push_str(if left_out.is_empty() {
            "no difference
"
        } else {
            "no difference in what was compared
"
        });
    }
    for line in left_out {
        text.push_str(&style.paragraph("", &Cell::new(Tone::Limit, format!("left out: {line}"))));
    }
    text
}

fn named(side: &Side) -> String {
    let closure = side.toplevel.display();
    match &side.generation {
        Some(id) => format!("generation {id} ({closure})"),
        None => closure.to_string(),
    }
}

fn tone(change: Change) -> Tone {
    match change {
        Change::Added => Tone::Good,
        Change::Removed => Tone::Bad,
        Change::Changed => Tone::Limit,
    }
}

fn line(one: &Difference) -> String {
    let side = |all: &[String]| {
        // A package without a version.
        let shown = all
            .iter()
            .map(|one| if one.is_empty() { "no version" } else { one });
        shown.collect::<Vec<_>>().join(", ")
    };
    let (from, to) = (side(&one.from), side(&one.to));
    let name = &one.name;
    match (from.as_str(), to.as_str()) {
        ("", "") if one.only_store_paths => format!("{name} (only store paths in it)"),
        ("", "") => name.clone(),
        _ => match one.change {
            Change::Added => format!("{name}: {to}"),
            Change::Removed => format!("{name}: {from}"),
            Change::Changed => {
                let or_none = |side: &str| if side.is_empty() { "none" } else { side }.to_owned();
                format!("{name}: {} -> {}", or_none(&from), or_none(&to))
            }
        },
    }
}
