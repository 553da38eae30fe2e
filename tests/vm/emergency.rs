//! A proven generation that ends in emergency mode: nobody is at the console, and no reboot would make it better.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use lastgood_tests::closures::Variant;
use lastgood_tests::debian::Debian;
use lastgood_tests::image::Kind;
use lastgood_tests::machine::{BOOT, Fact};
use lastgood_tests::scenario::scenario_of;
use lastgood_tests::story::{VERDICT, blessed_first_boot, json, page_says, state_of};

/// A trial is rebooted out of that mode after two minutes.
const A_TRIAL_WOULD_BE_GONE: Duration = Duration::from_secs(135);

/// The rig's way in is a service like any other, which that mode does without. It stays when the mode ends: the service's own
/// start was asked for once, by udev.
const WAY_IN: &str = "[Unit]
DefaultDependencies=no
Conflicts=shutdown.target
IgnoreOnIsolate=yes
[Service]
ExecStart=/usr/sbin/qemu-ga
Restart=on-failure
RestartSec=1
";

/// Somebody has added a line to the host's fstab that nothing can be mounted by, and rebooted.
#[test]
fn long_a_proven_generation_in_emergency_mode_is_reached_and_stays() -> Result<()> {
    scenario_of(Debian::Thirteen, Kind::Quick, "emergency", |vm| {
        blessed_first_boot(vm)?;
        vm.wait_until_settled()?;
        vm.run_ok(&format!(
            "set -eu
            cd /etc/systemd/system
            printf %s '{WAY_IN}' >rig-way-in.service
            mkdir emergency.target.wants
            ln -s ../rig-way-in.service emergency.target.wants/
            echo 'none /srv/data tmpfs bogus 0 0' >>/etc/fstab
            sync"
        ))?;
        vm.reboot()?;
        let boots = vm.boots();
        vm.wait_for(Fact::Begun(1), BOOT)?;
        vm.wait_for("the machine is on the network behind its firewall", VERDICT)?;
        vm.wait_for_ssh(BOOT)?;
        vm.wait_for(Fact::Degraded(1), VERDICT)?;
        thread::sleep(A_TRIAL_WOULD_BE_GONE);
        vm.wait_for_ssh(BOOT)?;
        ensure!(vm.boots() == boots, "it was rebooted");
        // A server must not start on a disk that is not mounted.
        ensure!(vm.is_closed(80)?, "nginx was started");
        for (unit, state) in [
            ("emergency.target", "active"),
            ("sysinit.target", "inactive"),
            ("nginx.service", "inactive"),
            ("lastgood-no-prompt.service", "inactive"),
        ] {
            let is = vm.run(&format!("systemctl is-active {unit}"))?.stdout;
            ensure!(is.trim() == state, "{unit} is {is}");
        }
        ensure!(vm.run_ok("nft list tables")?.contains("lastgood-demo"));
        let said = vm.run("lastgood status")?.stdout;
        ensure!(said.contains("emergency mode"), "{said}");
        said.lines().for_each(|line| vm.note(format!("    {line}")));
        let status = json(vm, "status")?;
        ensure!(status["automaticReboots"] == 0, "{status}");
        ensure!(state_of(vm, 1)? == "proven");

        vm.chapter("mended");
        vm.run_ok("sed -i s/bogus/defaults/ /etc/fstab && systemctl daemon-reload && systemctl --no-block default")?;
        vm.wait_for(Fact::Proven(1), VERDICT)?;
        page_says(vm, Variant::One)?;
        vm.wait_for_ssh(BOOT)?;
        let said = vm.run_ok("lastgood status")?;
        ensure!(!said.contains("emergency mode"), "{said}");
        ensure!(vm.boots() == boots);
        vm.power_off()
    })
}
