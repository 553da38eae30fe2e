//! The record of boots, stages, verdicts and causes: one JSON object a line (docs/ledger.md).
//!
//! A line is flushed before what it announces is done. A line cut short by a crash, or damaged, is passed over and
//! told. What a newer agent wrote is kept, and what of it [binds](Unknown::binding) ties this one's hands. Lines are
//! added; only a ledger that has become [long](fold), or that has what services wrote to the journal in it, is written
//! anew, in one step.

mod fold;
mod line;
mod logs;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use boot_entries::{Root, durable};
use jiff::Timestamp;

use crate::report::line::one_line;
use crate::state::{Event, State, Subject};

use line::Meaning;
pub use line::{Record, Unknown};

/// Where it is, on the machine.
pub const PATH: &str = crate::host::LEDGER;
/// What to do about a record that binds and is not known.
pub const RELEASE: &str = "run the lastgood that wrote it, or a newer one; if there is none any more and nothing is to be waited \
                           for, move that line out of the file";
/// What came from the journal is not in it, and anybody may ask for the status.
const EVERYBODY: durable::Access = durable::Access {
    mode: 0o644,
    group: None,
};

/// The ledger as read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The events that are known, in order.
    pub records: Vec<Record>,
    /// What is not.
    pub unknown: Vec<Unknown>,
    /// The numbers (from 1) of the lines that cannot be read.
    pub damaged: Vec<usize>,
    /// It is to be [written anew](tend).
    pub is_due: bool,
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
    #[error("cannot make JSON of a record for {PATH}")]
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
        match root.resolve(PATH).and_then(std::fs::read) {
            Ok(bytes) => Ok(Self::of_bytes(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(read_error(source)),
        }
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let mut ledger = Self::default();
        let mut count = 0;
        for (number, line) in numbered(bytes) {
            count += 1;
            match line::read(number, line) {
                Meaning::Known(record) => ledger.records.push(record),
                Meaning::Partly(record, unknown) => {
                    ledger.records.push(record);
                    ledger.unknown.push(unknown);
                }
                Meaning::Unknown(unknown) => ledger.unknown.push(unknown),
                Meaning::Damaged => ledger.damaged.push(number),
            }
        }
        let is_long = bytes.len() > fold::MOST_BYTES || count > fold::MOST_LINES;
        ledger.is_due = is_long
            || ledger
                .records
                .iter()
                .any(|record| logs::is_in(&record.event));
        ledger
    }

    /// What its records add up to.
    #[must_use]
    pub fn state(&self) -> State {
        let mut state = State::of(self.records.iter().map(|record| &record.event));
        let mut binding = self.unknown.iter().filter(|unknown| unknown.binding);
        let first = binding.next();
        state.bound_by = first.map(|unknown| format!("line {}: {}", unknown.line, unknown.what));
        state
    }

    /// What is wrong with it, a line each: what, where, what it means, and what to do.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let damaged = self.damaged.iter().map(|number| {
            format!(
                "{PATH}: line {number} is damaged: a power cut or a bad disk changed what was written; it is passed over, and \
                 all others count. If more lines come to be so, look for the disk with `journalctl -k` and `smartctl`"
            )
        });
        let unknown = self.unknown.iter().map(|Unknown { line, binding, what }| match binding {
            false => format!(
                "{PATH}: line {line} says what this lastgood does not know: {what}; a newer one wrote it. It is kept, nothing \
                 depends on it, and nothing has to be done"
            ),
            true => format!(
                "{PATH}: line {line} says what this lastgood does not know: {what}; a newer one wrote it, and it may forbid \
                 anything. Until it is known nothing is removed, judged by itself, or rebooted for its health: {RELEASE}"
            ),
        });
        damaged.chain(unknown).collect()
    }

    /// Adds what services wrote to the journal to the causes, if this process may read it.
    ///
    /// # Errors
    /// When it is there, may be read, and cannot be.
    pub fn add_logs(&mut self, root: &Root) -> Result<(), Error> {
        if self.records.iter().all(|record| record.log_lines == 0) {
            return Ok(());
        }
        self.merge(&logs::read(root)?);
        Ok(())
    }

    fn merge(&mut self, logs: &logs::Logs) {
        for record in self
            .records
            .iter_mut()
            .filter(|record| record.log_lines > 0)
        {
            match logs {
                logs::Logs::Withheld => record.log_withheld = true,
                logs::Logs::Readable(logs) => {
                    if let Some(log) = record.sum.as_ref().and_then(|sum| logs.get(sum)) {
                        logs::give_back(&mut record.event, log);
                    }
                }
            }
        }
    }
}

