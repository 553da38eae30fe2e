//! Where entries go: mirrored ESPs, an XBOOTLDR partition, and what a closure puts there besides entries.

use std::fs;

use anyhow::Result;
use boot_entries::loader_conf::DEFAULT_PATTERN;
use boot_entries::payload::Content;
use lastgood_tests::faults::contents;
use lastgood_tests::files;
use lastgood_tests::mounts::Mounts;
use lastgood_tests::tree::Tree;

use super::{boots, ok, refused};

/// Shell commands that give a closure this `[boot]`.
pub(super) fn says(boot: &str) -> String {
    format!("printf '%s\\n' '[boot]' '{boot}' > $out/etc/lastgood/lastgood.toml")
}

/// A machine whose generations each have this `[boot]`.
pub(super) fn machine(count: u64, boot: &str) -> Result<Tree> {
    let tree = Tree::new()?;
    for number in 1..=count {
        tree.set(&tree.build(&number.to_string(), &says(boot))?)?;
    }
    Ok(tree)
}

/// What is in a place, by path within it.
pub(super) fn place(tree: &Tree, name: &str) -> Result<Vec<(String, String)>> {
    let contents = contents(tree, &[name])?;
    let inside = |path: &str| path.strip_prefix(name).unwrap_or(path).to_owned();
    contents
        .iter()
        .map(|(path, bytes)| {
            Ok((
                inside(path),
                Content::of(&mut &bytes[..])?.digest.to_string(),
            ))
        })
        .collect()
}

#[test]
fn mirrors_are_alike_and_one_that_is_missing_stops_nobody() -> Result<()> {
    let tree = machine(2, r#"mirrors = ["/boot2", "/boot3"]"#)?;
    fs::create_dir_all(tree.path("boot2/EFI"))?;
    let without_loader = |mut files: Vec<(String, String)>| {
        files.retain(|(path, _)| {
            !path.starts_with("/EFI/systemd") && !path.starts_with("/EFI/BOOT")
        });
        files
    };
    let alike = |tree: &Tree| -> Result<()> {
        let (one, two) = (place(tree, "boot")?, place(tree, "boot2")?);
        assert_eq!(without_loader(one), without_loader(two));
        Ok(())
    };
    refused(
        &tree.lastgood(&["install"])?,
        &["/boot3", "mount it and run again"],
    );
    alike(&tree)?;
    assert_eq!(boots(&tree, 3)?, ["2", "2", "2", "1"]);
    // The other one is there again.
    fs::create_dir(tree.path("boot3"))?;
    ok(&tree.lastgood(&["good", "2"])?);
    alike(&tree)?;
    assert_eq!(
        without_loader(place(&tree, "boot3")?),
        without_loader(place(&tree, "boot")?)
    );
    ok(&tree.lastgood(&["install"])?);
    assert_eq!(place(&tree, "boot3")?, place(&tree, "boot")?);
    assert!(ok(&tree.lastgood(&["install"])?).contains("nothing to do"));
    // Damage in one is mended from the store, and is nobody else's.
    let kernel = fs::read_dir(tree.path("boot2/EFI/lastgood"))?
        .next()
        .unwrap()?
        .path();
    files::write(&kernel, "rotten")?;
    assert!(ok(&tree.lastgood(&["install"])?).contains("1 change"));
    alike(&tree)
}

#[test]
fn a_mirror_that_is_full_or_read_only_stops_nobody() -> Result<()> {
    let mounts = Mounts::private()?;
    let tree = machine(2, r#"mirrors = ["/small", "/fixed", "/whole"]"#)?;
    for name in ["small", "fixed", "whole"] {
        fs::create_dir(tree.path(name))?;
    }
    mounts.sized(&tree.path("small"), "64k")?;
    let ended = tree.lastgood(&["install"])?;
    refused(&ended, &["/small", "too small"]);
    assert_eq!(
        place(&tree, "small")?,
        [],
        "nothing is begun that does not fit"
    );
    assert_eq!(
        place(&tree, "whole")?.len(),
        2 + 1 + 2 + 1 + 2,
        "entries, kernel, initrds, settings, the loader twice"
    );
    mounts.sized(&tree.path("small"), "16m")?;
    mounts.sized(&tree.path("fixed"), "16m")?;
    mounts.read_only(&tree.path("fixed"))?;
    let before = place(&tree, "fixed")?;
    let ended = tree.lastgood(&["good", "2"])?;
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("/fixed is mounted read-only"),
        "{ended:?}"
    );
    assert_eq!(place(&tree, "fixed")?, before);
    let whole = place(&tree, "whole")?;
    assert_eq!(place(&tree, "small")?, whole);
    assert!(whole.iter().any(|(path, _)| path.starts_with("/loader/entries/lastgood-2-") && !path.contains('+')));
    Ok(())
}

/// Entries and payload move to a partition that came later; at no instant is the loader without them.
#[test]
fn entries_move_to_an_xbootldr_partition() -> Result<()> {
    let tree = Tree::new()?;
    fs::rename(tree.path("boot"), tree.path("efi"))?;
    tree.generations(2)?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["good", "2"])?);
    let on_esp = place(&tree, "efi")?;
    assert!(
        on_esp
            .iter()
            .any(|(path, _)| path.starts_with("/loader/entries/lastgood-2-"))
    );

    fs::create_dir_all(tree.path("boot/loader"))?;
    files::write(&tree.path("boot/loader/entries.srel"), "type1\n")?;
    assert_eq!(boots(&tree, 1)?, ["2", "2"]);
    ok(&tree.lastgood(&["install"])?);
    assert!(ok(&tree.lastgood(&["install"])?).contains("nothing to do"));
    let paths = |name| -> Result<Vec<String>> {
        Ok(place(&tree, name)?
            .into_iter()
            .map(|(path, _)| path)
            .collect())
    };
    assert_eq!(
        paths("efi")?,
        [
            "/EFI/BOOT/BOOTX64.EFI",
            "/EFI/systemd/systemd-bootx64.efi",
            "/loader/loader.conf"
        ]
    );
    let moved = |files: &[(String, String)]| -> Vec<(String, String)> {
        let of_generations = |path: &str| path.contains("lastgood");
        files
            .iter()
            .filter(|(path, _)| of_generations(path))
            .cloned()
            .collect()
    };
    assert_eq!(
        moved(&place(&tree, "boot")?),
        moved(&on_esp),
        "to the letter, counters included"
    );
    assert_eq!(boots(&tree, 1)?, ["2", "2"]);
    let listed = tree.bootctl_list()?;
    assert_eq!(listed.len(), 2, "{listed:?}");
    Ok(())
}

