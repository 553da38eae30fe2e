//! What becomes of a machine whose loader cannot start what it has chosen.
//!
//! The firmware refuses a kernel that is damaged, for another processor or (with Secure Boot) not signed by somebody it
//! knows; the loader itself cannot read an initrd that is not there. No release goes on to the next entry then. What
//! was measured with 252, 254, 257 and 262 is in `docs/loader-versions.md`.

use std::fmt;

use serde::Serialize;

use crate::choice::{Choice, Loader};
use crate::conf::{LoaderConf, RebootOnError};
use crate::name::Tries;
use crate::release::ReleaseRange;

/// More starts than any counters grant. Whoever goes on after so many goes on for ever.
const MOST: usize = 1000;

/// What the loader does when the entry that it has chosen cannot be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FailedStart {
    /// It resets the machine by itself, after five seconds: the next boot follows.
    Resets,
    /// It goes back to the firmware. That goes on to its next boot option, and in the end waits for somebody.
    Returns,
    /// It goes back to the firmware, or the machine stops there and then.
    MayStop,
}

impl FailedStart {
    /// What a loader of `release` with these settings does with an entry that cannot be started and had this counter.
    #[must_use]
    pub fn of(release: ReleaseRange, conf: &LoaderConf, tries: Option<Tries>) -> Self {
        let resets = match conf.reboot_on_error {
            _ if !release.reboots_on_error() => false,
            // The counter as it was before this boot was counted.
            RebootOnError::Auto => tries.is_some_and(|tries| tries.left > 0),
            RebootOnError::Yes => true,
            RebootOnError::No => false,
        };
        match () {
            () if resets => Self::Resets,
            () if release.may_stop() => Self::MayStop,
            () => Self::Returns,
        }
    }

    /// Whether the machine goes on without anybody, whatever the firmware is like.
    #[must_use]
    pub fn goes_on(self) -> bool {
        self == Self::Resets
    }
}

impl fmt::Display for FailedStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resets => "this loader then resets the machine by itself, and the next boot follows",
            Self::Returns => {
                "this loader then goes back to the firmware, and the machine may wait there until somebody resets it"
            }
            Self::MayStop => {
                "this loader then stops for good or goes back to the firmware, and the machine waits until somebody resets it"
            }
        })
    }
}

/// One start of the loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What it chose.
    pub choice: Choice,
    /// What it did then. None: what it chose runs.
    pub failed: Option<FailedStart>,
}

/// How a power-on ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A kernel runs.
    Runs {
        /// `LoaderBootCountPath` is that of another entry, which could not be started.
        stale_count: Option<String>,
    },
    /// The machine waits for somebody.
    Stranded,
    /// The loader resets the machine again and again, and each boot is like the one before.
    ResetsForEver,
    /// Nothing is listed.
    NothingListed,
}

/// What happens from a reset on, until a kernel runs or somebody is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerOn {
    /// The starts of the loader, in order.
    pub attempts: Vec<Attempt>,
    /// What comes of it.
    pub end: End,
}

impl Loader {
    /// What the loader does with an entry that cannot be started and has this counter.
    #[must_use]
    pub fn after_failed_start(&self, tries: Option<Tries>) -> FailedStart {
        FailedStart::of(self.release, &self.conf, tries)
    }

    /// What happens from a reset of the machine on, with a firmware that starts the loader up to `starts` times before
    /// it waits for somebody. `cannot_start` says which entries cannot be started.
    ///
    /// OVMF starts it twice (2022.11, the loader in `EFI/BOOT` and one boot option). Firmware that goes on to another
    /// boot option or into its own shell starts it once. Nothing is changed but what the loader changes; the next
    /// call is what follows when somebody has reset the machine.
    pub fn power_on(&mut self, starts: usize, cannot_start: impl Fn(&Choice) -> bool) -> PowerOn {
        let mut attempts = Vec::new();
        self.reset();
        let mut left = starts;
        let end = loop {
            let Some((choice, leaves_traces)) = self.trace() else {
                break End::NothingListed;
            };
            if !cannot_start(&choice) {
                let choice_is_counted = self.variables.counted_file().is_some();
                let path = self.variables.boot_count_path.clone();
                attempts.push(Attempt {
                    choice,
                    failed: None,
                });
                break End::Runs {
                    stale_count: path.filter(|_| !choice_is_counted),
                };
            }
            let failed = self.after_failed_start(choice.name.tries);
            attempts.push(Attempt {
                choice,
                failed: Some(failed),
            });
            match failed {
                FailedStart::Resets if !leaves_traces || attempts.len() >= MOST => {
                    break End::ResetsForEver;
                }
                FailedStart::Resets => {
                    self.reset();
                    left = starts;
                }
                FailedStart::Returns => {
                    left = left.saturating_sub(1);
                    if left == 0 {
                        break End::Stranded;
                    }
                }
                FailedStart::MayStop => break End::Stranded,
            }
        };
        PowerOn { attempts, end }
    }

    /// How often somebody has to reset the machine until a kernel runs. None: no reset helps.
    #[must_use]
    pub fn resets_by_hand(
        mut self,
        starts: usize,
        cannot_start: impl Fn(&Choice) -> bool,
    ) -> Option<usize> {
        for resets in 0..MOST {
            let before = self.clone();
            match self.power_on(starts, &cannot_start).end {
                End::Runs { .. } => return Some(resets),
                End::ResetsForEver | End::NothingListed => return None,
                End::Stranded => {}
            }
            self.reset();
            let mut same = before;
            same.reset();
            if same == self {
                return None;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
