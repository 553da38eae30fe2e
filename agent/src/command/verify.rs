//! `lastgood verify`: is everything that a boot needs where the loader reads it, byte for byte?

use std::io::Write;

use boot_entries::Root;
use serde::Serialize;
use systemd_boot_model::Override;

use crate::cli::Verify;
use crate::entries::Inspected;
use crate::error::Error;
use crate::operation::repair::{self, Inspection};
use crate::report::line::one_line;
use crate::report::print::{print, print_json};
use crate::session::Session;

/// The answer.
#[derive(Debug, Serialize)]
struct Answer {
    version: u32,
    /// Everything is, or was made, as it should be.
    whole: bool,
    /// Something was made good.
    repaired: bool,
    places: Vec<Inspected>,
    /// Requests in the firmware that override the selection.
    overrides: Vec<Override>,
    /// Places that could not be looked at or mended, and why.
    troubles: Vec<String>,
}

impl Answer {
    /// `why` goes to standard error, and is not told twice.
    fn print(&self, arguments: &Verify, why: &[String], out: &mut impl Write) -> Result<(), Error> {
        if arguments.output.json {
            Ok(print_json(out, self)?)
        } else {
            tell(self, arguments.repair, why, out)
        }
    }
}

pub(super) fn run(root: &Root, arguments: &Verify, out: &mut impl Write) -> Result<(), Error> {
    let session = if arguments.repair {
        Session::open(root)?
    } else {
        Session::look(root)?
    };
    let found = repair::inspect(&session, arguments.repair)?;
    let why = why_not_whole(&found, arguments.repair);
    let answer = answer(found, why.is_empty());
    answer.print(arguments, &why, out)?;
    if answer.whole {
        return Ok(());
    }
    Err(Error::Refused(why.join("; ")))
}

/// What is not as it should be, the most important first. None: everything is.
fn why_not_whole(found: &Inspection, repaired: bool) -> Vec<String> {
    if found.lost_record.is_some() {
        return troubles(found);
    }
    let left: usize = found.places.iter().map(Inspected::left).sum();
    let files = (left > 0).then(|| {
        let are = if left == 1 {
            "file is not as it"
        } else {
            "files are not as they"
        };
        let advice = if repaired {
            " and could not be mended"
        } else {
            ": run `lastgood verify --repair`"
        };
        format!("{left} {are} should be{advice}")
    });
    let harmful = found.harmful.as_ref().map(ToString::to_string);
    let trouble = troubles(found).into_iter().next();
    files.into_iter().chain(harmful).chain(trouble).collect()
}

/// What is wrong and is no file, a line each.
fn troubles(found: &Inspection) -> Vec<String> {
    let lost = found.lost_record.iter().map(ToString::to_string);
    let missed = found.missed.iter().cloned();
    let complaints = found.complaints.iter().map(|error| one_line(error));
    lost.chain(missed).chain(complaints).collect()
}

fn answer(found: Inspection, whole: bool) -> Answer {
    let troubles = troubles(&found);
    let mut findings = found.places.iter().flat_map(|place| &place.findings);
    Answer {
        version: 1,
        whole,
        repaired: findings.any(|finding| finding.mended),
        places: found.places,
        overrides: found.overrides,
        troubles,
    }
}

fn tell(answer: &Answer, repair: bool, why: &[String], out: &mut impl Write) -> Result<(), Error> {
    for place in &answer.places {
        let left = place.left();
        let Inspected {
            name,
            files,
            bytes,
            findings,
        } = place;
        for finding in findings {
            let (path, wrong) = (&finding.path, finding.wrong.text());
            let mended = match (finding.mended, repair) {
                (true, _) => ", mended",
                (false, true) => ", not mended",
                (false, false) => "",
            };
            print(out, &format!("{name}: {path}: {wrong}{mended}\n"))?;
        }
        let word = match (findings.is_empty(), left) {
            (true, _) => "whole",
            (false, 0) => "whole again",
            (false, _) => "not whole",
        };
        print(
            out,
            &format!("{name}: {files} files read, {bytes} bytes of payload: {word}\n"),
        )?;
    }
    let overrides = answer.overrides.iter().map(ToString::to_string);
    for line in answer.troubles.iter().cloned().chain(overrides) {
        if !why.contains(&line) {
            print(out, &format!("{line}\n"))?;
        }
    }
    Ok(())
}
