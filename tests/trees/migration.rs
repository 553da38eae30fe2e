//! A machine that nixpkgs' systemd-boot builder wrote becomes ours, and is given back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use lastgood_tests::nixpkgs::{self, Scheme};
use lastgood_tests::tree::Tree;
use serde_json::{Value, json};

use super::places::says;
use super::steps::boot;
use super::{boots, json, ok, refused};

fn loader_conf(tree: &Tree) -> Result<String> {
    Ok(fs::read_to_string(tree.path("boot/loader/loader.conf"))?)
}

/// The entries that boot now and after 1 to 12 failures, each once, in this order.
fn chain(tree: &Tree) -> Result<Vec<String>> {
    let ended = tree.lastgood(&["next-boot", "--json", "--failures", "12"])?;
    let rows = json(&ended);
    assert_eq!(rows.len(), 13, "{rows:?}");
    let mut names: Vec<String> = rows
        .iter()
        .filter_map(|row| row["entry"].as_str())
        .map(|name| {
            name.split(['+'])
                .next()
                .unwrap_or(name)
                .trim_end_matches(".conf")
                .to_owned()
        })
        .collect();
    names.dedup();
    Ok(names)
}

/// The closure that boots after 12 failures.
fn end(tree: &Tree) -> Result<PathBuf> {
    let ended = tree.lastgood(&["next-boot", "--json", "--failures", "12"])?;
    let last: Value = json(&ended).pop().context("nothing boots")?;
    let file = last["entry"].as_str().context("no name")?.to_owned();
    // The counter may have fallen since.
    let stem = file
        .split('+')
        .next()
        .unwrap_or(&file)
        .trim_end_matches(".conf");
    let entries = tree.entries()?;
    let name = entries
        .iter()
        .find(|name| name.starts_with(stem))
        .context("no file")?;
    let text = fs::read_to_string(tree.path("boot/loader/entries").join(name))?;
    let init = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix("init="));
    Ok(init
        .and_then(|init| init.strip_suffix("/init"))
        .context("no init")?
        .into())
}

fn theirs(tree: &Tree) -> Result<Vec<String>> {
    let mut names = tree.entries()?;
    names.retain(|name| name.starts_with("nixos-"));
    Ok(names)
}

