//! The commands that change the running machine: what was asked for, what is said meanwhile, how it ended.

use std::io::Write;

use boot_entries::{GenerationId, Root};
use serde::Serialize;

use super::install;
use crate::cli::Install;
use crate::cli::live::{DryActivate, Live, Rollback};
use crate::error::Error;
use crate::operation::fall_back;
use crate::operation::switch::request::{Action, NIXOS_ACTION, Request, environment};
use crate::operation::switch::said::Said;
use crate::operation::switch::{self, Dry, Wanted, Way};
use crate::report::line::one_line;
use crate::report::print::{print, print_json};
use crate::report::progress;
use crate::state::Subject;
use crate::switch::plan::Plan;
use crate::system::listening::unit_of;

pub(super) fn run(
    root: &Root,
    action: Action,
    live: &Live,
    out: &mut impl Write,
) -> Result<(), Error> {
    let request = Request {
        action,
        toplevel: absolute(live.toplevel.as_deref())?,
        confirm_within: live.confirm_within,
        again: live.again,
        new_hostname: live.new_hostname,
        ..of_this_session(action)
    };
    follow(root, &request, out)
}

/// What a request takes over from whoever asks.
pub(super) fn of_this_session(action: Action) -> Request {
    let mut environment = environment();
    environment.insert(NIXOS_ACTION.to_owned(), action.name().to_owned());
    Request {
        action,
        toplevel: None,
        confirm_within: None,
        again: false,
        new_hostname: false,
        no_check: environment
            .get("NIXOS_NO_CHECK")
            .is_some_and(|value| value == "1"),
        session: unit_of(std::path::Path::new("/proc/self")),
        environment,
    }
}

/// The worker stands elsewhere: what is relative to where we stand is made absolute. A generation stays as it is.
fn absolute(toplevel: Option<&std::path::Path>) -> Result<Option<std::path::PathBuf>, Error> {
    let Some(path) = toplevel else {
        return Ok(None);
    };
    let is_generation = path
        .to_str()
        .is_some_and(|text| text.parse::<GenerationId>().is_ok());
    if is_generation {
        return Ok(Some(path.to_owned()));
    }
    let absolute = std::path::absolute(path).map_err(|source| Error::Read {
        what: path.display().to_string(),
        source,
    })?;
    Ok(Some(absolute))
}

pub(super) fn follow(root: &Root, request: &Request, out: &mut impl Write) -> Result<(), Error> {
    let mut printed = Ok(());
    let ended = switch::ask(root, request, &mut |said| {
        let told = tell(said, out);
        if printed.is_ok() {
            printed = told;
        }
    });
    progress::erase();
    ended?;
    // Whoever closed the output has not stopped the switch.
    printed
}

fn tell(said: &Said, out: &mut impl Write) -> Result<(), Error> {
    match said {
        Said::Line(text) => {
            progress::erase();
            print(out, &format!("{text}\n"))?;
            out.flush().map_err(crate::report::print::Error::Output)?;
        }
        Said::Warning(text) => {
            progress::erase();
            tracing::warn!("{text}");
        }
        Said::Waiting { what, seconds } => progress::waiting(what, *seconds),
        Said::Ended { .. } => {}
    }
    Ok(())
}

pub(super) fn rollback(
    root: &Root,
    arguments: &Rollback,
    out: &mut impl Write,
) -> Result<(), Error> {
    let wanted = Wanted {
        to: arguments.to.as_ref(),
        reboot: arguments.reboot,
    };
    match switch::rollback(root, wanted)? {
        Way::Live(subject) => {
            let request = Request {
                toplevel: Some(subject.generation.to_string().into()),
                confirm_within: arguments.confirm_within,
                // Whoever names it means it.
                again: arguments.to.is_some(),
                ..of_this_session(Action::Switch)
            };
            follow(root, &request, out)
        }
        Way::Reboot(subject) => {
            let install = Install {
                toplevel: Some(subject.generation.to_string().into()),
                dry_run: false,
                again: arguments.to.is_some(),
                new_hostname: false,
            };
            install::run(root, &install, out)?;
            // It is selected: that the profile still points at the other one keeps nobody from going there.
            if let Err(error) = switch::point_profile_at(root, &subject) {
                tracing::warn!(
                    "the profile points at the generation that is left: {}",
                    one_line(&error)
                );
            }
            print(out, "rebooting\n")?;
            fall_back::reboot_now()
        }
    }
}

pub(super) fn confirm(root: &Root, out: &mut impl Write) -> Result<(), Error> {
    for said in switch::confirm(root)? {
        tell(&said, out)?;
    }
    Ok(())
}

/// The answer of `dry-activate --json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    version: u32,
    toplevel: &'a std::path::Path,
    generation: Option<String>,
    needs_reboot: Option<&'a str>,
    problems: &'a [String],
    said: &'a [String],
    plan: &'a Plan,
    users: Vec<OfUser<'a>>,
}

/// One of its users.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OfUser<'a> {
    user: u32,
    plan: Option<&'a Plan>,
    trouble: Option<String>,
}

impl<'a> Answer<'a> {
    fn of(dry: &'a Dry) -> Self {
        let generation = |subject: &Subject| subject.generation.to_string();
        let users = dry.users.iter();
        Self {
            version: 1,
            toplevel: &dry.toplevel,
            generation: dry.subject.as_ref().map(generation),
            needs_reboot: dry.needs_reboot.as_deref(),
            problems: &dry.problems,
            said: &dry.said,
            plan: &dry.plan,
            users: users
                .map(|of| OfUser {
                    user: of.user,
                    plan: of.plan.as_ref().ok(),
                    trouble: of.plan.as_ref().err().map(|error| one_line(error)),
                })
                .collect(),
        }
    }
}

pub(super) fn dry(root: &Root, arguments: &DryActivate, out: &mut impl Write) -> Result<(), Error> {
    let mut request = Request {
        toplevel: absolute(arguments.toplevel.as_deref())?,
        ..of_this_session(Action::Test)
    };
    let action = "dry-activate".to_owned();
    request.environment.insert(NIXOS_ACTION.to_owned(), action);
    let dry = switch::dry_activate(root, &request)?;
    if arguments.output.json {
        return Ok(print_json(out, &Answer::of(&dry))?);
    }
    for line in dry.lines() {
        match line {
            Ok(text) => print(out, &format!("{text}\n"))?,
            Err(text) => tracing::warn!("{text}"),
        }
    }
    Ok(())
}
