//! Jobs: what systemd is asked to do with units, and how that ended.
//!
//! A job's result is no unit's state: "done" may be a service that died a moment later, and "failed" one that is started
//! again by itself. Whoever wants to know looks at the units when the jobs are over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use zbus::ObjectPath;

use super::error::{Error, Reason, Refusal};
use super::message::{Body, Call, Incoming, Nonsense};
use super::signal::Signal;
use super::{MANAGER, Manager, OBJECT, names, sendable};

/// A job's number. Jobs that are merged share one; it is kept when systemd is executed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobId(pub u32);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is to be done with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Up, and what it needs before it.
    Start,
    /// Down, and what needs it before it.
    Stop,
    /// Down and up; up also if it was down.
    Restart,
    /// Down and up, if it is up.
    TryRestart,
    /// It reads its configuration anew.
    Reload,
    /// Reload if it can, else restart.
    ReloadOrRestart,
    /// Reload if it can, else restart, and neither if it is down.
    ReloadOrTryRestart,
}

impl Verb {
    fn method(self) -> &'static str {
        match self {
            Self::Start => "StartUnit",
            Self::Stop => "StopUnit",
            Self::Restart => "RestartUnit",
            Self::TryRestart => "TryRestartUnit",
            Self::Reload => "ReloadUnit",
            Self::ReloadOrRestart => "ReloadOrRestartUnit",
            Self::ReloadOrTryRestart => "ReloadOrTryRestartUnit",
        }
    }
}

/// What becomes of jobs that are queued already and contradict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// They are cancelled.
    #[default]
    Replace,
    /// They win, and the call is refused.
    Fail,
    /// They are cancelled, and nothing later may cancel the new ones.
    ReplaceIrreversibly,
    /// What else is up goes down.
    Isolate,
    /// Only this unit, in no order.
    IgnoreDependencies,
    /// Only this unit, in its order: nothing comes up with it.
    IgnoreRequirements,
}

impl Mode {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Fail => "fail",
            Self::ReplaceIrreversibly => "replace-irreversibly",
            Self::Isolate => "isolate",
            Self::IgnoreDependencies => "ignore-dependencies",
            Self::IgnoreRequirements => "ignore-requirements",
        }
    }
}

/// One job that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// What is to be done.
    pub verb: Verb,
    /// With which unit.
    pub unit: &'a str,
    /// What becomes of jobs that contradict.
    pub mode: Mode,
}

impl<'a> Asked<'a> {
    /// In the ordinary mode.
    #[must_use]
    pub fn new(verb: Verb, unit: &'a str) -> Self {
        let mode = Mode::Replace;
        Self { verb, unit, mode }
    }
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobResult {
    /// Done. Of a unit whose condition is false, too.
    Done,
    /// Another job came instead.
    Canceled,
    /// It took longer than the job, not the unit, may take.
    Timeout,
    /// The unit did not get where it was to go; it may be on its way again.
    Failed,
    /// Something it needs did not come up.
    Dependency,
    /// There was nothing to do in this state.
    Skipped,
    /// Another word of systemd's: `invalid`, `assert`, `unsupported`, `collected`, `once`.
    Other(String),
    /// It is over, but nobody heard how: the connection was down at that moment.
    Unheard,
    /// It is not over.
    Pending,
}

impl From<&str> for JobResult {
    fn from(word: &str) -> Self {
        match word {
            "done" => Self::Done,
            "canceled" => Self::Canceled,
            "timeout" => Self::Timeout,
            "failed" => Self::Failed,
            "dependency" => Self::Dependency,
            "skipped" => Self::Skipped,
            word => Self::Other(word.to_owned()),
        }
    }
}

/// The jobs of ours, and what was heard of them.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Asked for, and nobody was told yet how they ended.
    asked: BTreeSet<JobId>,
    ended: BTreeMap<JobId, JobResult>,
    /// Whether all is written down, because a job may be over before its number is known.
    all: bool,
    /// What was told and is kept for somebody who wants to know.
    pub(super) news: VecDeque<Signal>,
    /// Whether anybody does.
    pub(super) listens: bool,
}

/// So much news is kept. A reload tells some hundreds.
const KEPT: usize = 20_000;

impl Book {
    pub(super) fn note(&mut self, signal: Signal) {
        if let Signal::JobRemoved { id, result, .. } = &signal
            && (self.all || self.asked.contains(id))
        {
            self.ended.insert(*id, result.clone());
        }
        // What changes is told once for each kind of property.
        if !self.listens || self.news.back() == Some(&signal) {
            return;
        }
        if self.news.len() >= KEPT {
            self.news.clear();
            self.news.push_back(Signal::Missed);
        }
        self.news.push_back(signal);
    }

