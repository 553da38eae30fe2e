//! The steps of a boot, run on a tree: what they record and write. Only what needs a live systemd is left to the outer
//! rings: the assessment, and the reboot itself.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use lastgood_tests::tree::Tree;
use lastgood_tests::{files, program};
use serde_json::Value;

use super::verify::initrds;
use super::{boots, ok, refused};

/// Plays the kernel: this tree has booted `toplevel`, for the `number`th time in this test.
pub(super) fn boot(tree: &Tree, toplevel: &Path, number: u32) -> Result<()> {
    started(tree, toplevel, number)?;
    ok(&tree.lastgood(&["step", "begin"])?);
    Ok(())
}

/// The same before the agent's first step.
fn started(tree: &Tree, toplevel: &Path, number: u32) -> Result<()> {
    fs::create_dir_all(tree.path("proc/sys/kernel/random"))?;
    let mut cmdline = fs::File::create(tree.path("proc/cmdline"))?;
    writeln!(cmdline, "quiet init={}/init", toplevel.display())?;
    let mut id = fs::File::create(tree.path("proc/sys/kernel/random/boot_id"))?;
    writeln!(id, "boot-{number}")?;
    Ok(())
}

/// Two generations: the first is proven, the second selected.
fn trial(tree: &Tree) -> Result<Vec<std::path::PathBuf>> {
    let toplevels = tree.generations(2)?;
    ok(&tree.lastgood(&["install", toplevels[0].to_str().unwrap()])?);
    ok(&tree.lastgood(&["good", "1"])?);
    ok(&tree.lastgood(&["install"])?);
    assert_eq!(boots(tree, 3)?, ["2", "2", "2", "1"]);
    Ok(toplevels)
}

fn status(tree: &Tree) -> Result<Value> {
    Ok(serde_json::from_str(ok(
        &tree.lastgood(&["status", "--json"])?
    ))?)
}

