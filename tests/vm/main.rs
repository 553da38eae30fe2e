//! Ring 5: real boots in a virtual machine. Each test is one story.

#![allow(
    clippy::indexing_slicing,
    reason = "a JSON key that is missing is null; an entry that is missing fails the test"
)]

mod boot_partition;
mod emergency;
mod faults;
mod from_outside;
mod outside_faults;
mod package;
mod panic;
mod power;
mod secure_boot;
mod stage_2;
mod start_failures;
mod switching;
mod watchdog;
mod ways_back;

use anyhow::{Context, Result};
use lastgood_tests::closures::Variant;
use lastgood_tests::esp;
use lastgood_tests::machine::{BOOT, Fact, Machine};
use lastgood_tests::scenario::scenario;
use lastgood_tests::story::{
    VERDICT, counter, deploy, first_boot, internal_port_is_closed, json, page_says, predicted,
    started,
};

#[test]
fn a_good_trial_becomes_proven() -> Result<()> {
    scenario("good-trial", |vm| {
        first_boot(vm)?;
        vm.wait_until_settled()?;
        assert_eq!(counter(vm, 1)?, "", "a proven entry carries no counter");
        assert_eq!(
            vm.run_ok("systemctl is-active boot-complete.target")?
                .trim(),
            "active"
        );

        deploy(vm, Variant::Two)?;
        assert_eq!(counter(vm, 2)?, "3-0");
        let prediction = predicted(vm, 3)?;
        vm.reboot()?;
        vm.wait_for(Fact::Begun(2), BOOT)?;
        // Before it is blessed.
        assert_eq!(counter(vm, 2)?, "2-1");
        assert_eq!(started(vm)?, prediction[0]);
        vm.wait_for(Fact::Proven(2), VERDICT)?;
        assert_eq!(vm.wait_until_settled()?, "running");
        assert_eq!(counter(vm, 2)?, "");

        // What runs is the booted closure's, and no other's.
        page_says(vm, Variant::Two)?;
        internal_port_is_closed(vm)?;
        let two = vm.toplevel(Variant::Two)?;
        for link in ["/run/current-system", "/run/booted-system"] {
            assert_eq!(vm.run_ok(&format!("readlink -f {link}"))?.trim(), two);
        }
        let unit =
            vm.run_ok("readlink -f $(systemctl show --property=FragmentPath --value nginx)")?;
        assert_eq!(
            unit.trim(),
            vm.run_ok(&format!(
                "readlink -f {two}/etc/systemd/system/nginx.service"
            ))?
            .trim()
        );
        assert_eq!(
            vm.run_ok("readlink -f /etc/static")?.trim(),
            vm.run_ok(&format!("readlink -f {two}/etc"))?.trim()
        );

        // The firewall was in before the network.
        let at = |vm: &mut Machine, unit: &str, property: &str| -> Result<u64> {
            let shown = vm.run_ok(&format!(
                "systemctl show --value --property={property} {unit}"
            ))?;
            Ok(shown.trim().parse()?)
        };
        let firewall = at(
            vm,
            "lastgood-firewall.service",
            "ActiveEnterTimestampMonotonic",
        )?;
        let network = at(
            vm,
            "systemd-networkd.service",
            "ExecMainStartTimestampMonotonic",
        )?;
        assert!(
            0 < firewall && firewall < network,
            "firewall {firewall} us, network {network} us"
        );

        // The last good one is kept, and nothing is left to do.
        let kept = vm.run_ok("readlink /nix/var/nix/gcroots/lastgood/lastgood-2-*")?;
        assert_eq!(kept.trim(), two);
        assert!(vm.run_ok("lastgood install")?.contains("nothing to do"));
        let generations = json(vm, "list-generations")?;
        let [latest, first] = [&generations[0], &generations[1]];
        assert_eq!(
            (latest["state"].as_str(), latest["lastGood"].as_bool()),
            (Some("proven"), Some(true))
        );
        assert_eq!(
            (first["state"].as_str(), first["lastGood"].as_bool()),
            (Some("proven"), Some(false))
        );
        vm.power_off()
    })
}