fn files(tree: &Tree, directory: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for item in fs::read_dir(tree.path(directory))? {
        names.push(item?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// A machine that nixpkgs wrote ([`nixpkgs::machine`]), and boots as it should.
fn migrated(tree: &Tree, scheme: Scheme) -> Result<(Vec<PathBuf>, Vec<String>)> {
    let (toplevels, names) = nixpkgs::machine(tree, scheme)?;
    assert_eq!(end(tree)?, toplevels[2]);
    Ok((toplevels, names))
}

fn what_is_nobodys_business_stays(tree: &Tree) -> Result<()> {
    let entries = tree.entries()?;
    for name in ["debian.conf", "nixos-generation-4.conf"] {
        assert!(
            entries.iter().any(|entry| entry == name),
            "{name}: {entries:?}"
        );
    }
    for path in [
        "boot/EFI/nixos/another.efi",
        "boot/EFI/nixos/.extra-files/banana.conf",
    ] {
        assert!(tree.path(path).is_file(), "{path}");
    }
    Ok(())
}

#[test]
fn from_nixpkgs_numbered_entries() -> Result<()> {
    from_nixpkgs(Scheme::Numbered)
}

#[test]
fn from_nixpkgs_hashed_entries() -> Result<()> {
    from_nixpkgs(Scheme::Hashed)
}

fn from_nixpkgs(scheme: Scheme) -> Result<()> {
    let tree = Tree::new()?;
    let (toplevels, _) = migrated(&tree, scheme)?;
    let first = tree.lastgood(&["install"])?;
    assert!(
        ok(&first).contains("generation 4 (trial) boots next"),
        "{first:?}"
    );
    let tried = chain(&tree)?;
    assert!(tried[0].starts_with("lastgood-4-") && tried[1].starts_with("lastgood-before-"));
    assert_eq!(
        (tried.len(), end(&tree)?),
        (2, toplevels[2].clone()),
        "{tried:?}"
    );
    assert_eq!(theirs(&tree)?.len(), 4);
    assert!(ok(&tree.lastgood(&["install"])?).contains("nothing to do"));
    let rows = json(&tree.lastgood(&["next-boot", "--json", "--failures", "3"])?);
    let told: Vec<_> = rows
        .iter()
        .map(|row| (&row["generation"], &row["standIn"]))
        .collect();
    assert_eq!(
        told[2..],
        [(&json!(4), &json!(false)), (&json!(3), &json!(true))]
    );
    let told = tree.lastgood(&["next-boot", "--failures", "3"])?;
    assert!(
        ok(&told).contains("generation 3, as before lastgood"),
        "{told:?}"
    );

    // The trial fails until the loader gives up, and what ran before runs again.
    for _ in 0..3 {
        tree.count_a_boot(4)?;
    }
    assert_eq!(chain(&tree)?.len(), 1);
    assert_eq!(end(&tree)?, toplevels[2]);
    boot(&tree, &toplevels[2], 1)?;
    assert!(ok(&tree.lastgood(&["why", "4"])?).contains("as often as it may"));
    assert_eq!(end(&tree)?, toplevels[2]);
    what_is_nobodys_business_stays(&tree)?;

    // It passes its assessment.
    ok(&tree.lastgood(&["good"])?);
    let after = chain(&tree)?;
    assert!(
        after.len() == 1 && after[0].starts_with("lastgood-3-"),
        "{after:?}"
    );
    assert_eq!(theirs(&tree)?, ["nixos-generation-4.conf"]);
    assert_eq!(
        files(&tree, "boot/EFI/nixos")?,
        [".extra-files", "another.efi"]
    );
    what_is_nobodys_business_stays(&tree)?;
    let systemds: Vec<Value> = tree.bootctl_list()?;
    assert!(systemds.iter().all(|entry| entry["linux"].is_string()));
    ok(&tree.lastgood(&["install", "3"])?);
    assert!(ok(&tree.lastgood(&["install", "3"])?).contains("nothing to do"));
    Ok(())
}

/// Boot counting on: one of theirs is a trial of theirs.
#[test]
fn an_entry_of_theirs_that_is_still_counted_has_proven_nothing() -> Result<()> {
    let tree = Tree::new()?;
    let (toplevels, names) = migrated(&tree, Scheme::Hashed)?;
    let entries = tree.path("boot/loader/entries");
    let to = format!("{}+2-1.conf", names[2]);
    fs::rename(
        entries.join(format!("{}.conf", names[2])),
        entries.join(&to),
    )?;
    ok(&tree.lastgood(&["install"])?);
    assert_eq!(end(&tree)?, toplevels[1]);
    ok(&tree.lastgood(&["good", "4"])?);
    assert_eq!(theirs(&tree)?, ["nixos-generation-4.conf"]);
    Ok(())
}

#[test]
fn uninstalled_and_installed_again() -> Result<()> {
    let tree = Tree::new()?;
    let (toplevels, _) = migrated(&tree, Scheme::Numbered)?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["good", "3"])?);
    assert_eq!(boots(&tree, 4)?, ["4", "4", "4", "3", "3"]);

    let before = tree.stamps()?;
    let told = tree.lastgood(&["uninstall", "--dry-run"])?;
    assert!(ok(&told).contains("would write loader/entries/nixos-generation-3.conf"));
    assert_eq!(tree.stamps()?, before);

    let done = tree.lastgood(&["uninstall"])?;
    assert!(
        ok(&done).contains("nixos-generation-3.conf boots next"),
        "{done:?}"
    );
    assert!(done.stdout.contains("ledger.jsonl is kept"), "{done:?}");
    assert_eq!(chain(&tree)?, ["nixos-generation-3"]);
    assert_eq!(end(&tree)?, toplevels[2]);
    assert_eq!(
        loader_conf(&tree)?,
        "timeout 5\nconsole-mode keep\ndefault nixos-generation-3.conf\n"
    );
    assert!(!tree.path("boot/EFI/lastgood").try_exists()?);
    let ours = |name: &String| name.starts_with("lastgood");
    assert!(!tree.entries()?.iter().any(ours), "{:?}", tree.entries()?);
    what_is_nobodys_business_stays(&tree)?;
    // As the builder names them, so that it finds them there.
    for link in ["kernel", "initrd"] {
        let (name, bytes) = nixpkgs::payload(&tree, &toplevels[2], link)?;
        assert_eq!(fs::read(tree.path("boot/EFI/nixos").join(name))?, bytes);
    }

    // Again, a boot, and a verdict: nothing of ours comes back.
    let before = tree.stamps()?;
    assert!(ok(&tree.lastgood(&["uninstall"])?).contains("nothing to do"));
    assert_eq!(tree.stamps()?, before);
    boot(&tree, &toplevels[2], 1)?;
    ok(&tree.lastgood(&["good", "3"])?);
    ok(&tree.lastgood(&["step", "fall-back"])?);
    assert_eq!(chain(&tree)?, ["nixos-generation-3"]);
    refused(
        &tree.lastgood(&["verify", "--repair"])?,
        &["`lastgood install` comes first"],
    );

    let again = tree.lastgood(&["install"])?;
    assert!(
        ok(&again).contains("generation 4 (trial) boots next"),
        "{again:?}"
    );
    assert_eq!(boots(&tree, 4)?, ["4", "4", "4", "3", "3"]);
    assert_eq!(theirs(&tree)?, ["nixos-generation-4.conf"]);
    Ok(())
}

/// nixpkgs' builder has run again: what it wrote will do.
#[test]
fn uninstalled_beside_nixpkgs_own_entries() -> Result<()> {
    for scheme in [Scheme::Numbered, Scheme::Hashed] {
        let tree = Tree::new()?;
        let (toplevels, _) = migrated(&tree, scheme)?;
        ok(&tree.lastgood(&["install", "3"])?);
        ok(&tree.lastgood(&["good", "3"])?);
        let mut name = String::new();
        for number in [1, 2, 3] {
            name = nixpkgs::write(&tree, scheme, number, &toplevels[number - 1])?;
        }
        ok(&tree.lastgood(&["uninstall"])?);
        assert_eq!(chain(&tree)?, [name]);
        assert_eq!(end(&tree)?, toplevels[2]);
        assert_eq!(theirs(&tree)?.len(), 4);
        what_is_nobodys_business_stays(&tree)?;
    }
    Ok(())
}

#[test]
fn with_nothing_proven_there_may_be_nothing_to_give_back() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = tree.generations(2)?;
    assert!(tree.path("boot").is_dir());
    assert!(ok(&tree.lastgood(&["uninstall"])?).contains("nothing to do"));
    ok(&tree.lastgood(&["install"])?);
    let before = tree.stamps()?;
    refused(
        &tree.lastgood(&["uninstall"])?,
        &[
            "no generation is proven",
            "lastgood good",
            "nothing was changed",
        ],
    );
    assert_eq!(tree.stamps()?, before);
    // What runs has proven that much.
    boot(&tree, &toplevels[0], 1)?;
    ok(&tree.lastgood(&["uninstall"])?);
    assert_eq!(chain(&tree)?, ["nixos-generation-1"]);

    // Before anything was proven, what nixpkgs wrote is what there was.
    let tree = Tree::new()?;
    let (toplevels, _) = migrated(&tree, Scheme::Numbered)?;
    fs::remove_file(tree.path("proc/cmdline"))?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["uninstall"])?);
    assert_eq!(chain(&tree)?, ["nixos-generation-3"]);
    assert_eq!(end(&tree)?, toplevels[2]);
    Ok(())
}

