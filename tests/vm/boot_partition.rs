//! What may be wrong with the boot partition of a real machine, and with what its firmware remembers.

use anyhow::{Result, ensure};
use lastgood_tests::broken::{self, Broken};
use lastgood_tests::closures::Variant;
use lastgood_tests::machine::{BOOT, Fact, Machine};
use lastgood_tests::scenario::scenario;
use lastgood_tests::story::{
    VERDICT, counter, deploy, first_boot, json, page_says, predicted, started,
};

/// `lastgood` says no, in one line with each of `words`.
fn refused(vm: &mut Machine, command: &str, words: &[&str]) -> Result<()> {
    let output = vm.run(&format!("lastgood --quiet {command} 2>&1 >/dev/null"))?;
    let said = &output.stdout;
    ensure!(output.status == 1, "{command}: {output:?}");
    for word in words {
        ensure!(said.contains(word), "{command}: no {word:?} in {said}");
    }
    vm.note(format!("{command}: {}", said.trim()));
    Ok(())
}

#[test]
fn each_trouble_has_a_line_of_its_own() -> Result<()> {
    scenario("boot-partition", |vm| {
        first_boot(vm)?;
        vm.wait_until_settled()?;
        vm.run_ok("lastgood verify")?;

        // A request that somebody left in the firmware: told by all who are asked, and cleared by the next install.
        vm.run_ok("bootctl set-default debian.conf && bootctl set-timeout menu-force")?;
        let overrides = json(vm, "status")?["overrides"].clone();
        ensure!(
            overrides[0]["variable"] == "LoaderEntryDefault"
                && overrides[1]["variable"] == "LoaderConfigTimeout",
            "{overrides}"
        );
        refused(vm, "verify", &["LoaderEntryDefault", "debian.conf"])?;
        vm.run_ok("lastgood install")?;
        ensure!(json(vm, "status")?["overrides"] == serde_json::json!([]));
        vm.run_ok(
            "! ls /sys/firmware/efi/efivars | grep -E 'LoaderEntryDefault|LoaderConfigTimeout'",
        )?;

        // One that cannot be cleared is not taken for cleared: there is nothing to write, and what boots next is another.
        let other = "title other\\nefi /EFI/BOOT/BOOTX64.EFI\\n";
        vm.run_ok(&format!(
            "printf '{other}' > /boot/loader/entries/other.conf && bootctl set-default other.conf"
        ))?;
        vm.run_ok("mount --bind /bin/false /usr/bin/bootctl")?;
        refused(
            vm,
            "install",
            &["LoaderEntryDefault", "but other.conf boots next"],
        )?;
        vm.run_ok("umount /usr/bin/bootctl")?;
        vm.run_ok("lastgood install && rm /boot/loader/entries/other.conf")?;

        // An empty mount point is no boot partition, and nothing is written into it.
        vm.run_ok("umount /boot")?;
        refused(
            vm,
            "install",
            &["no EFI system partition", "mount it and run again"],
        )?;
        ensure!(vm.run_ok("ls -A /boot")?.is_empty());

        // Nor is another FAT file system.
        vm.run_ok("modprobe loop && dd if=/dev/disk/by-partuuid/aaaaaaaa-0000-4000-8000-000000000001 of=/root/other bs=1M status=none")?;
        vm.run_ok("mount -o loop -t vfat /root/other /boot")?;
        refused(
            vm,
            "install",
            &["is not the partition the loader came from"],
        )?;
        vm.run_ok("umount /boot && mount /boot")?;

        // What the kernel does to a damaged file system.
        vm.run_ok("mount -o remount,ro /boot")?;
        let two = vm.toplevel(Variant::Two)?;
        vm.run_ok(&format!(
            "nix-env --profile /nix/var/nix/profiles/system --set {two}"
        ))?;
        refused(
            vm,
            "install",
            &["mounted read-only", "remount,rw", "fsck.vfat"],
        )?;
        vm.run_ok("mount -o remount,rw /boot")?;
        beside_an_xbootldr_partition(vm)?;
        vm.run_ok("lastgood install")?;
        assert_eq!(counter(vm, 2)?, "3-0");
        without_a_loader(vm)?;
        vm.power_off()
    })
}

/// The root's partition says that it is for the loader's entries, which nobody could mount: nothing is written to the
/// ESP instead, until it has another type, as the line says.
fn beside_an_xbootldr_partition(vm: &mut Machine) -> Result<()> {
    const XBOOTLDR: &str = "bc13c2ff-59e6-4262-a352-b275fd6f7172";
    const LINUX: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";
    let root =
        vm.run_ok("readlink -f /dev/disk/by-partuuid/aaaaaaaa-0000-4000-8000-000000000002")?;
    let root = root.trim();
    let disk = root.trim_end_matches("p2");
    let set_type = |vm: &mut Machine, kind: &str| {
        vm.run_ok(&format!(
            "sfdisk --quiet --no-reread --part-type {disk} 2 {kind} && udevadm trigger --settle {root}"
        ))
    };
    // Names, sizes and times.
    let files = |vm: &mut Machine| {
        vm.run_ok(
            "find /boot /var/lib/lastgood /nix/var/nix/gcroots -printf '%p %s %T@ %C@\n' | sort",
        )
    };

    let before = files(vm)?;
    set_type(vm, XBOOTLDR)?;
    refused(
        vm,
        "install",
        &[
            &format!("{root} is an XBOOTLDR partition on the disk of /boot"),
            "sfdisk --part-type",
        ],
    )?;
    let after = files(vm)?;
    ensure!(after == before, "{before}is now\n{after}");
    set_type(vm, LINUX)?;
    Ok(())
}

