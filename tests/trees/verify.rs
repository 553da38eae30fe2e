//! What `verify` sees, and what stands in the way of mending.

use std::fs;
use std::path::Path;

use anyhow::Result;
use lastgood_tests::files;
use lastgood_tests::mounts::Mounts;
use lastgood_tests::tree::Tree;
use serde_json::{Value, json};

use super::places::says;
use super::steps::boot;
use super::{boots, ok, refused};

pub(super) fn initrds(tree: &Tree) -> Result<Vec<std::path::PathBuf>> {
    let mut found = files::sorted_entries(&tree.path("boot/EFI/lastgood"))?;
    found.retain(|path| path.to_string_lossy().ends_with("-initrd"));
    Ok(found)
}

/// The initrd that a store path of a closure names.
pub(super) fn initrd_in_store(tree: &Tree, toplevel: &Path) -> Result<std::path::PathBuf> {
    let inside = tree.path(toplevel.strip_prefix("/")?.to_str().unwrap());
    let target = fs::read_link(inside.join("initrd"))?;
    Ok(tree.path(target.strip_prefix("/")?.to_str().unwrap()))
}

/// Before anything was installed there is nothing to be whole, and nothing is taken over by mending.
#[test]
fn where_nothing_was_installed_nothing_is_mended() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(1)?;
    let before = tree.stamps();
    refused(
        &tree.lastgood(&["verify", "--repair"])?,
        &["nothing of ours is on $BOOT yet", "install"],
    );
    assert!(!tree.path("boot/loader").is_dir(), "{before:?}");
    Ok(())
}

#[test]
fn a_machine_without_a_loader_is_not_whole() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(1)?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["verify"])?);
    for copy in ["EFI/systemd/systemd-bootx64.efi", "EFI/BOOT/BOOTX64.EFI"] {
        files::write(&tree.path("boot").join(copy), "MZ")?;
    }
    let words = ["/boot", "no systemd-boot that could be started"];
    refused(&tree.lastgood(&["verify"])?, &words);
    refused(&tree.lastgood(&["install"])?, &words);
    Ok(())
}

