//! Watches what was proven, for as long as its configuration asks for. A breach is put on record, and acted upon as after an
//! assessment: what is demoted is demoted on disk first, by `lastgood-fall-back.service`.
//!
//! It may be killed at any time. What was seen is left in `/run`, and the time counts from the first look of this boot. A
//! breach that is on record and was not acted upon is, by whoever watches next.
//!
//! Nothing here is a reason to reboot: whoever watches and cannot goes on, or ends.

use std::path::Path;
use std::time::{Duration, Instant};

use boot_entries::Root;
use libsystemd::daemon::{NotifyState, notify};

use super::check::Checker;
use super::close;
use super::on_record::OnRecord;
use crate::assessment::probation::{Budget, Conduct, Memory, Probation, checks};
use crate::assessment::requirements::Requirements;
use crate::config::checks::Kind;
use crate::config::{self, Health};
use crate::error::Error;
use crate::host::{CURRENT_SYSTEM, LEDGER};
use crate::report::line::one_line;
use crate::session::Session;
use crate::state::cause::{Cause, Stage};
use crate::state::fault::Fault;
use crate::state::{Event, Subject};
use crate::store::handover::Watching;
use crate::system::command_line;
use crate::system::manager::{self, Manager, Mode, Verb};
use crate::system::outside::{Outside, monotonic, name_servers_answer};
use crate::system::pulse::Pulse;
use crate::system::systemd::Systemd;
use crate::view::View;

/// Who acts upon a verdict.
const FALL_BACK: &str = "lastgood-fall-back.service";
/// The least time between two looks, however much is told.
const PAUSE: Duration = Duration::from_secs(1);
/// The most that a machine on which much is told is left alone.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Looking takes at most one part in this many.
const SHARE: u32 = 100;
/// How long nothing is looked at when nothing is told.
const HEARTBEAT: Duration = Duration::from_mins(1);
/// The same while a check runs: nobody tells when it ends.
const CHECKING: Duration = Duration::from_secs(2);
/// How long another run may keep the lock. Then it is tried again at the next look.
const PATIENCE: Duration = Duration::from_mins(1);
/// So many faults are explained.
const EXPLAINED: usize = 10;

/// How the watching ended.
#[derive(Debug)]
pub enum Watched {
    /// There is nothing to watch: what runs was not proven in this boot, was watched for long enough before, or nothing else
    /// is proven.
    Nothing,
    /// It was well for long enough.
    Steady(Subject),
    /// It is left: the machine goes back.
    Demoted(Subject, Cause),
    /// It is not well, and stays.
    Degraded(Subject, Cause),
    /// Something else is to be watched, or nothing: somebody has decided meanwhile.
    Overtaken,
}

/// Watches what runs.
///
/// # Errors
/// When the machine cannot be read. What was seen is kept for whoever is started next.
pub fn watch(root: &Root) -> Result<Watched, Error> {
    if let Err(error) = notify(false, &[NotifyState::Ready]) {
        tracing::debug!("the service manager does not listen: {error}");
    }
    let mut pulse = Pulse::endless();
    pulse.beat();
    let view = View::read(root)?;
    if view.this_boot().is_some() && view.state.is_to_be_left() {
        return act(&view);
    }
    let Some(subject) = to_watch(&view) else {
        return Ok(Watched::Nothing);
    };
    let boot = view.state.boot_id().to_owned();
    let baseline = view.state.baseline().cloned().unwrap_or_default();
    drop(view);
    let health = config::read_or_default(root, &subject.toplevel).health;
    let budget = Budget {
        lasts: health.probation_sec.into(),
        restarts: health.probation_restarts.into(),
        failures: health.probation_failures.into(),
    };
    let kept = kept(root, &boot, &subject);
    let requirements = Requirements::from(&health);
    let checks = checks(&requirements.checks, |name| is_of_outside(&health, name));
    let around = baseline.looks.as_ref().map(|looks| &looks.around);
    let target = command_line::target(root).unwrap_or_default();
    let mut machine = Machine {
        root,
        outside: Outside::of(around),
        checker: Checker::new(root, &subject.toplevel, &health.checks),
        systemd: Systemd::watching(&requirements.units, target.as_deref()),
        ledger: Seen::of(root),
        told: "",
        kept,
    };
    let memory = serde_json::from_value::<Memory>(machine.kept.memory.clone());
    let memory = memory.unwrap_or_default();
    let mut probation = Probation::new(budget, &requirements, &baseline, &checks, memory);
    loop {
        pulse.beat();
        let began = Instant::now();
        if !machine.still_runs(&subject)? {
            return Ok(Watched::Overtaken);
        }
        let conduct = machine.look(&mut probation, &mut pulse);
        let ended = match conduct {
            Conduct::Watched => None,
            Conduct::Passed => passed(root, &subject)?,
            Conduct::Breached { summary, faults } => {
                let cause = machine.cause(summary, faults);
                pulse.beat();
                breached(root, &subject, cause)?
            }
        };
        if let Some(ended) = ended {
            return Ok(ended);
        }
        machine.asks_once();
        let pause = began.elapsed().saturating_mul(SHARE);
        std::thread::sleep(pause.clamp(PAUSE, LONGEST_PAUSE));
        let at = monotonic();
        let longest = if probation.is_checking() {
            CHECKING
        } else {
            HEARTBEAT
        };
        let next = probation.next(at).map(|next| next.saturating_sub(at));
        machine.systemd.wait(next.unwrap_or(longest).min(longest));
    }
}

