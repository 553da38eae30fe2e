//! Jobs: their numbers, their ends, and what belongs together.

use super::*;

#[test]
fn a_job_may_be_over_before_its_number_is_known() {
    let script = |peer: &mut Peer| {
        let [one, two] = [peer.due("StartUnit"), peer.due("StartUnit")];
        peer.removed(8, "other.service", "done");
        peer.removed(5, "a.service", "assert");
        peer.answer(&one, &job_path(5));
        peer.answer(&two, &job_path(6));
        let asked = peer.due("ListJobs");
        let row = (
            6_u32,
            "b.service",
            "start",
            "running",
            job_path(6),
            unit_path("b.service"),
        );
        peer.answer(&asked, &vec![row]);
        peer.removed(6, "b.service", "dependency");
    };
    let (results, told) = with(script, |manager| {
        let units = ["a.service", "b.service"];
        let ids = manager.enqueue(Verb::Start, &units, Mode::Replace).unwrap();
        let ids: Vec<JobId> = ids.into_iter().flatten().collect();
        let mut told = Vec::new();
        let until = Instant::now() + SOON;
        let results = manager.wait(&ids, until, &mut |waiting| told.push(waiting.open.len()));
        (results.unwrap(), told)
    });
    assert_eq!(results[&JobId(5)], JobResult::Other("assert".to_owned()));
    assert_eq!(results[&JobId(6)], JobResult::Dependency);
    assert_eq!(
        (told.first(), told.last()),
        (Some(&1), Some(&0)),
        "{told:?}"
    );
}

#[test]
fn jobs_outlive_a_connection() {
    let script = |peer: &mut Peer| {
        let asked = [0; 3].map(|_| peer.due("StartUnit"));
        for (id, asked) in (1..).zip(&asked) {
            peer.answer(asked, &job_path(id));
        }
        let row = |id| {
            (
                id,
                "x.service",
                "start",
                "running",
                job_path(id),
                unit_path("x.service"),
            )
        };
        let asked = peer.due("ListJobs");
        peer.answer(&asked, &vec![row(1), row(2), row(3)]);
        peer.hang_up();
        peer.accept();
        let asked = peer.due("Get");
        peer.answer(&asked, &Variant::from("257"));
        // Again, in the middle of an answer.
        peer.due("ListJobs");
        peer.hang_up();
        peer.accept();
        let asked = peer.due("Get");
        peer.answer(&asked, &Variant::from("257"));
        let asked = peer.due("ListJobs");
        // The first ends now, the second is over and nobody has heard how.
        peer.removed(1, "x.service", "done");
        peer.answer(&asked, &vec![row(3)]);
        peer.removed(3, "x.service", "canceled");
    };
    let results = with(script, |manager| {
        let units = ["a.service", "b.service", "c.service"];
        let ids = manager.enqueue(Verb::Start, &units, Mode::Replace).unwrap();
        let ids: Vec<JobId> = ids.into_iter().flatten().collect();
        manager
            .wait(&ids, Instant::now() + SOON, &mut |_| ())
            .unwrap()
    });
    let due = [
        (JobId(1), JobResult::Done),
        (JobId(2), JobResult::Unheard),
        (JobId(3), JobResult::Canceled),
    ];
    assert_eq!(results, due.into());
}

#[test]
fn a_wait_ends_in_time() {
    let script = |peer: &mut Peer| {
        let asked = peer.due("ListJobs");
        let row = (
            9_u32,
            "x.service",
            "start",
            "running",
            job_path(9),
            unit_path("x.service"),
        );
        peer.answer(&asked, &vec![row]);
        // Over between the two waits: the second asks nothing.
        let asked = peer.due("KillUnit");
        peer.removed(9, "x.service", "done");
        peer.answer(&asked, &());
    };
    with(script, |manager| {
        let results = manager.wait(&[JobId(9)], Instant::now() + SHORT, &mut |_| ());
        assert_eq!(results.unwrap(), [(JobId(9), JobResult::Pending)].into());
        manager.kill("x.service", 9).unwrap();
        let results = manager.wait(&[JobId(9)], Instant::now() + SHORT, &mut |_| ());
        assert_eq!(results.unwrap(), [(JobId(9), JobResult::Done)].into());
    });
}

