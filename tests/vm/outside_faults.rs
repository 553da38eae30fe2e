//! What is no generation's fault, and what an operator does in the middle: nothing is rejected for good for it, and the
//! machine is never rebooted more often than that needs.

use std::time::Duration;

use anyhow::{Result, ensure};
use lastgood_tests::broken::{self, Broken};
use lastgood_tests::closures::Variant;
use lastgood_tests::debian::Debian;
use lastgood_tests::image::Kind;
use lastgood_tests::machine::{BOOT, Fact, Machine};
use lastgood_tests::scenario::{scenario, scenario_of};
use lastgood_tests::story::{
    VERDICT, blessed_first_boot, counter, deploy, entry_of, failed_units, first_boot, json,
    page_says, predicted, state_of,
};

/// A good one that does not wait long.
const SOON: Broken<'_> = Broken {
    name: "soon",
    change: broken::SOON,
};

/// Two boots, and two assessments that wait for their deadline.
const BOTH_FAIL: Duration = Duration::from_mins(8);

/// Stays as it is: no reboot follows, whatever timers still run.
fn stays(vm: &mut Machine, boots: usize) -> Result<()> {
    vm.wait_until_settled()?;
    let jobs = vm.run_ok("systemctl list-units --all --plain --no-legend 'lastgood-go-down*'")?;
    ensure!(!jobs.contains("running"), "{jobs}");
    ensure!(vm.boots() == boots, "{} boots", vm.boots());
    Ok(())
}

/// Neither generation has a network, so it is neither's fault. With the cable in again the trial gets its second chance.
fn the_cable_is_out(debian: Debian) -> Result<()> {
    scenario_of(debian, Kind::Quick, "cable", |vm| {
        blessed_first_boot(vm)?;
        vm.wait_until_settled()?;
        broken::deploy(vm, Variant::Two, SOON)?;
        vm.set_cable(false)?;
        vm.reboot()?;
        vm.wait_for(Fact::Begun(2), BOOT)?;
        vm.wait_for(Fact::Rejected(2), BOTH_FAIL)?;
        vm.wait_for(Fact::Begun(1), BOTH_FAIL)?;
        vm.wait_for("excused: generation 2", BOTH_FAIL)?;
        let boots = vm.boots();
        stays(vm, boots)?;
        let state = state_of(vm, 2)?;
        let why = json(vm, "why 1")?;
        ensure!(state == "suspect", "{state}: {why}");
        ensure!(why["cause"].to_string().contains("route"), "{why}");

        vm.set_cable(true)?;
        page_says(vm, Variant::One)?;
        vm.reboot()?;
        vm.wait_for("selected: generation 2", VERDICT)?;
        ensure!(vm.boots() == boots + 1, "nothing is rebooted for it");
        vm.reboot()?;
        vm.wait_for(Fact::Proven(2), VERDICT)?;
        page_says(vm, Variant::Two)?;
        vm.power_off()
    })
}

#[test]
fn long_a_cable_that_is_out_rejects_nothing_for_good() -> Result<()> {
    the_cable_is_out(Debian::Twelve)
}

#[test]
fn long_a_cable_that_is_out_rejects_nothing_for_good_on_debian_13() -> Result<()> {
    the_cable_is_out(Debian::Thirteen)
}

/// Nothing passes any more: the machine ends on the last good one, up, reachable, and is left alone.
#[test]
fn when_no_generation_passes_the_machine_stays_up() -> Result<()> {
    scenario("all-bad", |vm| {
        first_boot(vm)?;
        deploy(vm, Variant::Two)?;
        vm.reboot()?;
        vm.wait_for(Fact::Proven(2), VERDICT)?;
        vm.wait_for("blessed: generation 2", VERDICT)?;
        // The host loses what all of them need.
        deploy(vm, Variant::Four)?;
        vm.run_ok("mv /usr/sbin/nginx /usr/sbin/nginx.away && sync")?;
        let before = vm.boots();
        vm.reboot()?;
        vm.wait_for(Fact::Rejected(3), VERDICT)?;
        vm.wait_for(Fact::Begun(2), BOTH_FAIL)?;
        vm.wait_for(Fact::Degraded(2), BOTH_FAIL)?;
        let boots = vm.boots();
        ensure!(boots <= before + 4, "{} boots", boots - before);
        vm.wait_for_ssh(BOOT)?;
        stays(vm, boots)?;
        let status = json(vm, "status")?;
        ensure!(
            status["degraded"]["faults"][0]["key"] == "unit:nginx.service",
            "{status}"
        );
        ensure!(status["automaticReboots"] == 1, "{status}");
        ensure!(!vm.has_said(Fact::Rejected(1)) && !vm.has_said(Fact::Rejected(2)));
        let (state, why) = (state_of(vm, 3)?, json(vm, "why 3")?);
        ensure!(state == "suspect", "{state}: {why}, and {status}");

        // An operator who reboots it gets the same, once.
        vm.reboot()?;
        vm.wait_for(Fact::Degraded(2), BOTH_FAIL)?;
        stays(vm, boots + 1)?;
        vm.power_off()
    })
}

