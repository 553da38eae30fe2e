//! The service manager, asked and told: systemd as PID 1, or one of a user, by D-Bus over its private socket. That works
//! before the bus is up and after it has died, and needs no bus, no runtime and no thread.
//!
//! On this socket there is no `Hello`, everything systemd tells goes to everybody who is connected, and calls may be sent
//! in a row before the first is answered: a question about a thousand units takes one round trip.
//!
//! Two kinds of "no": an [`Error`] is about the connection, and all but [`Error::Refused`] leave it unusable; a
//! [`Refusal`] is systemd's answer to one call.
//!
//! `jobs` (starts and stops, and how they ended), [`signal`] (what systemd tells by itself), [`value`] (properties),
//! `transient` (units made at run time); below them `connection`, `message` and [`names`].

pub mod error;
pub mod jobs;
pub mod look;
pub mod names;
pub mod signal;
pub mod transient;
pub mod value;

mod connection;
mod message;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use zbus::{ObjectPath, Variant};

pub use error::{Error, Reason, Refusal};
pub use jobs::{Asked, JobId, JobResult, Mode, Together, Verb, Waiting};
pub use signal::Signal;
pub use transient::Setting;
pub use value::{Properties, Value};

use connection::{Connection, Heard};
use jobs::{Book, manager_call};
use message::{Body, Call, Incoming, Nonsense};

/// Where PID 1 listens.
pub const SYSTEM: &str = "/run/systemd/private";
/// How long an answer of PID 1's may take that is not known to take long.
pub const PATIENCE: Duration = Duration::from_secs(25);
/// How long a reload may take. A generator that hangs is killed after 90 s, and nobody is answered until then.
pub const RELOAD: Duration = Duration::from_mins(3);

const OBJECT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// How long a manager that was just executed anew is left alone before it is asked again.
const AGAIN: Duration = Duration::from_millis(50);

/// A connection with one manager.
#[derive(Debug)]
pub struct Manager {
    connection: Connection,
    socket: String,
    patience: Duration,
    book: Book,
    /// Whether it may know how to queue many jobs at once, as systemd does since 262.
    starts_many: bool,
}

/// A unit as a list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its own name.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// Whether it could be read: `loaded`, `not-found`, `masked`, ...
    pub load: String,
    /// What it is doing: `active`, `inactive`, `failed`, ...
    pub active: String,
    /// The same more finely; differs from kind to kind.
    pub sub: String,
    /// The unit whose state this one shows. Empty: it has its own.
    pub following: String,
    /// What is queued for it.
    pub job: Option<JobId>,
}

/// A job as a list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Its number.
    pub id: JobId,
    /// Its unit.
    pub unit: String,
    /// `start`, `stop`, `restart`, `verify-active` and so on.
    pub kind: String,
    /// It is under way, and not just waiting.
    pub running: bool,
}

/// Which property of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    of_kind: bool,
    name: &'a str,
}

impl<'a> Wanted<'a> {
    /// One that all units have, e.g. `ActiveState`.
    #[must_use]
    pub const fn unit(name: &'a str) -> Self {
        let of_kind = false;
        Self { of_kind, name }
    }

    /// One that units of this kind have, e.g. a service's `Result`.
    #[must_use]
    pub const fn kind(name: &'a str) -> Self {
        let of_kind = true;
        Self { of_kind, name }
    }
}

impl Manager {
    /// Connects with PID 1. Each call may take as long as `patience`.
    ///
    /// # Errors
    /// When it does not let us in in time. This needs root.
    pub fn system(patience: Duration) -> Result<Self, Error> {
        Self::at(SYSTEM, patience)
    }

    /// Connects with the manager of a user. Root may.
    ///
    /// # Errors
    /// When there is none, or it does not let us in in time.
    pub fn user(uid: u32, patience: Duration) -> Result<Self, Error> {
        Self::at(&format!("/run/user/{uid}/systemd/private"), patience)
    }

    /// Connects with the manager that listens here: the two above at their own places, another one elsewhere.
    ///
    /// # Errors
    /// When there is none, or it does not let us in in time.
    pub fn at(socket: &str, patience: Duration) -> Result<Self, Error> {
        let connection = Connection::open(socket, patience)?;
        Ok(Self::over(connection, socket, patience))
    }

