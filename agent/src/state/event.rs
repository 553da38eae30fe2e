//! What happens to a machine, one thing at a time.

use std::collections::BTreeSet;
use std::path::PathBuf;

use boot_entries::Subject;
use boot_entries::owner::Owner;
use serde::{Deserialize, Serialize};

use super::baseline::Baseline;
use super::cause::{Cause, Stage};

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
    },
    /// That boot got further.
    Reached {
        /// Where to.
        stage: Stage,
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
    /// A rejection is void: the last good generation shows the same fault (invariant A4).
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
}

impl Event {
    /// Whether entries are written because of it.
    #[must_use]
    pub fn leads_to_entries(&self) -> bool {
        matches!(
            self,
            Self::Selected { .. } | Self::Proven { .. } | Self::Rejected { .. }
        )
    }
}
