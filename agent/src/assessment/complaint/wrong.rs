//! What can be wrong with a unit, and the words for it.

use std::fmt;

/// What is wrong with a unit. Of two things wrong with one unit that weigh the same, the first here is reported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::assessment) enum Wrong {
    /// systemd has never heard of it.
    NotKnown,
    /// There is no such file.
    NotFound,
    /// The administrator forbade it.
    Masked,
    /// systemd cannot read it; in its word.
    Unusable(String),
    /// systemd does not start it any more, because it was started too often.
    StartLimit,
    /// systemd has given up on it, after it ended badly so often.
    GivenUp { restarts: u32 },
    /// systemd has given up on it.
    Failed,
    /// It failed, and systemd has forgotten it.
    Forgotten,
    /// An `Assert...=` did not hold.
    Assertion,
    /// Something it needs did not come up.
    Dependency,
    /// It was to be started and never was.
    NeverStarted,
    /// It failed, and is about to be started again.
    FailedAndQueued,
    /// It was there.
    Gone,
    /// Nobody listens where a unit did.
    Silent { unit: Option<String> },
    /// It is not mounted.
    NotMounted,
    /// It is about to be started.
    Queued,
    /// A condition says that it need not run.
    Skipped,
    /// It does not run, and nobody is about to change that.
    Inactive,
    /// It is on its way up or down; in systemd's words.
    Changing { state: String, sub: String },
    /// It runs, and ran anew since the last look.
    StartedAgain { restarts: u32 },
    /// What systemd does with it takes long.
    NotFinished { job: String },
    /// It crashes and is started again, time after time.
    KeepsEnding { restarts: u32 },
    /// The boot ended here.
    LastResort,
    /// systemd did not get it; why.
    NotLinked { why: String },
    /// A check does not hold; what is to be said of it.
    Check { words: String },
}

/// What follows the unit's name.
impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotKnown => f.write_str("is not known to systemd"),
            Self::NotFound => f.write_str("is not found"),
            Self::Masked => f.write_str("is masked"),
            Self::Unusable(word) => write!(f, "cannot be loaded ({word})"),
            Self::StartLimit => f.write_str(
                "is at its start limit: it was started too often in a short time (`systemctl reset-failed` lets it start again)",
            ),
            Self::GivenUp { restarts } => write!(
                f,
                "failed, also after {restarts} restarts, and is not started again"
            ),
            Self::Failed => f.write_str("failed"),
            Self::Forgotten => f.write_str(
                "failed, and systemd has forgotten it (CollectMode=) or has refused to start it at all",
            ),
            Self::Assertion => f.write_str("was not started: an Assert= of it does not hold"),
            Self::Dependency => f.write_str("was not started: something it requires did not come up"),
            Self::NeverStarted => f.write_str(
                "was never started, although the boot wants it (`systemd-analyze verify default.target` shows whether units wait for each other)",
            ),
            Self::FailedAndQueued => f.write_str("failed and is queued again"),
            Self::Gone => f.write_str("is gone: the last good generation had it"),
            Self::Silent { unit: Some(unit) } => write!(
                f,
                "is listened on no more: under the last good generation {unit} did"
            ),
            Self::Silent { unit: None } => {
                f.write_str("is listened on no more: under the last good generation it was")
            }
            Self::NotMounted => f.write_str("is not mounted: under the last good generation it was"),
            Self::Queued => f.write_str("waits to be started"),
            Self::Skipped => f.write_str("was skipped: its conditions are not met"),
            Self::Inactive => f.write_str("is not active, and nothing is about to start it"),
            Self::Changing { state, sub } => write!(f, "is {state} ({sub})"),
            Self::StartedAgain { restarts } => write!(f, "was started again ({restarts} restarts)"),
            Self::NotFinished { job } => write!(f, "has not finished its {job}"),
            Self::KeepsEnding { restarts } => write!(f, "keeps ending ({restarts} restarts)"),
            Self::LastResort => f.write_str("was reached instead of a running system"),
            Self::NotLinked { why } => write!(f, "({why})"),
            Self::Check { words } => f.write_str(words),
        }
    }
}
