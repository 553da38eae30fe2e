//! What a closure tells lastgood: `etc/lastgood/lastgood.toml` inside it, so that it rolls back with it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use boot_entries::{Root, bounded};
use serde::Deserialize;

mod activation;
mod boot;
pub mod checks;
mod firewall;
mod hooks;
pub mod keys;
mod metrics;
mod unit_names;

pub use activation::Activation;
pub use boot::BootConfig;
pub use checks::Checks;
pub use firewall::{Asked, Firewall, Interface, Limit, Ports, Range, ReversePath};
pub use hooks::Hooks;
pub use metrics::Metrics;

/// Where the file is inside a closure.
pub const PATH: &str = "etc/lastgood/lastgood.toml";

/// Nobody writes a longer one, in bytes.
const LIMIT: u64 = 1024 * 1024;

/// The whole file. A missing file, section or key means the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Config {
    /// `[boot]`
    pub boot: BootConfig,
    /// `[health]`
    pub health: Health,
    /// `[firewall]`
    pub firewall: Firewall,
    /// `[activation]`
    pub activation: Activation,
    /// `[switch]`
    pub switch: Switch,
    /// `[fallback]`
    pub fallback: Fallback,
    /// `[hooks]`
    pub hooks: Hooks,
    /// `[metrics]`
    pub metrics: Metrics,
}

/// `[switch]`: when a live switch to this closure has ended well.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Switch {
    /// How long everything must stay as it was intended, in seconds.
    pub settle_sec: Seconds,
    /// How long a unit may be on its way before it is named and not waited for, in seconds.
    pub patience_sec: Seconds,
}

impl Default for Switch {
    fn default() -> Self {
        Self {
            settle_sec: Seconds(2),
            patience_sec: Seconds(60),
        }
    }
}

/// `[fallback]`: how the machine goes back from this closure.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Fallback {
    /// Without a reboot, where only a boot could not do more.
    pub live: bool,
    /// By a soft-reboot, where kernel, initrd, modules and parameters are the same.
    pub soft_reboot: bool,
    /// By kexec, past firmware and loader.
    pub kexec: bool,
    /// How long an automatic reboot waits for those who hold it up (systemd-inhibit(1)), in seconds.
    pub inhibitor_patience_sec: Pause,
    /// How long it waits where somebody is logged in, in seconds.
    pub grace_sec: Pause,
    /// How long services may take to stop, in seconds, before a harsher way is taken.
    pub stop_sec: Seconds<3600>,
}

impl Default for Fallback {
    fn default() -> Self {
        Self {
            live: false,
            soft_reboot: true,
            kexec: false,
            inhibitor_patience_sec: Pause(60),
            grace_sec: Pause(60),
            stop_sec: Seconds(180),
        }
    }
}

/// A pause of at most an hour, unless said otherwise; 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct Pause<const LONGEST: u64 = 3600>(u64);

impl<const LONGEST: u64> TryFrom<u64> for Pause<LONGEST> {
    type Error = String;

    fn try_from(count: u64) -> Result<Self, String> {
        if count <= LONGEST {
            Ok(Self(count))
        } else {
            Err(format!("must be between 0 and {LONGEST} seconds"))
        }
    }
}

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct Times(u32);

impl Times {
    /// More often says that it does not matter.
    const MOST: u32 = 1000;
}

impl TryFrom<u64> for Times {
    type Error = String;

    fn try_from(count: u64) -> Result<Self, String> {
        let count = u32::try_from(count).ok();
        let count = count.filter(|count| *count <= Self::MOST);
        count
            .map(Self)
            .ok_or_else(|| format!("must be between 0 and {}", Self::MOST))
    }
}

impl From<Times> for u32 {
    fn from(times: Times) -> Self {
        times.0
    }
}

impl<const LONGEST: u64> From<Pause<LONGEST>> for Duration {
    fn from(pause: Pause<LONGEST>) -> Self {
        Self::from_secs(pause.0)
    }
}

/// `[health]`: what "healthy" means for this closure.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Health {
    /// Units that must be active, besides those that `boot-complete.target` requires.
    pub required_units: Vec<String>,
    /// Units whose failure is told, and held against no closure.
    pub wanted_units: Vec<String>,
    /// How long everything must stay well before the generation is proven, in seconds.
    pub settle_sec: Seconds,
    /// When an assessment that has come to no verdict ends as a failure, in seconds since the agent began.
    pub deadline_sec: Seconds,
    /// How long it is watched after it was proven, in seconds. 0: it is not.
    pub probation_sec: Pause<86400>,
    /// How often systemd may restart one unit in that time.
    pub probation_restarts: Times,
    /// How many units that need not be active may fail in it.
    pub probation_failures: Times,
    /// What is asked of the machine beyond the state of its units.
    pub checks: Checks,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            required_units: Vec::new(),
            wanted_units: Vec::new(),
            settle_sec: Seconds(10),
            deadline_sec: Seconds(300),
            probation_sec: Pause(600),
            probation_restarts: Times(3),
            probation_failures: Times(0),
            checks: Checks::new(),
        }
    }
}

