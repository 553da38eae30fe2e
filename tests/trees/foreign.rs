//! A machine that neither we nor nixpkgs wrote: Debian's own entries, unified kernel images.

use std::fs;

use anyhow::{Context as _, Result};
use lastgood_tests::files;
use lastgood_tests::loader_rig::Image;
use lastgood_tests::tree::Tree;
use systemd_boot_model::Partition;

use super::{json, ok, refused};

const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
const DEBIAN: &str = "title Debian\nversion 6.1\nlinux /debian/6.1/linux\ninitrd /debian/6.1/initrd\noptions root=/dev/sda2\n";

/// One generation that was never booted, beside what runs.
fn machine(entry: &str) -> Result<Tree> {
    let tree = Tree::new()?;
    tree.generations(1)?;
    let stub = fs::read(STUB)?;
    for path in [
        "debian/6.1/linux",
        "debian/6.1/initrd",
        "EFI/Linux/debian-6.1.efi",
    ] {
        files::write(&tree.path("boot").join(path), &stub)?;
    }
    files::write(&tree.path("boot/loader/entries/debian.conf"), DEBIAN)?;
    tree.booted(entry)?;
    Ok(tree)
}

/// The text of the entry that boots after three failures.
fn after_three(tree: &Tree) -> Result<String> {
    let rows = json(&tree.lastgood(&["next-boot", "--json", "--failures", "3"])?);
    let entry = rows[3]["entry"].as_str().context("nothing boots")?;
    Ok(fs::read_to_string(
        tree.path("boot/loader/entries").join(entry),
    )?)
}

#[test]
fn a_trial_that_fails_leads_back_to_what_booted_a_foreign_machine() -> Result<()> {
    for (entry, start) in [
        (
            "debian.conf",
            "linux /debian/6.1/linux\ninitrd /debian/6.1/initrd\noptions root=/dev/sda2\n",
        ),
        ("debian-6.1.efi", "efi /EFI/Linux/debian-6.1.efi\n"),
    ] {
        let tree = machine(entry)?;
        assert!(ok(&tree.lastgood(&["install"])?).contains("generation 1 (trial) boots next"));
        let told = tree.lastgood(&["next-boot", "--failures", "3"])?;
        assert!(
            ok(&told).contains("what booted before lastgood"),
            "{told:?}"
        );
        let text = after_three(&tree)?;
        assert!(
            text.contains(start) && text.contains("(before lastgood)"),
            "{entry}: {text}"
        );
        assert!(ok(&tree.lastgood(&["install"])?).contains("nothing to do"));

        // Nothing is proven, and it wants out.
        ok(&tree.lastgood(&["uninstall"])?);
        assert_eq!(tree.entries()?, ["debian.conf"]);
        let conf = fs::read_to_string(tree.path("boot/loader/loader.conf"))?;
        assert!(conf.contains(&format!("default {entry}\n")), "{conf}");

        // Back again, and it passes.
        ok(&tree.lastgood(&["install", "1"])?);
        ok(&tree.lastgood(&["good", "1"])?);
        let entries = tree.entries()?;
        assert!(
            entries.len() == 2 && entries.contains(&"debian.conf".to_owned()),
            "{entries:?}"
        );
        assert!(after_three(&tree)?.contains("init="));
    }
    Ok(())
}

#[test]
fn nothing_known_to_boot_cannot_be_handed_back() -> Result<()> {
    let tree = machine("auto-windows")?;
    ok(&tree.lastgood(&["install"])?);
    assert_eq!(tree.entries()?.len(), 2);
    refused(
        &tree.lastgood(&["uninstall"])?,
        &["nothing can be left to boot"],
    );
    Ok(())
}

