//! Units made at run time.

use zbus::Variant;

use super::error::Error;
use super::jobs::{JobId, Mode};
use super::message::Body;
use super::{Manager, sendable};

/// What a property of a transient unit is set to. systemd takes each in one type only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// A text, e.g. `Description`, `Type`.
    Text(String),
    /// Yes or no, e.g. `RemainAfterExit`.
    Flag(bool),
    /// A number of 64 bits, e.g. `RuntimeMaxUSec`.
    Number(u64),
    /// Texts, e.g. `Wants`, `After`, `Environment`.
    Texts(Vec<String>),
    /// Signals, for `RestartForceExitStatus` and its like.
    Signals(Vec<i32>),
    /// Times counted from an event, in microseconds: `TimersMonotonic`.
    Timers(Vec<(String, u64)>),
    /// Bytes as they are, e.g. `StandardInputData`.
    Bytes(Vec<u8>),
    /// Programs with their arguments, their own name among them, e.g. `ExecStart`.
    Commands(Vec<Vec<String>>),
}

impl Setting {
    pub(super) fn variant(&self) -> Variant<'_> {
        match self {
            Self::Text(text) => Variant::from(text.as_str()),
            Self::Flag(flag) => Variant::from(*flag),
            Self::Number(number) => Variant::from(*number),
            Self::Texts(texts) => {
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                Variant::from(texts)
            }
            Self::Signals(signals) => Variant::new((Vec::<i32>::new(), signals.clone())),
            Self::Bytes(bytes) => Variant::new(bytes.clone()),
            Self::Timers(timers) => Variant::new(timers.clone()),
            Self::Commands(commands) => {
                let command = |words: &Vec<String>| {
                    let program = words.first().cloned().unwrap_or_default();
                    (program, words.clone(), false)
                };
                Variant::new(commands.iter().map(command).collect::<Vec<_>>())
            }
        }
    }
}

/// A unit that is made along with another one: its name and what it is like.
pub type Other<'a> = (&'a str, &'a [(&'a str, Setting)]);

impl Manager {
    /// Makes a unit and starts it, and gives its job. It is gone when it is over. `others` are made along with it and not
    /// started: what a timer starts, say.
    ///
    /// # Errors
    /// When systemd does not answer, or refuses: there may be one of that name already.
    pub fn start_transient(
        &mut self,
        unit: &str,
        mode: Mode,
        settings: &[(&str, Setting)],
        others: &[Other<'_>],
    ) -> Result<JobId, Error> {
        let member = "StartTransientUnit";
        let others: Vec<(&str, Vec<(&str, Variant<'_>)>)> = others
            .iter()
            .map(|(name, settings)| (*name, variants(settings)))
            .collect();
        let body = Body::of(&(sendable(unit), mode.word(), variants(settings), others))
            .map_err(|why| Error::Garbled { doing: member, why })?;
        self.job_of(member, body)
    }
}

fn variants<'a>(settings: &'a [(&'a str, Setting)]) -> Vec<(&'a str, Variant<'a>)> {
    settings
        .iter()
        .map(|(name, setting)| (*name, setting.variant()))
        .collect()
}
