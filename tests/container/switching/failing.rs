//! A switch that does not end well is undone: after each kind of failure the machine is what it was, and what was wrong
//! is said.

use anyhow::{Context as _, Result, ensure};
use lastgood::state::{Event, Standing};
use lastgood_tests::debian::Debian;
use lastgood_tests::switching::{CONFIG, Closure, Record, look, steps, traced, traced_by};

use super::{is_as, lastgood, runs, switching};
use crate::{BROKEN_NGINX, BROKEN_RULESET};

on_one_debian! {
    Twelve: whatever_fails_the_machine_is_what_it_was,
    Thirteen: whatever_is_refused_changes_nothing,
    Twelve: what_has_ended_well_and_waits_for_its_next_start_is_well,
}

/// What is wrong with a closure, and what comes of it.
struct Failure {
    what: &'static str,
    closure: Closure,
    status: i64,
    /// What must be said.
    said: &'static str,
}

fn failure(what: &'static str, closure: Closure, status: i64, said: &'static str) -> Failure {
    Failure {
        what,
        closure,
        status,
        said,
    }
}

/// What all of them begin with.
fn base() -> Closure {
    Closure::new()
        .wanted("app.service", traced("app", "one"))
        .wanted(
            "kept.service",
            format!("[Unit]\nRequires=app.service\n{}", traced("kept", "x")),
        )
        .wanted("gone.service", traced("gone", "one"))
        .wanted("again.service", again("/bin/true"))
        .file("etc/rig.conf", "one\n")
}

/// One that is reloaded so, and in no other way touched.
fn again(reload: &str) -> String {
    format!("[Service]\nExecStart=/bin/sleep infinity\nExecReload={reload}\n")
}

/// Everything in it is different, and nothing is wrong yet.
fn changed() -> Closure {
    base()
        .without_unit("gone.service")
        .wanted("app.service", traced("app", "two"))
        .wanted("new.service", traced("new", "two"))
        .file("etc/rig.conf", "two\n")
        .file("etc/rig-new.conf", "two\n")
        .file(
            "etc/nftables.conf",
            "table inet lastgood-demo {\n chain input {\n type filter hook input priority filter; policy accept;\n }\n}\n",
        )
}

fn with_script(closure: Closure, script: &str) -> Closure {
    closure
        .file(
            "etc/lastgood/lastgood.toml",
            format!("{CONFIG}\n[activation]\nscript = \"activate\"\ndeadline-sec = 3\n"),
        )
        .program("activate", format!("#!/bin/sh\n{script}\n"))
}

/// A unit is not what it should be.
fn of_units() -> Vec<Failure> {
    let unit = |text: &str| changed().wanted("bad.service", text);
    vec![
        failure(
            "a oneshot ends with 1",
            unit("[Service]\nType=oneshot\nExecStart=/bin/false\n"),
            4,
            "bad.service",
        ),
        // systemd says that this start is done (A2).
        failure(
            "the program is missing",
            unit("[Service]\nExecStart=/does/not/exist\n"),
            4,
            "bad.service",
        ),
        failure(
            "the user is missing",
            unit("[Service]\nUser=nobody-of-that-name\nExecStart=/bin/sleep infinity\n"),
            4,
            "bad.service",
        ),
        failure(
            "it says nothing within its time",
            unit("[Service]\nType=notify\nTimeoutStartSec=1\nExecStart=/bin/sleep infinity\n"),
            4,
            "bad.service",
        ),
        failure(
            "it ends a moment after its start",
            unit("[Service]\nExecStart=/bin/sh -c 'sleep 0.3; exit 3'\n"),
            4,
            "bad.service",
        ),
        failure(
            "it is started again and again",
            unit(
                "[Service]\nRestart=always\nRestartSec=100ms\nExecStart=/bin/sh -c 'sleep 0.2; exit 3'\n",
            ),
            4,
            "bad.service",
        ),
        failure(
            "what it needs fails",
            unit("[Service]\nType=oneshot\nExecStart=/bin/false\n").wanted(
                "app.service",
                format!(
                    "[Unit]\nRequires=bad.service\nAfter=bad.service\n{}",
                    traced("app", "two")
                ),
            ),
            4,
            "bad.service",
        ),
        // It is active before and after, and runs by its old settings (X6).
        failure(
            "a reload fails",
            changed().wanted("again.service", again("/bin/false")),
            4,
            "again.service: its reload failed",
        ),
        failure(
            "a changed service fails",
            changed().wanted(
                "app.service",
                "[Service]\nType=exec\nExecStart=/bin/false\n",
            ),
            4,
            "app.service",
        ),
    ]
}

