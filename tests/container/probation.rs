//! What goes wrong after the verdict: a breach of the probation is gone back from once, and what is no breach is not.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lastgood::state::cause::Stage;
use lastgood::state::fault::Fault;
use lastgood::state::{Event, Subject};
use lastgood_tests::container::{Boot, Container, Ended};
use lastgood_tests::debian::Debian;
use lastgood_tests::machine::Fact;
use lastgood_tests::scenario::in_container;

use crate::judging::proven;
use crate::{rejection, selected};

on_each_debian! {
    what_flaps_after_the_verdict_is_gone_back_from_once,
    what_somebody_asks_for_is_no_breach_and_the_time_ends,
    without_another_generation_nobody_watches,
    trouble_from_outside_is_held_against_nobody,
    a_fallback_that_fails_after_the_blessing_reboots_nothing,
}
on_debian_sid! {
    what_flaps_after_the_verdict_is_gone_back_from_once,
    what_somebody_asks_for_is_no_breach_and_the_time_ends,
}

/// Whoever watches.
const WATCHER: &str = "lastgood-probation.service";
/// What the story is about. It dies as long as there is a file, a second after it was started.
const WORKER: &str = "[Unit]\nStartLimitIntervalSec=0\n\
    [Service]\nRestart=always\nRestartSec=500ms\n\
    ExecStart=/bin/sh -c 'while :; do sleep 0.2; test ! -e /rig/flap || exit 3; done'\n";

/// The second generation, which has the worker and `health` in its lastgood.toml, is selected.
fn with_worker(server: &Container, health: &str) -> Result<Subject> {
    let config = format!("[health]\nsettle-sec = 1\n{health}");
    let wants = "etc/systemd/system/multi-user.target.wants/worker.service";
    selected(
        server,
        2,
        &[
            ("etc/lastgood/lastgood.toml", &config),
            ("etc/systemd/system/worker.service", WORKER),
            (wants, WORKER),
        ],
    )
}

/// What the watcher has said.
fn said(server: &Container) -> Result<String> {
    server.run_ok(&format!("journalctl --boot --output=cat -u {WATCHER}"))
}

/// When that was put on record, since the machine has started.
fn when(server: &Container, event: &str) -> Result<Duration> {
    let entries = server.journal(&[&format!("LASTGOOD_EVENT={event}")])?;
    let latest = entries.last().context(event.to_owned())?;
    let micros = latest["__MONOTONIC_TIMESTAMP"].as_str().unwrap_or_default();
    Ok(Duration::from_micros(micros.parse()?))
}

fn is_watching(server: &Container) -> Result<()> {
    server.run_ok(&format!(
        "until systemctl is-active {WATCHER}; do sleep 0.1; done"
    ))?;
    assert_eq!(server.property(WATCHER, "Type")?, "notify");
    Ok(())
}

fn what_flaps_after_the_verdict_is_gone_back_from_once(debian: Debian) -> Result<()> {
    in_container("probation-flaps", debian, |server| {
        let good = proven(server, 1)?;
        let subject = with_worker(server, "probation-restarts = 1\n")?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Proven(2))?;
        is_watching(server)?;
        server.run_ok("touch /rig/flap")?;
        server.wait_for(Fact::Rejected(2))?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        let cause = rejection(server, &subject)?;
        assert_eq!(cause.stage, Stage::Probation);
        assert_eq!(cause.faults, [Fault::of_unit("worker.service")]);
        ensure!(
            cause.summary.contains("worker.service was restarted"),
            "{cause:?}"
        );
        assert_eq!(server.state()?.selected.as_ref(), Some(&good));

        // It is the witness, and has nothing of that.
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;
        is_watching(server)?;
        let why = server.run_ok("lastgood why 2")?;
        ensure!(why.contains("worker.service was restarted"), "{why}");
        server.run_ok("rm -f /rig/flap")?;
        server.power_off()?;

        // Somebody insists.
        server.past(&Event::Selected {
            subject: subject.clone(),
            by: None,
        })?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Proven(2))?;
        is_watching(server)?;
        server.run_ok("touch /rig/flap")?;
        server.wait_for(Fact::Degraded(2))?;
        server.run_ok(&format!(
            "while systemctl is-active {WATCHER}; do sleep 0.1; done"
        ))?;
        let state = server.state()?;
        assert_eq!(state.last_good(), Some(&subject));
        assert_eq!(
            state.degraded.as_ref().map(|cause| cause.stage),
            Some(Stage::Probation)
        );
        let status = server.run("lastgood --quiet status")?;
        ensure!(
            status.stdout.contains("worker.service was restarted"),
            "{status:?}"
        );
        ensure!(
            said(server)?.contains("is not a second time"),
            "{}",
            said(server)?
        );
        assert_eq!(server.property(WATCHER, "Result")?, "success");
        server.power_off()
    })
}

