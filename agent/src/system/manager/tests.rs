//! A manager that is none: a thread that plays one, line by line.

mod jobs;

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::{self, JoinHandle};

use serde::Serialize;
use zbus::Type;

use super::message::tests::written;
use super::*;

/// How long an answer may take that comes at once.
const SOON: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

/// The other end.
struct Peer {
    listener: UnixListener,
    stream: Option<UnixStream>,
}

/// A call that was made.
struct Asked {
    serial: u32,
    call: Incoming,
}

impl Peer {
    /// Lets somebody in.
    fn accept(&mut self) {
        let (mut stream, _) = self.listener.accept().unwrap();
        let mut said = Vec::new();
        while !said.ends_with(b"BEGIN\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            said.extend(byte);
        }
        assert!(said.starts_with(b"\0AUTH EXTERNAL 3"), "{said:?}");
        stream.write_all(b"OK 0123456789abcdef\r\n").unwrap();
        self.stream = Some(stream);
    }

    fn hang_up(&mut self) {
        self.stream = None;
    }

    fn stream(&mut self) -> &mut UnixStream {
        self.stream.as_mut().unwrap()
    }

    fn asked(&mut self) -> Asked {
        let mut start = [0; message::START];
        self.stream().read_exact(&mut start).unwrap();
        let length = message::length(&start).unwrap();
        let mut bytes = start.to_vec();
        bytes.resize(length, 0);
        let rest = &mut bytes[message::START..];
        self.stream().read_exact(rest).unwrap();
        Asked {
            serial: u32::from_le_bytes(start[8..12].try_into().unwrap()),
            call: Incoming::read(&bytes).unwrap(),
        }
    }

    /// The next call, which must be of this method.
    fn due(&mut self, member: &str) -> Asked {
        let asked = self.asked();
        assert_eq!(asked.call.member, member);
        asked
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream().write_all(bytes).unwrap();
    }

    fn answer<T: Serialize + Type>(&mut self, to: &Asked, body: &T) {
        self.send(&written(2, Some(to.serial), &[], body));
    }

    fn refuse(&mut self, to: &Asked, name: &str) {
        self.send(&written(
            3,
            Some(to.serial),
            &[(4, b's', name)],
            &"no such luck",
        ));
    }

    fn tell<T: Serialize + Type>(&mut self, path: &str, member: &str, body: &T) {
        self.send(&signal(path, member, body));
    }

    fn removed(&mut self, id: u32, unit: &str, result: &str) {
        self.tell(OBJECT, "JobRemoved", &(id, job_path(id), unit, result));
    }
}

fn signal<T: Serialize + Type>(path: &str, member: &str, body: &T) -> Vec<u8> {
    let texts = [(1, b'o', path), (2, b's', MANAGER), (3, b's', member)];
    written(4, None, &texts, body)
}

fn job_path(id: u32) -> ObjectPath<'static> {
    ObjectPath::try_from(format!("/org/freedesktop/systemd1/job/{id}")).unwrap()
}

fn unit_path(name: &str) -> ObjectPath<'static> {
    ObjectPath::try_from(names::path_of_unit(name)).unwrap()
}

/// Plays `script` at the other end of `work`.
fn between<T>(
    script: impl FnOnce(&mut Peer) + Send + 'static,
    patience: Duration,
    work: impl FnOnce(Result<Manager, Error>) -> T,
) -> T {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("private");
    let listener = UnixListener::bind(&socket).unwrap();
    let stream = None;
    let peer: JoinHandle<()> = thread::spawn(move || script(&mut Peer { listener, stream }));
    let done = work(Manager::at(socket.to_str().unwrap(), patience));
    peer.join().unwrap();
    done
}

/// Plays `script` after the greeting.
fn with<T>(
    script: impl FnOnce(&mut Peer) + Send + 'static,
    work: impl FnOnce(&mut Manager) -> T,
) -> T {
    let script = |peer: &mut Peer| {
        peer.accept();
        script(peer);
    };
    between(script, SOON, |manager| work(&mut manager.unwrap()))
}

fn jobs_of(answers: Vec<Result<JobId, Refusal>>) -> Vec<Option<u32>> {
    let answers = answers.into_iter();
    answers.map(|answer| answer.ok().map(|id| id.0)).collect()
}