/// A length of time, at most `LONGEST` seconds. Unless said otherwise one that an assessment can keep: some, and together
/// with another one well below the 30 minutes after which the assessor ends itself (`system::pulse`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct Seconds<const LONGEST: u64 = 800>(u64);

impl<const LONGEST: u64> TryFrom<u64> for Seconds<LONGEST> {
    type Error = String;

    fn try_from(count: u64) -> Result<Self, String> {
        if (1..=LONGEST).contains(&count) {
            Ok(Self(count))
        } else {
            Err(format!("must be between 1 and {LONGEST} seconds"))
        }
    }
}

impl<const LONGEST: u64> From<Seconds<LONGEST>> for Duration {
    fn from(seconds: Seconds<LONGEST>) -> Self {
        Self::from_secs(seconds.0)
    }
}

/// The first mistake in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct Mistake {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong, in one line.
    pub message: String,
}

impl Config {
    /// Reads the text of the file.
    ///
    /// # Errors
    /// The first mistake, with its place. An unknown key is one: a misspelt key must not be a silent default.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let message = error.message().lines().collect::<Vec<_>>().join(" ");
            let message = unknown_key(&message).unwrap_or(message);
            Mistake::at(text, error.span().map_or(0, |span| span.start), message)
        })?;
        let of_firewall = config.firewall.contradiction(text);
        let deadline = config.health.deadline_sec.into();
        let contradiction = of_firewall
            .map(|(at, what)| (at, what.to_owned()))
            .or_else(|| checks::contradiction(&config.health.checks, deadline));
        match contradiction {
            Some((at, what)) => Err(Mistake::at(text, at, what)),
            None => Ok(config),
        }
    }
}

/// What is said of an unknown key: which one was probably meant, or which there are. `message` is serde's, which names the
/// unknown one first, and then those that it would have taken.
fn unknown_key(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field `")?;
    let (unknown, rest) = rest.split_once('`')?;
    let here: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    let advice = if let Some(near) = keys::nearest(unknown, here.iter().copied()) {
        format!("did you mean `{near}`?")
    } else {
        let elsewhere = keys::KEYS.iter().map(|key| key.name);
        let key = keys::nearest(unknown, elsewhere)
            .and_then(|near| keys::KEYS.iter().find(|key| key.name == near));
        match key {
            Some(key) => format!("`{}` belongs in [{}]", key.name, key.section),
            None => format!("there are {}", here.join(", ")),
        }
    };
    Some(format!("unknown key `{unknown}`: {advice}"))
}

impl Mistake {
    /// `at` is a byte of `text`.
    fn at(text: &str, at: usize, message: String) -> Self {
        let before = text.get(..at).unwrap_or_default();
        Self {
            line: before.matches('\n').count() + 1,
            column: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
            message,
        }
    }
}

/// A configuration that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is there and cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The file is there and says nothing.
    #[error("is empty: say something in it, or leave it out")]
    Empty,
    /// A link stands in its place.
    #[error("is a link that leads nowhere")]
    Dangling,
    /// The file says what makes no sense.
    #[error("{0}")]
    Mistake(#[from] Mistake),
}

/// The configuration inside the closure `toplevel`. No file: the defaults.
///
/// # Errors
/// When there is a file and it cannot be read or understood.
pub fn read(root: &Root, toplevel: &Path) -> Result<Config, Error> {
    let text = text(root, toplevel)?;
    text.map_or_else(|| Ok(Config::default()), |text| Ok(Config::parse(&text)?))
}

/// Checks the file where somebody can mend it: also what a boot puts up with is a mistake here.
///
/// # Errors
/// As [`read`].
pub fn check(root: &Root, toplevel: &Path) -> Result<(), Error> {
    text(root, toplevel)?.map_or(Ok(()), |text| check_text(&text))
}

/// [`check`] of a file by itself, as a path of this process.
///
/// # Errors
/// As [`check`], and when there is no such file.
pub fn check_file(path: &Path) -> Result<(), Error> {
    let text = bounded::read(path, LIMIT)?;
    if text.trim().is_empty() {
        return Err(Error::Empty);
    }
    check_text(&text)
}

fn check_text(text: &str) -> Result<(), Error> {
    let config = Config::parse(text)?;
    if let Some((at, message)) = unit_names::mistake(text) {
        return Err(Mistake::at(text, at, message).into());
    }
    let Some(at) = config.boot.endless_menu() else {
        return Ok(());
    };
    let message = "the loader would wait at its menu until somebody presses a key: must be seconds (0 to 65535), \
                   \"menu-hidden\" or \"menu-disabled\"";
    Err(Mistake::at(text, at, message.to_owned()).into())
}

