//! Which lines of a long ledger stay: those of the recent past, those that explain, and of all before as few as add up
//! to the same state.
//!
//! Nothing is put together anew. What stays is what was written, so that every agent, before and after this one, reads
//! it.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::path::{Path, PathBuf};

use super::line::{Meaning, says_more};
use crate::state::cause::Stage;
use crate::state::{Event, State, Subject};

/// A longer ledger is folded.
pub(super) const MOST_BYTES: usize = 1024 * 1024;
/// As is one of more lines.
pub(super) const MOST_LINES: usize = 2_000;
/// So many of the latest lines stay as they are,
const RECENT_LINES: usize = 500;
/// if they are not longer than this;
const RECENT_BYTES: usize = 256 * 1024;
/// and so many of the latest verdicts with a cause.
const CAUSES: usize = 50;
/// What is known of so many closures stays, of those that were heard of last. Of others too, if somebody needs them.
const CLOSURES: usize = 500;

/// How much stays.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) lines: usize,
    pub(super) bytes: usize,
    pub(super) causes: usize,
    pub(super) closures: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            lines: RECENT_LINES,
            bytes: RECENT_BYTES,
            causes: CAUSES,
            closures: CLOSURES,
        }
    }
}

/// A line as it is and what it means.
pub(super) type Line<'a> = (&'a [u8], Meaning);