fn what_somebody_asks_for_is_no_breach_and_the_time_ends(debian: Debian) -> Result<()> {
    in_container("probation-asked", debian, |server| {
        proven(server, 1)?;
        let health =
            "probation-sec = 45\nprobation-restarts = 1\nrequired-units = [\"worker.service\"]\n";
        let subject = with_worker(server, health)?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Proven(2))?;
        is_watching(server)?;
        server.run_ok("until lastgood --quiet status | grep 'is proven, and is watched for'; do sleep 0.2; done")?;
        server.run_ok("for i in 1 2 3 4; do systemctl restart worker.service; done")?;
        // It comes back by its own Restart=.
        server.run_ok("systemctl kill --signal=KILL worker.service")?;
        server.run_ok("systemctl daemon-reexec")?;
        let pid = |server: &Container| server.property(WATCHER, "MainPID");
        let first = pid(server)?;
        // Late enough to tell a time that goes on from one that begins anew.
        server.run_ok(&format!("sleep 15; kill -9 {first}"))?;
        server.run_ok(&format!(
            "until test $(systemctl show -P MainPID {WATCHER}) -gt 0; do sleep 0.1; done"
        ))?;
        ensure!(pid(server)? != first, "it was not started again");
        server
            .run_ok("systemctl stop worker.service && sleep 3 && systemctl start worker.service")?;
        // Resident, in KiB.
        let resident = server.run_ok(&format!(
            "grep VmRSS /proc/$(systemctl show -P MainPID {WATCHER})/status | tr -dc 0-9"
        ))?;
        let resident: u64 = resident.trim().parse()?;
        ensure!(resident < 8 * 1024, "{resident} KiB");
        server.wait_longer(
            Fact::Says("steady: generation 2".to_owned()),
            Duration::from_secs(90),
        )?;
        server.run_ok(&format!(
            "while systemctl is-active {WATCHER}; do sleep 0.1; done"
        ))?;
        assert_eq!(server.property(WATCHER, "Result")?, "success");
        let took = when(server, "steady")?.saturating_sub(when(server, "proven")?);
        ensure!((45..58).contains(&took.as_secs()), "{took:?}");
        let state = server.state()?;
        assert!(state.probation.steady.contains(&subject.toplevel));
        assert_eq!(state.degraded, None);
        server.power_off()?;

        // A later boot watches it no more.
        server.start(Boot::Uncounted(2))?;
        server.wait_for(Fact::Proven(2))?;
        server.run_ok(&format!(
            "until journalctl --boot --output=cat -u {WATCHER} | grep 'nothing to watch'; do sleep 0.2; done"
        ))?;
        server.power_off()
    })
}

fn without_another_generation_nobody_watches(debian: Debian) -> Result<()> {
    in_container("probation-alone", debian, |server| {
        let subject = with_worker(server, "probation-restarts = 0\n")?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Proven(2))?;
        server.run_ok("touch /rig/flap")?;
        server.run_ok(&format!(
            "until journalctl --boot --output=cat -u {WATCHER} | grep 'nothing to watch'; do sleep 0.2; done"
        ))?;
        let state = server.state()?;
        assert_eq!(state.last_good(), Some(&subject));
        assert_eq!(state.degraded, None);
        server.power_off()
    })
}

fn trouble_from_outside_is_held_against_nobody(debian: Debian) -> Result<()> {
    in_container("probation-outside", debian, |server| {
        proven(server, 1)?;
        let subject = with_worker(server, "probation-restarts = 1\n")?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Proven(2))?;
        is_watching(server)?;
        server.run_ok("ip route show default | grep . && ip route del default")?;
        server.run_ok("touch /rig/flap && until test $(systemctl show -P NRestarts worker.service) -ge 4; do sleep 0.1; done")?;
        // It asks name servers first, which do not answer here, and that takes a while.
        server.run_ok(&format!(
            "until journalctl --boot --output=cat -u {WATCHER} | grep 'the default route is gone'; do sleep 0.2; done"
        ))?;
        server.run_ok("rm /rig/flap")?;
        let state = server.state()?;
        assert_eq!(state.last_good(), Some(&subject));
        assert_eq!(state.degraded, None);
        server.power_off()
    })
}

/// The generator has systemd reboot a trial whose fallback fails. In the same boot it is no trial any more.
fn a_fallback_that_fails_after_the_blessing_reboots_nothing(debian: Debian) -> Result<()> {
    in_container("probation-no-reboot", debian, |server| {
        proven(server, 1)?;
        with_worker(server, "")?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Proven(2))?;
        let fall_back = "lastgood-fall-back.service";
        assert_eq!(server.property(fall_back, "FailureAction")?, "reboot");
        // Not while somebody writes it.
        server.run_ok("flock /var/lib/lastgood/lock sh -c 'mv /var/lib/lastgood/ledger.jsonl /var/lib/lastgood/aside && mkdir /var/lib/lastgood/ledger.jsonl'")?;
        server.run_ok(&format!("systemctl start {fall_back}"))?;
        server.run_ok("rmdir /var/lib/lastgood/ledger.jsonl && mv /var/lib/lastgood/aside /var/lib/lastgood/ledger.jsonl")?;
        let said = server.run_ok(&format!("journalctl --boot --output=cat -u {fall_back}"))?;
        ensure!(said.contains("not gone back"), "{said}");
        server.power_off()
    })
}
