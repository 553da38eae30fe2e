//! What systemd said at one instant, as plain data: the only thing a judgement sees of the machine.

use std::collections::{BTreeMap, BTreeSet};

use crate::state::baseline::Surroundings;

/// All of it. Units come from one call and jobs from another: it is not taken at one stroke, and need not be, because
/// a verdict rests on many of these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Snippets of NixOS's activation that failed, by their names. systemd knows nothing of them.
    pub failed_snippets: BTreeSet<String>,
    /// Every unit systemd has in memory, and every required one, by its own name.
    pub units: BTreeMap<String, Unit>,
    /// Other names of units, e.g. `sshd.service` -> `ssh.service`.
    pub aliases: BTreeMap<String, String>,
    /// What systemd is doing or waiting to do.
    pub jobs: Vec<Job>,
    /// What `boot-complete.target` requires: how NixOS and others declare checks.
    pub boot_complete_requires: Vec<String>,
    /// What this boot was to start: all that its target pulls in. None: nobody could find out, and every unit may be
    /// part of it.
    pub boot: Option<BTreeSet<String>>,
    /// What of the machine is no unit's state. None: nobody has looked.
    pub around: Option<Surroundings>,
    /// Units whose latest job came to nothing, with how it ended. systemd itself forgets that with the unit
    /// (`CollectMode=`), and of one whose requirement failed it never says more.
    pub came_to_nothing: BTreeMap<String, Nothing>,
    /// Units that systemd was to do something with since the look before: what is not among them ended by itself. None:
    /// nobody has listened for all of that time.
    pub asked: Option<BTreeSet<String>>,
}

impl Snapshot {
    /// The unit that goes by `name`, with its own name.
    #[must_use]
    pub fn unit<'a>(&'a self, name: &'a str) -> Option<(&'a str, &'a Unit)> {
        let own = self.aliases.get(name).map_or(name, String::as_str);
        self.units.get_key_value(own).map(|(n, u)| (n.as_str(), u))
    }

    /// Whether this boot was to start the unit that has this own name. Only what was to run can be missed: what a timer, a
    /// login, a device or a connection starts may fail for reasons outside of this generation.
    #[must_use]
    pub fn was_to_run(&self, unit: &str) -> bool {
        self.boot.as_ref().is_none_or(|boot| boot.contains(unit))
    }

    /// Whether what this unit did since the look before was nobody's wish.
    #[must_use]
    pub fn ended_by_itself(&self, unit: &str) -> bool {
        let asked = self.asked.as_ref();
        asked.is_some_and(|asked| !asked.contains(unit))
    }

    /// Whether something is queued or under way for this unit.
    #[must_use]
    pub fn has_job(&self, unit: &str) -> bool {
        self.jobs.iter().any(|job| job.unit == unit)
    }
}

/// One unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// Whether systemd could read it.
    pub load: Load,
    /// What it is doing.
    pub active: Active,
    /// The finer state, e.g. `running`, `auto-restart`; differs from type to type.
    pub sub: String,
    /// Services only: how often systemd has restarted it by itself.
    pub restarts: u32,
    /// Services only: changes whenever it is started anew.
    pub invocation: String,
    /// Services only: how the last run ended, as far as it is known.
    pub ended: Ended,
    /// Services only: made at run time by somebody (`systemd-run`), not by the closure.
    pub transient: bool,
    /// As far as systemd knows it has never begun to start it. It has asked no condition: one that is false is on record.
    pub untouched: bool,
    /// Services only: it is being started, and systemd ends that by itself when it takes too long (`TimeoutStartSec=`, which
    /// a service may extend).
    pub start_ends: bool,
}

impl Unit {
    /// Waiting to be started again after it ended by itself. systemd 257 and later call it failed on the way there.
    #[must_use]
    pub fn is_between_restarts(&self) -> bool {
        self.sub.starts_with("auto-restart") || self.sub.ends_with("-before-auto-restart")
    }

    /// systemd has given up on it: it failed, and is not about to be started again.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.active == Active::Failed && !self.is_between_restarts()
    }
}

/// systemd's `LoadState=`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Load {
    /// It was read.
    #[default]
    Loaded,
    /// There is no such file.
    NotFound,
    /// The administrator forbade it.
    Masked,
    /// It cannot be used: `bad-setting`, `error`. In systemd's word.
    Unusable(String),
    /// A state that says nothing against it, e.g. `merged`, `stub`.
    Other(String),
}

impl From<&str> for Load {
    fn from(word: &str) -> Self {
        match word {
            "loaded" => Self::Loaded,
            "not-found" => Self::NotFound,
            "masked" => Self::Masked,
            "bad-setting" | "error" => Self::Unusable(word.to_owned()),
            _ => Self::Other(word.to_owned()),
        }
    }
}

/// systemd's `ActiveState=`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Active {
    /// Up; also while it reloads.
    Active,
    /// Not up, and nothing went wrong as far as systemd knows.
    #[default]
    Inactive,
    /// systemd has given up on it.
    Failed,
    /// On its way, or on its way down: in systemd's word.
    Changing(String),
}

impl From<&str> for Active {
    fn from(word: &str) -> Self {
        match word {
            // "refreshing" came with systemd 257; like "reloading" it is a state of a unit that is up.
            "active" | "reloading" | "refreshing" => Self::Active,
            "inactive" => Self::Inactive,
            "failed" => Self::Failed,
            _ => Self::Changing(word.to_owned()),
        }
    }
}

/// How a service's last run ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ended {
    /// It did not run, or still runs.
    #[default]
    Not,
    /// A condition said that it need not run.
    Skipped,
    /// Its process did what was asked: `Type=oneshot` is done then, although the unit is not active any more.
    OneshotDone,
    /// Any other service that ended of its own accord with success.
    Cleanly,
    /// Badly.
    Badly,
    /// It was to be started again, more often in a short time than its `StartLimitBurst=` allows. It need not have ended
    /// badly for that: somebody may have restarted it over and over.
    TooOften,
}

/// How a job ended that came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nothing {
    /// The unit did not get where it was to go.
    Failed,
    /// It took longer than the job may take. The unit may still get there.
    TooLong,
    /// An `Assert...=` of the unit did not hold.
    Assertion,
    /// Something that the unit needs did not come up. systemd does not try again, even when that comes up later.
    Dependency,
}

/// Something systemd is doing or waiting to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// To which unit.
    pub unit: String,
    /// `start`, `stop`, `restart` and so on.
    pub kind: String,
    /// Under way, not just waiting for others.
    pub running: bool,
    /// Whether any other job waits for it. A job of the boot has one (its target); one that a timer began has none.
    pub blocks_others: bool,
}
