//! Asks systemd, the system and service manager. Only reads; decides nothing.
//!
//! `systemctl` run by root speaks to PID 1 over its private socket, so that this works before D-Bus is up and after it
//! has died.

pub mod snapshot;

mod details;
mod parse;

use crate::host::Program;
use crate::state::cause::UnitFailure;
use crate::system::program;
use snapshot::Snapshot;

/// How long one answer may take. systemd's own default is 25 s, and with a stuck PID 1 each poll would take that long.
const TIMEOUT: &str = "10s";

/// Only the newest entries of a log are read: a service may have written gigabytes.
const ENTRIES: &str = "--lines=200";

/// Why systemd could not be observed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `systemctl` could not be run, or said no.
    #[error(
        "cannot ask systemd: {0}; see whether `systemctl status` answers, and `journalctl -b -p err`"
    )]
    Ask(#[from] program::Error),
    /// It said something that cannot be read.
    #[error("cannot read systemd's list of units: {0}; `systemctl --version` must say 252 or more")]
    Read(#[from] serde_json::Error),
}

/// The running systemd.
#[derive(Debug, Clone)]
pub struct Systemd {
    required: Vec<String>,
}

impl Systemd {
    /// Watches the units in memory and `required` ones, whether anything else wants those or not.
    #[must_use]
    pub fn watching(required: &[String]) -> Self {
        Self {
            required: required.to_vec(),
        }
    }

    /// What systemd says now.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        // Jobs first: one that ends in between is then still seen as running, and waiting a little longer is harmless.
        let jobs = systemctl(
            &[
                "list-jobs",
                "--no-legend",
                "--plain",
                "--full",
                "--after",
                "--before",
            ],
            &[],
        )?;
        let units = systemctl(&["list-units", "--all", "--output=json"], &[])?;
        let mut names = vec![parse::BOOT_COMPLETE, "*.service"];
        names.extend(self.required.iter().map(String::as_str));
        let services = systemctl(&["show", "--property", parse::PROPERTIES], &names)?;
        let mut snapshot = Snapshot {
            units: parse::units(&units)?,
            jobs: parse::jobs(&jobs),
            ..Snapshot::default()
        };
        parse::services(&services, &mut snapshot);
        Ok(snapshot)
    }

    /// What is known about a unit that is not well.
    #[must_use]
    pub fn failure(&self, unit: &str) -> UnitFailure {
        let show = |properties| systemctl(&["show", "--property", properties], &[unit]);
        // A detail that cannot be had must not cost the verdict: it becomes a line of the log.
        let (state, commands) = match (show(details::STATE), show(details::COMMANDS)) {
            (Ok(state), Ok(commands)) => (state, commands),
            (Err(error), _) | (_, Err(error)) => {
                return UnitFailure {
                    unit: unit.to_owned(),
                    result: "unknown".to_owned(),
                    exit_status: None,
                    log: vec![error.to_string()],
                };
            }
        };
        let mut failure = details::failure(unit, &state, &commands);
        let invocation = details::failed_invocation(&state);
        match journal(unit, invocation) {
            Ok(text) => failure.log.extend(details::log(&text, unit, invocation)),
            Err(error) => failure.log.push(error.to_string()),
        }
        failure
    }
}

fn systemctl(arguments: &[&str], names: &[&str]) -> Result<String, program::Error> {
    let mut command = program::command(Program::Systemctl)?;
    command.args(arguments).arg("--").args(names);
    program::stdout_of(command.env("SYSTEMD_BUS_TIMEOUT", TIMEOUT))
}

/// What a unit's failed run wrote, and what systemd wrote about it; without one, all that is about it in this boot.
fn journal(unit: &str, invocation: Option<&str>) -> Result<String, program::Error> {
    let mut command = program::command(Program::Journalctl)?;
    command.args(["--boot", "--quiet", "--no-pager", "--output=json", ENTRIES]);
    command.arg("--output-fields=MESSAGE,_PID,PRIORITY,_SYSTEMD_UNIT,_SYSTEMD_INVOCATION_ID");
    match invocation {
        Some(id) => command.args([
            &format!("_SYSTEMD_INVOCATION_ID={id}"),
            "+",
            &format!("INVOCATION_ID={id}"),
            // The core dump of its process, written by another service.
            "+",
            &format!("COREDUMP_UNIT={unit}"),
            // Of what a process wrote that ended at once, the journal may know the unit only.
            "+",
            &format!("_SYSTEMD_UNIT={unit}"),
        ]),
        None => command.args([
            &format!("_SYSTEMD_UNIT={unit}"),
            "+",
            &format!("UNIT={unit}"),
        ]),
    };
    program::stdout_of(&mut command)
}

/// Reboots in order; by force where systemd refuses that, which it does in emergency mode (the jobs that lead there are
/// irreversible). File systems are synced and unmounted either way.
///
/// # Errors
/// When it refuses that, too.
pub fn reboot() -> Result<(), program::Error> {
    let systemctl = |arguments: &[&str]| {
        program::stdout_of(program::command(Program::Systemctl)?.args(arguments))
    };
    if let Err(error) = systemctl(&["--no-block", "reboot"]) {
        tracing::warn!("{error}; rebooting by force");
        systemctl(&["--no-block", "--force", "reboot"])?;
    }
    Ok(())
}
