//! What ends a step that hangs, and what our units rely on in systemd for that.

use anyhow::{Result, ensure};
use lastgood::state::Standing;
use lastgood::state::fault::Fault;
use lastgood_tests::container::{Boot, Container, Ended, Reach};
use lastgood_tests::debian::Debian;
use lastgood_tests::machine::Fact;
use lastgood_tests::scenario::in_container;
use lastgood_tests::{files, paths};

use crate::{proven, rejection, selected};

on_each_debian! {
    an_assessor_that_hangs_is_ended_and_acted_upon_on_a_trial_only,
    an_assessment_may_take_longer_than_the_limit_of_its_unit,
    a_reload_of_the_manager_ends_no_assessment,
    a_failure_action_does_not_wait_for_a_restart,
    what_a_failure_starts_may_be_started_at_every_try,
    a_reboot_is_refused_while_the_emergency_is_on_its_way,
    a_proven_generation_in_emergency_mode_is_on_the_network,
    an_initrd_that_takes_too_long_is_left_on_a_trial_only,
    a_watchdog_is_armed_for_a_trial_where_the_host_has_no_shorter_one,
}
on_debian_sid! {
    an_assessor_that_hangs_is_ended_and_acted_upon_on_a_trial_only,
    an_assessment_may_take_longer_than_the_limit_of_its_unit,
    a_reload_of_the_manager_ends_no_assessment,
    a_failure_action_does_not_wait_for_a_restart,
    what_a_failure_starts_may_be_started_at_every_try,
    a_reboot_is_refused_while_the_emergency_is_on_its_way,
    a_proven_generation_in_emergency_mode_is_on_the_network,
    an_initrd_that_takes_too_long_is_left_on_a_trial_only,
    a_watchdog_is_armed_for_a_trial_where_the_host_has_no_shorter_one,
}

/// How long nobody needs to hear of the assessor, in seconds. On a real machine it is longer.
const LIMIT: u64 = 8;

/// Nobody waits here as long as on a real machine.
fn is_impatient(server: &Container) -> Result<()> {
    server.write(
        "/etc/systemd/system/lastgood-assess.service.d/rig.conf",
        format!("[Service]\nWatchdogSec={LIMIT}s\n"),
    )
}

/// Its loop waits for something that never comes: one of the files that it looks at is a pipe that nobody writes to.
fn hang(server: &Container) -> Result<()> {
    server.run_ok("rm -f /run/lastgood/snippets.json && mkfifo /run/lastgood/snippets.json")?;
    Ok(())
}

fn an_assessor_that_hangs_is_ended_and_acted_upon_on_a_trial_only(debian: Debian) -> Result<()> {
    in_container("container-hung-assessor", debian, |server| {
        let slow = ("etc/lastgood/lastgood.toml", "[health]\nsettle-sec = 600\n");
        is_impatient(server)?;
        let good = proven(server, 1, &[slow])?;
        let subject = selected(server, 2, &[slow])?;
        server.start(Boot::Counted(2))?;
        server.wait_for("waiting: ")?;
        hang(server)?;
        server.wait_for(Fact::Rejected(2))?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        assert_eq!(rejection(server, &subject)?.faults, [Fault::NoVerdict]);

        server.start(Boot::Uncounted(1))?;
        server.wait_for("waiting: ")?;
        hang(server)?;
        server.wait_for("staying up: it is proven")?;
        assert_eq!(
            server.property("lastgood-assess.service", "Result")?,
            "signal"
        );
        let state = server.state()?;
        assert_eq!(state.standing(&good), Standing::Proven);
        assert_eq!(state.reboots, 1, "the trial's");
        server.power_off()
    })
}

/// `WatchdogSec=` is about one that hangs, and not about one that is at work, or has ended.
fn an_assessment_may_take_longer_than_the_limit_of_its_unit(debian: Debian) -> Result<()> {
    in_container("container-long-assessment", debian, |server| {
        let toml = format!("[health]\nsettle-sec = {}\n", LIMIT * 3 / 2);
        is_impatient(server)?;
        selected(server, 1, &[("etc/lastgood/lastgood.toml", &toml)])?;
        server.start(Boot::Counted(1))?;
        let begun = server.wait_for(Fact::Begun(1))?;
        let proven = server.wait_for(Fact::Proven(1))?;
        let took = proven.at.saturating_sub(begun.at);
        ensure!(took.as_secs() > LIMIT, "{took:?}");
        // What systemd would do once more by then, it has done.
        server.run_ok(&format!("sleep {}", LIMIT * 3 / 2))?;
        for (property, is) in [("ActiveState", "active"), ("Result", "success")] {
            assert_eq!(server.property("lastgood-assess.service", property)?, is);
        }
        server.power_off()
    })
}

