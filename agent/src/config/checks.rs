//! `[health.checks.NAME]`: what a closure has asked of the running machine, beyond the state of its units.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::Seconds;
use crate::host::full_name;

mod address;
mod room;

pub use address::{Address, Url};
pub use room::Room;

/// Checks by their names.
pub type Checks = BTreeMap<Name, Spanned<Check>>;

/// What a check is called: in the ledger, in the journal, and as part of a unit's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl Name {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        const LONGEST: usize = 64;
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins && name.len() <= LONGEST && name.chars().all(is_plain) {
            Ok(Self(name))
        } else {
            Err(format!(
                "{name:?} is no name of a check: it has 1 to {LONGEST} of a to z, 0 to 9, `-`, `_` and `.`, a letter or digit first"
            ))
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Check {
    /// What is looked at.
    pub kind: Kind,
    /// Its failure is told, and held against nobody.
    pub wanted: bool,
    /// How often in a row it may fail and be tried again. None: until the deadline.
    pub retries: Option<u32>,
    /// The time between two runs.
    pub interval: Duration,
    /// The time between the end of the boot and the first run.
    pub start_delay: Duration,
    /// How long one run may take.
    pub timeout: Duration,
}

/// What a check looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// This program ends well.
    Exec {
        /// The program and its arguments.
        words: Vec<String>,
        /// Who runs it. None: root.
        user: Option<String>,
    },
    /// Somebody takes a connection there.
    Tcp(Address),
    /// A page is answered.
    Http {
        /// Which.
        url: Url,
        /// With one of these; empty: any from 200 to 299.
        status: Vec<u16>,
        /// With this in it.
        body: Option<String>,
    },
    /// This unit is active. Its full name.
    Unit(String),
    /// There is a way out of the machine.
    DefaultRoute(Family),
    /// This name has an address.
    Resolve(String),
    /// Something is mounted here.
    Mount {
        /// Where.
        path: PathBuf,
        /// It can be written to.
        writable: bool,
    },
    /// The file system of this path has room.
    FreeSpace {
        /// The path.
        path: PathBuf,
        /// How much.
        at_least: Room,
    },
    /// The clock is right, as far as the kernel knows.
    TimeSync,
}

/// Which of the two protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// Either of them.
    Any,
}

/// A check as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    exec: Option<Vec<String>>,
    tcp: Option<Address>,
    http: Option<Url>,
    unit: Option<String>,
    default_route: Option<Family>,
    resolve: Option<String>,
    mount: Option<Place>,
    free_space: Option<Place>,
    time_sync: Option<bool>,
    user: Option<String>,
    status: Option<Vec<u16>>,
    body: Option<String>,
    writable: Option<bool>,
    at_least: Option<Room>,
    #[serde(default)]
    wanted: bool,
    retries: Option<Retries>,
    interval_sec: Option<Seconds>,
    start_delay_sec: Option<Delay>,
    timeout_sec: Option<Seconds>,
}

/// How long a run may take that says nothing of it, in seconds.
const TIMEOUT: u64 = 10;
/// How long it is until the next run, in seconds.
const INTERVAL: u64 = 5;

/// The keys of which a check has one.
const KINDS: [&str; 9] = [
    "exec",
    "tcp",
    "http",
    "unit",
    "default-route",
    "resolve",
    "mount",
    "free-space",
    "time-sync",
];

impl TryFrom<Written> for Check {
    type Error = String;

    fn try_from(mut written: Written) -> Result<Self, String> {
        let is_said = [
            written.exec.is_some(),
            written.tcp.is_some(),
            written.http.is_some(),
            written.unit.is_some(),
            written.default_route.is_some(),
            written.resolve.is_some(),
            written.mount.is_some(),
            written.free_space.is_some(),
            written.time_sync.is_some(),
        ];
        let said = KINDS.into_iter().zip(is_said).filter(|(_, said)| *said);
        let said: Vec<&str> = said.map(|(kind, _)| kind).collect();
        let kind = match said[..] {
            [kind] => kind,
            [] => {
                return Err(format!(
                    "does not say what is checked: say one of {}",
                    KINDS.join(", ")
                ));
            }
            _ => {
                return Err(format!(
                    "says more than one thing to check, {}: make a check of each",
                    said.join(" and ")
                ));
            }
        };
        let settings = [
            ("user", "exec", written.user.is_some()),
            ("status", "http", written.status.is_some()),
            ("body", "http", written.body.is_some()),
            ("writable", "mount", written.writable.is_some()),
            ("at-least", "free-space", written.at_least.is_some()),
        ];
        for (setting, of, said) in settings {
            if said && of != kind {
                return Err(format!("`{setting}` belongs to `{of}`, not to `{kind}`"));
            }
        }
        let seconds = |given: Option<Seconds>, default| {
            given.map_or(Duration::from_secs(default), Duration::from)
        };
        Ok(Self {
            wanted: written.wanted,
            retries: written.retries.as_ref().map(|retries| retries.0),
            interval: seconds(written.interval_sec, INTERVAL),
            start_delay: written
                .start_delay_sec
                .as_ref()
                .map_or(Duration::ZERO, |delay| Duration::from_secs(delay.0)),
            timeout: seconds(written.timeout_sec, TIMEOUT),
            kind: written.kind()?,
        })
    }
}

