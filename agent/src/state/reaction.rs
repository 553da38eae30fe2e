//! What follows from a verdict. Pure and total: there is an answer in every [`State`].

use std::fmt;
use std::path::Path;

use boot_entries::Subject;
use boot_entries::name::TRIES;

use super::cause::{Cause, Stage};
use super::fault::Fault;
use super::{Standing, State, same_closure};

/// How many automatic reboots in a row there may be before the machine stays up as it is, and says so
/// (invariant A3). A verdict of "healthy" or the operator starts the count anew.
pub const REBOOTS_IN_A_ROW: u32 = 3;

/// What to do about a healthy machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhenHealthy {
    /// Record it as proven and drop its counter.
    Bless(Subject),
    /// Change nothing and say why.
    Leave(NotBlessed),
}

/// Why a healthy machine is left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotBlessed {
    /// What runs is no generation.
    NoGeneration,
    /// It was rejected, and one good boot does not undo that (invariant A5).
    Rejected,
    /// Something [binds](State::bound_by): it may be a verdict on what runs.
    Bound,
}

/// Why nothing is decided while something [binds](State::bound_by).
const BOUND: &str =
    "the ledger has a record that this lastgood does not know, and that may forbid it";

impl fmt::Display for NotBlessed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoGeneration => "what runs is no generation",
            Self::Rejected => "it was rejected before: `lastgood good` accepts it",
            Self::Bound => BOUND,
        })
    }
}

/// What to do about an unhealthy one, or one whose assessor could not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhenUnhealthy {
    /// Record it as rejected, put the last good one first, reboot.
    FallBack {
        /// What is rejected.
        from: Subject,
        /// The last good one.
        to: Subject,
    },
    /// Reboot, and judge nothing: what systemd had read early was another generation's, and is this one's from the next
    /// boot on (invariant A11).
    TryAgain {
        /// What runs.
        running: Subject,
    },
    /// Change nothing and say why.
    StayUp(NoFallback),
}

/// Why an unhealthy machine stays up as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoFallback {
    /// What runs is no generation.
    NoGeneration,
    /// `$BOOT` was given back: what is there is not ours to choose from.
    Uninstalled,
    /// No generation is proven.
    NothingProven,
    /// What runs is the last good one.
    IsLastGood,
    /// There were [`REBOOTS_IN_A_ROW`] (invariant A3).
    TooManyReboots,
    /// Something [binds](State::bound_by).
    Bound,
}

impl fmt::Display for NoFallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoGeneration => "what runs is no generation",
            Self::Uninstalled => "lastgood is uninstalled",
            Self::NothingProven => "no generation is proven yet that it could fall back to",
            Self::IsLastGood => "it is proven: a reboot would not make it better",
            Self::TooManyReboots => "too many automatic reboots in a row",
            Self::Bound => BOUND,
        })
    }
}

impl State {
    /// What to do now that the running generation is found healthy.
    #[must_use]
    pub fn when_healthy(&self) -> WhenHealthy {
        match self.running() {
            None => WhenHealthy::Leave(NotBlessed::NoGeneration),
            Some(_) if self.bound_by.is_some() => WhenHealthy::Leave(NotBlessed::Bound),
            Some(running) if self.standing(running) == Standing::Rejected => {
                WhenHealthy::Leave(NotBlessed::Rejected)
            }
            Some(running) => WhenHealthy::Bless(running.clone()),
        }
    }

