//! Runs checks, each as a transient unit of PID 1's: systemd ends all that a run has started when its time is up, the run
//! has the network and the rights that whoever judges has not, and what it writes is in the journal under its unit.
//!
//! Nothing here waits for a run to end, and a run outlives whoever began it by no more than its own time.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::manager::value::End;
use super::manager::{
    Error, JobId, JobResult, Manager, Mode, Properties, Reason, Setting, Verb, Wanted,
};

/// How long an answer of PID 1's may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a run that is told to end may take for it. Then it is killed.
const GRACE: Duration = Duration::from_secs(1);
/// For so long PID 1 is listened to when it is asked how runs ended.
const LISTEN: Duration = Duration::from_millis(1);

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The check's name.
    pub name: String,
    /// The unit in which it is run.
    pub unit: String,
    /// The program by its absolute path, and its arguments.
    pub words: Vec<String>,
    /// Who runs it. None: root.
    pub user: Option<String>,
    /// Its environment, `NAME=VALUE` each, beside what systemd gives to all.
    pub environment: Vec<String>,
    /// When it is ended.
    pub timeout: Duration,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Well.
    Passed,
    /// Badly.
    Failed(Failure),
    /// Nobody knows: somebody stopped it, or systemd could not be asked. That is no word about the machine.
    Lost(String),
}

/// How a run failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Its program ended with this status.
    Status(i32),
    /// Its program was killed by this signal.
    Signal(i32),
    /// It took too long, and was ended with all that it had started.
    Late(Duration),
    /// systemd does not start it; its words.
    Refused(String),
    /// As systemd says it in one word.
    Other(String),
}

/// In half a sentence, for people.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // systemd.exec(5), "Process Exit Codes".
            Self::Status(203) => f.write_str("its program cannot be run (exit status 203)"),
            Self::Status(217) => f.write_str("its user is not known (exit status 217)"),
            Self::Status(status) => write!(f, "exit status {status}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::Late(timeout) => write!(f, "ended after {} s", timeout.as_secs()),
            Self::Refused(words) => write!(f, "systemd does not start it: {words}"),
            Self::Other(word) => f.write_str(word),
        }
    }
}

/// What is asked of a run's unit that did not end well.
const WANTED: [Wanted<'static>; 4] = [
    Wanted::unit("ActiveState"),
    Wanted::kind("Result"),
    Wanted::kind("ExecMainCode"),
    Wanted::kind("ExecMainStatus"),
];

/// How a run ended, from the state of its unit after a job that was not simply done. None: it is still running.
fn ended(answer: &Properties, timeout: Duration) -> Option<Ended> {
    let number = |name| answer.number(name).unwrap_or_default();
    let end = End::of(number("ExecMainCode"), number("ExecMainStatus"));
    match (answer.text("ActiveState"), answer.text("Result"), end) {
        ("activating" | "deactivating" | "active" | "reloading", ..) => None,
        ("failed", "timeout", _) => Some(Ended::Failed(Failure::Late(timeout))),
        ("failed", "exit-code", End::Exited(status)) => {
            Some(Ended::Failed(Failure::Status(status)))
        }
        ("failed", "signal" | "core-dump", End::Killed(signal)) => {
            Some(Ended::Failed(Failure::Signal(signal)))
        }
        ("failed", result, _) => Some(Ended::Failed(Failure::Other(result.to_owned()))),
        _ => Some(Ended::Lost("it was stopped".to_owned())),
    }
}

/// The runs that are under way.
#[derive(Debug, Default)]
pub struct Runner {
    manager: Option<Manager>,
    running: BTreeMap<String, Running>,
    /// Those that never began.
    stillborn: Vec<(String, Ended)>,
    /// Units that may be left in memory because they failed.
    left: Vec<String>,
}

#[derive(Debug)]
struct Running {
    unit: String,
    job: JobId,
    timeout: Duration,
}

impl Runner {
    /// Begins a run. How it ended is told later, also if it could not begin.
    pub fn begin(&mut self, run: &Run) {
        match self.start(run) {
            Ok(job) => {
                let running = Running {
                    unit: run.unit.clone(),
                    job,
                    timeout: run.timeout,
                };
                self.running.insert(run.name.clone(), running);
            }
            Err(error) => self.stillborn.push((run.name.clone(), not_begun(&error))),
        }
    }

