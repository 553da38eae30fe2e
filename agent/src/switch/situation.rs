//! All that a plan hangs on, as plain data: two closures, what PID 1 says of its units, what others ask for.

use std::collections::{BTreeMap, BTreeSet};

use super::fstab::Fstab;
use super::set::Units;

/// `ActiveState` of a unit (`org.freedesktop.systemd1(5)`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Active {
    /// `active`
    Active,
    /// `reloading`, and `refreshing` of newer releases.
    Reloading,
    /// `inactive`, and whatever a newer release may say.
    #[default]
    Inactive,
    /// `failed`
    Failed,
    /// `activating`: in its start, or waiting for the next try.
    Activating,
    /// `deactivating`
    Deactivating,
}

impl Active {
    /// What PID 1's word means.
    #[must_use]
    pub fn of(word: &str) -> Self {
        match word {
            "active" => Self::Active,
            "reloading" | "refreshing" => Self::Reloading,
            "failed" => Self::Failed,
            "activating" => Self::Activating,
            "deactivating" => Self::Deactivating,
            _ => Self::Inactive,
        }
    }
}

/// `LoadState` of a unit, as far as a switch treats it differently.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Load {
    /// `loaded`
    #[default]
    Loaded,
    /// `masked`
    Masked,
    /// `not-found`
    NotFound,
    /// `bad-setting`, `error`, and the rest: it can be stopped and nothing else.
    Broken,
}

impl Load {
    /// What PID 1's word means.
    #[must_use]
    pub fn of(word: &str) -> Self {
        match word {
            "loaded" | "stub" | "merged" => Self::Loaded,
            "masked" => Self::Masked,
            "not-found" => Self::NotFound,
            _ => Self::Broken,
        }
    }
}

/// What PID 1 says of one unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "they are PID 1's properties, each for itself"
)]
pub struct State {
    /// Whether more than a list says was asked for.
    pub is_known: bool,
    /// `ActiveState`
    pub active: Active,
    /// `SubState`
    pub sub: String,
    /// `LoadState`
    pub load: Load,
    /// `FragmentPath`; empty: it has no file.
    pub fragment: String,
    /// `DropInPaths`
    pub drop_ins: Vec<String>,
    /// `Transient`
    pub transient: bool,
    /// The type of its job (`start`, `stop`, `restart`, ...). None: it has none.
    pub job: Option<String>,
    /// `Following`; empty: it stands for itself.
    pub following: String,
    /// All of `Names`, its own among them.
    pub names: BTreeSet<String>,
    /// What goes down when this one is stopped: `RequiredBy`, `BoundBy`, `ConsistsOf`, `RequisiteOf` and
    /// `PropagatesStopTo` in one set.
    pub stops: BTreeSet<String>,
    /// What is restarted with this one: `RequiredBy`, `BoundBy`, `ConsistsOf` and `RequisiteOf` in one set.
    pub restarts: BTreeSet<String>,
    /// `Triggers`: what a socket, timer, path or automount starts.
    pub triggers: BTreeSet<String>,
    /// `TriggeredBy`, the other way round.
    pub triggered_by: BTreeSet<String>,
    /// `RefuseManualStart`
    pub refuses_start: bool,
    /// `RefuseManualStop`
    pub refuses_stop: bool,
    /// `CanReload`
    pub can_reload: bool,
    /// `NeedDaemonReload`: its files have changed behind systemd's back. A "no" says nothing on a store.
    /// Asked of those only that are on their way up or in a reload.
    pub needs_reload: bool,
    /// What asked for the switch hangs on it: sshd, the network, a tunnel.
    pub carries_session: bool,
    /// When it left `inactive` the last time (`InactiveExitTimestampMonotonic`); 0: never.
    pub since: u64,
}

impl State {
    /// Whether it runs, or is about to.
    #[must_use]
    pub fn is_up(&self) -> bool {
        match self.active {
            Active::Active | Active::Reloading | Active::Activating => true,
            // In the middle of a restart that somebody else has asked for.
            Active::Deactivating => self.job.as_deref().is_some_and(|job| job.contains("start")),
            Active::Inactive | Active::Failed => false,
        }
    }

    /// Whether it has failed, or waits for its next try after a failure.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.active == Active::Failed || self.sub.starts_with("auto-restart")
    }
}

/// What PID 1 says of all its units, by their ids.
pub type States = BTreeMap<String, State>;

/// How a unit was before the switch that is to be undone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Before {
    /// It ran.
    pub up: bool,
    /// [`State::since`] of that time. It is the same now: this is still the old process.
    pub since: u64,
    /// The plan of the switch [touches](super::plan::Plan::touches) it.
    pub touched: bool,
    /// The switch may have reloaded it: it was in the [plan](super::plan::Plan::reload).
    pub reloaded: bool,
}

/// What the closure's activation script asks for (`/run/nixos/activation-restart-list` and `-reload-list`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests {
    /// To be restarted, or started.
    pub restart: BTreeSet<String>,
    /// To be reloaded if they run.
    pub reload: BTreeSet<String>,
}

/// PID 1 itself, and what it has read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manager {
    /// The program that runs, links followed. None: nobody knows.
    pub runs: Option<String>,
    /// The program that the new closure brings. None: it brings none.
    pub wanted: Option<String>,
    /// What the old closure's `etc/systemd/system.conf` leads to. None: it has none.
    pub config: Option<String>,
    /// What the new closure's leads to.
    pub new_config: Option<String>,
}

/// Where the links to the closure's units are, which tells what is the closure's and what lies above it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Home {
    /// `/etc/systemd/system`, as on NixOS.
    #[default]
    Etc,
    /// `/run/systemd/generator.early`, as on a plain host.
    Generator,
    /// `/etc/systemd/user`: the set is that of users.
    User,
}

/// All that a plan hangs on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Situation {
    /// The closure that is left.
    pub old: Units,
    /// The closure that is switched to.
    pub new: Units,
    /// What PID 1 says now.
    pub states: States,
    /// Where the closure's units are linked.
    pub home: Home,
    /// Units that the host has a file of besides the closure's: what a closure no longer has is theirs again.
    pub host_units: BTreeSet<String>,
    /// `/etc/fstab` of the old closure.
    pub old_fstab: Fstab,
    /// `/etc/fstab` of the new one.
    pub new_fstab: Fstab,
    /// PID 1 itself.
    pub manager: Manager,
    /// When PID 1 read the new closure's files, if it has: what came up after that runs from them. So a plan can be made
    /// again in the middle, or at the end to see what is left.
    pub read_at: Option<u64>,
    /// For an undo: how each unit was before. A unit that is not in it was not known, so it stood stopped. None: this
    /// is no undo.
    pub before: Option<BTreeMap<String, Before>>,
}
