//! Live switches on a machine with a boot partition: the same fallback without a reboot and with one, and what becomes of
//! the loader's choice.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use lastgood_tests::closures::Variant;
use lastgood_tests::machine::{BOOT, Fact, Machine};
use lastgood_tests::patience::Patience;
use lastgood_tests::scenario::scenario;
use lastgood_tests::story::{
    VERDICT, counter, deploy, entry_of, failed_units, first_boot, internal_port_is_closed, json,
    page_says, predicted, started,
};

/// Which boot this is.
fn boot_id(vm: &mut Machine) -> Result<String> {
    vm.run_ok("cat /proc/sys/kernel/random/boot_id")
}

/// What `name` in `/run` leads to.
fn system(vm: &mut Machine, name: &str) -> Result<String> {
    let path = vm.run_ok(&format!("readlink -f /run/{name}-system"))?;
    Ok(path.trim().to_owned())
}

fn profile(vm: &mut Machine) -> Result<String> {
    let link = vm.run_ok("readlink /nix/var/nix/profiles/system")?;
    Ok(link.trim().to_owned())
}

/// From the verdict on generation `bad` until somebody outside has the last good one's page again, which is told.
fn away(vm: &mut Machine, bad: u32, how: &str) -> Result<()> {
    let verdict = vm.wait_for(Fact::Rejected(bad), VERDICT)?.at;
    let watch = vm.watch_page(80)?;
    let mut patience = Patience::of(VERDICT);
    let page = Variant::One.page();
    let is_it = |seen: &Option<String>| seen.as_ref().is_some_and(|seen| seen.contains(&page));
    let at = loop {
        let looks = watch.looks();
        if let Some((at, _)) = looks.iter().find(|(_, seen)| is_it(seen)) {
            break *at;
        }
        ensure!(!patience.is_over(), "{page:?} is not served: {looks:?}");
        thread::sleep(Duration::from_millis(100));
    };
    let away: Duration = at.saturating_sub(verdict);
    vm.note(format!(
        "{how}: from outside, {page:?} is served {:.1} s after the verdict",
        away.as_secs_f64()
    ));
    Ok(())
}

/// However the machine went back: generation 1 runs, is what boots next, and is what boots after any failure.
fn is_back(vm: &mut Machine, bad: u32) -> Result<()> {
    page_says(vm, Variant::One)?;
    internal_port_is_closed(vm)?;
    let good = vm.toplevel(Variant::One)?;
    ensure!(system(vm, "current")? == good);
    ensure!(profile(vm)? == "system-1-link");
    ensure!(counter(vm, 1)?.is_empty());
    ensure!(counter(vm, bad)? == "0-1", "the loader passes it over");
    ensure!(predicted(vm, 2)? == vec![entry_of(vm, 1)?; 3]);
    let why = json(vm, &format!("why {bad}"))?;
    let unit = &why["cause"]["units"][0];
    ensure!(
        unit["unit"] == "nginx.service" && unit["exitStatus"] == 1,
        "{why}"
    );
    ensure!(
        unit["log"]
            .to_string()
            .contains("unknown directive \\\"lissten\\\""),
        "{why}"
    );
    Ok(())
}

