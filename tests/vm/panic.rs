//! A kernel that panics late: user space is up and serves, and there is no verdict yet.
//!
//! `panic=` resets the machine, and the loader counts. Whether the next boot can tell that it was a panic is another matter: a
//! record in pstore says so, and without one it looks like a power cut.

use anyhow::{Result, ensure};
use lastgood_tests::broken::{self, Broken};
use lastgood_tests::closures::Variant;
use lastgood_tests::machine::{BOOT, Fact, Machine};
use lastgood_tests::scenario::scenario;
use lastgood_tests::story::{VERDICT, blessed_first_boot, is_back, json, page_says, state_of};

/// It panics as soon as its server has answered. No assessment is over by then: it waits for this unit.
const PANICS: Broken<'_> = Broken {
    name: "panics late",
    change: "printf '[Unit]\\nAfter=nginx.service\\n[Service]\\nType=oneshot\\nTimeoutStartSec=infinity\\nExecStart=/bin/sh -c \"until curl -sf http://127.0.0.1/ >/dev/null; do sleep 0.2; done; echo rig: serves >/dev/console; echo c >/proc/sysrq-trigger\"\\n' >$out/etc/systemd/system/panics.service
    ln -s ../panics.service $out/etc/systemd/system/multi-user.target.wants/",
};

/// Tried as often as it may be, and left for generation 1. Gives its number.
fn is_left(vm: &mut Machine) -> Result<u32> {
    let bad = broken::deploy(vm, Variant::Two, PANICS)?;
    let before = vm.boots();
    vm.reboot()?;
    for _ in 0..3 {
        vm.wait_for(Fact::Begun(bad), BOOT)?;
        vm.wait_for("rig: serves", VERDICT)?;
        vm.wait_for(Fact::KernelPanic, BOOT)?;
        vm.wait_for(Fact::LoaderStarted, BOOT)?;
    }
    vm.wait_for(Fact::Begun(1), BOOT)?;
    vm.wait_for(Fact::Rejected(bad), VERDICT)?;
    vm.wait_for(Fact::Proven(1), VERDICT)?;
    page_says(vm, Variant::One)?;
    ensure!(vm.boots() == before + 4, "{} boots", vm.boots() - before);
    ensure!(!vm.has_said(Fact::Proven(bad)));
    Ok(bad)
}

/// How the boot before this one ended, and how often the log says `words` of one.
fn told(vm: &mut Machine, words: &str) -> Result<(String, usize)> {
    let status = json(vm, "status")?;
    let how = status["reset"]["how"].as_str().unwrap_or_default();
    let log = vm.run_ok("lastgood log")?;
    // Wherever its lines break.
    let log: Vec<&str> = log.split_whitespace().collect();
    Ok((how.to_owned(), log.join(" ").matches(words).count()))
}

/// What `bad` was rejected for: the keys of the faults, and the summary.
fn why(vm: &mut Machine, bad: u32) -> Result<(Vec<String>, String)> {
    let why = json(vm, &format!("why {bad}"))?;
    let faults = why["cause"]["faults"].as_array().into_iter().flatten();
    let keys = faults.filter_map(|fault| fault["key"].as_str());
    let summary = why["cause"]["summary"].as_str().unwrap_or_default();
    vm.note(format!("why {bad}: {summary}"));
    Ok((keys.map(str::to_owned).collect(), summary.to_owned()))
}

#[test]
fn long_a_late_panic_is_left_by_the_loaders_count() -> Result<()> {
    scenario("late-panic", |vm| {
        blessed_first_boot(vm)?;
        vm.chapter("with a record");
        // As Debian has it: this loads `efi_pstore`, and moves a record to the disk in the next boot.
        vm.run_ok("systemctl unmask systemd-pstore.service && sync")?;
        let bad = is_left(vm)?;
        let (keys, summary) = why(vm, bad)?;
        ensure!(keys == ["loader:tries-used-up", "kernel:panic"], "{keys:?}");
        let words = "Kernel panic - not syncing: sysrq triggered crash";
        ensure!(summary.contains(words), "{summary}");
        ensure!(state_of(vm, bad)? == "rejected");
        is_back(vm, bad)?;
        let told_of = told(vm, words)?;
        ensure!(told_of.0 == "panic" && told_of.1 >= 3, "{told_of:?}");

        vm.chapter("without one");
        vm.run_ok("systemctl mask systemd-pstore.service && sync")?;
        let bad = is_left(vm)?;
        let (keys, summary) = why(vm, bad)?;
        ensure!(keys == ["loader:tries-used-up", "power"], "{keys:?}");
        ensure!(!summary.contains("panic"), "{summary}");
        // It may have been the power: not rejected for good.
        ensure!(vm.has_said(format!("excused: generation {bad}")));
        let again = format!("selected: generation {bad}: the last good one is well again");
        vm.wait_for(again, VERDICT)?;
        let told_of = told(vm, "the boot before just ended")?;
        ensure!(told_of.0 == "lost" && told_of.1 == 3, "{told_of:?}");
        vm.power_off()
    })
}
