//! The ways down: a reboot that is meant is one, whoever holds it up is waited for and then not any more, and a soft-reboot
//! leads to the last good generation.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lastgood::state::{Event, Standing, Subject};
use lastgood_tests::container::{Boot, Container, Ended, Reach};
use lastgood_tests::debian::Debian;
use lastgood_tests::files;
use lastgood_tests::machine::Fact;
use lastgood_tests::packages;
use lastgood_tests::scenario::in_container;

use super::{NO_BOOT, proven, selected};

on_each_debian! {
    a_reboot_that_is_meant_is_no_soft_reboot,
    whoever_holds_up_a_reboot_is_waited_for_and_named,
    somebody_who_is_logged_in_is_told_and_can_hold_it,
    whoever_cannot_be_counted_is_waited_for_and_nobody_is_before_a_login,
}

on_one_debian! {
    Thirteen: a_failing_trial_is_left_by_a_soft_reboot,
    Thirteen: a_soft_reboot_of_the_operator_is_a_boot_of_the_same,
    Thirteen: whoever_dies_on_the_way_to_a_soft_reboot_leaves_a_reboot,
    Thirteen: a_soft_reboot_that_does_not_end_becomes_a_reboot,
    Thirteen: whoever_took_the_machine_down_writes_nothing_below_a_mount_that_is_to_come,
}

/// Opens a session in whatever says `PAMName=rig`, and asks for nothing.
const PAM: &str = "auth sufficient pam_permit.so\naccount sufficient pam_permit.so\n\
                   session optional pam_systemd.so class=user\n";
/// What the machine says when it goes down.
const GOES: &str = "rebooting: generation 1: falling back from generation 2";

/// `lastgood.toml` of a trial that goes back like this.
fn asks(fallback: &str) -> String {
    format!(
        "[health]\nrequired-units = [\"nginx.service\"]\nsettle-sec = 1\ndeadline-sec = 120\n\
         [firewall]\nruleset = \"etc/nftables.conf\"\n[fallback]\n{fallback}"
    )
}

/// The first generation is proven. The second is started, and found bad as soon as somebody says so.
fn on_trial(server: &mut Container, fallback: &str) -> Result<(Subject, Subject)> {
    let gate = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'until [ -e /rig/go ]; do sleep 0.1; done; exit 1'\n";
    let good = proven(server, 1, &[])?;
    let bad = selected(
        server,
        2,
        &[
            ("etc/lastgood/lastgood.toml", &asks(fallback)),
            ("etc/systemd/system/gate.service", gate),
            (
                "etc/systemd/system/multi-user.target.wants/gate.service",
                gate,
            ),
        ],
    )?;
    server.start(Boot::Counted(2))?;
    server.wait_for(Fact::Begun(2))?;
    Ok((good, bad))
}

/// From here on the trial fails.
fn go(server: &mut Container) -> Result<()> {
    server.run_ok("touch /rig/go")?;
    server.wait_for(Fact::Rejected(2))?;
    Ok(())
}

/// With logind, which the rig masks.
pub(super) fn has_logind(server: &mut Container, debian: Debian) -> Result<()> {
    let step = match debian {
        Debian::Twelve => "libpam-systemd-12",
        Debian::Thirteen => "libpam-systemd-13",
        Debian::Sid => "libpam-systemd-sid",
    };
    server.has(packages::unpacked(step, debian, &["libpam-systemd"])?);
    server.write("/etc/pam.d/rig", PAM)
}

pub(super) fn start_logind(server: &Container) -> Result<()> {
    server.run_ok(
        "systemctl unmask systemd-logind.service && systemctl start dbus.service systemd-logind.service",
    )?;
    Ok(())
}

/// On a soft-reboot nspawn goes on, and on a reboot it ends with a status of its own.
fn a_reboot_that_is_meant_is_no_soft_reboot(debian: Debian) -> Result<()> {
    in_container("down-meant", debian, |server| {
        on_trial(server, "soft-reboot = false\ngrace-sec = 0\n")?;
        // A whole system, as systemd looks for one.
        server.run_ok("mkdir /run/nextroot && mount --rbind / /run/nextroot")?;
        go(server)?;
        server.wait_for(GOES)?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        Ok(())
    })
}

