//! What happens to a machine, one thing at a time.

use std::collections::BTreeSet;
use std::path::PathBuf;

use boot_entries::Subject;
use boot_entries::owner::Owner;
use serde::{Deserialize, Serialize};

use super::baseline::Baseline;
use super::cause::{Cause, Stage};
use super::fault::Fault;
use super::incident::Hook;
use super::reset::{Reset, Way};
use super::switching::{Back, Intent};

/// Who selected a generation, if it was lastgood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// It was a suspect, and the fault is gone: it gets its second chance.
    Suspicion,
    /// Nothing is well, and this came the furthest, or was not tried yet.
    LastResort,
}

/// One thing that happened. What the ledger records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "event",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum Event {
    /// The operator, or an installer on their behalf, asked for a generation. A verdict against it is void.
    Selected {
        /// Which.
        subject: Subject,
        /// By whom. None: by somebody.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            deserialize_with = "known_or_none"
        )]
        by: Option<By>,
    },
    /// The entries on `$BOOT` say so, too: from now on what the loader does with them means something.
    Armed {
        /// Which.
        subject: Subject,
        /// The places (mount points) whose entries do. None: all there were.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        places: Option<BTreeSet<PathBuf>>,
    },
    /// A boot reached the agent.
    Began {
        /// The kernel's boot id.
        boot: String,
        /// What runs. None: a system that is no generation.
        running: Option<Subject>,
        /// How the boot before it ended. None: an agent recorded it that does not ask.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reset: Option<Reset>,
    },
    /// That boot comes to its end in order. One that has none of these just ended.
    Ended {
        /// The boot's id.
        boot: String,
        /// What the machine does next.
        way: Way,
        /// Whoever judges the boot had failed, and has left no verdict: it is not somebody's wish alone that ends it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        failed: bool,
    },
    /// That boot got further.
    Reached {
        /// Where to.
        stage: Stage,
    },
    /// These files of `/etc`, relative to it, were put in place after systemd had read them: in this boot they were
    /// another generation's (invariant A11).
    Late {
        /// Which.
        files: BTreeSet<PathBuf>,
    },
    /// An assessment, or the operator, found it good.
    Proven {
        /// Which.
        subject: Subject,
        /// What the machine looked like.
        baseline: Baseline,
    },
    /// An assessment found it good in a boot that the loader did not make: it stays a trial. That it was started tells
    /// nothing about its entry.
    Healthy {
        /// Which.
        subject: Subject,
        /// What the machine looked like.
        baseline: Baseline,
    },
    /// It was watched for a while after it was proven, and was well.
    Steady {
        /// Which.
        subject: Subject,
    },
    /// An assessment, the loader's counter, or the operator found it bad.
    Rejected {
        /// Which.
        subject: Subject,
        /// Why.
        cause: Cause,
    },
    /// It is not well, and nothing better is to be had: it stays up.
    Degraded {
        /// Which.
        subject: Subject,
        /// Why.
        cause: Cause,
    },
    /// A rejection is lifted: the last good generation shows the same fault (invariant A4), or the power failed. It is a
    /// suspect from now on.
    Excused {
        /// Which was rejected.
        subject: Subject,
    },
    /// The operator gives `$BOOT` back: until something is selected again, nothing there is ours to change.
    Uninstalled,
    /// The system has what its entries are known by, beside those of other systems on the same `$BOOT`.
    Named {
        /// What.
        owner: Owner,
    },
    /// The agent reboots the machine.
    Rebooting {
        /// From what it has rejected.
        from: Subject,
        /// To what, as far as it can choose.
        to: Subject,
    },
    /// The machine went back without a reboot.
    FellBack {
        /// From what it has rejected.
        from: Subject,
        /// To what.
        to: Subject,
    },
    /// A live switch begins: nothing is changed yet.
    Switching(Intent),
    /// It ended well. If it is to be confirmed, it waits for that now.
    SwitchedTo,
    /// It stays.
    Switched,
    /// It was undone.
    SwitchedBack(Back),
    /// The hook at the end of an incident was run.
    Hooked {
        /// Which.
        hook: Hook,
        /// What went wrong with it. None: nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trouble: Option<String>,
    },
}

/// A word that only a newer agent knows must not cost a selection.
fn known_or_none<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<By>, D::Error> {
    let word = Option::<serde_json::Value>::deserialize(from)?;
    Ok(word.and_then(|word| serde_json::from_value(word).ok()))
}

