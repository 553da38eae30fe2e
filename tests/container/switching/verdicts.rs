//! What is held against a switch and what is not, where a job's word says otherwise, or the closure does.

use anyhow::{Result, ensure};
use lastgood_tests::debian::Debian;
use lastgood_tests::switching::{CONFIG, Closure, Record, look};

use super::{ends, is_as, runs, switched, switching};

on_one_debian! {
    Twelve: what_is_wanted_only_is_named_and_held_against_nobody,
    Thirteen: a_service_that_comes_up_at_its_second_try_is_well,
    Twelve: what_says_by_now_that_it_is_not_to_run_is_down_and_no_failure,
}

/// The same unit, which is new and fails: `wanted-units` makes the difference.
fn what_is_wanted_only_is_named_and_held_against_nobody(debian: Debian) -> Result<()> {
    let fails = "[Service]\nType=exec\nExecStart=/bin/false\n";
    let counts = Closure::new().wanted("extra.service", fails);
    let wanted = CONFIG.replace(
        "[health]\n",
        "[health]\nwanted-units = [\"extra.service\"]\n",
    );
    let is_wanted = counts.clone().file("etc/lastgood/lastgood.toml", wanted);
    let closures = [Closure::new(), counts, is_wanted];
    switching("wanted", debian, &closures, |server, subjects| {
        let before = look(server)?;
        let said = ends(server, "test 2", 4)?;
        ensure!(said.contains("extra.service"), "{said}");
        is_as(server, &before)?;
        let said = switched(server, 3)?;
        let is_named = |line: &str| {
            line.contains("extra.service: it failed") && line.contains("held against nobody")
        };
        ensure!(said.lines().any(is_named), "{said}");
        ensure!(Record::of(server, "extra.service")?.state() == "failed");
        ensure!(server.state()?.switching.is_none());
        runs(server, &subjects[2])
    })
}

/// "failed" is not final (X7): systemd tries it again, and it comes up.
fn a_service_that_comes_up_at_its_second_try_is_well(debian: Debian) -> Result<()> {
    let first = "if [ ! -e /run/rig-tried ]; then touch /run/rig-tried; exit 3; fi;";
    let twice = |mark: &str, first: &str| {
        Closure::new().wanted(
            "twice.service",
            format!(
                "[Service]\nType=notify\nNotifyAccess=all\nRestart=on-failure\nRestartSec=300ms\nEnvironment=MARK={mark}\n\
                 ExecStart=/bin/sh -c '{first} systemd-notify --ready; exec sleep infinity'\n"
            ),
        )
    };
    let closures = [twice("one", ""), twice("two", first)];
    switching("twice", debian, &closures, |server, subjects| {
        switched(server, 2)?;
        let now = Record::of(server, "twice.service")?;
        ensure!(
            now.state() == "active" && now.get("NRestarts") == "1",
            "{now:?}"
        );
        ensure!(now.get("Environment") == "MARK=two", "{now:?}");
        runs(server, &subjects[1])
    })
}

/// Its condition was true when it was started, and is false now (X23): its restart is "done", and it is down. That is what
/// the closure asks for.
fn what_says_by_now_that_it_is_not_to_run_is_down_and_no_failure(debian: Debian) -> Result<()> {
    let closure = |mark: &str| {
        let unit = |more: &str| {
            format!(
                "[Unit]\nConditionPathExists=!/run/rig-off\n\
                 [Service]\nEnvironment=MARK={mark}\nExecStart=/bin/sleep infinity\n{more}"
            )
        };
        Closure::new()
            .wanted("stopped.service", unit(""))
            .wanted("restarted.service", unit("X-StopIfChanged=false\n"))
    };
    let closures = [closure("one"), closure("two")];
    switching("condition", debian, &closures, |server, subjects| {
        let units = ["stopped.service", "restarted.service"];
        for unit in units {
            ensure!(Record::of(server, unit)?.state() == "active", "{unit}");
        }
        server.run_ok("touch /run/rig-off")?;
        let said = switched(server, 2)?;
        for line in ["stopping stopped.service", "restarting restarted.service"] {
            ensure!(said.contains(line), "{said}");
        }
        for unit in units {
            let now = Record::of(server, unit)?;
            ensure!(now.state() == "inactive", "{unit}: {now:?}");
            ensure!(now.get("Result") == "success", "{unit}: {now:?}");
        }
        runs(server, &subjects[1])
    })
}