    fn over(connection: Connection, socket: &str, patience: Duration) -> Self {
        Self {
            connection,
            socket: socket.to_owned(),
            patience,
            book: Book::default(),
            starts_many: true,
        }
    }

    /// A new connection instead of one that broke. Jobs that were asked for are remembered, and so is whether signals are
    /// kept; signals of the meantime are lost, which [`Signal::Missed`] tells.
    ///
    /// # Errors
    /// When there is none to be had. The old one is then closed all the same.
    pub fn reconnect(&mut self) -> Result<(), Error> {
        self.connection.give_up();
        self.connection = Connection::open(&self.socket, self.patience)?;
        if self.book.listens {
            self.book.note(Signal::Missed);
        }
        Ok(())
    }

    /// All units in memory.
    ///
    /// # Errors
    /// When systemd does not answer.
    pub fn units(&mut self) -> Result<Vec<Listed>, Error> {
        self.ask_one("ListUnits", self.patience, Body::default(), units_in)
    }

    /// All jobs.
    ///
    /// # Errors
    /// When systemd does not answer.
    pub fn jobs(&mut self) -> Result<Vec<Queued>, Error> {
        self.ask_one("ListJobs", self.patience, Body::default(), jobs_in)
    }

    /// Properties of units, in one round trip. A unit that is not in memory is read for that. The refusal of one name
    /// says nothing about the others, and a property that this systemd does not have is left out.
    ///
    /// # Errors
    /// When systemd does not answer.
    pub fn properties<N: AsRef<str>>(
        &mut self,
        units: &[N],
        wanted: &[Wanted<'_>],
    ) -> Result<Vec<Result<Properties, Refusal>>, Error> {
        let calls = units
            .iter()
            .flat_map(|unit| property_calls(unit.as_ref(), wanted));
        let doing = "Get of units' properties";
        let values = self.ask(doing, self.patience, calls, value)?;
        let mut values = values.into_iter();
        let mut one = || {
            let values = values.by_ref().take(wanted.len());
            named(wanted.iter().map(|property| property.name), values)
        };
        Ok(units.iter().map(|_| one()).collect())
    }

    /// Properties of the manager itself, e.g. `Version`.
    ///
    /// # Errors
    /// When systemd does not answer.
    pub fn own_properties(&mut self, wanted: &[&str]) -> Result<Properties, Error> {
        let calls = wanted
            .iter()
            .map(|name| get(OBJECT.to_owned(), MANAGER, name));
        let doing = "Get of its own properties";
        let values = self.ask(doing, self.patience, calls, value)?;
        named(wanted.iter().copied(), values.into_iter())
            .map_err(|refusal| Error::Refused { doing, refusal })
    }

    /// Sets a property of the manager itself, e.g. `RuntimeWatchdogUSec`.
    ///
    /// # Errors
    /// When systemd does not answer, or refuses.
    pub fn set_own(&mut self, name: &str, to: &Setting) -> Result<(), Error> {
        let doing = "Set of its own properties";
        let call = set(name, to);
        let answers = self.ask(doing, self.patience, std::iter::once(call), |_| Ok(()))?;
        let refused = answers.into_iter().find_map(Result::err);
        refused.map_or(Ok(()), |refusal| Err(Error::Refused { doing, refusal }))
    }

    /// Has all units read anew. [`RELOAD`] is its time limit: whoever hangs in there is systemd's to kill.
    ///
    /// # Errors
    /// When systemd does not answer. The reload may still go on then.
    pub fn reload(&mut self) -> Result<(), Error> {
        self.reload_within(RELOAD)
    }

    /// The same with a time limit of one's own.
    ///
    /// # Errors
    /// As [`Self::reload`].
    pub fn reload_within(&mut self, patience: Duration) -> Result<(), Error> {
        self.ask_one("Reload", patience, Body::default(), |_| Ok(()))
    }

    /// Has systemd executed anew, and waits for the new one to answer. Jobs go on.
    ///
    /// # Errors
    /// When it refuses, or there is no answer in [`RELOAD`].
    pub fn reexecute(&mut self) -> Result<(), Error> {
        let until = Instant::now() + RELOAD;
        // It hangs up without an answer.
        match self.ask_one("Reexecute", RELOAD, Body::default(), |_| Ok(())) {
            Ok(()) | Err(Error::Closed { .. }) => {}
            Err(error) => return Err(error),
        }
        self.recover(until)
    }

    /// A new connection with a manager that was executed anew, as soon as it answers.
    ///
    /// # Errors
    /// When it has not answered by `until`.
    pub fn recover(&mut self, until: Instant) -> Result<(), Error> {
        loop {
            let answered = self
                .reconnect()
                .and_then(|()| self.own_properties(&["Version"]));
            match answered {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= until => return Err(error),
                Err(_) => std::thread::sleep(AGAIN),
            }
        }
    }

    /// Forgets that a unit failed, and how often it was started lately. To a unit that is not in memory there is nothing to
    /// forget: that is a refusal, [`Reason::NoSuchUnit`].
    ///
    /// # Errors
    /// When systemd does not answer, or refuses.
    pub fn reset_failed(&mut self, unit: &str) -> Result<(), Error> {
        self.ask_with("ResetFailedUnit", &(sendable(unit),))
    }

    /// Sends a signal to all processes of a unit.
    ///
    /// # Errors
    /// When systemd does not answer, or refuses.
    pub fn kill(&mut self, unit: &str, signal: i32) -> Result<(), Error> {
        self.ask_with("KillUnit", &(sendable(unit), "all", signal))
    }

    /// From now on, what systemd tells is kept for [`Self::signal`], also while calls are under way.
    pub fn listen(&mut self) {
        self.book.listens = true;
    }

    /// The next piece of news since [`Self::listen`]. None: there was none in this time.
    ///
    /// # Errors
    /// When the connection is lost, or nonsense is said.
    pub fn signal(&mut self, within: Duration) -> Result<Option<Signal>, Error> {
        let began = Instant::now();
        loop {
            if let Some(signal) = self.book.news.pop_front() {
                return Ok(Some(signal));
            }
            let left = within.saturating_sub(began.elapsed());
            match self.connection.signal(left)? {
                Some(incoming) => self.book.hear(&incoming),
                None => return Ok(None),
            }
        }
    }

    /// Asks in a row, and reads each answer. What is told meanwhile is written down.
    fn ask<T>(
        &mut self,
        doing: &'static str,
        patience: Duration,
        calls: impl Iterator<Item = Result<Call, Nonsense>>,
        read: impl Fn(&Incoming) -> Result<T, Nonsense>,
    ) -> Result<Vec<Result<T, Refusal>>, Error> {
        let mut answers = BTreeMap::new();
        let book = &mut self.book;
        self.connection.call_all(doing, patience, calls, |heard| {
            match heard {
                Heard::Unasked(incoming) => book.hear(&incoming),
                Heard::Answer(place, Ok(incoming)) => {
                    answers.insert(place, Ok(read(&incoming)?));
                }
                Heard::Answer(place, Err(refusal)) => {
                    answers.insert(place, Err(refusal));
                }
            }
            Ok(())
        })?;
        Ok(answers.into_values().collect())
    }

    /// Asks the manager once.
    fn ask_one<T>(
        &mut self,
        member: &'static str,
        patience: Duration,
        body: Body,
        read: impl Fn(&Incoming) -> Result<T, Nonsense>,
    ) -> Result<T, Error> {
        let call = std::iter::once(Ok(manager_call(member, body)));
        let answers = self.ask(member, patience, call, read)?;
        match answers.into_iter().next() {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(refusal)) => Err(Error::Refused {
                doing: member,
                refusal,
            }),
            // Every call has its answer by now.
            None => Err(Error::Broken { doing: member }),
        }
    }

