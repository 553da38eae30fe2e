//! `dry-activate` says what the real run then says, line for line; and what is said is what happens.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use lastgood::switch::plan::Plan;
use lastgood::switch::words::Line;
use lastgood_tests::debian::Debian;
use lastgood_tests::schema::Schema;
use lastgood_tests::switching::{Closure, is_nixos, look, steps, traced, traced_by};
use serde_json::Value;

use super::others::{for_users, with_user};
use super::{ends, is_as, lastgood, switching_on};

on_one_debian! {
    Thirteen: what_dry_activate_says_is_what_is_then_said_and_done,
    Twelve: on_nixos_what_the_script_says_and_asks_for_is_said_in_its_place,
}

/// What a dry run says, and what the real run says instead.
const WORDS: [(&str, &str); 8] = [
    ("would NOT restart", "NOT restarting"),
    ("would take down", "taking down"),
    ("would swap off", "swapping off"),
    ("would wait for", "waiting for"),
    ("would stop", "stopping"),
    ("would start", "starting"),
    ("would restart", "restarting"),
    ("would reload", "reloading"),
];

/// The line of the real run.
fn real(dry: &str) -> String {
    let words = WORDS.iter().find(|(would, _)| dry.starts_with(would));
    words.map_or_else(
        || dry.to_owned(),
        |(would, doing)| dry.replacen(would, doing, 1),
    )
}

/// With a unit for each kind of line.
fn closure(is_after: bool) -> Closure {
    let mark = if is_after { "two" } else { "one" };
    let with = |name: &str, of: &str, unit: &str| format!("[Unit]\n{unit}\n{}", traced(name, of));
    let user = |name: &str| format!("etc/systemd/user/{name}");
    let closure = Closure::new()
        .wanted("changed.service", traced("changed", mark))
        .wanted(
            "hangs.service",
            with(
                "hangs",
                "x",
                "Requires=changed.service\nAfter=changed.service",
            ),
        )
        .wanted(
            "at-once.service",
            traced_by(
                "at-once",
                "x",
                &format!("X-StopIfChanged=false\nEnvironment=MARK={mark}\n"),
            ),
        )
        .wanted(
            "reloads.service",
            with("reloads", "x", &format!("X-Reload-Triggers={mark}")),
        )
        .wanted(
            "skipped.service",
            traced_by("skipped", mark, "X-RestartIfChanged=false\n"),
        )
        .wanted("same.service", traced("same", "x"))
        .unit(
            "failed.service",
            "[Service]\nType=oneshot\nExecStart=/bin/false\n",
        )
        .unit(
            "rig@.service",
            "[Service]\nExecStart=cat\nStandardInput=socket\n",
        )
        .unit(
            "rig.socket",
            format!(
                "[Socket]\nListenStream=127.0.0.1:{}\nAccept=yes\n",
                if is_after { 7002 } else { 7001 }
            ),
        )
        .wants("sockets.target", "rig.socket")
        .unit(
            "timed.timer",
            format!(
                "[Timer]\nUnit=same.service\nOnCalendar=20{}-01-01\n",
                if is_after { 98 } else { 99 }
            ),
        )
        .wants("timers.target", "timed.timer")
        .file(
            &user("of-user.service"),
            format!("[Service]\nEnvironment=MARK={mark}\nExecStart=/bin/sleep infinity\n"),
        )
        .link(
            &user("default.target.wants/of-user.service"),
            "../of-user.service",
        );
    if is_after {
        closure.wanted("new.service", traced("new", "two"))
    } else {
        closure.wanted("gone.service", traced("gone", "one"))
    }
}

/// The lines of the JSON's plan, as the text has them.
fn lines_of(answer: &Value) -> Result<Vec<String>> {
    let plan: Plan = serde_json::from_value(answer["plan"].clone())?;
    let mut lines: Vec<String> = plan.lines().iter().map(Line::dry).collect();
    for of in answer["users"].as_array().context("no list of users")? {
        let plan: Plan = serde_json::from_value(of["plan"].clone())?;
        let user = u32::try_from(of["user"].as_u64().context("no user")?)?;
        lines.extend(plan.lines_of_user(user).iter().map(Line::dry));
    }
    Ok(lines)
}