#[test]
fn a_failing_service_falls_back_live_or_by_a_reboot() -> Result<()> {
    scenario("failing-service", |vm| {
        first_boot(vm)?;

        vm.chapter("[fallback] live = true");
        deploy(vm, Variant::BadNginxLive)?;
        vm.reboot()?;
        vm.wait_for(Fact::Begun(2), BOOT)?;
        away(vm, 2, "without a reboot")?;
        vm.wait_for("fell-back: generation 1", VERDICT)?;
        is_back(vm, 2)?;
        // The kernel that it failed under goes on.
        ensure!(vm.boots() == 2);
        let bad = vm.toplevel(Variant::BadNginxLive)?;
        vm.run_ok(&format!("grep -F 'init={bad}/init' /proc/cmdline"))?;
        vm.run_ok("journalctl --boot --quiet --grep 'rejected: generation 2' --lines 1")?;
        // But for the verdict, which stands.
        vm.wait_until_settled()?;
        let failed = failed_units(vm)?;
        ensure!(failed == "lastgood-assess.service", "{failed}");

        vm.chapter("[fallback] live = false");
        deploy(vm, Variant::BadNginx)?;
        vm.reboot()?;
        vm.wait_for(Fact::Begun(3), BOOT)?;
        away(vm, 3, "by a reboot")?;
        vm.wait_for(Fact::LoaderStarted, BOOT)?;
        vm.wait_for(Fact::Begun(1), BOOT)?;
        ensure!(vm.wait_until_settled()? == "running");
        is_back(vm, 3)?;
        ensure!(vm.boots() == 4);
        ensure!(started(vm)? == entry_of(vm, 1)?);

        // Nothing takes the bad one for the current one again.
        let bad = vm.toplevel(Variant::BadNginx)?;
        ensure!(vm.run(&format!("lastgood install {bad}"))?.status == 1);
        let status = json(vm, "status")?;
        ensure!(
            status["automaticReboots"] == 0,
            "the healthy boot ended the count: {status}"
        );
        vm.power_off()
    })
}

/// Every file of the boot partition by its content, and what boots next and after failures. A boot leaves it alone.
fn choice(vm: &mut Machine) -> Result<(String, Vec<String>)> {
    let files = vm.run_ok("cd /boot && find . -type f -exec sha256sum {} + | sort -k 2")?;
    Ok((files, predicted(vm, 3)?))
}

/// Makes a closure the newest generation, as a deploy tool does before it asks for a switch.
fn set(vm: &mut Machine, variant: Variant) -> Result<()> {
    let toplevel = vm.toplevel(variant)?;
    vm.run_ok(&format!(
        "nix-env --profile /nix/var/nix/profiles/system --set {toplevel}"
    ))?;
    Ok(())
}

/// What lastgood says to `command`, which succeeds.
fn said(vm: &mut Machine, command: &str) -> Result<String> {
    let said = vm.run_ok(&format!("lastgood {command} 2>&1"))?;
    vm.note(format!("lastgood {command}"));
    for line in said.lines() {
        vm.note(format!("    {line}"));
    }
    Ok(said)
}

/// What runs now, and what boots next.
fn runs(vm: &mut Machine, variant: Variant, next: u32) -> Result<()> {
    page_says(vm, variant)?;
    let toplevel = vm.toplevel(variant)?;
    ensure!(system(vm, "current")? == toplevel);
    ensure!(profile(vm)? == format!("system-{next}-link"));
    ensure!(predicted(vm, 0)? == [entry_of(vm, next)?]);
    Ok(())
}

/// The running generation is judged by then, and all jobs of the boot are over.
fn settled(vm: &mut Machine, number: u32) -> Result<()> {
    vm.wait_for(Fact::Proven(number), VERDICT)?;
    ensure!(vm.wait_until_settled()? == "running");
    Ok(())
}

#[test]
fn the_loaders_choice_moves_when_a_switch_has_ended_well() -> Result<()> {
    scenario("switch", |vm| {
        vm.power_on()?;
        settled(vm, 1)?;
        there_and_back(vm)?;
        off_in_the_middle(vm)?;
        selected_only(vm)?;
        over_other_parameters(vm)?;
        vm.power_off()
    })
}

/// Generation 2 live, and back.
fn there_and_back(vm: &mut Machine) -> Result<()> {
    vm.chapter("there and back");
    let (boot, one) = (boot_id(vm)?, entry_of(vm, 1)?);
    set(vm, Variant::Held)?;
    said(vm, "switch")?;
    runs(vm, Variant::Held, 2)?;
    ensure!(counter(vm, 2)? == "3-0", "a switch proves nothing");
    ensure!(counter(vm, 1)?.is_empty());
    ensure!(predicted(vm, 3)?[3] == one, "after three failures");

    said(vm, "rollback")?;
    runs(vm, Variant::One, 1)?;
    internal_port_is_closed(vm)?;
    ensure!(predicted(vm, 3)? == vec![one; 4]);
    ensure!(boot_id(vm)? == boot);
    Ok(())
}

