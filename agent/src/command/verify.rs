//! `lastgood verify`: is everything that a boot needs where the loader reads it, byte for byte?

use std::io::Write;

use boot_entries::Root;
use boot_entries::efi::Override;
use boot_entries::systemd_boot::Policy;
use serde::Serialize;

use super::{print, print_json};
use crate::cli::Verify;
use crate::error::Error;
use crate::session::{Inspected, Session};
use crate::told::one_line;

/// The answer.
#[derive(Debug, Serialize)]
struct Answer {
    version: u32,
    /// Everything is, or was made, as it should be.
    whole: bool,
    repaired: bool,
    places: Vec<Inspected>,
    /// Wishes in the firmware that override the selection.
    overrides: Vec<Override>,
    /// Places that could not be looked at or mended, and why.
    troubles: Vec<String>,
}

pub(super) fn run(root: &Root, arguments: &Verify, out: &mut impl Write) -> Result<(), Error> {
    let session = Session::open(root)?;
    if session.state.uninstalled {
        return Err(Error::Refused(
            "nothing of ours is on $BOOT since `lastgood uninstall`; `lastgood install` comes first"
                .to_owned(),
        ));
    }
    let mut prepared = session.prepare_anew(Policy::Mend)?;
    let places = prepared.inspected();
    let proved = session.prove(&mut prepared, boot_entries::plan::comes_back);
    let wrong: usize = places.iter().map(|place| place.findings.len()).sum();
    let (complaints, repaired) = if arguments.repair && wrong > 0 {
        (session.carry_out(prepared)?, true)
    } else {
        (prepared.complaints, false)
    };
    let mut troubles: Vec<String> = complaints.iter().map(|error| one_line(error)).collect();
    troubles.extend(proved.err().map(|error| one_line(&error)));
    let overrides = boot_entries::efi::overrides(&session.variables);
    let answer = Answer {
        version: 1,
        whole: (wrong == 0 || repaired) && troubles.is_empty() && overrides.is_empty(),
        repaired,
        places,
        overrides,
        troubles,
    };
    if arguments.output.json {
        print_json(out, &answer)?;
    } else {
        tell(&answer, out)?;
    }
    if answer.whole {
        return Ok(());
    }
    let left = if repaired { 0 } else { wrong };
    let why = [
        (left > 0).then(|| {
            format!("{left} files are not as they should be: run `lastgood verify --repair`")
        }),
        answer.overrides.first().map(ToString::to_string),
        answer.troubles.first().cloned(),
    ];
    let why: Vec<String> = why.into_iter().flatten().collect();
    Err(Error::Refused(why.join("; ")))
}

fn tell(answer: &Answer, out: &mut impl Write) -> Result<(), Error> {
    for place in &answer.places {
        let Inspected {
            name,
            files,
            bytes,
            findings,
        } = place;
        for finding in findings {
            let (path, wrong) = (&finding.path, finding.wrong.text());
            let mended = if answer.repaired { ", mended" } else { "" };
            print(out, &format!("{name}: {path}: {wrong}{mended}\n"))?;
        }
        let word = if findings.is_empty() {
            "whole"
        } else {
            "not whole"
        };
        let word = if answer.repaired { "whole again" } else { word };
        print(
            out,
            &format!("{name}: {files} files read, {bytes} bytes of payload: {word}\n"),
        )?;
    }
    for one in &answer.overrides {
        print(out, &format!("{one}\n"))?;
    }
    Ok(())
}