    /// Those that have ended since this was asked last, and how.
    pub fn ended(&mut self) -> Vec<(String, Ended)> {
        let mut all = std::mem::take(&mut self.stillborn);
        if self.running.is_empty() {
            return all;
        }
        match self.look() {
            Ok(ended) => all.extend(ended),
            // What becomes of them is not known, and they end by themselves.
            Err(error) => {
                self.manager = None;
                let lost = std::mem::take(&mut self.running).into_keys();
                all.extend(lost.map(|name| (name, Ended::Lost(error.to_string()))));
            }
        }
        all
    }

    /// Ends all that are under way, and has systemd forget those that failed.
    pub fn end(&mut self) {
        let running = std::mem::take(&mut self.running).into_values();
        let units: Vec<String> = running.map(|one| one.unit).collect();
        let mut left = std::mem::take(&mut self.left);
        left.retain(|unit| !units.contains(unit));
        if units.is_empty() && left.is_empty() {
            return;
        }
        let ended = self.with(|manager| {
            let jobs = manager.enqueue(Verb::Stop, &units, Mode::Replace)?;
            let jobs: Vec<JobId> = jobs.into_iter().flatten().collect();
            manager.wait(&jobs, Instant::now() + GRACE * 3, &mut |_| {})?;
            // A run that was ended by a signal counts as failed.
            for unit in units.iter().chain(&left) {
                forget(manager, unit)?;
            }
            Ok(())
        });
        if let Err(error) = ended {
            tracing::warn!("checks that are under way end by themselves: {error}");
        }
    }

    fn start(&mut self, run: &Run) -> Result<JobId, Error> {
        let unit = run.unit.clone();
        let settings = settings(run);
        let job = self.with(|manager| {
            forget(manager, &unit)?;
            let asked = manager.start_transient(&unit, Mode::Fail, &settings, &[]);
            if let Err(Error::Refused { refusal, .. }) = &asked
                && refusal.reason() == Reason::Exists
            {
                // One that somebody left running.
                manager.enqueue(Verb::Stop, &[&unit], Mode::Replace)?;
            }
            asked
        })?;
        if !self.left.contains(&unit) {
            self.left.push(unit);
        }
        Ok(job)
    }

    fn look(&mut self) -> Result<Vec<(String, Ended)>, Error> {
        let jobs: Vec<JobId> = self.running.values().map(|one| one.job).collect();
        let results = self.with(|manager| {
            while manager.signal(Duration::ZERO)?.is_some() {}
            manager.wait(&jobs, Instant::now() + LISTEN, &mut |_| {})
        })?;
        let mut ended = Vec::new();
        let mut names = Vec::new();
        for (name, running) in &self.running {
            match results.get(&running.job) {
                Some(JobResult::Done) => ended.push((name.clone(), Ended::Passed)),
                Some(JobResult::Pending) | None => {}
                Some(_) => names.push(name.clone()),
            }
        }
        let units = names.iter().filter_map(|name| self.running.get(name));
        let units: Vec<String> = units.map(|one| one.unit.clone()).collect();
        let answers = self.with(|manager| manager.properties(&units, &WANTED))?;
        for (name, answer) in names.into_iter().zip(answers) {
            let timeout = self.running.get(&name).map(|one| one.timeout);
            let how = match answer {
                Ok(answer) => self::ended(&answer, timeout.unwrap_or_default()),
                Err(refusal) => Some(Ended::Lost(refusal.to_string())),
            };
            ended.extend(how.map(|how| (name, how)));
        }
        for (name, _) in &ended {
            self.running.remove(name);
        }
        Ok(ended)
    }

    /// Asks systemd, by a new connection where the old one broke.
    fn with<T>(&mut self, ask: impl Fn(&mut Manager) -> Result<T, Error>) -> Result<T, Error> {
        let mut manager = match self.manager.take() {
            Some(manager) => manager,
            None => Manager::system(PATIENCE)?,
        };
        let answer = match ask(&mut manager) {
            // It was executed anew.
            Err(Error::Closed { .. }) => {
                manager.recover(Instant::now() + PATIENCE)?;
                ask(&mut manager)
            }
            answer => answer,
        };
        if matches!(answer, Ok(_) | Err(Error::Refused { .. })) {
            self.manager = Some(manager);
        }
        answer
    }
}

/// A run that is under way when nobody wants to know any more is ended.
impl Drop for Runner {
    fn drop(&mut self) {
        self.end();
    }
}

fn not_begun(error: &Error) -> Ended {
    match error {
        Error::Refused { refusal, .. } if refusal.reason() != Reason::Exists => {
            Ended::Failed(Failure::Refused(refusal.to_string()))
        }
        error => Ended::Lost(error.to_string()),
    }
}

