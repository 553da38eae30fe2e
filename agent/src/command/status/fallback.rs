//! The last time the machine went back by itself. Pure.

use boot_entries::Subject;
use jiff::Timestamp;
use serde::Serialize;

use crate::state::cause::Cause;
use crate::state::fault::Fault;
use crate::state::{Event, State};
use crate::store::ledger::Record;

/// The machine went back by itself.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Fallback<'a> {
    /// When the verdict was recorded.
    pub(super) time: Timestamp,
    /// What was rejected.
    pub(super) from: &'a Subject,
    /// What the machine went back to. None: that is not on record.
    pub(super) to: Option<Subject>,
    /// Why, in a line.
    pub(super) summary: &'a str,
    /// What was at fault.
    pub(super) faults: &'a [Fault],
}

/// The last one on record. A rejection by the operator is none.
pub(super) fn last(records: &[Record]) -> Option<Fallback<'_>> {
    let is_own = |cause: &Cause| !cause.faults.contains(&Fault::Operator);
    let mut numbered = records.iter().enumerate().rev();
    let (at, record, from, cause) = numbered.find_map(|(at, record)| match &record.event {
        Event::Rejected { subject, cause } if is_own(cause) => Some((at, record, subject, cause)),
        _ => None,
    })?;
    let after = records.get(at..).unwrap_or_default();
    let rebooted = after.iter().find_map(|record| match &record.event {
        Event::Rebooting { from: rejected, to } | Event::FellBack { from: rejected, to }
            if rejected == from =>
        {
            Some(to.clone())
        }
        _ => None,
    });
    // Where the loader went back, the verdict came in a boot of what it went back to.
    let ran = || {
        let before = records.get(..at).unwrap_or_default();
        let state = State::of(before.iter().map(|record| &record.event));
        state.running().filter(|running| *running != from).cloned()
    };
    Some(Fallback {
        time: record.time,
        from,
        to: rebooted.or_else(ran),
        summary: &cause.summary,
        faults: &cause.faults,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::ledgers;

    #[test]
    fn the_last_one_is_the_loader_s_or_the_agent_s() {
        let records = ledgers::two_fallbacks();
        let numbers = |fallback: &Fallback<'_>| {
            let to = fallback.to.as_ref().map(|to| to.generation.number());
            (fallback.from.generation.number(), to)
        };
        let loaders = last(&records).unwrap();
        assert_eq!(numbers(&loaders), (3, Some(1)));
        assert_eq!(loaders.summary, "the loader started it as often as it may");
        let agents = last(&records[..8]).unwrap();
        assert_eq!(numbers(&agents), (2, Some(1)));
        // The reboot is not on record yet.
        assert_eq!(numbers(&last(&records[..6]).unwrap()), (2, None));
        assert_eq!(last(&records[..5]), None);
        assert_eq!(last(&ledgers::degraded()), None);
    }
}
