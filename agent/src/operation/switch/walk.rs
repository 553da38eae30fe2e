//! A plan is carried out: what is asked of PID 1, and in which order. Whether it has come to what was intended is for
//! [`super::judge`] to see: a job's result is a word, and a unit's state is what counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::dead_man::manager_now;
use super::said::Speaker;
use crate::error::Error;
use crate::switch::late::late;
use crate::switch::plan::{Intent, Job, Plan, Reasons, Step};
use crate::system::manager::{Asked, JobId, JobResult, Manager, Mode, Verb, Waiting, Wanted};

/// How long a oneshot in its start may hold back the reload.
const HOLD_BACK: Duration = Duration::from_secs(30);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// What was asked for and not granted, or did not end well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Troubles {
    /// By unit, in a few words. Its state decides what that means.
    pub(super) words: BTreeMap<String, String>,
    /// Units whose reload failed: no state shows that.
    pub(super) not_reloaded: BTreeSet<String>,
}

/// The result of a job for a unit of a kind that systemd does not have on this machine.
pub(super) const UNSUPPORTED: &str = "unsupported";

/// Who walks, and until when.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    /// Whom to ask.
    pub(super) manager: &'a mut Manager,
    /// Where it is told.
    pub(super) speaker: &'a mut Speaker,
    /// Jobs that are not over by then go on by themselves.
    pub(super) until: Instant,
    /// What did not go as it was to go.
    pub(super) troubles: Troubles,
    /// When systemd had read the new definitions, by its own clock.
    reloaded: Option<u64>,
}

impl<'a> Walk<'a> {
    /// Nothing is done yet.
    pub(super) fn new(manager: &'a mut Manager, speaker: &'a mut Speaker, until: Instant) -> Self {
        Self {
            manager,
            speaker,
            until,
            troubles: Troubles::default(),
            reloaded: None,
        }
    }
}

