//! What can be at fault when a generation is not good. Pure.
//!
//! A fault has a [key](Fault::key) that is stable: it is in the ledger, in `why --json` and in the journal. The key
//! names what is at fault, not in which way: a unit that hangs in one boot and fails in the next is the same fault.
//!
//! | key | what |
//! |---|---|
//! | `unit:NAME` | a unit is not well |
//! | `activation` | the closure was not put in place |
//! | `snippet:NAME` | a snippet of NixOS's activation failed |
//! | `units` | not all of its units were linked |
//! | `firewall` | its ruleset was not loaded |
//! | `listener:tcp/PORT` | nobody listens on this port any more |
//! | `route` | there is no default route any more |
//! | `resolvers` | there is no name server any more |
//! | `mount:PATH` | something is not mounted any more |
//! | `check:NAME` | a check that the closure declares failed |
//! | `loader:tries-used-up` | the loader started it as often as it may: it crashed, hung, or lost power each time |
//! | `loader:not-counted` | the loader starts it without counting |
//! | `kernel:panic` | the kernel panicked |
//! | `kernel:watchdog` | the hardware watchdog ended its boot |
//! | `power` | its boots just ended: the power, or somebody's reset |
//! | `agent:no-verdict` | the assessment ended without a verdict |
//! | `systemd:no-answer` | systemd did not answer until the deadline |
//! | `operator` | somebody said so |
//!
//! A key that is not in this table comes from a newer agent, and is kept as it is.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The unit that puts the closure in place.
pub const ACTIVATION_UNIT: &str = "lastgood-activate.service";
/// The unit that loads its ruleset.
pub const FIREWALL_UNIT: &str = "lastgood-firewall.service";

/// What a unit's key begins with.
const UNIT: &str = "unit:";
/// What a port's key begins with.
const LISTENER: &str = "listener:tcp/";
/// What a mount's key begins with.
const MOUNT: &str = "mount:";
/// What a snippet's key begins with.
const SNIPPET: &str = "snippet:";

/// What a check's key begins with.
const CHECK: &str = "check:";

/// The transient unit in which a check is run.
#[must_use]
pub fn unit_of_check(name: &str) -> String {
    format!("lastgood-check-{name}.service")
}

/// One thing at fault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Recorded", into = "Recorded")]
pub enum Fault {
    /// A unit is not well. Its name, e.g. `nginx.service`.
    Unit(String),
    /// The closure was not put in place.
    Activation,
    /// A snippet of NixOS's activation failed. Its name.
    Snippet(String),
    /// Not all of its units were linked before systemd looked for them.
    Units,
    /// Its ruleset was not loaded.
    Firewall,
    /// Nobody listens on this TCP port any more.
    Listener(u16),
    /// There is no default route any more.
    Route,
    /// There is no name server any more.
    Resolvers,
    /// Something is not mounted any more. Where it was.
    Mount(String),
    /// A check that the closure declares failed. Its name.
    Check(String),
    /// The loader started it as often as it may, and no boot came to a verdict.
    TriesUsedUp,
    /// The loader starts it without counting.
    NotCounted,
    /// The kernel panicked.
    Panic,
    /// The hardware watchdog ended its boot.
    Watchdog,
    /// Its boots just ended, each after it had begun.
    Power,
    /// The assessment crashed, or ran out of time.
    NoVerdict,
    /// systemd did not answer until the deadline.
    NoAnswer,
    /// The operator rejected it.
    Operator,
    /// What only a newer agent knows. Its key.
    Other(String),
}

/// A fault in JSON.
#[derive(Serialize, Deserialize)]
struct Recorded {
    key: String,
    #[serde(default)]
    kind: String,
}

impl From<Recorded> for Fault {
    fn from(recorded: Recorded) -> Self {
        Self::from_key(&recorded.key)
    }
}

impl From<Fault> for Recorded {
    fn from(fault: Fault) -> Self {
        Self {
            kind: fault.kind().into_owned(),
            key: fault.key().into_owned(),
        }
    }
}

impl Fault {
    /// The fault of a unit. What the activation and the firewall do is more than a unit's business.
    #[must_use]
    pub fn of_unit(name: &str) -> Self {
        match name {
            ACTIVATION_UNIT => Self::Activation,
            FIREWALL_UNIT => Self::Firewall,
            _ => Self::Unit(name.to_owned()),
        }
    }

