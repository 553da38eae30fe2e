//! Runs the hook that closes an incident: a program that the closure names, in a unit of PID 1's.
//!
//! The unit is called after the incident, and stays when it is over. So PID 1 itself sees to it that a hook is started at most
//! once in a boot, also when whoever started it was killed in the middle: the next one finds the unit, waits for it, and
//! learns how it ended. Over a reboot it may be run again, because nobody can know how far it came: a hook must be able to
//! find its work done.
//!
//! What a hook does changes no verdict. Whoever calls this holds no lock: a hook may run `lastgood`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boot_entries::{Root, Subject};
use serde::Serialize;

use crate::config;
use crate::error::Error;
use crate::host::CURRENT_SYSTEM;
use crate::report::line::one_line;
use crate::state::cause::{Cause, UnitFailure};
use crate::state::fault::Fault;
use crate::state::incident::Hook;
use crate::system::command_line;
use crate::system::manager::{self, Manager, Mode, Reason, Setting, Wanted};

/// How long what a hook has started may take to end once it is told to.
const STOP: Duration = Duration::from_secs(5);
/// How long systemd may take around all that.
const AROUND: Duration = Duration::from_secs(10);
/// So many characters of an incident are in a unit's name, which may have 255.
const LONGEST: usize = 100;

/// A hook that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Which.
    pub hook: Hook,
    /// What tells this incident from all others of this boot.
    pub incident: String,
    /// What runs.
    pub subject: Subject,
    /// What the machine is not well for, or what it went back for.
    pub cause: Option<Cause>,
}

/// What became of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The closure asks for none, or nothing runs that could have one.
    Nothing,
    /// It has run, and has ended well.
    Well,
    /// It has not. Why, and where more is, in a line.
    Badly(String),
}

