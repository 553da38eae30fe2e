//! The story the project is for, on a real boot chain, with nobody at the console.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lastgood_tests::closures::Variant;
use lastgood_tests::machine::{BOOT, Fact, Machine};
use lastgood_tests::scenario::live_scenario;
use lastgood_tests::{esp, image};

use crate::output;

/// From power-on or reset to a verdict: a boot, and the time an assessment takes to settle.
const VERDICT: Duration = BOOT.saturating_add(Duration::from_mins(1));

/// How long a server that has just been started may take to listen.
const SERVED: Duration = Duration::from_secs(20);

/// Tells the story; an error when any of it did not really happen.
pub(crate) fn run() -> Result<()> {
    output::line("building the image (minutes the first time, seconds after) ...");
    image::build()?;
    let begun = Instant::now();
    live_scenario("demo", story)?;
    output::line(&format!(
        "\nall of it happened, in {:.0} s",
        begun.elapsed().as_secs_f64()
    ));
    Ok(())
}

fn story(vm: &mut Machine) -> Result<()> {
    chapter(vm, "generation 1, as installed");
    vm.power_on()?;
    vm.wait_for(Fact::Proven(1), VERDICT)?;
    page_says(vm, Variant::One)?;

    chapter(vm, "generation 2: a good one");
    deploy(vm, Variant::Two)?;
    vm.reboot()?;
    vm.wait_for(Fact::Proven(2), VERDICT)?;
    page_says(vm, Variant::Two)?;

    chapter(vm, "generation 3: one misspelt word in nginx.conf");
    deploy(vm, Variant::BadNginx)?;
    vm.reboot()?;
    vm.wait_for(Fact::Begun(3), BOOT)?;
    vm.wait_for(Fact::Rejected(3), VERDICT)?;

    chapter(vm, "nobody does anything");
    vm.wait_for(Fact::LoaderStarted, BOOT)?;
    vm.wait_for(Fact::Begun(2), BOOT)?;
    vm.wait_until_settled()?;
    page_says(vm, Variant::Two)?;
    internal_port_is_closed(vm)?;

    chapter(vm, "why?");
    let why = vm.run_ok("lastgood why 3")?;
    for line in why.lines() {
        vm.note(format!("    {line}"));
    }
    for word in ["nginx.service", "status", "lissten"] {
        ensure!(why.contains(word), "`lastgood why 3` does not say {word:?}");
    }
    vm.run_ok("sync")?;
    for entry in esp::entries(&vm.disk())? {
        vm.note(format!("on the ESP: {entry}"));
    }
    vm.power_off()
}

fn chapter(vm: &mut Machine, title: &str) {
    output::line("");
    vm.note(format!("== {title}"));
}

/// What a deploy tool does: the profile first, then the boot loader hook.
fn deploy(vm: &mut Machine, variant: Variant) -> Result<()> {
    let toplevel = vm.toplevel(variant)?;
    vm.run_ok(&format!(
        "nix-env --profile /nix/var/nix/profiles/system --set {toplevel}"
    ))?;
    let said = vm.run_ok(&format!("lastgood install {toplevel}"))?;
    vm.note(format!("installed {toplevel}"));
    for line in said.lines() {
        vm.note(format!("    {line}"));
    }
    Ok(())
}

/// Fetched from outside, on both public ports.
fn page_says(vm: &mut Machine, variant: Variant) -> Result<()> {
    let expected = variant.page();
    for port in [80, 443] {
        let page = vm.wait_for_page(port, SERVED)?;
        ensure!(
            page.contains(&expected),
            "port {port} serves something other than {expected:?}:\n{page}"
        );
    }
    vm.note(format!("from outside, ports 80 and 443 say {expected:?}"));
    Ok(())
}

/// nginx listens on 8080; only the firewall keeps the world from it.
fn internal_port_is_closed(vm: &mut Machine) -> Result<()> {
    vm.run_ok("curl --silent --show-error --fail --max-time 10 http://127.0.0.1:8080/")
        .context("8080 does not answer inside, so that it does not answer outside means nothing")?;
    if !vm.is_closed(8080)? {
        bail!("port 8080 is open to the world");
    }
    vm.note("port 8080 answers inside and is closed from outside");
    Ok(())
}
