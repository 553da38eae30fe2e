//! How answers look: on a terminal, in a pipe, as JSON by its schema.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::Result;
use lastgood_tests::schema::Schema;
use lastgood_tests::tree::{Ended, Tree};
use lastgood_tests::{command, files, program};
use serde_json::{Value, json};

use super::ok;
use super::steps::boot;

/// The first generation is proven, the second was rejected by the loader's counter, and the third is a trial.
fn machine() -> Result<Tree> {
    let tree = Tree::new()?;
    let toplevels = tree.generations(3)?;
    ok(&tree.lastgood(&["install", "1"])?);
    boot(&tree, &toplevels[0], 1)?;
    ok(&tree.lastgood(&["good", "1"])?);
    ok(&tree.lastgood(&["install", "2"])?);
    for _ in 0..3 {
        tree.count_a_boot(2)?;
    }
    boot(&tree, &toplevels[0], 2)?;
    ok(&tree.lastgood(&["install", "3"])?);
    Ok(tree)
}

/// What a person sees at a terminal that is so wide.
fn seen(tree: &Tree, columns: u16, variables: &str, arguments: &str) -> Result<String> {
    let program = program::build()?;
    let line = format!(
        "stty cols {columns} rows 50; {variables} {} --root {} {arguments}",
        program.display(),
        tree.path("").display()
    );
    let mut script = Command::new("script");
    script
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env("TZ", "UTC");
    Ok(command::output(script.env_remove("NO_COLOR"))?.replace('\r', ""))
}

const SCREENS: [&str; 6] = [
    "status",
    "list-generations",
    "log",
    "why 2",
    "diff 1 3",
    "next-boot",
];

#[test]
fn colour_is_for_terminals_and_never_all_that_says_it() -> Result<()> {
    let tree = machine()?;
    for screen in SCREENS {
        let words: Vec<&str> = screen.split(' ').collect();
        let piped = ok(&tree.lastgood(&words)?).to_owned();
        assert!(!piped.contains('\x1b'), "{piped:?}");
        let coloured = seen(&tree, 400, "", screen)?;
        assert!(coloured.contains("\x1b["), "{screen}: {coloured:?}");
        let without: String = strip(&coloured);
        assert_eq!(without, piped, "{screen}");
        for plain in ["NO_COLOR=1", "TERM=dumb"] {
            assert_eq!(seen(&tree, 400, plain, screen)?, piped, "{screen} {plain}");
        }
    }
    let json = seen(&tree, 60, "", "status --json")?;
    let _: Value = serde_json::from_str(&json)?;
    Ok(())
}

/// Without escape sequences.
fn strip(text: &str) -> String {
    let mut pieces = text.split("\x1b[");
    let first = pieces.next().unwrap_or_default().to_owned();
    let rest = pieces.filter_map(|piece| Some(piece.split_once('m')?.1));
    rest.fold(first, |text, piece| text + piece)
}

/// What is longer is a path or a name: it is there to be copied.
#[test]
fn lines_end_where_the_terminal_does_and_nothing_is_lost() -> Result<()> {
    let tree = machine()?;
    for screen in SCREENS {
        let words: Vec<&str> = screen.split(' ').collect();
        let piped = ok(&tree.lastgood(&words)?).to_owned();
        for columns in [60_u16, 80, 120] {
            let shown = seen(&tree, columns, "NO_COLOR=1", screen)?;
            for line in shown.lines() {
                let is_long = line.chars().count() > columns.into();
                let is_one_word = !line.trim().contains(' ');
                let has_path = line.contains("/nix/store/");
                assert!(
                    !is_long || is_one_word || has_path,
                    "{screen} {columns}: {line}"
                );
            }
            if screen == "list-generations" {
                continue;
            }
            let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(flat(&shown), flat(&piped), "{screen} {columns}");
        }
    }
    // What goes first is what is least needed.
    for (columns, headings) in [
        (
            120,
            "Generation  Build-date           NixOS version  Kernel   State     Tries left  Marks",
        ),
        (
            90,
            "Generation  Build-date           NixOS version  State     Tries left  Marks",
        ),
        (
            80,
            "Generation  Build-date           State     Tries left  Marks",
        ),
        (60, "Generation  State     Tries left  Marks"),
    ] {
        let shown = seen(&tree, columns, "NO_COLOR=1", "list-generations")?;
        assert_eq!(shown.lines().next(), Some(headings), "{shown}");
    }
    Ok(())
}

