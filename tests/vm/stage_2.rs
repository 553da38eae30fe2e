//! Stage 2 before real systemd, started by a real kernel and by initrds as Debian makes them.

use std::time::Duration;

use anyhow::{Result, ensure};
use lastgood_tests::broken::{self, Broken};
use lastgood_tests::closures::{Staged, Variant};
use lastgood_tests::debian::Debian;
use lastgood_tests::esp;
use lastgood_tests::image::Kind;
use lastgood_tests::initrds::Initrd;
use lastgood_tests::machine::{BOOT, Fact, Machine};
use lastgood_tests::scenario::{scenario, scenario_of, scenario_on};
use lastgood_tests::story::{
    VERDICT, blessed_first_boot, counter, deploy, entry_of, first_boot, json, page_says,
    selected_by_hand,
};

/// A real initrd takes as long as all else, and a loaded host thrice that.
const BEGUN: Duration = Duration::from_mins(5);

/// Emergency mode is left after two minutes, with a verdict or without.
const REJECTED: Duration = VERDICT.saturating_add(Duration::from_mins(2));

/// What stage 2 has done in this boot, and what systemd has found.
fn staged(vm: &mut Machine, variant: Variant) -> Result<()> {
    let toplevel = vm.toplevel(variant)?;
    let left = vm.run_ok("cat /run/lastgood/stage-2.json")?;
    ensure!(
        left.contains(&toplevel) && left.contains("\"problems\":[]"),
        "{left}"
    );
    let log = vm.run_ok("dmesg | grep -F lastgood-stage-2: ")?;
    for line in log.lines() {
        vm.note(line);
    }
    vm.run_ok(&format!(
        "test \"$(readlink -f /etc/fstab)\" = \"$(readlink -f {toplevel}/etc/fstab)\""
    ))?;
    // The initrd has mounted it read-only; systemd has read the closure's fstab, and mounted it to be written to.
    vm.run_ok("findmnt --noheadings --output OPTIONS / | grep -E '^rw,noatime'")?;
    vm.run_ok("findmnt --noheadings /boot")?;
    Ok(())
}

/// Mounted to be written to.
fn nix_is_a_partition(vm: &mut Machine) -> Result<()> {
    vm.run_ok(
        "findmnt --noheadings --output SOURCE,OPTIONS /nix | grep -E '^/dev/nvme0n1p3 +rw,'",
    )?;
    Ok(())
}

/// A fault of generation `number` names `word`.
fn blamed(vm: &mut Machine, number: u32, word: &str) -> Result<()> {
    let why = json(vm, &format!("why {number}"))?;
    ensure!(why["cause"].to_string().contains(word), "{why}");
    vm.note(format!("why {number}: {}", why["cause"]["summary"]));
    Ok(())
}

/// An `fstab` that cannot be mounted is its own generation's, in each of three forms.
fn fstab_stories(debian: Debian, initrd: Initrd) -> Result<()> {
    let of = |what| Variant::Staged(initrd, what);
    let name = format!("fstab-{}", initrd.name());
    scenario_of(debian, Kind::Staged(initrd), &name, |vm| {
        first_boot(vm)?;
        staged(vm, of(Staged::One))?;
        if initrd == Initrd::Dracut {
            nix_is_a_partition(vm)?;
        }

        // With a service that fails as well: judged in its first boot, with its own fstab. The one to which the machine
        // goes back reads its own, and is healthy.
        deploy(vm, of(Staged::BadBoth))?;
        vm.reboot()?;
        vm.wait_for(Fact::Begun(2), BEGUN)?;
        vm.wait_for(Fact::Rejected(2), REJECTED)?;
        vm.wait_for(Fact::LoaderStarted, BOOT)?;
        vm.wait_for(Fact::Begun(1), BEGUN)?;
        ensure!(vm.wait_until_settled()? == "running");
        staged(vm, of(Staged::One))?;
        page_says(vm, of(Staged::One))?;
        blamed(vm, 2, "srv.mount")?;
        // One try, unless the host was too loaded for a verdict in two minutes: then emergency mode was left without one.
        let tried = counter(vm, 2)?;
        ensure!(
            tried.starts_with("0-"),
            "the loader tries it again: {tried}"
        );
        ensure!(!vm.has_said(Fact::Proven(2)));

        // With nothing but the fstab. The plug is pulled before anything is put back: what it left in `/etc` is there.
        deploy(vm, of(Staged::BadFstab))?;
        vm.reboot()?;
        vm.wait_for(Fact::Begun(3), BEGUN)?;
        vm.wait_for(Fact::Rejected(3), REJECTED)?;
        vm.cut_power()?;

        // An older one, by hand: it reads its own, is healthy, and not rejected.
        selected_by_hand(vm, 1)?;
        vm.power_on()?;
        vm.wait_for(Fact::Begun(1), BEGUN)?;
        ensure!(vm.wait_until_settled()? == "running");
        vm.wait_for(Fact::Proven(1), VERDICT)?;
        staged(vm, of(Staged::One))?;
        page_says(vm, of(Staged::One))?;
        blamed(vm, 3, "srv.mount")?;
        ensure!(!vm.has_said(Fact::Rejected(1)) && !vm.has_said(Fact::Degraded(1)));
        ensure!(!vm.has_said(Fact::Proven(3)));
        vm.power_off()
    })
}

