//! Closures with something wrong, made on the machine itself: a copy of one that the image has, changed by a few lines of
//! shell. So a story about one more fault costs a line, and no closure in every image.

use anyhow::{Context as _, Result};

use crate::closures::Variant;
use crate::machine::Machine;

/// What is wrong.
#[derive(Debug, Clone, Copy)]
pub struct Broken<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Shell that makes it so, with the closure in `$out`.
    pub change: &'a str,
}

/// What makes a verdict come soon: half the time to its deadline.
pub const SOON: &str =
    "sed -i 's/^deadline-sec = 120/deadline-sec = 60/' $out/etc/lastgood/lastgood.toml\n";

/// Makes the closure the newest generation, and installs it, as a deploy tool does. Gives its number.
///
/// # Errors
/// When the machine says no.
pub fn deploy(vm: &mut Machine, of: Variant, broken: Broken<'_>) -> Result<u32> {
    let number = make(vm, of, broken)?;
    let out = toplevel(number, broken);
    let said = vm.run_ok(&format!("lastgood install {out} 2>&1"))?;
    vm.note(format!("installed generation {number}: {}", broken.name));
    let said = said.lines().map(|line| format!("    {line}"));
    said.for_each(|line| vm.note(line));
    Ok(number)
}

/// Makes the closure the newest generation, and installs nothing. Gives its number.
///
/// # Errors
/// When the machine says no.
pub fn make(vm: &mut Machine, of: Variant, broken: Broken<'_>) -> Result<u32> {
    let profiles = "/nix/var/nix/profiles";
    let last = vm.run_ok(&format!(
        "ls {profiles} | sed -n 's/^system-\\([0-9]*\\)-link$/\\1/p' | sort -n | tail -n 1"
    ))?;
    let last: u32 = last.trim().parse().context("no generation")?;
    let number = last + 1;
    let (good, out) = (vm.toplevel(of)?, toplevel(number, broken));
    let change = broken.change;
    vm.run_ok(&format!(
        "set -eu
        out={out}
        cp -a {good} $out
        sed -i \"s#{good}#$out#g\" $out/boot.json
        {change}
        ln -sfn $out {profiles}/system-{number}-link
        ln -sfn system-{number}-link {profiles}/system
        sync"
    ))?;
    Ok(number)
}

/// Where such a closure is.
#[must_use]
pub fn toplevel(number: u32, broken: Broken<'_>) -> String {
    format!(
        "/nix/store/{number:032}-nixos-system-rig-{}",
        broken.name.replace(' ', "-")
    )
}
