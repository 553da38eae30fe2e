//! The runs that are struck, and the machines they are made on.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use lastgood_tests::files;
use lastgood_tests::nixpkgs::{self, Scheme};
use lastgood_tests::tree::Tree;

use super::Run;
use crate::ok;
use crate::places::says;
use crate::steps::boot;

pub(super) fn of_one_partition() -> Result<Vec<Run>> {
    let fresh = Tree::new()?;
    let toplevels = fresh.generations(2)?;
    let first = toplevels[0].to_str().unwrap();

    let one_more = fresh.copy()?;
    ok(&one_more.lastgood(&["install", first])?);
    ok(&one_more.lastgood(&["good", "1"])?);
    let given_back = one_more.copy()?;
    let third = one_more.build("3", "")?;
    one_more.set(&third)?;

    let trial = one_more.copy()?;
    ok(&trial.lastgood(&["install"])?);
    let one_less = trial.copy()?;
    one_less.delete_generation(2)?;
    let damaged = trial.copy()?;
    let entry = damaged.path("boot/loader/entries");
    let entry = fs::read_to_string(entry.join(damaged.entry_of(3)?))?;
    // The kernel is everybody's here.
    let initrd = entry.lines().find_map(|line| line.strip_prefix("initrd "));
    files::write(
        &damaged
            .path("boot")
            .join(&initrd.context("no initrd")?[1..]),
        "rotten",
    )?;
    trial.count_a_boot(3)?;
    boot(&trial, &third, 1)?;

    let run = |name, command, tree, last_good, good: &[&PathBuf]| Run {
        name,
        command,
        tree,
        last_good,
        good: good.iter().map(|path| (*path).clone()).collect(),
    };
    let good = &toplevels[0];
    Ok(vec![
        run("first", &["install"][..], fresh, None, &[]),
        run("one more", &["install"], one_more, Some(1), &[good]),
        run("one less", &["install"], one_less, Some(1), &[good]),
        run("repair", &["verify", "--repair"], damaged, Some(1), &[good]),
        run(
            "blessing",
            &["good", "3"],
            trial.copy()?,
            Some(1),
            &[good, &third],
        ),
        run("rejection", &["bad", "3"], trial.copy()?, Some(1), &[good]),
        run("fallback", &["step", "fall-back"], trial, Some(1), &[good]),
        run("uninstall", &["uninstall"], given_back, None, &[good]),
    ])
}

/// With a second ESP, which is to be bootable by itself at every instant.
pub(super) fn with_a_mirror() -> Result<Vec<Run>> {
    let tree = Tree::new()?;
    fs::create_dir(tree.path("boot2"))?;
    let mirrors = says(r#"mirrors = ["/boot2"]"#);
    let first = tree.build("1", &mirrors)?;
    tree.set(&first)?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    let second = tree.build("2", &mirrors)?;
    tree.set(&second)?;
    let rejected = tree.copy()?;
    ok(&rejected.lastgood(&["install"])?);
    rejected.count_a_boot(2)?;
    boot(&rejected, &second, 1)?;
    let run = |name, command, tree| Run {
        name,
        command,
        tree,
        last_good: Some(1),
        good: vec![first.clone()],
    };
    Ok(vec![
        run("one more", &["install"][..], tree),
        run("rejection", &["bad", "2"], rejected),
    ])
}

/// From nixpkgs' builder: until something is proven what ran before must be reached, and then that may go.
pub(super) fn of_predecessors() -> Result<Vec<Run>> {
    let before = Tree::new()?;
    let (toplevels, _) = nixpkgs::machine(&before, Scheme::Numbered)?;
    // Files that bear the system's mark are called the same in every run.
    files::write(
        &before.path("var/lib/lastgood/ledger.jsonl"),
        "{\"v\":1,\"time\":\"2026-01-01T00:00:00Z\",\"event\":\"named\",\"owner\":\"0123abcd\"}\n",
    )?;
    let taken = before.copy()?;
    ok(&taken.lastgood(&["install"])?);
    boot(&taken, &toplevels[3], 1)?;
    Ok(vec![
        Run {
            name: "take-over",
            command: &["install"],
            tree: before,
            last_good: None,
            good: vec![toplevels[2].clone()],
        },
        Run {
            name: "blessing after a take-over",
            command: &["good", "4"],
            tree: taken,
            last_good: None,
            good: toplevels[2..].to_vec(),
        },
    ])
}

/// Everything moves to a partition that came later, and goes from the ESP.
pub(super) fn to_an_xbootldr_partition() -> Result<Run> {
    let tree = Tree::new()?;
    let toplevels = tree.generations(2)?;
    let first = toplevels[0].to_str().unwrap();
    ok(&tree.lastgood(&["install", first])?);
    ok(&tree.lastgood(&["good", "1"])?);
    ok(&tree.lastgood(&["install"])?);
    fs::rename(tree.path("boot"), tree.path("efi"))?;
    files::write(&tree.path("boot/loader/entries.srel"), "type1\n")?;
    Ok(Run {
        name: "move to an XBOOTLDR partition",
        command: &["install"],
        tree,
        last_good: None,
        good: toplevels[..1].to_vec(),
    })
}

/// A program, and an entry for it.
pub(super) const EXTRA_FILES: [&str; 2] = ["EFI/tools/tool.efi", "loader/entries/tool.conf"];

/// They come, one of them changes, and they go.
pub(super) fn of_extra_files() -> Result<Vec<Run>> {
    let tree = Tree::new()?;
    let without = tree.generations(1)?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    let with = |tree: &Tree, name: &str| -> Result<()> {
        let [tool, entry] = EXTRA_FILES;
        let files =
            format!("[boot.extra-files]\n\"{tool}\" = \"tool\"\n\"{entry}\" = \"tool.conf\"");
        let extra = format!(
            "echo {name} > $out/tool; echo 'efi /{tool}' > $out/tool.conf; {}",
            says(&files)
        );
        tree.set(&tree.build(name, &extra)?)
    };
    with(&tree, "2")?;
    let changing = tree.copy()?;
    ok(&changing.lastgood(&["install"])?);
    let going = changing.copy()?;
    with(&changing, "3")?;
    let run = |name, command, tree| Run {
        name,
        command,
        tree,
        last_good: Some(1),
        good: without.clone(),
    };
    Ok(vec![
        run("extra files come", &["install"][..], tree),
        run("an extra file changes", &["install"], changing),
        run("extra files go", &["install", "1"], going),
    ])
}