fn what_dry_activate_says_is_what_is_then_said_and_done(debian: Debian) -> Result<()> {
    let closures = [closure(false), closure(true)];
    switching_on("dry", debian, &closures, for_users, |server, subjects| {
        with_user(server)?;
        // Without a boot partition that one is tried again and again.
        server.run_ok(
            "systemctl start failed.service || true; systemctl set-property changed.service CPUWeight=77; \
             systemctl stop lastgood-bless.service",
        )?;
        steps(server)?;
        let before = look(server)?;
        let dry = lastgood(server, "dry-activate 2")?;
        ensure!(dry.status == 0, "{dry:?}");
        let answer = server.run_ok("lastgood dry-activate 2 --json")?;
        let answer: Value = serde_json::from_str(&answer)?;
        Schema::of("dry-activate")?.check(&answer)?;
        is_as(server, &before)?;
        ensure!(steps(server)?.is_empty(), "a dry run did something");
        let said: Vec<&str> = dry.stdout.lines().collect();
        ensure!(lines_of(&answer)? == said, "{answer:#}\n{said:#?}");
        ensure!(answer["toplevel"] == subjects[1].toplevel.display().to_string());
        ensure!(answer["generation"] == "2", "{answer:#}");
        for line in [
            "would stop gone.service: ",
            "would stop changed.service: ",
            "would take down hangs.service: ",
            "would stop rig.socket: ",
            "would NOT restart skipped.service: ",
            "would reload systemd: ",
            "would reload reloads.service: ",
            "would restart at-once.service: ",
            "would restart timed.timer: ",
            "would start changed.service: ",
            "would start hangs.service: ",
            "would start new.service: ",
            "would start rig.socket: ",
            "is shadowed: changed.service: ",
            "was failing: failed.service: ",
            "would stop of-user.service of user 1000: ",
            "would start of-user.service of user 1000: ",
        ] {
            let so_many = said.iter().filter(|one| one.starts_with(line)).count();
            ensure!(so_many == 1, "{line}{so_many} times\n{said:#?}");
        }

        let done = lastgood(server, "test 2")?;
        ensure!(done.status == 0, "{done:?}");
        let mut heard: Vec<&str> = done.stdout.lines().collect();
        let last = heard.pop().unwrap_or_default();
        ensure!(last.starts_with("active: "), "{last}");
        let expected: Vec<String> = said.iter().map(|line| real(line)).collect();
        ensure!(heard == expected, "said {heard:#?}\nafter {expected:#?}");
        let troubles = |all: &str| all.lines().map(str::to_owned).collect::<Vec<_>>();
        ensure!(
            troubles(&dry.stderr) == troubles(&done.stderr),
            "{dry:?} {done:?}"
        );

        is_done(&heard, &steps(server)?)
    })
}

/// Each step of the traced services was announced, each announcement was kept, and the phases came one after the other.
fn is_done(lines: &[&str], steps: &[String]) -> Result<()> {
    // What a line means for a service, each with its phase.
    const MEANS: [(&str, &[(&str, usize)]); 5] = [
        ("stopping ", &[("stop", 0)]),
        ("taking down ", &[("stop", 0)]),
        ("reloading ", &[("reload", 1)]),
        ("restarting ", &[("stop", 2), ("start", 2)]),
        ("starting ", &[("start", 2)]),
    ];
    let mut announced = BTreeSet::new();
    for line in lines {
        for (word, means) in MEANS {
            let unit = line
                .strip_prefix(word)
                .and_then(|rest| rest.split(": ").next());
            let Some(name) = unit.and_then(|unit| unit.strip_suffix(".service")) else {
                continue;
            };
            announced.extend(
                means
                    .iter()
                    .map(|(what, phase)| (name.to_owned(), *what, *phase)),
            );
        }
    }
    // nginx says nothing, and has not changed.
    let mut seen = BTreeSet::new();
    let mut phases = Vec::new();
    for step in steps {
        let mut words = step.split(' ');
        let (name, what) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let found = announced
            .iter()
            .find(|(of, does, _)| of == name && *does == what);
        let found = found.with_context(|| format!("nobody announced {step}: {lines:#?}"))?;
        phases.push(found.2);
        seen.insert(found.clone());
    }
    ensure!(
        seen == announced,
        "of {announced:?} only {steps:?} was done"
    );
    ensure!(phases.is_sorted(), "{steps:?}");
    Ok(())
}

/// The script's lines come between the plan and what it asks for in addition; the dry script says what the other one does.
fn on_nixos_what_the_script_says_and_asks_for_is_said_in_its_place(debian: Debian) -> Result<()> {
    let asks = |list: &str, word: &str| {
        format!(
            "mkdir -p /run/nixos\necho asked.service >/run/nixos/{list}activation-restart-list\necho {word} users\n"
        )
    };
    lastgood_tests::scenario::in_container("switch-dry-nixos", debian, |server| {
        is_nixos(server)?;
        let of = |mark: &str| {
            Closure::new()
                .wanted("changed.service", traced("changed", mark))
                .wanted("asked.service", traced("asked", "x"))
                .for_nixos(server)
        };
        let dry = format!("#!/bin/sh\n{}", asks("dry-", "would add"));
        let closures = [
            of("one")?,
            of("two")?
                .activates_also(&asks("", "adding"))
                .program("dry-activate", dry),
        ];
        let subjects = super::laid(server, &closures)?;
        super::proven_first(server, &subjects)?;
        super::started(server)?;
        steps(server)?;
        let dry = ends(server, "dry-activate 2", 0)?;
        ensure!(steps(server)?.is_empty(), "a dry run did something");
        let said: Vec<&str> = dry.lines().collect();
        let at = |line: &str| said.iter().position(|one| one.starts_with(line));
        let (reload, script) = (at("would reload systemd: "), at("would add users"));
        let asked = at("would restart asked.service: ");
        ensure!(
            reload.is_some() && reload < script && script < asked,
            "{said:#?}"
        );
        let answer: Value =
            serde_json::from_str(&server.run_ok("lastgood dry-activate 2 --json")?)?;
        Schema::of("dry-activate")?.check(&answer)?;
        ensure!(answer["said"][0] == "would add users", "{answer:#}");

        let done = ends(server, "test 2", 0)?;
        let mut heard: Vec<&str> = done.lines().collect();
        heard.pop();
        let expected: Vec<String> = said
            .iter()
            .map(|line| real(&line.replacen("would add", "adding", 1)))
            .collect();
        ensure!(heard == expected, "said {heard:#?}\nafter {expected:#?}");
        is_done(&heard, &steps(server)?)?;
        server.power_off()
    })
}
