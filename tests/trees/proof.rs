//! What is said of the boots to come, and what is done about them, where they do not lead back.

use std::fs;

use anyhow::Result;
use boot_entries::systemd_boot::{FALLBACK, SYSTEMD};
use lastgood_tests::files;
use lastgood_tests::tree::{Ended, Tree};
use serde_json::{Value, json};

use super::places::says;
use super::systemd_boot::patched;
use super::verify::{initrd_in_store, initrds};
use super::{boots, ok, refused};

fn rows(ended: &Ended) -> Result<Vec<Value>> {
    Ok(serde_json::from_str(&ended.stdout)?)
}

/// Both copies of the loader call themselves `version`.
fn has_loader(tree: &Tree, version: &str) -> Result<()> {
    for place in [SYSTEMD, FALLBACK] {
        files::write(&tree.path("boot").join(place), patched(version)?)?;
    }
    Ok(())
}

/// What failures lead to must load: an entry that does not is started for ever.
#[test]
fn a_last_good_one_that_cannot_be_started_is_nobodys_way_back() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = tree.generations(3)?;
    for number in ["1", "2"] {
        ok(&tree.lastgood(&["install", number])?);
        ok(&tree.lastgood(&["good", number])?);
    }
    let mut all = initrds(&tree)?.into_iter();
    let second = all.find(|path| fs::read(path).is_ok_and(|text| text == b"initrd of 2\n"));
    let second = second.unwrap();
    let name = second.file_name().unwrap().to_str().unwrap().to_owned();
    fs::remove_file(initrd_in_store(&tree, &toplevels[1])?)?;
    files::write(&second, "rotten")?;

    let told = tree.lastgood(&["next-boot", "--json"])?;
    let first = &rows(&told)?[0];
    assert_eq!(first["generation"], 2);
    let broken = format!("EFI/lastgood/{name} is damaged");
    assert_eq!(first["broken"], broken);
    assert!(first["why"].as_str().unwrap().contains(&broken), "{first}");

    let ended = tree.lastgood(&["install", "3"])?;
    ok(&ended);
    let warned = ended
        .stderr
        .lines()
        .filter(|line| line.contains("what fails leads to generation 1 instead"));
    assert_eq!(warned.count(), 1, "{ended:?}");
    assert_eq!(boots(&tree, 4)?, ["3", "3", "3", "1", "1"]);
    assert!(ok(&tree.lastgood(&["install", "3"])?).contains("nothing to do"));

    fs::remove_file(&second)?;
    for wrong in [&["verify"][..], &["verify", "--repair"]] {
        let ended = tree.lastgood(wrong)?;
        refused(
            &ended,
            &[
                "1 file is not as it should be",
                "generation 2 cannot be booted",
            ],
        );
        let line = format!("/boot: EFI/lastgood/{name}: missing");
        assert!(ended.stdout.contains(&line), "{ended:?}");
        assert!(ended.stdout.contains("not whole"), "{ended:?}");
    }
    // The verdict on the trial does not put it on top again.
    ok(&tree.lastgood(&["bad", "3"])?);
    assert_eq!(boots(&tree, 1)?, ["1", "1"]);
    Ok(())
}

