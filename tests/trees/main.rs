//! Ring 2: the shipped binary with `--root`, on directories that play machines, with real Nix profiles, read back by
//! systemd's own `bootctl`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics is a test that fails"
)]

mod activation;
mod catalogue;
mod closures;
mod descriptions;
mod diff;
mod digests;
mod distribution;
mod etc;
mod faults;
mod firewall;
mod first_place;
mod foreign;
mod ledger;
mod migration;
mod monitoring;
mod nixos;
mod nixos_install;
mod numbers;
mod owners;
mod package;
mod peers;
mod places;
mod proof;
mod ready;
mod recipes_page;
mod removal;
mod screens;
mod screens_page;
mod secure_boot;
mod space;
mod steps;
mod systemd_boot;
mod verify;
mod why_page;
mod words;
mod writes;

use std::fs;
use std::path::Path;

use anyhow::Result;
use boot_entries::loader_conf::DEFAULT_PATTERN;
use lastgood_tests::tree::{Ended, Tree};
use serde_json::Value;

/// It must have worked.
fn ok(ended: &Ended) -> &str {
    assert_eq!(ended.status, 0, "{ended:?}");
    &ended.stdout
}

/// It must have been refused, in one line that says each of `words`.
/// The keys of an object, sorted.
fn keys(value: &Value) -> String {
    let object = value.as_object();
    let keys: Vec<&str> = object
        .into_iter()
        .flat_map(|one| one.keys())
        .map(String::as_str)
        .collect();
    keys.join(" ")
}

fn refused(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.status, 1, "{ended:?}");
    let told: Vec<&str> = ended
        .stderr
        .lines()
        .filter(|line| line.starts_with("lastgood: "))
        .collect();
    assert_eq!(told.len(), 1, "{ended:?}");
    for word in words {
        assert!(told[0].contains(word), "{word:?} is not in {told:?}");
    }
}

fn json(ended: &Ended) -> Vec<Value> {
    serde_json::from_str(ok(ended)).unwrap()
}

/// The generations that boot, by `next-boot`.
fn boots(tree: &Tree, failures: u32) -> Result<Vec<String>> {
    let ended = tree.lastgood(&["next-boot", "--json", "--failures", &failures.to_string()])?;
    let rows = json(&ended);
    // Where there are mirrors, from the place that the loader reads next.
    let first = rows.iter().filter(|row| row["place"] == rows[0]["place"]);
    let generation = |row: &Value| match &row["generation"] {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        number => number.to_string(),
    };
    Ok(first.map(generation).collect())
}

#[test]
fn three_generations_as_bootctl_reads_them_and_a_second_run_that_writes_nothing() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = tree.generations(3)?;
    ok(&tree.lastgood(&["install", toplevels[1].to_str().unwrap()])?);

    let listed = tree.bootctl_list()?;
    let titles: Vec<&str> = listed
        .iter()
        .filter_map(|entry| entry["title"].as_str())
        .collect();
    let title = |number: u32| format!("NixOS 26.05.{number} (generation {number})");
    assert_eq!(titles, [title(2), title(3), title(1)]);
    for (entry, number) in listed.iter().zip([2_usize, 3, 1]) {
        let toplevel = toplevels[number - 1].display();
        assert_eq!(
            entry["options"],
            format!("init={toplevel}/init panic=10 quiet number={number}")
        );
        assert_eq!(entry["triesLeft"], 3);
        assert_eq!(entry["triesDone"], 0);
        let initrd = entry["initrd"][0]
            .as_str()
            .unwrap()
            .trim_start_matches('/')
            .to_owned();
        let text = fs::read_to_string(tree.path("boot").join(initrd))?;
        assert_eq!(text, format!("initrd of {number}\n"));
        let kernel = entry["linux"]
            .as_str()
            .unwrap()
            .trim_start_matches('/')
            .to_owned();
        let stub = fs::read("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")?;
        assert_eq!(fs::read(tree.path("boot").join(kernel))?, stub);
    }
    assert_eq!(boots(&tree, 6)?, ["2", "2", "2", "3", "3", "3", "1"]);

    let before = tree.stamps()?;
    let second = tree.lastgood(&["install", toplevels[1].to_str().unwrap()])?;
    assert!(ok(&second).contains("nothing to do"), "{second:?}");
    assert_eq!(tree.stamps()?, before);
    Ok(())
}