/// Without a stage 2 the first boot reads what was there before. It proves nothing, and what it leaves in `/etc` is no
/// fault of an older one that is started by hand.
#[test]
fn long_a_broken_fstab_that_was_read_late_is_nobody_elses() -> Result<()> {
    scenario("fstab-late", |vm| {
        first_boot(vm)?;
        // `/boot` is mounted by a unit, so that there is no fstab but a closure's.
        vm.run_ok(
            "set -eu
            printf '[Mount]\nWhat=/dev/disk/by-partuuid/aaaaaaaa-0000-4000-8000-000000000001\nWhere=/boot\nType=vfat\nOptions=umask=0077\n' >/etc/systemd/system/boot.mount
            mkdir -p /etc/systemd/system/local-fs.target.wants
            ln -s ../boot.mount /etc/systemd/system/local-fs.target.wants/
            rm /etc/fstab",
        )?;
        deploy(vm, Variant::LateFstab)?;
        vm.reboot()?;
        vm.wait_for(Fact::Begun(2), BEGUN)?;
        vm.wait_for("not blessed: generation 2 is healthy", VERDICT)?;
        ensure!(!vm.has_said(Fact::Proven(2)));

        // It finds the other one's fstab, comes to emergency mode, and is tried again with its own.
        let older = entry_of(vm, 1)?;
        vm.run_ok(&format!("bootctl set-oneshot {older}"))?;
        vm.reboot()?;
        vm.wait_for(Fact::Begun(1), BEGUN)?;
        vm.wait_for(Fact::LoaderStarted, REJECTED)?;
        ensure!(!vm.has_said(Fact::Rejected(1)));

        // The trial goes on, with its own: it is rejected, and the machine goes back.
        vm.wait_for(Fact::Begun(2), BEGUN)?;
        vm.wait_for(Fact::Rejected(2), REJECTED)?;
        vm.wait_for(Fact::LoaderStarted, BOOT)?;
        vm.wait_for(Fact::Begun(1), BEGUN)?;
        ensure!(vm.wait_until_settled()? == "running");
        page_says(vm, Variant::One)?;
        blamed(vm, 2, "srv.mount")?;
        vm.power_off()
    })
}

/// `/nix` is no part of the root: our script for the initrd mounts it, where the command line says so. Where it does not,
/// nothing of the closure is there, and the machine comes back.
#[test]
fn nix_on_its_own_partition_is_mounted_by_the_initrd() -> Result<()> {
    scenario_on(Kind::NixPartition, "nix-partition", |vm| {
        first_boot(vm)?;
        staged(vm, Variant::NixPartition)?;
        nix_is_a_partition(vm)?;
        ensure!(vm.wait_until_settled()? == "running");
        page_says(vm, Variant::NixPartition)?;

        deploy(vm, Variant::NixUntold)?;
        vm.reboot()?;
        for _ in 0..3 {
            vm.wait_for("Target filesystem doesn't have requested", BEGUN)?;
            vm.wait_for(Fact::LoaderStarted, REJECTED)?;
        }
        vm.wait_for(Fact::Begun(1), BEGUN)?;
        vm.wait_for(Fact::Rejected(2), BEGUN)?;
        ensure!(!vm.has_said(Fact::Proven(2)));
        vm.wait_for(Fact::Proven(1), VERDICT)?;
        staged(vm, Variant::NixPartition)?;
        page_says(vm, Variant::NixPartition)?;
        vm.power_off()
    })
}

#[test]
fn a_broken_fstab_is_its_own_generations_with_initramfs_tools() -> Result<()> {
    fstab_stories(Debian::Twelve, Initrd::InitramfsTools)
}

#[test]
fn long_a_broken_fstab_is_its_own_generations_with_dracut() -> Result<()> {
    fstab_stories(Debian::Twelve, Initrd::Dracut)
}