fn whoever_holds_up_a_reboot_is_waited_for_and_named(debian: Debian) -> Result<()> {
    in_container("down-inhibitors", debian, |server| {
        has_logind(server, debian)?;
        on_trial(
            server,
            "soft-reboot = false\ngrace-sec = 0\ninhibitor-patience-sec = 5\n",
        )?;
        start_logind(server)?;
        server.run_ok(
            "systemd-run --quiet --unit=backup systemd-inhibit --what=shutdown --who=backup --why='of backup' --mode=block \
             sleep infinity; timeout 20 sh -c 'until systemd-inhibit --list | grep -q backup; do sleep 0.1; done'",
        )?;
        // Nobody may refuse it in the end. (A user's own takes polkit, which the rig has not; it is in the same list.)
        go(server)?;
        let first = server.wait_for("\"backup\" because of \"of backup\" (user 0, process ")?;
        let last = server.wait_for("not waiting any longer for those who hold up the reboot")?;
        let took = last.at.saturating_sub(first.at);
        assert!(took.as_secs() >= 4, "{took:?}");
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        Ok(())
    })
}

/// Somebody has a terminal, and reads what is written there.
pub(super) fn log_in(server: &Container) -> Result<()> {
    // The other end of a pseudo terminal, whose this end is a service's with a session.
    server.run_ok(
        "systemd-run --quiet --unit=screen script --quiet --flush --command \
         'tty >/run/rig-tty; sleep infinity' /run/rig-screen; \
         timeout 20 sh -c 'until [ -s /run/rig-tty ]; do sleep 0.1; done'; \
         systemd-run --quiet --unit=alice --property=User=root --property=PAMName=rig \
         --property=TTYPath=$(cat /run/rig-tty) \
         sleep infinity; \
         timeout 20 sh -c 'until loginctl list-sessions --no-legend | grep -q pts; do sleep 0.1; done'",
    )?;
    Ok(())
}

fn somebody_who_is_logged_in_is_told_and_can_hold_it(debian: Debian) -> Result<()> {
    in_container("down-people", debian, |server| {
        has_logind(server, debian)?;
        let (_, bad) = on_trial(server, "soft-reboot = false\ngrace-sec = 600\n")?;
        start_logind(server)?;
        log_in(server)?;
        go(server)?;
        server.wait_for("root logged in; `lastgood hold` holds it")?;
        let screen = server.run_ok(
            "timeout 20 sh -c 'until grep -q hold /run/rig-screen; do sleep 0.1; done'; cat /run/rig-screen",
        )?;
        for words in [
            "going back from generation 2 to generation 1",
            "gate.service",
            "goes down in ",
            "lastgood hold",
        ] {
            ensure!(screen.contains(words), "no {words:?} in {screen:?}");
        }
        let said = server.run_ok("lastgood hold")?;
        ensure!(said.contains("goes back to generation 1"), "{said}");
        // What is put on record and what is said go two ways, and either may come first.
        server.wait_for(Fact::Degraded(2))?;
        let stays = |times: u32| {
            format!(
                "timeout 20 sh -c 'until test $(journalctl --boot --output=cat | grep -c \"staying up: user\") = {times}; do sleep 0.1; done'"
            )
        };
        server.run_ok(&stays(1))?;
        server.run_ok(
            "timeout 20 sh -c 'while systemctl is-active lastgood-go-down.service; do sleep 0.1; done'",
        )?;
        let state = server.state()?;
        assert_eq!(state.reboots, 0);
        assert_eq!(state.standing(&bad), Standing::Rejected);
        let degraded = state.degraded.context("not degraded")?;
        ensure!(degraded.summary.contains("holds this boot"), "{degraded:?}");
        let status = server.run_ok("lastgood --quiet status")?;
        ensure!(status.contains("holds this boot"), "{status}");
        // It is held for this boot, whoever looks again.
        server.run_ok("systemctl start lastgood-fall-back.service")?;
        server.run_ok(&stays(2))?;
        server.power_off()
    })
}

