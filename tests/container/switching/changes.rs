//! What becomes of a service whose unit file has changed, a row for each change. They all change in one switch.

use anyhow::{Result, ensure};
use lastgood_tests::container::Container;
use lastgood_tests::debian::Debian;
use lastgood_tests::switching::{Closure, Record, look, show, steps, traced, traced_by};

use super::{ends, is_as, runs, switched, switching};

on_one_debian! {
    Twelve: each_change_of_a_service_has_its_consequence,
    Thirteen: a_switch_to_the_same_changes_nothing,
}

/// What becomes of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Becomes {
    /// It goes on as if nothing had happened.
    Kept,
    /// Its `ExecReload=` ran, and it is the same process.
    Reloaded,
    /// It is another process now.
    Restarted,
    Stopped,
    Started,
}

/// A unit before and after; none: it is not there.
struct Row {
    unit: &'static str,
    before: Option<String>,
    after: Option<String>,
    becomes: Becomes,
}

/// A service that is in both, with `unit` in `[Unit]` and `service` in `[Service]`: before, and after.
fn row(
    unit: &'static str,
    becomes: Becomes,
    (unit_before, unit_after): (&str, &str),
    (service_before, service_after): (&str, &str),
) -> Row {
    let name = unit.trim_end_matches(".service").replace('\\', "_");
    let text = |of_unit: &str, of_service: &str| {
        let service = traced_by(&name, "x", of_service);
        Some(format!("[Unit]\n{of_unit}{service}"))
    };
    Row {
        unit,
        before: text(unit_before, service_before),
        after: text(unit_after, service_after),
        becomes,
    }
}

/// One whose `[Unit]` changes.
fn of_unit(unit: &'static str, becomes: Becomes, before: &str, after: &str) -> Row {
    row(unit, becomes, (before, after), ("", ""))
}

/// One whose `[Service]` changes.
fn of_service(unit: &'static str, becomes: Becomes, before: &str, after: &str) -> Row {
    row(unit, becomes, ("", ""), (before, after))
}

/// One that changes in a way that asks for a restart, and says both times what is to be done then.
fn says(unit: &'static str, becomes: Becomes, line: &str) -> Row {
    let (before, after) = (format!("{line}Nice=1\n"), format!("{line}Nice=2\n"));
    row(unit, becomes, ("", ""), (&before, &after))
}

/// A service that was able to reload before.
fn without_reload(name: &str) -> String {
    let text = traced(name, "x");
    let lines = text
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("ExecReload="));
    lines.collect()
}

/// What is written in the file.
fn texts() -> Vec<Row> {
    use Becomes::{Kept, Restarted};
    vec![
        of_unit("same.service", Kept, "", ""),
        of_unit(
            "described.service",
            Kept,
            "Description=a\n",
            "Description=b\n",
        ),
        of_unit(
            "documented.service",
            Kept,
            "",
            "Documentation=man:x(1)\nCollectMode=inactive-or-failed\nIgnoreOnIsolate=yes\nOnFailure=rescue.service\n",
        ),
        // Where a value is of more than one line, and where it is the same one in another form.
        of_service(
            "folded.service",
            Kept,
            "Environment=A=1 B=2\n",
            "Environment=A=1\\\nB=2\n",
        ),
        of_service(
            "commented.service",
            Kept,
            "",
            "# a word to whoever reads this\n; and another\n",
        ),
        of_service("key-added.service", Restarted, "", "Environment=A=1\n"),
        of_service(
            "key-changed.service",
            Restarted,
            "Environment=A=1\n",
            "Environment=A=2\n",
        ),
        of_service("key-removed.service", Restarted, "Environment=A=1\n", ""),
        of_service(
            "key-renamed.service",
            Restarted,
            "Environment=A=1\n",
            "PassEnvironment=A\n",
        ),
        of_service(
            "line-added.service",
            Restarted,
            "Environment=A=1 \\\n B=2\n",
            "Environment=A=1 \\\n B=3\n",
        ),
        of_service("section-added.service", Restarted, "", "[X-Rig]\nKey=1\n"),
        of_service("section-removed.service", Restarted, "[X-Rig]\nKey=1\n", ""),
        of_service(
            "installed.service",
            Kept,
            "",
            "[Install]\nWantedBy=multi-user.target\n",
        ),
        of_service(
            "uninstalled.service",
            Kept,
            "[Install]\nWantedBy=multi-user.target\n",
            "",
        ),
        of_unit(
            "requiring.service",
            Restarted,
            "",
            "Requires=same.service\n",
        ),
    ]
}

