//! Between the stop of a changed unit and the reload anything may start it: from its old definition. After the switch
//! nothing runs that was.

use anyhow::{Result, ensure};
use lastgood_tests::container::Container;
use lastgood_tests::debian::Debian;
use lastgood_tests::switching::{Closure, Record, steps, traced_by};

use super::{ends, switched, switching, switching_on};

on_one_debian! {
    Thirteen: what_a_timer_or_a_path_starts_in_between_is_started_anew,
    Twelve: what_restarts_by_itself_in_between_is_started_anew,
    Twelve: what_starts_in_between_on_the_way_back_is_started_anew,
    Thirteen: what_a_bus_name_starts_in_between_is_started_anew,
}

/// A service that takes its time to stop, so that there is a gap between the stops and the reload.
fn holding_open(mark: &str) -> String {
    traced_by(
        "slow",
        mark,
        "ExecStop=/bin/sh -c 'touch /run/rig-gap; sleep 4; rm /run/rig-gap'\n",
    )
}

/// One that says from which definition it was started.
fn marked(name: &str, mark: &str, more: &str) -> String {
    traced_by(name, mark, &format!("Environment=MARK={mark}\n{more}"))
}

/// Each was stopped, was started in the gap from its old definition, and runs by its new one now.
fn is_anew(server: &Container, names: &[&str]) -> Result<()> {
    let steps = steps(server)?;
    for name in names {
        ensure!(
            steps.contains(&format!("{name} start one")),
            "{name} was not started in the gap, which says nothing: {steps:?}"
        );
        let starts = format!("{name} start ");
        let last = steps.iter().rev().find(|step| step.starts_with(&starts));
        ensure!(last == Some(&format!("{name} start two")), "{steps:?}");
        let now = Record::of(server, &format!("{name}.service"))?;
        ensure!(now.state() == "active", "{now:?}");
        ensure!(now.get("Environment").contains("MARK=two"), "{now:?}");
    }
    Ok(())
}

/// With services that a timer and a path start.
fn triggered(mark: &str) -> Closure {
    Closure::new()
        .wanted("slow.service", holding_open(mark))
        .wanted("timed.service", marked("timed", mark, ""))
        .unit(
            "timed.timer",
            "[Timer]\nOnCalendar=*:*:*\nAccuracySec=100ms\n",
        )
        .wants("timers.target", "timed.timer")
        .wanted("seen.service", marked("seen", mark, ""))
        .unit("seen.path", "[Path]\nPathExists=/run/rig-gap\n")
        .wants("paths.target", "seen.path")
}

fn what_a_timer_or_a_path_starts_in_between_is_started_anew(debian: Debian) -> Result<()> {
    switching(
        "late-timer",
        debian,
        &[triggered("one"), triggered("two")],
        |server, _| {
            steps(server)?;
            switched(server, 2)?;
            is_anew(server, &["timed", "seen"])
        },
    )
}

/// The same on the way back: then the old definition is that of the closure which is left.
fn what_starts_in_between_on_the_way_back_is_started_anew(debian: Debian) -> Result<()> {
    let bad = triggered("two").wanted(
        "bad.service",
        "[Service]\nType=oneshot\nExecStart=/bin/false\n",
    );
    switching(
        "late-back",
        debian,
        &[triggered("one"), bad],
        |server, _| {
            steps(server)?;
            ends(server, "test 2", 4)?;
            let steps = steps(server)?;
            for name in ["timed", "seen"] {
                let starts: Vec<&str> = steps
                    .iter()
                    .filter_map(|step| step.strip_prefix(&format!("{name} start ")))
                    .collect();
                // In the gap, by its new definition, in the gap on the way back, and by its old one again.
                ensure!(starts == ["one", "two", "two", "one"], "{name}: {steps:?}");
                let now = Record::of(server, &format!("{name}.service"))?;
                ensure!(now.get("Environment").contains("MARK=one"), "{now:?}");
            }
            Ok(())
        },
    )
}

/// It is between two tries when everything is stopped; or its stop is no clean one.
fn what_restarts_by_itself_in_between_is_started_anew(debian: Debian) -> Result<()> {
    let closure =
        |mark: &str| {
            Closure::new()
            .wanted("slow.service", holding_open(mark))
            // Nothing changed here, but it starts what did.
            .wanted(
                "starter.service",
                "[Service]\nExecStart=/bin/sh -c 'until [ -e /run/rig-gap ]; do sleep 0.1; done; \
                 systemctl start again.service; exec sleep infinity'\n",
            )
            .wanted("again.service", marked("again", mark, "Restart=always\nRestartSec=200ms\n"))
        };
    switching(
        "late-restart",
        debian,
        &[closure("one"), closure("two")],
        |server, _| {
            steps(server)?;
            switched(server, 2)?;
            is_anew(server, &["again"])
        },
    )
}

/// The bus starts who has a name that is asked for.
fn what_a_bus_name_starts_in_between_is_started_anew(debian: Debian) -> Result<()> {
    let closure = |mark: &str| {
        Closure::new()
            .wanted("slow.service", holding_open(mark))
            .wanted("named.service", marked("named", mark, ""))
            .wanted(
                "asking.service",
                "[Service]\nExecStart=/bin/sh -c 'until [ -e /run/rig-gap ]; do sleep 0.1; done; \
                 busctl --timeout=2 call org.freedesktop.DBus / org.freedesktop.DBus StartServiceByName su \
                 org.example.Rig 0; exec sleep infinity'\n",
            )
    };
    let with_name = |server: &Container| {
        server.write(
            "/usr/share/dbus-1/system-services/org.example.Rig.service",
            "[D-BUS Service]\nName=org.example.Rig\nExec=/bin/false\nUser=root\nSystemdService=named.service\n",
        )
    };
    let closures = [closure("one"), closure("two")];
    switching_on("late-name", debian, &closures, with_name, |server, _| {
        steps(server)?;
        switched(server, 2)?;
        is_anew(server, &["named"])
    })
}
