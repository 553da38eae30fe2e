//! What is asked of a live switch. It travels from the command to the process that does the work.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is done with the closure. As `switch-to-configuration` calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The machine becomes the closure's, now and at the next boot.
    Switch,
    /// The machine becomes the closure's, and boots what it would have booted.
    Test,
}

impl Action {
    /// What the operator typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Switch => "switch",
            Self::Test => "test",
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// What is done.
    pub action: Action,
    /// Which closure: an absolute path, or a generation. None: what the system profile points at.
    pub toplevel: Option<PathBuf>,
    /// It is undone if nobody confirms it within this time, counted from before the first change.
    pub confirm_within: Option<Duration>,
    /// The operator insists on what was rejected.
    pub again: bool,
    /// The operator insists on a closure with another machine's name.
    pub new_hostname: bool,
    /// Neither inhibitors nor the closure's own checks are asked (`NIXOS_NO_CHECK=1`).
    pub no_check: bool,
    /// The unit that the asking session belongs to. It goes down last.
    pub session: Option<String>,
    /// The environment that the closure's own programs are to see: what nixos-rebuild and deploy tools set.
    pub environment: BTreeMap<String, String>,
}

/// Where the closure's own programs find what is done: the name of the action. In a boot it is not set.
pub const NIXOS_ACTION: &str = "NIXOS_ACTION";

/// What of the environment reaches the closure's own programs.
const PASSED_ON: [&str; 6] = [
    "NIXOS_INSTALL_BOOTLOADER",
    "NIXOS_INSTALL_GRUB",
    "NIXOS_NO_CHECK",
    "NIXOS_NO_SYNC",
    "STC_DISPLAY_ALL_UNITS",
    "LOCALE_ARCHIVE",
];

/// Those of this process's variables that are passed on.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    let value = |name: &&str| Some(((*name).to_owned(), std::env::var(name).ok()?));
    PASSED_ON.iter().filter_map(value).collect()
}
