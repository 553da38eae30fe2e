//! The catalogue of messages, as the real journalctl reads it.

use std::collections::BTreeSet;

use anyhow::Result;
use lastgood::system::journal::message;
use lastgood_tests::{command, files, paths};

#[test]
fn journalctl_takes_the_catalogue_and_knows_every_message() -> Result<()> {
    let root = tempfile::tempdir()?;
    let text = std::fs::read(paths::repository().join("units/lastgood.catalog"))?;
    let place = "usr/lib/systemd/catalog/lastgood.catalog";
    files::write(&root.path().join(place), text)?;
    let journalctl = |words: &[&str]| {
        let root = format!("--root={}", root.path().display());
        let words = words.iter().map(|word| (*word).to_owned());
        command::run("journalctl", [root].into_iter().chain(words))
    };
    journalctl(&["--update-catalog"])?;
    let listed = journalctl(&["--list-catalog"])?;
    // An entry that it cannot read it leaves out, and says nothing.
    let known: BTreeSet<&str> = listed
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let ours: BTreeSet<&str> = message::ALL.iter().map(|one| one.id()).collect();
    assert_eq!(known, ours);
    let shown = journalctl(&["--dump-catalog", message::REJECTED.id()])?;
    for words in [
        "Subject: Generation @LASTGOOD_GENERATION@ is rejected\n",
        "Documentation: man:lastgood(8)\n",
        "\n    lastgood why @LASTGOOD_GENERATION@\n",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    Ok(())
}