/// An operator's reboot is no failure: the try is given back. What was rejected is accepted again only on request.
#[test]
fn long_an_operator_reboots_in_the_middle_and_insists_later() -> Result<()> {
    scenario("operator", |vm| {
        blessed_first_boot(vm)?;
        vm.run_ok("echo 'p /run/hold 0600 root root' >/etc/tmpfiles.d/rig.conf && sync")?;
        deploy(vm, Variant::Held)?;
        vm.reboot()?;
        vm.wait_for("rig: held", VERDICT)?;
        ensure!(counter(vm, 2)? == "2-1");
        vm.reboot()?;
        vm.wait_for("rig: held", VERDICT)?;
        let counted = counter(vm, 2)?;
        ensure!(
            counted.starts_with("2-"),
            "the try was not given back: {counted}"
        );
        vm.run_ok("rm /etc/tmpfiles.d/rig.conf; echo >/run/hold; sync")?;
        vm.wait_for(Fact::Proven(2), VERDICT)?;
        vm.wait_for("blessed: generation 2", VERDICT)?;

        deploy(vm, Variant::BadNginx)?;
        vm.reboot()?;
        vm.wait_for(Fact::Rejected(3), VERDICT)?;
        vm.wait_for(Fact::LoaderStarted, VERDICT)?;
        vm.wait_for(Fact::Proven(2), VERDICT)?;
        let bad = vm.toplevel(Variant::BadNginx)?;
        let refused = vm.run(&format!("lastgood install {bad}"))?;
        ensure!(
            refused.status == 1 && refused.stderr.contains("--again"),
            "{refused:?}"
        );
        vm.run_ok(&format!("lastgood install --again {bad}"))?;
        ensure!(counter(vm, 3)? == "3-0");
        ensure!(predicted(vm, 0)? == [entry_of(vm, 3)?]);
        vm.reboot()?;
        vm.wait_for(Fact::Begun(3), BOOT)?;
        vm.wait_for(Fact::Rejected(3), VERDICT)?;
        vm.wait_for(Fact::LoaderStarted, VERDICT)?;
        vm.wait_for(Fact::Proven(2), VERDICT)?;
        vm.power_off()
    })
}

/// A machine whose clock has lost its battery is judged all the same, in either direction.
#[test]
fn long_a_clock_of_1970_rejects_nothing() -> Result<()> {
    scenario("clock", |vm| {
        blessed_first_boot(vm)?;
        deploy(vm, Variant::Two)?;
        vm.power_off()?;
        vm.begin_at("1970-01-01T00:00:00");
        vm.power_on()?;
        vm.wait_for(Fact::Begun(2), BOOT)?;
        vm.wait_for(Fact::Proven(2), VERDICT)?;
        page_says(vm, Variant::Two)?;
        deploy(vm, Variant::BadNginx)?;
        vm.reboot()?;
        vm.wait_for(Fact::Rejected(3), VERDICT)?;
        vm.wait_for(Fact::Begun(2), BOTH_FAIL)?;
        vm.wait_for(Fact::Proven(2), VERDICT)?;
        vm.power_off()
    })
}

