//! What can go wrong between systemd and us: the connection, or one question.

use std::fmt;
use std::io;
use std::time::Duration;

/// Why systemd could not be spoken with. After any of these but [`Error::Refused`], the connection cannot be used any
/// more: [`Manager::reconnect`](super::Manager::reconnect) makes a new one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens, or we may not.
    #[error("cannot reach systemd at {socket}, which takes root and a systemd that runs")]
    Connect {
        /// Its socket.
        socket: String,
        /// Why.
        source: io::Error,
    },
    /// It does not let us in.
    #[error("systemd at {socket} does not let us in: {said}; this must be root")]
    Denied {
        /// Its socket.
        socket: String,
        /// What it said.
        said: String,
    },
    /// It has hung up. It does so when it is executed anew, and when it ends.
    #[error("systemd has closed the connection during {doing}; see `journalctl -b _PID=1`")]
    Closed {
        /// What was asked.
        doing: &'static str,
    },
    /// It has not answered in time. What was asked for may happen all the same.
    #[error("systemd has not answered {doing} within {} s; see whether `systemctl status` answers", patience.as_secs_f32())]
    Late {
        /// What was asked.
        doing: &'static str,
        /// How long it was waited for.
        patience: Duration,
    },
    /// The kernel says no.
    #[error("cannot speak with systemd about {doing}")]
    Io {
        /// What was asked.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// It says something that makes no sense.
    #[error(
        "cannot read what systemd says to {doing}: {why}; `systemctl --version` must say 252 or more"
    )]
    Garbled {
        /// What was asked.
        doing: &'static str,
        /// What makes no sense.
        why: String,
    },
    /// The connection broke in an earlier call.
    #[error("cannot ask systemd about {doing}: the connection broke earlier")]
    Broken {
        /// What was to be asked.
        doing: &'static str,
    },
    /// It says no. The connection lives on.
    #[error("systemd refuses {doing}: {refusal}")]
    Refused {
        /// What was asked.
        doing: &'static str,
        /// Its words.
        refusal: Refusal,
    },
}

/// systemd's answer that it will not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// The name of the error, e.g. `org.freedesktop.systemd1.NoSuchUnit`.
    pub name: String,
    /// What it says of it, in one line.
    pub text: String,
}

impl Refusal {
    /// What callers decide by.
    #[must_use]
    pub fn reason(&self) -> Reason {
        let of_systemd = self.name.strip_prefix("org.freedesktop.systemd1.");
        let of_bus = self.name.strip_prefix("org.freedesktop.DBus.Error.");
        match (of_systemd, of_bus) {
            (Some("NoSuchUnit"), _) => Reason::NoSuchUnit,
            (Some("NoSuchJob"), _) => Reason::NoSuchJob,
            (Some("UnitMasked"), _) => Reason::Masked,
            (Some("BadUnitSetting" | "LoadFailed"), _) | (_, Some("InconsistentMessage")) => {
                Reason::Unusable
            }
            (Some("OnlyByDependency"), _) => Reason::OnlyByDependency,
            (Some("JobTypeNotApplicable"), _) => Reason::NotApplicable,
            (Some("NoIsolation"), _) => Reason::NoIsolation,
            (Some("TransactionOrderIsCyclic"), _) => Reason::Cyclic,
            (Some("TransactionJobsConflicting"), _) => Reason::Conflicting,
            (Some("TransactionIsDestructive"), _) => Reason::Destructive,
            (Some("UnitExists"), _) => Reason::Exists,
            (_, Some("InvalidArgs")) => Reason::InvalidArguments,
            (_, Some("UnknownMethod")) => Reason::UnknownMethod,
            (_, Some("UnknownObject")) => Reason::UnknownObject,
            (_, Some("UnknownProperty" | "UnknownInterface")) => Reason::UnknownProperty,
            (_, Some("AccessDenied" | "InteractiveAuthorizationRequired")) => Reason::Denied,
            _ => Reason::Other,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.as_str() {
            "" => f.write_str(&self.name),
            text => write!(f, "{text} ({})", self.name),
        }
    }
}

/// Why systemd says no, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There is no such unit, or one that is required is not there. To stop a unit that is not loaded is refused so.
    NoSuchUnit,
    /// There is no such job (any more).
    NoSuchJob,
    /// The unit, or one that is required, is masked. An empty file counts.
    Masked,
    /// The unit's file cannot be used.
    Unusable,
    /// The unit refuses to be started or stopped by hand.
    OnlyByDependency,
    /// A unit of this kind, or in this state, cannot do this, e.g. reload.
    NotApplicable,
    /// The unit cannot be isolated.
    NoIsolation,
    /// Units wait for each other.
    Cyclic,
    /// Two units that are both needed exclude each other.
    Conflicting,
    /// It would undo what is queued already, and may not.
    Destructive,
    /// A transient unit would have the name of one that is there.
    Exists,
    /// A name or another argument cannot be read.
    InvalidArguments,
    /// This systemd cannot do that at all.
    UnknownMethod,
    /// There is no such object. A name that cannot be a unit's is told so.
    UnknownObject,
    /// This systemd, or this kind of unit, has no such property.
    UnknownProperty,
    /// We may not.
    Denied,
    /// Anything else.
    Other,
}
