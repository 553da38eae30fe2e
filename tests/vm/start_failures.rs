//! What is on the boot partition is damaged between the moment it is armed and the moment the loader reads it, under the
//! real loaders of Debian 12, 13 and 14.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use lastgood_tests::broken::{self, Broken};
use lastgood_tests::closures::Variant;
use lastgood_tests::esp;
use lastgood_tests::loader_rig::loaders;
use lastgood_tests::machine::{BOOT, Fact, Machine};
use lastgood_tests::scenario::scenario;
use lastgood_tests::story::{
    VERDICT, blessed_first_boot, counter, entry_of, json, page_says, started,
};

/// A good one whose kernel and initrd are on `$BOOT` under names of their own, so that damage to them is nobody else's.
const OWN_PAYLOAD: Broken<'_> = Broken {
    name: "own payload",
    change: "for what in kernel initrd; do
        old=$(readlink -f $out/$what)
        new=/nix/store/$(basename $out | cut -c 1-32)-$what
        mkdir $new
        cat $old >$new/$(basename $old)
        head -c 512 /dev/zero >>$new/$(basename $old)
        sed -i \"s#$old#$new/$(basename $old)#g\" $out/boot.json
        ln -sfn $new/$(basename $old) $out/$what
    done",
};

/// Puts a loader on the boot partition of a machine that is off, as an upgrade of the host would.
pub(crate) fn with_loader(vm: &mut Machine, loader: &Path) -> Result<()> {
    let content = fs::read(loader).with_context(|| format!("cannot read {}", loader.display()))?;
    for place in ["EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi"] {
        esp::write(&vm.disk(), place, &content)?;
    }
    Ok(())
}

/// Debian 12's loader, 13's, and 14's.
pub(crate) fn loader(at: usize) -> Result<std::path::PathBuf> {
    let all = loaders()?;
    all.get(at).cloned().context("no such loader")
}