#[test]
fn starts_that_belong_together_are_one_call_where_systemd_has_it() {
    let script = |peer: &mut Peer| {
        let asked = peer.due("EnqueueUnitJobMany");
        let (names, kind, mode, flags) = asked.call.body::<(Vec<&str>, &str, &str, u64)>().unwrap();
        assert_eq!((names, kind), (vec!["a.service", "b.service"], "start"));
        assert_eq!((mode, flags), ("replace", 0));
        peer.removed(4, "b.service", "done");
        let row = |id, unit: &'static str| (id, job_path(id), unit, unit_path(unit), "start");
        peer.answer(&asked, &vec![row(3_u32, "a.service"), row(4, "b.service")]);
        // It takes none because it refuses one: each is asked for.
        let asked = peer.due("EnqueueUnitJobMany");
        peer.refuse(&asked, "org.freedesktop.systemd1.NoSuchUnit");
        let [one, two] = [peer.due("StartUnit"), peer.due("StartUnit")];
        peer.answer(&one, &job_path(7));
        peer.refuse(&two, "org.freedesktop.systemd1.NoSuchUnit");
        let asked = peer.due("EnqueueUnitJobMany");
        peer.answer(&asked, &vec![row(9_u32, "a.service")]);
    };
    with(script, |manager| {
        let units = ["a.service", "b.service"];
        let together = manager.start_together(&units).unwrap();
        assert_eq!(together.jobs, [JobId(3), JobId(4)].into());
        let results = manager.wait(&[JobId(4)], Instant::now() + SOON, &mut |_| ());
        assert_eq!(results.unwrap()[&JobId(4)], JobResult::Done);

        let together = manager.start_together(&units).unwrap();
        assert_eq!(together.jobs, [JobId(7)].into());
        assert_eq!(together.refused["b.service"].reason(), Reason::NoSuchUnit);
        assert_eq!(
            manager.start_together(&["a.service"]).unwrap().jobs.len(),
            1
        );
        assert_eq!(
            manager.start_together::<&str>(&[]).unwrap(),
            Together::default()
        );
    });
}

#[test]
fn an_older_systemd_is_asked_for_many_at_once_only_once() {
    let script = |peer: &mut Peer| {
        let asked = peer.due("EnqueueUnitJobMany");
        peer.refuse(&asked, "org.freedesktop.DBus.Error.UnknownMethod");
        for id in [5, 6] {
            let asked = peer.due("StartUnit");
            peer.answer(&asked, &job_path(id));
        }
    };
    with(script, |manager| {
        for id in [5, 6] {
            let together = manager.start_together(&["a.service"]).unwrap();
            assert_eq!(together.jobs, [JobId(id)].into());
        }
    });
}

/// Name, mode, settings, further units with theirs.
type Arguments<'a> = (
    &'a str,
    &'a str,
    Vec<(&'a str, Variant<'a>)>,
    Vec<(&'a str, Vec<(&'a str, Variant<'a>)>)>,
);

#[test]
fn settings_of_a_transient_unit_have_the_types_that_systemd_wants() {
    let script = |peer: &mut Peer| {
        let asked = peer.due("StartTransientUnit");
        let (name, mode, settings, others) = asked.call.body::<Arguments<'_>>().unwrap();
        assert_eq!((name, mode, others.len()), ("x.service", "fail", 0));
        let types: Vec<String> = settings
            .iter()
            .map(|(name, value)| format!("{name} {}", value.value_signature()))
            .collect();
        assert_eq!(
            types,
            [
                "Type s",
                "RemainAfterExit b",
                "RuntimeMaxUSec t",
                "Wants as",
                "ExecStart a(sasb)"
            ]
        );
        peer.answer(&asked, &job_path(3));
    };
    let text = str::to_owned;
    let settings = [
        ("Type", Setting::Text(text("oneshot"))),
        ("RemainAfterExit", Setting::Flag(true)),
        ("RuntimeMaxUSec", Setting::Number(5)),
        ("Wants", Setting::Texts(vec![text("a.service")])),
        (
            "ExecStart",
            Setting::Commands(vec![vec![text("/bin/true")]]),
        ),
    ];
    let job = with(script, |manager| {
        manager.start_transient("x.service", Mode::Fail, &settings, &[])
    });
    assert_eq!(job.unwrap(), JobId(3));
}