/// It is in the menu like an entry, is counted like one, and nothing of ours, whatever it is called.
#[test]
fn next_boot_tells_of_an_image_that_is_chosen() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(1)?;
    ok(&tree.lastgood(&["install"])?);
    let [ours] = &tree.entries()?[..] else {
        anyhow::bail!("more than one entry");
    };
    let stem = ours.split('+').next().context("a name")?;
    let image = Image {
        on: Partition::Boot,
        name: format!("{stem}+1.efi"),
        sections: vec![
            (".osrel", "ID=other\nNAME=Other\n".to_owned()),
            (".linux", "MZ".to_owned()),
        ],
    };
    let path = tree.path("boot/EFI/Linux").join(&image.name);
    files::write(&path, image.bytes())?;
    let conf = tree.path("boot/loader/loader.conf");
    files::write(&conf, format!("default {stem}*.efi\n"))?;

    let rows = json(&tree.lastgood(&["next-boot", "--json", "--failures", "1"])?);
    for (row, entry, why) in [
        (
            0,
            format!("{stem}+1.efi"),
            "first good entry that `default`",
        ),
        (1, format!("{stem}+0-1.efi"), "matches no good entry"),
    ] {
        let row = &rows[row];
        assert_eq!(row["entry"], entry);
        assert!(
            row["generation"].is_null() && row["state"].is_null(),
            "{row}"
        );
        assert!(row["why"].to_string().contains(why), "{row}");
    }
    let told = tree.lastgood(&["next-boot"])?;
    assert!(
        ok(&told).contains("a unified kernel image, not ours"),
        "{told:?}"
    );
    assert!(rows.iter().all(|row| row["broken"].is_null()), "{rows:?}");

    // The loader lists it without a kernel as well, and then starts nothing.
    let without = Image {
        sections: vec![(".osrel", "ID=other\nNAME=Other\n".to_owned())],
        ..image
    };
    files::write(&path, without.bytes())?;
    let rows = json(&tree.lastgood(&["next-boot", "--json", "--failures", "1"])?);
    for row in &rows {
        assert!(row["broken"].to_string().contains("no kernel"), "{row}");
        assert!(
            row["why"].to_string().contains("; it cannot be started: "),
            "{row}"
        );
    }
    Ok(())
}

/// A purged kernel, and nobody has proven anything yet.
#[test]
fn a_trial_with_nothing_behind_it_is_told_until_something_is_proven() -> Result<()> {
    let tree = machine("debian.conf")?;
    ok(&tree.lastgood(&["install"])?);
    let all: [&[&str]; 3] = [&["install"], &["verify"], &["next-boot"]];
    for command in all {
        ok(&tree.lastgood(command)?);
    }
    fs::remove_dir_all(tree.path("boot/debian"))?;
    fs::remove_file(tree.path("boot/loader/entries/debian.conf"))?;
    let words = [
        "a failed trial has nothing to go back to",
        "lastgood-before-",
        "lastgood good",
    ];
    // Each time, and not only at the first.
    for command in all.iter().chain(&all) {
        refused(&tree.lastgood(command)?, &words);
    }
    let told = tree.lastgood(&["status"])?;
    assert!(ok(&told).contains(words[0]), "{told:?}");
    let told = tree.lastgood(&["status", "--json"])?;
    assert!(ok(&told).contains(words[1]), "{told:?}");

    let stub = fs::read(STUB)?;
    files::write(&tree.path("boot/debian/6.1/linux"), &stub)?;
    ok(&tree.lastgood(&["install"])?);
    fs::remove_dir_all(tree.path("boot/debian"))?;
    ok(&tree.lastgood(&["good", "1"])?);
    for command in all {
        ok(&tree.lastgood(command)?);
    }
    assert!(!tree.entries()?.iter().any(|name| name.contains("before")));
    Ok(())
}

/// A machine that has had nothing before lastgood has lost nothing.
#[test]
fn a_first_trial_on_an_empty_disk_is_no_loss() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(1)?;
    let all: [&[&str]; 3] = [&["install"], &["verify"], &["next-boot"]];
    for command in all {
        ok(&tree.lastgood(command)?);
    }
    Ok(())
}
