//! Everything that can stop a command, told in one line.

use std::io;

use boot_entries::{apply, boot_partition, durable, generation, observe, plan};

use crate::{activation, gc_roots, ledger, lock, program, running, secrets};

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It would not be right. The text says what, why, and what to do.
    #[error("{0}")]
    Refused(String),
    /// Standard output is gone.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// Something of the machine's own that cannot be read.
    #[error("cannot read {what}")]
    Read {
        /// What.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// JSON that cannot be made or understood.
    #[error("cannot make or read JSON")]
    Json(#[from] serde_json::Error),
    /// See the source.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// See the source.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// See the source.
    #[error(transparent)]
    Profile(#[from] generation::Error),
    /// See the source.
    #[error(transparent)]
    NoBoot(#[from] boot_partition::Error),
    /// See the source.
    #[error(transparent)]
    Observe(#[from] observe::Error),
    /// See the source.
    #[error(transparent)]
    Plan(#[from] plan::Refusal),
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
    Running(#[from] running::Error),
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
    Program(#[from] program::Error),
}

/// An error and everything that led to it, in one line.
#[must_use]
pub fn one_line(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let parts: Vec<String> = chain.map(ToString::to_string).collect();
    let text = parts.join(": ").replace('\n', "; ");
    // What others named or said may hold anything; a terminal would act on it.
    text.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_chain_once() {
        let source = io::Error::other("disk on fire");
        let what = "/efi".to_owned();
        let line = one_line(&Error::Read { what, source });
        assert_eq!(line, "cannot read /efi: disk on fire");
        let odd = one_line(&Error::Refused("a\nb\u{1b}[2J".to_owned()));
        assert_eq!(odd, "a; b\u{fffd}[2J");
    }
}
