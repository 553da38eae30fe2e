//! systemd-boot itself: updated, mended and left alone by the shipped binary; installed by the real bootctl.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use boot_entries::Root;
use boot_entries::boot_partition::Place;
use boot_entries::digests::Digests;
use boot_entries::systemd_boot::{FALLBACK, Installed, SYSTEMD};
use lastgood::system::bootctl::Bootctl;
use lastgood_tests::faults::{self, Fault};
use lastgood_tests::files;
use lastgood_tests::mounts::Mounts;
use lastgood_tests::tree::Tree;

use super::ok;

/// Debian's own, and an EFI program that is none.
const LOADER: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
const MARK: &[u8] = b"#### LoaderInfo: systemd-boot ";

/// Debian's loader, calling itself `version`.
pub(super) fn patched(version: &str) -> Result<Vec<u8>> {
    let mut bytes = fs::read(LOADER)?;
    let at = bytes.windows(MARK.len()).position(|w| w == MARK);
    let at = at.context("no mark")?;
    let end = at + bytes[at..].iter().position(|b| *b == 0).context("no end")?;
    let text = [MARK, version.as_bytes(), b" ####"].concat();
    ensure!(text.len() <= end - at, "{version} is too long");
    bytes[at..end].fill(0);
    bytes[at..at + text.len()].copy_from_slice(&text);
    Ok(bytes)
}

/// The next generation, whose systemd is of this version. As in NixOS, it is a package of its own.
fn generation(tree: &Tree, name: &str, version: &str) -> Result<Vec<u8>> {
    let bytes = patched(version)?;
    let place = format!("opt/systemd-{version}/lib/systemd/boot/efi/systemd-bootx64.efi");
    files::write(&tree.path(&place), &bytes)?;
    let link = format!("/bin/busybox ln -s /opt/systemd-{version} $out/systemd");
    tree.set(&tree.build(name, &link)?)?;
    Ok(bytes)
}

fn copies(tree: &Tree) -> Result<[Vec<u8>; 2]> {
    let read = |path| fs::read(tree.path("boot").join(path));
    Ok([read(SYSTEMD)?, read(FALLBACK)?])
}

/// A peer stops half-way at Debian's version of the loader; others compare versions as texts, and never look again.
#[test]
fn the_loader_is_updated_mended_and_never_replaced_by_an_older_one() -> Result<()> {
    let tree = Tree::new()?;
    let mut last = copies(&tree)?;
    for (number, version) in ["252.39-1~deb12u3", "253~rc1", "253"].iter().enumerate() {
        let new = generation(&tree, &number.to_string(), version)?;
        let ended = tree.lastgood(&["install"])?;
        ok(&ended);
        last = [new.clone(), new];
        assert!(copies(&tree)? == last, "{version}: {ended:?}");
        let before = tree.stamps()?;
        assert!(ok(&tree.lastgood(&["install"])?).contains("nothing to do"));
        assert_eq!(tree.stamps()?, before, "{version}");
    }
    // What a power cut, a bad disk or a careless hand leaves.
    for (path, damage) in [(SYSTEMD, &last[0][..70_000]), (FALLBACK, &[][..])] {
        files::write(&tree.path("boot").join(path), damage)?;
        assert!(ok(&tree.lastgood(&["install"])?).contains("1 change"));
        assert!(copies(&tree)? == last, "{path}");
    }
    fs::remove_file(tree.path("boot").join(FALLBACK))?;
    // What a boot does mends, too, and brings no other loader.
    generation(&tree, "newer", "257")?;
    ok(&tree.lastgood(&["good", "3"])?);
    assert!(copies(&tree)? == last);
    generation(&tree, "older", "252.39-1~deb12u1")?;
    ok(&tree.lastgood(&["install"])?);
    assert!(copies(&tree)? == last);
    Ok(())
}

#[test]
fn somebody_elses_fallback_is_left_alone() -> Result<()> {
    let tree = Tree::new()?;
    let stub = fs::read(STUB)?;
    files::write(&tree.path("boot").join(FALLBACK), &stub)?;
    let new = generation(&tree, "1", "257.6")?;
    ok(&tree.lastgood(&["install"])?);
    assert!(copies(&tree)? == [new, stub]);
    assert!(ok(&tree.lastgood(&["install"])?).contains("nothing to do"));
    Ok(())
}