/// For how long what runs is watched still. None: it is not, or nobody has begun to.
#[must_use]
pub fn left(view: &View) -> Option<Duration> {
    let subject = to_watch(view)?;
    let boot = view.state.boot_id();
    let kept = Watching::read(&view.root, boot, &subject.toplevel).ok()??;
    let began = serde_json::from_value::<Memory>(kept.memory).ok()?.began?;
    let health = config::read(&view.root, &subject.toplevel).ok()?.health;
    let lasts = Duration::from(health.probation_sec);
    Some((began + lasts).saturating_sub(monotonic()))
}

/// What whoever watched before has left, or the beginning.
fn kept(root: &Root, boot: &str, subject: &Subject) -> Watching {
    let left = Watching::read(root, boot, &subject.toplevel).unwrap_or_else(|error| {
        tracing::error!("{}", one_line(&error));
        None
    });
    left.unwrap_or_else(|| Watching {
        boot: boot.to_owned(),
        closure: subject.toplevel.clone(),
        answered: None,
        memory: serde_json::Value::Null,
    })
}

/// What is to be watched on the running machine: nothing where a live switch has put something else in its place.
fn to_watch(view: &View) -> Option<Subject> {
    let subject = view.this_boot().and(view.state.watched())?;
    is_active(&view.root, &subject.toplevel).then(|| subject.clone())
}

/// Who cannot find out takes it for what is active: a boot has begun with it.
fn is_active(root: &Root, toplevel: &Path) -> bool {
    let active = root.canonical(CURRENT_SYSTEM);
    active.map_or(true, |active| active == toplevel)
}

/// Whether a check is about what no generation can do anything about.
fn is_of_outside(health: &Health, name: &str) -> bool {
    let mut checks = health.checks.iter();
    checks.any(|(own, check)| {
        own.as_str() == name
            && matches!(
                check.get_ref().kind,
                Kind::Resolve(_) | Kind::DefaultRoute(_) | Kind::TimeSync
            )
    })
}

/// The ledger as it was seen.
#[derive(Debug, PartialEq, Eq)]
struct Seen(Option<(u64, std::time::SystemTime)>);

impl Seen {
    fn of(root: &Root) -> Self {
        let found = std::fs::metadata(root.join(LEDGER));
        let seen = found.and_then(|found| Ok((found.len(), found.modified()?)));
        Self(seen.ok())
    }
}

struct Machine<'a> {
    root: &'a Root,
    outside: Outside,
    checker: Checker,
    systemd: Systemd,
    ledger: Seen,
    /// The trouble from outside that was told at last.
    told: &'static str,
    kept: Watching,
}

