//! The order in which things are stopped, reloaded and started: what systemd would do wrong if it were another one.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lastgood_tests::container::Reach;
use lastgood_tests::debian::Debian;
use lastgood_tests::switching::{Closure, Record, TRACE, show, steps, traced, traced_by};

use super::{ends, lastgood, switched, switching};

on_one_debian! {
    Thirteen: the_old_process_is_stopped_by_the_old_file,
    Twelve: every_stop_has_ended_before_the_first_start,
    Thirteen: what_hangs_on_a_changed_unit_is_up_again,
    Twelve: changed_units_are_started_in_one_ordered_set,
    Thirteen: a_start_of_several_commands_is_not_cut_short,
    Twelve: a_start_that_has_hit_its_limit_is_started_all_the_same,
    Thirteen: a_name_that_nobody_can_parse_costs_itself_alone,
    Twelve: what_is_done_does_not_depend_on_times,
}

/// Where a step is among those that were taken.
fn place(steps: &[String], step: &str) -> Result<usize> {
    let place = steps.iter().position(|one| one == step);
    place.with_context(|| format!("no {step:?} among {steps:?}"))
}

/// After the reload PID 1 knows the new file only: its `ExecStop=` for the old process, or none where it is gone (X20).
fn the_old_process_is_stopped_by_the_old_file(debian: Debian) -> Result<()> {
    let before = Closure::new()
        .wanted("changed.service", traced("changed", "one"))
        .wanted("gone.service", traced("gone", "one"))
        .wanted("stop-alone.service", traced("stop-alone", "one"));
    let stop_alone =
        traced("stop-alone", "one").replace("stop-alone stop one", "stop-alone stop two");
    let after = Closure::new()
        .wanted("changed.service", traced("changed", "two"))
        .wanted("stop-alone.service", stop_alone);
    switching("old-stop", debian, &[before, after], |server, _| {
        steps(server)?;
        switched(server, 2)?;
        let steps = steps(server)?;
        for step in ["changed stop one", "gone stop one", "stop-alone stop one"] {
            place(&steps, step)?;
        }
        ensure!(
            !steps.iter().any(|step| step.contains("stop two")),
            "{steps:?}"
        );
        ensure!(place(&steps, "changed stop one")? < place(&steps, "changed start two")?);
        Ok(())
    })
}

/// A start that overtakes the stop of the same unit cancels it (X4): the old process stays, what hung on it is down.
fn every_stop_has_ended_before_the_first_start(debian: Debian) -> Result<()> {
    let slow = format!("ExecStop=/bin/sh -c 'sleep 1; echo slow stopped >>{TRACE}'\n");
    let closure = |mark: &str| {
        Closure::new()
            .wanted("slow.service", traced_by("slow", mark, &slow))
            .wanted("quick.service", traced("quick", mark))
            .wanted(
                "hanging-on.service",
                format!(
                    "[Unit]\nRequires=slow.service\nAfter=slow.service\n{}",
                    traced("hanging-on", mark)
                ),
            )
    };
    switching(
        "stops-first",
        debian,
        &[closure("one"), closure("two")],
        |server, _| {
            steps(server)?;
            let units = ["slow.service", "quick.service", "hanging-on.service"];
            let before = show(server, &units)?;
            switched(server, 2)?;
            let steps = steps(server)?;
            let last_stop = place(&steps, "slow stopped")?;
            for name in ["slow", "quick", "hanging-on"] {
                ensure!(
                    last_stop < place(&steps, &format!("{name} start two"))?,
                    "{steps:?}"
                );
            }
            for unit in units {
                let now = Record::of(server, unit)?;
                ensure!(
                    now.state() == "active" && !now.same_start(&before[unit]),
                    "{unit}: {now:?}"
                );
            }
            Ok(())
        },
    )
}

/// Stopped with the one that they need (X5), they do not come back by themselves. The plan names them beforehand.
fn what_hangs_on_a_changed_unit_is_up_again(debian: Debian) -> Result<()> {
    const HANGING: [(&str, &str); 4] = [
        ("requires.service", "Requires=base.service"),
        ("part-of.service", "PartOf=base.service"),
        ("binds.service", "BindsTo=base.service\nAfter=base.service"),
        ("kept.service", "Requires=base.service"),
    ];
    let closure = |mark: &str| {
        let base = Closure::new().wanted("base.service", traced("base", mark));
        HANGING.iter().fold(base, |closure, (unit, line)| {
            let name = unit.trim_end_matches(".service");
            let more = if name == "kept" {
                "X-RestartIfChanged=false\n"
            } else {
                ""
            };
            closure.wanted(
                unit,
                format!("[Unit]\n{line}\n{}", traced_by(name, "x", more)),
            )
        })
    };
    switching(
        "hanging-on",
        debian,
        &[closure("one"), closure("two")],
        |server, _| {
            let told = ends(server, "dry-activate 2", 0)?;
            switched(server, 2)?;
            for (unit, _) in HANGING {
                ensure!(
                    told.contains(unit),
                    "the plan says nothing of {unit}:\n{told}"
                );
                let now = Record::of(server, unit)?;
                ensure!(now.state() == "active", "{unit}: {now:?}");
            }
            Ok(())
        },
    )
}