#[test]
fn the_life_of_a_machine() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = tree.generations(2)?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["good", "2"])?);
    assert!(
        !tree.entry_of(2)?.contains('+'),
        "a proven entry carries no counter"
    );

    tree.set(&tree.build("3", "")?)?;
    ok(&tree.lastgood(&["install"])?);
    assert_eq!(boots(&tree, 4)?, ["3", "3", "3", "2", "2"]);
    tree.count_a_boot(3)?;
    assert!(
        ok(&tree.lastgood(&["install"])?).contains("nothing to do"),
        "tries are not given back"
    );
    assert_eq!(boots(&tree, 2)?, ["3", "3", "2"]);

    // It turns out bad.
    ok(&tree.lastgood(&["bad", "3"])?);
    assert!(
        tree.entry_of(3)?.ends_with("+0-1.conf"),
        "{}",
        tree.entry_of(3)?
    );
    assert_eq!(boots(&tree, 2)?, ["2", "2", "2"]);
    let current = fs::read_link(tree.path("nix/var/nix/profiles/system"))?;
    assert_eq!(current, Path::new("system-2-link"), "the profile follows");
    assert!(ok(&tree.lastgood(&["why", "3"])?).contains("the operator rejected it"));

    // No automatism brings it back; the operator can.
    let third = fs::canonicalize(tree.path("nix/var/nix/profiles"))?.join("system-3-link");
    let third = fs::read_link(third)?;
    let third = third.to_str().unwrap();
    refused(
        &tree.lastgood(&["install", third])?,
        &["generation 3 was rejected", "--again"],
    );
    ok(&tree.lastgood(&["install", "--again", third])?);
    assert_eq!(boots(&tree, 3)?, ["3", "3", "3", "2"]);

    // Back to a generation that was never proven here: a trial like any other.
    ok(&tree.lastgood(&["install", toplevels[0].to_str().unwrap()])?);
    assert_eq!(boots(&tree, 3)?, ["1", "1", "1", "2"]);
    Ok(())
}

#[test]
fn what_a_fallback_needs_survives_nix() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = tree.generations(2)?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["good", "2"])?);
    tree.set(&tree.build("3", "")?)?;
    ok(&tree.lastgood(&["install"])?);
    tree.delete_generation(1)?;
    tree.delete_generation(2)?;
    ok(&tree.lastgood(&["install"])?);
    assert_eq!(
        boots(&tree, 4)?,
        ["3", "3", "3", "2", "2"],
        "the last good one stays although its profile link is gone"
    );
    assert!(
        tree.entry_of(1).is_err(),
        "nobody needs the first one any more"
    );
    let entry = tree.entry_of(2)?;
    let root = tree
        .path("nix/var/nix/gcroots/lastgood")
        .join(entry.trim_end_matches(".conf"));
    assert_eq!(fs::read_link(root)?, toplevels[1]);
    Ok(())
}