impl Machine<'_> {
    /// Whether `subject` is still what is to be watched. Much may happen in the time: a live switch, the operator's verdict.
    fn still_runs(&mut self, subject: &Subject) -> Result<bool, Error> {
        if !is_active(self.root, &subject.toplevel) {
            return Ok(false);
        }
        let now = Seen::of(self.root);
        if now == self.ledger {
            return Ok(true);
        }
        self.ledger = now;
        let view = View::read(self.root)?;
        Ok(to_watch(&view).as_ref() == Some(subject))
    }

    fn look(&mut self, probation: &mut Probation<'_>, pulse: &mut Pulse) -> Conduct {
        let at = monotonic();
        for (name, ended) in self.checker.ended() {
            probation.ended(&name, at, ended);
        }
        let snapshot = match self.systemd.snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) => {
                tracing::warn!("systemd does not answer: {}", one_line(&error));
                return Conduct::Watched;
            }
        };
        let at = monotonic();
        let trouble = self.outside.trouble();
        self.tell(trouble);
        let mut conduct = probation.observe(at, &snapshot, trouble.is_some());
        if matches!(conduct, Conduct::Breached { .. }) && self.are_deaf() {
            pulse.beat();
            self.tell(Some("no name server answers"));
            conduct = probation.observe(at, &snapshot, true);
        }
        for name in probation.due(at) {
            self.checker.begin(name);
            probation.begun(name, at);
        }
        self.keep(probation.memory());
        conduct
    }

    /// Whether the name servers have answered before, and none does now. It takes seconds, so that it is asked last.
    fn are_deaf(&self) -> bool {
        self.kept.answered == Some(true) && name_servers_answer() == Some(false)
    }

    /// Whether they answer is asked once, after the first look: only those that did can fail.
    fn asks_once(&mut self) {
        if self.kept.answered.is_none() {
            self.kept.answered = Some(name_servers_answer() == Some(true));
            self.leave();
        }
    }

    fn tell(&mut self, trouble: Option<&'static str>) {
        let trouble = trouble.unwrap_or_default();
        if trouble != self.told && !trouble.is_empty() {
            tracing::warn!("{trouble}: what fails for that is held against nobody");
        }
        self.told = trouble;
    }

    fn keep(&mut self, memory: &Memory) {
        let memory = serde_json::to_value(memory).unwrap_or_default();
        if memory == self.kept.memory {
            return;
        }
        self.kept.memory = memory;
        self.leave();
    }

    fn leave(&self) {
        if let Err(error) = self.kept.leave(self.root) {
            tracing::warn!("{}", one_line(&error));
        }
    }

    fn cause(&mut self, summary: String, faults: Vec<Fault>) -> Cause {
        let known = faults.iter().take(EXPLAINED).filter_map(Fault::witness);
        let units = known.map(|unit| self.systemd.failure(&unit)).collect();
        Cause {
            stage: Stage::Probation,
            summary,
            units,
            faults,
        }
    }
}

/// The right to record. None: somebody else has it, and it is tried again.
fn session(root: &Root) -> Option<Session> {
    match Session::open_at_boot_within(root, PATIENCE) {
        Ok(session) => Some(session).filter(|session| session.view.this_boot().is_some()),
        Err(error) => {
            tracing::error!("{}; it is tried again", one_line(&error));
            None
        }
    }
}

/// The time is over. None: that could not be recorded yet.
fn passed(root: &Root, subject: &Subject) -> Result<Option<Watched>, Error> {
    let Some(mut session) = session(root) else {
        return Ok(None);
    };
    if session.state().watched() != Some(subject) {
        return Ok(Some(Watched::Overtaken));
    }
    let subject = subject.clone();
    session.record(&Event::Steady {
        subject: subject.clone(),
    })?;
    drop(session);
    // A suspect may have waited for that.
    close::close(root);
    Ok(Some(Watched::Steady(subject)))
}

/// It was not well. None: that could not be recorded yet.
fn breached(root: &Root, subject: &Subject, cause: Cause) -> Result<Option<Watched>, Error> {
    let Some(mut session) = session(root) else {
        return Ok(None);
    };
    let events = session.state().found_unsteady(subject, &cause);
    if events.is_empty() {
        return Ok(Some(Watched::Overtaken));
    }
    for event in &events {
        session.record(event)?;
    }
    if session.state().is_to_be_left() {
        return act(&session.view).map(Some);
    }
    // Somebody may be excused by it.
    OnRecord::already().carry_through(&session).tell();
    drop(session);
    close::close(root);
    Ok(Some(Watched::Degraded(subject.clone(), cause)))
}

/// What is on record is acted upon, by a unit of its own.
fn act(view: &View) -> Result<Watched, Error> {
    let running = view.running();
    let rejection = running.and_then(|running| view.state.rejected.get(&running.toplevel));
    let Some(rejection) = rejection else {
        return Ok(Watched::Overtaken);
    };
    start_fall_back()?;
    let (subject, cause) = (rejection.subject.clone(), rejection.cause.clone());
    Ok(Watched::Demoted(subject, cause))
}

fn start_fall_back() -> Result<(), manager::Error> {
    let mut manager = Manager::system(manager::PATIENCE)?;
    let answers = manager.enqueue(Verb::Start, &[FALL_BACK], Mode::Replace)?;
    let doing = "starting the unit that goes back";
    for answer in answers {
        answer.map_err(|refusal| manager::Error::Refused { doing, refusal })?;
    }
    Ok(())
}