#[test]
fn nobody_listens() {
    let error = Manager::at("/nowhere/private", SHORT).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[test]
fn who_is_not_let_in_is_told_so() {
    let greets = |said: &'static [u8]| {
        let script = move |peer: &mut Peer| {
            let (mut stream, _) = peer.listener.accept().unwrap();
            stream.write_all(said).unwrap();
            // What is not read by then would end the connection before what was said has been read.
            drop(stream.read(&mut [0; 64]));
        };
        between(script, SOON, |manager| manager.unwrap_err().to_string())
    };
    assert!(greets(b"REJECTED EXTERNAL\r\n").contains("REJECTED EXTERNAL"));
    assert!(greets(b"").contains("closed the connection during the greeting"));
    assert!(greets(&[b'x'; 5000]).contains("greeting without an end"));
}

#[test]
fn a_silent_greeting_ends_in_time() {
    let script = |peer: &mut Peer| {
        let (mut stream, _) = peer.listener.accept().unwrap();
        // Until the other side has given up.
        stream.read_to_end(&mut Vec::new()).unwrap();
    };
    let error = between(script, SHORT, Result::unwrap_err);
    assert!(matches!(error, Error::Late { .. }), "{error}");
}

#[test]
fn answers_may_come_in_any_order_and_between_signals() {
    let script = |peer: &mut Peer| {
        let asked: Vec<Asked> = (0..3).map(|_| peer.due("StartUnit")).collect();
        for (number, asked) in asked.iter().enumerate().rev() {
            let id = u32::try_from(number).unwrap() + 10;
            peer.tell(OBJECT, "JobNew", &(id, job_path(id), "x.service"));
            peer.tell(OBJECT, "SomethingNew", &7_u64);
            peer.send(&written(9, None, &[], &()));
            peer.answer(asked, &job_path(id));
        }
    };
    let answers = with(script, |manager| {
        manager.enqueue(
            Verb::Start,
            &["a.service", "b.service", "c.service"],
            Mode::Fail,
        )
    });
    assert_eq!(jobs_of(answers.unwrap()), [Some(10), Some(11), Some(12)]);
}

#[test]
fn all_calls_are_out_before_the_first_answer() {
    let count = 500_u32;
    let script = move |peer: &mut Peer| {
        let asked: Vec<Asked> = (0..count).map(|_| peer.due("StopUnit")).collect();
        for (id, asked) in (1..).zip(&asked) {
            peer.answer(asked, &job_path(id));
        }
    };
    let units: Vec<String> = (0..count).map(|n| format!("unit-{n}.service")).collect();
    let answers = with(script, |manager| {
        manager.enqueue(Verb::Stop, &units, Mode::Replace).unwrap()
    });
    let due: Vec<_> = (1..=count).map(Some).collect();
    assert_eq!(jobs_of(answers), due);
}

#[test]
fn who_does_not_read_until_it_was_heard_blocks_nobody() {
    // Far more in both directions than sockets take.
    let units: Vec<String> = (0..4000).map(|n| format!("unit-{n}.service")).collect();
    let script = |peer: &mut Peer| {
        let news = signal(OBJECT, "UnitNew", &("a.service", unit_path("a.service")));
        for _ in 0..20_000 {
            peer.send(&news);
        }
        for id in 1..=4000 {
            let asked = peer.due("StopUnit");
            peer.answer(&asked, &job_path(id));
        }
    };
    let answers = with(script, |manager| {
        manager.enqueue(Verb::Stop, &units, Mode::Replace).unwrap()
    });
    assert_eq!(answers.len(), 4000);
}

#[test]
fn a_late_answer_leaves_a_connection_that_says_so() {
    let script = |peer: &mut Peer| {
        peer.accept();
        peer.due("ListJobs");
        // Until the other side has gone.
        peer.stream().read_to_end(&mut Vec::new()).unwrap();
    };
    between(script, Duration::from_millis(500), |manager| {
        let mut manager = manager.unwrap();
        let error = manager.jobs().unwrap_err();
        assert!(matches!(error, Error::Late { .. }), "{error}");
        let error = manager.jobs().unwrap_err();
        assert!(matches!(error, Error::Broken { .. }), "{error}");
    });
}