/// initramfs-tools 0.148.
#[test]
fn long_a_broken_fstab_is_its_own_generations_with_initramfs_tools_of_debian_13() -> Result<()> {
    fstab_stories(Debian::Thirteen, Initrd::InitramfsTools)
}

/// dracut 106.
#[test]
fn long_a_broken_fstab_is_its_own_generations_with_dracut_of_debian_13() -> Result<()> {
    fstab_stories(Debian::Thirteen, Initrd::Dracut)
}

/// A root that is not there, for whatever initrd looks for it.
const NO_ROOT: Broken<'_> = Broken {
    name: "no root",
    change: "sed -i 's/root=PARTUUID=aaaaaaaa-0000-4000-8000-000000000002/root=PARTUUID=bbbbbbbb-0000-4000-8000-000000000002/' $out/boot.json",
};

/// initramfs-tools gives up after half a minute, and `panic=` reboots: the loader counts three tries.
fn root_is_missing(debian: Debian) -> Result<()> {
    let initrd = Initrd::InitramfsTools;
    let good = Variant::Staged(initrd, Staged::One);
    scenario_of(debian, Kind::Staged(initrd), "no-root", |vm| {
        blessed_first_boot(vm)?;
        broken::deploy(vm, good, NO_ROOT)?;
        let before = vm.boots();
        vm.reboot()?;
        for _ in 0..3 {
            vm.wait_for("Gave up waiting for root file system device", BEGUN)?;
            vm.wait_for(Fact::LoaderStarted, BEGUN)?;
        }
        vm.wait_for(Fact::Begun(1), BEGUN)?;
        vm.wait_for(Fact::Rejected(2), BEGUN)?;
        vm.wait_for(Fact::Proven(1), VERDICT)?;
        ensure!(vm.boots() == before + 4);
        blamed(vm, 2, "tries-used-up")?;
        page_says(vm, good)?;
        vm.power_off()
    })
}

#[test]
fn long_a_root_that_is_missing_is_left_by_the_loaders_count() -> Result<()> {
    root_is_missing(Debian::Twelve)
}

#[test]
fn long_a_root_that_is_missing_is_left_by_the_loaders_count_on_debian_13() -> Result<()> {
    root_is_missing(Debian::Thirteen)
}

/// dracut 059 waits for minutes, and then at its prompt for ever: a trial has half a minute there. 106 just waits, and the
/// deadline of a trial ends that after ten minutes.
fn dracut_waits_for_a_root(debian: Debian) -> Result<()> {
    /// It gives up after three minutes of its own counting (`rd.retry=`), in which each look takes longer than it counts.
    const GIVES_UP: Duration = Duration::from_mins(10);
    /// Ten minutes, and a boot.
    const DEADLINE: Duration = Duration::from_mins(16);
    let initrd = Initrd::Dracut;
    let good = Variant::Staged(initrd, Staged::One);
    scenario_of(debian, Kind::Staged(initrd), "no-root-dracut", |vm| {
        blessed_first_boot(vm)?;
        let bad = broken::deploy(vm, good, NO_ROOT)?;
        vm.reboot()?;
        let ends = if debian == Debian::Twelve {
            vm.wait_for("Entering emergency mode", GIVES_UP)?;
            BOOT
        } else {
            DEADLINE
        };
        vm.wait_for("this trial does not get out of the initrd", ends)?;
        vm.wait_for(Fact::LoaderStarted, BOOT)?;
        vm.cut_power()?;
        let counted = counter(vm, bad)?;
        ensure!(
            counted == "2-1" || counted == "1-2",
            "it was not counted: {counted}"
        );
        // The other two tries are the same.
        let entry = entry_of(vm, bad)?;
        let path = format!("loader/entries/{entry}");
        let text = esp::read_text(&vm.disk(), &path)?;
        let used_up = path.replace(&format!("+{counted}"), "+0-3");
        esp::write(&vm.disk(), &used_up, text.as_bytes())?;
        esp::remove(&vm.disk(), &path)?;
        vm.power_on()?;
        vm.wait_for(Fact::Begun(1), BEGUN)?;
        vm.wait_for(Fact::Rejected(bad), BEGUN)?;
        page_says(vm, good)?;
        vm.power_off()
    })
}

#[test]
fn long_a_root_that_is_missing_under_dracut_ends_at_the_deadline() -> Result<()> {
    dracut_waits_for_a_root(Debian::Twelve)
}

#[test]
fn long_a_root_that_is_missing_under_dracut_ends_at_the_deadline_on_debian_13() -> Result<()> {
    dracut_waits_for_a_root(Debian::Thirteen)
}