    fn has_ended(&self, any: &BTreeSet<JobId>) -> bool {
        any.iter().any(|id| self.ended.contains_key(id))
    }

    fn begin(&mut self) {
        self.all = true;
    }

    /// From now on only `ids`, and those asked for before, matter.
    fn end<'a>(&mut self, ids: impl Iterator<Item = &'a JobId>) {
        self.asked.extend(ids);
        self.all = false;
        let asked = &self.asked;
        self.ended.retain(|id, _| asked.contains(id));
    }
}

/// What became of starts that belong together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Together {
    /// Their jobs.
    pub jobs: BTreeSet<JobId>,
    /// By unit: why it has none.
    pub refused: BTreeMap<String, Refusal>,
}

/// What is waited for, at one moment.
#[derive(Debug)]
pub struct Waiting<'a> {
    /// The jobs that are not over.
    pub open: &'a BTreeSet<JobId>,
    /// Since when, counted from the beginning of the wait.
    pub since: Duration,
}

impl Manager {
    /// Asks for the same of several units, one call each, all sent at once. Gives for each name its job, or why there is
    /// none; the call stands for itself.
    ///
    /// # Errors
    /// When systemd does not answer.
    pub fn enqueue<N: AsRef<str>>(
        &mut self,
        verb: Verb,
        units: &[N],
        mode: Mode,
    ) -> Result<Vec<Result<JobId, Refusal>>, Error> {
        let jobs: Vec<Asked<'_>> = units
            .iter()
            .map(|unit| Asked {
                verb,
                unit: unit.as_ref(),
                mode,
            })
            .collect();
        self.enqueue_each(&jobs)
    }