#[test]
fn a_panic_in_the_initrd_falls_back_through_the_counter() -> Result<()> {
    scenario("initrd-panic", |vm| {
        first_boot(vm)?;
        deploy(vm, Variant::Panic)?;
        let prediction = predicted(vm, 3)?;
        vm.reboot()?;
        for (boot, entry) in prediction[..3].iter().enumerate() {
            vm.note(format!("predicted: {entry}"));
            vm.wait_for(Fact::KernelPanic, BOOT)?;
            vm.wait_for(Fact::LoaderStarted, BOOT)?;
            assert_eq!(vm.boots(), boot + 3);
        }
        vm.wait_for(Fact::Begun(1), BOOT)?;
        vm.wait_for(Fact::Rejected(2), BOOT)?;
        assert_eq!(started(vm)?, prediction[3]);
        assert_eq!(counter(vm, 2)?, "0-3");
        let why = json(vm, "why 2")?;
        assert_eq!(why["cause"]["stage"], "loader");
        assert_eq!(why["cause"]["faults"][0]["key"], "loader:tries-used-up");
        vm.wait_for(Fact::Proven(1), VERDICT)?;
        page_says(vm, Variant::One)?;
        assert_eq!(
            vm.run_ok("readlink /nix/var/nix/profiles/system")?.trim(),
            "system-1-link"
        );
        vm.power_off()
    })
}

#[test]
fn a_power_cut_during_the_trial_does_not_lose_the_proven_one() -> Result<()> {
    scenario("power-cut", |vm| {
        first_boot(vm)?;
        let proven = started(vm)?.replace("+3-0", "");
        let path = format!("loader/entries/{proven}");
        deploy(vm, Variant::Two)?;
        let entry = esp::read_text(&vm.disk(), &path)?;
        vm.reboot()?;
        vm.wait_for(Fact::Begun(2), BOOT)?;
        vm.cut_power()?;

        // Seen from outside: the proven one is there to the letter, the trial has lost one try.
        assert_eq!(esp::read_text(&vm.disk(), &path)?, entry);
        assert_eq!(
            (counter(vm, 1)?, counter(vm, 2)?),
            (String::new(), "2-1".to_owned())
        );

        // A cut is no verdict: the trial goes on, and passes.
        vm.power_on()?;
        vm.wait_for(Fact::Begun(2), BOOT)?;
        assert_eq!(counter(vm, 2)?, "1-2");
        let generations = json(vm, "list-generations")?;
        assert_eq!(generations[1]["state"], "proven", "{generations}");
        vm.wait_for(Fact::Proven(2), VERDICT)?;
        vm.wait_for("blessed: generation 2", VERDICT)?;

        // What it calls done is on the disk: nobody has synced, and the plug is out.
        vm.cut_power()?;
        assert_eq!(
            (counter(vm, 1)?, counter(vm, 2)?),
            (String::new(), String::new())
        );
        for number in [1, 2] {
            let prefix = format!("lastgood-{number}-");
            let entries = esp::entries(&vm.disk())?;
            let name = entries
                .iter()
                .find(|name| name.starts_with(&prefix))
                .context("no entry")?;
            let text = esp::read_text(&vm.disk(), &format!("loader/entries/{name}"))?;
            let kernel = text
                .lines()
                .find_map(|line| line.strip_prefix("linux /"))
                .context("no kernel")?;
            assert!(esp::read(&vm.disk(), kernel)?.len() > 1_000_000, "{text}");
        }
        vm.power_on()?;
        vm.wait_for(Fact::Begun(2), BOOT)?;
        vm.power_off()
    })
}

/// The agent itself may die. On a trial that is no verdict to live with; the last good one is.
#[test]
fn an_assessor_that_crashes_on_a_trial_is_acted_upon() -> Result<()> {
    // As its own panic would end it. A Rust program survives the first SIGSEGV that was sent and not earned: the
    // handler that looks for stack overflows takes it.
    let crash = "systemctl kill --kill-whom=main --signal=ABRT lastgood-assess.service";
    scenario("assessor-crash", |vm| {
        first_boot(vm)?;
        deploy(vm, Variant::Four)?;
        vm.reboot()?;
        vm.wait_for(Fact::Begun(2), BOOT)?;
        vm.run_ok(crash)?;
        vm.wait_for(Fact::Rejected(2), BOOT)?;
        vm.wait_for(Fact::LoaderStarted, 2 * BOOT)?;
        vm.wait_for(Fact::Begun(1), BOOT)?;
        // On a proven generation it is nothing to reboot for (A8).
        vm.run_ok(crash)?;
        vm.wait_for("staying up: it is proven", BOOT)?;
        assert_eq!(
            json(vm, "why 2")?["cause"]["faults"][0]["key"],
            "agent:no-verdict"
        );
        page_says(vm, Variant::One)?;
        assert_eq!(vm.boots(), 3);
        vm.power_off()
    })
}