/// Something else is not.
fn of_the_closure() -> Vec<Failure> {
    vec![
        failure(
            "what is required fails",
            changed().file(BROKEN_NGINX.0, BROKEN_NGINX.1).wanted(
                "nginx.service",
                include_str!("../../guest/closure/nginx.service")
                    .replace("Restart=no", "Restart=no\nNice=1"),
            ),
            4,
            "nginx.service",
        ),
        failure(
            "its script fails",
            with_script(changed(), "exit 7"),
            1,
            "activate",
        ),
        failure(
            "its script does not end",
            with_script(changed(), "exec sleep 60"),
            1,
            "activate",
        ),
        // Both systemd and the kernel find out at the load only: `nft -c` takes it (B5).
        failure(
            "the kernel does not take the firewall",
            changed().file(
                "etc/nftables.conf",
                "table inet lastgood-demo {\n chain e { jump d; }\n chain d { jump e; }\n chain input {\n \
                 type filter hook input priority filter; policy accept;\n jump d;\n }\n}\n",
            ),
            1,
            "nftables.conf",
        ),
    ]
}

fn whatever_fails_the_machine_is_what_it_was(debian: Debian) -> Result<()> {
    let failures: Vec<Failure> = of_units().into_iter().chain(of_the_closure()).collect();
    let mut closures = vec![base()];
    closures.extend(failures.iter().map(|failure| failure.closure.clone()));
    switching("failing", debian, &closures, |server, subjects| {
        // Somebody else's table, which neither way touches.
        server.run_ok(
            "nft 'table inet other { set known { type ipv4_addr; elements = { 192.0.2.1 } }; chain x { }; }'",
        )?;
        let before = look(server)?;
        let mut wrong = Vec::new();
        let numbered = (2..).zip(failures.iter().zip(subjects.iter().skip(1)));
        for (number, (failure, subject)) in numbered {
            steps(server)?;
            let ended = lastgood(server, &format!("test {number}"))?;
            let said = format!("{}{}", ended.stdout, ended.stderr);
            let checks = [
                ensured(
                    ended.status == failure.status,
                    &format!("ended with {}", ended.status),
                ),
                ensured(
                    said.contains(failure.said),
                    &format!("nothing of {}", failure.said),
                ),
                is_as(server, &before),
                runs(server, &subjects[0]),
            ];
            let state = server.state()?;
            let recorded = [
                ensured(
                    state.switching.is_none(),
                    &format!("{:?} is on record", state.switching),
                ),
                ensured(
                    state.standing(subject) == Standing::Rejected,
                    &format!("it is {:?}", state.standing(subject)),
                ),
            ];
            for check in checks.into_iter().chain(recorded) {
                if let Err(error) = check {
                    wrong.push(format!(
                        "{}: {error:#}\n{said}\n{:?}",
                        failure.what,
                        steps(server)?
                    ));
                }
            }
            // The next row is to begin where this one did.
            is_as(server, &before).with_context(|| format!("{}:\n{said}", failure.what))?;
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        Ok(())
    })
}

fn ensured(is_so: bool, otherwise: &str) -> Result<()> {
    ensure!(is_so, "{otherwise}");
    Ok(())
}

/// What can be known before the first change.
fn whatever_is_refused_changes_nothing(debian: Debian) -> Result<()> {
    let circle =
        |name: &str, other: &str| format!("[Unit]\nAfter={other}.service\n{}", traced(name, "x"));
    let refused = [
        failure(
            "nft does not take it",
            changed().file(BROKEN_RULESET.0, BROKEN_RULESET.1),
            1,
            "nftables.conf",
        ),
        failure(
            "units wait for each other",
            changed()
                .wanted("hen.service", circle("hen", "egg"))
                .wanted("egg.service", circle("egg", "hen")),
            1,
            "wait for each other",
        ),
        failure(
            "its configuration cannot be read",
            changed().file("etc/lastgood/lastgood.toml", "[health]\nsettle = 1\n"),
            1,
            "lastgood.toml",
        ),
        failure(
            "what is required is not there",
            changed().file(
                "etc/lastgood/lastgood.toml",
                CONFIG.replace(
                    "\"nginx.service\"",
                    "\"nginx.service\", \"nowhere.service\"",
                ),
            ),
            1,
            "nowhere.service",
        ),
        failure(
            "it is another machine's",
            changed().file("etc/hostname", "somebody-else\n"),
            1,
            "somebody-else",
        ),
    ];
    let mut closures = vec![base()];
    closures.extend(refused.iter().map(|failure| failure.closure.clone()));
    switching("refused", debian, &closures, |server, subjects| {
        steps(server)?;
        let before = look(server)?;
        for (number, failure) in (2..).zip(&refused) {
            let ended = lastgood(server, &format!("test {number}"))?;
            let said = format!("{}{}", ended.stdout, ended.stderr);
            ensure!(
                ended.status == failure.status,
                "{}: {ended:?}",
                failure.what
            );
            ensure!(said.contains(failure.said), "{}: {said}", failure.what);
            is_as(server, &before).context(failure.what)?;
        }
        ensure!(
            steps(server)?.is_empty(),
            "something was stopped or started"
        );
        // Refused is not tried: no verdict, and nothing on record.
        let events = server.events()?;
        ensure!(
            !events
                .iter()
                .any(|event| matches!(event, Event::Switching(_))),
            "{events:?}"
        );
        for subject in subjects {
            ensure!(server.state()?.standing(subject) != Standing::Rejected);
        }
        Ok(())
    })
}

on_each_debian! {
    a_stop_that_needs_force_is_told_and_no_failure,
}

/// A job that runs once an hour, by a service that starts itself again.
fn what_has_ended_well_and_waits_for_its_next_start_is_well(debian: Debian) -> Result<()> {
    let hourly = |program: &str| {
        Closure::new().wanted(
            "hourly.service",
            format!("[Service]\nRestart=always\nRestartSec=1h\nExecStart={program}\n"),
        )
    };
    let closures = [Closure::new(), hourly("/bin/true"), hourly("/bin/false")];
    switching("hourly", debian, &closures, |server, subjects| {
        super::switched(server, 2)?;
        let now = Record::of(server, "hourly.service")?;
        ensure!(now.get("SubState") == "auto-restart", "{now:?}");
        let said = super::ends(server, "test 3", 4)?;
        ensure!(said.contains("hourly.service: it ended"), "{said}");
        runs(server, &subjects[1])
    })
}

/// systemd says "done" of this stop as well (X6).
fn a_stop_that_needs_force_is_told_and_no_failure(debian: Debian) -> Result<()> {
    let stubborn = |mark: &str| {
        format!(
            "[Service]\nEnvironment=MARK={mark}\nTimeoutStopSec=1\n\
             ExecStart=/bin/sh -c 'trap \"\" TERM; while :; do sleep 1; done'\n"
        )
    };
    let closure = |mark: &str| {
        Closure::new()
            .wanted("stubborn.service", stubborn(mark))
            .wanted("app.service", traced_by("app", mark, ""))
    };
    switching(
        "force",
        debian,
        &[
            closure("one").wanted("leaving.service", stubborn("one")),
            closure("two"),
        ],
        |server, _| {
            let said = super::switched(server, 2)?;
            for unit in ["stubborn.service", "leaving.service"] {
                let told = format!("{unit} did not stop in order: timeout");
                ensure!(said.contains(&told), "{said}");
            }
            // Nobody could start it, and it would count as failed for ever.
            let failed = server.run_ok("systemctl --failed --no-legend --plain")?;
            ensure!(!failed.contains("leaving.service"), "{failed}");
            let now = Record::of(server, "stubborn.service")?;
            ensure!(
                now.state() == "active" && now.get("Environment") == "MARK=two",
                "{now:?}"
            );
            Ok(())
        },
    )
}
