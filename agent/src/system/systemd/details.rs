//! Reads what systemd and the journal know about one unit that is not well.
//!
//! The awkward part is the exit status. `ExecMainStatus=` is about the main process only: it is 0 when `ExecStartPre=`
//! failed and 15 when `ExecStartPost=` did, because systemd then kills the main process. Each command's own status is
//! in the property of its own name.

use serde::Deserialize;

use crate::state::cause::UnitFailure;
use crate::system::manager::Wanted;
use crate::system::manager::value::{Command, End, Properties, Value};

/// The properties [`failure`] needs.
pub(super) const WANTED: &[Wanted<'_>] = &[
    Wanted::unit("LoadState"),
    Wanted::unit("LoadError"),
    Wanted::unit("ActiveState"),
    Wanted::unit("InvocationID"),
    Wanted::kind("Result"),
    Wanted::kind("ExecMainCode"),
    Wanted::kind("ExecMainStatus"),
    Wanted::kind("ExecCondition"),
    Wanted::kind("ExecStartPre"),
    Wanted::kind("ExecStart"),
    Wanted::kind("ExecStartPost"),
    Wanted::kind("ExecMount"),
    Wanted::kind("ExecActivate"),
];
/// Those of them that hold commands.
const COMMANDS: [&str; 6] = [
    "ExecCondition",
    "ExecStartPre",
    "ExecStart",
    "ExecStartPost",
    "ExecMount",
    "ExecActivate",
];

/// How many lines of log are kept.
const LINES: usize = 20;
/// One entry of the journal may be a whole stack trace: its first lines say what happened.
const LINES_OF_ENTRY: usize = 8;
/// No line needs to be longer. In characters.
const LINE: usize = 400;

/// The journal's priorities are syslog's; up from here PID 1 only says what it does, not what went wrong.
const INFO: u8 = 6;

/// What the properties say, without the log.
pub(super) fn failure(unit: &str, properties: &Properties) -> UnitFailure {
    let get = |key| properties.text(key);
    // systemd says "success" of what has not failed: then the state tells more.
    let result = match (get("LoadState"), get("Result"), get("ActiveState")) {
        ("loaded", "success" | "", state) => state,
        (load, "success" | "", "inactive") => load,
        (_, "success" | "", state) => state,
        (_, result, _) => result,
    };
    let number = |key| properties.number(key).unwrap_or_default();
    let main = End::of(number("ExecMainCode"), number("ExecMainStatus"));
    let commands: Vec<Command> = COMMANDS
        .iter()
        .flat_map(|property| properties.commands(property))
        .collect();
    // The name of an error, and what it says.
    let said = properties.get("LoadError").map_or(&[][..], Value::members);
    let said = said.get(1).and_then(Value::text).unwrap_or_default();
    UnitFailure {
        unit: unit.to_owned(),
        result: result.to_owned(),
        exit_status: decisive(result, main, &commands),
        log: Some(said)
            .filter(|said| !said.is_empty())
            .map(str::to_owned)
            .into_iter()
            .collect(),
    }
}

/// The run that failed. None: it is not known which, because the unit never ran, or has been started again since.
pub(super) fn failed_invocation(properties: &Properties) -> Option<String> {
    let failed = properties.text("ActiveState") == "failed";
    Some(properties.id("InvocationID")).filter(|id| failed && !id.is_empty())
}

/// The status of the command that made the unit fail.
fn decisive(result: &str, main: End, others: &[Command]) -> Option<i32> {
    let others = others.iter().filter(|command| !command.ignored);
    let decisive = Some(main)
        .into_iter()
        .chain(others.map(|command| command.end))
        .find(|end| explains(*end, result))
        .unwrap_or(main);
    // A death by signal is only the unit's own where `result` says so. Otherwise systemd killed it, e.g. after a
    // timeout.
    let own_death = matches!(result, "signal" | "core-dump" | "watchdog" | "oom-kill");
    match decisive {
        End::Exited(status) => Some(status),
        End::Killed(signal) => own_death.then_some(signal),
        End::Not => None,
    }
}

/// Whether a unit with this `Result=` can have failed because a command ended so.
fn explains(end: End, result: &str) -> bool {
    match end {
        End::Not => false,
        End::Exited(status) => !matches!(result, "signal" | "core-dump") && status != 0,
        End::Killed(_) => !matches!(result, "exit-code" | "protocol"),
    }
}

/// One line of `journalctl --output=json`.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "MESSAGE")]
    message: Option<Message>,
    #[serde(rename = "_PID")]
    pid: Option<String>,
    #[serde(rename = "PRIORITY")]
    priority: Option<String>,
    #[serde(rename = "_SYSTEMD_UNIT")]
    unit: Option<String>,
    #[serde(rename = "_SYSTEMD_INVOCATION_ID")]
    invocation: Option<String>,
}

impl Entry {
    /// Whether another run of `unit` than `invocation` wrote it.
    fn is_of_another_run(&self, unit: &str, invocation: Option<&str>) -> bool {
        let is_another = |id: &String| invocation.is_some_and(|wanted| wanted != id);
        self.unit.as_deref() == Some(unit) && self.invocation.as_ref().is_some_and(is_another)
    }
}

/// Text, or numbers when it is not UTF-8.
#[derive(Deserialize)]
#[serde(untagged)]
enum Message {
    Text(String),
    Bytes(Vec<u8>),
}

/// The end of a log, oldest line first: what is of another run of `unit` than `invocation` is left out, if that is
/// known. PID 1's lines are kept where they say what went wrong.
pub(super) fn log(json_lines: &str, unit: &str, invocation: Option<&str>) -> Vec<String> {
    let mut lines = Vec::new();
    for line in json_lines.lines() {
        // An entry that cannot be read costs itself, not the log.
        let Ok(entry) = serde_json::from_str::<Entry>(line) else {
            continue;
        };
        if entry.is_of_another_run(unit, invocation) {
            continue;
        }
        let priority = entry.priority.and_then(|word| word.parse().ok());
        if entry.pid.as_deref() == Some("1") && priority.is_some_and(|p: u8| p >= INFO) {
            continue;
        }
        let text = match entry.message {
            Some(Message::Text(text)) => text,
            Some(Message::Bytes(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
            None => continue,
        };
        let said = text.lines().filter(|line| !line.trim().is_empty());
        lines.extend(said.take(LINES_OF_ENTRY).map(shortened));
    }
    let first = lines.len().saturating_sub(LINES);
    lines.split_off(first)
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(LINE) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or(line)),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests;
