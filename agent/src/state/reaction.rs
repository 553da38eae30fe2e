//! What follows from a verdict. Pure and total: there is an answer in every [`State`].

use std::fmt;
use std::path::Path;
use std::time::Duration;

use boot_entries::Subject;
use boot_entries::name::TRIES;

use super::cause::{Cause, Stage};
use super::fault::Fault;
use super::reset::How;
use super::{Standing, State, same_closure};

/// How many automatic reboots in a row there may be before the machine stays up as it is, and says so
/// (invariant A3). A verdict of "healthy" or the operator starts the count anew.
pub const REBOOTS_IN_A_ROW: u32 = 3;

/// How long the machine waits before each of them: what fails for something outside may be well again by then.
const BACKOFF: [Duration; REBOOTS_IN_A_ROW as usize] = [
    Duration::ZERO,
    Duration::from_secs(15),
    Duration::from_mins(1),
];

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
    /// Leave a proven one that is not well for another proven one: somebody had gone back to it, or it cannot be reached
    /// and is the last resort. It is not rejected. Each is left once.
    GoOn {
        /// What is left.
        from: Subject,
        /// What is tried instead.
        to: Subject,
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
    /// It is proven, and nobody has seen it unwell.
    NobodyLooked,
    /// Everything that is proven was tried, and none came further.
    NothingBetter,
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
            Self::NobodyLooked => "it is proven, and nobody has seen that it is not well",
            Self::NothingBetter => "all that is proven was tried, and nothing came further",
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
            Some(good) if self.is_to_be_booted(running, good) => WhenUnhealthy::TryAgain {
                running: running.clone(),
            },
            _ if self.uninstalled => WhenUnhealthy::StayUp(NoFallback::Uninstalled),
            _ if self.bound_by.is_some() => WhenUnhealthy::StayUp(NoFallback::Bound),
            None => WhenUnhealthy::StayUp(NoFallback::NothingProven),
            Some(good) if good.toplevel == running.toplevel || self.is_as_bad(running, good) => {
                self.last_resort(running)
            }
            Some(_) if self.reboots >= REBOOTS_IN_A_ROW => {
                WhenUnhealthy::StayUp(NoFallback::TooManyReboots)
            }
            // It worked once, and may be ill for something that all have: it is left, and not rejected.
            Some(to) if self.standing(running) == Standing::Proven => {
                if self.is_seen_unwell() {
                    WhenUnhealthy::GoOn {
                        from: running.clone(),
                        to: to.clone(),
                    }
                } else {
                    WhenUnhealthy::StayUp(NoFallback::NobodyLooked)
                }
            }
            Some(to) => WhenUnhealthy::FallBack {
                from: running.clone(),
                to: to.clone(),
            },
        }
    }

    /// Whether somebody has seen what is wrong. That the agent died, or systemd did not answer, is no reason to reboot what
    /// is proven (invariant A8).
    fn is_seen_unwell(&self) -> bool {
        let cause = self.degraded.as_ref();
        cause.is_some_and(|cause| cause.faults.iter().any(Fault::is_shareable))
    }

    /// Whether the machine has come by itself to `running`, which is proven as well, because the last good one was not
    /// well.
    fn is_as_bad(&self, running: &Subject, good: &Subject) -> bool {
        self.standing(running) == Standing::Proven
            && self.fallen_from.is_some()
            && self.unwell.contains_key(&good.toplevel)
    }

    /// What to do where what runs is proven, and not well. Most often nothing: a reboot would not make it better, and it
    /// can be reached. But if the machine has come here by itself, and this one does not even come as far as its
    /// services, then another one that is proven may.
    fn last_resort(&self, running: &Subject) -> WhenUnhealthy {
        let stage = self.degraded.as_ref().map(|cause| cause.stage);
        let stage = stage.or_else(|| self.boot.as_ref().map(|boot| boot.stage));
        let is_reachable = stage.is_none_or(|stage| stage >= Stage::Services);
        if is_reachable || self.fallen_from.is_none() || !self.is_seen_unwell() {
            return WhenUnhealthy::StayUp(NoFallback::IsLastGood);
        }
        if self.reboots >= REBOOTS_IN_A_ROW {
            return WhenUnhealthy::StayUp(NoFallback::TooManyReboots);
        }
        let is_other = |one: &&Subject| one.toplevel != running.toplevel;
        let proven = self.proven.iter().rev().map(|good| &good.subject);
        let untried = proven
            .clone()
            .filter(is_other)
            .find(|one| !self.unwell.contains_key(&one.toplevel));
        let came = |one: &Subject| self.unwell.get(&one.toplevel).copied();
        let here = came(running).max(stage);
        let furthest = proven.filter(is_other).max_by_key(|one| came(one));
        let better = furthest.filter(|one| came(one) > here);
        match untried.or(better) {
            Some(to) => WhenUnhealthy::GoOn {
                from: running.clone(),
                to: to.clone(),
            },
            None if self.proven.len() > 1 => WhenUnhealthy::StayUp(NoFallback::NothingBetter),
            None => WhenUnhealthy::StayUp(NoFallback::IsLastGood),
        }
    }

    /// How long to wait before the next automatic reboot.
    #[must_use]
    pub fn backoff(&self) -> Duration {
        let number = usize::try_from(self.reboots).unwrap_or(usize::MAX);
        BACKOFF.get(number).copied().unwrap_or(Duration::ZERO)
    }

    /// The suspect that is to be tried again now: what runs is the last good one, it is well, and nobody has asked for
    /// anything else. It is not rebooted for that. Not while what runs is watched: if that is gone back from, it is for what
    /// works. Each suspect has one second chance, until somebody selects it.
    #[must_use]
    pub fn second_chance(&self) -> Option<&Subject> {
        let boot = self.boot.as_ref()?;
        let running = boot.running.as_ref()?;
        let is_well =
            boot.stage == Stage::Proven && self.degraded.is_none() && self.watched().is_none();
        let is_back = same_closure(self.last_good(), running)
            && same_closure(self.selected.as_ref(), running);
        let is_free = self.bound_by.is_none() && !self.uninstalled && self.switching.is_none();
        let from = self.came_from.as_ref()?;
        let is_first = !self.tried_again.contains(from);
        let suspect = self.suspects.get(from)?;
        (is_well && is_back && is_free && is_first && self.due.is_none())
            .then_some(&suspect.subject)
    }

    /// Whether a cause speaks of nothing but what came from outside: each boot began, and just ended.
    #[must_use]
    pub fn is_from_outside(cause: &Cause) -> bool {
        cause.faults.contains(&Fault::Power)
    }

    /// Whether the trouble may be that of the generation whose files were read early. Once: a second boot in a row has
    /// read its own. Where there is nothing better, the operator is at hand.
    fn is_to_be_tried_again(&self, running: &Subject) -> bool {
        let is_free = !self.uninstalled && self.bound_by.is_none() && self.last_good().is_some();
        let is_first = !same_closure(self.fallen_from.as_ref(), running);
        !self.late.is_empty() && is_free && is_first && self.reboots < REBOOTS_IN_A_ROW
    }

    /// Whether the last good one was gone back to by a soft-reboot, and is not well: the kernel, and what is set in it, is
    /// still as the other has left it. A boot by the loader leaves nothing of that. Once: it is none by a soft-reboot.
    fn is_to_be_booted(&self, running: &Subject, good: &Subject) -> bool {
        self.came_by_soft_reboot()
            && self.fallen_from.is_some()
            && good.toplevel == running.toplevel
            && !same_closure(self.fallen_from.as_ref(), running)
            && !self.uninstalled
            && self.bound_by.is_none()
            && self.reboots < REBOOTS_IN_A_ROW
            && self.is_seen_unwell()
    }

    /// Why what runs is booted once more, where it is: half a sentence for people.
    #[must_use]
    pub fn why_tried_again(&self) -> &'static str {
        if self.late.is_empty() {
            "the kernel is still as the other generation has left it"
        } else {
            "files of another generation were read in this boot"
        }
    }

    fn came_by_soft_reboot(&self) -> bool {
        let reset = self.boot.as_ref().and_then(|boot| boot.reset.as_ref());
        reset.is_some_and(|reset| reset.how == How::SoftReboot)
    }

    /// The rejected generation that a fault of the running one excuses: the machine has just fallen back from it, and
    /// all that it was rejected for is here as well (invariant A4).
    #[must_use]
    pub fn excused_by(&self, cause: &Cause) -> Option<Subject> {
        let fallen = self.fallen_from.as_ref()?;
        // The kernel is still the one that the other has used: what it spoils there, all share.
        if self.came_by_soft_reboot() {
            return None;
        }
        let running = self.running()?;
        // Booted once more by the loader, it is still what the machine went back to.
        let has_fallen = self.incident.is_some_and(|incident| incident.fell);
        let from = match &self.came_from {
            Some(from) if fallen.toplevel == running.toplevel && has_fallen => from,
            _ => &fallen.toplevel,
        };
        let is_witness = self.standing(running) == Standing::Proven;
        if self.bound_by.is_some() || running.toplevel == *from || !is_witness {
            return None;
        }
        let rejection = self.rejected.get(from)?;
        let faults = &rejection.cause.faults;
        let is_shared = |fault: &Fault| fault.is_shareable() && cause.faults.contains(fault);
        (!faults.is_empty() && faults.iter().all(is_shared)).then(|| rejection.subject.clone())
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
        Some((
            selected.clone(),
            self.without_a_verdict(selected, Fault::TriesUsedUp, ""),
        ))
    }

    /// Why boots of `subject` that came to no verdict are one themselves: `first`, and how they ended.
    fn without_a_verdict(&self, subject: &Subject, first: Fault, advice: &str) -> Cause {
        let furthest = self.furthest.get(&subject.toplevel).copied();
        let stage = furthest.unwrap_or(Stage::Loader);
        let latest = self.ends.latest.as_ref();
        // Each boot began, and each just ended: nothing says that the generation has to do with it.
        let is_lost = self.attempts >= TRIES && self.ends.lost >= self.attempts.min(TRIES);
        let second = match latest.and_then(super::reset::Reset::fault) {
            None if is_lost => Some(Fault::Power),
            fault => fault,
        };
        let how = match (latest, stage) {
            (Some(reset), _) if reset.how != How::Lost => format!("and of the last one: {reset}"),
            _ if is_lost => {
                "and each of these boots began and just ended: by the power, by somebody's reset, or in a hang".to_owned()
            }
            (_, Stage::Loader) => {
                "and none of these boots reached the agent: its kernel or its initrd failed, or the power".to_owned()
            }
            _ => {
                "and none of these boots came to a verdict: it crashed, hung, or lost power on the way".to_owned()
            }
        };
        let summary = format!("{first}, {how}{advice}");
        Cause {
            faults: std::iter::once(first).chain(second).collect(),
            ..Cause::new(stage, summary, Fault::TriesUsedUp)
        }
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
        let advice = format!(
            "; it began {} times without a verdict and was not passed over: is the EFI system partition write-protected or full?",
            self.attempts
        );
        Some(self.without_a_verdict(&from, Fault::NotCounted, &advice))
    }

    /// Whether this boot, which has just begun, is to be left at once: the verdict on what runs is on record, and the loader
    /// `could_start` it all the same, because whoever came to it ended before the entries said so. One that the entries rule
    /// out was chosen by hand, and is judged.
    #[must_use]
    pub fn is_to_be_left_at_once(&self, could_start: bool) -> bool {
        let WhenUnhealthy::FallBack { from, .. } = self.when_unhealthy() else {
            return false;
        };
        let is_judged = matches!(self.standing(&from), Standing::Rejected | Standing::Suspect);
        could_start && is_judged && !same_closure(self.selected.as_ref(), &from)
    }
}

#[cfg(test)]
mod tests;