/// Real answers, of a machine with a story and of one without.
#[test]
fn every_json_is_as_its_schema_says() -> Result<()> {
    let empty = Tree::new()?;
    let told = machine()?;
    let trial = machine()?;
    let toplevels: Vec<_> = (1..=3)
        .map(|number| closure(&trial, number))
        .collect::<Result<_>>()?;
    trial.count_a_boot(3)?;
    boot(&trial, &toplevels[2], 3)?;
    ok(&trial.lastgood(&["step", "fall-back"])?);
    for tree in [&empty, &told, &trial] {
        for arguments in [
            &["status"][..],
            &["why"],
            &["log"],
            &["list-generations"],
            &["next-boot"],
            &["verify"],
            &["doctor"],
            &["diff", "1", "3"],
        ] {
            let ended = tree.lastgood(&[arguments, &["--json"]].concat())?;
            if ended.stdout.is_empty() {
                assert_eq!(ended.status, 1, "{arguments:?} {ended:?}");
                continue;
            }
            let value: Value = serde_json::from_str(&ended.stdout)?;
            let checked = Schema::of(arguments[0])?.check(&value);
            assert!(checked.is_ok(), "{arguments:?}: {checked:?}");
        }
    }
    Ok(())
}

fn closure(tree: &Tree, number: u64) -> Result<std::path::PathBuf> {
    let link = tree.path(&format!("nix/var/nix/profiles/system-{number}-link"));
    Ok(fs::read_link(link)?)
}

/// The machine has gone back, and somebody asks why.
#[test]
fn a_fallback_is_told_as_a_story() -> Result<()> {
    let tree = machine()?;
    let status = ok(&tree.lastgood(&["status"])?).to_owned();
    for words in [
        "running     generation 1 (",
        "state       proven",
        "boots next  generation 3 (trial): ",
        "then        after 3 failed boots generation 1 (proven)",
        "fell back   from generation 2 to generation 1 at ",
        "wrong       nothing that lastgood knows of",
        "note        generation 3 is selected and does not run yet\n            -> `systemctl reboot` starts it",
        " starts it; if its kernel cannot be started, this loader then goes back to the firmware",
    ] {
        assert!(status.contains(words), "{words}: {status}");
    }
    let next = ok(&tree.lastgood(&["next-boot"])?).to_owned();
    for words in [
        "    a trial with tries left that cannot be started: this loader then goes back to the firmware",
        "    an entry without tries left that cannot be started: this loader then goes back",
    ] {
        assert!(next.contains(words), "{words}: {next}");
    }
    let why = ok(&tree.lastgood(&["why", "2"])?).to_owned();
    for words in [
        "generation 2 was rejected at ",
        "  tried    selected at ",
        "  now      generation 1 runs",
        "`lastgood install --again 2`",
    ] {
        assert!(why.contains(words), "{words}: {why}");
    }
    let log = ok(&tree.lastgood(&["log"])?).to_owned();
    let paragraphs: Vec<&str> = log.split("\n\n").collect();
    assert_eq!(paragraphs.len(), 3, "{log}");
    assert!(paragraphs[1].contains("the next boot began"), "{log}");
    assert!(paragraphs[2].contains("rejected: generation 2"), "{log}");
    Ok(())
}

