//! Why a generation was not good: what `lastgood why` tells and what survives the fallback (invariant A6).

use serde::{Deserialize, Serialize};

/// How far a boot got. In the order in which a boot goes through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Nothing is known beyond the loader having chosen the entry.
    Loader,
    /// The kernel was started; nothing after it reported.
    Kernel,
    /// The initrd was reached.
    Initrd,
    /// The agent ran: the attempt is in the ledger.
    Begun,
    /// The closure's `/etc` and units are in place.
    Activated,
    /// The firewall is in the kernel.
    Firewalled,
    /// The network is up.
    Network,
    /// Services are starting or have started.
    Services,
    /// Healthy, and being watched for a while.
    Probation,
    /// An assessment passed.
    Proven,
}

/// The unit that failed, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitFailure {
    /// Its name, e.g. `nginx.service`.
    pub unit: String,
    /// systemd's `Result=`, e.g. `exit-code`, `signal`, `timeout`; where that says nothing, the unit's state, e.g.
    /// `not-found`.
    pub result: String,
    /// The exit status of the command that decided, be it the main process or one before or after it; the signal's number
    /// when `result` is `signal`. None: nothing was run, or systemd itself ended it.
    pub exit_status: Option<i32>,
    /// The last lines it logged in this boot, oldest first.
    pub log: Vec<String>,
}

/// Why a generation was not good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// The furthest stage that boot reached.
    pub stage: Stage,
    /// One line for a person.
    pub summary: String,
    /// The units at fault, the one that decided first.
    pub units: Vec<UnitFailure>,
}