/// What generation 2 was rejected for, and nothing else.
fn fault(tree: &Tree) -> Result<String> {
    let why = tree.lastgood(&["why", "2", "--json"])?;
    let why: Value = serde_json::from_str(ok(&why))?;
    assert_eq!(why["cause"]["faults"][1], Value::Null, "{why}");
    Ok(why["cause"]["faults"][0]["key"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

fn profile(tree: &Tree) -> Result<String> {
    Ok(fs::read_link(tree.path("nix/var/nix/profiles/system"))?
        .display()
        .to_string())
}

#[test]
fn a_trial_without_a_verdict_is_rejected_demoted_and_left() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = trial(&tree)?;
    tree.count_a_boot(2)?;
    boot(&tree, &toplevels[1], 1)?;
    assert_eq!(status(&tree)?["state"], "trial");
    let said = tree.lastgood(&["step", "fall-back"])?;
    ok(&said);
    let said: Vec<&str> = said.stderr.lines().collect();
    let rejected = "rejected: generation 2: the assessment ended without a verdict";
    let count = |line: &str| said.iter().filter(|said| **said == line).count();
    assert_eq!(count(rejected), 1, "{said:?}");
    let rebooting = "rebooting: generation 1: falling back from generation 2";
    assert_eq!(count(rebooting), 1, "{said:?}");

    assert!(
        tree.entry_of(2)?.ends_with("+0-1.conf"),
        "{}",
        tree.entry_of(2)?
    );
    assert_eq!(boots(&tree, 2)?, ["1", "1", "1"]);
    assert_eq!(profile(&tree)?, "system-1-link");
    let after = status(&tree)?;
    assert_eq!(
        (&after["state"], &after["automaticReboots"]),
        (&"rejected".into(), &1.into())
    );
    assert_eq!(fault(&tree)?, "agent:no-verdict");
    assert!(
        ok(&tree.lastgood(&["why", "2"])?)
            .contains("\n  fault    the assessment ended without a verdict (agent:no-verdict)\n")
    );

    // The next boot is the last good one's, and it is not blamed for anything.
    boot(&tree, &toplevels[0], 2)?;
    ok(&tree.lastgood(&["step", "fall-back"])?);
    assert_eq!(status(&tree)?["state"], "proven");
    assert_eq!(boots(&tree, 2)?, ["1", "1", "1"]);
    // Nobody can tell how that boot is either, which is on record once.
    ok(&tree.lastgood(&["step", "fall-back"])?);
    let degraded = &status(&tree)?["degraded"];
    assert_eq!(degraded["faults"][0]["key"], "agent:no-verdict");
    let log: Value = serde_json::from_str(ok(&tree.lastgood(&["log", "--json"])?))?;
    let events = log["events"].as_array().unwrap();
    let degraded = events.iter().filter(|event| event["event"] == "degraded");
    assert_eq!(degraded.count(), 1);
    Ok(())
}

#[test]
fn nothing_is_blessed_without_an_assessment_of_this_boot() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = trial(&tree)?;
    tree.count_a_boot(2)?;
    boot(&tree, &toplevels[1], 1)?;
    refused(
        &tree.lastgood(&["step", "bless"])?,
        &["no assessment has found this boot healthy"],
    );
    let leave = |boot: &str| -> Result<()> {
        fs::create_dir_all(tree.path("run/lastgood"))?;
        let mut file = fs::File::create(tree.path("run/lastgood/healthy.json"))?;
        write!(
            file,
            "{{\"boot\":\"{boot}\",\"baseline\":{{\"unwell\":[]}}}}"
        )?;
        Ok(())
    };
    leave("boot-0")?;
    refused(
        &tree.lastgood(&["step", "bless"])?,
        &["no assessment has found this boot healthy"],
    );
    assert!(tree.entry_of(2)?.ends_with("+2-1.conf"));
    leave("boot-1")?;
    ok(&tree.lastgood(&["step", "bless"])?);
    assert!(!tree.entry_of(2)?.contains('+'));
    assert_eq!(status(&tree)?["lastGood"]["generation"], "2");
    assert_eq!(boots(&tree, 1)?, ["2", "2"]);
    Ok(())
}

/// The operator's verdict knows no baseline: the assessment's is recorded after it, and once.
#[test]
fn a_baseline_is_recorded_after_the_operators_verdict_and_once() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = trial(&tree)?;
    boot(&tree, &toplevels[1], 1)?;
    ok(&tree.lastgood(&["good"])?);
    let healthy = r#"{"boot":"boot-1","baseline":{"unwell":["a.service"]}}"#;
    files::write(&tree.path("run/lastgood/healthy.json"), healthy)?;
    let ledger = || fs::read_to_string(tree.path("var/lib/lastgood/ledger.jsonl"));
    ok(&tree.lastgood(&["step", "bless"])?);
    let once = ledger()?;
    assert!(once.contains("a.service"), "{once}");
    ok(&tree.lastgood(&["step", "bless"])?);
    assert_eq!(ledger()?, once);
    Ok(())
}

#[test]
fn when_the_loader_gives_up_the_next_boot_says_so() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = trial(&tree)?;
    for _ in 0..3 {
        tree.count_a_boot(2)?;
    }
    boot(&tree, &toplevels[0], 1)?;
    let why = tree.lastgood(&["why", "2"])?;
    assert!(ok(&why).contains("as often as it may"), "{why:?}");
    assert_eq!(fault(&tree)?, "loader:tries-used-up");
    assert_eq!(profile(&tree)?, "system-1-link");
    assert_eq!(status(&tree)?["selected"]["generation"], "1");
    Ok(())
}

/// Somebody chose the last good one at the menu while the trial has tries left: no verdict on the trial.
#[test]
fn a_choice_at_the_menu_is_no_verdict() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = trial(&tree)?;
    tree.count_a_boot(2)?;
    boot(&tree, &toplevels[0], 1)?;
    assert_eq!(status(&tree)?["selected"]["generation"], "2");
    assert_eq!(profile(&tree)?, "system-2-link");
    assert_eq!(boots(&tree, 2)?, ["2", "2", "1"]);
    Ok(())
}

