//! Who else is there while a machine is switched: sessions that end, a second run, users with managers of their own.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lastgood::state::Event;
use lastgood::state::switching::{Phase, Undone};
use lastgood_tests::container::Container;
use lastgood_tests::debian::Debian;
use lastgood_tests::switching::{Closure, Record, look, traced, traced_by};

use super::{
    SWITCH, Seen, ends, is_soon_as, lastgood, runs, switched, switching, switching_on, until,
};

on_one_debian! {
    Thirteen: a_session_that_ends_does_not_end_the_switch,
    Twelve: a_session_that_ends_leaves_a_change_that_silence_undoes,
    Twelve: a_second_switch_is_told_who_holds_the_lock,
    Thirteen: users_have_their_units_switched_too,
    Twelve: a_user_who_does_not_answer_costs_a_line_and_a_bounded_wait,
}

/// It takes two seconds to be stopped.
fn slow(mark: &str) -> Closure {
    let stop = "ExecStop=/bin/sh -c 'touch /run/rig-middle; sleep 2'\n";
    Closure::new()
        .wanted("slow.service", traced_by("slow", mark, stop))
        .wanted("app.service", traced("app", mark))
}

fn in_the_middle(server: &Container) -> Result<()> {
    server.run_ok(
        "timeout 20 sh -c 'until [ -e /run/rig-middle ]; do sleep 0.05; done; rm /run/rig-middle'",
    )?;
    Ok(())
}

/// As when the network goes away, or somebody closes a terminal.
fn a_session_that_ends_does_not_end_the_switch(debian: Debian) -> Result<()> {
    switching(
        "session",
        debian,
        &[slow("one"), slow("two")],
        |server, subjects| {
            for (number, signal) in [(2, "KILL"), (1, "HUP"), (2, "TERM")] {
                let session =
                    "systemd-run --quiet --scope --unit=session-9.scope --slice=user-0.slice";
                let running = server.begin(&format!("{session} lastgood test {number}"), SWITCH)?;
                in_the_middle(server)?;
                server.run_ok(&format!("systemctl kill --signal={signal} session-9.scope"))?;
                drop(running.wait());
                let wanted = &subjects[number - 1];
                until(SWITCH, || {
                    Ok(match (runs(server, wanted), server.state()?.switching) {
                        (Ok(()), None) => Seen::Yes(()),
                        (found, switching) => Seen::NotYet(format!("{found:?} {switching:?}")),
                    })
                })
                .with_context(|| format!("{number}, {signal}"))?;
                let now = Record::of(server, "slow.service")?;
                ensure!(now.state() == "active", "{now:?}");
                server.run("systemctl stop session-9.scope")?;
            }
            Ok(())
        },
    )
}

/// It ends in the middle of the change: that goes on, and waits to be confirmed by whoever can still get in. Nobody can.
fn a_session_that_ends_leaves_a_change_that_silence_undoes(debian: Debian) -> Result<()> {
    const WITHIN: Duration = Duration::from_secs(25);
    let closures = [slow("one"), slow("two")];
    switching("session-silent", debian, &closures, |server, subjects| {
        // A session leaves it up.
        server.run_ok("systemctl start user.slice")?;
        let before = look(server)?;
        let begun = Instant::now();
        let running = server.begin(
            &format!(
                "systemd-run --quiet --scope --unit=session-9.scope --slice=user-0.slice \
                 lastgood test 2 --confirm-within {}s",
                WITHIN.as_secs()
            ),
            SWITCH,
        )?;
        in_the_middle(server)?;
        server.run_ok("systemctl kill --signal=KILL session-9.scope")?;
        let ended = running.wait()?;
        ensure!(ended.status != 0, "it had ended before: {ended:?}");
        until(WITHIN, || {
            let phase = server.state()?.switching.map(|one| one.phase);
            Ok(match (phase, runs(server, &subjects[1])) {
                (Some(Phase::Waiting), Ok(())) => Seen::Yes(()),
                found => Seen::NotYet(format!("{found:?}")),
            })
        })?;
        let now = Record::of(server, "slow.service")?;
        ensure!(now.state() == "active", "{now:?}");
        ensure!(begun.elapsed() < WITHIN, "too slow to mean anything");
        is_soon_as(server, &before, SWITCH)?;
        ensure!(begun.elapsed() > WITHIN, "{:?}", begun.elapsed());
        runs(server, &subjects[0])?;
        until(SWITCH, || {
            let events = server.events()?;
            let is_unconfirmed = |event: &Event| matches!(event, Event::SwitchedBack(back) if back.undone == Undone::Unconfirmed);
            Ok(if events.iter().any(is_unconfirmed) {
                Seen::Yes(())
            } else {
                Seen::NotYet(format!("{events:?}"))
            })
        })
    })
}

