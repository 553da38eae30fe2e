//! What an older agent makes of the ledger of a newer one (invariant A13).

use std::fs;
use std::io::Write as _;

use anyhow::Result;
use lastgood_tests::files;
use lastgood_tests::tree::Tree;
use serde_json::{Value, json};

use super::steps::boot;
use super::{ok, refused};

const LEDGER: &str = "var/lib/lastgood/ledger.jsonl";
/// What a newer agent may write one day. Only the first one forbids anything.
const HELD: &str = r#"{"v":1,"event":"held","crc":"b9e8ece4"}"#;
const TOLD: &str = r#"{"v":1,"event":"told","binding":false,"crc":"0545d176"}"#;

fn add(tree: &Tree, line: &str) -> Result<()> {
    let mut ledger = fs::File::options().append(true).open(tree.path(LEDGER))?;
    Ok(writeln!(ledger, "{line}")?)
}

fn status(tree: &Tree) -> Result<Value> {
    Ok(serde_json::from_str(ok(
        &tree.lastgood(&["status", "--json"])?
    ))?)
}

/// The first of three generations is proven, the third is a trial and runs, the second is in no profile any more.
fn machine() -> Result<Tree> {
    let tree = Tree::new()?;
    let toplevels = tree.generations(3)?;
    ok(&tree.lastgood(&["install", "1"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    ok(&tree.lastgood(&["install", "3"])?);
    tree.delete_generation(2)?;
    tree.count_a_boot(3)?;
    boot(&tree, &toplevels[2], 1)?;
    Ok(tree)
}

#[test]
fn what_an_older_agent_does_not_know_ties_its_hands() -> Result<()> {
    let tree = machine()?;
    add(&tree, TOLD)?;
    let harmless = status(&tree)?;
    assert_eq!(harmless["unknownLedgerLines"].as_array().unwrap().len(), 1);
    assert_eq!(harmless["boundBy"], Value::Null);
    let free = tree.copy()?;
    add(&tree, HELD)?;
    let number = fs::read_to_string(tree.path(LEDGER))?.lines().count();
    let bound = status(&tree)?;
    assert_eq!(bound["bindingUnknownLines"], json!([number]));
    assert_eq!(bound["damagedLedgerLines"], json!([]));
    let said = tree.lastgood(&["status"])?;
    assert!(
        said.stdout.contains(&format!("line {number}: \"held\"")),
        "{said:?}"
    );

    // Nobody falls back, and nothing is given up.
    ok(&tree.lastgood(&["step", "fall-back"])?);
    ok(&free.lastgood(&["step", "fall-back"])?);
    assert_eq!(status(&tree)?["rejected"], json!([]));
    assert_eq!(status(&free)?["rejected"].as_array().unwrap().len(), 1);
    refused(
        &tree.lastgood(&["uninstall"])?,
        &[&format!("line {number}")],
    );

    // What the operator asks for is done, and no entry goes for it.
    ok(&tree.lastgood(&["good", "3"])?);
    ok(&tree.lastgood(&["install", "1"])?);
    assert_eq!(status(&tree)?["lastGood"]["generation"], "3");
    assert_eq!(tree.entries()?.len(), 3, "{:?}", tree.entries()?);
    ok(&free.lastgood(&["install", "1"])?);
    assert_eq!(free.entries()?.len(), 2, "{:?}", free.entries()?);

    // An agent that knows the record is not bound by it.
    let text = fs::read_to_string(tree.path(LEDGER))?;
    assert!(text.contains(HELD) && text.contains(TOLD));
    files::write(&tree.path(LEDGER), text.replace(&format!("{HELD}\n"), ""))?;
    ok(&tree.lastgood(&["install", "1"])?);
    assert_eq!(tree.entries()?.len(), 2);
    Ok(())
}