/// Whether each line stays. None: fewer lines would mean something else.
///
/// Damaged lines of the past go. All that is not known stays, in its place.
pub(super) fn fold(
    lines: &[Line<'_>],
    bounds: Bounds,
    is_needed: &dyn Fn(&Subject) -> bool,
) -> Option<Vec<bool>> {
    let recent = recent(lines, bounds);
    let events: Vec<(usize, &Event)> = events(lines).collect();
    let before = State::of(events.iter().map(|(_, event)| *event));
    let forgotten = forgotten(&before, &events, recent, bounds, is_needed);
    let past: Vec<(usize, &Event)> = events
        .iter()
        .filter(|(at, _)| *at < recent)
        .copied()
        .collect();
    // A verdict of the recent past may have led back to a closure that nobody has heard of since: then all are
    // remembered.
    [forgotten, BTreeSet::new()].iter().find_map(|forgotten| {
        let mut must = explaining(&past, bounds.causes);
        must.extend(deciding(&past, forgotten));
        let past_ats = past.iter().map(|(at, _)| *at);
        must.extend(past_ats.filter(|at| lines.get(*at).is_none_or(holds_more)));
        let chosen = chosen(&past, &must, forgotten);
        let stays = |(at, (_, meaning)): (usize, &Line<'_>)| match meaning {
            _ if at >= recent => true,
            Meaning::Damaged => false,
            Meaning::Unknown(_) | Meaning::Partly(..) => true,
            Meaning::Known(_) => chosen.contains(&at),
        };
        let stays: Vec<bool> = lines.iter().enumerate().map(stays).collect();
        let kept = events
            .iter()
            .filter(|(at, _)| stays.get(*at) == Some(&true));
        let after = State::of(kept.map(|(_, event)| *event));
        is_same(&after, &before, forgotten).then_some(stays)
    })
}

fn events<'a>(lines: &'a [Line<'_>]) -> impl Iterator<Item = (usize, &'a Event)> {
    let of = |(at, (_, meaning)): (usize, &'a Line<'_>)| match meaning {
        Meaning::Known(record) | Meaning::Partly(record, _) => Some((at, &record.event)),
        Meaning::Unknown(_) | Meaning::Damaged => None,
    };
    lines.iter().enumerate().filter_map(of)
}

/// Whether a line says what this agent does not understand, and another may.
fn holds_more((text, meaning): &Line<'_>) -> bool {
    match meaning {
        Meaning::Known(record) => record.sum.is_some() && says_more(text, &record.event),
        _ => true,
    }
}

/// Where the recent past begins.
fn recent(lines: &[Line<'_>], bounds: Bounds) -> usize {
    let mut length = 0;
    let latest = lines.iter().rev().take(bounds.lines);
    let latest = latest.take_while(|(text, _)| {
        length += text.len() + 1;
        length <= bounds.bytes
    });
    lines.len() - latest.count()
}

/// The closures that nobody has heard of for long, and that nothing needs.
fn forgotten(
    state: &State,
    events: &[(usize, &Event)],
    recent: usize,
    bounds: Bounds,
    is_needed: &dyn Fn(&Subject) -> bool,
) -> BTreeSet<PathBuf> {
    let mut latest: BTreeMap<&Path, (usize, &Subject)> = BTreeMap::new();
    for (at, event) in events {
        for subject in event.subjects() {
            latest.insert(&subject.toplevel, (*at, subject));
        }
    }
    let protected = state.protected();
    let is_old = |(at, subject): &(usize, &Subject)| {
        *at < recent
            && !is_needed(subject)
            && !protected
                .iter()
                .any(|kept| kept.toplevel == subject.toplevel)
    };
    let count = latest.len().saturating_sub(bounds.closures);
    let mut by_age: Vec<(usize, &Subject)> = latest.into_values().collect();
    by_age.sort_by_key(|(at, _)| *at);
    let old = by_age.into_iter().take(count).filter(is_old);
    old.map(|(_, subject)| subject.toplevel.clone()).collect()
}

/// The latest verdicts with a cause.
fn explaining(past: &[(usize, &Event)], count: usize) -> BTreeSet<usize> {
    let has_cause =
        |event: &Event| matches!(event, Event::Rejected { .. } | Event::Degraded { .. });
    let causes = past.iter().rev().filter(|(_, event)| has_cause(event));
    causes.take(count).map(|(at, _)| *at).collect()
}

/// The latest verdict on each closure: most of what decides, and found without trying.
fn deciding(past: &[(usize, &Event)], forgotten: &BTreeSet<PathBuf>) -> BTreeSet<usize> {
    let mut latest = BTreeMap::new();
    for (at, event) in past {
        if let Event::Proven { subject, .. } | Event::Rejected { subject, .. } = event {
            latest.insert(subject.toplevel.as_path(), *at);
        }
    }
    latest.retain(|closure, _| !forgotten.contains(*closure));
    latest.into_values().collect()
}

/// Which of `past` stay. Trying takes long where there is much, and most of it is known without: what was before the
/// latest selection matters by its verdicts, and by how far boots got that were never judged.
fn chosen(
    past: &[(usize, &Event)],
    must: &BTreeSet<usize>,
    forgotten: &BTreeSet<PathBuf>,
) -> BTreeSet<usize> {
    let is_selection = |(_, event): &(usize, &Event)| matches!(event, Event::Selected { .. });
    let selection = past.iter().rposition(is_selection).unwrap_or(0);
    let (old, new) = past.split_at_checked(selection).unwrap_or((past, &[]));
    let mut likely = must.clone();
    likely.extend(deciding(old, forgotten));
    likely.extend(lifting(old));
    likely.extend(unjudged(past, forgotten));
    likely.extend(marking(past));
    likely.extend(in_passing(past));
    likely.extend(switching(past));
    likely.extend(probation(past, forgotten));
    let is_likely = |(at, _): &&(usize, &Event)| likely.contains(at);
    let fewer: Vec<(usize, &Event)> = old.iter().filter(is_likely).chain(new).copied().collect();
    let state = |events: &[(usize, &Event)]| State::of(events.iter().map(|(_, event)| *event));
    if !is_same(&state(&fewer), &state(past), forgotten) {
        return enough(past, must, forgotten);
    }
    let before_new = |(at, _): &(usize, &Event)| new.first().is_none_or(|(first, _)| at < first);
    let old = fewer
        .iter()
        .filter(|one| before_new(one))
        .map(|(at, _)| *at);
    let must: BTreeSet<usize> = must.iter().copied().chain(old).collect();
    enough(&fewer, &must, forgotten)
}

/// What made the latest rejection of a closure void.
fn lifting(past: &[(usize, &Event)]) -> BTreeSet<usize> {
    let mut latest = BTreeMap::new();
    for (at, event) in past {
        match event {
            Event::Rejected { subject, .. } => {
                latest.insert(subject.toplevel.as_path(), None);
            }
            Event::Selected { subject, .. } | Event::Excused { subject } => {
                if let Some(lifted) = latest.get_mut(subject.toplevel.as_path()) {
                    *lifted = Some(*at);
                }
            }
            _ => {}
        }
    }
    latest.into_values().flatten().collect()
}

/// Of each closure that was not judged the boot that got furthest, and all that was heard of the latest boot.
fn unjudged(past: &[(usize, &Event)], forgotten: &BTreeSet<PathBuf>) -> BTreeSet<usize> {
    let mut furthest: BTreeMap<&Path, Boot> = BTreeMap::new();
    let mut latest = BTreeSet::new();
    let mut boot = None;
    for (at, event) in past {
        match event {
            Event::Selected { subject, .. }
            | Event::Proven { subject, .. }
            | Event::Rejected { subject, .. } => {
                furthest.remove(subject.toplevel.as_path());
            }
            Event::Began { running, .. } => {
                latest.clear();
                let stage = Stage::Begun;
                let closure = running.as_ref().map(|subject| subject.toplevel.as_path());
                boot = closure.map(|closure| {
                    (
                        closure,
                        Boot {
                            stage,
                            lines: [*at].into(),
                        },
                    )
                });
            }
            Event::Reached { stage } => {
                if let Some((_, boot)) = boot.as_mut().filter(|(_, boot)| boot.stage < *stage) {
                    boot.stage = *stage;
                    boot.lines.insert(*at);
                }
            }
            Event::Degraded { .. } | Event::Late { .. } => {}
            _ => continue,
        }
        if matches!(
            event,
            Event::Began { .. }
                | Event::Reached { .. }
                | Event::Degraded { .. }
                | Event::Late { .. }
        ) {
            latest.insert(*at);
        }
        if let Some((closure, boot)) = &boot
            && furthest
                .get(closure)
                .is_none_or(|best| best.stage <= boot.stage)
            && matches!(event, Event::Began { .. } | Event::Reached { .. })
        {
            furthest.insert(closure, boot.clone());
        }
    }
    furthest.retain(|closure, _| !forgotten.contains(*closure));
    latest.extend(furthest.into_values().flat_map(|boot| boot.lines));
    latest
}

/// How far a boot got, and the lines that say so.
#[derive(Debug, Clone)]
struct Boot {
    stage: Stage,
    lines: BTreeSet<usize>,
}

/// The latest boot that was found healthy and is no verdict, and its beginning.
fn in_passing(past: &[(usize, &Event)]) -> BTreeSet<usize> {
    let is_healthy = |(_, event): &(usize, &Event)| matches!(event, Event::Healthy { .. });
    let Some(latest) = past.iter().rposition(is_healthy) else {
        return BTreeSet::new();
    };
    let until = past.get(..=latest).unwrap_or_default();
    let is_beginning = |(_, event): &&(usize, &Event)| matches!(event, Event::Began { .. });
    let began = until.iter().rfind(is_beginning);
    began
        .into_iter()
        .chain(until.last())
        .map(|(at, _)| *at)
        .collect()
}

/// A live switch that may not have ended: its beginning, and all that came of it.
fn switching(past: &[(usize, &Event)]) -> BTreeSet<usize> {
    let begins = |(_, event): &(usize, &Event)| matches!(event, Event::Switching(_));
    let latest = past.iter().rposition(begins).unwrap_or(past.len());
    let since = past.get(latest..).unwrap_or_default().iter();
    let is_of_it = |(_, event): &&(usize, &Event)| {
        matches!(
            event,
            Event::Switching(_) | Event::SwitchedTo | Event::Switched | Event::SwitchedBack(_)
        )
    };
    since.filter(is_of_it).map(|(at, _)| *at).collect()
}

/// Of each closure the latest rejection for a breach of its probation, and that it was watched for long enough.
fn probation(past: &[(usize, &Event)], forgotten: &BTreeSet<PathBuf>) -> BTreeSet<usize> {
    let mut latest = BTreeMap::new();
    for (at, event) in past {
        let (subject, is_breach) = match event {
            Event::Rejected { subject, cause } if cause.stage == Stage::Probation => {
                (subject, true)
            }
            Event::Steady { subject } => (subject, false),
            _ => continue,
        };
        latest.insert((subject.toplevel.as_path(), is_breach), *at);
    }
    latest.retain(|(closure, _), _| !forgotten.contains(*closure));
    latest.into_values().collect()
}

/// What the system's mark is, and whether there were entries without one.
fn marking(past: &[(usize, &Event)]) -> BTreeSet<usize> {
    let is_name = |(_, event): &&(usize, &Event)| matches!(event, Event::Named { .. });
    let first_entries = past.iter().find(|(_, event)| event.leads_to_entries());
    let names = past.iter().find(is_name).into_iter();
    let names = names.chain(past.iter().rfind(is_name));
    names.chain(first_entries).map(|(at, _)| *at).collect()
}

/// As few of `past` as add up to the same, with those that `must` stay, found by trying.
///
/// Runs of events are left out as long as nothing changes by it: twice as many after one that could go, half as many
/// after one that could not.
fn enough(
    past: &[(usize, &Event)],
    must: &BTreeSet<usize>,
    forgotten: &BTreeSet<PathBuf>,
) -> BTreeSet<usize> {
    let add = |state: State, rest: &[(usize, &Event)]| {
        rest.iter()
            .fold(state, |state, (_, event)| state.after(event))
    };
    let wanted = add(State::default(), past);
    let mut chosen = must.clone();
    let mut so_far = State::default();
    let mut rest = past;
    let mut length = 1;
    while let Some(((at, event), others)) = rest.split_first() {
        let run = rest.iter().take(length);
        let run = run.take_while(|(at, _)| !must.contains(at)).count();
        let without_run = rest.get(run..).unwrap_or_default();
        let can_go = || is_same(&add(so_far.clone(), without_run), &wanted, forgotten);
        if run > 0 && can_go() {
            rest = without_run;
            length = length.saturating_mul(2);
        } else if run > 1 {
            length = run / 2;
        } else {
            so_far = so_far.after(event);
            chosen.insert(*at);
            rest = others;
            length = 1;
        }
    }
    chosen
}

/// Whether a state is another one, or knows less of the closures that are to be forgotten: never anything else.
fn is_same(after: &State, before: &State, forgotten: &BTreeSet<PathBuf>) -> bool {
    if forgotten.is_empty() {
        return after == before;
    }
    let mut wanted = before.clone();
    wanted
        .proven
        .retain(|good| !forgotten.contains(&good.subject.toplevel) || after.proven.contains(good));
    wanted.rejected.retain(|closure, rejection| {
        !forgotten.contains(closure) || after.rejected.get(closure) == Some(rejection)
    });
    wanted.furthest.retain(|closure, stage| {
        !forgotten.contains(closure) || after.furthest.get(closure) == Some(stage)
    });
    wanted.suspects.retain(|closure, rejection| {
        !forgotten.contains(closure) || after.suspects.get(closure) == Some(rejection)
    });
    wanted.unwell.retain(|closure, stage| {
        !forgotten.contains(closure) || after.unwell.get(closure) == Some(stage)
    });
    wanted
        .tried_again
        .retain(|closure| !forgotten.contains(closure) || after.tried_again.contains(closure));
    let may_go = |closure: &PathBuf| forgotten.contains(closure);
    let (kept, known) = (&after.probation, &mut wanted.probation);
    known
        .demoted
        .retain(|closure| !may_go(closure) || kept.demoted.contains(closure));
    known
        .steady
        .retain(|closure| !may_go(closure) || kept.steady.contains(closure));
    *after == wanted
}

/// The lines that stay, as a text.
pub(super) fn text_of<'a>(lines: impl Iterator<Item = &'a [u8]>) -> String {
    let ends = iter::repeat(&b"\n"[..]);
    let bytes: Vec<u8> = lines
        .zip(ends)
        .flat_map(|(line, end)| [line, end])
        .flatten()
        .copied()
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