/// Each is bootable by itself, also by firmware that knows of no entry there; with a closure that brings no loader.
#[test]
fn a_new_mirror_gets_the_loader() -> Result<()> {
    let tree = Tree::new()?;
    let says = r#"printf '%s\n' '[boot]' 'mirrors = ["/boot2"]' > $out/etc/lastgood/lastgood.toml"#;
    tree.set(&tree.build("1", says)?)?;
    fs::create_dir(tree.path("boot2"))?;
    let ended = tree.lastgood(&["install"])?;
    ok(&ended);
    assert!(ended.stderr.contains("random seed"), "{ended:?}");
    let read = |path| fs::read(tree.path("boot2").join(path));
    assert!([read(SYSTEMD)?, read(FALLBACK)?] == copies(&tree)?);
    assert!(ok(&tree.lastgood(&["install"])?).contains("nothing to do"));
    // The disk was replaced: what a boot does is enough.
    fs::remove_dir_all(tree.path("boot2/EFI"))?;
    ok(&tree.lastgood(&["good", "1"])?);
    assert!([read(SYSTEMD)?, read(FALLBACK)?] == copies(&tree)?);
    Ok(())
}

/// Killed, and given a full disk and an I/O error, at every call of an update that changes the ESP.
#[test]
fn no_fault_leaves_a_machine_without_a_loader() -> Result<()> {
    let machine = Tree::new()?;
    machine.set(&machine.build("1", "")?)?;
    ok(&machine.lastgood(&["install"])?);
    let new = generation(&machine, "1", "257.6")?;
    fs::remove_dir_all(machine.path("nix/var/nix/db"))?;
    let calls = faults::calls(&machine.copy()?, &["install"])?;
    let of_loader = |path: &str| path.contains("/EFI/systemd") || path.contains("/EFI/BOOT");
    let calls: Vec<_> = calls.iter().filter(|call| of_loader(&call.path)).collect();
    ensure!(calls.len() >= 2 * 7, "{calls:?}");
    for call in calls {
        for fault in Fault::ALL.into_iter().filter(|fault| fault.can_hit(call)) {
            let tree = machine.copy()?;
            let ended = faults::run(&tree, &["install"], call, fault)?;
            ensure!(ended.status != 0, "{fault:?} at {call}: {ended:?}");
            let left = Installed::read(&tree.path("boot"), &mut Digests::default())?;
            let whole = [&left.systemd, &left.fallback].map(|place| place.image().is_some());
            ensure!(whole == [true, true], "{fault:?} at {call}: {left:?}");
            ok(&tree.lastgood(&["install"])?);
            let done = Installed::read(&tree.path("boot"), &mut Digests::default())?;
            ensure!(
                copies(&tree)? == [new.clone(), new.clone()] && done.leftovers.is_empty(),
                "{fault:?} at {call}"
            );
        }
    }
    Ok(())
}

/// Everything that is asked of the real bootctl, but for the firmware's variables, which only a machine has.
#[test]
fn the_real_bootctl_installs_and_completes() -> Result<()> {
    let mounts = Mounts::private()?;
    let tree = Tree::new()?;
    for name in ["esp", "other"] {
        fs::create_dir(tree.path(name))?;
        mounts.sized(&tree.path(name), "4m")?;
    }
    // It looks for a FAT file system otherwise, which not every kernel has.
    let program = tree.path("closure/systemd/bin/bootctl");
    files::write(
        &program,
        "#!/bin/sh\nSYSTEMD_RELAX_ESP_CHECKS=1 exec bootctl \"$@\"\n",
    )?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let bootctl = Bootctl::find(&Root::new(tree.path("")), Some(Path::new("/closure")));
    let place = |name: &str| Place {
        esp: tree.path(name),
        boot: tree.path(name),
        ..Place::default()
    };
    bootctl.install(&place("esp"), false)?;
    let installed = Installed::read(&tree.path("esp"), &mut Digests::default())?;
    assert!(installed.systemd.image().is_some(), "{installed:?}");
    assert_eq!(installed.systemd.image(), installed.fallback.image());
    assert!(fs::metadata(tree.path("esp/loader/random-seed"))?.len() > 0);

    // The loader is copied already, beside somebody else's fallback, which `install` would overwrite.
    let stub = fs::read(STUB)?;
    files::write(&tree.path("other").join(FALLBACK), &stub)?;
    files::write(&tree.path("other").join(SYSTEMD), fs::read(LOADER)?)?;
    // It makes no directory when it only updates. The entries are there by then.
    fs::create_dir_all(tree.path("other/loader/entries"))?;
    bootctl.complete(&place("other"), false)?;
    assert!(fs::read(tree.path("other").join(FALLBACK))? == stub);
    assert!(fs::metadata(tree.path("other/loader/random-seed"))?.len() > 0);
    bootctl.install(&place("other"), false)?;
    assert!(
        fs::read(tree.path("other").join(FALLBACK))? != stub,
        "then `complete` is not needed"
    );
    Ok(())
}
