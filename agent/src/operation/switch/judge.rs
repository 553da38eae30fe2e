//! Has a switch come to what was intended, and does it stay so? Looked at, not told: a job that was "done" may be a
//! service that died a moment later, and one that "failed" may be up again a second after.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use boot_entries::Root;

use super::checks::{self, Held, Looked, Tried};
use super::listeners::Expected;
use super::news::Known;
use super::said::Speaker;
use super::walk::{Troubles, UNSUPPORTED};
use crate::config;
use crate::error::Error;
use crate::host::full_name;
use crate::state::cause::UnitFailure;
use crate::switch::plan::Intent;
use crate::system::manager::{Manager, Properties, Queued, Wanted};

/// How long something may take, as the closure says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standard {
    /// For so long everything must be as it was intended: a service that dies a second after its start is seen.
    pub(super) settle: Duration,
    /// For so long a unit may be on its way. Then it is named as waiting, and not held against the switch.
    pub(super) patience: Duration,
    /// Units whose failure is told, and held against nobody.
    pub(super) wanted: BTreeSet<String>,
    /// Units that must be active, touched or not.
    pub(super) required: BTreeSet<String>,
    /// What is tried on the machine when the units are up.
    pub(super) checks: Held,
}

impl Standard {
    /// What `closure` asks for.
    pub(super) fn of(root: &Root, closure: &Path) -> Self {
        let config = config::read_or_default(root, closure);
        let names = |names: &[String]| names.iter().map(|name| full_name(name)).collect();
        Self {
            settle: config.switch.settle_sec.into(),
            patience: config.switch.patience_sec.into(),
            wanted: names(&config.health.wanted_units),
            required: names(&config.health.required_units),
            checks: Held::to(closure, &config.health.checks),
        }
    }
}

/// How often it is looked, at least.
const LOOK: Duration = Duration::from_millis(250);

/// What is asked of each unit.
pub(super) const PROPERTIES: [Wanted<'static>; 12] = [
    Wanted::unit("LoadState"),
    Wanted::unit("ActiveState"),
    Wanted::unit("SubState"),
    Wanted::unit("ConditionResult"),
    Wanted::unit("ConditionTimestampMonotonic"),
    Wanted::unit("InvocationID"),
    Wanted::kind("Result"),
    Wanted::kind("NRestarts"),
    Wanted::kind("Type"),
    Wanted::kind("Restart"),
    Wanted::kind("ExecMainCode"),
    Wanted::kind("ExecMainStatus"),
];

/// `CLD_EXITED` of waitid(2): the process ended by itself.
const EXITED: u64 = 1;

/// A unit, as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Now {
    pub(super) load: String,
    pub(super) active: String,
    pub(super) sub: String,
    pub(super) result: String,
    pub(super) kind: String,
    pub(super) restarts: u64,
    pub(super) invocation: String,
    /// Its condition was asked, and was false.
    pub(super) is_skipped: bool,
    /// Its process came to a good end by itself, and nothing starts it again: a script, say.
    pub(super) is_done: bool,
    /// Its process came to a good end by itself, and it is to be started again after a while.
    pub(super) waits_well: bool,
}

impl Now {
    /// What systemd says of it.
    pub(super) fn of(answer: &Properties) -> Self {
        let was_asked = answer.number("ConditionTimestampMonotonic").unwrap_or(0) > 0;
        let has_ended_well = answer.number("ExecMainCode") == Some(EXITED)
            && answer.number("ExecMainStatus") == Some(0);
        let sub = answer.text("SubState");
        Self {
            load: answer.text("LoadState").to_owned(),
            active: answer.text("ActiveState").to_owned(),
            sub: sub.to_owned(),
            result: answer.text("Result").to_owned(),
            kind: answer.text("Type").to_owned(),
            restarts: answer.number("NRestarts").unwrap_or(0),
            invocation: answer.id("InvocationID"),
            is_done: has_ended_well && answer.text("Restart") == "no",
            waits_well: has_ended_well
                && sub.starts_with("auto-restart")
                && answer.text("Result") == "success",
            is_skipped: was_asked && answer.flag("ConditionResult") == Some(false),
        }
    }
}

/// What is to be thought of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is as intended.
    Well,
    /// It may still come to that.
    OnItsWay,
    /// It is not, in a few words.
    Not(String),
}

