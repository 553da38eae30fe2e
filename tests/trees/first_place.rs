//! A first place that cannot be written stops no mirror, and nothing is concluded from entries that heard of no
//! selection.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use lastgood_tests::files;
use lastgood_tests::mounts::Mounts;
use lastgood_tests::tree::Tree;
use serde_json::Value;

use super::places::{machine, place, says};
use super::steps::boot;
use super::{boots, ok, refused};

const MIRRORED: &str = r#"mirrors = ["/boot2"]"#;

/// Generation 1 is proven in two places, generation 2 is in the profile, and what [`Mounts`] mounts at `/boot` has
/// `size`.
fn mirrored(mounts: &Mounts, size: &str) -> Result<(Tree, Vec<PathBuf>)> {
    let tree = Tree::new()?;
    fs::create_dir(tree.path("boot2"))?;
    mounts.sized(&tree.path("boot"), size)?;
    let mut toplevels = Vec::new();
    for number in ["1", "2"] {
        let toplevel = tree.build(number, &says(MIRRORED))?;
        tree.set(&toplevel)?;
        if number == "1" {
            ok(&tree.lastgood(&["install"])?);
            ok(&tree.lastgood(&["good", "1"])?);
        }
        toplevels.push(toplevel);
    }
    Ok((tree, toplevels))
}

fn ledger(tree: &Tree) -> Result<String> {
    Ok(fs::read_to_string(
        tree.path("var/lib/lastgood/ledger.jsonl"),
    )?)
}

/// The names of the entries of a generation in a place.
fn entries(tree: &Tree, place: &str, number: u64) -> Result<Vec<String>> {
    let entries = files::sorted_entries(&tree.path(place).join("loader/entries"))?;
    let names = entries.iter().filter_map(|path| path.file_name()?.to_str());
    let names = names.filter(|name| name.starts_with(&format!("lastgood-{number}-")));
    Ok(names.map(str::to_owned).collect())
}

#[test]
fn one_that_is_read_only_stops_no_mirror() -> Result<()> {
    let mounts = Mounts::private()?;
    let (tree, _) = mirrored(&mounts, "16m")?;
    mounts.read_only(&tree.path("boot"))?;
    let before = place(&tree, "boot")?;
    let words = [
        "/boot is mounted read-only",
        "generation 2 is selected, and is installed in /boot2 only",
        "but lastgood-1-",
        "boots next",
    ];
    refused(&tree.lastgood(&["install"])?, &words);
    assert_eq!(place(&tree, "boot")?, before);
    assert!(entries(&tree, "boot2", 2)?[0].ends_with("+3-0.conf"));
    let said = tree.lastgood(&["install", "--dry-run"])?;
    refused(&said, &["/boot is mounted read-only"]);

    // What the mirror counts stays counted, and the other one gets what it has missed.
    let counted = tree.path("boot2/loader/entries");
    let name = entries(&tree, "boot2", 2)?.remove(0);
    fs::rename(
        counted.join(&name),
        counted.join(name.replace("+3-0", "+2-1")),
    )?;
    mounts.writable(&tree.path("boot"))?;
    assert!(ok(&tree.lastgood(&["install"])?).contains("generation 2 (trial) boots next"));
    assert!(entries(&tree, "boot", 2)?[0].ends_with("+3-0.conf"));
    assert!(entries(&tree, "boot2", 2)?[0].ends_with("+2-1.conf"));
    let armed = ledger(&tree)?;
    assert!(ok(&tree.lastgood(&["install"])?).contains("nothing to do"));
    assert_eq!(ledger(&tree)?, armed);
    Ok(())
}

/// A generation is tried once more, and the loader never hears of it: that it passes it over is no verdict.
#[test]
fn nothing_is_rejected_for_an_entry_that_was_not_written() -> Result<()> {
    let mounts = Mounts::private()?;
    let (tree, toplevels) = mirrored(&mounts, "16m")?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["bad", "2"])?);
    mounts.read_only(&tree.path("boot"))?;
    refused(
        &tree.lastgood(&["install", "2", "--again"])?,
        &["installed in /boot2 only", "lastgood-1-"],
    );
    assert!(entries(&tree, "boot", 2)?[0].contains("+0-"));
    assert!(entries(&tree, "boot2", 2)?[0].contains("+3-0"));
    boot(&tree, &toplevels[0], 1)?;
    let status = |tree: &Tree| -> Result<Value> {
        Ok(serde_json::from_str(ok(
            &tree.lastgood(&["status", "--json"])?
        ))?)
    };
    assert_eq!(status(&tree)?["rejected"], serde_json::json!([]));
    assert_eq!(status(&tree)?["selected"]["generation"], "2");

    // Where it was written, the counter means what it says.
    mounts.writable(&tree.path("boot"))?;
    ok(&tree.lastgood(&["install", "2"])?);
    assert_eq!(boots(&tree, 0)?, ["2"]);
    for _ in 0..3 {
        tree.count_a_boot(2)?;
    }
    boot(&tree, &toplevels[0], 2)?;
    assert_eq!(status(&tree)?["rejected"][0]["generation"], "2");
    Ok(())
}

