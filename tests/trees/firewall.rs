//! A firewall that the next boot could not load is refused while somebody can mend it.

use anyhow::Result;
use lastgood_tests::tree::Tree;

use super::{ok, refused};

/// A closure that asks for the ruleset `path`, and what its builder adds.
fn asks_for(tree: &Tree, name: &str, path: &str, builder: &str) -> Result<()> {
    let config = format!("[firewall]\\nruleset = \"{path}\"\\n");
    let extra = format!("printf '{config}' > $out/etc/lastgood/lastgood.toml; {builder}");
    tree.set(&tree.build(name, &extra)?)
}

#[test]
fn a_ruleset_that_cannot_be_loaded_is_refused_and_nothing_changes() -> Result<()> {
    let tree = Tree::new()?;
    tree.set(&tree.build("1", "")?)?;
    ok(&tree.lastgood(&["install"])?);
    let put = |text: &str| format!("printf '{text}' > $out/etc/nftables.conf");
    for (number, path, builder, words) in [
        (
            2,
            "etc/nftables.conf",
            String::new(),
            "cannot read the ruleset",
        ),
        (
            3,
            "etc/nftables.conf",
            "/bin/busybox ln -s /gone $out/etc/nftables.conf".to_owned(),
            "is not in the store",
        ),
        (
            4,
            "etc/nftables.conf",
            put("table inet a { }\\n  flush ruleset\\n"),
            "says `flush ruleset` in line 2, column 3",
        ),
        (
            5,
            "etc/nftables.conf",
            put("include \"/etc/nftables.d/*.nft\"\\n"),
            "includes \"/etc/nftables.d/*.nft\" in line 1, column 1",
        ),
        (
            6,
            "etc/nftables.conf",
            put("\\n include \"/etc/host.nft\"\\n"),
            "includes \"/etc/host.nft\" in line 2, column 2, which is not in the store",
        ),
        (
            7,
            "etc/nftables.conf",
            put("include \"rules.nft\"\\n"),
            "only absolute paths",
        ),
        (
            8,
            "/etc/nftables.conf",
            String::new(),
            "is not in the store",
        ),
        (9, "etc/nftables.conf", put("# none\\n"), "makes no table"),
        (10, "etc", String::new(), "cannot read the ruleset"),
    ] {
        asks_for(&tree, &number.to_string(), path, &builder)?;
        let before = tree.stamps()?;
        for arguments in [&["install"][..], &["install", "--dry-run"]] {
            let ended = tree.lastgood(arguments)?;
            refused(&ended, &[words, "; mend it and build the generation again"]);
            assert_eq!(tree.stamps()?, before, "{number}");
        }
        // It stops no other.
        ok(&tree.lastgood(&["install", "1"])?);
    }
    Ok(())
}

#[test]
fn in_a_tree_it_is_said_that_nft_has_not_looked() -> Result<()> {
    let tree = Tree::new()?;
    let builder = "printf 'table inet a { nonsense }\\n' > $out/etc/nftables.conf";
    asks_for(&tree, "1", "etc/nftables.conf", builder)?;
    let ended = tree.lastgood(&["install"])?;
    ok(&ended);
    assert!(
        ended.stderr.contains("nft has not looked at it"),
        "{ended:?}"
    );
    Ok(())
}
