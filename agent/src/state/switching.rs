//! A live switch, and what is to be done about one that did not come to its end. Pure and total.
//!
//! ```text
//!            switching            switched-to             switched
//!  (nothing) ────────▶ Changing ──────────────▶ Waiting ─────────▶ Kept ──▶ (nothing)
//!                         │   asked for confirmation:  │            the boot selection moves; where
//!                         │   else straight to Kept    │            none is to move: at once
//!                         └────────── switched-back ◀──┘
//! ```
//!
//! Until `switched` is on record the machine boots what it would have booted without the switch, and whoever finds the
//! record goes back. After it, whoever finds it goes on.

use std::fmt;
use std::path::PathBuf;

use boot_entries::{GenerationId, Subject};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::cause::Cause;
use super::{Standing, State};

/// What a live switch is to do: on record before the first change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// The boot it is made in: the kernel's id.
    pub boot: String,
    /// The closure that is active before it.
    pub before: PathBuf,
    /// The closure that is to be active.
    pub after: PathBuf,
    /// Which generation that is. None: no profile names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// It is selected for the next boot when the switch has ended well.
    pub selects: bool,
    /// It is undone if nobody has confirmed it by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_by: Option<Timestamp>,
    /// What the profile pointed at before somebody moved it for this switch. None: it was not moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<GenerationId>,
}

/// How far a live switch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The machine is being changed, or changed back.
    Changing,
    /// It ended well, and somebody is to confirm it.
    Waiting,
    /// It stays. The selection is still to move.
    Kept,
}

/// A live switch that has not come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switching {
    /// What it is to do.
    pub intent: Intent,
    /// How far it is.
    pub phase: Phase,
}

/// Why a live switch was undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undone {
    /// The machine was not well with it.
    Failed,
    /// Nobody confirmed it in time.
    Unconfirmed,
    /// Whoever made it died, or was ended, in the middle.
    Interrupted,
    /// The machine was started anew before it had ended.
    Rebooted,
    /// Somebody asked for it.
    Operator,
}

impl fmt::Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "the machine was not well with it",
            Self::Unconfirmed => "it was not confirmed in time",
            Self::Interrupted => "it was cut off in the middle",
            Self::Rebooted => "the machine was started anew before it had ended",
            Self::Operator => "somebody asked for it",
        })
    }
}

/// What is to be done about a live switch that is on record and whose maker is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished {
    /// Nothing: there is none.
    None,
    /// It goes back.
    GoBack(Undone),
    /// This machine was started anew, and so is what it was before already: that is put on record.
    IsBack,
    /// It waits to be confirmed, and may.
    Wait,
    /// The selection moves to it.
    Select,
}

impl State {
    /// What the live switch is to do that has not come to its end, if there is one.
    #[must_use]
    pub fn open_switch(&self) -> Option<&Intent> {
        self.switching.as_ref().map(|switching| &switching.intent)
    }

    /// What is to be done about an unfinished switch, in the boot `boot`. `is_late`: the time to confirm it is up, by a
    /// clock that nobody can set.
    #[must_use]
    pub fn unfinished(&self, boot: &str, is_late: bool) -> Unfinished {
        let Some(Switching { intent, phase }) = &self.switching else {
            return Unfinished::None;
        };
        let is_this_boot = intent.boot == boot;
        match phase {
            Phase::Kept => Unfinished::Select,
            Phase::Changing | Phase::Waiting if !is_this_boot => Unfinished::IsBack,
            Phase::Changing => Unfinished::GoBack(Undone::Interrupted),
            Phase::Waiting if is_late => Unfinished::GoBack(Undone::Unconfirmed),
            Phase::Waiting => Unfinished::Wait,
        }
    }

    /// Whether a live switch to `subject` that ended badly is a verdict on it. What was proven by a boot is not unmade
    /// by a switch. Where the kernel or its modules differ from the running ones, only a boot can tell.
    #[must_use]
    pub fn is_rejected_by_switch(&self, subject: &Subject, needs_reboot: bool) -> bool {
        let standing = self.standing(subject);
        !needs_reboot && self.bound_by.is_none() && standing != Standing::Proven
    }

    pub(super) fn switching(&mut self, intent: &Intent) {
        self.switching = Some(Switching {
            intent: intent.clone(),
            phase: Phase::Changing,
        });
    }

    /// It ended well.
    pub(super) fn switched_to(&mut self) {
        if let Some(switching) = &mut self.switching
            && switching.phase == Phase::Changing
        {
            switching.phase = Phase::Waiting;
        }
    }