    /// What to do now that the running generation is found unhealthy, or its assessor has died.
    #[must_use]
    pub fn when_unhealthy(&self) -> WhenUnhealthy {
        let Some(running) = self.running() else {
            return WhenUnhealthy::StayUp(NoFallback::NoGeneration);
        };
        match self.last_good() {
            _ if self.is_to_be_tried_again(running) => WhenUnhealthy::TryAgain {
                running: running.clone(),
            },
            _ if self.uninstalled => WhenUnhealthy::StayUp(NoFallback::Uninstalled),
            _ if self.bound_by.is_some() => WhenUnhealthy::StayUp(NoFallback::Bound),
            None => WhenUnhealthy::StayUp(NoFallback::NothingProven),
            Some(good) if good.toplevel == running.toplevel => {
                WhenUnhealthy::StayUp(NoFallback::IsLastGood)
            }
            Some(_) if self.reboots >= REBOOTS_IN_A_ROW => {
                WhenUnhealthy::StayUp(NoFallback::TooManyReboots)
            }
            Some(to) => WhenUnhealthy::FallBack {
                from: running.clone(),
                to: to.clone(),
            },
        }
    }

    /// Whether the trouble may be that of the generation whose files were read early. Once: a second boot in a row has
    /// read its own. Where there is nothing better, the operator is at hand.
    fn is_to_be_tried_again(&self, running: &Subject) -> bool {
        let is_free = !self.uninstalled && self.bound_by.is_none() && self.last_good().is_some();
        let is_first = !same_closure(self.fallen_from.as_ref(), running);
        !self.late.is_empty() && is_free && is_first && self.reboots < REBOOTS_IN_A_ROW
    }

    /// The rejected generation that a fault of the running one excuses: the machine has just fallen back from it, and
    /// all that it was rejected for is here as well (invariant A4).
    #[must_use]
    pub fn excused_by(&self, cause: &Cause) -> Option<Subject> {
        let from = self.fallen_from.as_ref()?;
        if self.bound_by.is_some() || same_closure(self.running(), from) {
            return None;
        }
        let faults = &self.rejected.get(&from.toplevel)?.cause.faults;
        let is_shared = |fault: &Fault| fault.is_shareable() && cause.faults.contains(fault);
        (!faults.is_empty() && faults.iter().all(is_shared)).then(|| from.clone())
    }

    /// The verdict that the loader has passed by itself when `running` begins although something else was selected.
    ///
    /// `exhausted`: the place that the loader reads, if the selected generation's entry there has no tries left. That
    /// means something only if the entry was written there for this selection.
    #[must_use]
    pub fn loader_gave_up(
        &self,
        running: &Subject,
        exhausted: Option<&Path>,
    ) -> Option<(Subject, Cause)> {
        let selected = self.selected.as_ref()?;
        let tried = self.is_armed_in(exhausted?) && self.standing(selected) != Standing::Rejected;
        // The record may be another selection. The loader has passed this one over in any case.
        if !tried || self.bound_by.is_some() || selected.toplevel == running.toplevel {
            return None;
        }
        let furthest = self.furthest.get(&selected.toplevel).copied();
        let stage = furthest.unwrap_or(Stage::Loader);
        let how = match stage {
            Stage::Loader => {
                "and none of these boots reached the agent: its kernel or its initrd failed, or the power"
            }
            _ => {
                "and none of these boots came to a verdict: it crashed, hung, or lost power on the way"
            }
        };
        let fault = Fault::TriesUsedUp;
        let summary = format!("{fault}, {how}");
        Some((selected.clone(), Cause::new(stage, summary, fault)))
    }

    /// The verdict on a trial that begins once more than it has tries: the loader cannot count its boots, because its
    /// file system cannot be written, and would start it for ever.
    #[must_use]
    pub fn is_not_counted(&self) -> Option<Cause> {
        let WhenUnhealthy::FallBack { from, .. } = self.when_unhealthy() else {
            return None;
        };
        let is_trial = same_closure(self.selected.as_ref(), &from);
        if !is_trial || self.attempts <= TRIES {
            return None;
        }
        let furthest = self.furthest.get(&from.toplevel).copied();
        let fault = Fault::NotCounted;
        let summary = format!(
            "it began {} times without a verdict and was not passed over: {fault}; is the EFI system partition \
             write-protected or full?",
            self.attempts
        );
        Some(Cause::new(furthest.unwrap_or(Stage::Begun), summary, fault))
    }
}

#[cfg(test)]
mod tests;
