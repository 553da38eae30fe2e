//! Which generations there are: holes, numbers that come back, links that lead nowhere.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use anyhow::Result;
use lastgood_tests::command;
use lastgood_tests::tree::Tree;
use serde_json::Value;

use super::{boots, json, ok};

fn link_of(tree: &Tree, number: u64) -> std::path::PathBuf {
    tree.path(&format!("nix/var/nix/profiles/system-{number}-link"))
}

/// nixpkgs 14 (`garbage-collect-entry`), also with a counter in the name, and with holes in the numbers.
#[test]
fn entries_go_with_their_generations() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(4)?;
    ok(&tree.lastgood(&["install"])?);
    tree.count_a_boot(1)?;
    tree.delete_generation(1)?;
    tree.delete_generation(3)?;
    ok(&tree.lastgood(&["install"])?);
    assert_eq!(tree.entries()?.len(), 2);
    assert_eq!(boots(&tree, 3)?, ["4", "4", "4", "2"]);
    Ok(())
}

/// The number of the last good generation comes back with another closure: both have entries, root and verdict.
#[test]
fn a_number_that_comes_back_takes_nothing_from_the_one_that_had_it() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = tree.generations(2)?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["good", "2"])?);
    // As after a profile was restored from a backup.
    let new = tree.build("new", "")?;
    fs::remove_file(link_of(&tree, 2))?;
    symlink(&new, link_of(&tree, 2))?;
    ok(&tree.lastgood(&["install"])?);
    assert_eq!(tree.entries_titled("2")?.len(), 2, "{:?}", tree.entries()?);
    let next = json(&tree.lastgood(&["next-boot", "--json", "--failures", "3"])?);
    assert_eq!(
        (&next[0]["state"], &next[3]["state"]),
        (&"trial".into(), &"proven".into())
    );
    assert_ne!(next[0]["entry"], next[3]["entry"]);
    let mut roots = BTreeSet::new();
    for item in fs::read_dir(tree.path("nix/var/nix/gcroots/lastgood"))? {
        roots.insert(fs::read_link(item?.path())?);
    }
    assert_eq!(roots, BTreeSet::from([toplevels[1].clone(), new.clone()]));
    let listed = json(&tree.lastgood(&["list-generations", "--json"])?);
    let current: Vec<&Value> = listed.iter().filter(|row| row["current"] == true).collect();
    assert!(
        current.len() == 1 && current[0]["toplevel"] == new.to_str().unwrap(),
        "{listed:?}"
    );

    // The new one turns out bad. The profile has no link to the old one, and keeps what it has.
    ok(&tree.lastgood(&["bad", "2"])?);
    let status: Value = serde_json::from_str(ok(&tree.lastgood(&["status", "--json"])?))?;
    assert_eq!(
        status["lastGood"]["toplevel"],
        toplevels[1].to_str().unwrap()
    );
    assert_eq!(status["rejected"][0]["toplevel"], new.to_str().unwrap());
    let next = json(&tree.lastgood(&["next-boot", "--json", "--failures", "1"])?);
    assert_eq!(
        (&next[0]["state"], &next[1]["state"]),
        (&"proven".into(), &"proven".into())
    );
    // By its path the old one is still to be had.
    ok(&tree.lastgood(&["install", toplevels[1].to_str().unwrap()])?);
    Ok(())
}

/// Links and files that lead nowhere, never end, or were never meant to be read.
#[test]
fn odd_links_and_files_are_one_generations_trouble() -> Result<()> {
    let tree = Tree::new()?;
    let good = tree.build("1", "")?;
    tree.set(&good)?;
    for (number, target) in [
        (2, "system-2-link"),
        (3, "/nix/store/gone"),
        (4, "../../../../../../../../.."),
    ] {
        symlink(target, link_of(&tree, number))?;
    }
    let odd = tree.path("nix/store/odd");
    for (number, name) in [(5, "fifo"), (6, "huge"), (7, "directory")] {
        let json = odd.join(name).join("boot.json");
        fs::create_dir_all(json.parent().unwrap())?;
        match name {
            "fifo" => drop(command::output(Command::new("mkfifo").arg(&json))?),
            "huge" => fs::File::create(&json)?.set_len(1 << 40)?,
            _ => fs::create_dir(&json)?,
        }
        symlink(format!("/nix/store/odd/{name}"), link_of(&tree, number))?;
    }
    let said = tree.lastgood(&["install"])?;
    ok(&said);
    for (number, words) in [
        (2, "too many symbolic links"),
        (3, "/nix/store/gone is not there"),
        (4, "there is no boot.json"),
        (5, "is no regular file"),
        (6, "is larger than"),
        (7, "is no regular file"),
    ] {
        let start = format!("generation {number} cannot be booted and is left out: ");
        let lines: Vec<&str> = said
            .stderr
            .lines()
            .filter(|line| line.contains(&start))
            .collect();
        assert!(
            lines.len() == 1 && lines[0].contains(words),
            "{number}: {said:?}"
        );
    }
    assert_eq!(boots(&tree, 1)?, ["1", "1"]);
    let listed = json(&tree.lastgood(&["list-generations", "--json"])?);
    let unbootable = listed.iter().filter(|row| row["state"] == "unbootable");
    assert_eq!((listed.len(), unbootable.count()), (7, 6));
    Ok(())
}
