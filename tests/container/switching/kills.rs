//! Whoever switches is killed: at every step of a switch, and of an undo. The next start of the agent finishes or goes back.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use lastgood::state::Subject;
use lastgood_tests::container::{Boot, Container, Ended};
use lastgood_tests::debian::Debian;
use lastgood_tests::machine::Fact;
use lastgood_tests::switching::{CONFIG, Closure, Look, Record, TRACE, look, steps, traced};

use super::{Seen, is_as, lastgood, runs, started, switching_on, until};
use crate::NO_BOOT;

on_one_debian! {
    Thirteen: a_switch_that_is_killed_at_any_step_is_finished_or_undone,
    Twelve: an_undo_that_is_killed_at_any_step_is_finished,
    Thirteen: a_machine_that_goes_off_in_the_middle_boots_what_was_proven,
}

/// How long the agent may take to be there again after it was killed, and to have cleaned up.
const AGAIN: Duration = Duration::from_mins(1);

/// Kills everything of lastgood's, if somebody waits for it at this step: `kill STEP` as a command.
const KILL: &str = r#"#!/bin/sh
[ -e "/run/rig-kill-$1" ] || exit 0
rm "/run/rig-kill-$1"
# Said first: what is run by one that is killed is ended with it.
echo "killed $1" >>/run/rig-trace
for process in /proc/[0-9]*; do
    case $(readlink "$process/exe") in
    */lastgood*) kill -9 "${process#/proc/}" ;;
    esac
done
exit 0
"#;

/// A service that kills when it is stopped, started or reloaded; at steps of its own for each definition.
fn killing(mark: &str) -> String {
    let run = |what: &str, then: &str| {
        format!("/bin/sh -c '/rig/kill {mark}-{what}; echo app {what} {mark} >>{TRACE}; {then}'")
    };
    format!(
        "[Service]\nExecStart={}\nExecStop={}\n",
        run("start", "exec sleep infinity"),
        run("stop", ":"),
    )
}

/// A closure with something to stop, to start, to reload, and a script.
fn closure(mark: &str) -> Closure {
    Closure::new()
        .wanted("app.service", killing(mark))
        .wanted(&format!("only-{mark}.service"), traced("only", mark))
        .wanted(
            "reloaded.service",
            format!(
                "[Unit]\nX-Reload-Triggers={mark}\n[Service]\nExecStart=/bin/sleep infinity\n\
                 ExecReload=/rig/kill {mark}-reload\n"
            ),
        )
        .wanted(
            "afterwards.service",
            format!("[Service]\nEnvironment=MARK={mark}\nExecStart=/bin/sh -c 'sleep 0.5; /rig/kill {mark}-settle; exec sleep infinity'\n"),
        )
        .file("etc/rig.conf", format!("{mark}\n"))
        .file(
            "etc/lastgood/lastgood.toml",
            format!("{CONFIG}\n[activation]\nscript = \"activate\"\n"),
        )
        .program("activate", format!("#!/bin/sh\n/rig/kill {mark}-script\n"))
}

/// Before the machine is started: what kills, and a generator that does while PID 1 reads its units.
fn armed(server: &Container) -> Result<()> {
    server.program("/rig/kill", KILL)?;
    server.program(
        "/etc/systemd/system-generators/rig",
        "#!/bin/sh\n/rig/kill generator\n",
    )
}

/// Waits until no switch is on record any more. Says how the agent came to be there again.
fn settled(server: &Container) -> Result<()> {
    until(AGAIN, || {
        Ok(match server.state()?.switching {
            None => Seen::Yes(()),
            Some(switching) => Seen::NotYet(format!("{switching:?}")),
        })
    })
}

/// What was said since, once somebody has killed at `step`: the one who kills may still be about to say so when the
/// command has ended.
fn killed_at(server: &Container, step: &str) -> Result<Vec<String>> {
    let mut all = Vec::new();
    until(Duration::from_secs(10), || {
        all.extend(steps(server)?);
        let is_killed = all.contains(&format!("killed {step}"));
        Ok(if is_killed {
            Seen::Yes(())
        } else {
            Seen::NotYet(format!(
                "nobody came to {step}, which says nothing: {all:?}"
            ))
        })
    })?;
    Ok(all)
}

/// All of the first closure, or all of the second.
fn is_one_or_the_other(server: &Container, before: &Look, subjects: &[Subject]) -> Result<u64> {
    let [first, second, ..] = subjects else {
        bail!("two closures")
    };
    if runs(server, first).is_ok() {
        is_as(server, before)?;
        return Ok(1);
    }
    runs(server, second)?;
    for unit in [
        "app.service",
        "only-two.service",
        "reloaded.service",
        "afterwards.service",
    ] {
        let now = Record::of(server, unit)?;
        ensure!(now.state() == "active", "{unit}: {now:?}");
    }
    ensure!(server.run_ok("cat /etc/rig.conf")? == "two");
    ensure!(Record::of(server, "only-one.service")?.state() == "inactive");
    Ok(2)
}

