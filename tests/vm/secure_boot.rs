//! Firmware that starts only what is signed, with a real kernel, a real loader, and real keys.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lastgood_tests::broken::{self, Broken};
use lastgood_tests::closures::Variant;
use lastgood_tests::machine::{BOOT, Fact, Machine};
use lastgood_tests::scenario::scenario;
use lastgood_tests::signing::{self, Signer};
use lastgood_tests::story::{VERDICT, blessed_first_boot, entry_of, page_says};
use lastgood_tests::{esp, files};

use crate::start_failures::{is_left, loader, named, use_up_by_hand, with_loader};

/// What signing changes at the beginning of an image: its headers.
const HEAD: usize = 4096;

/// The lines that give the closure `$out` a kernel of its own: `unsigned` with `more` at its end, signed. Nothing in the machine
/// can sign, so the beginning and the end of the signed one are brought.
fn signed_kernel(unsigned: &[u8], more: &[u8], by: &Signer) -> Result<String> {
    let signed = by.sign(&[unsigned, more].concat())?;
    let common = unsigned.len();
    ensure!(
        signed.get(HEAD..common) == unsigned.get(HEAD..),
        "signing has changed more than headers and the end"
    );
    let part = |bytes: Option<&[u8]>| bytes.map(|bytes| BASE64_STANDARD.encode(bytes));
    let head = part(signed.get(..HEAD)).context("a short kernel")?;
    let tail = part(signed.get(common..)).context("no signature")?;
    Ok(format!(
        "old=$(readlink -f $out/kernel)
        new=/nix/store/$(basename $out | cut -c 1-32)-kernel
        mkdir $new
        {{ echo {head} | base64 --decode
            head --bytes={common} $old | tail --bytes=+{}
            echo {tail} | base64 --decode; }} >$new/$(basename $old)
        sed -i \"s#$old#$new/$(basename $old)#g\" $out/boot.json
        ln -sfn $new/$(basename $old) $out/kernel",
        HEAD + 1
    ))
}

/// The kernel of generation `number`, as it is on the boot partition.
fn kernel(vm: &Machine, number: u32) -> Result<Vec<u8>> {
    esp::read(&vm.disk(), &named(vm, number, "linux")?)
}

/// Makes the closure, and says why `install` refuses it.
fn is_refused(vm: &mut Machine, closure: Broken<'_>, why: &str) -> Result<()> {
    let number = broken::make(vm, Variant::Two, closure)?;
    let out = broken::toplevel(number, closure);
    let refused = vm.run(&format!("lastgood install {out}"))?;
    vm.note(refused.stderr.trim().to_owned());
    ensure!(
        refused.status == 1 && refused.stderr.contains(why),
        "{refused:?}"
    );
    ensure!(entry_of(vm, number).is_err(), "it has an entry");
    Ok(())
}

/// Arms the closure. Gives its number.
fn armed(vm: &mut Machine, closure: Broken<'_>) -> Result<u32> {
    let number = broken::make(vm, Variant::Two, closure)?;
    let out = broken::toplevel(number, closure);
    let said = vm.run(&format!("lastgood install {out} 2>&1"))?;
    said.stdout.lines().for_each(|line| vm.note(line));
    // The first one was proven before, and is none to fall back to any more: that is told as well.
    ensure!(
        said.stdout.contains("boots next") && said.stdout.contains("the kernel of generation 1"),
        "{said:?}"
    );
    Ok(number)
}

/// What the firmware would not start is never armed; and where what was armed has lost its signature since, the machine comes
/// back by itself.
#[test]
fn what_is_not_signed_is_refused_and_left_under_secure_boot() -> Result<()> {
    under_secure_boot(2, "secure-boot", |vm, good, bad| {
        let before = vm.boots();
        vm.power_on()?;
        for _ in 0..3 {
            vm.wait_for("Error loading EFI binary", BOOT)?;
        }
        is_left(vm, good, bad)?;
        ensure!(vm.boots() == before + 4, "{} boots", vm.boots() - before);
        Ok(())
    })
}

/// Under older loaders somebody has to switch it off and on, as for any kernel that cannot be started.
fn by_hand(at: usize, name: &str) -> Result<()> {
    under_secure_boot(at, name, |vm, good, bad| {
        use_up_by_hand(vm, bad)?;
        vm.power_on()?;
        is_left(vm, good, bad)
    })
}

#[test]
fn long_what_is_not_signed_under_252() -> Result<()> {
    by_hand(0, "secure-boot-252")
}

#[test]
fn long_what_is_not_signed_under_257() -> Result<()> {
    by_hand(1, "secure-boot-257")
}

/// Refusals first. Then one is armed that loses its signature, and `comes_back` says how the machine, which is off, comes back from
/// it to the last good one.
fn under_secure_boot(
    at: usize,
    name: &str,
    comes_back: impl FnOnce(&mut Machine, u32, u32) -> Result<()>,
) -> Result<()> {
    let (known, namesake) = (Signer::known()?, Signer::of_the_same_name()?);
    let signed_loader = known.sign(&std::fs::read(loader(at)?)?)?;
    scenario(name, |vm| {
        let loader = vm.dir().join("loader.efi");
        files::write(&loader, signed_loader)?;
        with_loader(vm, &loader)?;
        blessed_first_boot(vm)?;
        // Debian's own signature is on it, which this firmware does not know.
        let plain = kernel(vm, 1)?;
        let unsigned = signing::unsigned(&plain)?;
        let signed = signed_kernel(&unsigned, &[], &known)?;
        // Another file, so that what becomes of it is not the last good one's trouble.
        let signed_too = signed_kernel(&unsigned, &[0; 512], &known)?;
        let by_namesake = signed_kernel(&unsigned, &[], &namesake)?;
        let closure = |name, change| Broken { name, change };
        let good = broken::deploy(vm, Variant::One, closure("signed", &signed))?;
        vm.reboot()?;
        vm.wait_for(Fact::Proven(good), VERDICT)?;
        vm.wait_for(&*format!("blessed: generation {good}"), VERDICT)?;
        vm.power_off()?;

        vm.chapter("Secure Boot is on");
        vm.enforce_secure_boot()?;
        vm.power_on()?;
        vm.wait_for(Fact::Begun(good), BOOT)?;
        vm.wait_for(Fact::Proven(good), VERDICT)?;
        let is_on = "od --address-radix=n --format=u1 --skip-bytes=4 /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
        ensure!(vm.run_ok(is_on)?.trim() == "1", "it is not");
        is_refused(
            vm,
            closure("by Debian", ""),
            "neither the firmware nor shim knows",
        )?;
        is_refused(vm, closure("by a namesake", &by_namesake), "made anew")?;

        vm.chapter("what was armed loses its signature");
        let bad = armed(vm, closure("signed too", &signed_too))?;
        vm.power_off()?;
        let path = named(vm, bad, "linux")?;
        esp::write(&vm.disk(), &path, &unsigned)?;
        comes_back(vm, good, bad)?;
        page_says(vm, Variant::One)?;
        vm.power_off()
    })
}