    /// Tells the manager something that it answers with nothing.
    fn ask_with<T: serde::Serialize + zbus::Type>(
        &mut self,
        member: &'static str,
        arguments: &T,
    ) -> Result<(), Error> {
        let body = Body::of(arguments).map_err(|why| Error::Garbled { doing: member, why })?;
        self.ask_one(member, self.patience, body, |_| Ok(()))
    }
}

impl Book {
    /// Writes down what a message tells.
    fn hear(&mut self, message: &Incoming) {
        let is_of_jobs = matches!(message.member.as_str(), "JobNew" | "JobRemoved");
        // A reload tells hundreds that nobody wants to know.
        if !self.listens && !is_of_jobs {
            return;
        }
        if let Some(signal) = Signal::read(message) {
            self.note(signal);
        }
    }
}

/// Name, description, load, active, sub, followed unit, object, job, its kind, its object.
type UnitRow<'a> = (
    &'a str,
    &'a str,
    &'a str,
    &'a str,
    &'a str,
    &'a str,
    ObjectPath<'a>,
    u32,
    &'a str,
    ObjectPath<'a>,
);

fn units_in(answer: &Incoming) -> Result<Vec<Listed>, Nonsense> {
    let rows: Vec<UnitRow<'_>> = answer.body()?;
    let listed = |row: UnitRow<'_>| Listed {
        name: row.0.to_owned(),
        description: row.1.to_owned(),
        load: row.2.to_owned(),
        active: row.3.to_owned(),
        sub: row.4.to_owned(),
        following: row.5.to_owned(),
        job: (row.7 != 0).then_some(JobId(row.7)),
    };
    Ok(rows.into_iter().map(listed).collect())
}

