//! Everything that can stop a command, told in one line.

use std::io;
use std::path::PathBuf;

use boot_entries::{apply, boot_partition, durable, generation, observe, plan};

use crate::activation;
use crate::exit::Exit;
use crate::host;
use crate::report::{print, remedy};
use crate::store::{gc_roots, handover, ledger, lock, profile, secrets};
use crate::system::{boot_id, bootctl, command_line, manager, program};

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It would not be right. The text says what, why, and what to do.
    #[error("{0}")]
    Refused(String),
    /// It ended in a way that has an exit status of its own. The text says what, why, and what to do.
    #[error("{text}")]
    Ended {
        /// The exit status.
        exit: Exit,
        /// One line.
        text: String,
    },
    /// See the source.
    #[error(transparent)]
    Print(#[from] print::Error),
    /// Something of the machine's own that cannot be read.
    #[error("cannot read {what}")]
    Read {
        /// What.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// In one of several places.
    #[error("{}", name.display())]
    InPlace {
        /// Which.
        name: PathBuf,
        /// What.
        source: Box<Error>,
    },
    /// See the source.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// See the source.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// See the source.
    #[error(transparent)]
    Handover(#[from] handover::Error),
    /// See the source.
    #[error(transparent)]
    Profiles(#[from] generation::Error),
    /// See the source.
    #[error(transparent)]
    Profile(#[from] profile::Error),
    /// See the source.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// See the source.
    #[error(transparent)]
    BootId(#[from] boot_id::Error),
    /// See the source.
    #[error(transparent)]
    NoBoot(#[from] boot_partition::Error),
    /// See the source.
    #[error(transparent)]
    Observe(#[from] observe::Error),
    /// A plan that would leave the machine worse off.
    #[error("{}", remedy::refusal(.0))]
    Plan(plan::Refusal),
    /// See the source.
    #[error(transparent)]
    Apply(#[from] apply::Error),
    /// See the source.
    #[error(transparent)]
    GcRoots(#[from] gc_roots::Error),
    /// See the source.
    #[error(transparent)]
    Write(#[from] durable::Error),
    /// See the source.
    #[error(transparent)]
    Running(#[from] command_line::Error),
    /// See the source.
    #[error(transparent)]
    Activation(#[from] activation::Error),
    /// See the source.
    #[error(transparent)]
    Firewall(#[from] activation::firewall::NotClosed),
    /// See the source.
    #[error(transparent)]
    Secrets(#[from] secrets::Error),
    /// See the source.
    #[error(transparent)]
    Manager(#[from] manager::Error),
    /// See the source.
    #[error(transparent)]
    Program(#[from] program::Error),
    /// See the source.
    #[error(transparent)]
    Bootctl(#[from] bootctl::Error),
}

impl Error {
    /// How the run ends that it stops.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Ended { exit, .. } => *exit,
            _ => Exit::Failed,
        }
    }
}

impl From<plan::Refusal> for Error {
    fn from(refusal: plan::Refusal) -> Self {
        Self::Plan(refusal)
    }
}