/// An ESP without any copy of systemd-boot gets one from real bootctl, and the firmware starts that.
fn without_a_loader(vm: &mut Machine) -> Result<()> {
    vm.run_ok("rm -r /boot/EFI/systemd /boot/EFI/BOOT /boot/loader/loader.conf")?;
    refused(vm, "verify", &["/boot", "systemd-boot"])?;
    let said = vm.run_ok("lastgood install 2>&1")?;
    ensure!(said.contains("installing systemd-boot"), "{said}");
    vm.run_ok("lastgood verify")?;
    vm.run_ok("cmp /boot/EFI/systemd/systemd-bootx64.efi /boot/EFI/BOOT/BOOTX64.EFI")?;
    vm.run_ok("bootctl is-installed")?;
    let next = predicted(vm, 0)?;
    vm.reboot()?;
    vm.wait_for(Fact::Begun(2), BOOT)?;
    assert_eq!(started(vm)?, next[0]);
    Ok(())
}

/// The verdict cannot be written where the loader would read it: the firmware is asked for the last good one, once.
#[test]
fn a_read_only_boot_partition_does_not_keep_a_bad_generation() -> Result<()> {
    scenario("read-only", |vm| {
        first_boot(vm)?;
        deploy(vm, Variant::BadNginx)?;
        vm.run_ok("sed -i 's/umask=0077/ro,umask=0077/' /etc/fstab && sync")?;
        let good = predicted(vm, 3)?[3].clone();
        vm.reboot()?;
        vm.wait_for(Fact::Rejected(2), VERDICT)?;
        vm.wait_for("asking the firmware to start", BOOT)?;
        vm.wait_for(Fact::LoaderStarted, BOOT)?;
        vm.wait_for(Fact::Begun(1), BOOT)?;
        assert_eq!(started(vm)?, good);
        assert_eq!(counter(vm, 2)?, "2-1", "nothing could be written");
        page_says(vm, Variant::One)?;

        // It can be written again, and is what it should be.
        vm.wait_for(Fact::Proven(1), VERDICT)?;
        vm.wait_for("/boot is mounted read-only", BOOT)?;
        vm.run_ok("mount -o remount,rw /boot && lastgood verify --repair")?;
        assert_eq!(counter(vm, 2)?, "0-1");
        assert_eq!(predicted(vm, 2)?, vec![good; 3]);
        vm.power_off()
    })
}

/// Its server does not start, and there is time before it is left.
const MAY_BE_HELD: Broken<'_> = Broken {
    name: "may be held",
    change: "sed -i 's/listen 80;/lissten 80;/' $out/etc/nginx/nginx.conf
    sed -i 's/^grace-sec = 0/grace-sec = 600/' $out/etc/lastgood/lastgood.toml",
};

/// Whoever holds the boot stays, with a request that nothing has taken: it goes when the entries are written.
#[test]
fn a_request_for_one_boot_lasts_until_the_entries_say_it() -> Result<()> {
    scenario("asked-once", |vm| {
        first_boot(vm)?;
        broken::deploy(vm, Variant::One, MAY_BE_HELD)?;
        // Nobody can tell who is there, so that there is time to hold it.
        vm.run_ok("sed -i 's/umask=0077/ro,umask=0077/' /etc/fstab && systemctl mask systemd-logind && sync")?;
        let good = predicted(vm, 3)?[3].clone();
        vm.reboot()?;
        vm.wait_for(Fact::Rejected(2), VERDICT)?;
        vm.wait_for("asking the firmware to start", BOOT)?;
        vm.run_ok("lastgood hold")?;
        vm.wait_for("staying up: ", BOOT)?;
        let asked = "ls /sys/firmware/efi/efivars | grep -c LoaderEntryOneShot || true";
        ensure!(vm.run_ok(asked)?.trim() == "1", "nothing is asked for");
        vm.run_ok("mount -o remount,rw /boot && lastgood verify --repair")?;
        ensure!(vm.run_ok(asked)?.trim() == "0", "it is still asked for");
        ensure!(predicted(vm, 2)? == vec![good.clone(); 3]);
        // What somebody else has asked for stays.
        vm.run_ok(&format!(
            "bootctl set-oneshot {good} && lastgood verify --repair"
        ))?;
        ensure!(vm.run_ok(asked)?.trim() == "1", "it was somebody else's");
        vm.power_off()
    })
}
