//! NixOS's own door, as the module makes it: a closure's `bin/switch-to-configuration` leads through lastgood. Arguments,
//! variables and exit statuses are those of nixpkgs' program.

use anyhow::{Context as _, Result, ensure};
use lastgood::state::Subject;
use lastgood_tests::container::Container;
use lastgood_tests::debian::Debian;
use lastgood_tests::machine::Output;
use lastgood_tests::scenario::in_container;
use lastgood_tests::switching::{Closure, Record, is_nixos, look, steps, traced};

use super::{SWITCH, is_as, laid, proven_first, runs, started};

on_one_debian! {
    Thirteen: nixos_own_door_leads_to_a_switch_that_is_undone,
    Twelve: what_nixpkgs_own_program_left_undone_is_done,
}

/// As the module writes it, but for the place of lastgood and the locales.
const DOOR: &str = "#!/bin/sh\nout=${0%/bin/*}\nexport LOCALE_ARCHIVE=/a\n\
                    exec /usr/bin/lastgood switch-to-configuration --toplevel \"$out\" ";

/// What an activation was told.
const ASKED: &str = "echo \"$NIXOS_ACTION $LOCALE_ARCHIVE $NIXOS_NO_CHECK\" >/run/asked\n";

fn closure(server: &Container, mark: &str) -> Result<Closure> {
    Ok(Closure::new()
        .wanted("app.service", traced("app", mark))
        .wanted("kept.service", traced("kept", "x"))
        .for_nixos(server)?
        .activates_also(ASKED)
        .program("bin/switch-to-configuration", format!("{DOOR}-- \"$@\"\n")))
}

/// Goes in by the door of this closure.
fn by_the_door(server: &Container, variables: &str, of: &Subject, words: &str) -> Result<Output> {
    let door = of.toplevel.join("bin/switch-to-configuration");
    server.run_longer(&format!("{variables} {} {words}", door.display()), SWITCH)
}

/// The same, which must end with this status; gives all that was said.
fn must_end(server: &Container, of: &Subject, words: &str, status: i64) -> Result<String> {
    let ended = by_the_door(server, "", of, words)?;
    ensure!(ended.status == status, "{words}: {ended:?}");
    Ok(ended.stdout + &ended.stderr)
}

fn told(server: &Container) -> Result<String> {
    server.run_ok("cat /run/asked")
}