/// What the file says is to be done when it changes.
fn attributes() -> Vec<Row> {
    use Becomes::{Kept, Reloaded, Restarted};
    vec![
        says("not-restarted.service", Kept, "X-RestartIfChanged=false\n"),
        says(
            "only-reloaded.service",
            Reloaded,
            "X-ReloadIfChanged=true\n",
        ),
        says("at-once.service", Restarted, "X-StopIfChanged=false\n"),
        of_unit(
            "trigger-added.service",
            Reloaded,
            "",
            "X-Reload-Triggers=a\n",
        ),
        of_unit(
            "trigger-changed.service",
            Reloaded,
            "X-Reload-Triggers=a\n",
            "X-Reload-Triggers=b\n",
        ),
        of_unit("trigger-removed.service", Kept, "X-Reload-Triggers=a\n", ""),
        of_unit(
            "restart-trigger.service",
            Restarted,
            "X-Restart-Triggers=a\n",
            "X-Restart-Triggers=b\n",
        ),
        row(
            "trigger-and-more.service",
            Restarted,
            ("X-Reload-Triggers=a\n", "X-Reload-Triggers=b\n"),
            ("Nice=1\n", "Nice=2\n"),
        ),
        of_service(
            "reload-changed.service",
            Reloaded,
            "",
            "ExecReload=/bin/true\n",
        ),
        Row {
            unit: "reload-removed.service",
            before: Some(traced("reload-removed", "x")),
            after: Some(without_reload("reload-removed")),
            becomes: Kept,
        },
        of_unit(
            "not-stopped-by-hand.service",
            Kept,
            "RefuseManualStop=true\n",
            "RefuseManualStop=true\nAfter=x.service\n",
        ),
    ]
}

/// What comes, what goes, and names that a shell, or systemctl, or a parser may trip over.
fn others() -> Vec<Row> {
    use Becomes::{Kept, Reloaded, Restarted, Started, Stopped};
    let text = |name| Some(traced(name, "x"));
    vec![
        of_service("back\\x2dslash.service", Restarted, "", "Nice=1\n"),
        of_unit(
            "-hyphen.service",
            Reloaded,
            "X-Reload-Triggers=a\n",
            "X-Reload-Triggers=b\n",
        ),
        Row {
            unit: "new.service",
            before: None,
            after: text("new"),
            becomes: Started,
        },
        Row {
            unit: "gone.service",
            before: text("gone"),
            after: None,
            becomes: Stopped,
        },
        Row {
            unit: "gone-and-kept.service",
            before: Some(format!(
                "[Unit]\nX-StopOnRemoval=false\n{}",
                traced("gone-and-kept", "x")
            )),
            after: None,
            becomes: Kept,
        },
    ]
}

/// What is no file of its own: instances, drop-ins and masks.
fn more(closure: Closure, is_after: bool) -> Closure {
    let mark = if is_after { "Nice=2\n" } else { "Nice=1\n" };
    let drop_in = |name: &str| format!("etc/systemd/system/{name}.d/rig.conf");
    let text = format!("[Service]\n{mark}");
    let closure = closure
        .unit("worker@.service", traced_by("worker@%i", "x", mark))
        .wants("multi-user.target", "worker@one.service")
        .wants("multi-user.target", "worker@two.service")
        .wanted("dropped.service", traced("dropped", "x"))
        .file(&drop_in("dropped.service"), text.as_str())
        .wanted("dropped-once.service", traced("dropped-once", "x"))
        .unit("of-one@.service", traced("of-one@%i", "x"))
        .wants("multi-user.target", "of-one@a.service")
        .wants("multi-user.target", "of-one@b.service")
        .file(&drop_in("of-one@b.service"), text.as_str())
        .wanted("second-name.service", traced("second-name", "x"));
    if is_after {
        closure
            .link("etc/systemd/system/masked.service", "/dev/null")
            .link(
                "etc/systemd/system/other-name.service",
                "second-name.service",
            )
    } else {
        closure
            .wanted("masked.service", traced("masked", "x"))
            .file(&drop_in("dropped-once.service"), text.as_str())
    }
}

