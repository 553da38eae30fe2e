//! The faults that were measured in other installers, each shown not to be ours.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use lastgood_tests::mounts::Mounts;
use lastgood_tests::tree::Tree;
use lastgood_tests::{command, files};
use serde_json::Value;

use super::steps::boot;
use super::{boots, json, ok, refused};

/// Two generations, of which the first is proven and the second a trial.
fn machine() -> Result<Tree> {
    let tree = Tree::new()?;
    tree.generations(2)?;
    ok(&tree.lastgood(&["install", "1"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    ok(&tree.lastgood(&["install", "2"])?);
    Ok(tree)
}

fn payload(tree: &Tree, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = files::sorted_entries(&tree.path("boot/EFI/lastgood"))?;
    found.retain(|path| path.to_string_lossy().ends_with(ending));
    Ok(found)
}

/// A temporary file that a crash left behind stops nobody, whoever made it, and ours do not pile up.
#[test]
fn a_stuck_temporary_file_stops_no_run() -> Result<()> {
    let tree = machine()?;
    let ours = [
        "loader/.lastgood-loader.conf.part",
        "loader/entries/.lastgood-x.part",
        "EFI/lastgood/.lastgood-y.part",
    ];
    let theirs = [
        "loader/loader.tmp",
        "loader/entries/nixos-1.conf.tmp",
        "EFI/lastgood/z.tmp",
    ];
    for path in ours.iter().chain(&theirs) {
        files::write(&tree.path("boot").join(path), "half of it")?;
    }
    // The very file that the next run would write is one of them.
    fs::remove_file(tree.path("boot/loader/loader.conf"))?;
    ok(&tree.lastgood(&["install"])?);
    for path in ours {
        assert!(
            !tree.path("boot").join(path).is_file(),
            "{path} is still there"
        );
    }
    for path in theirs {
        assert!(
            tree.path("boot").join(path).is_file(),
            "{path} is not ours to remove"
        );
    }
    assert!(ok(&tree.lastgood(&["install"])?).contains("nothing to do"));
    Ok(())
}

/// Another time zone, another machine id, a profile restored from a backup: the same generations, with their marks.
#[test]
fn what_is_no_part_of_a_generation_changes_no_entry() -> Result<()> {
    let tree = machine()?;
    files::write(
        &tree.path("etc/machine-id"),
        "11111111111111111111111111111111\n",
    )?;
    ok(&tree.lastgood(&["install"])?);
    let before = tree.stamps()?;
    files::write(
        &tree.path("etc/machine-id"),
        "22222222222222222222222222222222\n",
    )?;
    let links = files::sorted_entries(&tree.path("nix/var/nix/profiles"))?;
    let touch = ["-h", "-d", "2001-02-03 04:05"].map(AsRef::as_ref);
    command::run(
        "touch",
        touch
            .into_iter()
            .chain(links.iter().map(|link| link.as_os_str())),
    )?;
    for zone in ["Pacific/Kiritimati", "Etc/GMT+12", "nonsense"] {
        let ended = tree.lastgood_in(&[("TZ", zone), ("LANG", "tr_TR.UTF-8")], &["install"])?;
        assert!(ok(&ended).contains("nothing to do"), "{zone}: {ended:?}");
    }
    assert_eq!(tree.stamps()?, before);
    assert_eq!(boots(&tree, 3)?, ["2", "2", "2", "1"]);
    Ok(())
}

/// A file that is truncated, empty, flipped or gone is noticed, named and mended, by `verify` as well as by any run.
#[test]
fn damage_is_noticed_named_and_mended() -> Result<()> {
    let tree = machine()?;
    assert!(ok(&tree.lastgood(&["verify"])?).contains("whole"));
    let initrd = payload(&tree, "-initrd")?.remove(0);
    let kernel = payload(&tree, "-kernel.efi")?.remove(0);
    let entry = tree.path("boot/loader/entries").join(tree.entry_of(1)?);
    let settings = tree.path("boot/loader/loader.conf");
    for file in &[initrd, kernel, entry.clone(), settings.clone()] {
        let whole = fs::read(file)?;
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        let name = file.file_name().unwrap().to_str().unwrap();
        // The last good entry is not rewritten for what changes no boot (B3), and settings may have lines of the
        // operator's: a letter more or less there is no damage.
        let is_text = *file == entry || *file == settings;
        let harmless = if is_text { 2 } else { 0 };
        let damages = [
            Some(&whole[..whole.len() - 1]),
            Some(&flipped),
            Some(&[][..]),
            None,
        ];
        for damage in &damages[harmless..] {
            for repair in [&["verify", "--repair"][..], &["install"]] {
                match damage {
                    Some(bytes) => files::write(file, bytes)?,
                    None => fs::remove_file(file)?,
                }
                let noticed = tree.lastgood(&["verify", "--json"])?;
                assert_eq!(noticed.status, 1, "{name}: {noticed:?}");
                let told: Value = serde_json::from_str(&noticed.stdout)?;
                let finding = &told["places"][0]["findings"][0];
                assert!(
                    finding["path"].as_str().unwrap().ends_with(name),
                    "{told:#}"
                );
                let word = if damage.is_none() {
                    "missing"
                } else {
                    "damaged"
                };
                assert_eq!(finding["wrong"], word, "{told:#}");
                assert_eq!(
                    (&told["whole"], &told["repaired"]),
                    (&false.into(), &false.into())
                );
                ok(&tree.lastgood(repair)?);
                assert_eq!(fs::read(file)?, whole, "{name} after {repair:?}");
            }
        }
    }
    let twice = tree.lastgood(&["verify", "--repair", "--json"])?;
    let told: Value = serde_json::from_str(ok(&twice))?;
    assert_eq!(
        (&told["whole"], &told["repaired"]),
        (&true.into(), &false.into())
    );
    Ok(())
}

/// What does not fit is refused with figures, before anything has changed, and leaves nothing behind.
#[test]
fn a_full_esp_is_noticed_before_anything_is_written() -> Result<()> {
    let mounts = Mounts::private()?;
    let tree = machine()?;
    let big = tree.build("big", &with_initrd(8))?;
    tree.set(&big)?;
    mounts.sized(&tree.path("boot"), "4m")?;
    let before = tree.stamps()?;
    refused(&tree.lastgood(&["install"])?, &["$BOOT", "bytes", "free"]);
    let after = tree.stamps()?;
    let on_boot = |stamps: &std::collections::BTreeMap<PathBuf, _>| {
        stamps
            .keys()
            .filter(|path| path.starts_with(tree.path("boot")))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(on_boot(&before), on_boot(&after));
    assert_eq!(boots(&tree, 3)?, ["2", "2", "2", "1"]);
    Ok(())
}

/// Shell commands that give a closure an initrd of its own, of so many MiB.
fn with_initrd(mebibytes: u32) -> String {
    format!(
        "/bin/busybox rm $out/initrd; /bin/busybox dd if=/dev/urandom of=$out/initrd bs=1M count={mebibytes} 2>/dev/null; \
         /bin/busybox sed -i \"s|\\\"initrd\\\":\\\"[^\\\"]*\\\"|\\\"initrd\\\":\\\"$out/initrd\\\"|\" $out/boot.json"
    )
}

/// 64 MiB, of which two generations take 52: install, upgrade, and back because it is no good, twenty times over.
#[test]
fn a_small_esp_serves_for_ever() -> Result<()> {
    let mounts = Mounts::private()?;
    let tree = Tree::new()?;
    mounts.sized(&tree.path("boot"), "64m")?;
    let first = upgrade(&tree, 1, "")?;
    proves_itself(&tree, 1, &first, 1)?;
    for number in 2..=21 {
        let toplevel = upgrade(&tree, number, "")?;
        let next = json(&tree.lastgood(&["next-boot", "--json", "--failures", "3"])?);
        assert_eq!(
            (&next[0]["generation"], &next[3]["generation"]),
            (&number.into(), &1.into())
        );
        tree.count_a_boot(number)?;
        boot(&tree, &toplevel, u32::try_from(number)?)?;
        ok(&tree.lastgood(&["step", "fall-back"])?);
        assert_eq!(boots(&tree, 2)?, ["1"; 3]);
        boot(&tree, &first, u32::try_from(number + 100)?)?;
        ok(&tree.lastgood(&["verify"])?);
    }
    Ok(())
}

/// The same where every upgrade is good, and each is gone back from and forth to again. Three proven generations do not
/// fit: the operator has said that two need not stay.
#[test]
fn a_small_esp_serves_good_upgrades_if_it_may() -> Result<()> {
    let may = "printf '[boot]\\nkeep-second-proven = false\\n' > $out/etc/lastgood/lastgood.toml";
    let mounts = Mounts::private()?;
    let tree = Tree::new()?;
    mounts.sized(&tree.path("boot"), "64m")?;
    let mut former = upgrade(&tree, 1, may)?;
    proves_itself(&tree, 1, &former, 1)?;
    let mut number_of_boots = 1;
    for number in 2..=21 {
        let toplevel = upgrade(&tree, number, may)?;
        let mut steps = vec![(number, &toplevel)];
        steps.extend([(number - 1, &former), (number, &toplevel)]);
        for (number, toplevel) in steps {
            ok(&tree.lastgood(&["install", &number.to_string()])?);
            number_of_boots += 1;
            proves_itself(&tree, number, toplevel, number_of_boots)?;
        }
        ok(&tree.lastgood(&["verify"])?);
        former = toplevel;
    }
    // Without that word it is refused, with figures and what to do, and nothing has changed.
    let before = tree.stamps()?;
    let strict = tree.build("strict", &with_initrd(26))?;
    tree.set(&strict)?;
    refused(
        &tree.lastgood(&["install"])?,
        &[
            "$BOOT is too small",
            "21 (the last good one)",
            "lastgood bad 20",
            "keep-second-proven",
        ],
    );
    let is_boot = |path: &PathBuf| path.starts_with(tree.path("boot"));
    let of_boot = |stamps: std::collections::BTreeMap<PathBuf, _>| {
        stamps
            .into_iter()
            .filter(|(path, _)| is_boot(path))
            .collect::<Vec<_>>()
    };
    assert!(of_boot(before) == of_boot(tree.stamps()?));
    Ok(())
}

/// A new generation, selected.
fn upgrade(tree: &Tree, number: u64, more: &str) -> Result<PathBuf> {
    let toplevel = tree.build(&number.to_string(), &format!("{}; {more}", with_initrd(26)))?;
    tree.set(&toplevel)?;
    let ended = tree.lastgood(&["install"])?;
    assert_eq!(ended.status, 0, "upgrade to {number}: {ended:?}");
    Ok(toplevel)
}

/// It boots, and the operator is content.
fn proves_itself(tree: &Tree, number: u64, toplevel: &Path, boot_number: u32) -> Result<()> {
    if tree.entry_of(number)?.contains('+') {
        tree.count_a_boot(number)?;
    }
    boot(tree, toplevel, boot_number)?;
    ok(&tree.lastgood(&["good"])?);
    let number = number.to_string();
    assert_eq!(boots(tree, 2)?, [&*number; 3]);
    Ok(())
}