fn a_switch_that_is_killed_at_any_step_is_finished_or_undone(debian: Debian) -> Result<()> {
    let closures = [closure("one"), closure("two")];
    switching_on("killed", debian, &closures, armed, |server, subjects| {
        let before = look(server)?;
        for step in [
            "one-stop",
            "two-script",
            "generator",
            "two-reload",
            "two-start",
            "two-settle",
        ] {
            steps(server)?;
            server.run_ok(&format!("touch /run/rig-kill-{step}"))?;
            let ended = lastgood(server, "test 2 --again")?;
            let ran = killed_at(server, step).with_context(|| format!("{ended:?}"))?;
            settled(server).with_context(|| format!("killed at {step}"))?;
            let which = is_one_or_the_other(server, &before, subjects).with_context(|| {
                format!("killed at {step}: {ended:?}\n{ran:?}\n{:?}", steps(server))
            })?;
            if which == 2 {
                super::switched(server, 1)?;
            }
            is_as(server, &before).with_context(|| format!("after {step}"))?;
        }
        Ok(())
    })
}

fn an_undo_that_is_killed_at_any_step_is_finished(debian: Debian) -> Result<()> {
    let bad = closure("two").wanted(
        "bad.service",
        "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'sleep 0.2; exit 3'\n",
    );
    switching_on(
        "killed-undo",
        debian,
        &[closure("one"), bad],
        armed,
        |server, subjects| {
            let before = look(server)?;
            for step in [
                "two-stop",
                "one-script",
                "one-reload",
                "one-start",
                "one-settle",
            ] {
                steps(server)?;
                server.run_ok(&format!("touch /run/rig-kill-{step}"))?;
                let ended = lastgood(server, "test 2 --again")?;
                killed_at(server, step).with_context(|| format!("{ended:?}"))?;
                settled(server).with_context(|| format!("killed at {step}"))?;
                runs(server, &subjects[0]).with_context(|| format!("killed at {step}"))?;
                is_as(server, &before).with_context(|| format!("killed at {step}"))?;
            }
            Ok(())
        },
    )
}

/// As a power cut does: nothing is stopped, nothing is written.
fn a_machine_that_goes_off_in_the_middle_boots_what_was_proven(debian: Debian) -> Result<()> {
    let slow = closure("two").wanted(
        "slow.service",
        "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'touch /run/rig-middle; sleep 20'\n",
    );
    switching_on(
        "power",
        debian,
        &[closure("one"), slow],
        armed,
        |server, subjects| {
            let before = look(server)?;
            let running = server.begin("lastgood test 2", AGAIN)?;
            server.run_ok("timeout 20 sh -c 'until [ -e /run/rig-middle ]; do sleep 0.1; done'")?;
            server.run_ok("systemctl --force --force --no-block reboot || true")?;
            drop(running.wait());
            ensure!(server.wait_until_ended()? == Ended::Reboot);
            started(server)?;
            ensure!(
                server.state()?.switching.is_none(),
                "{:?}",
                server.state()?.switching
            );
            runs(server, &subjects[0])?;
            is_as(server, &before)?;
            // And nothing stands in the way of the next one.
            let events = server.events()?;
            ensure!(
                events.iter().any(|event| event.name() == "switched-back"),
                "{events:?}"
            );
            server.run_ok("systemctl --no-block reboot")?;
            ensure!(server.wait_until_ended()? == Ended::Reboot);
            server.start(Boot::Uncounted(1))?;
            server.wait_for(Fact::Proven(1))?;
            server.wait_for(NO_BOOT)?;
            Ok(())
        },
    )
}

mod long_every_so_often {
    use super::*;

    /// From the first question to the last record.
    const WHOLE: Duration = Duration::from_secs(4);
    const STEP: Duration = Duration::from_millis(125);

    #[test]
    fn a_switch_that_is_killed_after_any_time_is_finished_or_undone() -> Result<()> {
        let closures = [closure("one"), closure("two")];
        switching_on(
            "killed-often",
            Debian::Twelve,
            &closures,
            armed,
            |server, subjects| {
                let before = look(server)?;
                let mut after = Duration::ZERO;
                while after < WHOLE {
                    let at = || format!("killed after {} ms", after.as_millis());
                    let running = server.begin("lastgood test 2 --again", AGAIN)?;
                    std::thread::sleep(after);
                    server.run_ok("touch /run/rig-kill-now && /rig/kill now")?;
                    drop(running.wait());
                    settled(server).with_context(at)?;
                    let which = until(AGAIN, || {
                        Ok(match is_one_or_the_other(server, &before, subjects) {
                            Ok(which) => Seen::Yes(which),
                            Err(error) => Seen::NotYet(format!("{error:#}")),
                        })
                    });
                    if which.with_context(at)? == 2 {
                        super::super::switched(server, 1)?;
                        is_as(server, &before).with_context(at)?;
                    }
                    after += STEP;
                }
                Ok(())
            },
        )
    }
}