/// The entry cannot be demoted ($BOOT is gone), so the bad one comes again and again: not for ever.
#[test]
fn automatic_reboots_come_to_an_end() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = trial(&tree)?;
    fs::rename(tree.path("boot"), tree.path("elsewhere"))?;
    let mut reboots = Vec::new();
    for number in 1..=5 {
        boot(&tree, &toplevels[1], number)?;
        let ended = tree.lastgood(&["step", "fall-back"])?;
        ok(&ended);
        reboots.push(!ended.stderr.contains("staying up"));
    }
    assert_eq!(reboots, [true, true, true, false, false]);
    Ok(())
}

#[test]
fn a_boot_that_is_no_generations_is_left_alone() -> Result<()> {
    let tree = Tree::new()?;
    trial(&tree)?;
    boot(&tree, Path::new("/nix/store/nobody"), 1)?;
    ok(&tree.lastgood(&["step", "fall-back"])?);
    let status = status(&tree)?;
    assert_eq!(
        (&status["running"], &status["automaticReboots"]),
        (&Value::Null, &0.into())
    );
    Ok(())
}

/// As on a write-protected ESP: the loader starts the trial and cannot count it.
#[test]
fn a_trial_that_the_loader_cannot_count_is_rejected_by_the_agent() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = trial(&tree)?;
    for number in 1..=3 {
        boot(&tree, &toplevels[1], number)?;
        assert_eq!(super::boots(&tree, 0)?, ["2"]);
    }
    boot(&tree, &toplevels[1], 4)?;
    assert_eq!(super::boots(&tree, 0)?, ["1"]);
    let why = tree.lastgood(&["why", "2"])?;
    assert!(ok(&why).contains("does not count its boots"), "{why:?}");
    // Each of its boots began and just ended: nothing says that it was to blame. It gets a second chance when the last
    // good one is well, and the firmware's disk is what has to be looked at.
    let why: Value = serde_json::from_str(ok(&tree.lastgood(&["why", "2", "--json"])?))?;
    let faults: Vec<&str> = why["cause"]["faults"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|fault| fault["key"].as_str())
        .collect();
    assert_eq!(faults, ["loader:not-counted", "power"]);
    assert_eq!(why["state"], "suspect");
    Ok(())
}

/// Whoever reboots before there is a verdict has not tried the generation: record and counter say so. Three times, because
/// whoever does nothing else is to come to a verdict, too.
#[test]
fn a_reboot_before_a_verdict_gives_the_try_back() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = trial(&tree)?;
    for number in 1..=5 {
        tree.count_a_boot(2)?;
        boot(&tree, &toplevels[1], number)?;
        ok(&tree.lastgood(&["step", "end", "--way", "reboot"])?);
        let left = match number {
            1..=3 => ["2", "2", "2", "1"],
            4 => ["2", "2", "1", "1"],
            _ => ["2", "1", "1", "1"],
        };
        assert_eq!(boots(&tree, 3)?, left, "{number}");
    }
    // A verdict is none that somebody's reboot takes back.
    ok(&tree.lastgood(&["good", "2"])?);
    ok(&tree.lastgood(&["step", "end", "--way", "reboot"])?);
    assert_eq!(boots(&tree, 1)?, ["2", "2"]);
    Ok(())
}

/// Its files decayed since it was proven, say. The firmware would wait for somebody.
#[test]
fn what_is_gone_back_to_is_mended_before_the_machine_goes() -> Result<()> {
    for (broken, says) in [
        ("initrd", "-initrd is damaged"),
        ("kernel", "-kernel.efi is missing"),
    ] {
        let tree = Tree::new()?;
        let toplevels = trial(&tree)?;
        tree.count_a_boot(2)?;
        boot(&tree, &toplevels[1], 1)?;
        let good = initrds(&tree)?
            .into_iter()
            .find(|path| fs::read(path).is_ok_and(|text| text == b"initrd of 1\n"));
        let good = good.unwrap();
        let kernels = || files::sorted_entries(&tree.path("boot/EFI/lastgood"));
        let before = kernels()?;
        if broken == "initrd" {
            files::write(&good, "rotten")?;
        } else {
            for kernel in before
                .iter()
                .filter(|path| path.to_string_lossy().ends_with("-kernel.efi"))
            {
                fs::remove_file(kernel)?;
            }
        }
        let said = tree.lastgood(&["step", "fall-back"])?;
        ok(&said);
        assert!(
            said.stderr.contains("generation 1 could not be started") && said.stderr.contains(says),
            "{said:?}"
        );
        assert!(!said.stderr.contains("still cannot be started"), "{said:?}");
        assert_eq!(fs::read(&good)?, b"initrd of 1\n");
        assert_eq!(kernels()?, before);
        assert_eq!(boots(&tree, 1)?, ["1", "1"]);
    }
    Ok(())
}

