//! One line: an event as JSON with a checksum, and what is made of one that this agent does not know.
//!
//! docs/ledger.md has the rules, which agents before and after this one rely on.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::state::Event;

/// The format that this agent writes, and the newest that it may interpret.
const FORMAT: u32 = 1;
/// What is between an event and its checksum. It follows the last member but one.
const SUM: &str = r#","crc":""#;
/// And what follows the checksum.
const END: &str = r#""}"#;
/// A checksum has so many digits.
const DIGITS: usize = 8;

/// All members that agents wrote before lines had a checksum. A line with others and without a checksum has lost it.
const FIRST_MEMBERS: [&str; 13] = [
    "v", "time", "event", "subject", "places", "boot", "running", "stage", "baseline", "cause",
    "owner", "from", "to",
];
/// Those that came later.
const LATER_MEMBERS: [&str; 4] = ["min", "binding", "logLines", "crc"];
/// Those of events that came later.
const EVENT_MEMBERS: [&str; 13] = [
    "before",
    "after",
    "selects",
    "confirmBy",
    "profile",
    "undone",
    "left",
    "by",
    "reset",
    "way",
    "failed",
    "hook",
    "trouble",
];

/// An event of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The number of its line, from 1.
    pub line: usize,
    /// When it was written, by the machine's clock: for people only, nothing depends on it.
    pub time: Timestamp,
    /// What happened.
    pub event: Event,
    /// So many lines of the journal belong to it and are kept [elsewhere](super::logs).
    pub log_lines: usize,
    /// They are there, and whoever reads may not read them.
    pub log_withheld: bool,
    /// Its checksum: what its lines of the journal are found by.
    pub(super) sum: Option<String>,
}

/// A line, or a part of one, that is whole and that this agent does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Its number, from 1.
    pub line: usize,
    /// It may forbid what this agent would do.
    pub binding: bool,
    /// What is not known, in words.
    pub what: String,
}

/// What a line means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// All of it is known.
    Known(Record),
    /// This much of it is.
    Partly(Record, Unknown),
    /// Nothing is.
    Unknown(Unknown),
    /// It is not what was written.
    Damaged,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Whole {
    v: u32,
    min: Option<u32>,
    time: Timestamp,
    #[serde(default)]
    binding: Value,
    #[serde(default)]
    log_lines: usize,
    #[serde(flatten)]
    event: Event,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    v: u32,
    time: Timestamp,
    #[serde(flatten)]
    event: &'a Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_lines: Option<usize>,
}

/// The line for an event, without its end, and its checksum.
pub(super) fn write(
    time: Timestamp,
    event: &Event,
    log_lines: usize,
) -> Result<(String, String), serde_json::Error> {
    let text = serde_json::to_string(&Written {
        v: FORMAT,
        time,
        event,
        binding: (!binds(event)).then_some(false),
        log_lines: (log_lines > 0).then_some(log_lines),
    })?;
    Ok(sealed(&text))
}

/// A JSON object with its checksum as the last member, and the checksum.
pub(super) fn sealed(object: &str) -> (String, String) {
    let text = object.strip_suffix('}').unwrap_or(object);
    let sum = sum_of(text.as_bytes());
    (format!("{text}{SUM}{sum}{END}"), sum)
}

/// Not: an agent that does not know it removes, judges and reboots nothing that this one would have kept.
fn binds(event: &Event) -> bool {
    !matches!(
        event,
        Event::Reached { .. }
            | Event::Late { .. }
            | Event::Degraded { .. }
            | Event::Healthy { .. }
            | Event::Steady { .. }
            // What boots is said by a selection, and what is wrong by a rejection: those are on record beside it.
            | Event::FellBack { .. }
            | Event::Switching(_)
            | Event::SwitchedTo
            | Event::Switched
            | Event::SwitchedBack(_)
            | Event::Ended { .. }
            | Event::Hooked { .. }
    )
}

fn sum_of(bytes: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(bytes))
}

/// The checksum at the end of a line, if there is one, and whether it is that of the line.
pub(super) fn checked(line: &[u8]) -> Option<(String, bool)> {
    let rest = line.strip_suffix(END.as_bytes())?;
    let (rest, sum) = rest.split_at_checked(rest.len().checked_sub(DIGITS)?)?;
    let body = rest.strip_suffix(SUM.as_bytes())?;
    let sum = String::from_utf8_lossy(sum).into_owned();
    let is_right = sum == sum_of(body);
    Some((sum, is_right))
}

/// What the line `number` means.
pub(super) fn read(number: usize, line: &[u8]) -> Meaning {
    let sum = match checked(line) {
        Some((_, false)) => return Meaning::Damaged,
        Some((sum, true)) => Some(sum),
        None => None,
    };
    if let Ok(whole) = serde_json::from_slice::<Whole>(line)
        && is_readable(whole.v, whole.min)
        && !whole.binding.is_array()
        && (sum.is_some() || has_first_members_only(line))
    {
        return Meaning::Known(Record {
            line: number,
            time: whole.time,
            event: whole.event,
            log_lines: whole.log_lines,
            log_withheld: false,
            sum,
        });
    }
    match (sum, serde_json::from_slice(line)) {
        (Some(sum), Ok(Value::Object(members))) => read_in_part(number, sum, &members),
        _ => Meaning::Damaged,
    }
}

