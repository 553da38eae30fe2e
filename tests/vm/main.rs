//! Ring 4: real boots in a virtual machine. Each test is one story.

use anyhow::Result;
use lastgood_tests::closures::Variant;
use lastgood_tests::esp;
use lastgood_tests::machine::{BOOT, Fact};
use lastgood_tests::scenario::scenario;

/// The rig itself: what every other scenario takes for granted.
#[test]
fn the_image_boots_generation_one_and_survives_a_power_cut() -> Result<()> {
    scenario("smoke", |vm| {
        let one = vm.toplevel(Variant::One)?;
        vm.power_on()?;
        vm.wait_for(Fact::LoaderStarted, BOOT)?;
        vm.wait_for(Fact::InitrdFor(one.clone()), BOOT)?;
        vm.wait_until_settled()?;

        // A real generation of a real profile, on a real ESP.
        assert_eq!(
            vm.run_ok("readlink -f /nix/var/nix/profiles/system")?
                .trim(),
            one
        );
        assert!(
            vm.run_ok("nix-env --profile /nix/var/nix/profiles/system --list-generations")?
                .contains("(current)")
        );
        assert!(
            vm.run_ok("findmnt --noheadings --output FSTYPE /boot")?
                .contains("vfat")
        );
        assert!(!esp::entries(&vm.disk())?.is_empty());
        vm.run_ok("nft list ruleset && ip -4 addr show to 10.0.2.15")?;
        assert_eq!(vm.run("exit 7")?.status, 7);

        // What was flushed survives the plug, and the machine comes back.
        vm.run_ok("echo kept >/var/kept && sync")?;
        vm.cut_power()?;
        vm.power_on()?;
        vm.wait_for(Fact::InitrdFor(one), BOOT)?;
        assert_eq!(vm.run_ok("cat /var/kept")?, "kept\n");

        // A reboot in order stays within the same machine.
        vm.reboot()?;
        vm.wait_until_settled()?;
        assert_eq!(vm.boots(), 3);
        vm.power_off()
    })
}