/// nixpkgs' builder took a generation that we do not take: its entry is all there is of it.
#[test]
fn what_we_cannot_replace_is_not_removed() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = tree.generations(2)?;
    for (number, toplevel) in (1..).zip(&toplevels) {
        nixpkgs::write(&tree, Scheme::Numbered, number, toplevel)?;
    }
    // Whatever the reason is.
    let second = tree.path(&toplevels[1].join("boot.json").to_string_lossy()[1..]);
    fs::set_permissions(
        second.parent().context("a closure")?,
        PermissionsExt::from_mode(0o755),
    )?;
    fs::remove_file(&second)?;
    fs::File::create(&second)?;
    let payload = files(&tree, "boot/EFI/nixos")?;
    ok(&tree.lastgood(&["install", "1"])?);
    let said = tree.lastgood(&["good", "1"])?;
    ok(&said);
    assert_eq!(theirs(&tree)?, ["nixos-generation-2.conf"]);
    let second = nixpkgs::payload(&tree, &toplevels[1], "initrd")?.0;
    let kernel = nixpkgs::payload(&tree, &toplevels[1], "kernel")?.0;
    let left = files(&tree, "boot/EFI/nixos")?;
    assert!(left.len() < payload.len(), "{left:?}");
    assert!(left.contains(&second) && left.contains(&kernel), "{left:?}");
    let told = "nixos-generation-2.conf stays, because no entry of ours can take its place";
    assert!(said.stderr.contains(told), "{said:?}");
    Ok(())
}