impl Written {
    /// What is looked at. Exactly one of them is there.
    fn kind(&mut self) -> Result<Kind, String> {
        if let Some(words) = self.exec.take() {
            let user = self.user.take();
            return exec(words, user);
        }
        if let Some(address) = self.tcp.take() {
            return Ok(Kind::Tcp(address));
        }
        if let Some(url) = self.http.take() {
            let status = self.status.take().unwrap_or_default();
            if let Some(wrong) = status.iter().find(|code| !(100..=599).contains(*code)) {
                return Err(format!("`status` has {wrong}, and HTTP has 100 to 599"));
            }
            let body = self.body.take();
            return Ok(Kind::Http { url, status, body });
        }
        if let Some(unit) = self.unit.take() {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || ":-_.@\\".contains(c);
            if unit.is_empty() || unit.len() > 250 || !unit.chars().all(is_plain) {
                return Err(format!("{unit:?} is no name of a unit"));
            }
            return Ok(Kind::Unit(full_name(&unit)));
        }
        if let Some(family) = self.default_route {
            return Ok(Kind::DefaultRoute(family));
        }
        if let Some(name) = self.resolve.take() {
            address::host(&name)?;
            return Ok(Kind::Resolve(name));
        }
        if let Some(path) = self.mount.take() {
            let (path, writable) = (path.0, self.writable.unwrap_or(false));
            return Ok(Kind::Mount { path, writable });
        }
        if let Some(path) = self.free_space.take() {
            let path = path.0;
            let at_least = self.at_least.take().ok_or(
                "`free-space` needs `at-least` beside it, such as \"10%\" or \"2G\"".to_owned(),
            )?;
            return Ok(Kind::FreeSpace { path, at_least });
        }
        if self.time_sync == Some(true) {
            return Ok(Kind::TimeSync);
        }
        Err("`time-sync = false` checks nothing: say `true`, or leave the check out".to_owned())
    }
}

fn exec(words: Vec<String>, user: Option<String>) -> Result<Kind, String> {
    let program = words.first().map_or("", String::as_str);
    if program.is_empty() || program.ends_with('/') {
        return Err("`exec` names no program: its first word is one".to_owned());
    }
    if Path::new(program)
        .components()
        .any(|part| part == Component::ParentDir)
    {
        return Err("`exec` has `..` in the path of its program".to_owned());
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err("`exec` has a word with a NUL in it".to_owned());
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if let Some(user) = user
        .as_ref()
        .filter(|user| user.is_empty() || !user.chars().all(is_plain))
    {
        return Err(format!("`user` is {user:?}, which is no name of a user"));
    }
    Ok(Kind::Exec { words, user })
}

/// An absolute path without `..`, spelled in one way (`/srv` for `/srv/`).
#[derive(Deserialize)]
#[serde(try_from = "PathBuf")]
struct Place(PathBuf);

impl TryFrom<PathBuf> for Place {
    type Error = String;

    fn try_from(path: PathBuf) -> Result<Self, String> {
        let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        if path.is_absolute() && path.components().all(plain) {
            Ok(Self(path.components().collect()))
        } else {
            Err("must be an absolute path without `..`, such as \"/srv\"".to_owned())
        }
    }
}

/// How often a check is tried again.
#[derive(Deserialize)]
#[serde(try_from = "u64")]
struct Retries(u32);

impl TryFrom<u64> for Retries {
    type Error = String;

    fn try_from(count: u64) -> Result<Self, String> {
        let few = u32::try_from(count).ok().filter(|count| *count <= 1000);
        few.map(Self)
            .ok_or_else(|| "must be between 0 and 1000".to_owned())
    }
}

/// A time that may be none, in seconds.
#[derive(Deserialize)]
#[serde(try_from = "u64")]
struct Delay(u64);

impl TryFrom<u64> for Delay {
    type Error = String;

    fn try_from(count: u64) -> Result<Self, String> {
        if count <= 800 {
            Ok(Self(count))
        } else {
            Err("must be between 0 and 800 seconds".to_owned())
        }
    }
}

/// What the checks say that cannot be meant, and at which byte of the file: one that could not end before the deadline.
pub(super) fn contradiction(checks: &Checks, deadline: Duration) -> Option<(usize, String)> {
    checks.iter().find_map(|(name, check)| {
        let Check {
            start_delay,
            timeout,
            ..
        } = check.get_ref();
        let longest = *start_delay + *timeout;
        (longest > deadline).then(|| {
            let what = format!(
                "check `{}` may take {} s (`start-delay-sec` and `timeout-sec`), and the assessment ends after {} s (`deadline-sec`)",
                name.as_str(),
                longest.as_secs(),
                deadline.as_secs()
            );
            (check.span().start, what)
        })
    })
}

#[cfg(test)]
mod tests;
