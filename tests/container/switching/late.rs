//! Between the stop of a changed unit and the reload anything may start it: from its old definition. After the switch
//! nothing runs that was.

use anyhow::{Result, ensure};
use lastgood_tests::debian::Debian;
use lastgood_tests::switching::{Closure, Record, TRACE, steps, traced_by};

use super::{switched, switching};

on_one_debian! {
    Thirteen: what_a_timer_or_a_path_starts_in_between_is_started_anew,
    Twelve: what_restarts_by_itself_in_between_is_started_anew,
    Thirteen: what_a_bus_name_starts_in_between_is_started_anew,
}

/// A service that takes its time to stop, so that there is a gap between the stops and the reload.
fn holding_open(mark: &str) -> String {
    traced_by(
        "slow",
        mark,
        &format!(
            "ExecStop=/bin/sh -c 'touch /run/rig-gap; sleep 4; rm /run/rig-gap; echo gap over >>{TRACE}'\n"
        ),
    )
}

/// It says whether it was started in the gap.
fn started_in_gap(name: &str, mark: &str, more: &str) -> String {
    format!(
        "[Service]\n\
         ExecStart=/bin/sh -c 'if [ -e /run/rig-gap ]; then echo {name} in-gap {mark} >>{TRACE}; \
         else echo {name} start {mark} >>{TRACE}; fi; exec sleep infinity'\n{more}"
    )
}

/// Each was started in the gap from its old definition, and runs by its new one now.
fn is_anew(server: &lastgood_tests::container::Container, names: &[&str]) -> Result<()> {
    let steps = steps(server)?;
    for name in names {
        ensure!(
            steps.contains(&format!("{name} in-gap one")),
            "{name} was not started in the gap, which says nothing: {steps:?}"
        );
        let last = steps
            .iter()
            .rev()
            .find(|step| step.starts_with(&format!("{name} ")));
        ensure!(last == Some(&format!("{name} start two")), "{steps:?}");
        let now = Record::of(server, &format!("{name}.service"))?;
        ensure!(now.state() == "active", "{now:?}");
        ensure!(now.get("Environment").contains("MARK=two"), "{now:?}");
    }
    Ok(())
}

fn what_a_timer_or_a_path_starts_in_between_is_started_anew(debian: Debian) -> Result<()> {
    let closure = |mark: &str| {
        let marked = format!("Environment=MARK={mark}\n");
        Closure::new()
            .wanted("slow.service", holding_open(mark))
            .wanted("timed.service", started_in_gap("timed", mark, &marked))
            .unit(
                "timed.timer",
                "[Timer]\nOnCalendar=*:*:*\nAccuracySec=100ms\n",
            )
            .wants("timers.target", "timed.timer")
            .wanted("seen.service", started_in_gap("seen", mark, &marked))
            .unit("seen.path", "[Path]\nPathExists=/run/rig-gap\n")
            .wants("paths.target", "seen.path")
    };
    switching(
        "late-timer",
        debian,
        &[closure("one"), closure("two")],
        |server, _| {
            steps(server)?;
            switched(server, 2)?;
            is_anew(server, &["timed", "seen"])
        },
    )
}

/// It is between two tries when everything is stopped; or its stop is no clean one.
fn what_restarts_by_itself_in_between_is_started_anew(debian: Debian) -> Result<()> {
    let closure = |mark: &str| {
        let marked = format!("Environment=MARK={mark}\nRestart=always\nRestartSec=200ms\n");
        Closure::new()
            .wanted("slow.service", holding_open(mark))
            // Nothing changed here, but it starts what did.
            .wanted(
                "starter.service",
                "[Service]\nExecStart=/bin/sh -c 'until [ -e /run/rig-gap ]; do sleep 0.1; done; \
                 systemctl start again.service; exec sleep infinity'\n",
            )
            .wanted("again.service", started_in_gap("again", mark, &marked))
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
        let marked = format!("Environment=MARK={mark}\n");
        Closure::new()
            .wanted("slow.service", holding_open(mark))
            .file(
                "etc/dbus-1/system-services/org.example.Rig.service",
                "[D-BUS Service]\nName=org.example.Rig\nExec=/bin/false\nUser=root\nSystemdService=named.service\n",
            )
            .wanted("named.service", started_in_gap("named", mark, &marked))
            .wanted(
                "asking.service",
                "[Service]\nExecStart=/bin/sh -c 'until [ -e /run/rig-gap ]; do sleep 0.1; done; \
                 busctl --timeout=2 call org.example.Rig / org.example.Rig Do; exec sleep infinity'\n",
            )
    };
    switching(
        "late-name",
        debian,
        &[closure("one"), closure("two")],
        |server, _| {
            // The bus reads services in its own directories only.
            server.run_ok(
                "mkdir -p /run/dbus-1/system-services && \
             cp /etc/static/dbus-1/system-services/*.service /run/dbus-1/system-services/ && \
             busctl call org.freedesktop.DBus / org.freedesktop.DBus ReloadConfig",
            )?;
            steps(server)?;
            switched(server, 2)?;
            is_anew(server, &["named"])
        },
    )
}