/// The rig has no logind of its own.
fn whoever_cannot_be_counted_is_waited_for_and_nobody_is_before_a_login(
    debian: Debian,
) -> Result<()> {
    in_container("down-nobody", debian, |server| {
        on_trial(server, "soft-reboot = false\ngrace-sec = 4\n")?;
        server.run_ok(
            "timeout 60 sh -c 'until systemctl --quiet is-active basic.target; do sleep 0.1; done'",
        )?;
        go(server)?;
        let first = server.wait_for("nobody can tell who is logged in")?;
        let last = server.wait_for(GOES)?;
        let took = last.at.saturating_sub(first.at);
        assert!(took.as_secs() >= 3, "{took:?}");
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);

        // Before anybody can have come in the grace is nobody's, however long it is.
        let early = "[Unit]\nDefaultDependencies=no\nAfter=local-fs.target\nBefore=sysinit.target\n[Service]\nType=oneshot\n\
                     ExecStart=/bin/sh -c 'until [ -e /rig/early ]; do sleep 0.1; done; exit 1'\nTimeoutStartSec=5min\n";
        let waits = asks("soft-reboot = false\ngrace-sec = 600\n")
            .replace("deadline-sec = 120", "deadline-sec = 2");
        selected(
            server,
            3,
            &[
                ("etc/lastgood/lastgood.toml", &waits),
                ("etc/systemd/system/early.service", early),
                (
                    "etc/systemd/system/sysinit.target.wants/early.service",
                    early,
                ),
            ],
        )?;
        server.start(Boot::Counted(3))?;
        server.wait_for(Fact::Rejected(3))?;
        server.wait_for("rebooting: generation 1: falling back from generation 3")?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        Ok(())
    })
}

/// Waits for the Nth user space.
fn soft_rebooted(server: &mut Container, count: u32) -> Result<()> {
    server.wait_for(&*format!("this is the user space of soft-reboot {count}"))?;
    Ok(())
}

fn a_failing_trial_is_left_by_a_soft_reboot(debian: Debian) -> Result<()> {
    in_container("down-soft", debian, |server| {
        let supported = debian != Debian::Twelve;
        let (good, bad) = on_trial(server, "grace-sec = 0\n")?;
        let kernel = server.run_ok("cat /proc/sys/kernel/random/boot_id")?;
        go(server)?;
        if !supported {
            server.wait_for("no soft-reboot: this systemd does not count soft-reboots")?;
            assert_eq!(server.wait_until_ended()?, Ended::Reboot);
            return Ok(());
        }
        server.wait_for("going down by soft-reboot, to generation 1")?;
        soft_rebooted(server, 1)?;
        server.wait_for(Fact::Begun(1))?;
        server.wait_for(Fact::Proven(1))?;
        server.wait_for(NO_BOOT)?;
        let page = server.reach(80)?;
        ensure!(
            matches!(&page, Reach::Page(page) if page.contains("generation 1")),
            "{page:?}"
        );

        // The kernel is the same, and still says what it was started with.
        assert_eq!(
            server.run_ok("cat /proc/sys/kernel/random/boot_id")?,
            kernel
        );
        let cmdline = server.run_ok("cat /proc/cmdline")?;
        ensure!(
            cmdline.contains(&bad.toplevel.display().to_string()),
            "{cmdline}"
        );
        let state = server.state()?;
        assert_eq!(state.running(), Some(&good));
        assert_eq!(
            state.boot.as_ref().map(|boot| boot.id.clone()),
            Some(format!("{kernel}+1"))
        );
        assert_eq!(state.standing(&bad), Standing::Rejected);
        assert_eq!((state.reboots, state.fallen_from.clone()), (0, None));
        assert!(state.late.is_empty(), "{:?}", state.late);
        for link in ["/run/current-system", "/run/booted-system"] {
            assert_eq!(
                server.run_ok(&format!("readlink -f {link}"))?,
                good.toplevel.display().to_string()
            );
        }
        // Nothing of the trial is there any more, and nobody else blesses.
        assert_eq!(server.property("gate.service", "LoadState")?, "not-found");
        assert_eq!(
            server.property("systemd-bless-boot.service", "LoadState")?,
            "masked"
        );
        assert_eq!(
            server.property("boot-complete.target", "ActiveState")?,
            "active"
        );
        let failed = server.run_ok("systemctl list-units --failed --no-legend --plain")?;
        assert_eq!(failed, "");
        for (command, words) in [
            ("status", "generation 1"),
            ("why", "gate.service"),
            ("log", "falling back from generation 2"),
        ] {
            let said = server.run_ok(&format!("lastgood --quiet {command}"))?;
            ensure!(said.contains(words), "{command}: {said}");
        }
        // A second one, by hand: what was gone to stays, and a reload changes nothing.
        server.run_ok("systemctl daemon-reload")?;
        assert_eq!(server.property("gate.service", "LoadState")?, "not-found");
        server.run_ok("systemctl --no-block soft-reboot")?;
        soft_rebooted(server, 2)?;
        server.wait_for(Fact::Proven(1))?;
        assert_eq!(server.state()?.running(), Some(&good));
        assert_eq!(server.property("gate.service", "LoadState")?, "not-found");
        server.power_off()?;
        // And a real boot is what the loader says.
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;
        server.power_off()
    })
}