#[test]
fn who_hangs_up_in_the_middle_is_not_waited_for() {
    let script = |peer: &mut Peer| {
        let asked = peer.due("ListUnits");
        let reply = written(2, Some(asked.serial), &[], &"a piece");
        peer.send(&reply[..20]);
        peer.hang_up();
    };
    let error = with(script, |manager| manager.units().unwrap_err());
    assert!(matches!(error, Error::Closed { .. }), "{error}");
}

#[test]
fn nonsense_ends_the_connection_and_is_named() {
    let says = |nonsense: fn(u32) -> Vec<u8>| {
        let script = move |peer: &mut Peer| {
            let asked = peer.due("ListJobs");
            peer.send(&nonsense(asked.serial));
        };
        let error = with(script, |manager| manager.jobs().unwrap_err());
        assert!(matches!(error, Error::Garbled { .. }), "{error}");
        error.to_string()
    };
    assert!(
        says(|serial| written(2, Some(serial), &[], &"text")).contains("where a(usssoo) is due")
    );
    assert!(says(|serial| written(2, Some(serial + 1), &[], &())).contains("not asked"));
    assert!(says(|_| vec![b'x'; 16]).contains("byte order"));
    assert!(
        says(|_| vec![
            b'l', 2, 0, 1, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0
        ])
        .contains("bytes")
    );
}

#[test]
fn properties_of_one_unit_say_nothing_of_another() {
    let script = |peer: &mut Peer| {
        for unit in ["good.service", "bad name", "dev-x.device"] {
            for interface in [UNIT, "org.freedesktop.systemd1.Service"] {
                let asked = peer.due("Get");
                assert_eq!(asked.call.path, names::path_of_unit(unit));
                let (on, name) = asked.call.body::<(&str, &str)>().unwrap();
                match (unit, name) {
                    ("bad name", _) => {
                        peer.refuse(&asked, "org.freedesktop.DBus.Error.InvalidArgs");
                    }
                    ("dev-x.device", "Result") => {
                        assert_eq!(on, "org.freedesktop.systemd1.Device");
                        peer.refuse(&asked, "org.freedesktop.DBus.Error.UnknownProperty");
                    }
                    (_, name) => {
                        if unit == "good.service" {
                            assert_eq!(on, interface);
                        }
                        peer.answer(&asked, &Variant::from(name));
                    }
                }
            }
        }
    };
    let units = ["good.service", "bad name", "dev-x.device"];
    let wanted = [Wanted::unit("Id"), Wanted::kind("Result")];
    let found = with(script, |manager| manager.properties(&units, &wanted)).unwrap();
    let [good, bad, device] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(good.as_ref().unwrap().text("Result"), "Result");
    let refusal = bad.as_ref().unwrap_err();
    assert_eq!(refusal.reason(), Reason::InvalidArguments);
    let device = device.as_ref().unwrap();
    assert_eq!((device.text("Id"), device.get("Result")), ("Id", None));
}

#[test]
fn a_name_with_a_zero_byte_is_no_other_units() {
    // systemd reads a path up to the zero byte: it would answer for `a`.
    let script = |peer: &mut Peer| {
        let asked = peer.due("Get");
        assert_eq!(asked.call.path, names::path_of_unit(""));
        peer.refuse(&asked, "org.freedesktop.DBus.Error.InvalidArgs");
        let asked = peer.due("StopUnit");
        assert_eq!(asked.call.body::<(&str, &str)>(), Ok(("", "replace")));
        peer.refuse(&asked, "org.freedesktop.DBus.Error.InvalidArgs");
    };
    with(script, |manager| {
        let name = ["a.service\0b"];
        let found = manager.properties(&name, &[Wanted::unit("Id")]).unwrap();
        assert!(found[0].is_err());
        assert!(manager.enqueue(Verb::Stop, &name, Mode::Replace).unwrap()[0].is_err());
    });
}

#[test]
fn a_manager_that_is_executed_anew_is_waited_for() {
    let script = |peer: &mut Peer| {
        peer.due("Reexecute");
        peer.hang_up();
        // It listens already, and is not ready.
        peer.accept();
        peer.due("Get");
        peer.hang_up();
        peer.accept();
        let asked = peer.due("Get");
        peer.answer(&asked, &Variant::from("257"));
    };
    with(script, |manager| manager.reexecute().unwrap());
}