/// Number, unit, kind, state, object, unit's object.
type JobRow<'a> = (
    u32,
    &'a str,
    &'a str,
    &'a str,
    ObjectPath<'a>,
    ObjectPath<'a>,
);

fn jobs_in(answer: &Incoming) -> Result<Vec<Queued>, Nonsense> {
    let rows: Vec<JobRow<'_>> = answer.body()?;
    let queued = |(id, unit, kind, state, _, _): JobRow<'_>| Queued {
        id: JobId(id),
        unit: unit.to_owned(),
        kind: kind.to_owned(),
        running: state == "running",
    };
    Ok(rows.into_iter().map(queued).collect())
}

/// A call for each property of a unit.
fn property_calls<'a>(
    unit: &'a str,
    wanted: &'a [Wanted<'a>],
) -> impl Iterator<Item = Result<Call, Nonsense>> + 'a {
    let path = names::path_of_unit(sendable(unit));
    wanted.iter().map(move |property| {
        let kind = names::interface_of_kind(unit).filter(|_| property.of_kind);
        get(path.clone(), kind.unwrap_or(UNIT), property.name)
    })
}

fn get(path: String, interface: &'static str, property: &str) -> Result<Call, Nonsense> {
    Ok(Call {
        path,
        interface: PROPERTIES,
        member: "Get",
        body: Body::of(&(interface, property))?,
    })
}

fn set(name: &str, to: &Setting) -> Result<Call, Nonsense> {
    Ok(Call {
        path: OBJECT.to_owned(),
        interface: PROPERTIES,
        member: "Set",
        body: Body::of(&(MANAGER, name, to.variant()))?,
    })
}

fn value(answer: &Incoming) -> Result<Value, Nonsense> {
    Ok(Value::from(&answer.body::<Variant<'_>>()?))
}

/// Values with their names. One that does not exist is left out; any other refusal is about the whole unit.
fn named<'a>(
    names: impl Iterator<Item = &'a str>,
    values: impl Iterator<Item = Result<Value, Refusal>>,
) -> Result<Properties, Refusal> {
    let mut properties = Properties::default();
    let mut refused = None;
    // To its end: the values of the next unit come after it.
    for (name, value) in names.zip(values) {
        match value {
            Ok(value) => properties.insert(name, value),
            Err(refusal) if refusal.reason() == Reason::UnknownProperty => {}
            Err(refusal) => refused = Some(refusal),
        }
    }
    refused.map_or(Ok(properties), Err)
}

/// A name as it can be sent: D-Bus has no zero byte in a text, and systemd calls an empty name wrong.
fn sendable(name: &str) -> &str {
    if name.contains('\0') { "" } else { name }
}

#[cfg(test)]
mod tests;