/// Single start jobs in a row would meet the other one's absence: `Requisite=` does not wait for it.
fn changed_units_are_started_in_one_ordered_set(debian: Debian) -> Result<()> {
    let closure = |mark: &str| {
        [("a", "b"), ("z", "y")]
            .iter()
            .fold(Closure::new(), |closure, (needs, needed)| {
                closure
                    .wanted(&format!("{needed}.service"), traced(needed, mark))
                    .wanted(
                        &format!("{needs}.service"),
                        format!(
                            "[Unit]\nRequisite={needed}.service\nAfter={needed}.service\n{}",
                            traced(needs, mark)
                        ),
                    )
            })
    };
    switching(
        "one-set",
        debian,
        &[closure("one"), closure("two")],
        |server, _| {
            steps(server)?;
            switched(server, 2)?;
            let steps = steps(server)?;
            for (needs, needed) in [("a", "b"), ("z", "y")] {
                for unit in [needs, needed] {
                    let now = Record::of(server, &format!("{unit}.service"))?;
                    ensure!(now.state() == "active", "{unit}: {now:?}\n{steps:?}");
                    place(&steps, &format!("{unit} start two"))?;
                }
            }
            Ok(())
        },
    )
}

/// A reload in the middle takes away what is still to be run, and the job ends as done (X32). One that is to be
/// restarted would be stopped, and start anew.
fn a_start_of_several_commands_is_not_cut_short(debian: Debian) -> Result<()> {
    let several = |mark: &str| {
        format!(
            "[Service]\nType=oneshot\nRemainAfterExit=yes\nX-RestartIfChanged=false\n\
             ExecStart=/bin/sh -c 'echo several first {mark} >>{TRACE}; sleep 3'\n\
             ExecStart=/bin/sh -c 'echo several second {mark} >>{TRACE}'\n"
        )
    };
    let closure = |mark: &str| Closure::new().unit("several.service", several(mark));
    switching(
        "several",
        debian,
        &[closure("one"), closure("two")],
        |server, _| {
            server.run_ok("systemctl start --no-block several.service")?;
            server.run_ok(&format!(
                "timeout 5 sh -c 'until grep -q several {TRACE}; do sleep 0.1; done'"
            ))?;
            let said = switched(server, 2)?;
            let steps = steps(server)?;
            let first = place(&steps, "several first one")?;
            ensure!(first < place(&steps, "several second one")?, "{steps:?}");
            ensure!(said.contains("several.service"), "nobody was told:\n{said}");
            ensure!(Record::of(server, "several.service")?.state() == "active");
            Ok(())
        },
    )
}

/// The count of starts is the old file's (A4); a start that is wanted must not meet it.
fn a_start_that_has_hit_its_limit_is_started_all_the_same(debian: Debian) -> Result<()> {
    let unit = |mark: &str| {
        format!(
            "[Unit]\nStartLimitIntervalSec=600\nStartLimitBurst=2\n{}",
            traced("limited", mark)
        )
    };
    // What names it keeps it in memory, and the count with it.
    let closure = |mark: &str| Closure::new().wanted("limited.service", unit(mark));
    switching(
        "start-limit",
        debian,
        &[closure("one"), closure("two")],
        |server, _| {
            server.run_ok("systemctl restart limited.service")?;
            let at_its_limit = server.run("systemctl restart limited.service")?;
            ensure!(at_its_limit.status != 0, "{at_its_limit:?}");
            server.run_ok(
                "systemctl reset-failed limited.service && systemctl start limited.service",
            )?;
            server.run_ok("systemctl restart limited.service")?;
            switched(server, 2)?;
            let now = Record::of(server, "limited.service")?;
            ensure!(now.state() == "active", "{now:?}");
            Ok(())
        },
    )
}

/// One name that is none fails the whole question (A7).
fn a_name_that_nobody_can_parse_costs_itself_alone(debian: Debian) -> Result<()> {
    let closure = |mark: &str| {
        Closure::new()
            .wanted("app.service", traced("app", mark))
            .unit("a b.service", traced("blank", mark))
            .unit("no-kind", traced("no-kind", mark))
            .unit("lonely@.service", traced("lonely", mark))
            .wants("multi-user.target", "lonely@.service")
            .link(
                "etc/systemd/system/multi-user.target.wants/a b.service",
                "../a b.service",
            )
            .file("etc/systemd/system/README", "Not a unit.\n")
    };
    switching(
        "odd-names",
        debian,
        &[closure("one"), closure("two")],
        |server, _| {
            steps(server)?;
            switched(server, 2)?;
            place(&steps(server)?, "app start two")?;
            Ok(())
        },
    )
}

/// In a store all times are 1, and `NeedDaemonReload` says no (A8, X42). A unit that is only in the new closure, one
/// whose link alone changes, and a page that nobody declares.
fn what_is_done_does_not_depend_on_times(debian: Debian) -> Result<()> {
    let page =
        |text: &str| Closure::new().file("etc/nginx/www/index.html", format!("<p>{text}</p>\n"));
    let before = page("one").wanted("app.service", traced("app", "one"));
    let after = page("two")
        .wanted("app.service", traced("app", "two"))
        .wanted("new.service", traced("new", "two"));
    switching("times", debian, &[before, after], |server, _| {
        for (number, mark) in [(2, "two"), (1, "one"), (2, "two")] {
            steps(server)?;
            switched(server, number)?;
            place(&steps(server)?, &format!("app start {mark}"))?;
            ensure!(server.reach(80)? == Reach::Page(format!("<p>{mark}</p>\n")));
            let new = Record::of(server, "new.service")?;
            ensure!((new.state() == "active") == (number == 2), "{new:?}");
        }
        let ended = lastgood(server, "test 2")?;
        ensure!(ended.status == 0, "{ended:?}");
        server.run_longer(
            "systemctl is-system-running --wait",
            Duration::from_secs(30),
        )?;
        Ok(())
    })
}