fn is_readable(version: u32, oldest_reader: Option<u32>) -> bool {
    (1..=FORMAT).contains(&oldest_reader.unwrap_or(version))
}

fn has_first_members_only(line: &[u8]) -> bool {
    let members = serde_json::from_slice::<Map<String, Value>>(line);
    members.is_ok_and(|members| {
        let mut names = members.keys();
        names.all(|name| FIRST_MEMBERS.contains(&name.as_str()))
    })
}

/// A line that is whole, and not all of which is known.
fn read_in_part(number: usize, sum: String, members: &Map<String, Value>) -> Meaning {
    let name = members.get("event").and_then(Value::as_str);
    let name = name.unwrap_or_default();
    let unknown = |binding, what| Unknown {
        line: number,
        binding,
        what,
    };
    // What says nothing of it binds.
    let binding = members.get("binding") != Some(&Value::Bool(false));
    let number_of = |name: &str| members.get(name).and_then(Value::as_u64);
    let oldest = number_of("min").or_else(|| number_of("v")).unwrap_or(0);
    if !u32::try_from(oldest).is_ok_and(|oldest| is_readable(oldest, None)) {
        let what = format!("{name:?} in format {oldest}, where this one knows format {FORMAT}");
        return Meaning::Unknown(unknown(binding, what));
    }
    let named = members.get("binding").and_then(Value::as_array);
    let is_known = |name: &&Value| {
        let name = name.as_str().unwrap_or_default();
        [&FIRST_MEMBERS[..], &LATER_MEMBERS, &EVENT_MEMBERS]
            .iter()
            .any(|known| known.contains(&name))
    };
    let strange = named.into_iter().flatten().find(|name| !is_known(name));
    let whole = understood(members);
    let is_whole = whole.is_some();
    let gist = || gists(name, members).iter().find_map(understood);
    let Some(read) = whole.or_else(gist) else {
        return Meaning::Unknown(unknown(binding, format!("{name:?}")));
    };
    let record = Record {
        line: number,
        time: read.time,
        event: read.event,
        log_lines: read.log_lines,
        log_withheld: false,
        sum: Some(sum),
    };
    match strange {
        Some(member) => {
            let what = format!("the member {member} in {name:?}");
            Meaning::Partly(record, unknown(true, what))
        }
        None if is_whole => Meaning::Known(record),
        None => Meaning::Partly(record, unknown(false, format!("a value in {name:?}"))),
    }
}

fn understood(members: &Map<String, Value>) -> Option<Whole> {
    serde_json::from_slice(&serde_json::to_vec(members).ok()?).ok()
}

/// What can be understood of an event that has a value which is not known: that something was rejected must not get
/// lost for a new kind of cause. The first that can be is meant. No more is taken for known than leads to fewer
/// changes.
fn gists(name: &str, members: &Map<String, Value>) -> Vec<Map<String, Value>> {
    // Whoever wrote it ran: so far the boot got at least.
    let stage = || Value::from("begun");
    let with = |member: &str, value: Value| {
        let mut members = members.clone();
        members.insert(member.to_owned(), value);
        members
    };
    match name {
        "reached" if members.get("stage").is_some_and(Value::is_string) => {
            vec![with("stage", stage())]
        }
        "rejected" | "degraded" => {
            let nothing = Map::new();
            let cause = members.get("cause").and_then(Value::as_object);
            let cause = cause.unwrap_or(&nothing);
            let is_first = |name: &String| ["stage", "summary", "units"].contains(&name.as_str());
            let none = || Value::Array(Vec::new());
            // What else was at fault, somebody else may not have: units alone would excuse too much.
            let units = cause.get("units").filter(|_| cause.keys().all(is_first));
            let units = [units.cloned().unwrap_or_else(none), none()];
            let stages = [cause.get("stage").cloned().unwrap_or_else(stage), stage()];
            let summary = cause.get("summary").filter(|summary| summary.is_string());
            let summary = summary.cloned();
            let summary =
                summary.unwrap_or_else(|| "for a cause that this lastgood does not know".into());
            let each = units
                .iter()
                .flat_map(|units| stages.iter().map(move |stage| (units, stage)));
            each.map(|(units, stage)| {
                let cause = [("stage", stage), ("summary", &summary), ("units", units)];
                let cause = cause.map(|(name, value)| (name.to_owned(), value.clone()));
                with("cause", Value::Object(cause.into_iter().collect()))
            })
            .collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a line has anything that `event` does not say: then it is not made anew, and not left out.
pub(super) fn says_more(line: &[u8], event: &Event) -> bool {
    let Ok(Value::Object(mut line)) = serde_json::from_slice(line) else {
        return true;
    };
    for name in ["v", "time"].iter().chain(&LATER_MEMBERS) {
        // A later format says more, whatever else it has.
        if let Some(value) = line.remove(*name)
            && *name == "v"
            && value != FORMAT
        {
            return true;
        }
    }
    let known = serde_json::to_value(event).unwrap_or_default();
    goes_beyond(&Value::Object(line), &known)
}

fn goes_beyond(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => one.iter().any(|(name, value)| {
            let missing = || !value.is_null();
            other
                .get(name)
                .map_or_else(missing, |known| goes_beyond(value, known))
        }),
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => one
            .iter()
            .zip(other)
            .any(|(one, other)| goes_beyond(one, other)),
        _ => one != other,
    }
}