/// Nobody had begun it: the ledger could not be written when somebody tried, say. It is begun as it ends, and no try.
#[test]
fn a_boot_that_nobody_could_begin_is_begun_as_it_ends() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = trial(&tree)?;
    tree.count_a_boot(2)?;
    // No room for the lock.
    let lock = tree.path("var/lib/lastgood/lock");
    fs::rename(&lock, tree.path("lock"))?;
    fs::create_dir(&lock)?;
    started(&tree, &toplevels[1], 1)?;
    let begun = tree.lastgood(&["step", "begin"])?;
    assert_eq!(begun.status, 1, "{begun:?}");
    let ended = tree.lastgood(&["step", "end", "--way", "reboot"])?;
    assert_eq!(ended.status, 1, "{ended:?}");
    fs::remove_dir(&lock)?;
    fs::rename(tree.path("lock"), &lock)?;
    ok(&tree.lastgood(&["step", "end", "--way", "reboot"])?);
    assert_eq!(boots(&tree, 3)?, ["2", "2", "2", "1"]);
    let log = tree.lastgood(&["log"])?;
    assert!(ok(&log).contains("this boot is no try"), "{log:?}");
    // What comes after it knows how it ended.
    boot(&tree, &toplevels[1], 2)?;
    let ledger = fs::read_to_string(tree.path("var/lib/lastgood/ledger.jsonl"))?;
    assert!(ledger.contains(r#""how":"orderly""#), "{ledger}");
    Ok(())
}

/// What the operator does is answered once, in the command's own words.
#[test]
fn the_operators_verdict_is_told_once() -> Result<()> {
    let tree = Tree::new()?;
    trial(&tree)?;
    let ended = tree.lastgood(&["bad", "2"])?;
    assert_eq!(ok(&ended), "generation 2 is rejected\n");
    assert!(!ended.stderr.contains("rejected"), "{ended:?}");
    assert_eq!(fault(&tree)?, "operator");
    Ok(())
}

/// As the first agents wrote it: a rejection that names units only, and one that names nothing.
#[test]
fn why_reads_records_from_before_there_were_faults() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = trial(&tree)?;
    let subject = format!(
        r#""subject":{{"generation":"2","toplevel":"{}"}}"#,
        toplevels[1].display()
    );
    let unit =
        r#"{"unit":"nginx.service","result":"exit-code","exitStatus":1,"log":["[emerg] no"]}"#;
    for (units, faults) in [
        (unit, r#"[{"key":"unit:nginx.service","kind":"unit"}]"#),
        ("", "[]"),
    ] {
        let cause = format!(
            r#"{{"stage":"services","summary":"required nginx.service failed","units":[{units}]}}"#
        );
        let record = format!(
            r#"{{"v":1,"time":"2026-01-01T00:00:00Z","event":"rejected",{subject},"cause":{cause}}}"#
        );
        let path = tree.path("var/lib/lastgood/ledger.jsonl");
        let ledger = fs::read_to_string(&path)?;
        files::write(&path, format!("{ledger}{record}\n"))?;
        let why: Value = serde_json::from_str(ok(&tree.lastgood(&["why", "2", "--json"])?))?;
        // What was there stays as it was, to the letter; what is new comes beside it.
        let mut expected: Value = serde_json::from_str(&cause)?;
        expected["faults"] = serde_json::from_str(faults)?;
        assert_eq!(why["cause"], expected);
        let told = tree.lastgood(&["why", "2"])?;
        let is_story = |line: &&str| {
            ["  stage", "  unit", "  fault", "    |"]
                .iter()
                .any(|begin| line.starts_with(begin))
        };
        let lines: Vec<&str> = ok(&told).lines().filter(is_story).collect();
        let unit_lines = [
            "  unit     nginx.service: exit-code, exit status 1",
            "    | [emerg] no",
        ];
        let unit_lines = unit_lines.iter().filter(|_| !units.is_empty());
        let expected: Vec<&str> = ["  stage    services"]
            .iter()
            .chain(unit_lines)
            .copied()
            .collect();
        assert_eq!(lines, expected);
    }
    Ok(())
}

/// An assessment of this boot has found it healthy.
fn is_healthy(tree: &Tree, number: u32) -> Result<()> {
    let healthy = format!("{{\"boot\":\"boot-{number}\",\"baseline\":{{\"unwell\":[]}}}}");
    files::write(&tree.path("run/lastgood/healthy.json"), healthy)
}

/// By kexec into the trial, while the loader's variables are those of the boot before.
#[test]
fn a_trial_that_the_loader_did_not_start_keeps_its_counter() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = trial(&tree)?;
    let proven = tree.entry_of(1)?;
    tree.booted(&proven)?;
    boot(&tree, &toplevels[1], 1)?;
    is_healthy(&tree, 1)?;
    for _ in 0..2 {
        let told = tree.lastgood(&["step", "bless"])?;
        ok(&told);
        for words in [
            "not blessed: generation 2 is healthy",
            &proven,
            "the counter stays",
        ] {
            assert!(told.stderr.contains(words), "{words}: {told:?}");
        }
    }
    let ledger = fs::read_to_string(tree.path("var/lib/lastgood/ledger.jsonl"))?;
    assert_eq!(
        ledger.matches("\"event\":\"healthy\"").count(),
        1,
        "{ledger}"
    );
    assert!(tree.entry_of(2)?.ends_with("+3-0.conf"));
    let told = status(&tree)?;
    assert_eq!(told["lastGood"]["generation"], "1");
    assert_eq!(told["state"], "trial");
    assert_eq!(told["healthyTrial"]["generation"], "2");
    let words = "in a boot that the loader did not make";
    for command in [&["status"][..], &["why", "2"]] {
        let told = ok(&tree.lastgood(command)?).to_owned();
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(boots(&tree, 3)?, ["2", "2", "2", "1"]);

    // Its own entry, whose counter has moved since.
    tree.booted(&tree.entry_of(2)?)?;
    tree.count_a_boot(2)?;
    boot(&tree, &toplevels[1], 2)?;
    is_healthy(&tree, 2)?;
    ok(&tree.lastgood(&["step", "bless"])?);
    assert!(!tree.entry_of(2)?.contains('+'));
    let told = status(&tree)?;
    assert_eq!(told["lastGood"]["generation"], "2");
    assert_eq!(told["healthyTrial"], Value::Null);
    Ok(())
}

/// What is proven needs no second proof, however it was started.
#[test]
fn a_proven_generation_may_be_started_by_anybody() -> Result<()> {
    let tree = Tree::new()?;
    let toplevels = trial(&tree)?;
    tree.booted(&tree.entry_of(2)?)?;
    boot(&tree, &toplevels[0], 1)?;
    is_healthy(&tree, 1)?;
    ok(&tree.lastgood(&["step", "bless"])?);
    let told = status(&tree)?;
    assert_eq!(
        (&told["state"], &told["healthyTrial"]),
        (&Value::from("proven"), &Value::Null)
    );
    Ok(())
}

/// The journal goes down before the last of a machine's services does, and one of those is the agent's.
#[test]
fn whoever_has_nobody_to_talk_to_goes_on() -> Result<()> {
    let tree = Tree::new()?;
    started(&tree, &trial(&tree)?[1], 1)?;
    let mut begin = Command::new(program::build()?);
    begin.arg("--root").arg(tree.path("."));
    let (_, nobody_reads) = std::io::pipe()?;
    let ended = begin
        .args(["step", "begin"])
        .stderr(nobody_reads)
        .status()?;
    assert!(ended.success(), "{ended}");
    Ok(())
}