/// What follows `key` in the entry of generation `number`, without the slash.
pub(crate) fn named(vm: &Machine, number: u32, key: &str) -> Result<String> {
    let entry = entry_of(vm, number)?;
    let text = esp::read_text(&vm.disk(), &format!("loader/entries/{entry}"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(" /"));
    Ok(line
        .with_context(|| format!("no {key} in {text}"))?
        .to_owned())
}

/// Arms a good generation, and goes off. Gives its number.
fn armed(vm: &mut Machine) -> Result<u32> {
    let number = broken::deploy(vm, Variant::Two, OWN_PAYLOAD)?;
    vm.power_off()?;
    Ok(number)
}

/// Cuts what `key` names to `length` bytes.
fn damage(vm: &mut Machine, number: u32, key: &str, length: usize) -> Result<()> {
    let path = named(vm, number, key)?;
    let mut content = esp::read(&vm.disk(), &path)?;
    ensure!(content.len() > length);
    content.truncate(length);
    esp::write(&vm.disk(), &path, &content)?;
    vm.note(format!("{path} is cut to {length} bytes"));
    Ok(())
}

/// Generation 1 runs, was not blamed, and nobody has blessed the one that cannot be started.
fn is_back(vm: &mut Machine, bad: u32) -> Result<()> {
    is_left(vm, 1, bad)?;
    page_says(vm, Variant::One)
}

/// The same, where generation `good` is the last good one.
pub(crate) fn is_left(vm: &mut Machine, good: u32, bad: u32) -> Result<()> {
    vm.wait_for(Fact::Begun(good), BOOT)?;
    vm.wait_for(Fact::Rejected(bad), VERDICT)?;
    vm.wait_for(Fact::Proven(good), VERDICT)?;
    ensure!(started(vm)?.starts_with(&format!("lastgood-{good}-")));
    ensure!(counter(vm, bad)?.starts_with("0-"), "{}", counter(vm, bad)?);
    let why = json(vm, &format!("why {bad}"))?;
    ensure!(
        why["cause"]["faults"][0]["key"] == "loader:tries-used-up",
        "{why}"
    );
    ensure!(!vm.has_said(Fact::Begun(bad)) && !vm.has_said(Fact::Proven(bad)));
    Ok(())
}

/// 262 resets the machine by itself. Nobody has to be there.
#[test]
fn a_kernel_that_cannot_be_started_is_left_by_the_newest_loader() -> Result<()> {
    let newest = loader(2)?;
    scenario("start-failure-262", |vm| {
        with_loader(vm, &newest)?;
        blessed_first_boot(vm)?;
        let bad = armed(vm)?;
        damage(vm, bad, "linux", 6_000_000)?;
        let before = vm.boots();
        vm.power_on()?;
        for _ in 0..3 {
            vm.wait_for("Error loading EFI binary", BOOT)?;
        }
        is_back(vm, bad)?;
        ensure!(vm.boots() == before + 4, "{} boots", vm.boots() - before);
        vm.power_off()
    })
}

/// 252 goes back to the firmware, which waits in its shell; 257 may stop for good. Each time that somebody switches the machine
/// off and on is a try, or two where the firmware starts the loader again, and then comes the last good one.
fn by_hand(at: usize, name: &str) -> Result<()> {
    let loader = loader(at)?;
    scenario(name, |vm| {
        with_loader(vm, &loader)?;
        blessed_first_boot(vm)?;
        let bad = armed(vm)?;
        damage(vm, bad, "linux", 6_000_000)?;
        use_up_by_hand(vm, bad)?;
        vm.power_on()?;
        is_back(vm, bad)?;
        vm.power_off()
    })
}

/// Switches the machine on and off until a generation that cannot be started has no tries left.
pub(crate) fn use_up_by_hand(vm: &mut Machine, bad: u32) -> Result<()> {
    let mut switched_on = 0;
    while !counter(vm, bad)?.starts_with("0-") {
        ensure!(switched_on < 3, "it has more tries than three");
        switched_on += 1;
        vm.power_on()?;
        vm.wait_for("Error loading", BOOT)?;
        vm.cut_power()?;
    }
    vm.note(format!("{switched_on} times switched on for its tries"));
    Ok(())
}

#[test]
fn long_a_kernel_that_cannot_be_started_under_252() -> Result<()> {
    by_hand(0, "start-failure-252")
}

#[test]
fn long_a_kernel_that_cannot_be_started_under_257() -> Result<()> {
    by_hand(1, "start-failure-257")
}

/// A kernel that is left without its initrd mounts the root by itself, read-only (its drivers are built in): the agent can
/// write nothing, reboots, and the loader counts. An entry whose text is gone is not listed: the last good one boots at once.
#[test]
fn long_half_an_initrd_and_an_entry_without_text() -> Result<()> {
    scenario("half-an-initrd", |vm| {
        blessed_first_boot(vm)?;
        let bad = armed(vm)?;
        damage(vm, bad, "initrd", 700_000)?;
        let before = vm.boots();
        vm.power_on()?;
        for _ in 0..3 {
            vm.wait_for("Initramfs unpacking failed", BOOT)?;
        }
        is_back(vm, bad)?;
        ensure!(vm.boots() == before + 4, "{} boots", vm.boots() - before);

        vm.chapter("an entry without text");
        let next = armed(vm)?;
        let entry = entry_of(vm, next)?;
        esp::write(
            &vm.disk(),
            &format!("loader/entries/{entry}"),
            b"\0\0\0\0\n",
        )?;
        vm.power_on()?;
        vm.wait_for(Fact::Begun(1), BOOT)?;
        vm.wait_for(Fact::Proven(1), VERDICT)?;
        page_says(vm, Variant::One)?;
        ensure!(!vm.has_said(Fact::Rejected(next)));
        // It never ran, and is tried when it is whole.
        vm.run_ok("lastgood verify --repair")?;
        vm.reboot()?;
        vm.wait_for(Fact::Proven(next), VERDICT)?;
        page_says(vm, Variant::Two)?;
        vm.power_off()
    })
}