fn a_soft_reboot_of_the_operator_is_a_boot_of_the_same(debian: Debian) -> Result<()> {
    if debian == Debian::Twelve {
        return no_such_target(debian);
    }
    in_container("down-operator", debian, |server| {
        proven(server, 1, &[])?;
        let slow = asks("grace-sec = 0\n").replace("settle-sec = 1\n", "settle-sec = 15\n");
        let trial = selected(server, 2, &[("etc/lastgood/lastgood.toml", &slow)])?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Begun(2))?;
        server.wait_for("it must stay so for 15 s")?;
        // Before there is a verdict: no try is used.
        server.run_ok("systemctl --no-block soft-reboot")?;
        soft_rebooted(server, 1)?;
        server.wait_for(Fact::Begun(2))?;
        assert_eq!(server.state()?.attempts, 1);
        assert_eq!(server.state()?.standing(&trial), Standing::Trial);
        server.wait_longer(Fact::Proven(2), Duration::from_mins(1))?;
        // After it: judged again, and the same.
        server.run_ok("systemctl --no-block soft-reboot")?;
        soft_rebooted(server, 2)?;
        server.wait_for(Fact::Begun(2))?;
        server.wait_longer(Fact::Proven(2), Duration::from_mins(1))?;
        let state = server.state()?;
        assert_eq!(state.last_good(), Some(&trial));
        assert_eq!((state.reboots, state.rejected.len()), (0, 0));
        server.power_off()
    })
}

/// 252 has no soft-reboot.
fn no_such_target(debian: Debian) -> Result<()> {
    in_container("down-operator", debian, |server| {
        proven(server, 1, &[])?;
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;
        assert_eq!(
            server.property("soft-reboot.target", "LoadState")?,
            "not-found"
        );
        server.power_off()
    })
}

/// The mark is written, `/etc` is the last good one's, and nobody goes.
fn whoever_dies_on_the_way_to_a_soft_reboot_leaves_a_reboot(debian: Debian) -> Result<()> {
    in_container("down-killed", debian, |server| {
        let (good, bad) = on_trial(server, "grace-sec = 0\nstop-sec = 3\n")?;
        // PID 1 does not stop what takes this long, so that there is a moment to kill in.
        server.run_ok(
            "systemd-run --quiet --unit=slow --property=TimeoutStopSec=60 --property=ExecStop='/bin/sleep 60' sleep infinity",
        )?;
        go(server)?;
        let goes = if debian == Debian::Twelve {
            GOES
        } else {
            "going down by soft-reboot"
        };
        server.wait_for(goes)?;
        server.run_ok("systemctl kill --signal=KILL lastgood-go-down.service")?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        let state = server.state()?;
        assert_eq!(state.standing(&bad), Standing::Rejected);
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;
        assert_eq!(server.state()?.running(), Some(&good));
        server.power_off()
    })
}

