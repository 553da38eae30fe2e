//! Is this host, is this configuration ready?

use std::fs;

use anyhow::Result;
use lastgood_tests::files;
use lastgood_tests::tree::Tree;
use serde_json::Value;

use super::verify::initrd_in_store;
use super::{boots, keys, ok, refused};

#[test]
fn a_host_that_is_not_ready_is_told_what_to_do() -> Result<()> {
    let tree = Tree::new()?;
    tree.set(&tree.build("1", "")?)?;
    let ended = tree.lastgood(&["doctor"])?;
    refused(
        &ended,
        &["this host is not ready: ", " things are to be done"],
    );
    for words in [
        "generation      limit  generation 1 can be booted",
        "agent           to do  not there: ",
    ] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }

    let ended = tree.lastgood(&["doctor", "--json"])?;
    assert_eq!(ended.status, 1);
    let answer: Value = serde_json::from_str(&ended.stdout)?;
    assert_eq!(keys(&answer), "findings ready version");
    assert_eq!(answer["ready"], false);
    let agent = answer["findings"].as_array().into_iter().flatten();
    let agent: Vec<&Value> = agent.filter(|one| one["about"] == "agent").collect();
    assert_eq!(keys(agent[0]), "about standing text todo");
    assert_eq!(agent[0]["standing"], "to-do");
    Ok(())
}

#[test]
fn a_mistake_in_a_configuration_is_told_with_its_place() -> Result<()> {
    let tree = Tree::new()?;
    let file = tree.path("new.toml");
    let path = file.display().to_string();
    for (text, words) in [
        ("[health]\nsettle-sec = 5\n", None),
        (
            "[health]\nsetle-sec = 5\n",
            Some("line 2, column 1: unknown key `setle-sec`: did you mean `settle-sec`?"),
        ),
        (
            "[boot]\ntimeout = \"menu-force\"\n",
            Some("line 2, column 11: the loader would wait"),
        ),
        (" \n", Some("is empty")),
    ] {
        files::write(&file, text)?;
        let ended = tree.lastgood(&["check-config", &path])?;
        match words {
            None => assert_eq!(ok(&ended), format!("{path}: no mistake\n")),
            Some(words) => refused(&ended, &[&path, words]),
        }
    }
    refused(
        &tree.lastgood(&["check-config", "/gone.toml"])?,
        &["/gone.toml: cannot be read: No such file"],
    );
    refused(
        &tree.lastgood(&["check-config"])?,
        &["points at no generation; name a FILE"],
    );
    // A whole closure: the current one, or one that is named. All that `install` would refuse is a mistake.
    let good = tree.build("1", "")?;
    tree.set(&good)?;
    let named = good.display().to_string();
    for arguments in [&["check-config"][..], &["check-config", &named]] {
        assert_eq!(
            ok(&tree.lastgood(arguments)?),
            format!("{named}: no mistake\n")
        );
    }
    for (text, words) in [
        (
            "[boot]\\nediter = true",
            "lastgood.toml: line 2, column 1: unknown key `editer`: did you mean `editor`?; mend it",
        ),
        (
            "[activation]\\nscript = \"activate-me\"",
            "[activation] script: ",
        ),
    ] {
        let write = format!(
            "mkdir -p $out/etc/lastgood\nprintf '{text}\\n' > $out/etc/lastgood/lastgood.toml"
        );
        let bad = tree.build("bad", &write)?.display().to_string();
        refused(&tree.lastgood(&["check-config", &bad])?, &[words]);
    }
    Ok(())
}

#[test]
fn what_happened_is_told_in_its_order() -> Result<()> {
    let tree = Tree::new()?;
    refused(
        &tree.lastgood(&["log"])?,
        &["nothing has happened on this machine yet; `lastgood install`"],
    );
    tree.generations(2)?;
    for arguments in [
        &["install"][..],
        &["good", "1"],
        &["good", "2"],
        &["bad", "2"],
    ] {
        ok(&tree.lastgood(arguments)?);
    }
    let told = |arguments: &[&str]| -> Result<Vec<String>> {
        let ended = tree.lastgood(arguments)?;
        let lines = ok(&ended).lines();
        // Without the time.
        Ok(lines
            .map(|line| line.split("  ").skip(1).collect())
            .collect())
    };
    let all = told(&["log"])?;
    assert_eq!(
        all,
        [
            "selected: generation 2",
            "proven: generation 1",
            "proven: generation 2",
            "rejected: generation 2: the operator rejected it"
        ]
    );
    assert_eq!(told(&["log", "--last", "1"])?, all[3..]);
    Ok(())
}

/// What `install` refuses is no closure without a mistake.
#[test]
fn a_closure_that_cannot_be_booted_has_a_mistake() -> Result<()> {
    let tree = Tree::new()?;
    let toplevel = tree.build("1", "echo '{}' >$out/boot.json")?;
    tree.set(&toplevel)?;
    let named = toplevel.display().to_string();
    for arguments in [&["check-config"][..], &["check-config", &named]] {
        refused(
            &tree.lastgood(arguments)?,
            &[&named, "cannot be booted", "build it anew"],
        );
    }
    refused(
        &tree.lastgood(&["install"])?,
        &["can be booted: generation 1"],
    );
    Ok(())
}

/// Linux goes on without it, and panics: found before anything is armed.
#[test]
fn an_initrd_that_linux_cannot_unpack_is_refused() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = tree.generations(2)?;
    ok(&tree.lastgood(&["install", "1"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    let initrd = initrd_in_store(&tree, &toplevels[1])?;
    for (bytes, says) in [
        // The beginning of what zstd writes: a frame, and a block of which nothing is there.
        (
            &b"\x28\xb5\x2f\xfd\x04\x00\x81\x00\x00"[..],
            "is cut short: its zstd archive goes on at byte",
        ),
        (b"MZ, a kernel", "is no initrd: it is an EFI image"),
        (&[0; 5000], "all of it is zeroes"),
    ] {
        fs::remove_file(&initrd)?;
        files::write(&initrd, bytes)?;
        refused(&tree.lastgood(&["install", "2"])?, &[says]);
        assert_eq!(boots(&tree, 1)?, ["1", "1"], "{says}");
    }
    fs::remove_file(&initrd)?;
    files::write(&initrd, "an image of some file system")?;
    ok(&tree.lastgood(&["install", "2"])?);
    Ok(())
}
