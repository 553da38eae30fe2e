//! Exit statuses: part of the contract with scripts.

use std::process::ExitCode;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Refused or failed; nothing changed, or changed back.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Units failed, and were put back.
    UnitsFailed = 4,
    /// It takes a reboot.
    RebootNeeded = 100,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