fn a_soft_reboot_that_does_not_end_becomes_a_reboot(debian: Debian) -> Result<()> {
    in_container("down-stuck", debian, |server| {
        on_trial(server, "grace-sec = 0\nstop-sec = 3\n")?;
        server.run_ok(
            "systemd-run --quiet --unit=slow --property=TimeoutStopSec=60 --property=ExecStop='/bin/sleep 60' sleep infinity",
        )?;
        go(server)?;
        if debian == Debian::Twelve {
            server.wait_for("services have not stopped within 3 s; rebooting by force")?;
        } else {
            server.wait_for("no soft-reboot: it did not come to its end within 3 s")?;
            server.wait_for("rebooting by force")?;
        }
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        let rebooting = |event: &&Event| matches!(event, Event::Rebooting { .. });
        let events = server.events()?;
        match events.iter().filter(rebooting).count() {
            1 => Ok(()),
            count => bail!("{count} reboots on record"),
        }
    })
}

/// systemd starts whoever took the machine down again after the soft-reboot, before the ledger's file system is there.
fn whoever_took_the_machine_down_writes_nothing_below_a_mount_that_is_to_come(
    debian: Debian,
) -> Result<()> {
    if debian == Debian::Twelve {
        return no_such_target(debian);
    }
    in_container("down-mount", debian, |server| {
        let units = "/etc/systemd/system";
        server.write(
            &format!("{units}/var-lib-lastgood.mount"),
            "[Unit]\nWants=rig-disk.service\nAfter=rig-disk.service\nBefore=local-fs.target\n\
             [Mount]\nWhat=/rig/state\nWhere=/var/lib/lastgood\nType=none\nOptions=bind\n",
        )?;
        // A disk that takes its time, from the second user space on.
        server.write(
            &format!("{units}/rig-disk.service"),
            "[Unit]\nDefaultDependencies=no\nConflicts=shutdown.target\nBefore=shutdown.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
             ExecStart=/bin/sh -c '[ ! -e /run/rig-second ] || sleep 5'\n",
        )?;
        let mount = server.disk().join(format!(
            "{units}/local-fs.target.requires/var-lib-lastgood.mount"
        ));
        files::link("../var-lib-lastgood.mount", &mount)?;
        let gate = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'until [ -e /rig/go ]; do sleep 0.1; done; exit 1'\n";
        proven(server, 1, &[])?;
        selected(
            server,
            2,
            &[
                ("etc/lastgood/lastgood.toml", &asks("grace-sec = 0\n")),
                ("etc/systemd/system/gate.service", gate),
                (
                    "etc/systemd/system/multi-user.target.wants/gate.service",
                    gate,
                ),
            ],
        )?;
        let at = |path: &str| server.disk().join(path);
        std::fs::rename(at("/var/lib/lastgood"), at("/rig/state"))?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Begun(2))?;
        server.run_ok("touch /run/rig-second /rig/go")?;
        server.wait_for("going down by soft-reboot, to generation 1")?;
        soft_rebooted(server, 1)?;
        server.wait_for(Fact::Proven(1))?;
        let below = server.run_ok(
            "mkdir /run/rig-root && mount --bind / /run/rig-root && ls -A /run/rig-root/var/lib/lastgood",
        )?;
        assert_eq!(below, "");
        let began = "lastgood --quiet log | grep -c 'began: generation 1'";
        assert_eq!(server.run_ok(began)?.trim(), "1");
        server.power_off()
    })
}
