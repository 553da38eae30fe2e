//! `may-be-removed`: what the package asks before its files go.

use std::fs;

use anyhow::Result;
use lastgood_tests::files;
use lastgood_tests::tree::{KERNEL, Tree};

use super::{ok, refused};

const DEBIAN: &str = "title Debian\nversion 6.1\nlinux /debian/6.1/linux\noptions root=/dev/sda2\n";
/// A closure that stage 2 starts.
const STAGE_2: &str = "rm -f $out/init; ln -s /usr/bin/lastgood $out/init";

/// A Debian machine with its own entry, and one generation that was never booted.
fn machine(extra: &str) -> Result<Tree> {
    let tree = Tree::new()?;
    let toplevel = tree.build("1", extra)?;
    tree.set(&toplevel)?;
    files::write(&tree.path("boot/debian/6.1/linux"), fs::read(KERNEL)?)?;
    files::write(&tree.path("boot/loader/entries/debian.conf"), DEBIAN)?;
    files::write(&tree.path("usr/bin/lastgood"), "the agent")?;
    tree.booted("debian.conf")?;
    Ok(tree)
}

const ASKED: &[&str] = &["may-be-removed"];
const IN_USE: &[&str] = &["/usr/bin/lastgood stays", "run `lastgood uninstall`"];

#[test]
fn the_agent_stays_while_a_boot_to_come_starts_with_it() -> Result<()> {
    let tree = machine(STAGE_2)?;
    ok(&tree.lastgood(ASKED)?);
    assert!(!tree.path("var/lib/lastgood").try_exists()?, "it wrote");

    // A trial, and nothing is proven: the distribution's own entry is what is left.
    ok(&tree.lastgood(&["install"])?);
    let before = tree.stamps()?;
    refused(&tree.lastgood(ASKED)?, IN_USE);
    assert_eq!(tree.stamps()?, before);
    ok(&tree.lastgood(&["uninstall"])?);
    ok(&tree.lastgood(ASKED)?);

    // Proven: its closure is what is left, and that starts with the agent.
    ok(&tree.lastgood(&["install", "1"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    refused(&tree.lastgood(ASKED)?, IN_USE);
    ok(&tree.lastgood(&["uninstall"])?);
    refused(
        &tree.lastgood(ASKED)?,
        &[
            "nixos-generation-1.conf is to boot",
            "`bootctl set-default debian.conf`",
        ],
    );
    // Also when nothing is on record any more.
    let ledger = tree.path("var/lib/lastgood/ledger.jsonl");
    let kept = fs::read(&ledger)?;
    fs::remove_file(&ledger)?;
    refused(
        &tree.lastgood(ASKED)?,
        &["nixos-generation-1.conf is to boot"],
    );
    files::write(&ledger, kept)?;

    // What the line says.
    tree.firmware_says("LoaderEntryDefault", "debian.conf")?;
    ok(&tree.lastgood(ASKED)?);
    tree.firmware_says("LoaderEntryDefault", "nixos-generation-1.conf")?;
    refused(
        &tree.lastgood(ASKED)?,
        &["nixos-generation-1.conf is to boot"],
    );
    // The distribution's, with a counter: what comes after its tries counts.
    let entries = tree.path("boot/loader/entries");
    fs::remove_file(entries.join("debian.conf"))?;
    let first = format!("{DEBIAN}sort-key a\n");
    files::write(&entries.join("debian.conf"), &first)?;
    files::write(&tree.path("boot/loader/loader.conf"), "timeout 3\n")?;
    tree.firmware_says("LoaderEntryDefault", "")?;
    ok(&tree.lastgood(ASKED)?);
    fs::rename(entries.join("debian.conf"), entries.join("debian+3.conf"))?;
    refused(
        &tree.lastgood(ASKED)?,
        &["nixos-generation-1.conf is to boot"],
    );
    Ok(())
}

#[test]
fn the_agent_may_go_where_closures_start_without_it() -> Result<()> {
    let tree = machine("")?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    refused(&tree.lastgood(ASKED)?, IN_USE);

    // Nobody knows what is on a boot partition that is not there.
    fs::rename(tree.path("boot"), tree.path("boot.away"))?;
    let said = tree.lastgood(ASKED)?;
    refused(&said, &["nothing can be given back", "mend that"]);
    // Nor does a damaged record mean that nobody uses it.
    let ledger = tree.path("var/lib/lastgood/ledger.jsonl");
    let kept = fs::read(&ledger)?;
    files::write(&ledger, "{\"broken\n")?;
    assert_eq!(tree.lastgood(ASKED)?.status, 1);
    files::write(&ledger, kept)?;
    fs::rename(tree.path("boot.away"), tree.path("boot"))?;

    // Entries without a record are of somebody who is in use.
    let ledger = tree.path("var/lib/lastgood/ledger.jsonl");
    let kept = fs::read(&ledger)?;
    fs::remove_file(&ledger)?;
    assert_eq!(tree.lastgood(ASKED)?.status, 1);
    files::write(&ledger, kept)?;

    ok(&tree.lastgood(&["uninstall"])?);
    ok(&tree.lastgood(ASKED)?);

    // It boots by another loader now. Nobody is to bring lastgood back to get rid of it.
    fs::remove_dir_all(tree.path("boot/EFI"))?;
    let said = tree.lastgood(ASKED)?;
    refused(
        &said,
        &[
            "no systemd-boot can be seen",
            "or remove /var/lib/lastgood if",
        ],
    );
    assert!(!said.stderr.contains("lastgood install"), "{said:?}");
    fs::remove_dir_all(tree.path("var/lib/lastgood"))?;
    ok(&tree.lastgood(ASKED)?);
    Ok(())
}

/// The firmware may start from the other disk.
#[test]
fn the_agent_stays_while_a_mirror_starts_with_it() -> Result<()> {
    let mirrored = "mkdir -p $out/etc/lastgood; echo '[boot]\nmirrors = [\"/boot2\"]' >$out/etc/lastgood/lastgood.toml";
    let tree = machine(&format!("{STAGE_2}; {mirrored}"))?;
    files::copy_tree(&tree.path("boot"), &tree.path("boot2"))?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    ok(&tree.lastgood(&["uninstall"])?);
    for (place, stays) in [("boot", true), ("boot2", false)] {
        let conf = tree.path(place).join("loader/loader.conf");
        assert!(
            fs::read_to_string(&conf)?.contains("default nixos-generation-1.conf"),
            "{place}"
        );
        refused(
            &tree.lastgood(ASKED)?,
            &["nixos-generation-1.conf is to boot"],
        );
        files::write(&conf, "timeout 3\ndefault debian.conf\n")?;
        let said = tree.lastgood(ASKED)?;
        assert_eq!(said.status == 1, stays, "{place}: {said:?}");
    }
    Ok(())
}
