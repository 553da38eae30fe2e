//! The story the project is for, on a real boot chain, with nobody at the console.

mod picture;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use lastgood_tests::closures::Variant;
use lastgood_tests::machine::{BOOT, Fact, Machine};
use lastgood_tests::scenario::live_scenario;
use lastgood_tests::story::{VERDICT, deploy, internal_port_is_closed, page_says};
use lastgood_tests::{esp, files, host, image};

use crate::output;

/// Tells the story, and draws it into the file `svg`; an error when any of it did not really happen.
pub(crate) fn run(svg: Option<&Path>) -> Result<()> {
    host::ensure_packages(output::line)?;
    output::line("building the image (minutes the first time, seconds after) ...");
    image::build()?;
    let begun = Instant::now();
    let mut drawn = String::new();
    live_scenario("demo", |vm| {
        chapter(vm, "generation 1, as installed");
        vm.power_on()?;
        let watch = vm.watch_page(PUBLIC)?;
        story(vm)?;
        drawn = picture::of(vm.timeline().events(), &watch.looks());
        Ok(())
    })?;
    if let Some(svg) = svg {
        files::write(svg, &drawn).with_context(|| format!("cannot write {}", svg.display()))?;
        output::line(&format!("\ndrawn: {}", svg.display()));
    }
    output::line(&format!(
        "\nall of it happened, in {:.0} s",
        begun.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// The port that is looked at all the time.
const PUBLIC: u16 = 80;

fn story(vm: &mut Machine) -> Result<()> {
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
    for entry in esp::entries(&vm.disk())? {
        vm.note(format!("on the ESP: {entry}"));
    }
    vm.power_off()
}

fn chapter(vm: &mut Machine, title: &str) {
    output::line("");
    vm.chapter(title);
}
