//! The shipped binary, killed at, and given a full disk and an I/O error by, every single call that changes a file
//! (invariant B1): the machine still boots something proven, says what went wrong, and the next run finishes the work.

mod runs;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use boot_entries::extra;
use boot_entries::payload::Digest;
use lastgood_tests::faults::{self, Call, Fault};
use lastgood_tests::tree::{Ended, Tree};
use serde_json::Value;

use super::{ok, writes};

/// What a run may change, apart from the ledger.
const PLACES: [&str; 5] = [
    "boot",
    "boot2",
    "efi",
    "nix/var/nix/gcroots",
    "nix/var/nix/profiles",
];

type Contents = BTreeMap<String, Vec<u8>>;

/// A command, and the machine it is run on.
struct Run {
    name: &'static str,
    command: &'static [&'static str],
    tree: Tree,
    /// The last good generation before it, if its entry is not to be touched.
    last_good: Option<u64>,
    /// The closures that have booted the machine before, and that may in the end. None: nothing has.
    good: Vec<PathBuf>,
}

/// What a run without a fault comes to: what every run with one is held against.
struct Expected {
    calls: Vec<Call>,
    contents: Contents,
    status: Value,
    /// The last good entry, and what it points at.
    ground: Contents,
}

/// The closure that boots after enough failures. None: nothing does, or what is started is not whole.
fn end(tree: &Tree) -> Result<Option<PathBuf>> {
    let ended = tree.lastgood(&["next-boot", "--json", "--failures", "12"])?;
    let boots: Vec<Value> = serde_json::from_str(&ended.stdout)?;
    let mut first = boots.iter().filter(|row| row["place"] == boots[0]["place"]);
    let Some(last) = first.next_back().filter(|row| row["broken"].is_null()) else {
        return Ok(None);
    };
    let stem = |name: &str| {
        let name = name.split('+').next().unwrap_or(name);
        name.trim_end_matches(".conf").to_owned()
    };
    let wanted = stem(last["entry"].as_str().context("no name")?);
    // The counter may have fallen since.
    for (path, text) in faults::contents(tree, &["boot/loader/entries", "efi/loader/entries"])? {
        let name = path.rsplit('/').next().unwrap_or(&path);
        let text = String::from_utf8_lossy(&text);
        let init = text
            .split_whitespace()
            .find_map(|word| word.strip_prefix("init=")?.strip_suffix("/init"));
        if stem(name) == wanted
            && let Some(init) = init
        {
            return Ok(Some(init.into()));
        }
    }
    Ok(None)
}

/// An extra file that is there is on record, or nobody would ever take it away again; and an entry is not there before
/// what it starts.
fn extra_files_are_known(contents: &Contents) -> Result<()> {
    let record = contents.get(&format!("boot/{}", extra::RECORD));
    let record = record.map_or_else(String::new, |text| {
        String::from_utf8_lossy(text).into_owned()
    });
    let on_boot = runs::EXTRA_FILES.map(|path| contents.get(&format!("boot/{path}")));
    for (path, bytes) in runs::EXTRA_FILES.into_iter().zip(on_boot) {
        let Some(bytes) = bytes else {
            continue;
        };
        let line = format!("{} {path}", Digest::of(bytes));
        let mut known = record.lines();
        let is_known = known.any(|known| known.starts_with(&line));
        ensure!(is_known, "{path} is on no record: {record}");
    }
    ensure!(
        on_boot[1].is_none() || on_boot[0].is_some(),
        "an entry is there without what it starts"
    );
    Ok(())
}

/// A first run that was cut short may not have got to keep what it marked entries with. A stand-in's name is made of
/// its text.
fn without_marks(contents: Contents) -> Contents {
    let without = |(path, bytes): (String, Vec<u8>)| {
        if !path.contains("/loader/entries/") {
            return (path, bytes);
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.split_inclusive('\n');
        let lines = lines.filter(|line| !line.starts_with("# lastgood "));
        let name = path.split_once("/lastgood-before-");
        let path = name.map_or(path.clone(), |(directory, _)| {
            format!("{directory}/lastgood-before")
        });
        (path, lines.collect::<String>().into_bytes())
    };
    let count = contents.len();
    let contents: Contents = contents.into_iter().map(without).collect();
    assert_eq!(contents.len(), count, "two stand-ins");
    contents
}

fn status(tree: &Tree) -> Result<Value> {
    let mut status: Value = serde_json::from_str(ok(&tree.lastgood(&["status", "--json"])?))?;
    // What another run adds to: a fallback that was cut short counts, and each is told with its time.
    for key in ["automaticReboots", "notes"] {
        status[key] = Value::Null;
    }
    if let Some(fallback) = status["lastFallback"].as_object_mut() {
        fallback.remove("time");
    }
    Ok(status)
}

impl Run {
    fn expected(&self) -> Result<Expected> {
        let tree = self.tree.copy()?;
        let calls = faults::calls(&tree, self.command)?;
        writes::flushed(&calls).context(self.name)?;
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

        let ends = |tree: &Tree| -> Result<()> {
            let end = end(tree)?;
            let is_good = end.as_ref().is_some_and(|end| self.good.contains(end));
            ensure!(is_good || self.good.is_empty(), "it ends in {end:?}");
            Ok(())
        };
        ends(&tree)?;
        if tree.path("boot2").is_dir() {
            let other = tree.copy()?;
            fs::remove_dir_all(other.path("boot"))?;
            fs::rename(other.path("boot2"), other.path("boot"))?;
            ends(&other).context("from the mirror")?;
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
        extra_files_are_known(&contents)?;
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
        let mut ours = faults::contents(&tree, &["var/lib/lastgood"])?;
        if self.command.contains(&"verify") {
            // With nothing to repair it writes nothing, and the next one that does takes over what is left.
            ours.remove("var/lib/lastgood/.lastgood-digests.jsonl.part");
        }
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
            // What is told at login is told, and nothing depends on it.
            _ if ended.status == 0 && call.path.starts_with("run/") => {
                ended.stderr.lines().collect()
            }
            ["step", "fall-back"] if ended.status == 0 => ended.stderr.lines().collect(),
            // A verdict goes on as well where it fails on a mirror, and what follows it mends that.
            ["bad", _] if ended.status == 0 && call.path.starts_with("boot2") => {
                ended.stderr.lines().collect()
            }
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
fn no_fault_at_any_call_strands_a_machine() -> Result<()> {
    strike("on one partition", runs::of_one_partition)
}

#[test]
fn no_fault_strands_a_machine_with_a_mirror() -> Result<()> {
    strike("with a mirror", runs::with_a_mirror)
}

#[test]
fn no_fault_strands_a_machine_on_its_way_from_nixpkgs() -> Result<()> {
    strike("from nixpkgs", runs::of_predecessors)
}

#[test]
fn no_fault_strands_a_machine_whose_entries_move_or_that_has_extra_files() -> Result<()> {
    strike("with more than entries", || {
        let mut runs = runs::of_extra_files()?;
        runs.push(runs::to_an_xbootldr_partition()?);
        Ok(runs)
    })
}

/// Every fault at every call of each of these runs.
#[expect(clippy::print_stdout, reason = "the figures are the proof")]
fn strike(what: &str, runs: fn() -> Result<Vec<Run>>) -> Result<()> {
    let begun = Instant::now();
    let runs = runs()?;
    for run in &runs {
        // Nix has done its part, and this is most of what there is to copy.
        fs::remove_dir_all(run.tree.path("nix/var/nix/db"))?;
    }
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
        "{} runs {what}, {calls} calls, {} faults, stranded: {}; {:.0?} of which {prepared:.0?} to prepare",
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
