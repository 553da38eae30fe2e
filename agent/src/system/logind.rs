//! logind: who is there, and who holds up a reboot. It is asked by busctl; nothing is told to it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::program;
use crate::host::Program;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

const NAME: &str = "org.freedesktop.login1";
const OBJECT: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const SESSION: &str = "org.freedesktop.login1.Session";

/// Why logind could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none, or it does not answer.
    #[error(transparent)]
    Ask(#[from] program::Error),
    /// It says something that makes no sense.
    #[error("cannot read what logind says to {doing}: {why}")]
    Garbled {
        /// What was asked.
        doing: &'static str,
        /// What makes no sense.
        why: String,
    },
}

/// Somebody who holds up a shutdown (systemd-inhibit(1)).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Inhibitor {
    /// What it calls itself.
    pub who: String,
    /// Why it does.
    pub why: String,
    /// Its user.
    pub uid: u32,
    /// Its process.
    pub pid: u32,
}

/// A person's session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Session {
    /// Its number, as logind has it.
    pub id: String,
    /// Who it is.
    pub user: String,
    /// The user's number.
    pub uid: u32,
    /// The terminal, relative to `/dev`. None: logind knows none.
    pub terminal: Option<String>,
}

/// Those that block a shutdown now.
///
/// # Errors
/// When logind cannot be asked.
pub fn blocking_shutdown() -> Result<BTreeSet<Inhibitor>, Error> {
    inhibitors(&call("ListInhibitors")?)
}

/// The people who are logged in at a terminal, or from elsewhere.
///
/// # Errors
/// When logind cannot be asked.
pub fn people() -> Result<BTreeSet<Session>, Error> {
    let mut people = BTreeSet::new();
    for row in rows::<Row>("ListSessions", &call("ListSessions")?)? {
        let mut busctl = asking()?;
        busctl.args(["get-property", NAME, &row.4, SESSION]);
        busctl.args(["Class", "TTY", "Remote", "State"]);
        // It may have ended since.
        let Ok(text) = program::stdout_within(&mut busctl, PATIENCE) else {
            continue;
        };
        people.extend(person(&row, &text)?);
    }
    Ok(people)
}

fn asking() -> Result<std::process::Command, program::Error> {
    let mut busctl = program::command(Program::Busctl)?;
    busctl.args(["--system", "--json=short", "--timeout=4"]);
    Ok(busctl)
}

fn call(member: &'static str) -> Result<String, Error> {
    let mut busctl = asking()?;
    busctl.args(["call", NAME, OBJECT, MANAGER, member]);
    Ok(program::stdout_within(&mut busctl, PATIENCE)?)
}

/// What busctl makes of a value.
#[derive(Deserialize)]
struct Typed<T> {
    data: T,
}

/// What, who, why, mode, user, process.
type Held = (String, String, String, String, u32, u32);
/// Session, user's number, user, seat, object.
type Row = (String, u32, String, String, String);

/// The rows of the one array that is the answer.
fn rows<T: DeserializeOwned>(doing: &'static str, text: &str) -> Result<Vec<T>, Error> {
    let answer: Typed<(Vec<T>,)> = serde_json::from_str(text).map_err(|error| Error::Garbled {
        doing,
        why: error.to_string(),
    })?;
    Ok(answer.data.0)
}

fn inhibitors(text: &str) -> Result<BTreeSet<Inhibitor>, Error> {
    let all = rows::<Held>("ListInhibitors", text)?;
    // `block-weak`, since 257, stops the user's own shutdown only; it says that something is under way all the same.
    let blocking = all.into_iter().filter(|(what, _, _, mode, _, _)| {
        what.split(':').any(|what| what == "shutdown") && mode.starts_with("block")
    });
    let blocking = blocking.map(|(_, who, why, _, uid, pid)| Inhibitor { who, why, uid, pid });
    Ok(blocking.collect())
}