/// Both make systemd forget that a limit was put off, and count from the start of the unit. Anybody's reload does that: of a
/// package that is configured, say, or of a switch.
fn a_reload_of_the_manager_ends_no_assessment(debian: Debian) -> Result<()> {
    in_container("container-reloaded-assessment", debian, |server| {
        let toml = format!("[health]\nsettle-sec = {}\n", LIMIT * 3);
        is_impatient(server)?;
        selected(server, 1, &[("etc/lastgood/lastgood.toml", &toml)])?;
        server.start(Boot::Counted(1))?;
        server.wait_for(Fact::Begun(1))?;
        server.wait_for("waiting: ")?;
        server.run_ok(&format!("sleep {}", LIMIT * 3 / 2))?;
        server.run_ok("systemctl daemon-reload && systemctl daemon-reexec")?;
        server.wait_for(Fact::Proven(1))?;
        server.power_off()
    })
}

/// A machine that is up, with these units, which nothing has started.
fn up_with(server: &mut Container, units: &[(&str, &str)]) -> Result<()> {
    for (name, text) in units {
        server.write(&format!("/etc/systemd/system/{name}"), text)?;
    }
    proven(server, 1, &[])?;
    server.start(Boot::Uncounted(1))?;
    server.wait_for(Fact::Proven(1))?;
    Ok(())
}

/// So the drop-in of a trial with `FailureAction=` is for a unit that is tried once, and `lastgood-bless.service`, which is
/// tried again, must not have one.
fn a_failure_action_does_not_wait_for_a_restart(debian: Debian) -> Result<()> {
    in_container("container-failure-action", debian, |server| {
        let fails = "[Unit]\nFailureAction=reboot\n[Service]\nType=oneshot\nRestart=on-failure\nRestartSec=100ms\n\
                     ExecStart=/bin/sh -c 'echo tried >>/var/tries; sync; exit 1'\n";
        up_with(server, &[("fails.service", fails)])?;
        server.run_ok("systemctl --no-block start fails.service")?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        let tries = std::fs::read_to_string(server.disk().join("/var/tries"))?;
        assert_eq!(tries, "tried\n");
        Ok(())
    })
}

/// Ours is started by a unit without `Restart=`, once; and it may be started again.
fn what_a_failure_starts_may_be_started_at_every_try(debian: Debian) -> Result<()> {
    in_container("container-on-failure", debian, |server| {
        let fails = "[Unit]\nOnFailure=told.service\nStartLimitIntervalSec=60\nStartLimitBurst=3\n[Service]\n\
                     Type=oneshot\nRestart=on-failure\nRestartSec=500ms\n\
                     ExecStart=/bin/sh -c 'echo tried >>/var/tries; exit 1'\n";
        let told = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo told >>/var/told'\n";
        up_with(server, &[("fails.service", fails), ("told.service", told)])?;
        server.run_ok("systemctl --no-block start fails.service")?;
        server.run_ok(
            "timeout 20 sh -c 'until systemctl is-failed fails.service && grep -q told /var/told; do sleep 0.2; done'",
        )?;
        // The last of them may be on its way.
        server.run_ok("systemctl start --job-mode=ignore-dependencies --wait told.service")?;
        let lines = |path: &str| -> Result<usize> {
            Ok(std::fs::read_to_string(server.disk().join(path))?
                .lines()
                .count())
        };
        assert_eq!(lines("/var/tries")?, 3);
        let told = lines("/var/told")? - 1;
        match debian {
            Debian::Twelve => assert_eq!(told, 1),
            Debian::Thirteen | Debian::Sid => ensure!(told > 1, "only {told} times"),
        }
        for (property, is) in [
            ("Restart", "no"),
            ("OnFailure", "lastgood-fall-back.service"),
        ] {
            assert_eq!(server.property("lastgood-assess.service", property)?, is);
        }
        server.power_off()
    })
}