impl Event {
    /// What it is called: in the ledger, and in the journal's `LASTGOOD_EVENT`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Selected { .. } => "selected",
            Self::Armed { .. } => "armed",
            Self::Began { .. } => "began",
            Self::Reached { .. } => "reached",
            Self::Late { .. } => "late",
            Self::Proven { .. } => "proven",
            Self::Healthy { .. } => "healthy",
            Self::Steady { .. } => "steady",
            Self::Rejected { .. } => "rejected",
            Self::Degraded { .. } => "degraded",
            Self::Excused { .. } => "excused",
            Self::Uninstalled => "uninstalled",
            Self::Named { .. } => "named",
            Self::Rebooting { .. } => "rebooting",
            Self::FellBack { .. } => "fell-back",
            Self::Switching(_) => "switching",
            Self::SwitchedTo => "switched-to",
            Self::Switched => "switched",
            Self::SwitchedBack(_) => "switched-back",
            Self::Ended { .. } => "ended",
            Self::Hooked { .. } => "hooked",
        }
    }

    /// The generation it is about. For a reboot: where it leads.
    #[must_use]
    pub fn subject(&self) -> Option<&Subject> {
        match self {
            Self::Selected { subject, .. }
            | Self::Armed { subject, .. }
            | Self::Proven { subject, .. }
            | Self::Healthy { subject, .. }
            | Self::Rejected { subject, .. }
            | Self::Degraded { subject, .. }
            | Self::Excused { subject }
            | Self::Steady { subject }
            | Self::Rebooting { to: subject, .. }
            | Self::FellBack { to: subject, .. } => Some(subject),
            Self::Began { running, .. } => running.as_ref(),
            Self::Switching(intent) => intent.subject.as_ref(),
            Self::SwitchedBack(back) => back.subject.as_ref(),
            Self::Reached { .. }
            | Self::Late { .. }
            | Self::Uninstalled
            | Self::Named { .. }
            | Self::SwitchedTo
            | Self::Switched
            | Self::Ended { .. }
            | Self::Hooked { .. } => None,
        }
    }

    /// Why a generation was not good.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Rejected { cause, .. } | Self::Degraded { cause, .. } => Some(cause),
            Self::SwitchedBack(back) => back.cause.as_ref(),
            _ => None,
        }
    }

    /// How far the boot got that it is about.
    #[must_use]
    pub fn stage(&self) -> Option<Stage> {
        match self {
            Self::Reached { stage } => Some(*stage),
            _ => self.cause().map(|cause| cause.stage),
        }
    }

    /// What was at fault.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        self.cause().map_or(&[], |cause| &cause.faults)
    }

    /// The generations that it is about.
    pub fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.left().into_iter().chain(self.subject())
    }

    /// The generation that the machine leaves, where it goes from one to another.
    #[must_use]
    pub fn left(&self) -> Option<&Subject> {
        match self {
            Self::Rebooting { from, .. } | Self::FellBack { from, .. } => Some(from),
            _ => None,
        }
    }

    /// Whether entries are written because of it.
    #[must_use]
    pub fn leads_to_entries(&self) -> bool {
        matches!(
            self,
            Self::Selected { .. } | Self::Proven { .. } | Self::Rejected { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::switching::Undone;
    use boot_entries::GenerationId;

    /// The ledger and the journal call an event the same.
    #[test]
    fn an_event_has_one_name() {
        let subject = || Subject {
            generation: GenerationId::system(2),
            toplevel: "/nix/store/2".into(),
        };
        let cause = || Cause::of(Stage::Services, Fault::of_unit("a.service"));
        let all = [
            Event::Selected {
                subject: subject(),
                by: Some(By::Suspicion),
            },
            Event::Ended {
                boot: "b".to_owned(),
                way: Way::Reboot,
                failed: false,
            },
            Event::Hooked {
                hook: Hook::OnProven,
                trouble: None,
            },
            Event::Armed {
                subject: subject(),
                places: None,
            },
            Event::Began {
                boot: "b".to_owned(),
                running: Some(subject()),
                reset: None,
            },
            Event::Reached {
                stage: Stage::Begun,
            },
            Event::Proven {
                subject: subject(),
                baseline: Baseline::default(),
            },
            Event::Healthy {
                subject: subject(),
                baseline: Baseline::default(),
            },
            Event::Rejected {
                subject: subject(),
                cause: cause(),
            },
            Event::Degraded {
                subject: subject(),
                cause: cause(),
            },
            Event::Excused { subject: subject() },
            Event::Steady { subject: subject() },
            Event::Uninstalled,
            Event::Named {
                owner: "0123abcd".parse().unwrap(),
            },
            Event::Rebooting {
                from: subject(),
                to: subject(),
            },
            Event::FellBack {
                from: subject(),
                to: subject(),
            },
            Event::Switching(Intent {
                boot: "b".to_owned(),
                before: "/nix/store/1".into(),
                after: "/nix/store/2".into(),
                subject: Some(subject()),
                selects: true,
                confirm_by: None,
                profile: Some(GenerationId::system(1)),
            }),
            Event::SwitchedTo,
            Event::Switched,
            Event::SwitchedBack(Back {
                before: "/nix/store/1".into(),
                after: "/nix/store/2".into(),
                subject: Some(subject()),
                undone: Undone::Failed,
                cause: Some(cause()),
                left: vec!["x".to_owned()],
            }),
        ];
        for event in all {
            let json = serde_json::to_value(&event).unwrap();
            assert_eq!(json["event"], event.name());
            let has = |key| json.get(key).is_some();
            assert_eq!(event.cause().is_some(), has("cause"));
            assert_eq!(event.stage().is_some(), has("cause") || has("stage"));
            assert_eq!(
                event.subject().is_some(),
                has("subject") || has("running") || has("to")
            );
        }
    }
}