/// The session, if a person has it and is there.
fn person(row: &Row, text: &str) -> Result<Option<Session>, Error> {
    let values: Result<Vec<Typed<Value>>, _> = text.lines().map(serde_json::from_str).collect();
    let values = values.map_err(|error| error.to_string());
    let values = values.and_then(|values| {
        <[Typed<Value>; 4]>::try_from(values).map_err(|values| format!("{} values", values.len()))
    });
    let [class, tty, remote, state] = values.map_err(|why| Error::Garbled {
        doing: "properties of a session",
        why,
    })?;
    let [class, tty, state] = [class, tty, state].map(|one| match one.data {
        Value::String(text) => text,
        _ => String::new(),
    });
    let is_person = class.starts_with("user") && state != "closing";
    let is_there = !tty.is_empty() || remote.data == Value::Bool(true);
    Ok((is_person && is_there).then(|| Session {
        id: row.0.clone(),
        user: row.2.clone(),
        uid: row.1,
        // sshd's session has this one until it has a terminal of its own.
        terminal: Some(tty).filter(|tty| !tty.is_empty() && tty != "ssh"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_blocks_a_shutdown_is_waited_for() {
        // As 257's busctl prints it.
        let text = r#"{"type":"a(ssssuu)","data":[[
            ["shutdown:sleep","backup","nightly backup","block",0,41],
            ["shutdown","weak","x","block-weak",1000,42],
            ["shutdown","kubelet","graceful","delay",0,43],
            ["sleep","player","x","block",1000,44],
            ["handle-power-key:shutdown-not","x","x","block",0,45]]]}"#;
        let found = inhibitors(text).unwrap();
        let found: Vec<(&str, u32)> = found.iter().map(|one| (&*one.who, one.pid)).collect();
        assert_eq!(found, [("backup", 41), ("weak", 42)]);
        assert_eq!(
            inhibitors(r#"{"type":"a(ssssuu)","data":[[]]}"#)
                .unwrap()
                .len(),
            0
        );
        assert!(
            inhibitors("")
                .unwrap_err()
                .to_string()
                .contains("ListInhibitors")
        );
    }

    fn found(class: &str, tty: &str, remote: bool, state: &str) -> Option<Session> {
        let row = (
            "c1".into(),
            1000,
            "alice".into(),
            String::new(),
            "/x".into(),
        );
        let text = format!(
            "{{\"type\":\"s\",\"data\":\"{class}\"}}\n{{\"type\":\"s\",\"data\":\"{tty}\"}}\n\
             {{\"type\":\"b\",\"data\":{remote}}}\n{{\"type\":\"s\",\"data\":\"{state}\"}}\n"
        );
        person(&row, &text).unwrap()
    }

    #[test]
    fn only_people_who_are_there_count() {
        let terminal = |tty: &str| Some(Some(tty.to_owned()));
        let of = |session: Option<Session>| session.map(|one| one.terminal);
        assert_eq!(of(found("user", "tty1", false, "active")), terminal("tty1"));
        assert_eq!(
            of(found("user", "pts/0", true, "online")),
            terminal("pts/0")
        );
        assert_eq!(of(found("user", "", true, "active")), Some(None));
        assert_eq!(of(found("user", "ssh", true, "active")), Some(None));
        assert_eq!(
            of(found("user-early", "tty1", false, "active")),
            terminal("tty1")
        );
        for (class, tty, remote, state) in [
            ("greeter", "tty7", false, "active"),
            ("manager", "", false, "active"),
            ("background", "", false, "active"),
            // cron, or a service with PAMName=.
            ("user", "", false, "active"),
            ("user", "pts/0", true, "closing"),
        ] {
            assert_eq!(found(class, tty, remote, state), None, "{class} {state}");
        }
        let row = (
            String::new(),
            0,
            String::new(),
            String::new(),
            String::new(),
        );
        assert!(person(&row, "{\"type\":\"s\",\"data\":\"user\"}").is_err());
    }
}
