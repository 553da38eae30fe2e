//! `lastgood install`: what was asked for, and how it ended.

use std::io::Write;

use boot_entries::{GenerationId, Root};

use crate::cli::Install;
use crate::entries::prediction::Prediction;
use crate::error::Error;
use crate::operation::select::{Request, Selected, WouldSelect, select, would_select};
use crate::report::label::StateLabel;
use crate::report::line::one_line;
use crate::report::print::{print, print_would};

pub(super) fn run(root: &Root, arguments: &Install, out: &mut impl Write) -> Result<(), Error> {
    let request = Request {
        toplevel: arguments.toplevel.as_deref(),
        again: arguments.again,
        new_hostname: arguments.new_hostname,
    };
    if arguments.dry_run {
        would_be(would_select(root, &request)?, out)
    } else {
        boots_next(select(root, &request)?, out)
    }
}

/// The last line: that it is installed and selected is not all. Something else may be stronger, or it is not where the
/// loader looks.
fn boots_next(selected: Selected, out: &mut impl Write) -> Result<(), Error> {
    let Selected { next, done, .. } = selected;
    let id = &selected.subject.generation;
    let what = match next {
        Ok(next) => match instead(id, next.as_ref()) {
            None => {
                let label = StateLabel::of(selected.standing, true).text();
                let count = match selected.changes {
                    None => "nothing to do".to_owned(),
                    Some(1) => "1 change".to_owned(),
                    Some(count) => format!("{count} changes"),
                };
                let line = format!("generation {id} ({label}) boots next; {count}\n");
                print(out, &line)?;
                return done.complaints.into_result();
            }
            Some(what) => what,
        },
        // Why there is nothing to ask is what the line begins with.
        Err(_) if done.complaints.iter().next().is_some() => {
            "but what boots next cannot be told".to_owned()
        }
        Err(error) => format!("but what boots next cannot be told: {}", one_line(&error)),
    };
    let names = done.places.iter().map(|name| name.display().to_string());
    let names: Vec<String> = names.collect();
    let how = match (done.has_next, names.as_slice()) {
        (true, _) => "is installed and selected".to_owned(),
        (false, []) => "is selected, and is installed nowhere yet".to_owned(),
        (false, names) => format!("is selected, and is installed in {} only", names.join(", ")),
    };
    let line = format!("generation {id} {how}, {what}");
    Err(Error::Refused(match done.complaints.into_first() {
        Some(why) => format!("{}; {line}", one_line(&why)),
        None => line,
    }))
}

/// What boots next if that is not `id`.
fn instead(id: &GenerationId, next: Option<&Prediction>) -> Option<String> {
    match next {
        Some(boot) if boot.id.as_ref() == Some(id) => None,
        Some(boot) => Some(format!(
            "but {} boots next: {}; `lastgood next-boot` shows what comes after it, and `lastgood status` what overrides the \
             selection",
            boot.entry, boot.why
        )),
        None => Some(
            "but no entry can be started from here; `lastgood verify` says what is missing"
                .to_owned(),
        ),
    }
}

/// What a dry run prints: what would be done, and then what would boot next, as far as it can be told now.
fn would_be(would: WouldSelect, out: &mut impl Write) -> Result<(), Error> {
    let id = &would.subject.generation;
    for (toplevel, program) in &would.programs {
        let (toplevel, program) = (toplevel.display(), program.display());
        print(
            out,
            &format!("would add initrd secrets of {toplevel} with {program}\n"),
        )?;
    }
    let Some(rest) = would.rest else {
        let line = format!(
            "would select generation {id}; what is written for it is known when its program has run\n"
        );
        return Ok(print(out, &line)?);
    };
    print_would(out, &rest.changes)?;
    if rest.changes.is_empty() {
        let line = format!("nothing to do: generation {id} is selected, and all is written\n");
        print(out, &line)?;
    }
    if let Some(what) = instead(id, rest.next.as_ref()) {
        return Err(Error::Refused(format!(
            "generation {id} would be installed and selected, {what}"
        )));
    }
    rest.complaints.into_result()
}