fn nixos_own_door_leads_to_a_switch_that_is_undone(debian: Debian) -> Result<()> {
    in_container("switch-nixos-door", debian, |server| {
        is_nixos(server)?;
        let checked = format!("{DOOR}--pre-switch-check \"$out/check\" -- \"$@\"\n");
        let closures = [
            closure(server, "one")?,
            closure(server, "two")?,
            closure(server, "bad")?.wanted(
                "bad.service",
                "[Service]\nType=exec\nExecStart=/bin/false\n",
            ),
            closure(server, "init")?.file("init-interface-version", "systemd 99"),
            closure(server, "check")?
                .program("bin/switch-to-configuration", checked)
                .program("check", "#!/bin/sh\necho \"says no to $2\"\nexit 3\n"),
        ];
        let subjects = laid(server, &closures)?;
        proven_first(server, &subjects)?;
        started(server)?;
        steps(server)?;
        let [one, two, bad, init, check] = subjects.as_slice() else {
            anyhow::bail!("{subjects:?}");
        };
        // Each switch leaves it up, and so it is up from the second one on.
        server.run_ok("systemctl start sysinit-reactivation.target")?;
        let before = look(server)?;
        let untouched = |server: &Container, what: &str| -> Result<()> {
            is_as(server, &before).context(what.to_owned())?;
            let steps = steps(server)?;
            ensure!(steps.is_empty(), "{what}: {steps:?}");
            let asked = server.run("test -e /run/asked")?;
            ensure!(asked.status == 1, "{what}: something was activated");
            Ok(())
        };

        for words in ["", "reboot"] {
            let said = must_end(server, two, words, 1)?;
            ensure!(
                said.contains(
                    "Usage: switch-to-configuration [check|switch|boot|test|dry-activate]"
                ),
                "{said}"
            );
        }
        untouched(server, "without an action")?;
        let said = must_end(server, two, "dry-activate", 0)?;
        ensure!(said.contains("app.service"), "{said}");
        untouched(server, "dry")?;
        let said = must_end(server, init, "test", 100)?;
        ensure!(said.contains("systemd 99"), "{said}");
        untouched(server, "another init")?;
        for (words, status) in [("check", 1), ("test", 1), ("dry-activate", 1)] {
            let said = must_end(server, check, words, status)?;
            ensure!(said.contains(&format!("says no to {words}")), "{said}");
            ensure!(said.contains("NIXOS_NO_CHECK=1"), "{said}");
        }
        untouched(server, "a check that says no")?;
        nixpkgs_own_is_at_work(server, two)?;
        untouched(server, "while nixpkgs' own was at work")?;

        let said = must_end(server, bad, "test", 4)?;
        ensure!(said.contains("bad.service"), "{said}");
        is_as(server, &before)?;
        // Who undoes it asks for nothing on anybody's behalf.
        let of_the_undo = told(server)?;
        ensure!(of_the_undo == "switch", "{of_the_undo}");
        runs(server, one)?;

        must_end(server, two, "test", 0)?;
        runs(server, two)?;
        ensure!(told(server)? == "test /a", "{}", told(server)?);
        let insisted = by_the_door(server, "NIXOS_NO_CHECK=1", check, "test")?;
        ensure!(insisted.status == 0, "{insisted:?}");
        runs(server, check)?;
        ensure!(told(server)? == "test /a 1", "{}", told(server)?);
        server.power_off()
    })
}

/// It holds the lock that both of them take.
fn nixpkgs_own_is_at_work(server: &Container, two: &Subject) -> Result<()> {
    const LOCK: &str = "/run/nixos/switch-to-configuration.lock";
    server.run_ok(&format!(
        "mkdir -p /run/nixos && systemd-run --quiet --collect --unit=holder flock {LOCK} sleep infinity && \
         timeout 10 sh -c 'while flock --nonblock {LOCK} true; do sleep 0.1; done'"
    ))?;
    let said = must_end(server, two, "test", 1)?;
    ensure!(
        said.contains("switch-to-configuration is at work"),
        "{said}"
    );
    server.run_ok("systemctl stop holder.service")?;
    Ok(())
}

/// It was cut off after it had stopped what it was to start again. Nothing else would start that: it did not change.
fn what_nixpkgs_own_program_left_undone_is_done(debian: Debian) -> Result<()> {
    in_container("switch-nixos-cut-off", debian, |server| {
        is_nixos(server)?;
        let closures = [closure(server, "one")?, closure(server, "two")?];
        let subjects = laid(server, &closures)?;
        proven_first(server, &subjects)?;
        started(server)?;
        let [one, two] = subjects.as_slice() else {
            anyhow::bail!("{subjects:?}");
        };
        server.run_ok("systemctl stop kept.service")?;
        must_end(server, two, "test", 0)?;
        let stands = Record::of(server, "kept.service")?;
        ensure!(stands.state() == "inactive", "{stands:?}");
        server.run_ok(
            "mkdir -p /run/nixos && printf 'multi-user.target\\nkept.service\\n' >/run/nixos/start-list",
        )?;
        let said = must_end(server, one, "test", 0)?;
        ensure!(said.contains("kept.service"), "{said}");
        let runs_again = Record::of(server, "kept.service")?;
        ensure!(runs_again.state() == "active", "{runs_again:?}");
        // What was done is not asked for again.
        server.run_ok("test ! -e /run/nixos/start-list && systemctl stop kept.service")?;
        must_end(server, two, "test", 0)?;
        ensure!(Record::of(server, "kept.service")?.state() == "inactive");
        server.power_off()
    })
}
