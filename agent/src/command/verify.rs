//! `lastgood verify`: is everything that a boot needs where the loader reads it, byte for byte?

use std::io::Write;

use boot_entries::Root;
use boot_entries::loader::Override;
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
    /// Something was made good.
    repaired: bool,
    places: Vec<Inspected>,
    /// Wishes in the firmware that override the selection.
    overrides: Vec<Override>,
    /// Places that could not be looked at or mended, and why.
    troubles: Vec<String>,
}

impl Answer {
    /// `why` goes to standard error, and is not told twice.
    fn print(&self, arguments: &Verify, why: &[String], out: &mut impl Write) -> Result<(), Error> {
        if arguments.output.json {
            print_json(out, self)
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
    if let Some(lost) = session.lost_record() {
        return without_record(&session, lost, arguments, out);
    }
    was_installed(&session)?;
    let mut prepared = session.prepare_anew(Policy::Mend)?;
    let mut places = prepared.inspected();
    session.look_ahead(&mut prepared);
    let mut troubles = prepared.missed();
    troubles.extend_from_slice(prepared.unsigned());
    let complaints = if arguments.repair && places.iter().any(|place| place.left() > 0) {
        let complaints = session.carry_out(prepared)?.complaints;
        // What became of it is what a second look says, not what was meant.
        for after in session.prepare_anew(Policy::Mend)?.inspected() {
            if let Some(place) = places.iter_mut().find(|place| place.name == after.name) {
                place.look_again(after);
            }
        }
        complaints
    } else {
        prepared.complaints
    };
    troubles.extend(complaints.iter().map(|error| one_line(error)));
    let overrides = boot_entries::loader::overrides(&session.variables);
    let first = session.places(&session.state)?.usable.into_iter().next();
    // One that cannot be told is among the troubles.
    let band = first.and_then(|place| session.band(&place).ok());
    let is_harmful = |one: &&Override| band.is_some_and(|band| one.is_harmful(band));
    let harmful = overrides.iter().find(is_harmful);
    let left: usize = places.iter().map(Inspected::left).sum();
    let mut findings = places.iter().flat_map(|place| &place.findings);
    let repaired = findings.any(|finding| finding.mended);
    let why = [
        (left > 0).then(|| {
            let are = if left == 1 {
                "file is not as it"
            } else {
                "files are not as they"
            };
            let advice = if arguments.repair {
                " and could not be mended"
            } else {
                ": run `lastgood verify --repair`"
            };
            format!("{left} {are} should be{advice}")
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
    answer.print(arguments, &why, out)?;
    if answer.whole {
        return Ok(());
    }
    Err(Error::Refused(why.join("; ")))
}

/// What can be told without the ledger: whether what entries of ours point at is there, and is what its name says.
/// Which entries there should be is not known, so nothing is mended.
fn without_record(
    session: &Session,
    lost: String,
    arguments: &Verify,
    out: &mut impl Write,
) -> Result<(), Error> {
    let (places, complaints) = session.inspect_without_record()?;
    let mut troubles = vec![lost];
    troubles.extend(complaints.iter().map(|error| one_line(error)));
    let why = troubles.clone();
    let answer = Answer {
        version: 1,
        whole: false,
        repaired: false,
        places,
        overrides: boot_entries::loader::overrides(&session.variables),
        troubles,
    };
    answer.print(arguments, &why, out)?;
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