/// The text of the file. None: there is none.
fn text(root: &Root, toplevel: &Path) -> Result<Option<String>, Error> {
    let path = toplevel.join(PATH);
    match bounded::read(&root.resolve(&path)?, LIMIT) {
        // What a power cut makes of a file that was not flushed. It would open the firewall.
        Ok(text) if text.trim().is_empty() => Err(Error::Empty),
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match root.place(&path)?.symlink_metadata() {
                Ok(_) => Err(Error::Dangling),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// What closures say ([`read_or_default`]), so that each is asked, and scolded, once.
#[derive(Debug, Default)]
pub struct Known(RefCell<BTreeMap<PathBuf, Config>>);

impl Known {
    /// What `toplevel` says.
    pub fn of(&self, root: &Root, toplevel: &Path) -> Config {
        let mut known = self.0.borrow_mut();
        if let Some(config) = known.get(toplevel) {
            return config.clone();
        }
        let config = read_or_default(root, toplevel);
        known.insert(toplevel.to_owned(), config.clone());
        config
    }
}

/// [`read`] at boot, where nobody can mend the file: the machine goes on with the defaults, loudly.
#[must_use]
pub fn read_or_default(root: &Root, toplevel: &Path) -> Config {
    read(root, toplevel).unwrap_or_else(|error| {
        let path = toplevel.join(PATH);
        tracing::error!("{}: {error}; going on with the defaults", path.display());
        Config::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(Config::parse(""), Ok(Config::default()));
    }

    #[test]
    fn a_closure_is_asked_once() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let file = tree.path().join("system").join(PATH);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let known = Known::default();
        for (text, settle) in [
            ("[health]\nsettle-sec = 7\n", 7),
            ("[health]\nsettle-sec = 9\n", 7),
        ] {
            boot_entries::durable::put_text(text, &file).unwrap();
            let config = known.of(&root, Path::new("/system"));
            assert_eq!(config.health.settle_sec, Seconds(settle));
        }
    }

    #[test]
    fn a_misspelt_key_is_told_with_its_place() {
        let mistake = Config::parse("[health]\nsettle-sec = 5\n  dedline-sec = 9\n").unwrap_err();
        assert_eq!((mistake.line, mistake.column), (3, 3));
        assert!(mistake.message.contains("dedline-sec"), "{mistake}");
    }

    #[test]
    fn an_unknown_key_is_told_with_what_was_probably_meant() {
        for (text, told) in [
            (
                "[health]\ndedline-sec = 9",
                "unknown key `dedline-sec`: did you mean `deadline-sec`?",
            ),
            (
                "[activation]\ndeadline_sec = 9",
                "unknown key `deadline_sec`: did you mean `deadline-sec`?",
            ),
            (
                "[boot]\nrequiredUnits = []",
                "unknown key `requiredUnits`: `required-units` belongs in [health]",
            ),
            ("[helth]\n", "unknown key `helth`: did you mean `health`?"),
            (
                "[services]\n",
                "unknown key `services`: there are boot, health, firewall, activation, switch, fallback, hooks, metrics",
            ),
            (
                "[firewall.interfaces.eth0]\nallow-ping = true",
                "unknown key `allow-ping`: `allow-ping` belongs in [firewall]",
            ),
            (
                "[activation]\nx = 1",
                "unknown key `x`: there are script, deadline-sec",
            ),
        ] {
            assert_eq!(Config::parse(text).unwrap_err().message, told, "{text}");
        }
    }

    #[test]
    fn no_time_at_all_and_too_much_of_it_are_refused() {
        for bad in ["0", "801", "-1", "\"5min\""] {
            let mistake = Config::parse(&format!("[health]\nsettle-sec = {bad}\n")).unwrap_err();
            assert_eq!((mistake.line, mistake.column), (2, 14), "{bad}: {mistake}");
        }
        for (key, bad) in [
            ("probation-sec", "86401"),
            ("probation-sec", "-1"),
            ("probation-restarts", "1001"),
            ("probation-failures", "4294967296"),
        ] {
            let mistake = Config::parse(&format!("[health]\n{key} = {bad}\n")).unwrap_err();
            assert_eq!(mistake.line, 2, "{key} = {bad}: {mistake}");
        }
        let off =
            "[health]\nprobation-sec = 0\nprobation-restarts = 0\nprobation-failures = 1000\n";
        let health = Config::parse(off).unwrap().health;
        assert_eq!(Duration::from(health.probation_sec), Duration::ZERO);
        assert_eq!(u32::from(health.probation_failures), 1000);
    }
}
