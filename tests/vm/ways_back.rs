//! The ways back that are no reboot by the firmware: a soft-reboot, and a kexec.

use anyhow::{Result, ensure};
use lastgood_tests::broken::{self, Broken};
use lastgood_tests::closures::Variant;
use lastgood_tests::debian::Debian;
use lastgood_tests::image::Kind;
use lastgood_tests::machine::{BOOT, Fact, Machine};
use lastgood_tests::scenario::scenario_of;
use lastgood_tests::story::{
    VERDICT, blessed_first_boot, counter, deploy, failed_units, is_back, page_says, started,
};

/// Its server does not start, and the machine may go back by kexec only.
const BY_KEXEC: Broken<'_> = Broken {
    name: "by kexec",
    change: "sed -i 's/listen 80;/lissten 80;/' $out/etc/nginx/nginx.conf
    printf 'kexec = true\\nsoft-reboot = false\\n' >>$out/etc/lastgood/lastgood.toml",
};

fn id_of_boot(vm: &mut Machine) -> Result<String> {
    let id = vm.run_ok("cat /proc/sys/kernel/random/boot_id")?;
    Ok(id.trim().to_owned())
}

/// Generation 1 runs, and is what boots next. Nobody has blessed the other one.
fn is_all_back(vm: &mut Machine, bad: u32) -> Result<()> {
    is_back(vm, bad)?;
    let good = vm.toplevel(Variant::One)?;
    ensure!(vm.run_ok("readlink -f /run/current-system")?.trim() == good);
    let failed = failed_units(vm)?;
    ensure!(failed.is_empty(), "{failed}");
    Ok(())
}

/// The running kernel starts that of the last good generation. What the loader has left is of the trial, and nothing is
/// blessed by it.
fn kexec_leads_back(debian: Debian) -> Result<()> {
    scenario_of(debian, Kind::Quick, "kexec", |vm| {
        blessed_first_boot(vm)?;
        let bad = broken::deploy(vm, Variant::One, BY_KEXEC)?;
        vm.reboot()?;
        vm.wait_for(Fact::Begun(bad), BOOT)?;
        let (boots, trial) = (vm.boots(), id_of_boot(vm)?);
        vm.wait_for(Fact::Rejected(bad), VERDICT)?;
        vm.wait_for("going down by kexec", VERDICT)?;
        vm.wait_for(Fact::Begun(1), VERDICT)?;
        ensure!(vm.boots() == boots, "the firmware ran");
        ensure!(id_of_boot(vm)? != trial);
        vm.run_ok("! grep -F 'initrd=\\' /proc/cmdline")?;
        // The variables are those of the loader's last boot.
        let selected = started(vm)?;
        ensure!(
            selected.starts_with(&format!("lastgood-{bad}-")),
            "{selected}"
        );
        vm.wait_for(Fact::Proven(1), VERDICT)?;
        vm.wait_until_settled()?;
        is_all_back(vm, bad)?;

        // The next boot is the loader's again.
        vm.reboot()?;
        vm.wait_for(Fact::Begun(1), BOOT)?;
        ensure!(started(vm)?.starts_with("lastgood-1-"));
        vm.power_off()
    })
}

#[test]
fn long_a_kexec_leads_back_on_debian_12() -> Result<()> {
    kexec_leads_back(Debian::Twelve)
}

#[test]
fn long_a_kexec_leads_back_on_debian_13() -> Result<()> {
    kexec_leads_back(Debian::Thirteen)
}

/// Whoever runs the command goes down with everything else: what it says is not waited for.
fn soft_reboot(vm: &mut Machine) -> Result<()> {
    vm.note("soft-reboot asked for");
    vm.run_ok("(sleep 1; systemctl soft-reboot) >/dev/null 2>&1 </dev/null &")?;
    Ok(())
}

/// A soft-reboot is a boot of its own: judged, on record, and nothing that the loader did not start is blessed in it.
#[test]
fn long_a_soft_reboot_is_a_boot_of_its_own() -> Result<()> {
    scenario_of(Debian::Thirteen, Kind::Quick, "soft-reboot", |vm| {
        blessed_first_boot(vm)?;
        deploy(vm, Variant::BadNginx)?;
        vm.reboot()?;
        vm.wait_for(Fact::Begun(2), BOOT)?;
        let (boots, trial) = (vm.boots(), id_of_boot(vm)?);
        vm.wait_for(Fact::Rejected(2), VERDICT)?;
        vm.wait_for("going down by soft-reboot", VERDICT)?;
        vm.wait_for(Fact::Begun(1), VERDICT)?;
        vm.wait_for(Fact::Proven(1), VERDICT)?;
        vm.wait_until_settled()?;
        ensure!(vm.boots() == boots && id_of_boot(vm)? == trial);
        let bad = vm.toplevel(Variant::BadNginx)?;
        vm.run_ok(&format!("grep -F 'init={bad}/init' /proc/cmdline"))?;
        is_all_back(vm, 2)?;
        vm.run_ok(&format!(
            "grep -F '{trial}+1' /var/lib/lastgood/ledger.jsonl"
        ))?;

        // The operator's own: what was active is judged again, and no try is used.
        soft_reboot(vm)?;
        vm.wait_for(Fact::Begun(1), VERDICT)?;
        vm.wait_for(Fact::Proven(1), VERDICT)?;
        ensure!(vm.boots() == boots);
        is_all_back(vm, 2)?;

        // One that is armed is still what the loader starts.
        deploy(vm, Variant::Two)?;
        soft_reboot(vm)?;
        vm.wait_for(Fact::Begun(1), VERDICT)?;
        ensure!(counter(vm, 3)? == "3-0", "no try of it was used");
        vm.reboot()?;
        vm.wait_for(Fact::Proven(3), VERDICT)?;
        page_says(vm, Variant::Two)?;
        vm.power_off()
    })
}