/// The power fails while the server of generation 2 is in its start.
fn off_in_the_middle(vm: &mut Machine) -> Result<()> {
    vm.chapter("off in the middle");
    let before = choice(vm)?;
    vm.run_ok("mkfifo /run/hold && (lastgood switch 2 >/run/said 2>&1 </dev/null &)")?;
    vm.wait_for("rig: held", VERDICT)?;
    let held = vm.toplevel(Variant::Held)?;
    ensure!(system(vm, "current")? == held, "it is in place");
    let middle = choice(vm)?;
    ensure!(middle == before, "{middle:?}\nwas\n{before:?}");
    vm.cut_power()?;

    vm.power_on()?;
    vm.wait_for(Fact::Begun(1), BOOT)?;
    ensure!(vec![started(vm)?] == predicted(vm, 0)?);
    ensure!(vm.wait_until_settled()? == "running");
    runs(vm, Variant::One, 1)?;
    let log = json(vm, "log")?;
    let events = log["events"].as_array().into_iter().flatten();
    let undone: Vec<_> = events
        .filter(|event| event["event"] == "switched-back")
        .collect();
    ensure!(undone.len() == 1, "{log}");
    ensure!(counter(vm, 2)? == "3-0", "it was not tried");
    Ok(())
}

/// `boot` changes what boots next, and nothing else.
fn selected_only(vm: &mut Machine) -> Result<()> {
    vm.chapter("selected only");
    let invocation = "systemctl show --value --property=InvocationID nginx";
    let before = vm.run_ok(invocation)?;
    set(vm, Variant::OtherParameters)?;
    said(vm, "boot")?;
    runs(vm, Variant::One, 3)?;
    ensure!(vm.run_ok(invocation)? == before);
    ensure!(counter(vm, 3)? == "3-0");
    vm.reboot()?;
    settled(vm, 3)?;
    runs(vm, Variant::OtherParameters, 3)?;
    vm.run_ok("grep -w rig.other=1 /proc/cmdline")?;
    ensure!(counter(vm, 3)?.is_empty());
    Ok(())
}

/// Only a boot takes a word off the kernel's command line.
fn over_other_parameters(vm: &mut Machine) -> Result<()> {
    vm.chapter("over other parameters");
    let before = choice(vm)?;
    let refused = vm.run("lastgood rollback")?;
    ensure!(refused.status == 100, "{refused:?}");
    let line = refused.stderr.trim();
    vm.note(line);
    for words in [
        "the kernel's parameters differ from the running ones",
        "nothing was changed",
        "`lastgood rollback --to 2 --reboot` goes there",
    ] {
        ensure!(line.contains(words), "no {words:?} in {line}");
    }
    runs(vm, Variant::OtherParameters, 3)?;
    ensure!(choice(vm)? == before);

    vm.run_ok("(lastgood rollback --reboot >/run/said 2>&1 </dev/null &)")?;
    vm.wait_for(Fact::LoaderStarted, BOOT)?;
    settled(vm, 2)?;
    runs(vm, Variant::Held, 2)?;
    vm.run_ok("! grep -w rig.other=1 /proc/cmdline")?;

    // Forward it is taken live as far as it goes, and the rest is told.
    let boot = boot_id(vm)?;
    let said = said(vm, "switch 3")?;
    let words =
        "a reboot is needed for the rest: the kernel's parameters differ from the running ones";
    ensure!(said.contains(words), "{said}");
    runs(vm, Variant::OtherParameters, 3)?;
    ensure!(boot_id(vm)? == boot);
    Ok(())
}
