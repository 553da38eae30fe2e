//! What was read before counts where it should, and nowhere else. A record that lies shows who believes it.

use std::fs;

use anyhow::{Context as _, Result};
use lastgood_tests::files;
use lastgood_tests::tree::Tree;
use serde_json::Value;

use super::ok;
use super::verify::initrd_in_store;

const RECORD: &str = "var/lib/lastgood/digests.jsonl";

/// Changes the record line by line, and its checksum with it. The first line is the boot's id.
fn change(tree: &Tree, change: impl Fn(&mut Value)) -> Result<()> {
    let text = fs::read_to_string(tree.path(RECORD))?;
    let (head, lines) = text.split_once('\n').context("one line")?;
    let mut head: Value = serde_json::from_str(head)?;
    let mut record = String::new();
    for line in lines.lines() {
        let mut line: Value = serde_json::from_str(line)?;
        change(&mut line);
        record.extend([line.to_string().as_str(), "\n"]);
    }
    head["sum"] = crc32(record.as_bytes()).into();
    files::write(&tree.path(RECORD), format!("{head}\n{record}"))
}

/// CRC-32 as in Ethernet and gzip.
fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), bit);
    !bytes.iter().fold(!0, byte)
}

/// Lets the record say that everything on `$BOOT` holds something else.
fn lie(line: &mut Value) {
    if line[0] == "boot" {
        line[8] = "0".repeat(64).into();
    }
}

/// Lets the record say that another boot has read all of it, or none.
fn another_boot(id: Value) -> impl Fn(&mut Value) {
    move |line| {
        let fields = line.as_array().map(Vec::len);
        if fields == Some(1) {
            line[0] = id.clone();
        }
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
    change(&tree, another_boot("another".into()))?;
    assert_eq!(copies(&tree)?, 0);
    change(&tree, another_boot(Value::Null))?;
    assert_eq!(copies(&tree)?, 3);
    // Damaged: nobody believes it, and the next run that changes something replaces it.
    let text = fs::read_to_string(tree.path(RECORD))?;
    files::write(&tree.path(RECORD), text.replacen("000", "001", 1))?;
    assert_eq!(copies(&tree)?, 0);
    ok(&tree.lastgood(&["install"])?);
    assert!(!fs::read_to_string(tree.path(RECORD))?.contains("0000000000000000"));
    Ok(())
}

/// What a closure says is believed as long as its file is the one that was read, and that its kernel is there is not.
#[test]
fn what_a_closure_said_counts_as_long_as_its_file_stays() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = tree.generations(2)?;
    ok(&tree.lastgood(&["install"])?);
    let writes = |tree: &Tree| {
        let told = tree.lastgood(&["install", "--dry-run"])?;
        Ok::<_, anyhow::Error>(ok(&told).matches("would write").count())
    };
    assert_eq!(writes(&tree)?, 0);
    change(&tree, |line| {
        if line[0] == "document" {
            line[8] = "Something else".into();
        }
    })?;
    assert_eq!(writes(&tree)?, 2, "two titles were read");
    for toplevel in &toplevels {
        let path = toplevel.strip_prefix("/")?.join("boot.json");
        let path = tree.path(path.to_str().unwrap());
        files::write(&path, fs::read(&path)?)?;
    }
    assert_eq!(writes(&tree)?, 0, "two titles were not read");
    ok(&tree.lastgood(&["install"])?);
    fs::remove_file(initrd_in_store(&tree, &toplevels[0])?)?;
    for arguments in [&["list-generations"][..], &["install", "--dry-run"]] {
        let said = tree.lastgood(arguments)?;
        let told = format!("{}{}", ok(&said), said.stderr);
        assert!(told.contains("generation 1 cannot be booted"), "{told}");
    }
    let verified = tree.lastgood(&["verify"])?;
    assert!(verified.stderr.contains("generation 1"), "{verified:?}");
    Ok(())
}
