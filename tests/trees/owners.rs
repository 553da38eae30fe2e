//! Two systems with lastgood on one `$BOOT`: a rescue system, a second root. Each always boots its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use lastgood_tests::files;
use lastgood_tests::tree::Tree;
use serde_json::Value;

use super::{boots, json, ok, refused};

/// Gives `$BOOT` from the system that has run to the one that is to.
fn boot_into(from: &Tree, to: &Tree) -> Result<()> {
    fs::remove_dir_all(to.path("boot")).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })?;
    Ok(fs::rename(from.path("boot"), to.path("boot"))?)
}

/// The entries of a tree that hold `word`, by name.
fn entries_with(tree: &Tree, word: &str) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for name in tree.entries()? {
        let text = fs::read_to_string(tree.path("boot/loader/entries").join(&name))?;
        if text.contains(word) {
            found.insert(name, text);
        }
    }
    Ok(found)
}

/// A system whose generations have `word` in their command line.
fn system(word: &str, count: u64) -> Result<(Tree, Vec<PathBuf>)> {
    let tree = Tree::new()?;
    let mut all = Vec::new();
    for number in 1..=count {
        let toplevel = tree.build(&format!("{word}{number}"), "")?;
        tree.set(&toplevel)?;
        all.push(toplevel);
    }
    Ok((tree, all))
}

#[test]
fn two_systems_on_one_boot_partition_leave_each_other_alone() -> Result<()> {
    let (first, _) = system("first", 2)?;
    let (other, others) = system("other", 2)?;
    ok(&first.lastgood(&["install", "1"])?);
    ok(&first.lastgood(&["good", "1"])?);
    ok(&first.lastgood(&["install", "2"])?);
    let its = entries_with(&first, "number=first")?;
    assert_eq!(its.len(), 2);

    // The other one comes: what it finds is nobody's it knows.
    boot_into(&first, &other)?;
    let status: Value = serde_json::from_str(ok(&other.lastgood(&["status", "--json"])?))?;
    assert_eq!(
        (&status["lostRecord"], &status["anothersEntries"]),
        (&Value::Null, &2.into())
    );
    let told = other.lastgood(&["next-boot"])?;
    assert!(ok(&told).contains("another system's"), "{told:?}");
    refused(
        &other.lastgood(&["verify"])?,
        &["nothing of ours is on $BOOT yet"],
    );
    ok(&other.lastgood(&["install", "1"])?);
    let next = json(&other.lastgood(&["next-boot", "--json", "--failures", "9"])?);
    assert_eq!(
        (&next[2]["generation"], &next[2]["anotherSystem"]),
        (&1.into(), &false.into())
    );
    assert_eq!(
        (&next[3]["generation"], &next[3]["anotherSystem"]),
        (&Value::Null, &true.into())
    );
    ok(&other.lastgood(&["good", "1"])?);
    ok(&other.lastgood(&["install", "2"])?);
    assert_eq!(boots(&other, 5)?, ["2", "2", "2", "1", "1", "1"]);
    ok(&other.lastgood(&["verify"])?);
    // It falls back, and collects its garbage.
    ok(&other.lastgood(&["bad", "2"])?);
    assert_eq!(boots(&other, 3)?, ["1"; 4]);
    other.delete_generation(2)?;
    ok(&other.lastgood(&["install", "1"])?);
    assert_eq!(entries_with(&other, "number=other")?.len(), 1);
    assert_eq!(entries_with(&other, "number=first")?, its);
    ok(&other.lastgood(&["verify"])?);

    // Whoever boots the first one by hand finds it whole; asked, it is above, with what it falls back to.
    boot_into(&other, &first)?;
    let its = entries_with(&first, "number=other")?;
    ok(&first.lastgood(&["verify"])?);
    assert_eq!(boots(&first, 1)?, ["none", "none"]);
    ok(&first.lastgood(&["install", "2"])?);
    assert_eq!(boots(&first, 5)?, ["2", "2", "2", "1", "1", "1"]);
    let before = first.stamps()?;
    assert!(ok(&first.lastgood(&["install", "2"])?).contains("nothing to do"));
    assert_eq!(first.stamps()?, before);
    ok(&first.lastgood(&["good", "2"])?);
    assert_eq!(entries_with(&first, "number=other")?, its);

    // It goes. The other one is as it was.
    ok(&first.lastgood(&["uninstall"])?);
    assert!(ok(&first.lastgood(&["uninstall"])?).contains("nothing to do"));
    boot_into(&first, &other)?;
    assert_eq!(entries_with(&other, "number=other")?, its);
    ok(&other.lastgood(&["install", others[0].to_str().unwrap()])?);
    assert_eq!(boots(&other, 3)?, ["1"; 4]);
    ok(&other.lastgood(&["verify"])?);
    Ok(())
}

/// What was written before there were marks is marked by the next run that is asked to write entries, but for the last
/// good entry; and is ours as before.
#[test]
fn a_machine_from_before_there_were_marks_goes_on() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(3)?;
    ok(&tree.lastgood(&["install", "1"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    ok(&tree.lastgood(&["install", "3"])?);
    let ledger = tree.path("var/lib/lastgood/ledger.jsonl");
    let text = fs::read_to_string(&ledger)?;
    let is_named = |line: &&str| line.contains("\"named\"");
    assert_eq!(text.lines().filter(is_named).count(), 1, "{text}");
    let without = |text: &str, is_gone: fn(&str) -> bool| -> String {
        let lines = text.split_inclusive('\n');
        lines.filter(|line| !is_gone(line)).collect()
    };
    files::write(&ledger, without(&text, |line| line.contains("\"named\"")))?;
    for (name, text) in entries_with(&tree, "# lastgood ")? {
        let entry = tree.path("boot/loader/entries").join(name);
        files::write(&entry, without(&text, |line| line.starts_with('#')))?;
    }
    ok(&tree.lastgood(&["verify"])?);
    assert_eq!(entries_with(&tree, "# lastgood ")?.len(), 0);
    // One that is gone is ours to remove; the last good one is not written again.
    tree.delete_generation(2)?;
    ok(&tree.lastgood(&["install", "3"])?);
    assert_eq!(tree.entries()?.len(), 2);
    let marked = entries_with(&tree, "# lastgood ")?;
    assert_eq!(marked.into_keys().collect::<Vec<_>>(), [tree.entry_of(3)?]);
    ok(&tree.lastgood(&["verify"])?);
    assert!(ok(&tree.lastgood(&["install", "3"])?).contains("nothing to do"));
    Ok(())
}

/// The record is lost, and with it our mark: what is in the profile is ours, and gets the new one.
#[test]
fn a_lost_mark_leaves_no_generation_without_an_entry() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(3)?;
    ok(&tree.lastgood(&["install", "1"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    ok(&tree.lastgood(&["install", "3"])?);
    fs::remove_dir_all(tree.path("var/lib/lastgood"))?;
    tree.delete_generation(2)?;
    ok(&tree.lastgood(&["good", "1"])?);
    ok(&tree.lastgood(&["install", "3"])?);
    assert_eq!(boots(&tree, 3)?, ["3", "3", "3", "1"]);
    let status = tree.lastgood(&["status"])?;
    assert!(
        ok(&status).contains("1 entries of another system's lastgood"),
        "{status:?}"
    );
    assert_eq!(tree.entries()?.len(), 3);
    ok(&tree.lastgood(&["verify"])?);
    Ok(())
}