const MORE: [(&str, Becomes); 8] = [
    ("worker@one.service", Becomes::Restarted),
    ("worker@two.service", Becomes::Restarted),
    ("dropped.service", Becomes::Restarted),
    ("dropped-once.service", Becomes::Restarted),
    ("of-one@a.service", Becomes::Kept),
    ("of-one@b.service", Becomes::Restarted),
    ("second-name.service", Becomes::Kept),
    ("masked.service", Becomes::Stopped),
];

/// What became of a unit, by what systemd says of it and by whether its `ExecReload=` ran.
fn became(before: &Record, after: &Record, is_reloaded: bool) -> Option<Becomes> {
    match (before.state(), after.state()) {
        ("active", "active") if !before.same_start(after) => Some(Becomes::Restarted),
        ("active", "active") if is_reloaded => Some(Becomes::Reloaded),
        ("active", "active") => Some(Becomes::Kept),
        ("active", "inactive") => Some(Becomes::Stopped),
        ("inactive", "active") => Some(Becomes::Started),
        _ => None,
    }
}

fn wanted(server: &Container, expected: &[(&str, Becomes)]) -> Result<()> {
    let names: Vec<&str> = expected.iter().map(|(unit, _)| *unit).collect();
    steps(server)?;
    let before = show(server, &names)?;
    let machine = look(server)?;

    let told = ends(server, "dry-activate 2", 0)?;
    is_as(server, &machine)?;
    ensure!(steps(server)?.is_empty(), "dry-activate did something");

    let said = switched(server, 2)?;
    let after = show(server, &names)?;
    let steps = steps(server)?;
    let mut wrong = Vec::new();
    for (unit, becomes) in expected {
        let name = unit.trim_end_matches(".service").replace('\\', "_");
        let reloaded = format!("{name} reload x");
        let found = became(&before[*unit], &after[*unit], steps.contains(&reloaded));
        if found != Some(*becomes) {
            let states = (before[*unit].state(), after[*unit].state());
            wrong.push(format!("{unit}: {found:?} {states:?}, and not {becomes:?}"));
        }
        let is_told = told.contains(unit);
        if *becomes != Becomes::Kept && !is_told {
            wrong.push(format!("{unit}: dry-activate says nothing of it"));
        }
    }
    ensure!(wrong.is_empty(), "{}\n{steps:?}\n{said}", wrong.join("\n"));
    Ok(())
}

fn each_change_of_a_service_has_its_consequence(debian: Debian) -> Result<()> {
    let (mut before, mut after) = (Closure::new(), Closure::new());
    let mut expected = MORE.to_vec();
    for Row {
        unit,
        before: one,
        after: two,
        becomes,
    } in [texts(), attributes(), others()].into_iter().flatten()
    {
        if let Some(text) = one {
            before = before.wanted(unit, text);
        }
        if let Some(text) = two {
            after = after.wanted(unit, text);
        }
        expected.push((unit, becomes));
    }
    let closures = [more(before, false), more(after, true)];
    switching("changes", debian, &closures, |server, subjects| {
        let machine = look(server)?;
        wanted(server, &expected)?;
        runs(server, &subjects[1])?;
        // And back: nothing is left of it, but for what said that it is to be kept.
        switched(server, 1)?;
        runs(server, &subjects[0])?;
        is_as(server, &machine)
    })
}

fn a_switch_to_the_same_changes_nothing(debian: Debian) -> Result<()> {
    let closure = Closure::new().wanted("app.service", traced("app", "x"));
    // Another closure with the same units.
    let same = closure.clone().file("etc/rig", "the same\n");
    switching("nothing", debian, &[closure, same], |server, subjects| {
        steps(server)?;
        let units = ["app.service", "nginx.service", "multi-user.target"];
        let before = show(server, &units)?;
        for number in [1, 2, 1] {
            switched(server, number)?;
            for unit in units {
                let now = Record::of(server, unit)?;
                ensure!(now.same_start(&before[unit]), "{unit} was started anew");
            }
        }
        assert!(steps(server)?.is_empty());
        runs(server, &subjects[0])
    })
}