    /// Asks for each of these in this order, all sent at once: systemd runs no job before it has read them, so that they
    /// meet in its queue and wait for each other as their units say.
    ///
    /// # Errors
    /// When systemd does not answer.
    pub fn enqueue_each(
        &mut self,
        jobs: &[Asked<'_>],
    ) -> Result<Vec<Result<JobId, Refusal>>, Error> {
        let calls = jobs.iter().map(|asked| {
            let body = Body::of(&(sendable(asked.unit), asked.mode.word()))?;
            Ok(manager_call(asked.verb.method(), body))
        });
        self.book.begin();
        let answers = self.ask("jobs of units", self.patience, calls, job);
        self.book.end(answers.iter().flatten().flatten());
        answers
    }

    /// Makes a call that is answered with a job.
    pub(super) fn job_of(&mut self, member: &'static str, body: Body) -> Result<JobId, Error> {
        self.book.begin();
        let answer = self.ask_one(member, self.patience, body, job);
        self.book.end(answer.iter());
        answer
    }

    /// Reboots the machine without stopping its services. It may hang up instead of an answer.
    ///
    /// # Errors
    /// When systemd does not answer.
    pub fn reboot_by_force(&mut self) -> Result<(), Error> {
        match self.ask_one("Reboot", self.patience, Body::default(), |_| Ok(())) {
            Err(Error::Closed { .. }) => Ok(()),
            answer => answer,
        }
    }

    /// Starts units as one ordered set: those that wait for each other do so, whatever the order of their names.
    ///
    /// systemd 262 takes all in one transaction. An older one is asked for each, in a row: it runs no job before it has
    /// read what was sent at once, so that the jobs meet in its queue. So is a newer one that takes none because it
    /// refuses one.
    ///
    /// # Errors
    /// When systemd does not answer.
    pub fn start_together<N: AsRef<str>>(&mut self, units: &[N]) -> Result<Together, Error> {
        // No units are no set: systemd refuses that.
        if self.starts_many && !units.is_empty() {
            match self.start_many(units) {
                Ok(jobs) => {
                    let refused = BTreeMap::new();
                    return Ok(Together { jobs, refused });
                }
                Err(Error::Refused { refusal, .. }) => {
                    self.starts_many = refusal.reason() != Reason::UnknownMethod;
                }
                Err(error) => return Err(error),
            }
        }
        let answers = self.enqueue(Verb::Start, units, Mode::Replace)?;
        let mut together = Together::default();
        for (unit, answer) in units.iter().zip(answers) {
            match answer {
                Ok(id) => {
                    together.jobs.insert(id);
                }
                Err(refusal) => {
                    together.refused.insert(unit.as_ref().to_owned(), refusal);
                }
            }
        }
        Ok(together)
    }

    /// One transaction, since systemd 262.
    fn start_many<N: AsRef<str>>(&mut self, units: &[N]) -> Result<BTreeSet<JobId>, Error> {
        let member = "EnqueueUnitJobMany";
        let names: Vec<&str> = units.iter().map(|unit| sendable(unit.as_ref())).collect();
        let body = Body::of(&(names, "start", Mode::Replace.word(), 0_u64))
            .map_err(|why| Error::Garbled { doing: member, why })?;
        self.book.begin();
        let answer = self.ask_one(member, self.patience, body, |answer| {
            let rows: Vec<Started<'_>> = answer.body()?;
            Ok(rows.iter().map(|row| JobId(row.0)).collect::<BTreeSet<_>>())
        });
        self.book.end(answer.iter().flatten());
        answer
    }

    /// Waits until jobs are over, at the latest until `until`, and gives how each ended. `told` is called at the
    /// beginning, when one is over, and once a second.
    ///
    /// systemd may be executed anew meanwhile.
    ///
    /// # Errors
    /// When the connection is lost and there is no new one, or nonsense is said.
    pub fn wait(
        &mut self,
        jobs: &[JobId],
        until: Instant,
        told: &mut dyn FnMut(&Waiting<'_>),
    ) -> Result<BTreeMap<JobId, JobResult>, Error> {
        let began = Instant::now();
        self.book.asked.extend(jobs);
        let mut open: BTreeSet<JobId> = jobs.iter().copied().collect();
        let mut results = BTreeMap::new();
        // Some may be over since before we listened.
        let mut is_doubtful = true;
        loop {
            self.settle(&mut open, &mut results);
            told(&Waiting {
                open: &open,
                since: began.elapsed(),
            });
            let left = until.saturating_duration_since(Instant::now());
            if open.is_empty() || left.is_zero() {
                break;
            }
            let heard = if is_doubtful {
                self.strike_unknown(&open)
            } else {
                self.hear_jobs(&open, left.min(Duration::from_secs(1)))
            };
            is_doubtful = match heard {
                Ok(()) => false,
                Err(Error::Closed { .. }) => {
                    self.recover(Instant::now() + left.min(self.patience))?;
                    true
                }
                Err(error) => return Err(error),
            };
        }
        // What is not over may be waited for again.
        for id in results.keys() {
            self.book.asked.remove(id);
        }
        results.extend(open.into_iter().map(|id| (id, JobResult::Pending)));
        Ok(results)
    }

    /// Moves what is over from `open` to `results`.
    fn settle(&mut self, open: &mut BTreeSet<JobId>, results: &mut BTreeMap<JobId, JobResult>) {
        open.retain(|id| match self.book.ended.remove(id) {
            Some(result) => {
                results.insert(*id, result);
                false
            }
            None => true,
        });
    }

    /// Writes down as over what systemd does not know any more.
    fn strike_unknown(&mut self, open: &BTreeSet<JobId>) -> Result<(), Error> {
        let known: BTreeSet<JobId> = self.jobs()?.into_iter().map(|job| job.id).collect();
        for id in open.difference(&known) {
            let ended = &mut self.book.ended;
            ended.entry(*id).or_insert(JobResult::Unheard);
        }
        Ok(())
    }

    /// Listens until one of these jobs is over, or for so long.
    fn hear_jobs(&mut self, open: &BTreeSet<JobId>, within: Duration) -> Result<(), Error> {
        let until = Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Some(incoming) = self.connection.signal(left)? else {
                return Ok(());
            };
            self.book.hear(&incoming);
            if self.book.has_ended(open) {
                return Ok(());
            }
        }
    }
}

/// A job's number and object, its unit's name and object, its kind.
type Started<'a> = (u32, ObjectPath<'a>, &'a str, ObjectPath<'a>, &'a str);

/// The job in an answer.
fn job(answer: &Incoming) -> Result<JobId, Nonsense> {
    let path = answer.body::<ObjectPath<'_>>()?;
    let id = names::job_of_path(path.as_str());
    id.map(JobId).ok_or_else(|| format!("{path} is no job"))
}

pub(super) fn manager_call(member: &'static str, body: Body) -> Call {
    Call {
        path: OBJECT.to_owned(),
        interface: MANAGER,
        member,
        body,
    }
}
