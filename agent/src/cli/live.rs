//! What is typed for a change of the running machine.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use boot_entries::GenerationId;
use clap::Args;
use clap_complete::ArgValueCandidates;
use jiff::SignedDuration;

use super::{Output, completion};

/// Nobody confirms anything sooner.
const SHORTEST: Duration = Duration::from_secs(5);
/// A change that nobody has confirmed by then was forgotten.
const LONGEST: Duration = Duration::from_hours(24);

/// `switch` and `test`.
#[derive(Debug, Args)]
pub struct Live {
    /// The closure to switch to; by default what the system profile points at.
    ///
    /// A generation: NUMBER (of the system profile, as in 47), PROFILE:NUMBER (test:3), or either with /SPECIALISATION
    /// (47/debug). Or the path of a closure.
    #[arg(add = ArgValueCandidates::new(completion::generations))]
    pub toplevel: Option<PathBuf>,
    /// Undo it if nobody types `lastgood confirm` within TIME (30s, 2m, 1h30m).
    ///
    /// The time runs from before the first change. Neither the loss of the session nor a reboot stops it: a machine that
    /// was rebooted boots what it had before.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub confirm_within: Option<Duration>,
    /// Switch to a generation although it was rejected.
    #[arg(long)]
    pub again: bool,
    /// Take a closure whose hostname is not this machine's.
    #[arg(long)]
    pub new_hostname: bool,
}

/// `dry-activate`.
#[derive(Debug, Args)]
pub struct DryActivate {
    /// The closure that would be switched to; by default what the system profile points at.
    ///
    /// A generation: NUMBER (of the system profile, as in 47), PROFILE:NUMBER (test:3), or either with /SPECIALISATION
    /// (47/debug). Or the path of a closure.
    #[arg(add = ArgValueCandidates::new(completion::generations))]
    pub toplevel: Option<PathBuf>,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
}

/// `rollback`.
#[derive(Debug, Args)]
pub struct Rollback {
    /// Go back to this generation; by default to the one before the active one.
    ///
    /// NUMBER (of the system profile, as in 47), PROFILE:NUMBER (test:3), or either with /SPECIALISATION (47/debug).
    #[arg(long, value_name = "GENERATION", add = ArgValueCandidates::new(completion::generations))]
    pub to: Option<GenerationId>,
    /// Go back by a reboot: where kernel, initrd or their parameters differ there is no other way.
    #[arg(long)]
    pub reboot: bool,
    /// Undo it if nobody types `lastgood confirm` within TIME (30s, 2m, 1h30m).
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "reboot")]
    pub confirm_within: Option<Duration>,
}

/// What a closure's `bin/switch-to-configuration` calls, with all that was typed after it.
#[derive(Debug, Args)]
pub struct SwitchToConfiguration {
    /// The closure.
    #[arg(long)]
    pub toplevel: PathBuf,
    /// The closure's own check: a program that is given the closure and the action.
    #[arg(long)]
    pub pre_switch_check: Option<PathBuf>,
    /// The action. As nixpkgs' program has it, nothing after it counts, and `--help` is no action.
    #[arg(last = true)]
    pub words: Vec<OsString>,
}

/// The actions of `switch-to-configuration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NixosAction {
    /// Run the closure's check, and nothing else.
    Check,
    /// Now and at the next boot.
    Switch,
    /// At the next boot.
    Boot,
    /// Now.
    Test,
    /// Say what would be done.
    DryActivate,
}

impl NixosAction {
    /// All of them, in the order in which the usage names them.
    pub const ALL: [Self; 5] = [
        Self::Check,
        Self::Switch,
        Self::Boot,
        Self::Test,
        Self::DryActivate,
    ];

    /// What is typed for it, and what the closure's programs find in `NIXOS_ACTION`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Switch => "switch",
            Self::Boot => "boot",
            Self::Test => "test",
            Self::DryActivate => "dry-activate",
        }
    }

    /// The action that was typed. None: there is none of that name.
    #[must_use]
    pub fn of(word: &OsStr) -> Option<Self> {
        Self::ALL.into_iter().find(|action| word == action.name())
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let example = "write it as 30s, 2m or 1h30m";
    let time: SignedDuration = text
        .parse()
        .map_err(|error| format!("{error}; {example}"))?;
    let time = Duration::try_from(time).map_err(|error| format!("{error}; {example}"))?;
    if (SHORTEST..=LONGEST).contains(&time) {
        Ok(time)
    } else {
        Err("it must be 5s to 24h".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_write_them() {
        for (text, seconds) in [
            ("30s", 30),
            ("2m", 120),
            ("1h30m", 5400),
            ("90 seconds", 90),
            ("24h", 86_400),
        ] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "2", "4s", "25h", "-2m", "soon"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
