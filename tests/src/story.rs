//! What scenarios and the demo have in common: sentences about a server that is deployed to and looked at.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::closures::Variant;
use crate::esp;
use crate::machine::{BOOT, Fact, Machine};

/// From power-on or reset to a verdict: a boot, and the time an assessment takes to settle.
pub const VERDICT: Duration = BOOT.saturating_add(Duration::from_mins(1));

/// How long a server that has just been started may take to listen.
const SERVED: Duration = Duration::from_secs(20);

/// Switches the machine on for the first time: generation 1 is a trial, and passes.
///
/// # Errors
/// When it does not.
pub fn first_boot(vm: &mut Machine) -> Result<()> {
    vm.power_on()?;
    vm.wait_for(Fact::Proven(1), VERDICT)?;
    Ok(())
}

/// The same, and its entry says so: whatever comes now, there is something to go back to.
///
/// # Errors
/// When it does not.
pub fn blessed_first_boot(vm: &mut Machine) -> Result<()> {
    first_boot(vm)?;
    vm.wait_for("blessed: generation 1", VERDICT)?;
    Ok(())
}

/// What a deploy tool does: the profile first, then the boot loader hook.
///
/// # Errors
/// When either says no.
pub fn deploy(vm: &mut Machine, variant: Variant) -> Result<()> {
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
///
/// # Errors
/// When another page, or none, is served.
pub fn page_says(vm: &mut Machine, variant: Variant) -> Result<()> {
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
///
/// # Errors
/// When the world gets in, or when nothing listens, which would prove nothing.
pub fn internal_port_is_closed(vm: &mut Machine) -> Result<()> {
    vm.run_ok("curl --silent --show-error --fail --max-time 10 http://127.0.0.1:8080/")
        .context("8080 does not answer inside, so that it does not answer outside means nothing")?;
    ensure!(vm.is_closed(8080)?, "port 8080 is open to the world");
    vm.note("port 8080 answers inside and is closed from outside");
    Ok(())
}

/// What a command of lastgood in the guest prints as JSON.
///
/// # Errors
/// When it fails, or prints something else.
pub fn json(vm: &mut Machine, command: &str) -> Result<Value> {
    let printed = vm.run_ok(&format!("lastgood --quiet {command} --json"))?;
    serde_json::from_str(&printed).with_context(|| format!("{command}: {printed}"))
}

/// What `lastgood next-boot` says about this boot and `failures` failed ones: the entries, as they are called on the
/// ESP before each boot.
///
/// # Errors
/// When it cannot tell.
pub fn predicted(vm: &mut Machine, failures: usize) -> Result<Vec<String>> {
    let boots = json(vm, &format!("next-boot --failures {failures}"))?;
    let boots = boots.as_array().context("no list")?;
    let name = |boot: &Value| Some(boot.get("entry")?.as_str()?.to_owned());
    let names: Option<Vec<String>> = boots.iter().map(name).collect();
    names.context("an entry without a name")
}

/// The entry this boot was started from, as the real loader says: its name before the boot was counted.
///
/// # Errors
/// When the variable cannot be read.
pub fn started(vm: &mut Machine) -> Result<String> {
    // efivarfs files cannot be seeked in, and hold UTF-16 after four bytes of attributes.
    let variable =
        "/sys/firmware/efi/efivars/LoaderEntrySelected-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
    let text = vm.run_ok(&format!("cat {variable} | tail -c +5 | tr -d '\\0'"))?;
    Ok(text.trim().to_owned())
}

/// The file name of the entry of generation `number`.
///
/// # Errors
/// When it has none, or several.
pub fn entry_of(vm: &Machine, number: u32) -> Result<String> {
    let entries = esp::entries(&vm.disk())?;
    let prefix = format!("lastgood-{number}-");
    let mut names = entries.iter().filter(|name| name.starts_with(&prefix));
    let name = names.next().cloned();
    ensure!(
        names.next().is_none(),
        "several entries of generation {number}: {entries:?}"
    );
    name.with_context(|| format!("no entry of generation {number}: {entries:?}"))
}

/// The counter in the name of generation `number`'s entry, read from outside: empty where it has none.
///
/// # Errors
/// When it has no entry, or several.
pub fn counter(vm: &Machine, number: u32) -> Result<String> {
    let name = entry_of(vm, number)?;
    let counter = name.split_once('+').map(|(_, counter)| counter);
    let counter = counter.unwrap_or_default();
    Ok(counter.trim_end_matches(".conf").to_owned())
}

/// What `list-generations` says of generation `number`: `proven`, `rejected`, ...
///
/// # Errors
/// When it is not in the list.
pub fn state_of(vm: &mut Machine, number: u32) -> Result<String> {
    let all = json(vm, "list-generations")?;
    let mut each = all.as_array().into_iter().flatten();
    let this = each.find(|one| one.get("generation") == Some(&number.into()));
    let state = this.and_then(|one| one.get("state")?.as_str());
    Ok(state.with_context(|| format!("{all}"))?.to_owned())
}

/// The units that have failed and are not up again, one a line.
///
/// # Errors
/// When systemd does not answer.
pub fn failed_units(vm: &mut Machine) -> Result<String> {
    let failed = vm.run_ok("systemctl --failed --plain --no-legend | cut -d ' ' -f 1")?;
    Ok(failed.trim().to_owned())
}

/// Generation 1 serves, is what boots next and after failures, and nothing counts against it. The loader passes over
/// generation `bad`.
///
/// # Errors
/// When it is otherwise.
pub fn is_back(vm: &mut Machine, bad: u32) -> Result<()> {
    page_says(vm, Variant::One)?;
    let one = entry_of(vm, 1)?;
    ensure!(counter(vm, 1)?.is_empty(), "{one}");
    let tries = counter(vm, bad)?;
    ensure!(tries.starts_with("0-"), "the loader tries it: {tries}");
    let next = predicted(vm, 2)?;
    ensure!(next == vec![one; 3], "{next:?}");
    let status = json(vm, "status")?;
    let reboots = status.get("automaticReboots");
    ensure!(reboots == Some(&0.into()), "{status}");
    Ok(())
}

/// What an operator does at the loader's menu, who picks generation `number`: done from outside while the machine is off.
///
/// # Errors
/// When it has no entry.
pub fn selected_by_hand(vm: &mut Machine, number: u32) -> Result<()> {
    let name = entry_of(vm, number)?;
    let disk = vm.disk();
    let settings = esp::read_text(&disk, "loader/loader.conf")?;
    let settings = format!("{settings}default {name}\n");
    esp::write(&disk, "loader/loader.conf", settings.as_bytes())?;
    vm.note(format!("by hand: {name}"));
    Ok(())
}