    /// The unit that can tell more.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        match self {
            Self::Unit(name) => Some(name),
            Self::Activation => Some(ACTIVATION_UNIT),
            Self::Firewall => Some(FIREWALL_UNIT),
            Self::Check(_)
            | Self::TriesUsedUp
            | Self::NotCounted
            | Self::Panic
            | Self::Watchdog
            | Self::Power
            | Self::NoVerdict
            | Self::NoAnswer
            | Self::Operator
            | Self::Units
            | Self::Snippet(_)
            | Self::Listener(_)
            | Self::Route
            | Self::Resolvers
            | Self::Mount(_)
            | Self::Other(_) => None,
        }
    }

    /// The unit whose log tells about it: its own, or that in which a check was run.
    #[must_use]
    pub fn witness(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Check(name) => Some(Cow::Owned(unit_of_check(name))),
            _ => self.unit().map(Cow::Borrowed),
        }
    }

    /// What it is known by. Stable.
    #[must_use]
    pub fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::Unit(name) => return Cow::Owned(format!("{UNIT}{name}")),
            Self::Snippet(name) => return Cow::Owned(format!("{SNIPPET}{name}")),
            Self::Listener(port) => return Cow::Owned(format!("{LISTENER}{port}")),
            Self::Mount(path) => return Cow::Owned(format!("{MOUNT}{path}")),
            Self::Check(name) => return Cow::Owned(format!("{CHECK}{name}")),
            Self::Activation => "activation",
            Self::Units => "units",
            Self::Firewall => "firewall",
            Self::Route => "route",
            Self::Resolvers => "resolvers",
            Self::TriesUsedUp => "loader:tries-used-up",
            Self::NotCounted => "loader:not-counted",
            Self::Panic => "kernel:panic",
            Self::Watchdog => "kernel:watchdog",
            Self::Power => "power",
            Self::NoVerdict => "agent:no-verdict",
            Self::NoAnswer => "systemd:no-answer",
            Self::Operator => "operator",
            Self::Other(key) => key,
        })
    }

    /// The fault with this key. Every key has one.
    #[must_use]
    pub fn from_key(key: &str) -> Self {
        match key {
            "activation" => Self::Activation,
            "units" => Self::Units,
            "firewall" => Self::Firewall,
            "route" => Self::Route,
            "resolvers" => Self::Resolvers,
            "loader:tries-used-up" => Self::TriesUsedUp,
            "loader:not-counted" => Self::NotCounted,
            "kernel:panic" => Self::Panic,
            "kernel:watchdog" => Self::Watchdog,
            "power" => Self::Power,
            "agent:no-verdict" => Self::NoVerdict,
            "systemd:no-answer" => Self::NoAnswer,
            "operator" => Self::Operator,
            _ => match (key.strip_prefix(UNIT), key.strip_prefix(SNIPPET)) {
                (Some(name), _) if !name.is_empty() => Self::Unit(name.to_owned()),
                (_, Some(name)) if !name.is_empty() => Self::Snippet(name.to_owned()),
                _ => match key.strip_prefix(CHECK) {
                    Some(name) if !name.is_empty() => Self::Check(name.to_owned()),
                    _ => Self::lost(key).unwrap_or_else(|| Self::Other(key.to_owned())),
                },
            },
        }
    }

    /// What was there before and is not: the fault with this key.
    fn lost(key: &str) -> Option<Self> {
        if let Some(port) = key.strip_prefix(LISTENER) {
            let number = port.parse().ok()?;
            let listener = Self::Listener(number);
            // Not `022`: it must be written as it was read.
            return (listener.key() == key).then_some(listener);
        }
        let path = key.strip_prefix(MOUNT)?;
        path.starts_with('/').then(|| Self::Mount(path.to_owned()))
    }

    /// What its key has before the colon, or all of it.
    #[must_use]
    pub fn kind(&self) -> Cow<'_, str> {
        let before_colon = |key: &str| key.split(':').next().unwrap_or_default().len();
        match self.key() {
            Cow::Borrowed(key) => Cow::Borrowed(key.get(..before_colon(key)).unwrap_or_default()),
            Cow::Owned(mut key) => {
                key.truncate(before_colon(&key));
                Cow::Owned(key)
            }
        }
    }

    /// Whether two generations that have it can be said to have the same fault, so that the one does not speak against
    /// the other (invariant A4).
    ///
    /// That is so for what was observed in a running system and has a name there. The others say that something was
    /// *not* seen (no verdict, no answer, no boot that came far enough: it may be a crash for the one and a power cut
    /// for the other), that the loader's disk is at fault and not the generation, or that somebody decided. What only a
    /// newer agent knows, this one cannot compare.
    #[must_use]
    pub fn is_shareable(&self) -> bool {
        match self {
            Self::Unit(_)
            | Self::Snippet(_)
            | Self::Activation
            | Self::Units
            | Self::Firewall
            | Self::Listener(_)
            | Self::Route
            | Self::Resolvers
            | Self::Mount(_)
            | Self::Check(_) => true,
            Self::TriesUsedUp
            | Self::NotCounted
            | Self::Panic
            | Self::Watchdog
            | Self::Power
            | Self::NoVerdict
            | Self::NoAnswer
            | Self::Operator
            | Self::Other(_) => false,
        }
    }
}

/// For people, in half a sentence.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unit(name) => name,
            Self::Snippet(name) => return write!(f, "activation snippet {name}"),
            Self::Check(name) => return write!(f, "check {name}"),
            Self::Activation => "the closure was not put in place",
            Self::Units => "not all units of the closure were linked",
            Self::Firewall => "the firewall's ruleset was not loaded",
            Self::Listener(port) => return write!(f, "TCP port {port}"),
            Self::Route => "the default route",
            Self::Resolvers => "the name servers",
            Self::Mount(path) => return write!(f, "the mount on {path}"),
            Self::TriesUsedUp => "the loader started it as often as it may",
            Self::NotCounted => "the loader does not count its boots",
            Self::Panic => "the kernel panicked",
            Self::Watchdog => "the hardware watchdog ended its boot",
            Self::Power => "each of its boots just ended",
            Self::NoVerdict => "the assessment ended without a verdict",
            Self::NoAnswer => "it could not be assessed",
            Self::Operator => "the operator rejected it",
            Self::Other(_) => "something that this version of lastgood does not know",
        })
    }
}

#[cfg(test)]
pub(super) mod tests;