/// The agent's own record is damaged, its disk is full, or read-only: a proven generation is not rebooted for it, and what
/// is selected afterwards is judged.
#[test]
fn long_what_becomes_of_the_agents_own_files_reboots_nothing_proven() -> Result<()> {
    const LEDGER: &str = "/var/lib/lastgood/ledger.jsonl";
    scenario("own-files", |vm| {
        blessed_first_boot(vm)?;

        vm.chapter("the ledger is damaged");
        vm.run_ok(&format!(
            "dd if=/dev/urandom of={LEDGER} bs=1 count=200 conv=notrunc status=none && echo more >>{LEDGER} && sync"
        ))?;
        reboots_well(vm)?;

        vm.chapter("the ledger is empty");
        vm.run_ok(&format!("truncate --size=0 {LEDGER} && sync"))?;
        reboots_well(vm)?;

        vm.chapter("the disk is full");
        vm.run_ok("fallocate --length $(df --output=avail --block-size=1 / | tail -n 1) /full; dd if=/dev/zero of=/full-too bs=1k status=none; sync; true")?;
        reboots_well(vm)?;
        vm.run_ok("rm /full /full-too && sync")?;

        vm.chapter("/var is read-only");
        vm.run_ok("echo '/var /var none bind,ro 0 0' >>/etc/fstab && sync")?;
        reboots_well(vm)?;
        vm.run_ok("umount --lazy /var; sed -i '/bind,ro/d' /etc/fstab && sync")?;
        reboots_well(vm)?;

        vm.chapter("and then");
        deploy(vm, Variant::BadNginx)?;
        vm.reboot()?;
        vm.wait_for(Fact::Rejected(2), VERDICT)?;
        vm.wait_for(Fact::LoaderStarted, VERDICT)?;
        vm.wait_for(Fact::Proven(1), VERDICT)?;
        page_says(vm, Variant::One)?;
        vm.power_off()
    })
}

/// The last good generation comes up, serves, and stays.
fn reboots_well(vm: &mut Machine) -> Result<()> {
    vm.reboot()?;
    let boots = vm.boots();
    page_says_soon(vm)?;
    vm.wait_until_settled()?;
    let log = vm.run_ok(
        "journalctl --boot --quiet --identifier lastgood --output cat --priority warning | tail -n 12",
    )?;
    log.lines().for_each(|line| vm.note(format!("    {line}")));
    let failed = failed_units(vm)?;
    vm.note(format!("failed: {}", failed.replace('\n', " ")));
    stays(vm, boots)?;
    page_says(vm, Variant::One)
}

/// A boot may be under way.
fn page_says_soon(vm: &mut Machine) -> Result<()> {
    let page = vm.wait_for_page(80, BOOT)?;
    ensure!(page.contains(&Variant::One.page()), "{page}");
    Ok(())
}

/// A boot partition without a free byte refuses what does not fit, and keeps what boots.
#[test]
fn long_a_full_boot_partition_refuses_and_keeps_what_boots() -> Result<()> {
    scenario("full-esp", |vm| {
        blessed_first_boot(vm)?;
        let (entry, panic) = (entry_of(vm, 1)?, vm.toplevel(Variant::Panic)?);
        vm.run_ok("dd if=/dev/zero of=/boot/full bs=1k status=none; sync; true")?;
        vm.run_ok(&format!(
            "nix-env --profile /nix/var/nix/profiles/system --set {panic}"
        ))?;
        let refused = vm.run(&format!("lastgood install {panic}"))?;
        ensure!(refused.status == 1, "{refused:?}");
        vm.note(refused.stderr.trim().to_owned());
        ensure!(entry_of(vm, 1)? == entry && entry_of(vm, 2).is_err());
        vm.reboot()?;
        vm.wait_for(Fact::Begun(1), BOOT)?;
        page_says(vm, Variant::One)?;

        // Armed first, and full then: the verdict cannot be written, but the entry can get another name. And the firmware is
        // asked for the last good one.
        vm.run_ok("rm /boot/full")?;
        deploy(vm, Variant::BadNginx)?;
        vm.run_ok("dd if=/dev/zero of=/boot/full bs=1k status=none; sync; true")?;
        vm.reboot()?;
        vm.wait_for(Fact::Rejected(3), VERDICT)?;
        vm.wait_for("asking the firmware to start", BOOT)?;
        vm.wait_for(Fact::LoaderStarted, VERDICT)?;
        vm.wait_for(Fact::Begun(1), BOOT)?;
        vm.wait_for(Fact::Proven(1), VERDICT)?;
        page_says(vm, Variant::One)?;
        ensure!(counter(vm, 3)?.starts_with("0-"), "it was not renamed");
        vm.run_ok("rm /boot/full && lastgood verify --repair")?;
        ensure!(counter(vm, 3)?.starts_with("0-"));
        ensure!(predicted(vm, 2)? == vec![entry; 3]);
        vm.power_off()
    })
}