/// nixpkgs writes that for `timeout = null`.
#[test]
fn a_loader_that_waits_at_its_menu_is_told_and_gets_an_end() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(1)?;
    let conf = tree.path("boot/loader/loader.conf");
    fs::create_dir_all(conf.parent().unwrap())?;
    files::write(&conf, "timeout menu-force\n")?;
    let ended = tree.lastgood(&["install"])?;
    ok(&ended);
    assert!(ended.stderr.contains("`timeout menu-force`"), "{ended:?}");
    let whole = fs::read_to_string(&conf)?;
    assert!(whole.starts_with("timeout 3\n"), "{whole}");

    let line = "loader/loader.conf says `timeout 4294967295`";
    files::write(&conf, whole.replace("timeout 3", "timeout 4294967295"))?;
    let told = tree.lastgood(&["next-boot", "--json"])?;
    refused(&told, &[line, "verify --repair"]);
    assert_eq!(rows(&told)?[0]["generation"], 1);
    assert!(ok(&tree.lastgood(&["status"])?).contains(line));
    ok(&tree.lastgood(&["good", "1"])?);
    files::write(&conf, whole.replace("timeout 3", "timeout menu-force"))?;
    let looked = tree.lastgood(&["verify"])?;
    refused(&looked, &["1 file is not as it should be"]);
    assert!(looked.stderr.contains("`timeout menu-force`"), "{looked:?}");
    ok(&tree.lastgood(&["verify", "--repair"])?);
    let mended = fs::read_to_string(&conf)?;
    assert!(
        mended.contains("timeout 3\n") && !mended.contains("force"),
        "{mended}"
    );
    ok(&tree.lastgood(&["next-boot"])?);

    // The variable wins over the file, for better or for worse.
    tree.firmware_says("LoaderConfigTimeout", "menu-force")?;
    let words = ["LoaderConfigTimeout", "presses a key"];
    refused(&tree.lastgood(&["next-boot"])?, &words);
    let status = tree.lastgood(&["status"])?;
    assert_eq!(ok(&status).matches("presses a key").count(), 1);

    tree.set(&tree.build("2", &says("timeout = \"menu-force\""))?)?;
    let words = ["lastgood.toml", "line 2, column 11", "menu-hidden"];
    refused(&tree.lastgood(&["install"])?, &words);
    Ok(())
}