/// Runs it as somebody who may do nothing. The tree is opened for them, but for what is root's.
fn as_nobody(tree: &Tree, arguments: &[&str]) -> Result<Ended> {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(program::build()?)
        .arg("--root")
        .arg(tree.path(""))
        .args(arguments);
    let output = command.output()?;
    Ok(Ended {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

/// What is root's on a machine stays root's: a boot partition, a file outside the store, what services wrote.
#[test]
fn who_may_read_nothing_is_told_no_secret() -> Result<()> {
    const SECRET: &str = "hunter2";
    let tree = Tree::new()?;
    let firewall =
        "printf '[firewall]\\nruleset = \"etc/rules.nft\"\\n' > $out/etc/lastgood/lastgood.toml
        /bin/busybox ln -s /etc/own.nft $out/etc/rules.nft";
    let first = tree.build("1", "")?;
    tree.set(&first)?;
    ok(&tree.lastgood(&["install"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    let more = json!({ "org.nixos.bootspec.v1": { "kernelParams": [format!("token={SECRET}")] } });
    let second = tree.build_with("2", firewall, &[], &more)?;
    tree.set(&second)?;
    let rules = format!("table inet a {{\n  # {SECRET}\n}}\n");
    files::write(&tree.path("etc/own.nft"), rules)?;
    let unit = json!({"unit": "a.service", "result": "exit-code", "exitStatus": 1, "log": [format!("password={SECRET}")]});
    let cause = json!({"stage": "services", "summary": "required a.service failed", "units": [unit],
        "faults": [{"key": "unit:a.service", "kind": "unit"}]});
    let record = json!({"v": 1, "time": "2026-01-01T00:00:00Z", "event": "rejected",
        "subject": {"generation": "2", "toplevel": second}, "cause": cause});
    let ledger = tree.path("var/lib/lastgood/ledger.jsonl");
    let before = fs::read_to_string(&ledger)?;
    files::write(&ledger, format!("{before}{record}\n"))?;
    // What is selected next moves the log out of the ledger. Every generation gets an entry, with its parameters.
    tree.set(&tree.build("3", "")?)?;
    ok(&tree.lastgood(&["install"])?);

    let inside = |path: &str| tree.path(path.trim_start_matches('/'));
    let document = inside(&format!("{}/boot.json", second.display()));
    let roots = [
        tree.path("boot"),
        tree.path("etc/own.nft"),
        document.clone(),
    ];
    fs::set_permissions(tree.path(""), Permissions::from_mode(0o755))?;
    fs::set_permissions(&roots[0], Permissions::from_mode(0o700))?;
    for file in &roots[1..] {
        fs::set_permissions(file, Permissions::from_mode(0o600))?;
    }
    let told = ok(&tree.lastgood(&["diff", "1", "2"])?).to_owned();
    assert_eq!(told.matches(SECRET).count(), 2, "root sees them: {told}");
    let told = ok(&tree.lastgood(&["why", "2"])?).to_owned();
    assert!(told.contains(SECRET), "root sees it: {told}");

    for arguments in [
        &["status"][..],
        &["why", "2"],
        &["log"],
        &["list-generations"],
        &["next-boot"],
        &["diff", "1", "2"],
    ] {
        for json in [&[][..], &["--json"]] {
            let ended = as_nobody(&tree, &[arguments, json].concat())?;
            let all = format!("{}{}", ended.stdout, ended.stderr);
            assert!(!all.contains(SECRET), "{arguments:?}: {all}");
            assert!(!all.contains("os error"), "{arguments:?}: {all}");
        }
    }
    let told = as_nobody(&tree, &["status"])?;
    assert!(
        ok(&told).contains("what boots next cannot be told: "),
        "{told:?}"
    );
    assert!(told.stdout.contains("-> run as root"), "{told:?}");
    let told = as_nobody(&tree, &["diff", "1", "2"])?;
    for words in [
        "left out: boot: ",
        "left out: firewall: ",
        "Permission denied",
    ] {
        assert!(ok(&told).contains(words), "{words}: {told:?}");
    }
    // And what is kept for everybody has none of it, nor what would help to guess it.
    let digests = fs::metadata(tree.path("var/lib/lastgood/digests.jsonl"))?;
    assert_eq!(digests.permissions().mode() & 0o777, 0o600);
    for file in files::sorted_entries(&tree.path("var/lib/lastgood"))? {
        let found = fs::metadata(&file)?;
        if found.is_file() && found.permissions().mode() & 0o004 != 0 {
            let text = fs::read_to_string(&file)?;
            assert!(!text.contains(SECRET), "{}: {text}", file.display());
        }
    }
    Ok(())
}

/// The machine would not come back, so that is what is wrong.
#[test]
fn a_loader_that_would_start_nothing_is_wrong() -> Result<()> {
    for (gone, words) in [
        (
            "boot/loader/entries",
            "wrong       no entry can be started: the machine would not boot\n            -> run `lastgood install`\n",
        ),
        (
            "boot/EFI",
            "wrong       /boot: no systemd-boot can be seen here",
        ),
    ] {
        let tree = machine()?;
        fs::remove_dir_all(tree.path(gone))?;
        let told = ok(&tree.lastgood(&["status"])?).to_owned();
        assert!(told.contains(words), "{gone}: {told}");
        assert!(!told.contains("nothing that lastgood knows of"), "{told}");
        // Where there is no loader, bootctl would have to bring one, and it does not work on a directory.
        if gone == "boot/loader/entries" {
            ok(&tree.lastgood(&["install", "--again"])?);
            let told = ok(&tree.lastgood(&["status"])?).to_owned();
            assert!(told.contains("nothing that lastgood knows of"), "{told}");
        }
    }
    Ok(())
}

#[test]
fn a_mirror_that_is_missing_is_wrong() -> Result<()> {
    let tree = Tree::new()?;
    let mirrored = "echo '[boot]\nmirrors = [\"/boot2\"]' >$out/etc/lastgood/lastgood.toml";
    tree.set(&tree.build("1", mirrored)?)?;
    files::copy_tree(&tree.path("boot"), &tree.path("boot2"))?;
    ok(&tree.lastgood(&["install"])?);
    assert!(ok(&tree.lastgood(&["status"])?).contains("nothing that lastgood knows of"));
    fs::rename(tree.path("boot2"), tree.path("away"))?;
    let told = ok(&tree.lastgood(&["status"])?).to_owned();
    assert!(
        told.contains("wrong       the mirror /boot2 is no mounted FAT"),
        "{told}"
    );
    Ok(())
}