/// What one generation lacks in the store keeps no other from being mended, and is told.
#[test]
fn an_unreadable_selected_generation_stops_no_mending() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = tree.generations(2)?;
    ok(&tree.lastgood(&["install", "1"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    ok(&tree.lastgood(&["install", "2"])?);
    fs::remove_file(initrd_in_store(&tree, &toplevels[1])?)?;
    let whole = b"initrd of 1\n";
    let mut all = initrds(&tree)?.into_iter();
    let first = all.find(|path| fs::read(path).is_ok_and(|bytes| bytes == whole));
    let first = first.unwrap();
    files::write(&first, "rotten")?;
    refused(
        &tree.lastgood(&["verify", "--repair"])?,
        &["generation 2 cannot be booted"],
    );
    assert_eq!(fs::read(&first)?, whole);
    Ok(())
}

#[test]
fn an_extra_file_that_is_gone_stops_no_mending() -> Result<()> {
    let tree = Tree::new()?;
    let extra = "printf '[boot.extra-files]\\n\"EFI/m.efi\" = \"m\"\\n' > $out/etc/lastgood/lastgood.toml; echo m > $out/m";
    let toplevel = tree.build("1", extra)?;
    tree.set(&toplevel)?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    fs::remove_file(tree.path(toplevel.strip_prefix("/")?.join("m").to_str().unwrap()))?;
    let initrd = initrds(&tree)?.remove(0);
    let whole = fs::read(&initrd)?;
    files::write(&initrd, "rotten")?;
    ok(&tree.lastgood(&["verify", "--repair"])?);
    assert_eq!(fs::read(&initrd)?, whole);
    assert!(tree.path("boot/EFI/m.efi").is_file(), "what is there stays");
    refused(&tree.lastgood(&["install"])?, &["extra file EFI/m.efi"]);
    Ok(())
}

/// A mirror that comes with a trial hears of the verdict on it.
#[test]
fn a_mirror_that_a_trial_brought_hears_the_verdict() -> Result<()> {
    let tree = Tree::new()?;
    let first = tree.build("1", "")?;
    tree.set(&first)?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    fs::create_dir(tree.path("boot2"))?;
    let mirrored = "printf '[boot]\\nmirrors = [\"/boot2\"]\\n' > $out/etc/lastgood/lastgood.toml";
    let second = tree.build("2", mirrored)?;
    tree.set(&second)?;
    ok(&tree.lastgood(&["install"])?);
    boot(&tree, &second, 1)?;
    ok(&tree.lastgood(&["step", "fall-back"])?);
    let names = |place: &str| -> Result<Vec<String>> {
        let entries = files::sorted_entries(&tree.path(place).join("loader/entries"))?;
        Ok(entries
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect())
    };
    assert_eq!(names("boot2")?, names("boot")?);
    assert_eq!(boots(&tree, 1)?, ["1", "1"]);
    Ok(())
}

/// What happened to each file is told, whatever happened elsewhere.
#[test]
fn a_read_only_boot_partition_keeps_no_mirror_from_being_mended() -> Result<()> {
    let mounts = Mounts::private()?;
    let tree = Tree::new()?;
    let toplevel = tree.build("1", &says(r#"mirrors = ["/boot2"]"#))?;
    tree.set(&toplevel)?;
    fs::create_dir(tree.path("boot2"))?;
    mounts.sized(&tree.path("boot"), "16m")?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    let initrd = initrds(&tree)?.remove(0);
    let mirrored = tree
        .path("boot2/EFI/lastgood")
        .join(initrd.file_name().unwrap());
    let whole = fs::read(&initrd)?;
    for file in [&initrd, &mirrored] {
        files::write(file, "rotten")?;
    }
    mounts.read_only(&tree.path("boot"))?;

    let ended = tree.lastgood(&["verify", "--repair", "--json"])?;
    let words = [
        "1 file is not as it should be and could not be mended",
        "read-only",
    ];
    refused(&ended, &words);
    let told: Value = serde_json::from_str(&ended.stdout)?;
    assert_eq!([&told["whole"], &told["repaired"]], [false, true]);
    for (at, name, mended) in [(0, "/boot", false), (1, "/boot2", true)] {
        let place = &told["places"][at];
        assert_eq!(place["name"], name);
        let findings = place["findings"].as_array().unwrap();
        assert_eq!(findings.len(), 1, "{told}");
        assert_eq!(
            [&findings[0]["wrong"], &findings[0]["mended"]],
            [&json!("damaged"), &json!(mended)]
        );
    }
    assert_eq!(fs::read(&mirrored)?, whole);

    files::write(&mirrored, "rotten")?;
    let ended = tree.lastgood(&["verify", "--repair"])?;
    refused(&ended, &words);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(lines[0].ends_with("damaged, not mended"), "{ended:?}");
    assert!(lines[1].ends_with("not whole"), "{ended:?}");
    assert!(lines[2].ends_with("damaged, mended"), "{ended:?}");
    assert!(lines[3].ends_with("whole again"), "{ended:?}");
    Ok(())
}

/// Entries that nothing is known of: each command says so, none guesses, and the operator's word is what helps.
#[test]
fn a_machine_whose_record_is_lost_says_so() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(3)?;
    ok(&tree.lastgood(&["install", "1"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    ok(&tree.lastgood(&["install", "2"])?);
    let kept: Value = serde_json::from_str(ok(&tree.lastgood(&["status", "--json"])?))?;
    assert_eq!(kept["lostRecord"], Value::Null);
    fs::remove_file(tree.path("var/lib/lastgood/ledger.jsonl"))?;
    let payload = initrds(&tree)?;
    files::write(&payload[0], "rotten")?;
    fs::remove_file(&payload[1])?;

    let lost = [
        "/var/lib/lastgood/ledger.jsonl is gone",
        "3 of our entries",
        "`lastgood good NUMBER`",
    ];
    let told: Value = serde_json::from_str(ok(&tree.lastgood(&["status", "--json"])?))?;
    for word in lost {
        assert!(
            told["lostRecord"].as_str().unwrap().contains(word),
            "{told}"
        );
    }
    assert!(ok(&tree.lastgood(&["status"])?).contains("is gone or says nothing"));
    refused(&tree.lastgood(&["why"])?, &lost);
    let before = tree.stamps()?;
    let ended = tree.lastgood(&["verify", "--repair", "--json"])?;
    refused(&ended, &lost);
    let told: Value = serde_json::from_str(&ended.stdout)?;
    let findings = &told["places"][0]["findings"];
    for (at, wrong) in [(0, "damaged"), (1, "missing")] {
        let name = payload[at].file_name().unwrap().to_str().unwrap();
        let expected =
            json!({"path": format!("EFI/lastgood/{name}"), "wrong": wrong, "mended": false});
        assert_eq!(findings[at], expected);
    }
    assert_eq!(findings.as_array().unwrap().len(), 2);
    assert_eq!(tree.stamps()?, before, "nothing is written on a guess");

    ok(&tree.lastgood(&["good", "1"])?);
    ok(&tree.lastgood(&["verify"])?);
    ok(&tree.lastgood(&["install", "2"])?);
    assert_eq!(boots(&tree, 6)?, ["2", "2", "2", "1", "1", "1", "1"]);
    Ok(())
}

/// Nobody has asked for it: no boot needs it.
#[test]
fn a_generation_that_was_only_built_is_nothing_amiss() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(2)?;
    ok(&tree.lastgood(&["install"])?);
    let status = || -> Result<Value> {
        Ok(serde_json::from_str(ok(
            &tree.lastgood(&["status", "--json"])?
        ))?)
    };
    assert_eq!(status()?["profileAhead"], Value::Null);
    tree.set(&tree.build("3", "")?)?;
    for verify in [&["verify"][..], &["verify", "--repair"]] {
        ok(&tree.lastgood(verify)?);
    }
    assert_eq!(tree.entries()?.len(), 2);
    assert_eq!(status()?["profileAhead"]["generation"], "3");
    let words = "is at generation 3, which is not selected; `lastgood install` selects it";
    let told = ok(&tree.lastgood(&["status"])?).to_owned();
    for words in words.split("; ") {
        assert!(told.contains(words), "{told}");
    }
    let told = tree.lastgood(&["next-boot"])?;
    ok(&told);
    assert!(told.stderr.contains(words), "{told:?}");

    // An entry that was there is missed.
    let first = tree.entry_of(1)?;
    fs::remove_file(tree.path("boot/loader/entries").join(&first))?;
    refused(
        &tree.lastgood(&["verify"])?,
        &["1 file is not as it should be"],
    );
    ok(&tree.lastgood(&["verify", "--repair"])?);
    assert!(tree.entries()?.contains(&first));

    ok(&tree.lastgood(&["install"])?);
    assert_eq!(status()?["profileAhead"], Value::Null);
    assert_eq!(tree.entries()?.len(), 3);
    // What was rejected is nothing to select.
    ok(&tree.lastgood(&["good", "2"])?);
    ok(&tree.lastgood(&["bad", "3"])?);
    assert_eq!(status()?["profileAhead"], Value::Null);
    Ok(())
}