/// Runs the hook that the active closure names, and waits until it is over. What it writes goes to the journal.
///
/// # Errors
/// When systemd does not answer. The hook may run all the same, and a later call finds it.
pub fn run(root: &Root, call: &Call) -> Result<Outcome, Error> {
    if !root.is_live() {
        return Ok(Outcome::Nothing);
    }
    let Some(closure) = active(root)? else {
        return Ok(Outcome::Nothing);
    };
    // By its defaults it would have none, and would be over.
    let read = config::read(root, &closure);
    let hooks = read
        .map_err(|error| {
            let path = closure.join(config::PATH);
            Error::Refused(format!(
                "{}: {error}; the hook {} is not known, and waits until it can be read",
                path.display(),
                call.hook
            ))
        })?
        .hooks;
    let Some(program) = hooks.program(call.hook) else {
        return Ok(Outcome::Nothing);
    };
    // An absolute path stays as it is.
    let program = closure.join(program);
    let unit = unit(call);
    let within = hooks.deadline();
    let mut manager = Manager::system(manager::PATIENCE)?;
    let settings = settings(call, &program, within)?;
    let job = match manager.start_transient(&unit, Mode::Fail, &settings, &[]) {
        Ok(job) => Some(job),
        // Somebody was killed who had started it.
        Err(manager::Error::Refused { refusal, .. }) if refusal.reason() == Reason::Exists => {
            let jobs = manager.jobs()?;
            jobs.into_iter()
                .find(|job| job.unit == unit)
                .map(|job| job.id)
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(job) = job {
        let until = Instant::now() + within + STOP + AROUND;
        manager.wait(&[job], until, &mut |_| {})?;
    }
    let outcome = ended(&mut manager, &unit, within)?;
    // What it has left behind would go on without an end. There may be nothing.
    if let Err(error) = manager.kill(&unit, nix::libc::SIGKILL) {
        tracing::debug!("{error}");
    }
    Ok(outcome)
}

/// The closure whose configuration is asked: what is active, be it by a live switch.
fn active(root: &Root) -> Result<Option<PathBuf>, Error> {
    match root.canonical(CURRENT_SYSTEM) {
        Ok(closure) => Ok(Some(closure)),
        Err(_) => Ok(command_line::closure(root)?),
    }
}

/// A unit's name may hold few characters.
fn unit(call: &Call) -> String {
    let letters = call.incident.chars().take(LONGEST);
    let incident: String = letters
        .map(|one| match one {
            one if one.is_ascii_alphanumeric() || matches!(one, '-' | '_' | '.') => one,
            _ => '_',
        })
        .collect();
    format!("lastgood-hook-{incident}.service")
}

/// What a hook is told on standard input.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    version: u32,
    event: Hook,
    incident: &'a str,
    #[serde(flatten)]
    subject: &'a Subject,
    cause: Option<Cause>,
}

/// What anybody may read: whoever asks systemd is shown what a unit is given. What the units wrote is not.
fn told(call: &Call) -> Result<String, Error> {
    let public = |mut cause: Cause| {
        cause.units = cause
            .units
            .into_iter()
            .map(|unit| UnitFailure {
                log: Vec::new(),
                ..unit
            })
            .collect();
        cause
    };
    let told = Told {
        version: 1,
        event: call.hook,
        incident: &call.incident,
        subject: &call.subject,
        cause: call.cause.clone().map(public),
    };
    let text = serde_json::to_string(&told);
    Ok(text.map_err(crate::store::handover::Error::from)? + "\n")
}

fn environment(call: &Call) -> Vec<String> {
    let cause = call.cause.as_ref();
    let faults = cause.map_or_else(Vec::new, |cause| {
        cause.faults.iter().map(Fault::key).collect::<Vec<_>>()
    });
    let all = [
        ("EVENT", call.hook.name().to_owned()),
        ("INCIDENT", call.incident.clone()),
        ("GENERATION", call.subject.generation.to_string()),
        ("CLOSURE", call.subject.toplevel.display().to_string()),
        (
            "CAUSE",
            cause.map_or_else(String::new, |cause| cause.summary.clone()),
        ),
        (
            "STAGE",
            cause.map_or_else(String::new, |cause| cause.stage.name().to_owned()),
        ),
        ("FAULTS", faults.join("\n")),
    ];
    all.into_iter()
        .map(|(name, value)| format!("LASTGOOD_{name}={value}"))
        .collect()
}

fn settings(
    call: &Call,
    program: &Path,
    within: Duration,
) -> Result<Vec<(&'static str, Setting)>, Error> {
    let text = |text: &str| Setting::Text(text.to_owned());
    let micros =
        |time: Duration| Setting::Number(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    let shutdown = || Setting::Texts(vec!["shutdown.target".to_owned()]);
    let words = vec![program.display().to_string()];
    Ok(vec![
        (
            "Description",
            Setting::Text(format!("lastgood's hook {}", call.hook)),
        ),
        ("Type", text("oneshot")),
        // It stays, so that it is not started once more.
        ("RemainAfterExit", Setting::Flag(true)),
        ("ExecStart", Setting::Commands(vec![words])),
        ("Environment", Setting::Texts(environment(call))),
        ("StandardInput", text("data")),
        (
            "StandardInputData",
            Setting::Bytes(told(call)?.into_bytes()),
        ),
        (
            "SyslogIdentifier",
            Setting::Text(format!("lastgood-{}", call.hook)),
        ),
        ("TimeoutStartUSec", micros(within)),
        ("TimeoutStopUSec", micros(STOP)),
        ("IgnoreOnIsolate", Setting::Flag(true)),
        // A boot that failed may never come to what others wait for.
        ("DefaultDependencies", Setting::Flag(false)),
        ("Conflicts", shutdown()),
        ("Before", shutdown()),
    ])
}

/// How it ended, as systemd has it.
fn ended(manager: &mut Manager, unit: &str, within: Duration) -> Result<Outcome, Error> {
    const WANTED: [Wanted<'_>; 3] = [
        Wanted::unit("ActiveState"),
        Wanted::kind("Result"),
        Wanted::kind("ExecMainStatus"),
    ];
    let mut properties = manager.properties(&[unit], &WANTED)?.into_iter();
    let properties = match properties.next() {
        Some(Ok(properties)) => properties,
        Some(Err(refusal)) => return Ok(Outcome::Badly(refusal.to_string())),
        None => return Ok(Outcome::Badly(format!("systemd says nothing of {unit}"))),
    };
    let text = |name| properties.text(name);
    let status = properties.number("ExecMainStatus").unwrap_or_default();
    let why = match (text("ActiveState"), text("Result")) {
        ("active", _) => return Ok(Outcome::Well),
        (_, "timeout") => format!("it had not ended after {} s", within.as_secs()),
        ("activating" | "deactivating", _) => "it does not end".to_owned(),
        (_, "exit-code") => format!("it ended with status {status}"),
        (_, "signal" | "core-dump") => format!("it was ended by signal {status}"),
        ("failed", result) => result.to_owned(),
        (state, _) => format!("it is {state}"),
    };
    Ok(Outcome::Badly(format!(
        "{why}; `journalctl -b -u {unit}` shows what it wrote"
    )))
}

/// In words, for whoever records it.
impl Outcome {
    /// What went wrong. None: nothing.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        match self {
            Self::Nothing | Self::Well => None,
            Self::Badly(why) => Some(why),
        }
    }
}

/// [`run`], where an answer that did not come is no more than another trouble.
#[must_use]
pub fn run_or_tell(root: &Root, call: &Call) -> Outcome {
    run(root, call).unwrap_or_else(|error| Outcome::Badly(one_line(&error)))
}

#[cfg(test)]
mod tests;