#[test]
fn one_broken_generation_never_stops_the_others() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(1)?;
    for (name, damage) in [
        (
            "nothing",
            "/bin/busybox rm $out/boot.json $out/kernel-params",
        ),
        (
            "bad-json",
            "echo '{ \"org.nixos.bootspec.v1\": 3 }' > $out/boot.json",
        ),
        (
            "no-kernel",
            "/bin/busybox sed -i 's|-linux\"|-gone\"|' $out/boot.json",
        ),
        (
            "not-efi",
            "/bin/busybox sed -i \"s|[^\\\"]*-linux\\\"|$out/nixos-version\\\"|\" $out/boot.json",
        ),
        (
            "for-arm",
            "/bin/busybox sed -i 's|x86_64-linux|aarch64-linux|' $out/boot.json",
        ),
        (
            "another",
            "/bin/busybox sed -i \"s|$out/init|/nix/store/elsewhere/init|\" $out/boot.json",
        ),
    ] {
        tree.set(&tree.build(name, damage)?)?;
    }
    let good = tree.build("8", "")?;
    tree.set(&good)?;
    let installed = tree.lastgood(&["install"])?;
    ok(&installed);
    assert_eq!(tree.entries()?.len(), 2, "{:?}", tree.entries()?);
    for (number, why) in (2..=7).zip([
        "there is no boot.json, and",
        "boot.json: invalid type: integer",
        "-gone cannot be read: No such file",
        "is no EFI image",
        "system is \"aarch64-linux\"",
        "init is /nix/store/elsewhere/init",
    ]) {
        let line = installed
            .stderr
            .lines()
            .find(|line| line.contains(&format!("generation {number} cannot be booted")));
        let line = line.unwrap_or_else(|| panic!("{number}: {installed:?}"));
        assert!(line.contains(why), "{why}: {line}");
    }
    let listed = json(&tree.lastgood(&["list-generations", "--json"])?);
    let states: Vec<&str> = listed
        .iter()
        .filter_map(|row| row["state"].as_str())
        .collect();
    assert_eq!(
        states,
        [
            "trial",
            "unbootable",
            "unbootable",
            "unbootable",
            "unbootable",
            "unbootable",
            "unbootable",
            "untested"
        ]
    );

    let broken = fs::read_link(tree.path("nix/var/nix/profiles/system-3-link"))?;
    let before = tree.stamps()?;
    refused(
        &tree.lastgood(&["install", broken.to_str().unwrap()])?,
        &["generation 3 cannot be booted", "line 1"],
    );
    assert_eq!(tree.stamps()?, before, "refused means nothing changed");
    Ok(())
}

#[test]
fn bad_input_is_one_line_and_changes_nothing() -> Result<()> {
    let tree = Tree::new()?;
    refused(
        &tree.lastgood(&["install"])?,
        &["the system profile points at no generation"],
    );
    let toplevels = tree.generations(1)?;
    let foreign = tree.build("foreign", "")?;
    refused(
        &tree.lastgood(&["install", foreign.to_str().unwrap()])?,
        &["no generation of any profile", "nix-env --profile"],
    );
    refused(
        &tree.lastgood(&["good", "7"])?,
        &["generation 7 is in no profile"],
    );
    refused(
        &tree.lastgood(&["why"])?,
        &["no generation has been judged"],
    );
    for command in ["good", "bad"] {
        let told = format!("what runs is no generation; name one, as in `lastgood {command} 3`");
        refused(&tree.lastgood(&[command])?, &[&told]);
    }

    let misspelt = "echo '[health]' > $out/etc/lastgood/lastgood.toml; echo '  dedline-sec = 3' >> $out/etc/lastgood/lastgood.toml";
    tree.set(&tree.build("misspelt", misspelt)?)?;
    refused(
        &tree.lastgood(&["install"])?,
        &["lastgood.toml", "line 2, column 3", "dedline-sec"],
    );
    assert!(
        !tree.path("boot/loader").try_exists()?,
        "nothing was written"
    );

    ok(&tree.lastgood(&["install", toplevels[0].to_str().unwrap()])?);
    refused(
        &tree.lastgood(&["bad", "1"])?,
        &["no other generation is proven"],
    );
    for usage in [
        &["frobnicate"][..],
        &["good", "x"],
        &["next-boot", "--failures", "-1"],
        &[],
    ] {
        assert_eq!(tree.lastgood(usage)?.status, 2, "{usage:?}");
    }
    fs::remove_dir_all(tree.path("boot"))?;
    refused(
        &tree.lastgood(&["install", toplevels[0].to_str().unwrap()])?,
        &["none of /efi, /boot and /boot/efi is a directory"],
    );
    Ok(())
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_nothing() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(2)?;
    ok(&tree.lastgood(&["install"])?);
    tree.set(&tree.build("3", "")?)?;
    let before = tree.stamps()?;
    let said = tree.lastgood(&["install", "--dry-run"])?;
    assert!(
        ok(&said).contains("would write loader/entries/lastgood-3-"),
        "{said:?}"
    );
    assert!(
        said.stdout.ends_with("would select generation 3\n"),
        "{said:?}"
    );
    assert_eq!(tree.stamps()?, before);
    Ok(())
}