impl Walk<'_> {
    /// Waits for those who would lose the rest of their commands by a reload.
    ///
    /// # Errors
    /// When PID 1 does not answer.
    pub(super) fn hold_back(&mut self, for_whom: &Reasons) -> Result<(), Error> {
        let began = Instant::now();
        let until = self.until.min(began + HOLD_BACK);
        let names: Vec<&String> = for_whom.keys().collect();
        loop {
            let states = self
                .manager
                .properties(&names, &[Wanted::unit("ActiveState")])?;
            let is_busy =
                |answer: &Result<_, _>| matches!(answer, Ok(one) if active(one) == "activating");
            let busy: Vec<&str> = names
                .iter()
                .zip(&states)
                .filter(|(_, answer)| is_busy(answer))
                .map(|(name, _)| name.as_str())
                .collect();
            if busy.is_empty() {
                return Ok(());
            }
            let busy = busy.join(", ");
            if Instant::now() >= until {
                self.speaker.warn(format!(
                    "reloading systemd although {busy} has not ended its start: what is left of its commands is skipped"
                ));
                return Ok(());
            }
            let what = format!("waiting for {busy} before systemd is reloaded");
            self.speaker.waiting(&what, began.elapsed());
            std::thread::sleep(LOOK);
        }
    }

    /// Stops what is to be stopped. All of it is down before anything else is done.
    ///
    /// # Errors
    /// When PID 1 does not answer.
    pub(super) fn stop(&mut self, plan: &Plan) -> Result<(), Error> {
        let names: Vec<&String> = plan.stop.keys().collect();
        let jobs: Vec<Asked<'_>> = names
            .iter()
            .map(|name| Asked::new(Verb::Stop, name))
            .collect();
        self.all(&jobs)?;
        self.told_of_force(plan)?;
        self.down(&plan.disturbed)?;
        for device in plan.swap_off.keys() {
            if let Err(error) = super::swaps::off(device) {
                self.speaker.warn(format!("{device} stays in use: {error}"));
            }
        }
        Ok(())
    }

    /// Says which stops were no orderly ones: systemd calls each of them done. Of one that is gone that is all that anybody
    /// will hear, so it is not left behind as failed.
    fn told_of_force(&mut self, plan: &Plan) -> Result<(), Error> {
        let was_well = |name: &&String| !plan.failing_before.contains_key(*name);
        let names: Vec<&String> = plan.stop.keys().filter(was_well).collect();
        let wanted = [Wanted::unit("ActiveState"), Wanted::kind("Result")];
        let answers = self.manager.properties(&names, &wanted)?;
        for (name, answer) in names.into_iter().zip(answers) {
            let Ok(answer) = answer else {
                continue;
            };
            if active(&answer) != "failed" {
                continue;
            }
            let result = answer.text("Result");
            self.speaker
                .warn(format!("{name} did not stop in order: {result}"));
            if plan.intended.get(name) == Some(&Intent::Down) {
                self.forget(name)?;
            }
        }
        Ok(())
    }

    /// Forgets that a unit has failed.
    fn forget(&mut self, unit: &str) -> Result<(), Error> {
        match self.manager.reset_failed(unit) {
            // There is nothing to forget of it.
            Ok(()) | Err(crate::system::manager::Error::Refused { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for those who go down with others: a start that overtakes a stop leaves the old process where it is.
    fn down(&mut self, units: &Reasons) -> Result<(), Error> {
        let names: Vec<&String> = units.keys().collect();
        let began = Instant::now();
        loop {
            let wanted = [Wanted::unit("ActiveState")];
            let states = self.manager.properties(&names, &wanted)?;
            let is_busy =
                |answer: &Result<_, _>| matches!(answer, Ok(one) if active(one) == "deactivating");
            let busy = names
                .iter()
                .zip(&states)
                .filter(|(_, answer)| is_busy(answer));
            let busy: Vec<&str> = busy.map(|(name, _)| name.as_str()).collect();
            if busy.is_empty() || Instant::now() >= self.until {
                return Ok(());
            }
            let what = format!("waiting for {} to stop", busy.join(", "));
            self.speaker.waiting(&what, began.elapsed());
            std::thread::sleep(LOOK);
        }
    }

    /// Has PID 1 read the new definitions.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) fn reload(&mut self, plan: &Plan) -> Result<(), Error> {
        self.hold_back(&plan.hold_back)?;
        if plan.reexecute.is_some() {
            self.manager.reexecute()?;
        }
        self.manager.reload()?;
        self.reloaded = Some(manager_now());
        Ok(())
    }

    /// Reloads, restarts and starts.
    ///
    /// # Errors
    /// When PID 1 does not answer.
    pub(super) fn up(&mut self, plan: &Plan) -> Result<(), Error> {
        if let Some(target) = &plan.reactivate {
            self.all(&[Asked::new(Verb::Restart, target)])?;
        }
        for unit in &plan.reset_failed {
            self.forget(unit)?;
        }
        self.reloads(&plan.reload)?;
        let jobs: Vec<Asked<'_>> = plan.up.iter().map(asked).collect();
        self.all(&jobs)?;
        for step in &plan.last {
            self.all(&[asked(step)])?;
        }
        Ok(())
    }

    /// Those that are down by now have read their new definition when they are started.
    fn reloads(&mut self, units: &Reasons) -> Result<(), Error> {
        let names: Vec<&String> = units.keys().collect();
        let states = self
            .manager
            .properties(&names, &[Wanted::unit("ActiveState")])?;
        let verb = |answer: &Result<_, _>| match answer {
            Ok(state) if matches!(active(state), "active" | "reloading") => Verb::ReloadOrRestart,
            _ => Verb::Start,
        };
        let jobs: Vec<Asked<'_>> = names
            .iter()
            .zip(&states)
            .map(|(name, answer)| Asked::new(verb(answer), name))
            .collect();
        self.all(&jobs)?;
        let reloads = jobs.iter().filter(|job| job.verb == Verb::ReloadOrRestart);
        let failed = reloads.filter(|job| {
            let word = self.troubles.words.get(job.unit);
            word.is_some_and(|word| word == FAILED || word == TIMEOUT)
        });
        self.troubles.not_reloaded = failed.map(|job| job.unit.to_owned()).collect();
        Ok(())
    }

    /// Restarts what something has started from its old definition between its stop and the reload. Where there was no
    /// reload there is no new definition.
    ///
    /// # Errors
    /// When PID 1 does not answer.
    pub(super) fn restart_late(&mut self, plan: &Plan) -> Result<(), Error> {
        let Some(reloaded) = self.reloaded else {
            return Ok(());
        };
        let late = late(plan, &self.started(plan)?, reloaded);
        if late.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = late.iter().map(String::as_str).collect();
        self.speaker.line(format!(
            "restarting {}: started in the middle from the old definition",
            names.join(", ")
        ));
        let jobs: Vec<Asked<'_>> = late
            .iter()
            .map(|name| Asked::new(Verb::TryRestart, name))
            .collect();
        self.all(&jobs)
    }

    /// Since when the units run that were to be stopped, or to be left down.
    fn started(&mut self, plan: &Plan) -> Result<BTreeMap<String, u64>, Error> {
        let names: Vec<&String> = plan.stop.keys().chain(&plan.dormant).collect();
        let wanted = [
            Wanted::unit("ActiveState"),
            Wanted::unit("InactiveExitTimestampMonotonic"),
        ];
        let answers = self.manager.properties(&names, &wanted)?;
        let since = names.into_iter().zip(answers).filter_map(|(name, answer)| {
            let answer = answer.ok()?;
            let is_up = matches!(active(&answer), "active" | "activating" | "reloading");
            let since = answer.number("InactiveExitTimestampMonotonic")?;
            is_up.then(|| (name.clone(), since))
        });
        Ok(since.collect())
    }

    /// Asks for all of it at once, and waits until it is over.
    fn all(&mut self, jobs: &[Asked<'_>]) -> Result<(), Error> {
        if jobs.is_empty() {
            return Ok(());
        }
        let answers = self.manager.enqueue_each(jobs)?;
        let mut units: BTreeMap<JobId, BTreeSet<&str>> = BTreeMap::new();
        for (Asked { verb, unit, .. }, answer) in jobs.iter().zip(answers) {
            match answer {
                Ok(id) => {
                    units.entry(id).or_default().insert(unit);
                }
                // What is gone or was never there is down.
                Err(refusal) if *verb == Verb::Stop && is_gone(&refusal) => {}
                Err(refusal) => {
                    self.troubles
                        .words
                        .insert((*unit).to_owned(), refusal.to_string());
                }
            }
        }
        let ids: Vec<JobId> = units.keys().copied().collect();
        let speaker = &mut *self.speaker;
        let results = self.manager.wait(&ids, self.until, &mut |waiting| {
            if let Some(what) = words(waiting, &units) {
                speaker.waiting(&what, waiting.since);
            }
        })?;
        for (id, result) in results {
            let Some(word) = trouble(&result) else {
                continue;
            };
            for unit in units.get(&id).into_iter().flatten() {
                let unit = (*unit).to_owned();
                self.troubles.words.insert(unit, word.to_owned());
            }
        }
        Ok(())
    }
}

fn active(state: &crate::system::manager::Properties) -> &str {
    state.text("ActiveState")
}

fn is_gone(refusal: &crate::system::manager::Refusal) -> bool {
    refusal.reason() == crate::system::manager::Reason::NoSuchUnit
}

/// What a step asks for.
pub(super) fn asked(step: &Step) -> Asked<'_> {
    let (verb, mode) = match step.job {
        Job::Stop => (Verb::Stop, Mode::Replace),
        Job::Start => (Verb::Start, Mode::Replace),
        Job::StartAlone => (Verb::Start, Mode::IgnoreRequirements),
        Job::Restart => (Verb::Restart, Mode::Replace),
    };
    Asked {
        verb,
        unit: &step.unit,
        mode,
    }
}

/// A job that failed.
const FAILED: &str = "it failed";
/// One that systemd gave up.
const TIMEOUT: &str = "its job took too long";

/// A result that calls for a look. The state of the unit decides.
fn trouble(result: &JobResult) -> Option<&str> {
    match result {
        JobResult::Done | JobResult::Unheard | JobResult::Skipped => None,
        JobResult::Canceled => Some("another job came instead"),
        JobResult::Timeout => Some(TIMEOUT),
        JobResult::Failed => Some(FAILED),
        JobResult::Dependency => Some("something it needs did not come up"),
        JobResult::Pending => Some("it is still on its way"),
        JobResult::Other(word) => Some(word),
    }
}

/// No more are named.
const NAMED: usize = 3;
/// Before that nobody wonders.
const SHORT: Duration = Duration::from_secs(1);

/// What is being waited for, once it takes long.
fn words(waiting: &Waiting<'_>, units: &BTreeMap<JobId, BTreeSet<&str>>) -> Option<String> {
    if waiting.since < SHORT || waiting.open.is_empty() {
        return None;
    }
    let all: Vec<&str> = waiting
        .open
        .iter()
        .filter_map(|id| units.get(id))
        .flatten()
        .copied()
        .collect();
    let named = all
        .iter()
        .take(NAMED)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    let more = all.len().saturating_sub(NAMED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    Some(format!("waiting for {named}{more}"))
}