#[test]
fn one_that_is_full_or_cannot_be_read_stops_no_mirror() -> Result<()> {
    let mounts = Mounts::private()?;
    let tree = machine(1, MIRRORED)?;
    fs::create_dir(tree.path("boot2"))?;
    let loader = fs::metadata(tree.path("boot/EFI/BOOT/BOOTX64.EFI"))?.len();
    let size = format!("{}k", 2 * loader / 1024 + 80);
    mounts.sized(&tree.path("boot"), &size)?;
    let before = place(&tree, "boot")?;
    let words = [
        "/boot: $BOOT is too small",
        "generation 1 is selected, and is installed in /boot2 only, but no entry can be started",
    ];
    refused(&tree.lastgood(&["install"])?, &words);
    assert_eq!(place(&tree, "boot")?, before);
    assert_eq!(entries(&tree, "boot2", 1)?.len(), 1);

    files::write(&tree.path("boot/loader/entries"), "no directory")?;
    fs::remove_dir_all(tree.path("boot2/EFI/lastgood"))?;
    let words = [
        "cannot read",
        "/boot2 only, but what boots next cannot be told",
    ];
    refused(&tree.lastgood(&["install"])?, &words);
    assert!(tree.path("boot2/EFI/lastgood").is_dir());
    refused(&tree.lastgood(&["verify"])?, &["cannot read"]);
    Ok(())
}

#[test]
fn a_first_place_that_is_missing_stops_no_mirror() -> Result<()> {
    let mounts = Mounts::private()?;
    let (tree, _) = mirrored(&mounts, "16m")?;
    mounts.sized(&tree.path("boot"), "16m")?;
    // What is a mount point only in life is no directory in a tree.
    let named = tree.build("3", &says("esp = \"/boot1\"\nmirrors = [\"/boot2\"]"))?;
    tree.set(&named)?;
    let words = [
        "/boot1, which lastgood.toml names, is not a directory",
        "generation 3 is selected, and is installed in /boot2 only",
        "what boots next cannot be told",
    ];
    refused(&tree.lastgood(&["install"])?, &words);
    refused(&tree.lastgood(&["next-boot"])?, &words[..1]);
    assert_eq!(entries(&tree, "boot2", 3)?.len(), 1);
    fs::create_dir(tree.path("boot1"))?;
    fs::rename(tree.path("boot2/EFI"), tree.path("boot1/EFI"))?;
    ok(&tree.lastgood(&["install"])?);
    assert_eq!(place(&tree, "boot1")?, place(&tree, "boot2")?);
    assert_eq!(boots(&tree, 0)?, ["3"]);
    Ok(())
}

/// A request that can be granted nowhere, or should be granted nowhere, changes nothing anywhere; nor is a machine half
/// given back.
#[test]
fn a_refusal_changes_no_place_and_no_ledger() -> Result<()> {
    let mounts = Mounts::private()?;
    let (tree, toplevels) = mirrored(&mounts, "16m")?;
    mounts.sized(&tree.path("boot2"), "16m")?;
    let state = |tree: &Tree| -> Result<_> {
        Ok((ledger(tree)?, place(tree, "boot")?, place(tree, "boot2")?))
    };
    let before = state(&tree)?;
    mounts.read_only(&tree.path("boot"))?;
    refused(
        &tree.lastgood(&["uninstall"])?,
        &["/boot is mounted read-only"],
    );
    assert_eq!(state(&tree)?, before);
    mounts.read_only(&tree.path("boot2"))?;
    let ended = tree.lastgood(&["install"])?;
    refused(&ended, &["/boot is mounted read-only"]);
    assert!(
        ended.stderr.contains("/boot2 is mounted read-only"),
        "{ended:?}"
    );
    assert_eq!(state(&tree)?, before);

    for name in ["boot", "boot2"] {
        mounts.writable(&tree.path(name))?;
    }
    let initrd = tree.path(
        toplevels[1]
            .strip_prefix("/")?
            .join("initrd")
            .to_str()
            .unwrap(),
    );
    let target = fs::read_link(&initrd)?;
    fs::remove_file(tree.path(target.strip_prefix("/")?.to_str().unwrap()))?;
    refused(
        &tree.lastgood(&["install"])?,
        &["generation 2 cannot be booted"],
    );
    assert_eq!(state(&tree)?, before);
    Ok(())
}
