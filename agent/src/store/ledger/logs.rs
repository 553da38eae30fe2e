//! What services wrote to the journal, for those who may read the journal: apart from the ledger, which everybody may
//! read.
//!
//! One JSON object a line, for one record of the ledger each, found by that record's checksum. What is lost here costs
//! an explanation and no decision.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use boot_entries::{Root, durable};
use serde::{Deserialize, Serialize};

use super::{Error, line};
use crate::state::Event;

/// The directory. `units/tmpfiles.d` lets the group `adm` read what is in it, as systemd does with the journal.
const DIRECTORY: &str = "/var/lib/lastgood/logs";
/// The file, on the machine.
pub(super) const PATH: &str = "/var/lib/lastgood/logs/units.jsonl";
/// Whose members may read the journal.
const GROUP: &str = "systemd-journal";
/// The file has at most so many bytes: older entries go.
const MOST: usize = 256 * 1024;

/// What the units of one cause logged, in their order.
pub(super) type Log = Vec<Vec<String>>;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    v: u32,
    /// The checksum of the ledger's line.
    record: String,
    units: Log,
}

impl Entry {
    pub(super) fn new(record: String, units: Log) -> Self {
        let v = 1;
        Self { v, record, units }
    }
}

/// What can be read of it.
#[derive(Debug)]
pub(super) enum Logs {
    Readable(BTreeMap<String, Log>),
    Withheld,
}

/// Whether lines of the journal are in an event.
pub(super) fn is_in(event: &Event) -> bool {
    match event {
        Event::Rejected { cause, .. } | Event::Degraded { cause, .. } => {
            cause.units.iter().any(|unit| !unit.log.is_empty())
        }
        _ => false,
    }
}

/// Takes the lines of the journal out of an event.
pub(super) fn take(event: &mut Event) -> Option<Log> {
    let (Event::Rejected { cause, .. } | Event::Degraded { cause, .. }) = event else {
        return None;
    };
    let units = cause.units.iter_mut();
    let log: Log = units.map(|unit| std::mem::take(&mut unit.log)).collect();
    log.iter().any(|lines| !lines.is_empty()).then_some(log)
}

/// Puts them back.
pub(super) fn give_back(event: &mut Event, log: &Log) {
    if let Event::Rejected { cause, .. } | Event::Degraded { cause, .. } = event {
        for (unit, lines) in cause.units.iter_mut().zip(log) {
            unit.log.clone_from(lines);
        }
    }
}

/// Reads what there is.
pub(super) fn read(root: &Root) -> Result<Logs, Error> {
    let read = root.resolve(PATH).and_then(std::fs::read);
    match read {
        Ok(bytes) => {
            let entries = entries(&bytes);
            Ok(Logs::Readable(
                entries.map(|entry| (entry.record, entry.units)).collect(),
            ))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(Logs::Readable(BTreeMap::new()))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Logs::Withheld),
        Err(source) => Err(read_error(source)),
    }
}

fn read_error(source: io::Error) -> Error {
    Error::Read {
        path: PathBuf::from(PATH),
        source,
    }
}

fn entries(bytes: &[u8]) -> impl Iterator<Item = Entry> {
    let lines = bytes.split(|byte| *byte == b'\n');
    let whole = lines.filter(|text| line::checked(text).is_some_and(|(_, is_right)| is_right));
    whole.filter_map(|text| serde_json::from_slice(text).ok())
}

/// Adds entries, durably. Where there are too many the oldest go.
pub(super) fn add(root: &Root, new: &[Entry]) -> Result<(), Error> {
    let (place, access) = place(root)?;
    let lines = lines_of(new)?;
    let length: usize = lines.iter().map(|line| line.len() + 1).sum();
    let there = place.metadata().map_or(0, |found| found.len());
    if usize::try_from(there)
        .unwrap_or(usize::MAX)
        .saturating_add(length)
        <= MOST
    {
        return Ok(durable::append_lines(&lines, &place, access)?);
    }
    keep(root, new, |_| true)
}

/// Writes the file anew: of what is there, what `is_kept` says of its record's checksum, and `new`.
pub(super) fn keep(
    root: &Root,
    new: &[Entry],
    is_kept: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    let (place, access) = place(root)?;
    let bytes = match std::fs::read(&place) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound && new.is_empty() => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(read_error(source)),
    };
    let added: BTreeSet<&str> = new.iter().map(|entry| entry.record.as_str()).collect();
    let there = entries(&bytes)
        .filter(|entry| is_kept(&entry.record) && !added.contains(entry.record.as_str()));
    let all: Vec<Entry> = there.chain(new.iter().cloned()).collect();
    let mut lines = lines_of(&all)?;
    // Half of it, so that this is not done at every verdict.
    let mut length = 0;
    let newest = lines.iter().rev().take_while(|line| {
        length += line.len() + 1;
        length <= MOST / 2
    });
    let count = newest.count().max(1);
    let lines = lines.split_off(lines.len().saturating_sub(count));
    let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    Ok(durable::put_text_for(access, &text, &place)?)
}

fn lines_of(entries: &[Entry]) -> Result<Vec<String>, Error> {
    let line = |entry: &Entry| Ok(line::sealed(&serde_json::to_string(entry)?).0);
    entries.iter().map(line).collect()
}

/// Where it is, and who may read it. The directory is made if it is missing.
fn place(root: &Root) -> Result<(PathBuf, durable::Access), Error> {
    let directory = root.place(DIRECTORY).map_err(read_error)?;
    let group = group(root);
    // Where there is no such group, the journal is root's.
    let mode = |with: u32, without: u32| group.map_or(without, |_| with);
    let access = |mode| durable::Access { mode, group };
    durable::make_directory_for(access(mode(0o750, 0o700)), &directory)?;
    let path = root.place(PATH).map_err(read_error)?;
    Ok((path, access(mode(0o640, 0o600))))
}

/// The number of the group in the tree's own list.
fn group(root: &Root) -> Option<u32> {
    let path = root.resolve("/etc/group").ok()?;
    let text = String::from_utf8_lossy(&std::fs::read(path).ok()?).into_owned();
    let mut numbers = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == GROUP).then(|| fields.nth(1)?.parse().ok())?
    });
    numbers.next()
}
