//! The agent's own troubles: what it must not do when it crashes, cannot write, cannot read, or is asked too early.

use anyhow::Result;
use lastgood::state::fault::Fault;
use lastgood::state::reset::Way;
use lastgood::state::{Event, Standing};
use lastgood_tests::container::{Boot, Container, Ended, Reach};
use lastgood_tests::debian::Debian;
use lastgood_tests::machine::Fact;
use lastgood_tests::scenario::in_container;

use crate::way_down::{has_logind, log_in, start_logind};
use crate::{BROKEN_RULESET, proven, rejection, selected, units};

on_each_debian! {
    a_configuration_that_cannot_be_read_closes_the_machine,
    an_assessor_that_crashes_is_acted_upon_on_a_trial_only,
    nothing_is_blessed_by_hand,
    an_agent_that_cannot_write_reboots_a_trial_only,
    what_has_failed_is_not_started_again_by_a_login,
}

on_one_debian! {
    Twelve: a_boot_that_began_badly_still_ends_on_record,
}

fn a_configuration_that_cannot_be_read_closes_the_machine(debian: Debian) -> Result<()> {
    in_container("container-configuration", debian, |server| {
        let typo = (
            "etc/lastgood/lastgood.toml",
            "[firewall]\nrulset = \"etc/nftables.conf\"\n",
        );
        proven(server, 1, &[])?;
        let subject = selected(server, 2, &[typo])?;
        server.start(Boot::Counted(2))?;
        server.wait_for(
            "lastgood.toml: line 2, column 1: unknown key `rulset`: did you mean `ruleset`?",
        )?;
        server.wait_for(Fact::Rejected(2))?;
        // Nothing can be read of what is asked for on the way back either: the defaults hold. Whether somebody can be logged
        // in by now depends on who is faster.
        drop(server.run("systemctl --no-block reboot"));
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        assert_eq!(
            units(&rejection(server, &subject)?)[0],
            "lastgood-firewall.service"
        );

        // Where there is nothing to go back to, it is closed and up.
        proven(server, 3, &[typo])?;
        server.start(Boot::Uncounted(3))?;
        server.wait_for(Fact::Degraded(3))?;
        assert_eq!(
            server.run_ok("nft list tables")?,
            "table inet lastgood-lockdown"
        );
        assert_eq!(server.reach(22)?, Reach::Refused);
        assert_eq!(server.reach(80)?, Reach::Silent);
        server.power_off()
    })
}

/// Ends the assessor as its own panic would. Not by SIGSEGV: a Rust program survives the first one that was sent and
/// not earned, because the handler that looks for stack overflows takes it.
fn crash(server: &Container) -> Result<()> {
    server.run_ok("systemctl kill --kill-whom=main --signal=ABRT lastgood-assess.service")?;
    Ok(())
}

/// A verdict that the assessor did not live to give.
fn an_assessor_that_crashes_is_acted_upon_on_a_trial_only(debian: Debian) -> Result<()> {
    in_container("container-crash", debian, |server| {
        let slow = ("etc/lastgood/lastgood.toml", "[health]\nsettle-sec = 30\n");
        let good = proven(server, 1, &[slow])?;
        let subject = selected(server, 2, &[slow])?;
        server.start(Boot::Counted(2))?;
        server.wait_for("waiting: ")?;
        crash(server)?;
        server.wait_for(Fact::Rejected(2))?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        let cause = rejection(server, &subject)?;
        assert_eq!(cause.faults, [Fault::NoVerdict]);

        server.start(Boot::Uncounted(1))?;
        server.wait_for("waiting: ")?;
        crash(server)?;
        server.wait_for("staying up: it is proven")?;
        assert_eq!(server.state()?.standing(&good), Standing::Proven);
        server.power_off()
    })
}

fn nothing_is_blessed_by_hand(debian: Debian) -> Result<()> {
    in_container("container-bless", debian, |server| {
        let slow = ("etc/lastgood/lastgood.toml", "[health]\nsettle-sec = 30\n");
        let subject = selected(server, 1, &[slow])?;
        server.start(Boot::Counted(1))?;
        server.wait_for("waiting: ")?;
        let refused = server.run("lastgood step bless")?;
        assert_eq!(refused.status, 1, "{refused:?}");
        assert!(
            refused
                .stderr
                .contains("no assessment has found this boot healthy"),
            "{refused:?}"
        );
        assert_eq!(
            server.property("boot-complete.target", "ActiveState")?,
            "inactive"
        );
        assert_eq!(server.state()?.standing(&subject), Standing::Trial);
        server.power_off()
    })
}