/// What is to be thought of a unit that is `now` so, was `before` so when it was first seen after its start, and is
/// intended to be in that state. Pure.
pub(super) fn verdict(intent: Intent, now: &Now, before: Option<&Now>) -> Verdict {
    let is_dead = matches!(now.active.as_str(), "inactive" | "failed");
    let not = |word: &str| Verdict::Not(word.to_owned());
    // It has died and was started again since it was first seen.
    let is_flapping = before.is_some_and(|before| {
        now.restarts > before.restarts
            || (before.active == "active" && now.sub.starts_with("auto-restart"))
    });
    match (intent, now.active.as_str()) {
        (Intent::Down, "deactivating") => Verdict::OnItsWay,
        (Intent::Down, state) if !is_dead => {
            Verdict::Not(format!("it is {state}, and was to be stopped"))
        }
        (Intent::Either, "failed") => not("it failed"),
        (Intent::Down | Intent::Either, _) => Verdict::Well,
        (Intent::Up | Intent::Ran, _) if now.waits_well => Verdict::Well,
        (Intent::Up | Intent::Ran, _) => is_up(intent, now, is_flapping),
    }
}

/// [`verdict`] on one that is to run, or to have run.
fn is_up(intent: Intent, now: &Now, is_flapping: bool) -> Verdict {
    let not = |word: &str| Verdict::Not(word.to_owned());
    let is_failed = now.active == "failed" || !matches!(now.result.as_str(), "success" | "");
    // A condition that is false is the closure's own wish. A oneshot may have run to its end.
    let may_be_down =
        now.is_skipped || now.is_done || intent == Intent::Ran || now.kind == "oneshot";
    match now.active.as_str() {
        _ if is_flapping => not("it ended and was started again"),
        "active" | "reloading" | "refreshing" => Verdict::Well,
        _ if now.sub.starts_with("auto-restart") => not("it ended, and waits to be started again"),
        "activating" | "deactivating" => Verdict::OnItsWay,
        _ if is_failed => Verdict::Not(format!("it failed ({})", now.result)),
        _ if may_be_down && now.load != "not-found" => Verdict::Well,
        state if now.load == "loaded" => Verdict::Not(format!("it is {state}")),
        _ => Verdict::Not(format!("it is {}", now.load)),
    }
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Judged {
    /// Not as intended, in a few words each.
    pub(super) failed: BTreeMap<String, String>,
    /// Not as intended either, and wanted only.
    pub(super) told: BTreeMap<String, String>,
    /// Not as intended, because systemd has no such unit on this machine: a swap device in a container, say.
    pub(super) impossible: BTreeSet<String>,
    /// Still on their way.
    pub(super) waiting: BTreeSet<String>,
    /// Nobody listens there any more, and somebody should: with the unit it was.
    pub(super) silent: BTreeMap<SocketAddr, String>,
    /// What came of the checks.
    pub(super) checks: Looked,
    /// What is known about those that failed.
    pub(super) details: Vec<UnitFailure>,
}

impl Judged {
    /// What is to be thought of each unit that is intended to be in a state. Gives those that are down.
    fn units(
        &mut self,
        intended: &BTreeMap<String, Intent>,
        known: &Known,
        troubles: &Troubles,
        first: &mut BTreeMap<String, Now>,
    ) -> BTreeSet<String> {
        let mut down = BTreeSet::new();
        for (name, intent) in intended {
            let now = match known.units.get(name) {
                Some(Ok(now)) => now,
                Some(Err(refusal)) if *intent == Intent::Down => {
                    tracing::debug!("{name}: {refusal}");
                    continue;
                }
                Some(Err(refusal)) => {
                    self.failed.insert(name.clone(), refusal.to_string());
                    continue;
                }
                // All have been asked about.
                None => continue,
            };
            if now.active == "inactive" {
                down.insert(name.clone());
            }
            let of_state = verdict(*intent, now, first.get(name));
            // It runs by its old settings. systemd says of it that it is active, as it was.
            let of_reload = troubles.not_reloaded.contains(name) && of_state == Verdict::Well;
            let verdict = if of_reload {
                Verdict::Not("its reload failed".to_owned())
            } else {
                of_state
            };
            match verdict {
                Verdict::Well => {
                    first.entry(name.clone()).or_insert_with(|| now.clone());
                }
                Verdict::OnItsWay => {
                    self.waiting.insert(name.clone());
                }
                Verdict::Not(why) => {
                    let why = match troubles.words.get(name) {
                        Some(trouble) if !why.contains("failed") => format!("{why}: {trouble}"),
                        _ => why,
                    };
                    self.failed.insert(name.clone(), why);
                }
            }
        }
        down
    }

    /// What is down and has a start before it waits for its turn, behind a unit that is still on its way: nothing is wrong
    /// with it.
    fn queued(&mut self, down: &BTreeSet<String>, jobs: &[Queued]) {
        let starts = jobs
            .iter()
            .filter(|job| matches!(job.kind.as_str(), "start" | "restart"));
        let units: BTreeSet<&str> = starts.map(|job| job.unit.as_str()).collect();
        let is_queued = |name: &String| down.contains(name) && units.contains(name.as_str());
        let waiting = self.failed.extract_if(.., |name, _| is_queued(name));
        self.waiting.extend(waiting.map(|(name, _)| name));
    }
}

impl Judged {
    /// Whether nothing is wrong.
    pub(super) fn is_well(&self) -> bool {
        self.failed.is_empty() && self.silent.is_empty() && self.checks.failed.is_empty()
    }

    /// What is not well, or may still come to that: a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let failed = self
            .failed
            .iter()
            .map(|(unit, why)| format!("{unit}: {why}"));
        let waiting = self.waiting.iter();
        let waiting = waiting.map(|unit| format!("{unit}: it is still on its way"));
        let checks = self.checks.failed.iter();
        let checks = checks.map(|(name, words)| format!("check {name} {words}"));
        failed.chain(waiting).chain(checks).collect()
    }
}

