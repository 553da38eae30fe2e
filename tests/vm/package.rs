//! The Debian package on a machine that boots: it comes, is refused to go, and goes when the machine boots without it.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lastgood_tests::image::Kind;
use lastgood_tests::initrds::Initrd;
use lastgood_tests::machine::Machine;
use lastgood_tests::package;
use lastgood_tests::scenario::scenario_on;
use lastgood_tests::story::{VERDICT, first_boot, started};

/// Bytes of one command: a word of a command line may be 128 KiB long.
const PIECE: usize = 72 * 1024;

/// Puts a file of this host on the guest's disk.
fn send(vm: &mut Machine, file: &Path, to: &str) -> Result<()> {
    for piece in std::fs::read(file)?.chunks(PIECE) {
        let text = BASE64_STANDARD.encode(piece);
        vm.run_ok(&format!("echo {text} | base64 --decode >>{to}"))?;
    }
    Ok(())
}

/// What apt says when it may not, in the agent's words.
fn refused(vm: &mut Machine, words: &str) -> Result<()> {
    let said = vm.run("dpkg --remove lastgood")?;
    ensure!(said.status == 1, "{said:?}");
    let line = said.stderr.lines().find(|line| line.contains("stays: "));
    let line = line.with_context(|| format!("{said:?}"))?.to_owned();
    vm.note(&line);
    ensure!(line.contains(words), "{words} is not in {line}");
    vm.run_ok("test -x /usr/bin/lastgood")?;
    Ok(())
}

#[test]
fn long_a_package_goes_when_the_machine_boots_without_it() -> Result<()> {
    let deb = package::deb()?;
    scenario_on(Kind::Staged(Initrd::InitramfsTools), "package-goes", |vm| {
        first_boot(vm)?;
        vm.wait_until_settled()?;
        send(vm, &deb, "/root/lastgood.deb")?;
        let boot = vm.run_ok("cat /proc/sys/kernel/random/boot_id")?;
        let ruleset = vm.run_ok("nft --stateless --handle list ruleset")?;
        vm.run_ok("dpkg --install /root/lastgood.deb")?;
        vm.run_ok("dpkg --verify lastgood")?;

        // In use, and then given back: what is left starts a closure with the agent.
        refused(vm, "run `lastgood uninstall`")?;
        vm.run_ok("lastgood uninstall")?;
        refused(vm, "nixos-generation-1.conf is to boot")?;
        // The distribution's own, as kernel-install would write it: the same kernel, and Debian's own first process.
        vm.run_ok(
            "set -eu
            cd /boot/loader/entries
            sed -e 's/init=[^ ]*//;s/ quiet//' -e 's/^title.*/title Debian/' -e '/^version/d;/^sort-key/d;/^machine-id/d' \\
                nixos-generation-1.conf >debian.conf
            bootctl set-default debian.conf",
        )?;
        vm.run_ok("lastgood may-be-removed")?;
        vm.run_ok("dpkg --purge lastgood")?;
        vm.run_ok("test ! -e /usr/bin/lastgood -a ! -e /var/lib/lastgood -a -z \"$(ls -A /boot/EFI/lastgood 2>/dev/null)\"")?;
        // Running and closed as before.
        ensure!(vm.run_ok("cat /proc/sys/kernel/random/boot_id")? == boot);
        ensure!(vm.run_ok("nft --stateless --handle list ruleset")? == ruleset);

        vm.reboot()?;
        vm.wait_for("systemd[1]: ", VERDICT)?;
        vm.wait_until_settled()?;
        ensure!(started(vm)? == "debian.conf");
        ensure!(vm.run_ok("cat /proc/sys/kernel/random/boot_id")? != boot);
        let words = vm.run_ok("cat /proc/cmdline")?;
        ensure!(!words.contains("init="), "{words}");
        vm.run_ok("findmnt --noheadings --output OPTIONS / | grep -E '^rw,'")?;
        vm.power_off()
    })
}