#[test]
fn foreign_files_and_the_operators_settings_stay() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(1)?;
    fs::create_dir_all(tree.path("boot/loader/entries"))?;
    fs::create_dir_all(tree.path("boot/EFI/lastgood"))?;
    let foreign = [
        (
            "boot/loader/entries/debian.conf",
            "title Debian\nlinux /vmlinuz\n",
        ),
        ("boot/loader/entries/lastgood-notes.conf", "title mine\n"),
        ("boot/EFI/lastgood/README", "mine\n"),
        ("boot/loader/random-seed", "seed\n"),
    ];
    for (path, text) in foreign {
        fs::File::create(tree.path(path))
            .and_then(|mut f| std::io::Write::write_all(&mut f, text.as_bytes()))?;
    }
    let stuck = tree.path("boot/loader/entries/.lastgood-lastgood-1-00000000.conf.part");
    fs::File::create(&stuck)?;
    fs::File::create(tree.path("boot/loader/loader.conf")).and_then(|mut f| {
        std::io::Write::write_all(&mut f, b"timeout 0\nconsole-mode max\ndefault @saved\n")
    })?;
    ok(&tree.lastgood(&["install"])?);
    for (path, text) in foreign {
        assert_eq!(fs::read_to_string(tree.path(path))?, text);
    }
    assert!(
        !stuck.try_exists()?,
        "what an interrupted run left is swept"
    );
    let conf = fs::read_to_string(tree.path("boot/loader/loader.conf"))?;
    assert_eq!(
        conf,
        format!(
            "timeout 0\nconsole-mode max\neditor no\ndefault {DEFAULT_PATTERN}\n# added by lastgood: editor no\n"
        )
    );
    Ok(())
}

/// The keys are a contract (`docs/json.md`).
#[test]
fn the_keys_of_the_json() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(2)?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    ok(&tree.lastgood(&["good", "2"])?);
    ok(&tree.lastgood(&["bad", "2"])?);
    let generations = json(&tree.lastgood(&["list-generations", "--json"])?);
    assert_eq!(
        keys(&generations[0]),
        "booted configurationRevision current date generation kernelVersion lastGood nixosVersion selected \
         specialisations state toplevel triesLeft"
    );
    let status: Value = serde_json::from_str(ok(&tree.lastgood(&["status", "--json"])?))?;
    assert_eq!(
        keys(&status),
        "active afterFailures anothersEntries automaticReboots bindingUnknownLines boundBy damagedLedgerLines degraded \
         healthyTrial hookDue incident lastFallback lastGood liveSwitch loader logWithheld lostRecord lostStandIn nextBoot nextBootBecause notes overrides profileAhead rejected reset \
         running selected stage state suspects unknownLedgerLines version volatileState waitsAtMenu warnings watchedFor wrong"
    );
    // Older than 258: nothing resets the machine by itself.
    assert_eq!(keys(&status["loader"]), "failedProven failedTrial info");
    assert_eq!(status["loader"]["failedTrial"], "returns");
    let why: Value = serde_json::from_str(ok(&tree.lastgood(&["why", "2", "--json"])?))?;
    assert_eq!(
        keys(&why),
        "backTo began boots cause generation healthyTrial logWithheld selectedAt state time toplevel version"
    );
    assert_eq!(keys(&why["cause"]), "faults stage summary units");
    assert_eq!(keys(&why["cause"]["faults"][0]), "key kind");
    let log: Value = serde_json::from_str(ok(&tree.lastgood(&["log", "--json"])?))?;
    assert_eq!(keys(&log), "events version");
    assert_eq!(
        keys(&log["events"][0]),
        "bootBegan event faults reset subject text time"
    );
    let next = json(&tree.lastgood(&["next-boot", "--json"])?);
    assert_eq!(
        keys(&next[0]),
        "anotherSystem broken entry failedStart failures generation standIn state why"
    );
    fs::remove_file(tree.path("boot/loader/loader.conf"))?;
    let verified = tree.lastgood(&["verify", "--json"])?;
    let verified: Value = serde_json::from_str(&verified.stdout)?;
    assert_eq!(
        keys(&verified),
        "overrides places repaired troubles version whole"
    );
    assert_eq!(keys(&verified["places"][0]), "bytes files findings name");
    assert_eq!(
        keys(&verified["places"][0]["findings"][0]),
        "mended path wrong"
    );
    Ok(())
}