#[test]
fn the_loaders_settings_are_the_closures() -> Result<()> {
    let tree = machine(1, "timeout = \"menu-hidden\"\nconsole-mode = \"max\"")?;
    fs::create_dir_all(tree.path("boot/loader"))?;
    files::write(
        &tree.path("boot/loader/loader.conf"),
        "# mine\ntimeout 9\neditor yes\n",
    )?;
    ok(&tree.lastgood(&["install"])?);
    let conf = fs::read_to_string(tree.path("boot/loader/loader.conf"))?;
    assert_eq!(
        conf,
        format!(
            "# mine\neditor yes\ntimeout menu-hidden\nconsole-mode max\ndefault {DEFAULT_PATTERN}\n\
             # added by lastgood: console-mode max\n"
        )
    );
    let wrong = tree.build("wrong", &says("timeout = \"never\""))?;
    tree.set(&wrong)?;
    refused(
        &tree.lastgood(&["install"])?,
        &["lastgood.toml", "line 2, column 11", "menu-hidden"],
    );
    Ok(())
}

#[test]
fn a_limit_spares_what_a_fallback_may_need() -> Result<()> {
    let tree = machine(5, "configuration-limit = 2")?;
    ok(&tree.lastgood(&["install", "1"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    ok(&tree.lastgood(&["install", "3"])?);
    for (number, wanted) in [(1, true), (2, false), (3, true), (4, true), (5, true)] {
        assert_eq!(
            tree.entry_of(number).is_ok(),
            wanted,
            "{number}: {:?}",
            tree.entries()?
        );
    }
    assert!(ok(&tree.lastgood(&["install", "3"])?).contains("nothing to do"));
    Ok(())
}

/// nixpkgs 7, 9, 11 to 13: extra entries and files come, change and go.
#[test]
fn extra_files_come_and_go() -> Result<()> {
    let tree = Tree::new()?;
    let with = |name: &str, text: &str| -> Result<()> {
        let files = "[boot.extra-files]\n\"EFI/tools/banana.efi\" = \"banana\"\n\"loader/entries/banana.conf\" = \"banana.conf\"";
        let extra = format!(
            "echo {text} > $out/banana; echo 'efi /EFI/tools/banana.efi' > $out/banana.conf; {}",
            says(files)
        );
        tree.set(&tree.build(name, &extra)?)
    };
    let banana = tree.path("boot/EFI/tools/banana.efi");
    with("1", "yellow")?;
    ok(&tree.lastgood(&["install"])?);
    assert_eq!(fs::read_to_string(&banana)?, "yellow\n");
    assert!(ok(&tree.lastgood(&["install"])?).contains("nothing to do"));
    with("2", "green")?;
    ok(&tree.lastgood(&["install"])?);
    assert_eq!(fs::read_to_string(&banana)?, "green\n");
    tree.set(&tree.build("3", "")?)?;
    ok(&tree.lastgood(&["install"])?);
    assert!(!banana.is_file() && !tree.path("boot/loader/entries/banana.conf").is_file());
    assert!(!tree.path("boot/EFI/lastgood/extra-files").is_file());
    // Somebody else's file of that name stays what it is.
    files::write(&banana, "theirs")?;
    ok(&tree.lastgood(&["install", "2"])?);
    assert_eq!(fs::read_to_string(&banana)?, "theirs");
    Ok(())
}