#[test]
fn what_is_told_is_kept_for_who_listens() {
    let script = |peer: &mut Peer| {
        for _ in 0..2 {
            let asked = peer.due("Reload");
            peer.tell(OBJECT, "Reloading", &true);
            for unit in ["a.service", "b.service"] {
                peer.tell(OBJECT, "UnitRemoved", &(unit, unit_path(unit)));
            }
            peer.answer(&asked, &());
        }
        let changed: BTreeMap<&str, Variant<'_>> =
            [("ActiveState", Variant::from("failed"))].into();
        let gone: Vec<&str> = vec!["Names"];
        peer.tell(
            &names::path_of_unit("a-b.service"),
            "PropertiesChanged",
            &(UNIT, changed, gone),
        );
        peer.tell("/org/freedesktop/elsewhere", "PropertiesChanged", &7_u32);
        peer.tell(OBJECT, "UnitNew", &7_u32);
        peer.tell(OBJECT, "StartupFinished", &(1_u64, 2_u64));
    };
    let heard = with(script, |manager| {
        manager.reload().unwrap();
        assert!(manager.book.news.is_empty(), "nobody listens yet");
        manager.listen();
        manager.reload().unwrap();
        let mut heard = Vec::new();
        loop {
            heard.push(manager.signal(SOON).unwrap().unwrap());
            if heard.last() == Some(&Signal::StartupFinished) {
                return heard;
            }
        }
    });
    let removed = |unit: &str| Signal::UnitRemoved {
        unit: unit.to_owned(),
    };
    let due = [
        Signal::Reloading { begins: true },
        removed("a.service"),
        removed("b.service"),
        Signal::Changed {
            unit: "a-b.service".to_owned(),
        },
        Signal::StartupFinished,
    ];
    assert_eq!(heard, due);
}

#[test]
fn what_is_too_much_to_keep_is_said_to_be_missed() {
    let mut book = Book::default();
    book.listens = true;
    for number in 0..=20_000 {
        let unit = format!("{number}.service");
        book.note(Signal::UnitNew { unit: unit.clone() });
        // The same again is nothing new.
        book.note(Signal::UnitNew { unit });
    }
    let last = Signal::UnitNew {
        unit: "20000.service".to_owned(),
    };
    assert_eq!(book.news, [Signal::Missed, last]);
}

#[test]
fn a_look_is_two_round_trips() {
    let script = |peer: &mut Peer| {
        let [jobs, units] = [peer.due("ListJobs"), peer.due("ListUnits")];
        let job = (
            4_u32,
            "a.service",
            "start",
            "running",
            job_path(4),
            unit_path("a.service"),
        );
        let some = vec![job];
        peer.answer(&jobs, &some);
        let unit = (
            "a.service",
            "A",
            "loaded",
            "activating",
            "start",
            "",
            unit_path("a.service"),
            4_u32,
            "start",
            job_path(4),
        );
        peer.answer(&units, &vec![unit]);
        let waiting = [
            peer.due("GetJobAfter"),
            peer.due("GetJobAfter"),
            peer.due("GetJobAfter"),
        ];
        let get = [peer.due("Get"), peer.due("Get")];
        peer.answer(&waiting[0], &some);
        peer.answer(&waiting[1], &some[..0].to_vec());
        peer.refuse(&waiting[2], "org.freedesktop.systemd1.NoSuchJob");
        peer.answer(&get[0], &Variant::from(true));
        peer.refuse(&get[1], "org.freedesktop.DBus.Error.InvalidArgs");
    };
    with(script, |manager| {
        let (jobs, units) = manager.look().unwrap();
        assert_eq!((jobs.len(), units.len()), (1, 1));
        assert_eq!((jobs[0].id, units[0].job), (JobId(4), Some(JobId(4))));
        let wanted = [Wanted::unit("Transient")];
        let ids = [4, 5, 6].map(JobId);
        let questions = [("a.service", &wanted[..]), ("bad name", &wanted[..])];
        let details = manager.details(&ids, &questions).unwrap();
        let blocking: Vec<_> = details.blocking.into_iter().map(Result::ok).collect();
        assert_eq!(blocking, [Some(true), Some(false), None]);
        let [good, bad] = &details.properties[..] else {
            panic!("{:?}", details.properties)
        };
        assert_eq!(good.as_ref().unwrap().flag("Transient"), Some(true));
        assert!(bad.is_err());
    });
}