/// What is ordered before emergency.target, as `lastgood-no-prompt.service` is before its prompt, has to ask by force.
fn a_reboot_is_refused_while_the_emergency_is_on_its_way(debian: Debian) -> Result<()> {
    in_container("container-refused", debian, |server| {
        proven(server, 1, &[])?;
        let asks = "[Unit]\nDefaultDependencies=no\nBefore=emergency.target\n[Service]\nType=oneshot\n\
                    ExecStart=/bin/sh -c 'systemctl --no-block reboot 2>/var/refused; echo $? >>/var/refused; sync; \
                    systemctl --no-block --force reboot'\n";
        server.write("/etc/systemd/system/asks.service", asks)?;
        files::link(
            "../asks.service",
            &server
                .disk()
                .join("/etc/systemd/system/emergency.target.wants/asks.service"),
        )?;
        server.write("/etc/fstab", "none /srv/data tmpfs bogus 0 0\n")?;
        server.start(Boot::Uncounted(1))?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        let refused = std::fs::read_to_string(server.disk().join("/var/refused"))?;
        ensure!(
            refused.contains("is destructive") && !refused.ends_with("\n0\n"),
            "{refused}"
        );
        Ok(())
    })
}

/// What listens in the place of an SSH server: it says its line as soon as somebody calls.
const SERVER: &str = "\
use IO::Socket::INET;
my $s = IO::Socket::INET->new(LocalPort => 22, Listen => 5, ReuseAddr => 1) or die $!;
while (my $c = $s->accept) { print $c \"SSH-2.0-rig\\r\\n\"; close $c }
";

/// The server's line, as the other end of the cable sees it.
fn greeting(server: &Container) -> Result<String> {
    // The address may come a moment after the server.
    let asks = "timeout 20 bash -c 'until (exec 3<>/dev/tcp/10.0.2.15/22 && head -n 1 <&3) 2>/dev/null | grep .; do \
                sleep 0.2; done'";
    Ok(server.world(asks)?.stdout)
}

/// A line in fstab that nothing can be mounted by. Nobody is at the prompt.
fn a_proven_generation_in_emergency_mode_is_on_the_network(debian: Debian) -> Result<()> {
    in_container("container-emergency-reached", debian, |server| {
        let good = proven(server, 1, &[])?;
        let service = "[Service]\nRuntimeDirectory=sshd\nRestart=on-failure\nRestartSec=100ms\n\
                       ExecStart=/usr/bin/perl /rig/server.pl\n";
        server.write("/rig/server.pl", SERVER)?;
        server.write("/etc/systemd/system/ssh.service", service)?;
        files::link(
            "../ssh.service",
            &server
                .disk()
                .join("/etc/systemd/system/multi-user.target.wants/ssh.service"),
        )?;
        server.write("/etc/fstab", "none /srv/data tmpfs bogus 0 0\n")?;
        server.start(Boot::Uncounted(1))?;
        server.wait_for("the machine is on the network behind its firewall")?;
        assert_eq!(greeting(server)?, "SSH-2.0-rig\r\n");
        // It is behind the closure's own firewall, and nothing else was started.
        assert_eq!(
            server.run_ok("nft list tables")?,
            "table inet lastgood-demo"
        );
        assert_eq!(server.reach(8080)?, Reach::Silent);
        let is = |unit: &str| server.property(unit, "ActiveState");
        for (unit, state) in [
            ("emergency.target", "active"),
            ("emergency.service", "active"),
            ("sysinit.target", "inactive"),
            ("nginx.service", "inactive"),
        ] {
            assert_eq!(is(unit)?, state, "{unit}");
        }
        // What is started the ordinary way would end the mode: a crash, and the bus.
        server.run_ok("systemctl kill --kill-whom=main --signal=KILL ssh.service && sleep 1")?;
        assert_eq!(greeting(server)?, "SSH-2.0-rig\r\n");
        server.run_ok(
            "systemctl start --job-mode=ignore-dependencies dbus.socket && busctl list >/dev/null",
        )?;
        assert_eq!(is("dbus.service")?, "active");
        assert_eq!(is("emergency.target")?, "active");
        let status = server.run_ok("lastgood --quiet status")?;
        ensure!(status.contains("emergency mode"), "{status}");
        let state = server.state()?;
        assert_eq!(state.standing(&good), Standing::Proven);
        assert_eq!(state.reboots, 0);

        // It is mended, and goes on.
        server.run_ok(
            "sed -i s/bogus/defaults/ /etc/fstab && systemctl daemon-reload && systemctl --no-block default",
        )?;
        server.wait_for(Fact::Proven(1))?;
        let status = server.run_ok("lastgood --quiet status")?;
        ensure!(!status.contains("emergency mode"), "{status}");
        assert_eq!(greeting(server)?, "SSH-2.0-rig\r\n");
        server.power_off()
    })
}

/// What is in an initrd, in a machine that has none, with shorter times.
fn with_the_units_of_an_initrd(server: &Container) -> Result<()> {
    let module = paths::repository().join("initrd/dracut/90lastgood-deadline");
    let read = |name: &str| std::fs::read_to_string(module.join(name));
    server.program("/usr/lib/lastgood/is-trial", read("is-trial")?)?;
    for unit in [
        "lastgood-next-try.service",
        "lastgood-deadline.timer",
        "lastgood-no-prompt.timer",
    ] {
        server.write(&format!("/etc/systemd/system/{unit}"), read(unit)?)?;
        if unit.ends_with("timer") {
            let shorter = "[Timer]\nOnActiveSec=\nOnActiveSec=2s\n";
            server.write(&format!("/etc/systemd/system/{unit}.d/rig.conf"), shorter)?;
        }
    }
    // As the loader's stub tells the kernel.
    let before =
        "read -r words </rig/cmdline\nprintf '%s initrd=\\\\x\\n' \"$words\" >/rig/cmdline\n";
    server.write("/rig/before", before)
}

fn an_initrd_that_takes_too_long_is_left_on_a_trial_only(debian: Debian) -> Result<()> {
    in_container("container-initrd-deadline", debian, |server| {
        let slow = ("etc/lastgood/lastgood.toml", "[health]\nsettle-sec = 600\n");
        with_the_units_of_an_initrd(server)?;
        proven(server, 1, &[])?;
        selected(server, 2, &[slow])?;
        for timer in ["lastgood-deadline.timer", "lastgood-no-prompt.timer"] {
            server.start(Boot::Counted(2))?;
            server.wait_for("waiting: ")?;
            server.run_ok(&format!("systemctl start {timer}"))?;
            server.wait_for("this trial does not get out of the initrd")?;
            assert_eq!(server.wait_until_ended()?, Ended::Reboot, "{timer}");
        }
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;
        server.run_ok("systemctl start lastgood-deadline.timer")?;
        server.run_ok(
            "timeout 20 sh -c 'until systemctl show --property=ExecMainExitTimestampMonotonic lastgood-next-try.service | \
             grep -v =0; do sleep 0.2; done'",
        )?;
        assert_eq!(
            server.property("lastgood-next-try.service", "Result")?,
            "success"
        );
        server.power_off()
    })
}

/// A watchdog, as far as sysfs has it. There is no device, and PID 1 takes its time for one all the same.
const WATCHDOG: &str = "\
mount -t tmpfs tmpfs /sys/class/watchdog
mkdir /sys/class/watchdog/watchdog0
cd /sys/class/watchdog/watchdog0
echo rig timer >identity
echo inactive >state
echo 0x8000 >status
echo 0 >nowayout
echo 1 >min_timeout
echo 2046 >max_timeout
cd /
";

/// How the journal begins the line.
const ARMED: &str = "rig timer is armed";

fn a_watchdog_is_armed_for_a_trial_where_the_host_has_no_shorter_one(debian: Debian) -> Result<()> {
    in_container("container-watchdog", debian, |server| {
        let time = |server: &Container| {
            server.run_ok("systemctl show --value --property=RuntimeWatchdogUSec")
        };
        server.write("/rig/before", WATCHDOG)?;
        selected(server, 1, &[])?;
        server.start(Boot::Counted(1))?;
        server.wait_for(ARMED)?;
        server.wait_for(Fact::Proven(1))?;
        server.wait_for("rig timer is not armed any more")?;
        assert_eq!(time(server)?, "0");
        server.power_off()?;
        // Proven: never.
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;
        assert_eq!(time(server)?, "0");
        server.power_off()?;

        selected(server, 2, &[])?;
        let host = "[Manager]\nRuntimeWatchdogSec=30s\n";
        server.write("/etc/systemd/system.conf.d/rig.conf", host)?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Proven(2))?;
        server.wait_for(crate::NO_BOOT)?;
        assert_eq!(time(server)?, "30s");
        server.power_off()?;
        let armed = server.journal(&["MESSAGE=rig timer is armed, 180 s"])?;
        assert_eq!(armed.len(), 1, "{armed:?}");
        Ok(())
    })
}
