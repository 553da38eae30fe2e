//! The dead-man's switch: a change that nobody confirms is undone, whatever happens meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lastgood::state::switching::Phase;
use lastgood_tests::container::{Container, Ended, Reach};
use lastgood_tests::debian::Debian;
use lastgood_tests::switching::{Closure, Look, deploy, look, register, traced};

use super::{Seen, ends, is_as, is_soon_as, lastgood, runs, started, switching, until};

on_one_debian! {
    Twelve: a_firewall_that_locks_everybody_out_undoes_itself,
    Thirteen: what_is_confirmed_stays,
    Twelve: silence_is_answered_though_all_of_lastgood_was_killed,
    Thirteen: a_reboot_before_it_is_confirmed_boots_what_was_before,
    Twelve: nothing_that_is_asked_meanwhile_disarms_it,
}

/// How long after its time a change may still be there.
const UNDONE: Duration = Duration::from_secs(30);

/// Nobody gets in any more, whoever has a session neither.
const LOCKED: &str = "table inet lastgood-demo {\n chain input {\n type filter hook input priority filter; policy drop;\n \
                      iif lo accept\n }\n}\n";

fn closures() -> [Closure; 2] {
    let closure = |mark: &str| {
        Closure::new()
            .wanted("app.service", traced("app", mark))
            .file("etc/nginx/www/index.html", format!("<p>{mark}</p>\n"))
    };
    [
        closure("one"),
        closure("two").file("etc/nftables.conf", LOCKED),
    ]
}

/// The machine is changed, nobody gets in, and somebody is to confirm it within `seconds`.
fn locked_out(server: &Container, seconds: u64) -> Result<Look> {
    let before = look(server)?;
    ensure!(matches!(server.reach(80)?, Reach::Page(_)));
    ends(server, &format!("test 2 --confirm-within {seconds}s"), 0)?;
    ensure!(
        server.reach(80)? == Reach::Silent,
        "the firewall locks nobody out"
    );
    Ok(before)
}

fn a_firewall_that_locks_everybody_out_undoes_itself(debian: Debian) -> Result<()> {
    switching("lock-out", debian, &closures(), |server, subjects| {
        let begun = Instant::now();
        let before = locked_out(server, 12)?;
        runs(server, &subjects[1])?;
        is_soon_as(server, &before, UNDONE)?;
        ensure!(
            begun.elapsed() > Duration::from_secs(12),
            "{:?}",
            begun.elapsed()
        );
        ensure!(server.reach(80)? == Reach::Page("<p>one</p>\n".to_owned()));
        runs(server, &subjects[0])?;
        until(UNDONE, || {
            let events = server.events()?;
            let is_back = events.iter().any(|event| event.name() == "switched-back");
            Ok(if is_back {
                Seen::Yes(())
            } else {
                Seen::NotYet(format!("{events:?}"))
            })
        })?;
        // It was not found bad: nobody answered.
        let late = lastgood(server, "confirm")?;
        ensure!(late.status == 1, "{late:?}");
        Ok(())
    })
}

fn what_is_confirmed_stays(debian: Debian) -> Result<()> {
    switching("confirmed", debian, &closures(), |server, subjects| {
        locked_out(server, 10)?;
        ends(server, "confirm", 0)?;
        let after = look(server)?;
        // Nothing is waited for here but that nothing happens.
        std::thread::sleep(Duration::from_secs(14));
        is_as(server, &after)?;
        runs(server, &subjects[1])?;
        ensure!(server.state()?.switching.is_none());
        let again = lastgood(server, "confirm")?;
        ensure!(again.status == 1, "there is nothing to confirm: {again:?}");
        Ok(())
    })
}

fn silence_is_answered_though_all_of_lastgood_was_killed(debian: Debian) -> Result<()> {
    switching("killed-waiting", debian, &closures(), |server, subjects| {
        let before = locked_out(server, 10)?;
        // Whatever of it runs, as often as it comes back.
        server.run_ok(
            "for time in 1 2 3 4; do for process in /proc/[0-9]*; do \
             case $(readlink \"$process/exe\") in */lastgood*) kill -9 \"${process#/proc/}\" ;; esac; done; sleep 0.5; done",
        )?;
        is_soon_as(server, &before, UNDONE)?;
        runs(server, &subjects[0])
    })
}

fn a_reboot_before_it_is_confirmed_boots_what_was_before(debian: Debian) -> Result<()> {
    switching("reboot-waiting", debian, &closures(), |server, subjects| {
        let before = locked_out(server, 60)?;
        server.run_ok("systemctl --no-block reboot")?;
        ensure!(server.wait_until_ended()? == Ended::Reboot);
        started(server)?;
        is_as(server, &before)?;
        runs(server, &subjects[0])?;
        ensure!(
            server.state()?.switching.is_none(),
            "{:?}",
            server.state()?.switching
        );
        let late = lastgood(server, "confirm")?;
        ensure!(late.status == 1, "{late:?}");
        Ok(())
    })
}

/// Each is refused with what waits to be confirmed, and that is why: no machine of this ring could select anything.
/// Silence ends in all that was before, also what the profile points at.
fn nothing_that_is_asked_meanwhile_disarms_it(debian: Debian) -> Result<()> {
    const WITHIN: u64 = 40;
    let [one, two] = closures();
    let three = one.clone().file("etc/rig.conf", "three\n");
    let closures = [one, two, three];
    switching("meanwhile", debian, &closures, |server, subjects| {
        let all: Vec<_> = subjects.iter().collect();
        register(server, &all)?;
        let begun = Instant::now();
        let before = locked_out(server, WITHIN)?;
        for words in [
            "test 3",
            "test 3 --confirm-within 1m",
            "switch 3",
            "boot 3",
            "rollback",
            "rollback --to 3",
            "install",
        ] {
            let said = ends(server, words, 1)?;
            ensure!(
                said.contains("generation 2 waits to be confirmed until"),
                "{words}: {said}"
            );
        }
        let status = lastgood(server, "status")?;
        ensure!(
            status.stdout.contains("waits to be confirmed"),
            "{status:?}"
        );
        deploy(server, &subjects[2])?;
        let moved = server.run_ok("readlink /nix/var/nix/profiles/system")?;
        ensure!(moved != "system-1-link", "nobody has moved the profile");
        runs(server, &subjects[1])?;
        let waits = server.state()?.switching.map(|one| one.phase);
        ensure!(waits == Some(Phase::Waiting), "{waits:?}");
        ensure!(
            begun.elapsed() < Duration::from_secs(WITHIN),
            "too slow to mean anything"
        );
        is_soon_as(server, &before, UNDONE + Duration::from_secs(WITHIN))?;
        ensure!(begun.elapsed() > Duration::from_secs(WITHIN));
        runs(server, &subjects[0]).context("after the silence")
    })
}