/// An entry in a mirror that cannot be looked at may start a closure. Until that can be told, Nix keeps all of them.
#[test]
fn roots_stay_while_a_mirror_cannot_be_looked_at() -> Result<()> {
    let tree = Tree::new()?;
    fs::create_dir(tree.path("boot2"))?;
    tree.set(&tree.build("1", &says(r#"mirrors = ["/boot2"]"#))?)?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    let roots = tree.path("nix/var/nix/gcroots/lastgood");
    assert_eq!(fs::read_dir(&roots)?.count(), 1);
    fs::rename(tree.path("boot2"), tree.path("away"))?;
    refused(&tree.lastgood(&["uninstall"])?, &["/boot2"]);
    let left = files(&tree, "boot/loader/entries")?;
    let is_ours = |name: &String| name.starts_with("lastgood-");
    assert!(!left.iter().any(is_ours), "what can be reached is done");
    assert_eq!(fs::read_dir(&roots)?.count(), 1);
    fs::rename(tree.path("away"), tree.path("boot2"))?;
    ok(&tree.lastgood(&["uninstall"])?);
    assert_eq!(fs::read_dir(&roots)?.count(), 0);
    Ok(())
}

/// What is left of a plain host's `/etc` does not depend on the store, and Nix may collect what nothing starts.
#[test]
fn what_is_off_boot_is_given_back_too() -> Result<()> {
    let tree = Tree::new()?;
    let files =
        "mkdir -p $out/etc/nginx; echo hello > $out/etc/motd; echo 1 > $out/etc/nginx/nginx.conf";
    let toplevel = tree.build("1", files)?;
    tree.set(&toplevel)?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    boot(&tree, &toplevel, 1)?;
    ok(&tree.lastgood(&["step", "activate"])?);
    assert!(tree.path("etc/motd").is_symlink() && tree.path("run/current-system").is_symlink());
    let roots = tree.path("nix/var/nix/gcroots/lastgood");
    assert_eq!(fs::read_dir(&roots)?.count(), 1);

    let would = tree.lastgood(&["uninstall", "--dry-run"])?;
    for line in [
        "would make /etc/motd a copy of what it leads to",
        "would remove /etc/static",
        "would remove /run/current-system",
        "would leave to the garbage collector what",
    ] {
        assert!(ok(&would).contains(line), "{line}: {would:?}");
    }
    assert!(tree.path("etc/motd").is_symlink());
    ok(&tree.lastgood(&["uninstall"])?);
    for (path, text) in [("etc/motd", "hello\n"), ("etc/nginx/nginx.conf", "1\n")] {
        assert!(!tree.path(path).is_symlink(), "{path}");
        assert_eq!(fs::read_to_string(tree.path(path))?, text);
    }
    for gone in ["etc/static", "run/current-system", "run/booted-system"] {
        assert!(!tree.path(gone).is_symlink(), "{gone}");
    }
    assert_eq!(fs::read_dir(&roots)?.count(), 0);
    assert!(ok(&tree.lastgood(&["uninstall"])?).contains("nothing to do"));
    // The next boot of it touches nothing of that.
    boot(&tree, &toplevel, 2)?;
    ok(&tree.lastgood(&["step", "activate"])?);
    assert!(!tree.path("etc/static").is_symlink());
    assert_eq!(fs::read_dir(&roots)?.count(), 0);
    Ok(())
}

#[test]
fn nothing_in_the_etc_of_nixos_is_touched() -> Result<()> {
    let tree = Tree::new()?;
    let toplevel = tree.build("1", "mkdir -p $out/etc; echo hello > $out/etc/motd")?;
    tree.set(&toplevel)?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    lastgood_tests::files::write(&tree.path("etc/NIXOS"), "")?;
    std::os::unix::fs::symlink(toplevel.join("etc"), tree.path("etc/static"))?;
    std::os::unix::fs::symlink("/etc/static/motd", tree.path("etc/motd"))?;
    assert!(ok(&tree.lastgood(&["uninstall"])?).contains("nothing in /etc was touched"));
    assert!(tree.path("etc/static").is_symlink() && tree.path("etc/motd").is_symlink());
    Ok(())
}
