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
    was_installed(&session)?;
    let mut prepared = session.prepare_anew(Policy::Mend)?;
    let mut places = prepared.inspected();
    let proved = session.prove(&mut prepared, boot_entries::plan::comes_back);
    let mut troubles = prepared.missed();
    let wrong: usize = places.iter().map(|place| place.findings.len()).sum();
    let mut repaired = false;
    let complaints = if arguments.repair && wrong > 0 {
        let complaints = session.carry_out(prepared)?;
        repaired = true;
        let after = session.prepare_anew(Policy::Mend)?.inspected();
        for (place, after) in places.iter_mut().zip(after) {
            (place.files, place.bytes) = (after.files, after.bytes);
        }
        complaints
    } else {
        prepared.complaints
    };
    troubles.extend(complaints.iter().map(|error| one_line(error)));
    troubles.extend(proved.err().map(|error| one_line(&error)));
    let overrides = boot_entries::efi::overrides(&session.variables);
    let band = session.band(&session.boot()?.place);
    let harmful = overrides.iter().find(|one| one.is_harmful(band));
    let left = if repaired { 0 } else { wrong };
    let why = [
        (left > 0).then(|| {
            let are = if left == 1 {
                "file is not as it"
            } else {
                "files are not as they"
            };
            format!("{left} {are} should be: run `lastgood verify --repair`")
        }),
        harmful.map(ToString::to_string),
        troubles.first().cloned(),
    ];
    let why: Vec<String> = why.into_iter().flatten().collect();
    let answer = Answer {
        version: 1,
        whole: why.is_empty(),
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
    Err(Error::Refused(why.join("; ")))
}

/// Where nothing is ours, nothing is to be mended: writing it for the first time is what `install` is for.
fn was_installed(session: &Session) -> Result<(), Error> {
    let since = if session.state.uninstalled {
        " since `lastgood uninstall`"
    } else if session.state.selected.is_none() && session.state.proven.is_empty() {
        " yet"
    } else {
        return Ok(());
    };
    Err(Error::Refused(format!(
        "nothing of ours is on $BOOT{since}; `lastgood install` comes first"
    )))
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
        let word = match (findings.is_empty(), answer.repaired) {
            (true, _) => "whole",
            (false, true) => "whole again",
            (false, false) => "not whole",
        };
        print(
            out,
            &format!("{name}: {files} files read, {bytes} bytes of payload: {word}\n"),
        )?;
    }
    for line in &answer.troubles {
        print(out, &format!("{line}\n"))?;
    }
    for one in &answer.overrides {
        print(out, &format!("{one}\n"))?;
    }
    Ok(())
}
