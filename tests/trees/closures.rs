//! What counts as a bootable closure: everything nixpkgs' own builder takes, and nothing that would hang or confuse.
//! Subtests of nixpkgs' `nixos/tests/systemd-boot.nix` are named where one is played.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use lastgood_tests::command;
use lastgood_tests::tree::Tree;
use serde_json::{Value, json};

use super::{boots, json, ok, refused};

/// The one that nixpkgs takes to break parsers with.
const NOISY: &str = "+something+-+that+-+breaks-parsing+-+";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// nixpkgs 4 (`specialisation`) and 18 (`bootCountingSpecialisation`).
#[test]
fn specialisations_have_entries_of_their_own() -> Result<()> {
    let tree = Tree::new()?;
    let long = "ü ".repeat(149) + "x";
    let names = [NOISY, "a b", "something", &long];
    tree.set(&tree.build("1", "")?)?;
    tree.set(&tree.build_with("2", "", &names, &json!({}))?)?;
    ok(&tree.lastgood(&["install"])?);
    let entries = tree.entries()?;
    assert_eq!(entries.len(), 6, "{entries:?}");
    for name in &entries {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-+.".contains(&b);
        assert!(name.len() < 40 && name.bytes().all(plain) && name.ends_with("+3-0.conf"));
    }
    // systemd's own reader takes the titles for different ones, and the counters for counters.
    let listed = tree.bootctl_list()?;
    let of = |key: &str| {
        listed
            .iter()
            .map(|e| e[key].to_string())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(
        (of("title").len(), of("options").len(), of("linux").len()),
        (6, 6, 1)
    );
    assert!(
        of("title")
            .iter()
            .any(|title| title.contains("(generation 2/something)"))
    );
    assert_eq!(of("triesLeft"), BTreeSet::from(["3".to_owned()]));
    // Nobody asked for them.
    assert_eq!(boots(&tree, 5)?, ["2", "2", "2", "1", "1", "1"]);

    let generations = json(&tree.lastgood(&["list-generations", "--json"])?);
    assert_eq!(
        generations.len(),
        2,
        "one row for each generation, as nixos-rebuild has"
    );
    assert_eq!(
        generations[0]["specialisations"].as_array().unwrap().len(),
        4
    );
    assert_eq!(
        generations[0]["specialisationGenerations"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
    let table = tree.lastgood(&["list-generations"])?;
    assert!(ok(&table).contains("2/something"), "{table:?}");
    Ok(())
}

#[test]
fn a_specialisation_is_selected_proven_and_rejected_by_its_name() -> Result<()> {
    let tree = Tree::new()?;
    tree.set(&tree.build("1", "")?)?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    let toplevel = tree.build_with("2", "", &[NOISY, "x"], &json!({}))?;
    tree.set(&toplevel)?;
    ok(&tree.lastgood(&["install"])?);

    let noisy = format!("2/{NOISY}");
    let said = tree.lastgood(&["install", &noisy])?;
    assert!(
        ok(&said).starts_with(&format!("generation {noisy} (trial) boots next")),
        "{said:?}"
    );
    assert_eq!(boots(&tree, 3)?, [&noisy, &noisy, &noisy, "1"]);
    let before = tree.stamps()?;
    ok(&tree.lastgood(&["install", &noisy])?);
    assert_eq!(tree.stamps()?, before);
    // Selecting the generation is not selecting the specialisation, and the other way round.
    ok(&tree.lastgood(&["install", text(&toplevel)])?);
    assert_eq!(boots(&tree, 3)?, ["2", "2", "2", "1"]);
    let link = toplevel.join("specialisation/x");
    let child = fs::read_link(tree.path(text(&link).trim_start_matches('/')))?;
    for way in [text(&link), text(&child), "2/x"] {
        ok(&tree.lastgood(&["install", text(&toplevel)])?);
        ok(&tree.lastgood(&["install", way])?);
        assert_eq!(boots(&tree, 0)?, ["2/x"], "{way}");
    }

    ok(&tree.lastgood(&["bad", "2/x"])?);
    assert!(ok(&tree.lastgood(&["why", "2/x"])?).contains("generation 2/x was rejected"));
    refused(
        &tree.lastgood(&["why", "2"])?,
        &["generation 2 has not been judged"],
    );
    refused(
        &tree.lastgood(&["install", "2/x"])?,
        &["generation 2/x was rejected"],
    );
    let current = fs::read_link(tree.path("nix/var/nix/profiles/system"))?;
    assert_eq!(
        current,
        Path::new("system-2-link"),
        "the generation is not to blame"
    );
    ok(&tree.lastgood(&["install", "2"])?);
    ok(&tree.lastgood(&["good", &noisy])?);
    assert_eq!(boots(&tree, 3)?, ["2", "2", "2", &noisy]);
    refused(
        &tree.lastgood(&["good", "2/y"])?,
        &["generation 2 has no specialisation \"y\""],
    );

    // The proven one outlives its generation.
    tree.set(&tree.build("3", "")?)?;
    tree.delete_generation(2)?;
    ok(&tree.lastgood(&["install"])?);
    assert_eq!(boots(&tree, 3)?, ["3", "3", "3", &noisy]);
    assert_eq!(tree.entries_titled(&noisy)?.len(), 1);
    assert!(tree.entries_titled("2")?.is_empty());
    Ok(())
}

#[test]
fn a_broken_specialisation_does_no_harm() -> Result<()> {
    let tree = Tree::new()?;
    // Its own boot.json is broken, and so is what its generation says of two more.
    let damage = "if [ -d $out/specialisation/x ] || [ -L $out/specialisation/x ]; then :; else echo '{' > $out/boot.json; fi";
    let toplevel = tree.build_with("1", damage, &["x"], &json!({}))?;
    tree.set(&toplevel)?;
    let odd = r#"/bin/busybox sed -i 's|"org.nixos.specialisation.v1":{|&"\\u001b[2J":{},"null":null|' $out/boot.json"#;
    tree.set(&tree.build("2", odd)?)?;
    let said = tree.lastgood(&["install"])?;
    ok(&said);
    for words in [
        "generation 1/x cannot be booted and is left out: ",
        "generation 2: left out: specialisation \"null\": invalid type: null",
    ] {
        assert!(said.stderr.contains(words), "{words}: {said:?}");
    }
    assert!(!said.stderr.contains('\u{1b}'), "{said:?}");
    assert_eq!(tree.entries()?.len(), 2);
    refused(
        &tree.lastgood(&["install", "1/x"])?,
        &["generation 1/x cannot be booted", "line 2"],
    );
    ok(&tree.lastgood(&["install", "1"])?);
    Ok(())
}

/// nixpkgs 15 (`no-bootspec`).
#[test]
fn a_closure_without_boot_json_boots_the_same() -> Result<()> {
    let tree = Tree::new()?;
    let whole = tree.build("same", "")?;
    tree.set(&whole)?;
    ok(&tree.lastgood(&["install"])?);
    let with = tree.bootctl_list()?;
    let without = tree.build_with("same", "/bin/busybox rm $out/boot.json", &["x"], &json!({}))?;
    tree.set(&without)?;
    ok(&tree.lastgood(&["install"])?);
    let listed = tree.bootctl_list()?;
    let entry = listed
        .iter()
        .find(|e| e["title"].as_str().unwrap().ends_with("(generation 2)"));
    let entry = entry.unwrap();
    for key in ["linux", "initrd", "title"] {
        let number = |value: &Value| value.to_string().replace("generation 2", "generation 1");
        assert_eq!(number(&entry[key]), number(&with[0][key]), "{key}");
    }
    let options = entry["options"].as_str().unwrap();
    let rest = options.strip_prefix(&format!("init={}/init ", without.display()));
    assert_eq!(rest, Some("panic=10 quiet number=same"));
    assert_eq!(
        tree.entries_titled("2/x")?.len(),
        1,
        "specialisations are found as well"
    );
    Ok(())
}

#[test]
fn devicetree_and_extra_initrds() -> Result<()> {
    let tree = Tree::new()?;
    let extra = |path: &str| {
        json!({
            "org.nixos.systemd-boot": { "sortKey": "aaa" },
            "org.nixos.extra-initrd.v1": { "paths": [path] },
        })
    };
    let dtb = r#"echo dtb > $out/board.dtb
        /bin/busybox sed -i "s|\"sortKey\":\"aaa\"|\"devicetree\":\"$out/board.dtb\",&|" $out/boot.json"#;
    // As NixOS documents and writes it: relative to the ESP.
    tree.set(&tree.build_with("1", dtb, &[], &extra("EFI/extra.img"))?)?;
    tree.set(&tree.build_with("2", "", &[], &extra("/EFI/../gone.img"))?)?;
    tree.set(&tree.build_with("3", "", &[], &extra("/EFI/gone.img"))?)?;
    let image = tree.path("boot/EFI/extra.img");
    fs::File::create(&image).and_then(|mut f| std::io::Write::write_all(&mut f, b"extra"))?;
    let said = tree.lastgood(&["install", "1"])?;
    ok(&said);
    for words in [
        "generation 2 cannot be booted and is left out",
        "extra initrd \"/EFI/../gone.img\" is no plain path of a file on $BOOT",
        "extra initrd /EFI/gone.img on $BOOT cannot be read: No such file",
    ] {
        assert!(said.stderr.contains(words), "{words}: {said:?}");
    }
    let listed = tree.bootctl_list()?;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["initrd"][1], "/EFI/extra.img");
    assert!(
        listed[0]["sortKey"]
            .as_str()
            .unwrap()
            .starts_with("lastgood-")
    );
    let devicetree = listed[0]["devicetree"]
        .as_str()
        .unwrap()
        .trim_start_matches('/');
    assert_eq!(
        fs::read_to_string(tree.path("boot").join(devicetree))?,
        "dtb\n"
    );
    let before = tree.stamps()?;
    ok(&tree.lastgood(&["install", "1"])?);
    assert_eq!(tree.stamps()?, before);
    Ok(())
}

/// Every closure of NixOS's has the program, and nixpkgs writes null for what is not there.
#[test]
fn what_says_nothing_makes_no_closure_unbootable() -> Result<()> {
    let tree = Tree::new()?;
    let program = r#"/bin/busybox rm $out/boot.json
        echo '#!/bin/sh -e
exit 0

cp /key "$1"' > $out/append-initrd-secrets"#;
    tree.set(&tree.build("1", program)?)?;
    let null = json!({ "org.nixos.systemd-boot": null, "org.nixos.extra-initrd.v1": null });
    tree.set(&tree.build_with("2", "", &[], &null)?)?;
    for number in ["1", "2"] {
        let said = tree.lastgood(&["install", number])?;
        ok(&said);
        assert!(!said.stderr.contains("cannot be booted"), "{said:?}");
    }
    assert_eq!(tree.entries()?.len(), 2);
    Ok(())
}

#[test]
fn a_machine_without_any_bootable_generation_says_what_is_wrong_with_each() -> Result<()> {
    let tree = Tree::new()?;
    let empty = tree.build("1", "/bin/busybox truncate -s 0 $out/boot.json")?;
    tree.set(&empty)?;
    let packed = r#"echo packed | /bin/busybox gzip > $out/kernel.gz
        /bin/busybox sed -i "s|\"kernel\":\"[^\"]*\"|\"kernel\":\"$out/kernel.gz\"|" $out/boot.json"#;
    tree.set(&tree.build("2", packed)?)?;
    let whys = [
        format!("generation 1: {}/boot.json: EOF", empty.display()),
        "kernel.gz is compressed (gzip)".to_owned(),
    ];
    for arguments in [
        &["install"][..],
        &["install", "--dry-run"],
        &["install", "1"],
    ] {
        let said = tree.lastgood(arguments)?;
        refused(&said, &[&whys[0], &whys[1], "no generation can be booted"]);
        assert!(!said.stderr.contains("mounted"), "{said:?}");
    }
    assert!(!tree.path("boot/loader").try_exists()?);
    let table = tree.lastgood(&["list-generations"])?;
    for why in [
        "generation 1 cannot be booted: ",
        "boot.json: EOF",
        &whys[1],
    ] {
        assert!(ok(&table).contains(why), "{why}: {table:?}");
    }
    Ok(())
}

/// The operator's word stands, and what it costs is said wherever one looks.
#[test]
fn a_generation_that_stands_still_in_a_panic_is_told() -> Result<()> {
    let tree = Tree::new()?;
    let more = json!({ "org.nixos.bootspec.v1": { "kernelParams": ["quiet", "panic=0"] } });
    tree.set(&tree.build_with("1", "", &[], &more)?)?;
    for arguments in [&["install", "--dry-run"][..], &["install"], &["verify"]] {
        let said = tree.lastgood(arguments)?;
        ok(&said);
        let told = "generation 1: its command line says panic=0";
        assert!(said.stderr.contains(told), "{arguments:?}: {said:?}");
    }
    let status = tree.lastgood(&["status"])?;
    assert!(
        ok(&status).contains("generation 1 has panic=0"),
        "{status:?}"
    );
    let options = tree.bootctl_list()?[0]["options"].to_string();
    assert!(
        options.contains(" quiet panic=0") && !options.contains("panic=10"),
        "{options}"
    );
    Ok(())
}

#[test]
fn an_extra_image_with_a_counter_is_refused() -> Result<()> {
    let tree = Tree::new()?;
    let config = r#"echo tool > $out/tool.efi
        printf '[boot.extra-files]\n"EFI/Linux/tool+3.efi" = "tool.efi"\n' > $out/etc/lastgood/lastgood.toml"#;
    tree.set(&tree.build("1", config)?)?;
    refused(
        &tree.lastgood(&["install"])?,
        &["tool+3.efi", "has a counter, which the loader would change"],
    );
    assert!(!tree.path("boot/loader").try_exists()?);
    Ok(())
}

#[test]
fn no_program_of_a_closure_runs_with_a_root() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(1)?;
    let more = json!({ "org.nixos.bootspec.v1": { "initrdSecrets": "/bin/append" } });
    let secret = tree.build_with("2", "", &[], &more)?;
    tree.set(&secret)?;
    fs::create_dir_all(tree.path("bin"))?;
    symlink("/bin/false", tree.path("bin/append"))?;
    let said = tree.lastgood(&["install", "1"])?;
    ok(&said);
    assert!(
        said.stderr.contains("generation 2 cannot be booted"),
        "{said:?}"
    );
    let before = tree.stamps()?;
    refused(
        &tree.lastgood(&["install"])?,
        &["needs secrets from /bin/append", "not run with --root"],
    );
    assert_eq!(tree.stamps()?, before);

    // Finished on the machine itself, it is used.
    let mut name = Command::new("sh");
    name.args(["-c", "printf %s \"$1\" | sha256sum | cut -c1-64", "sh"]);
    let name = command::output(name.arg(&secret))?;
    let kept = tree.path("var/lib/lastgood/initrds").join(name.trim());
    fs::create_dir_all(kept.parent().unwrap())?;
    fs::File::create(&kept).and_then(|mut f| std::io::Write::write_all(&mut f, b"with a key"))?;
    ok(&tree.lastgood(&["install"])?);
    let listed = tree.bootctl_list()?;
    let initrd = listed[0]["initrd"][0]
        .as_str()
        .unwrap()
        .trim_start_matches('/');
    assert_eq!(
        fs::read_to_string(tree.path("boot").join(initrd))?,
        "with a key"
    );
    assert_eq!(boots(&tree, 3)?, ["2", "2", "2", "1"]);
    // It goes when nothing needs it any more.
    ok(&tree.lastgood(&["good", "1"])?);
    ok(&tree.lastgood(&["install", "1"])?);
    assert!(kept.try_exists()?);
    tree.build("3", "")
        .and_then(|toplevel| tree.set(&toplevel))?;
    tree.delete_generation(2)?;
    ok(&tree.lastgood(&["install"])?);
    assert!(!kept.try_exists()?);
    Ok(())
}
