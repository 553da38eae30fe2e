//! The plug is pulled at each stage of a trial's boot. A cut is no verdict: a try at most.

use anyhow::{Context as _, Result, ensure};
use lastgood_tests::broken::{self, Broken};
use lastgood_tests::closures::Variant;
use lastgood_tests::esp;
use lastgood_tests::machine::{Fact, Machine};
use lastgood_tests::scenario::scenario;
use lastgood_tests::story::{VERDICT, blessed_first_boot, counter, entry_of, json, page_says};

/// Up to where a boot comes before the plug is pulled, in the order of a boot.
const STAGES: [&str; 6] = [
    "loader", "initrd", "begun", "firewall", "services", "proven",
];

/// What the console says of the stage in the boot of generation `number`. None: the loader has just been started.
fn fact(stage: &str, number: u32, toplevel: &str) -> Option<Fact> {
    match stage {
        "initrd" => Some(Fact::InitrdFor(format!("{toplevel}/init"))),
        "begun" => Some(Fact::Begun(number)),
        "firewall" => Some(Fact::from("rig: before the network")),
        "services" => Some(Fact::from("rig: services")),
        "proven" => Some(Fact::Proven(number)),
        _ => None,
    }
}

/// Two units that say how far a boot has come.
const MARKS: &str = "cd $out/etc/systemd/system
    printf '[Unit]\\nDefaultDependencies=no\\nAfter=lastgood-firewall.service\\nBefore=network-pre.target\\n[Service]\\nType=oneshot\\nExecStart=/bin/sh -c \"echo rig: before the network >/dev/console\"\\n' >early.service
    printf '[Unit]\\nAfter=nginx.service\\n[Service]\\nType=oneshot\\nExecStart=/bin/sh -c \"echo rig: services >/dev/console\"\\n' >marks.service
    ln -s ../early.service ../marks.service multi-user.target.wants/";

/// The proven one is there to the letter, and would boot.
fn is_untouched(vm: &Machine, number: u32, text: &str) -> Result<()> {
    ensure!(counter(vm, number)?.is_empty());
    ensure!(entry(vm, number)? == text);
    let kernel = text.lines().find_map(|line| line.strip_prefix("linux /"));
    let kernel = esp::read(&vm.disk(), kernel.context("no kernel")?)?;
    ensure!(kernel.len() > 1_000_000);
    Ok(())
}

fn entry(vm: &Machine, number: u32) -> Result<String> {
    let name = entry_of(vm, number)?;
    esp::read_text(&vm.disk(), &format!("loader/entries/{name}"))
}

#[test]
fn long_a_power_cut_at_each_stage_is_a_try_at_most() -> Result<()> {
    scenario("power-cuts", |vm| {
        blessed_first_boot(vm)?;
        let mut good = 1;
        for stage in STAGES {
            vm.chapter(stage);
            let broken = Broken {
                name: stage,
                change: MARKS,
            };
            let text = entry(vm, good)?;
            let trial = broken::deploy(vm, Variant::Two, broken)?;
            vm.reboot()?;
            if let Some(fact) = fact(stage, trial, &broken::toplevel(trial, broken)) {
                vm.wait_for(fact, VERDICT)?;
            }
            vm.cut_power()?;
            is_untouched(vm, good, &text)?;
            let counted = counter(vm, trial)?;
            vm.note(format!("cut at {stage}: {counted:?}"));

            vm.power_on()?;
            vm.wait_for(Fact::Proven(trial), VERDICT)?;
            page_says(vm, Variant::Two)?;
            vm.wait_until_settled()?;
            ensure!(counter(vm, trial)?.is_empty());
            ensure!(!vm.has_said(Fact::Rejected(trial)));
            good = trial;
        }
        let status = json(vm, "status")?;
        ensure!(status["automaticReboots"] == 0, "{status}");
        vm.run_ok("lastgood verify")?;
        ensure!(vm.boots() == 1 + 2 * STAGES.len(), "{} boots", vm.boots());
        vm.power_off()
    })
}
