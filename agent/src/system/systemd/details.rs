//! Reads what systemd and the journal know about one unit that is not well.
//!
//! The awkward part is the exit status. `ExecMainStatus=` is about the main process only: it is 0 when `ExecStartPre=`
//! failed and 15 when `ExecStartPost=` did, because systemd then kills the main process. Each command's own status is
//! in the property of its own name, in a form made for people:
//! `ExecStartPre={ path=sh ; argv[]=... ; ignore_errors=no ; ... ; pid=51 ; code=exited ; status=4 }`.

use serde::Deserialize;

use super::parse::block_of;
use crate::state::cause::UnitFailure;

/// The properties [`failure`] needs. The commands are asked for in a call of their own: their arguments may contain
/// line breaks, and so anything that looks like a property.
pub(super) const STATE: &str =
    "LoadState,LoadError,ActiveState,SubState,Result,ExecMainCode,ExecMainStatus,InvocationID";
/// The properties [`Command::all`] reads.
pub(super) const COMMANDS: &str =
    "ExecCondition,ExecStartPre,ExecStart,ExecStartPost,ExecMount,ExecActivate";

/// How many lines of log are kept.
const LINES: usize = 20;
/// One entry of the journal may be a whole stack trace: its first lines say what happened.
const LINES_OF_ENTRY: usize = 8;
/// No line needs to be longer. In characters.
const LINE: usize = 400;

/// The journal's priorities are syslog's; up from here PID 1 only says what it does, not what went wrong.
const INFO: u8 = 6;

/// What `STATE`'s call says, and `COMMANDS`', without the log.
pub(super) fn failure(unit: &str, state: &str, commands: &str) -> UnitFailure {
    let properties = block_of(state);
    let get = |key| properties.get(key).copied().unwrap_or_default();
    // systemd says "success" of what has not failed: then the state tells more.
    let result = match (get("LoadState"), get("Result"), get("ActiveState")) {
        ("loaded", "success" | "", state) => state,
        (load, "success" | "", "inactive") => load,
        (_, "success" | "", state) => state,
        (_, result, _) => result,
    };
    let main = Command {
        property: "",
        ignored: false,
        code: match get("ExecMainCode") {
            "1" => Code::Exited,
            "2" | "3" => Code::Killed,
            _ => Code::Not,
        },
        status: get("ExecMainStatus").parse().unwrap_or(0),
    };
    let mut log = Vec::new();
    if let Some((_, said)) = get("LoadError").split_once(' ') {
        log.push(said.trim_matches('"').replace("\\\"", "\""));
    }
    UnitFailure {
        unit: unit.to_owned(),
        result: result.to_owned(),
        exit_status: decisive(result, &main, &Command::all(commands)),
        log,
    }
}

/// The run that failed. None: it is not known which, because the unit never ran, or has been started again since.
pub(super) fn failed_invocation(state: &str) -> Option<&str> {
    let properties = block_of(state);
    let id = properties.get("InvocationID").copied()?;
    let failed = properties.get("ActiveState") == Some(&"failed");
    (failed && !id.is_empty()).then_some(id)
}

/// The status of the command that made the unit fail.
fn decisive(result: &str, main: &Command, others: &[Command]) -> Option<i32> {
    let decisive = Some(main)
        .filter(|main| main.explains(result))
        .or_else(|| others.iter().find(|command| command.explains(result)))
        .or(Some(main).filter(|main| main.code != Code::Not))?;
    // A death by signal is only the unit's own where `result` says so. Otherwise systemd killed it, e.g. after a
    // timeout.
    let own_death = matches!(result, "signal" | "core-dump" | "watchdog" | "oom-kill");
    (decisive.code == Code::Exited || own_death).then_some(decisive.status)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    Not,
    Exited,
    Killed,
}

/// How one command of a unit ended.
#[derive(Debug, PartialEq, Eq)]
struct Command<'a> {
    property: &'a str,
    /// Its line began with `-`: whatever it says counts as success.
    ignored: bool,
    code: Code,
    status: i32,
}

impl<'a> Command<'a> {
    /// Every command in the output of `systemctl show`. Those that a line break in their arguments makes doubtful
    /// are judged by their end, where nothing is free text.
    fn all(text: &'a str) -> Vec<Self> {
        let mut property = "";
        let mut commands = Vec::new();
        for line in text.lines() {
            let key = line.split_once("={ ").map_or("", |(key, _)| key);
            if COMMANDS.split(',').any(|known| known == key) {
                property = key;
            }
            commands.extend(Self::end_of(property, line));
        }
        commands
    }

    fn end_of(property: &'a str, line: &str) -> Option<Self> {
        let mut fields = line.strip_suffix(" }")?.rsplit(" ; ");
        let mut next = |key| fields.next()?.strip_prefix(key);
        let status = next("status=")?;
        let code = next("code=")?;
        next("pid=")?;
        next("stop_time=")?;
        next("start_time=")?;
        let ignored = next("ignore_errors=")?;
        Some(Self {
            property,
            ignored: ignored == "yes",
            code: match code {
                "exited" => Code::Exited,
                "killed" | "dumped" => Code::Killed,
                _ => Code::Not,
            },
            status: status.split('/').next()?.parse().ok()?,
        })
    }

    /// Whether a unit with this `Result=` can have failed because of this command.
    fn explains(&self, result: &str) -> bool {
        let by_exit = !matches!(result, "signal" | "core-dump");
        let by_signal = !matches!(result, "exit-code" | "protocol");
        !self.ignored
            && match self.code {
                Code::Not => false,
                Code::Exited => by_exit && self.status != 0,
                Code::Killed => by_signal,
            }
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
