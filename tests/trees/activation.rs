//! What would cost a boot in activation is refused, or said, at `install`.

use anyhow::Result;
use lastgood_tests::files;
use lastgood_tests::tree::Tree;

use super::{ok, refused};

#[test]
fn a_script_that_could_not_be_run_is_refused_and_nothing_changes() -> Result<()> {
    let tree = Tree::new()?;
    tree.set(&tree.build("1", "")?)?;
    ok(&tree.lastgood(&["install"])?);
    for (number, builder, words) in [
        ("2", "", "[activation] script: cannot read /nix/store/"),
        ("3", "echo > $out/run", "run is no executable file; mend it"),
        (
            "4",
            "printf '#!/gone/bash\\n' > $out/run; /bin/busybox chmod +x $out/run",
            "line 1 names /gone/bash, which is not there; mend it",
        ),
    ] {
        let config =
            "printf '[activation]\\nscript = \"run\"\\n' > $out/etc/lastgood/lastgood.toml";
        tree.set(&tree.build(number, &format!("{config}; {builder}"))?)?;
        let before = tree.entries()?;
        for arguments in [&["install"][..], &["install", "--dry-run"]] {
            refused(&tree.lastgood(arguments)?, &[words]);
        }
        assert_eq!(tree.entries()?, before);
    }
    Ok(())
}

#[test]
fn a_unit_that_could_not_be_linked_is_refused() -> Result<()> {
    let tree = Tree::new()?;
    let builder = "/bin/busybox mkdir -p $out/etc/systemd/system; \
                   /bin/busybox ln -s /nix/store/gone $out/etc/systemd/system/lost.service";
    tree.set(&tree.build("1", builder)?)?;
    let words = "etc/systemd/system/lost.service: No such file or directory: a boot without a unit of its closure";
    refused(&tree.lastgood(&["install"])?, &[words]);
    Ok(())
}

#[test]
fn what_costs_a_proof_is_said_and_installed_all_the_same() -> Result<()> {
    let tree = Tree::new()?;
    tree.set(&tree.build("1", "")?)?;
    let said = tree.lastgood(&["install"])?;
    ok(&said);
    for words in [
        "generation 1 has no units in etc/systemd/system",
        "and not to /usr/bin/lastgood: systemd reads fstab",
    ] {
        assert!(said.stderr.contains(words), "{}", said.stderr);
    }
    Ok(())
}

/// A lock over the reboot would never be given back.
#[test]
fn a_hook_that_could_not_be_run_is_refused_and_nothing_changes() -> Result<()> {
    let tree = Tree::new()?;
    tree.set(&tree.build("1", "")?)?;
    ok(&tree.lastgood(&["install"])?);
    let make = "printf '#!/bin/sh\\n' > $out/unlock; /bin/busybox chmod +x $out/unlock";
    for (number, hook, builder, words) in [
        (
            "2",
            "on-proven = \"unlock\"",
            "",
            "[hooks] on-proven: cannot read /nix/store/",
        ),
        (
            "3",
            "on-fallback = \"unlock\"",
            "echo > $out/unlock",
            "[hooks] on-fallback: /nix/store/",
        ),
        (
            "4",
            "on-degraded = \"/gone/unlock\"",
            "",
            "[hooks] on-degraded: cannot read /gone/unlock: ",
        ),
        (
            "5",
            "on-degraded = \"unlock\"",
            make,
            "line 1 names /bin/sh, which is not there; mend it",
        ),
    ] {
        let config = format!("printf '[hooks]\\n{hook}\\n' > $out/etc/lastgood/lastgood.toml");
        tree.set(&tree.build(number, &format!("{config}; {builder}"))?)?;
        let before = tree.entries()?;
        refused(&tree.lastgood(&["install"])?, &[words]);
        assert_eq!(tree.entries()?, before);
    }
    files::write(&tree.path("bin/sh"), "")?;
    ok(&tree.lastgood(&["install"])?);
    Ok(())
}