/// Looks until everything is as intended and has stayed so, or something is not. What is still on its way at `patience`
/// is not waited for any longer.
///
/// # Errors
/// When PID 1 does not answer.
pub(super) fn watch(
    root: &Root,
    (manager, speaker): (&mut Manager, &mut Speaker),
    (intended, troubles): (&BTreeMap<String, Intent>, &Troubles),
    (standard, listening): (&Standard, &Expected),
    patience: Instant,
) -> Result<Judged, Error> {
    // Where no unit was touched there is nothing that could still turn out badly.
    let is_touched = !intended.is_empty();
    let mut tried = Tried::new(root, &standard.checks, standard.patience);
    let mut intended = intended.clone();
    for unit in &standard.required {
        intended.entry(unit.clone()).or_insert(Intent::Up);
    }
    let began = Instant::now();
    let mut known = Known::default();
    let mut first: BTreeMap<String, Now> = BTreeMap::new();
    let mut well_since: Option<Instant> = None;
    let mut bad_since: Option<Instant> = None;
    manager.listen();
    loop {
        tried.listen();
        known.look(manager, &intended)?;
        let mut judged = Judged::default();
        let down = judged.units(&intended, &known, troubles, &mut first);
        if !judged.failed.is_empty() {
            judged.queued(&down, &manager.jobs()?);
        }
        judged.impossible = judged
            .failed
            .extract_if(.., |name, _| {
                let word = troubles.words.get(name);
                !standard.required.contains(name) && word.is_some_and(|word| word == UNSUPPORTED)
            })
            .map(|(name, _)| name)
            .collect();
        judged.told = judged
            .failed
            .extract_if(.., |name, _| standard.wanted.contains(name))
            .collect();
        judged.silent = listening.missing();
        let at = Instant::now();
        let is_late = at >= patience;
        let is_bad = !judged.failed.is_empty() || !judged.silent.is_empty();
        let are_up = !is_bad && (judged.waiting.is_empty() || is_late);
        judged.checks = tried.look(
            are_up,
            well_since.is_none_or(|since| at.duration_since(since) < standard.settle),
        );
        let is_bad = is_bad || !judged.checks.failed.is_empty();
        bad_since = is_bad.then(|| bad_since.unwrap_or(at));
        let lasted = |since: Option<Instant>| {
            since.is_some_and(|since| at.duration_since(since) >= standard.settle)
        };
        // A check that failed has been tried often enough.
        if lasted(bad_since) || !judged.checks.failed.is_empty() {
            judged.details = checks::details(&judged.checks.failed);
            return Ok(judged);
        }
        let is_well = are_up && judged.checks.waiting.is_empty();
        well_since = is_well.then(|| well_since.unwrap_or(at));
        let is_settled = lasted(well_since) || (!is_touched && is_well);
        if is_settled && !tried.is_running() {
            return Ok(judged);
        }
        if !judged.waiting.is_empty() || !judged.checks.waiting.is_empty() {
            let checks = judged.checks.waiting.keys();
            let names = judged.waiting.iter().cloned();
            let names: Vec<String> = names
                .chain(checks.map(|name| format!("check {name}")))
                .collect();
            speaker.waiting(
                &format!("waiting for {}", names.join(", ")),
                at.duration_since(began),
            );
        }
        let next = [well_since, bad_since]
            .into_iter()
            .flatten()
            .map(|since| since + standard.settle)
            .min();
        let left = next.map_or(LOOK, |next| next.saturating_duration_since(at));
        known.wait(manager, at + left.min(LOOK), &intended)?;
    }
}

#[cfg(test)]
mod tests;