fn read_error(source: io::Error) -> Error {
    Error::Read {
        path: PathBuf::from(PATH),
        source,
    }
}

fn numbered(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = bytes.split(|byte| *byte == b'\n');
    (1..).zip(lines).filter(|(_, line)| !line.is_empty())
}

/// Adds events to the ledger under `root`, durably, one after the other: of those that a power cut leaves out none is
/// before one that is there. What services wrote to the journal goes [elsewhere](logs), before.
///
/// # Errors
/// When they cannot be written. That the journal's lines cannot be is told, and no verdict gets lost for it.
pub fn record(root: &Root, time: Timestamp, events: &[&Event]) -> Result<(), Error> {
    let mut lines = Vec::new();
    let mut entries = Vec::new();
    for event in events {
        let mut event = (*event).clone();
        let (line, entry) = parted(time, &mut event)?;
        lines.push(line);
        entries.extend(entry);
    }
    if !entries.is_empty()
        && let Err(error) = logs::add(root, &entries)
    {
        tracing::error!("what the units wrote is not kept: {}", one_line(&error));
    }
    let path = root.place(PATH).map_err(read_error)?;
    Ok(durable::append_lines(&lines, &path, EVERYBODY)?)
}

/// The line for an event, and what belongs to it and is for those who may read the journal.
fn parted(time: Timestamp, event: &mut Event) -> Result<(String, Option<logs::Entry>), Error> {
    let log = logs::take(event);
    let count = log.iter().flatten().map(Vec::len).sum();
    let (line, sum) = line::write(time, event, count)?;
    Ok((line, log.map(|log| logs::Entry::new(sum, log))))
}

/// Writes a ledger anew that [is due](Ledger::is_due): shorter, if it is long, and without what services wrote to the
/// journal. What `is_needed` stays known, however old it is. For whoever holds the lock.
///
/// # Errors
/// When it cannot be read or written. It is then as it was.
pub fn tend(root: &Root, is_needed: &dyn Fn(&Subject) -> bool) -> Result<(), Error> {
    tend_within(root, is_needed, fold::Bounds::default())
}

fn tend_within(
    root: &Root,
    is_needed: &dyn Fn(&Subject) -> bool,
    bounds: fold::Bounds,
) -> Result<(), Error> {
    let path = root.place(PATH).map_err(read_error)?;
    let bytes = std::fs::read(&path).map_err(read_error)?;
    let lines: Vec<fold::Line<'_>> = numbered(&bytes)
        .map(|(number, line)| (line, line::read(number, line)))
        .collect();
    let is_long = bytes.len() > fold::MOST_BYTES || lines.len() > bounds.lines.saturating_mul(4);
    // What is not known may rest on any line before it.
    let is_bound = lines.iter().any(|(_, meaning)| match meaning {
        Meaning::Unknown(unknown) | Meaning::Partly(_, unknown) => unknown.binding,
        Meaning::Known(_) | Meaning::Damaged => false,
    });
    let stays = (is_long && !is_bound)
        .then(|| fold::fold(&lines, bounds, is_needed))
        .flatten();
    let stays = stays.unwrap_or_else(|| vec![true; lines.len()]);
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut entries = Vec::new();
    let mut sums = BTreeSet::new();
    for ((text, meaning), _) in lines.iter().zip(&stays).filter(|(_, stays)| **stays) {
        let mut line = text.to_vec();
        if let Meaning::Known(record) = meaning {
            let mut event = record.event.clone();
            let is_ours = record.sum.is_none() || !line::says_more(text, &event);
            if is_ours && let (parted, Some(entry)) = parted(record.time, &mut event)? {
                line = parted.into_bytes();
                entries.push(entry);
            }
        }
        sums.extend(line::checked(&line).map(|(sum, _)| sum));
        kept.push(line);
    }
    let text = fold::text_of(kept.iter().map(Vec::as_slice));
    if text.as_bytes() == bytes {
        return Ok(());
    }
    logs::keep(root, &entries, |sum| sums.contains(sum))?;
    Ok(durable::put_text_for(EVERYBODY, &text, &path)?)
}

#[cfg(test)]
mod tests;
