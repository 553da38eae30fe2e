//! The shipped binary, killed at, and given a full disk and an I/O error by, every single call that changes a file
//! (invariant B1): the machine still boots something proven, says what went wrong, and the next run finishes the work.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use lastgood_tests::faults::{self, Call, Fault};
use lastgood_tests::tree::{Ended, Tree};
use serde_json::Value;

use super::places::says;
use super::steps::boot;
use super::{json, ok};

/// What a run may change, apart from the ledger.
const PLACES: [&str; 4] = [
    "boot",
    "boot2",
    "nix/var/nix/gcroots",
    "nix/var/nix/profiles",
];

type Contents = BTreeMap<String, Vec<u8>>;

/// A command, and the machine it is run on.
struct Run {
    name: &'static str,
    command: &'static [&'static str],
    tree: Tree,
    /// The last good generation before it.
    last_good: Option<u64>,
}

/// What a run without a fault comes to: what every run with one is held against.
struct Expected {
    calls: Vec<Call>,
    contents: Contents,
    status: Value,
    /// The last good entry, and what it points at.
    ground: Contents,
}

fn runs() -> Result<Vec<Run>> {
    let fresh = Tree::new()?;
    let toplevels = fresh.generations(2)?;
    let first = toplevels[0].to_str().unwrap();

    let one_more = fresh.copy()?;
    ok(&one_more.lastgood(&["install", first])?);
    ok(&one_more.lastgood(&["good", "1"])?);
    let third = one_more.build("3", "")?;
    one_more.set(&third)?;

    let trial = one_more.copy()?;
    ok(&trial.lastgood(&["install"])?);
    let one_less = trial.copy()?;
    one_less.delete_generation(2)?;
    trial.count_a_boot(3)?;
    boot(&trial, &third, 1)?;

    // The same with a second ESP, which is to be bootable by itself at every instant.
    let mirrored = Tree::new()?;
    fs::create_dir(mirrored.path("boot2"))?;
    let mirrors = says(r#"mirrors = ["/boot2"]"#);
    mirrored.set(&mirrored.build("1", &mirrors)?)?;
    ok(&mirrored.lastgood(&["install"])?);
    ok(&mirrored.lastgood(&["good", "1"])?);
    mirrored.set(&mirrored.build("2", &mirrors)?)?;

    let run = |name, command, tree, last_good| Run {
        name,
        command,
        tree,
        last_good,
    };
    let runs = vec![
        run("first", &["install"][..], fresh, None),
        run("one more", &["install"], one_more, Some(1)),
        run("one more, mirrored", &["install"], mirrored, Some(1)),
        run("one less", &["install"], one_less, Some(1)),
        run("blessing", &["good", "3"], trial.copy()?, Some(1)),
        run("rejection", &["bad", "3"], trial.copy()?, Some(1)),
        run("fallback", &["boot", "fall-back"], trial, Some(1)),
    ];
    for run in &runs {
        // Nix has done its part, and this is most of what there is to copy.
        fs::remove_dir_all(run.tree.path("nix/var/nix/db"))?;
    }
    Ok(runs)
}

/// A first run that was cut short may not have got to keep what it marked entries with.
fn without_marks(mut contents: Contents) -> Contents {
    for (path, bytes) in &mut contents {
        if path.contains("/loader/entries/") {
            let text = String::from_utf8_lossy(bytes);
            let lines = text.split_inclusive('\n');
            let lines = lines.filter(|line| !line.starts_with("# lastgood "));
            *bytes = lines.collect::<String>().into_bytes();
        }
    }
    contents
}

fn status(tree: &Tree) -> Result<Value> {
    let mut status: Value = serde_json::from_str(ok(&tree.lastgood(&["status", "--json"])?))?;
    // The one thing that another run adds to: a fallback that was cut short counts.
    status["automaticReboots"] = Value::Null;
    Ok(status)
}

impl Run {
    fn expected(&self) -> Result<Expected> {
        let tree = self.tree.copy()?;
        let calls = faults::calls(&tree, self.command)?;
        Ok(Expected {
            calls,
            contents: without_marks(faults::contents(&tree, &PLACES)?),
            status: status(&tree)?,
            ground: self.ground()?,
        })
    }

    fn ground(&self) -> Result<Contents> {
        let mut ground = faults::contents(&self.tree, &["boot"])?;
        let Some(last_good) = self.last_good else {
            return Ok(Contents::new());
        };
        let entry = format!("boot/loader/entries/{}", self.tree.entry_of(last_good)?);
        let text = String::from_utf8_lossy(&ground[&entry]).into_owned();
        ground.retain(|path, _| {
            *path == entry
                || path
                    .strip_prefix("boot")
                    .is_some_and(|path| text.contains(path))
        });
        ensure!(
            ground.len() == 3,
            "an entry, a kernel and an initrd: {:?}",
            ground.keys()
        );
        Ok(ground)
    }

    /// One fault on a fresh copy of the machine, and then a run without one.
    fn strike(&self, expected: &Expected, call: &Call, fault: Fault) -> Result<()> {
        let tree = self.tree.copy()?;
        let ended = faults::run(&tree, self.command, call, fault)?;
        if fault != Fault::Kill {
            self.is_told(call, &ended)?;
        }

        let end = |tree: &Tree| -> Result<Value> {
            let boots = json(&tree.lastgood(&["next-boot", "--json", "--failures", "12"])?);
            let mut first = boots.iter().filter(|row| row["place"] == boots[0]["place"]);
            first.next_back().cloned().context("nothing boots")
        };
        let is_well = |end: &Value| end["state"] == "proven" && end["broken"].is_null();
        if self.last_good.is_some() {
            let last = end(&tree)?;
            ensure!(is_well(&last), "it ends in {last}");
        }
        if tree.path("boot2").is_dir() {
            let other = tree.copy()?;
            fs::remove_dir_all(other.path("boot"))?;
            fs::rename(other.path("boot2"), other.path("boot"))?;
            let last = end(&other)?;
            ensure!(is_well(&last), "the mirror ends in {last}");
        }
        // What fails in one ESP never stops the other.
        for (one, other) in [("boot", "boot2"), ("boot2", "boot")] {
            let is_in_one = call
                .path
                .trim_start_matches('/')
                .starts_with(&format!("{one}/"));
            if fault != Fault::Kill && is_in_one && tree.path(other).is_dir() {
                let mut wanted = expected.contents.clone();
                wanted.retain(|path, _| path.starts_with(&format!("{other}/")));
                let finished = without_marks(faults::contents(&tree, &[other])?) == wanted;
                ensure!(finished, "{other} is not finished");
            }
        }
        let contents = faults::contents(&tree, &["boot"])?;
        for (path, bytes) in &expected.ground {
            ensure!(contents.get(path) == Some(bytes), "{path} is not as it was");
        }

        let second = tree.lastgood(self.command)?;
        ensure!(second.status == 0, "the second run: {second:?}");
        let contents = without_marks(faults::contents(&tree, &PLACES)?);
        let names = || {
            (
                contents.keys().collect::<Vec<_>>(),
                expected.contents.keys().collect::<Vec<_>>(),
            )
        };
        ensure!(
            contents == expected.contents,
            "the second run ends elsewhere: {:#?}",
            names()
        );
        let after = status(&tree)?;
        ensure!(
            after == expected.status,
            "{after:#} instead of {:#}",
            expected.status
        );
        let ours = faults::contents(&tree, &["var/lib/lastgood"])?;
        ensure!(
            ours.len() == 3,
            "more than a lock, a ledger and digests: {:?}",
            ours.keys()
        );
        Ok(())
    }

    /// An error is told in one line that names the file. A fallback tells and goes on: it has a reboot to make, and
    /// the loader's counter decides then. So does every command that cannot keep digests: nothing depends on them.
    fn is_told(&self, call: &Call, ended: &Ended) -> Result<()> {
        let told = |line: &&str| line.starts_with("lastgood: ");
        let costs_time = "the next run has to read everything: ";
        let only_time = ended.status == 0 && ended.stderr.contains(costs_time);
        ensure!(
            only_time || !call.path.contains("digests.jsonl"),
            "{ended:?}"
        );
        let lines: Vec<&str> = match self.command {
            _ if only_time => ended.stderr.lines().collect(),
            ["boot", "fall-back"] if ended.status == 0 => ended.stderr.lines().collect(),
            _ => {
                ensure!(ended.status == 1, "{ended:?}");
                ended.stderr.lines().filter(told).collect()
            }
        };
        ensure!(
            ended.status == 0 || lines.len() == 1,
            "not one line: {ended:?}"
        );
        // What fails while a file still has its temporary name is told by the name it is to have.
        let wanted = call.path.replace("/.lastgood-", "/").replace(".part", "");
        ensure!(
            lines
                .iter()
                .any(|line| line.contains(&wanted) || line.contains(&call.path)),
            "{} is not named: {ended:?}",
            call.path
        );
        Ok(())
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are the proof")]
fn no_fault_at_any_call_strands_a_machine() -> Result<()> {
    let begun = Instant::now();
    let runs = runs()?;
    let mut todo = Vec::new();
    let mut calls = 0;
    for run in &runs {
        let expected = std::sync::Arc::new(run.expected()?);
        ensure!(
            expected.calls.len() > 3,
            "{}: {:?}",
            run.name,
            expected.calls
        );
        calls += expected.calls.len();
        for call in expected.calls.clone() {
            let faults = Fault::ALL.into_iter().filter(|fault| fault.can_hit(&call));
            todo.extend(faults.map(|fault| (run, expected.clone(), call.clone(), fault)));
        }
    }
    let prepared = begun.elapsed();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut failed = Vec::new();
        while let Some((run, expected, call, fault)) =
            todo.get(next.fetch_add(1, Ordering::Relaxed))
        {
            if let Err(error) = run.strike(expected, call, *fault) {
                failed.push(format!("{}: {fault:?} at {call}: {error:#}", run.name));
            }
        }
        failed
    };
    let failed = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        [work(), other.join().unwrap()].concat()
    });
    println!(
        "{} runs, {calls} calls, {} faults, stranded: {}; {:.0?} of which {prepared:.0?} to prepare",
        runs.len(),
        todo.len(),
        failed.len(),
        begun.elapsed(),
    );
    assert!(
        failed.is_empty(),
        "{} of {}:\n{}",
        failed.len(),
        todo.len(),
        failed.join("\n")
    );
    Ok(())
}