fn a_second_switch_is_told_who_holds_the_lock(debian: Debian) -> Result<()> {
    let third = slow("one").file("etc/rig.conf", "three\n");
    switching(
        "second",
        debian,
        &[slow("one"), slow("two"), third],
        |server, subjects| {
            let first = server.begin("lastgood test 2", SWITCH)?;
            in_the_middle(server)?;
            let second = lastgood(server, "test 3")?;
            ensure!(second.status == 1, "{second:?}");
            ensure!(
                second.stderr.contains("lastgood-switch.service"),
                "{second:?}"
            );
            let first = first.wait()?;
            ensure!(first.status == 0, "{first:?}");
            runs(server, &subjects[1])
        },
    )
}

/// What a user's manager needs, without logind, which starts in no container of every release.
pub(super) fn for_users(server: &Container) -> Result<()> {
    server.write(
        "/etc/systemd/system/user-runtime-dir@.service",
        "[Service]\nType=oneshot\nRemainAfterExit=yes\n\
         ExecStart=/bin/sh -c 'mkdir -p -m 700 /run/user/%i && chown %i:%i /run/user/%i'\n",
    )?;
    server.write(
        "/etc/systemd/system/user@.service.d/rig.conf",
        "[Service]\nPAMName=\nEnvironment=XDG_RUNTIME_DIR=/run/user/%i\n",
    )
}

/// Somebody is there with a manager of their own.
pub(super) fn with_user(server: &Container) -> Result<()> {
    server.run_ok("useradd --create-home --uid 1000 alice && systemctl start user@1000.service")?;
    Ok(())
}

fn of_alice(server: &Container, unit: &str, property: &str) -> Result<String> {
    server.run_ok(&format!(
        "setpriv --reuid=1000 --regid=1000 --clear-groups env XDG_RUNTIME_DIR=/run/user/1000 \
         systemctl --user show --value --property={property} {unit}"
    ))
}

fn users_have_their_units_switched_too(debian: Debian) -> Result<()> {
    let user = |name: &str| format!("etc/systemd/user/{name}");
    let service =
        |mark: &str| format!("[Service]\nEnvironment=MARK={mark}\nExecStart=/bin/sleep infinity\n");
    let closure = |mark: &str| {
        Closure::new()
            .file(&user("changed.service"), service(mark))
            .file(&user("same.service"), service("x"))
            .link(
                &user("default.target.wants/changed.service"),
                "../changed.service",
            )
            .link(
                &user("default.target.wants/same.service"),
                "../same.service",
            )
    };
    let before = closure("one")
        .file(&user("gone.service"), service("one"))
        .link(
            &user("default.target.wants/gone.service"),
            "../gone.service",
        );
    let after = closure("two")
        .file(&user("new.service"), service("two"))
        .link(&user("default.target.wants/new.service"), "../new.service");
    switching_on("users", debian, &[before, after], for_users, |server, _| {
        with_user(server)?;
        for unit in ["changed.service", "same.service", "gone.service"] {
            ensure!(of_alice(server, unit, "ActiveState")? == "active", "{unit}");
        }
        let same = of_alice(server, "same.service", "InvocationID")?;
        switched(server, 2)?;
        ensure!(of_alice(server, "changed.service", "Environment")? == "MARK=two");
        for (unit, state) in [
            ("changed.service", "active"),
            ("new.service", "active"),
            ("gone.service", "inactive"),
        ] {
            let now = of_alice(server, unit, "ActiveState")?;
            ensure!(now == state, "{unit} is {now}");
        }
        ensure!(of_alice(server, "same.service", "InvocationID")? == same);
        Ok(())
    })
}

/// A manager that is stopped.
fn a_user_who_does_not_answer_costs_a_line_and_a_bounded_wait(debian: Debian) -> Result<()> {
    let closure = |mark: &str| Closure::new().wanted("app.service", traced("app", mark));
    let closures = [closure("one"), closure("two")];
    switching_on(
        "mute-user",
        debian,
        &closures,
        for_users,
        |server, subjects| {
            with_user(server)?;
            let manager = "$(systemctl show --value --property=MainPID user@1000.service)";
            server.run_ok(&format!("kill -STOP {manager}"))?;
            let begun = Instant::now();
            let said = ends(server, "test 2", 0)?;
            ensure!(
                said.contains("units of user 1000 are as they were"),
                "{said}"
            );
            ensure!(
                begun.elapsed() < Duration::from_secs(30),
                "{:?}",
                begun.elapsed()
            );
            runs(server, &subjects[1])?;
            server.run_ok(&format!("kill -CONT {manager}"))?;
            switched(server, 1)?;
            runs(server, &subjects[0])
        },
    )
}