/// A full disk, say. It is no reason to reboot a proven generation, nor to take its services off the network (A8).
fn an_agent_that_cannot_write_reboots_a_trial_only(debian: Debian) -> Result<()> {
    in_container("container-no-ledger", debian, |server| {
        proven(server, 1, &[])?;
        selected(server, 2, &[])?;
        server.write("/var/lib/lastgood/lock/is-a-directory", "")?;
        server.start(Boot::Uncounted(1))?;
        server.wait_for("cannot record the stage Firewalled")?;
        server.run_ok("curl --silent --fail --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:80/")?;
        server.run_ok("systemctl is-system-running --wait || true")?;
        assert_eq!(
            server.run_ok("nft list tables")?,
            "table inet lastgood-demo"
        );
        let page = server.reach(80)?;
        assert!(
            matches!(&page, Reach::Page(page) if page.contains("generation 1")),
            "{page:?}"
        );
        server.power_off()?;

        server.start(Boot::Counted(2))?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        Ok(())
    })
}

/// systemd stops only what has started: an operator's reboot would look like a power cut.
fn a_boot_that_began_badly_still_ends_on_record(debian: Debian) -> Result<()> {
    in_container("container-begun-badly", debian, |server| {
        let slow = ("etc/lastgood/lastgood.toml", "[health]\nsettle-sec = 60\n");
        proven(server, 1, &[])?;
        let trial = selected(server, 2, &[slow])?;
        server.write(
            "/etc/systemd/system/lastgood-begin.service.d/rig.conf",
            "[Service]\nExecStart=\nExecStart=/bin/false\n",
        )?;
        server.start(Boot::Counted(2))?;
        server.wait_for("it must stay so for 60 s")?;
        assert_eq!(
            server.property("lastgood-begin.service", "ActiveState")?,
            "failed"
        );
        server.run_ok("systemctl --no-block reboot")?;
        server.wait_for("ended in order before there was a verdict: this boot is no try")?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        let ended =
            |event: &&Event| matches!(event, Event::Ended { way, .. } if *way == Way::Reboot);
        assert_eq!(server.events()?.iter().filter(ended).count(), 1);
        let state = server.state()?;
        assert_eq!(
            (state.attempts, state.standing(&trial)),
            (0, Standing::Trial)
        );
        Ok(())
    })
}

/// systemd drops the job of a target that is up, and with it the jobs of what that target only wants.
fn what_has_failed_is_not_started_again_by_a_login(debian: Debian) -> Result<()> {
    in_container("container-failed-once", debian, |server| {
        has_logind(server, debian)?;
        server.write(
            "/etc/systemd/system/rig.service",
            "[Service]\nType=oneshot\nExecStart=/bin/true\n",
        )?;
        server.write(
            "/etc/systemd/system/rig.timer",
            "[Timer]\nOnActiveSec=0\nAccuracySec=10ms\nUnit=rig-by-timer.service\n",
        )?;
        server.write(
            "/etc/systemd/system/rig-by-timer.service",
            "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n",
        )?;
        proven(server, 1, &[BROKEN_RULESET])?;
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Degraded(1))?;
        server.run_ok("systemctl is-system-running --wait || true")?;
        let failed = ["lastgood-assess.service", "lastgood-firewall.service"];
        let mut runs = Vec::new();
        for unit in failed {
            assert_eq!(server.property(unit, "ActiveState")?, "failed");
            runs.push(server.property(unit, "InvocationID")?);
        }
        start_logind(server)?;
        log_in(server)?;
        server.run_ok(
            "systemctl start rig.service && systemctl start --job-mode=fail rig.service && systemctl start user@0.service && \
             systemd-run --quiet --wait /bin/true && systemctl daemon-reload && systemctl start rig.service rig.timer && \
             timeout 20 sh -c 'until systemctl --quiet is-active rig-by-timer.service; do sleep 0.1; done'",
        )?;
        for (unit, run) in failed.into_iter().zip(runs) {
            assert_eq!(server.property(unit, "InvocationID")?, run, "{unit}");
            assert_eq!(server.property(unit, "ActiveState")?, "failed");
        }
        // Whoever asks for one of them has it run.
        let before = server.property(failed[1], "InvocationID")?;
        drop(server.run("systemctl start lastgood-firewall.service")?);
        assert_ne!(server.property(failed[1], "InvocationID")?, before);
        server.power_off()
    })
}
