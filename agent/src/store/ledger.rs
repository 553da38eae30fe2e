//! The append-only record of boots, stages, verdicts and causes: one JSON object a line.
//!
//! A line is flushed before what it announces is done. A line cut short by a crash, or damaged, is passed over and
//! told; the ledger is never rewritten, so nothing that was recorded can get lost by recording more.

use std::io;
use std::path::PathBuf;

use boot_entries::{Root, durable};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::state::{Event, State};

/// Where it is, on the machine.
pub const PATH: &str = crate::host::LEDGER;
/// The version of a line's format.
const VERSION: u32 = 1;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The version of the format.
    #[serde(rename = "v")]
    version: u32,
    /// When it was written, by the machine's clock: for people only, nothing depends on it.
    pub time: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// The ledger as read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The lines that can be read, in order.
    pub records: Vec<Record>,
    /// The numbers (from 1) of those that cannot.
    pub damaged: Vec<usize>,
}

/// A ledger that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Making a line.
    #[error("cannot write a record as JSON")]
    Json(#[from] serde_json::Error),
    /// Adding it.
    #[error(transparent)]
    Write(#[from] durable::Error),
}

impl Ledger {
    /// Reads the ledger under `root`. None yet is an empty one.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(root: &Root) -> Result<Self, Error> {
        let path = PathBuf::from(PATH);
        match root.resolve(PATH).and_then(std::fs::read) {
            Ok(bytes) => Ok(Self::parse(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(Error::Read { path, source }),
        }
    }

    fn parse(text: &str) -> Self {
        let mut ledger = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            match serde_json::from_str::<Record>(line) {
                Ok(record) if record.version == VERSION => ledger.records.push(record),
                _ if line.is_empty() => {}
                _ => ledger.damaged.push(number),
            }
        }
        ledger
    }

    /// What its records add up to.
    #[must_use]
    pub fn state(&self) -> State {
        State::of(self.records.iter().map(|record| &record.event))
    }
}

/// Adds events to the ledger under `root`, durably, one after the other: of those that a power cut leaves out none is before
/// one that is there.
///
/// # Errors
/// When they cannot be written.
pub fn record(root: &Root, time: Timestamp, events: &[&Event]) -> Result<(), Error> {
    let mut lines = Vec::new();
    for event in events {
        lines.push(serde_json::to_string(&Record {
            version: VERSION,
            time,
            event: (*event).clone(),
        })?);
    }
    let path = root.place(PATH).map_err(|source| Error::Read {
        path: PathBuf::from(PATH),
        source,
    })?;
    Ok(durable::append_lines(&lines, &path)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Subject;
    use boot_entries::GenerationId;

    fn event(number: u64) -> Event {
        let subject = Subject {
            generation: GenerationId::system(number),
            toplevel: "/nix/store/x".into(),
        };
        Event::Selected { subject }
    }

    #[test]
    fn what_is_recorded_is_read_back() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        record(&root, Timestamp::UNIX_EPOCH, &[&event(1)]).unwrap();
        record(&root, Timestamp::UNIX_EPOCH, &[&event(2), &event(3)]).unwrap();
        let ledger = Ledger::read(&root).unwrap();
        assert_eq!(ledger.records.len(), 3);
        assert_eq!(ledger.state().selected.unwrap().generation.number(), 3);
    }

    #[test]
    fn damage_is_passed_over_and_told() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        record(&root, Timestamp::UNIX_EPOCH, &[&event(1)]).unwrap();
        let path = root.join(PATH);
        let whole = std::fs::read_to_string(&path).unwrap();
        for cut in 1..whole.len() - 1 {
            durable::put_text(&format!("{whole}{}", &whole[..cut]), &path).unwrap();
            record(&root, Timestamp::UNIX_EPOCH, &[&event(2)]).unwrap();
            let ledger = Ledger::read(&root).unwrap();
            assert_eq!(
                (ledger.records.len(), ledger.damaged.as_slice()),
                (2, &[2][..]),
                "{cut}"
            );
        }
    }

    /// Ledgers written by earlier versions must stay readable.
    #[test]
    fn the_format() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        record(&root, Timestamp::UNIX_EPOCH, &[&event(1)]).unwrap();
        assert_eq!(
            std::fs::read_to_string(root.join(PATH)).unwrap(),
            "{\"v\":1,\"time\":\"1970-01-01T00:00:00Z\",\"event\":\"selected\",\
             \"subject\":{\"generation\":\"1\",\"toplevel\":\"/nix/store/x\"}}\n"
        );
    }
}