    /// It stays.
    pub(super) fn switched(&mut self) {
        let switching = self.switching.take();
        self.switching = switching
            .filter(|one| one.intent.selects && one.intent.subject.is_some())
            .map(|mut one| {
                one.phase = Phase::Kept;
                one
            });
    }

    /// The selection moved: that ends a switch that waits for it, and no other.
    pub(super) fn selection_moved(&mut self) {
        let switching = self.switching.take();
        self.switching = switching.filter(|one| one.phase != Phase::Kept);
    }
}

/// How a switch was undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Back {
    /// The closure that is active again.
    pub before: PathBuf,
    /// The closure that was switched to.
    pub after: PathBuf,
    /// Which generation that is. None: no profile names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Why.
    pub undone: Undone,
    /// What was wrong, if something was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// What could not be put back, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Event;

    fn subject() -> Subject {
        Subject {
            generation: GenerationId::system(2),
            toplevel: "/nix/store/b".into(),
        }
    }

    fn intent(selects: bool, is_named: bool, confirm_by: Option<i64>) -> Intent {
        Intent {
            boot: "this".to_owned(),
            before: "/nix/store/a".into(),
            after: "/nix/store/b".into(),
            subject: is_named.then(subject),
            selects,
            confirm_by: confirm_by.map(|second| Timestamp::from_second(second).unwrap()),
            profile: None,
        }
    }

    fn back() -> Event {
        Event::SwitchedBack(Back {
            before: "/nix/store/a".into(),
            after: "/nix/store/b".into(),
            subject: None,
            undone: Undone::Failed,
            cause: None,
            left: Vec::new(),
        })
    }

    /// Every phase, in this boot and another, in time and late.
    #[test]
    fn whoever_finds_an_unfinished_switch_knows_what_to_do() {
        let began = || State::of(&[Event::Switching(intent(true, true, Some(7)))]);
        for is_late in [false, true] {
            let changing = began();
            let here = changing.unfinished("this", is_late);
            assert_eq!(here, Unfinished::GoBack(Undone::Interrupted));
            assert_eq!(changing.unfinished("other", is_late), Unfinished::IsBack);
            let waiting = changing.after(&Event::SwitchedTo);
            let expected = if is_late {
                Unfinished::GoBack(Undone::Unconfirmed)
            } else {
                Unfinished::Wait
            };
            assert_eq!(waiting.unfinished("this", is_late), expected);
            assert_eq!(waiting.unfinished("other", is_late), Unfinished::IsBack);
            let kept = waiting.clone().after(&Event::Switched);
            for boot in ["this", "other"] {
                assert_eq!(kept.unfinished(boot, is_late), Unfinished::Select);
            }
            for ended in [waiting.after(&back()), kept.clone().after(&back())] {
                assert_eq!(ended.unfinished("this", is_late), Unfinished::None);
            }
            let selected = kept.after(&Event::Selected {
                subject: subject(),
                by: None,
            });
            assert_eq!(selected.unfinished("this", is_late), Unfinished::None);
        }
        let nothing = State::default().unfinished("this", true);
        assert_eq!(nothing, Unfinished::None);
    }

    #[test]
    fn where_no_selection_moves_it_ends_at_once() {
        for (selects, is_named) in [(false, false), (false, true), (true, false)] {
            let state = State::of(&[
                Event::Switching(intent(selects, is_named, None)),
                Event::Switched,
            ]);
            assert_eq!(state.switching, None);
        }
    }

    #[test]
    fn a_selection_in_between_does_not_end_a_switch_that_is_not_kept() {
        let select = Event::Selected {
            subject: subject(),
            by: None,
        };
        let events = [Event::Switching(intent(true, true, None)), select];
        let state = State::of(&events);
        assert_eq!(state.switching.unwrap().phase, Phase::Changing);
    }

    #[test]
    fn only_what_could_have_run_here_and_was_never_proven_is_rejected() {
        let proven = Event::Proven {
            subject: subject(),
            baseline: crate::state::baseline::Baseline::default(),
        };
        for (events, needs_reboot, rejects) in [
            (vec![], false, true),
            (vec![], true, false),
            (vec![proven.clone()], false, false),
            (vec![proven], true, false),
        ] {
            let state = State::of(&events);
            assert_eq!(
                state.is_rejected_by_switch(&subject(), needs_reboot),
                rejects
            );
        }
    }
}