/// Version 258 and 259 start what `LoaderEntryDefault` names for ever.
#[test]
fn where_failures_lead_nowhere_is_told_after_the_work() -> Result<()> {
    let tree = Tree::new()?;
    has_loader(&tree, "259")?;
    tree.generations(3)?;
    ok(&tree.lastgood(&["install", "1"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    ok(&tree.lastgood(&["install", "2"])?);
    let name = tree.entry_of(2)?;
    let (stem, _) = name.split_once('+').unwrap();
    tree.firmware_says("LoaderEntryDefault", &format!("{stem}.conf"))?;
    // The machine is stranded by now, so nothing is refused.
    let ended = tree.lastgood(&["install", "2"])?;
    let words = [
        "would start lastgood-2-",
        "for ever",
        "`bootctl set-default ''`",
    ];
    refused(&ended, &words);
    assert!(!ended.stderr.contains("nothing was changed"), "{ended:?}");
    assert!(
        ended.stdout.contains("generation 2 (trial) boots next"),
        "{ended:?}"
    );
    refused(&tree.lastgood(&["install", "2", "--dry-run"])?, &words);

    let ended = tree.lastgood(&["verify"])?;
    refused(&ended, &words);
    let all = ended.stdout.clone() + &ended.stderr;
    assert_eq!(all.matches("for ever").count(), 1, "{ended:?}");
    for word in ["refused", "nothing was changed", "run again"] {
        assert!(!all.contains(word), "{word}: {ended:?}");
    }

    // That something else boots next is known before anything is done.
    let before = tree.stamps()?;
    let words = [
        "generation 3",
        "lastgood-2-",
        "would boot next all the same",
        "nothing was changed",
    ];
    for again in [&["install", "3"][..], &["install", "3", "--dry-run"]] {
        refused(&tree.lastgood(again)?, &words);
    }
    assert_eq!(tree.stamps()?, before);
    tree.firmware_says("LoaderEntryDefault", "")?;
    ok(&tree.lastgood(&["install", "3"])?);
    Ok(())
}

#[test]
fn a_loader_that_knows_no_sort_key_is_replaced_or_nothing_is_done() -> Result<()> {
    let tree = Tree::new()?;
    has_loader(&tree, "249.11")?;
    tree.generations(1)?;
    let words = ["systemd-boot 249.11 is too old", "252 or later"];
    refused(&tree.lastgood(&["install"])?, &words);
    assert!(!tree.path("boot/loader").is_dir(), "nothing was written");
    let ended = tree.lastgood(&["next-boot", "--json"])?;
    refused(&ended, &words);
    assert_eq!(rows(&ended)?, [Value::Null; 0]);

    let place = "opt/systemd-253/lib/systemd/boot/efi/systemd-bootx64.efi";
    files::write(&tree.path(place), patched("253")?)?;
    let link = "/bin/busybox ln -s /opt/systemd-253 $out/systemd";
    tree.set(&tree.build("2", link)?)?;
    ok(&tree.lastgood(&["install"])?);
    assert_eq!(boots(&tree, 0)?, ["2"]);
    has_loader(&tree, "250")?;
    refused(&tree.lastgood(&["verify"])?, &["250 is too old"]);
    Ok(())
}

#[test]
fn without_a_loader_nobody_says_what_boots() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(1)?;
    ok(&tree.lastgood(&["install"])?);
    fs::remove_dir_all(tree.path("boot/EFI/systemd"))?;
    fs::remove_dir_all(tree.path("boot/EFI/BOOT"))?;
    let ended = tree.lastgood(&["next-boot", "--json"])?;
    refused(&ended, &["no systemd-boot can be seen"]);
    assert_eq!(rows(&ended)?, [Value::Null; 0]);
    let ended = tree.lastgood(&["install"])?;
    refused(&ended, &["no systemd-boot that could be started"]);
    assert!(!ended.stdout.contains("boots next"), "{ended:?}");
    assert_eq!(
        ended.stderr.matches("no systemd-boot").count(),
        1,
        "{ended:?}"
    );
    Ok(())
}

#[test]
fn why_says_what_became_of_the_selected_one() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(2)?;
    ok(&tree.lastgood(&["install", "1"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    ok(&tree.lastgood(&["install", "2"])?);
    let why = |failures: &str| -> Result<Vec<String>> {
        let ended = tree.lastgood(&["next-boot", "--json", "--failures", failures])?;
        let texts = rows(&ended)?.into_iter();
        Ok(texts
            .map(|row| row["why"].as_str().unwrap().to_owned())
            .collect())
    };
    let used_up = "generation 2, which is selected, has used up its tries";
    let told = why("3")?;
    assert!(told[3].ends_with(used_up), "{told:?}");
    assert!(
        told[..3].iter().all(|why| !why.contains("selected")),
        "{told:?}"
    );
    for _ in 0..3 {
        tree.count_a_boot(2)?;
    }
    assert!(why("0")?[0].ends_with(used_up));
    fs::remove_file(tree.path("boot/loader/entries").join(tree.entry_of(1)?))?;
    assert!(why("0")?[0].ends_with("its tries are used up"));
    Ok(())
}

/// Firmware may start the machine from either; and only then is there such a key.
#[test]
fn each_mirror_is_asked() -> Result<()> {
    let tree = Tree::new()?;
    tree.set(&tree.build("1", &says(r#"mirrors = ["/boot2"]"#))?)?;
    fs::create_dir(tree.path("boot2"))?;
    ok(&tree.lastgood(&["install"])?);
    let ended = tree.lastgood(&["next-boot", "--json", "--failures", "1"])?;
    ok(&ended);
    let places: Vec<Value> = rows(&ended)?
        .iter()
        .map(|row| row["place"].clone())
        .collect();
    assert_eq!(
        places,
        [
            json!("/boot"),
            json!("/boot"),
            json!("/boot2"),
            json!("/boot2")
        ]
    );
    fs::remove_dir_all(tree.path("boot2/loader"))?;
    let ended = tree.lastgood(&["next-boot", "--json"])?;
    assert!(rows(&ended)?.iter().all(|row| row["place"] == "/boot"));
    assert!(
        ok(&ended).contains("/boot") && ended.stderr.contains("/boot2: no entry can be started")
    );
    Ok(())
}
