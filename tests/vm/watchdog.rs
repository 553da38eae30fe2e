//! A hang that no unit ends: of PID 1. A watchdog resets the machine, on trials only, or the assessor does.
//!
//! On Debian 12 the device is the kernel's own (softdog): its kernel for virtual machines has no driver for one of QEMU's.
//! That of Debian 13 has.

use std::time::Duration;

use anyhow::{Result, ensure};
use lastgood_tests::closures::Variant;
use lastgood_tests::debian::Debian;
use lastgood_tests::image::Kind;
use lastgood_tests::machine::{BOOT, Fact, Machine};
use lastgood_tests::scenario::scenario_of;
use lastgood_tests::story::{VERDICT, counter, deploy, first_boot};

/// What the device is called there.
const DEVICE: &str = "/sys/class/watchdog/watchdog0";
/// Closed without a word, as by a PID 1 that dies, it stops (`WDIOF_MAGICCLOSE`).
const GIVES_UP: u64 = 0x100;
/// How long a trial's PID 1 may be silent, and some more.
const RESETS: Duration = Duration::from_mins(5);
/// After the reset the verdict is on record, or the trial is tried once more: its server waits for a minute and a half, and
/// whoever is there has a minute.
const GONE_BACK: Duration = Duration::from_mins(10);

fn state(vm: &mut Machine) -> Result<String> {
    Ok(vm.run_ok(&format!("cat {DEVICE}/state"))?.trim().to_owned())
}

fn gives_up(vm: &mut Machine) -> Result<bool> {
    let status = vm.run_ok(&format!("cat {DEVICE}/status"))?;
    let status = u64::from_str_radix(status.trim().trim_start_matches("0x"), 16)?;
    Ok(status & GIVES_UP != 0)
}

#[test]
fn a_pid_1_that_dies_on_a_trial_ends_in_a_reset_and_a_proven_one_is_left_alone() -> Result<()> {
    pid_1_dies(Debian::Twelve, "softdog", "Software Watchdog")
}

/// With a device of its own the kernel says in the next boot that it was the watchdog.
#[test]
fn long_a_hardware_watchdog_ends_a_trial_whose_pid_1_dies() -> Result<()> {
    pid_1_dies(Debian::Thirteen, "i6300esb", "i6300ESB timer")
}

/// Nobody resets this one but the assessor.
#[test]
fn long_a_pid_1_that_dies_without_a_watchdog_is_left_by_the_assessor() -> Result<()> {
    scenario_of(Debian::Twelve, Kind::Quick, "dead-systemd", |vm| {
        first_boot(vm)?;
        vm.run_ok("echo 'p /run/hold 0600 root root' >/etc/tmpfiles.d/rig.conf && sync")?;
        deploy(vm, Variant::Held)?;
        vm.reboot()?;
        vm.wait_for("rig: held", BOOT)?;
        vm.run_ok("! test -e /dev/watchdog0 && kill -SEGV 1")?;
        vm.wait_for(Fact::Rejected(2), VERDICT)?;
        vm.wait_for("the kernel does, at once", GONE_BACK)?;
        vm.wait_for(Fact::LoaderStarted, RESETS)?;
        vm.wait_for(Fact::Begun(1), BOOT)?;
        vm.wait_for(Fact::Proven(1), VERDICT)?;
        assert_eq!(counter(vm, 2)?, "0-1", "demoted before it went");
        vm.power_off()
    })
}

fn pid_1_dies(debian: Debian, module: &str, device: &str) -> Result<()> {
    let is_hardware = module != "softdog";
    scenario_of(debian, Kind::Quick, "watchdog", |vm| {
        if is_hardware {
            vm.add_watchdog();
        }
        first_boot(vm)?;
        vm.run_ok(&format!(
            "echo {module} >>/etc/modules-load.d/rig.conf && sync"
        ))?;
        deploy(vm, Variant::Two)?;
        vm.reboot()?;
        vm.wait_for(format!("{device} is armed, 180 s"), BOOT)?;
        vm.wait_for(Fact::Proven(2), VERDICT)?;
        vm.wait_for(format!("{device} is not armed any more"), BOOT)?;
        vm.wait_until_settled()?;
        assert_eq!(state(vm)?, "inactive");
        let oops = vm.run_ok("cat /proc/sys/kernel/panic_on_oops")?;
        assert_eq!(oops.trim(), "0");

        // Its server waits in its start, so that there is no verdict meanwhile.
        vm.run_ok("echo 'p /run/hold 0600 root root' >/etc/tmpfiles.d/rig.conf && sync")?;
        deploy(vm, Variant::Held)?;
        vm.reboot()?;
        vm.wait_for(format!("{device} is armed, 180 s"), BOOT)?;
        assert_eq!(state(vm)?, "active");
        let oops = vm.run_ok("cat /proc/sys/kernel/panic_on_oops")?;
        assert_eq!(oops.trim(), "1");
        assert!(!gives_up(vm)?);
        // As an upgrade of systemd does. Until it is noticed, PID 1 could die without a reset.
        vm.run_ok("systemctl daemon-reexec")?;
        vm.wait_for(format!("{device} is armed anew, 180 s"), BOOT)?;
        assert!(!gives_up(vm)?);
        assert_eq!(state(vm)?, "active");
        assert_eq!(counter(vm, 3)?, "2-1");
        // Nobody but the watchdog is to reset the machine, and nothing is to hold up the next try.
        vm.run_ok("systemctl kill --kill-whom=main --signal=STOP lastgood-assess.service")?;
        vm.run_ok("rm /etc/tmpfiles.d/rig.conf && sync")?;
        vm.run_ok("kill -SEGV 1")?;
        vm.wait_for(Fact::LoaderStarted, RESETS)?;
        vm.wait_for(Fact::Begun(3), BOOT)?;
        assert_eq!(counter(vm, 3)?, "1-2", "a boot that died is a try");
        if is_hardware {
            let log = vm.run_ok("lastgood log")?;
            ensure!(log.contains("watchdog"), "{log}");
        }
        vm.wait_for(Fact::Proven(3), VERDICT)?;
        vm.wait_for(format!("{device} is not armed any more"), BOOT)?;
        assert_eq!(state(vm)?, "inactive");
        vm.power_off()
    })
}