/// Has systemd forget a unit that failed. There may be none.
fn forget(manager: &mut Manager, unit: &str) -> Result<(), Error> {
    match manager.reset_failed(unit) {
        Err(Error::Refused { refusal, .. }) if refusal.reason() == Reason::NoSuchUnit => Ok(()),
        told => told,
    }
}

fn settings(run: &Run) -> Vec<(&'static str, Setting)> {
    let text = |text: &str| Setting::Text(text.to_owned());
    let micros =
        |time: Duration| Setting::Number(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    // systemd replaces variables in arguments, and nobody asked for that.
    let mut words: Vec<String> = run
        .words
        .iter()
        .map(|word| word.replace('$', "$$"))
        .collect();
    if let (Some(first), Some(program)) = (words.first_mut(), run.words.first()) {
        first.clone_from(program);
    }
    let mut all = vec![
        (
            "Description",
            Setting::Text(format!("Health Check {}", run.name)),
        ),
        ("Type", text("oneshot")),
        ("ExecStart", Setting::Commands(vec![words])),
        ("TimeoutStartUSec", micros(run.timeout)),
        ("TimeoutStopUSec", micros(GRACE)),
        // It is not to wait for a boot that does not finish, and it is to end with the machine.
        ("DefaultDependencies", Setting::Flag(false)),
        (
            "Conflicts",
            Setting::Texts(vec!["shutdown.target".to_owned()]),
        ),
        ("Before", Setting::Texts(vec!["shutdown.target".to_owned()])),
        ("IgnoreOnIsolate", Setting::Flag(true)),
        ("StartLimitIntervalUSec", Setting::Number(0)),
        ("Environment", Setting::Texts(run.environment.clone())),
    ];
    if let Some(user) = &run.user {
        all.push(("User", text(user)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::manager::Value;

    fn answer(state: &str, result: &str, code: u64, status: u64) -> Properties {
        let text = |text: &str| Value::Text(text.to_owned());
        [
            ("ActiveState", text(state)),
            ("Result", text(result)),
            ("ExecMainCode", Value::Number(code)),
            ("ExecMainStatus", Value::Number(status)),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn how_a_run_ended_is_what_its_unit_says() {
        let timeout = Duration::from_secs(30);
        for (state, result, code, status, how) in [
            ("failed", "exit-code", 1, 3, Some("exit status 3")),
            (
                "failed",
                "exit-code",
                1,
                203,
                Some("its program cannot be run (exit status 203)"),
            ),
            (
                "failed",
                "exit-code",
                1,
                217,
                Some("its user is not known (exit status 217)"),
            ),
            ("failed", "signal", 2, 9, Some("killed by signal 9")),
            ("failed", "core-dump", 3, 11, Some("killed by signal 11")),
            // The main process may have ended at its own leisure when it was told to.
            ("failed", "timeout", 2, 15, Some("ended after 30 s")),
            ("failed", "timeout", 1, 0, Some("ended after 30 s")),
            ("failed", "oom-kill", 2, 9, Some("oom-kill")),
            ("activating", "success", 0, 0, None),
            ("deactivating", "timeout", 0, 0, None),
        ] {
            let ended = ended(&answer(state, result, code, status), timeout);
            let told = ended.map(|ended| match ended {
                Ended::Failed(failure) => failure.to_string(),
                other => panic!("{other:?}"),
            });
            assert_eq!(told.as_deref(), how, "{state} {result}");
        }
        // Somebody has stopped it: that it is gone is no success.
        let stopped = ended(&answer("inactive", "success", 2, 15), timeout);
        assert!(matches!(stopped, Some(Ended::Lost(_))), "{stopped:?}");
    }

    #[test]
    fn a_run_has_its_own_time_and_its_words_as_they_are() {
        let run = Run {
            name: "web".to_owned(),
            unit: "web.service".to_owned(),
            words: ["/bin/$x", "$HOME", "a$$b"].map(str::to_owned).into(),
            user: Some("nobody".to_owned()),
            environment: vec!["A=b".to_owned()],
            timeout: Duration::from_secs(7),
        };
        let settings: BTreeMap<&str, Setting> = settings(&run).into_iter().collect();
        let words = vec![
            "/bin/$x".to_owned(),
            "$$HOME".to_owned(),
            "a$$$$b".to_owned(),
        ];
        assert_eq!(settings["ExecStart"], Setting::Commands(vec![words]));
        assert_eq!(settings["TimeoutStartUSec"], Setting::Number(7_000_000));
        assert_eq!(settings["User"], Setting::Text("nobody".to_owned()));
    }
}
