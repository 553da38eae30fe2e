//! What was read before counts where it should, and nowhere else. A record that lies shows who believes it.

use std::fs;
use std::hash::{DefaultHasher, Hasher as _};

use anyhow::{Context as _, Result};
use lastgood_tests::files;
use lastgood_tests::tree::Tree;
use serde_json::Value;

use super::ok;

const RECORD: &str = "var/lib/lastgood/digests.jsonl";

/// Changes the record, and its checksum with it.
fn change(tree: &Tree, change: impl Fn(&mut Value)) -> Result<()> {
    let text = fs::read_to_string(tree.path(RECORD))?;
    let (head, record) = text.split_once('\n').context("one line")?;
    let (mut head, mut record): (Value, Value) =
        (serde_json::from_str(head)?, serde_json::from_str(record)?);
    change(&mut record);
    let record = record.to_string();
    let mut hasher = DefaultHasher::new();
    hasher.write(record.as_bytes());
    head["sum"] = hasher.finish().into();
    files::write(&tree.path(RECORD), format!("{head}\n{record}\n"))
}

/// Lets the record say that everything on `$BOOT` holds something else.
fn lie(record: &mut Value) {
    for known in record["boot"].as_object_mut().unwrap().values_mut() {
        known[5] = "0".repeat(64).into();
    }
}

#[test]
fn what_was_read_counts_in_the_boot_that_read_it_and_not_for_who_wants_to_know() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(2)?;
    ok(&tree.lastgood(&["install"])?);
    let copies = |tree: &Tree| {
        let told = tree.lastgood(&["install", "--dry-run"])?;
        Ok::<_, anyhow::Error>(ok(&told).matches("would copy").count())
    };
    assert_eq!(copies(&tree)?, 0);
    change(&tree, lie)?;
    assert_eq!(copies(&tree)?, 3, "a kernel and two initrds were not read");
    // Who asks whether everything is there does not want to hear what was there.
    let verified = ok(&tree.lastgood(&["verify"])?).to_owned();
    assert!(verified.contains(": whole"), "{verified}");
    // As after a reboot.
    change(&tree, |record| record["boot_id"] = "another".into())?;
    assert_eq!(copies(&tree)?, 0);
    change(&tree, |record| record["boot_id"] = Value::Null)?;
    assert_eq!(copies(&tree)?, 3);
    // Damaged: nobody believes it, and the next run that changes something replaces it.
    let text = fs::read_to_string(tree.path(RECORD))?;
    files::write(&tree.path(RECORD), text.replacen("000", "001", 1))?;
    assert_eq!(copies(&tree)?, 0);
    ok(&tree.lastgood(&["install"])?);
    assert!(!fs::read_to_string(tree.path(RECORD))?.contains("0000000000000000"));
    Ok(())
}
