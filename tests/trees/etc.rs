//! The shipped binary puts a closure's `/etc` in place, and is killed at, and given a full disk and an I/O error by, every
//! single call that changes a file: nothing of the host's changes, nothing is half there, and the next run finishes it,
//! or goes back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use lastgood_tests::faults::{self, Fault};
use lastgood_tests::files;
use lastgood_tests::tree::Tree;

const ACTIVATE: [&str; 2] = ["step", "activate"];

/// Everything in `/etc` but the manifest and the seal: where it leads, or what it holds and who may use it.
fn contents(tree: &Tree) -> Result<BTreeMap<PathBuf, String>> {
    let etc = tree.path("etc");
    let mut all = BTreeMap::new();
    let mut todo = vec![etc.clone()];
    while let Some(directory) = todo.pop() {
        for path in files::sorted_entries(&directory)? {
            let found = path.symlink_metadata()?;
            let holds = if found.is_dir() {
                todo.push(path.clone());
                continue;
            } else if found.is_symlink() {
                format!("-> {}", fs::read_link(&path)?.display())
            } else {
                let text = fs::read_to_string(&path)?;
                format!("{:o} {} {text}", found.mode() & 0o7777, found.uid())
            };
            all.insert(path.strip_prefix(&etc)?.to_owned(), holds);
        }
    }
    for ours in [".lastgood-etc", ".lastgood-etc-seal"] {
        all.remove(Path::new(ours));
    }
    Ok(all)
}

/// The kernel was started with this closure.
fn boot(tree: &Tree, closure: &str) -> Result<()> {
    let line = format!("init=/nix/store/{closure}/init\n");
    files::write(&tree.path("proc/cmdline"), line)
}

fn activate(tree: &Tree, closure: &str) -> Result<()> {
    boot(tree, closure)?;
    let ended = tree.lastgood(&ACTIVATE)?;
    ensure!(ended.status == 0, "{closure}: {ended:?}");
    Ok(())
}

fn closure(
    tree: &Tree,
    name: &str,
    all: &[(&str, &str)],
    copies: &[(&str, &str, &str)],
) -> Result<()> {
    let etc = tree.path("nix/store").join(name).join("etc");
    for (path, text) in all {
        files::write(&etc.join(path), text)?;
    }
    for (path, text, mode) in copies {
        let file = format!("/nix/store/{name}-{}", path.replace('/', "-"));
        files::write(&tree.path(&file[1..]), text)?;
        let place = etc.join(path);
        fs::create_dir_all(place.parent().context("no directory")?)?;
        symlink(file, &place)?;
        for (ending, word) in [("mode", *mode), ("uid", "alice"), ("gid", "+7")] {
            files::write(&etc.join(format!("{path}.{ending}")), word)?;
        }
    }
    Ok(())
}

/// Every kind of change: links and copies that come, go, change, and take each other's places and those of directories.
fn machine() -> Result<Tree> {
    let tree = Tree::new()?;
    files::write(&tree.path("etc/hostname"), "host")?;
    files::write(
        &tree.path("etc/passwd"),
        "root:x:0:0::/:\nalice:x:42:7::/:\n",
    )?;
    files::write(&tree.path("etc/app/host.conf"), "host")?;
    closure(
        &tree,
        "one",
        &[
            ("a", "1"),
            ("b/x", "1"),
            ("c", "1"),
            ("e", "1"),
            ("gone", "1"),
            ("app/l", "1"),
        ],
        &[
            ("key", "1", "0600"),
            ("old", "1", "0440"),
            ("f", "1", "0600"),
        ],
    )?;
    closure(
        &tree,
        "two",
        &[
            ("a", "2"),
            ("b", "2"),
            ("c/x", "2"),
            ("f", "2"),
            ("new", "2"),
            ("d/new", "2"),
        ],
        &[
            ("key", "2", "0640"),
            ("e", "2", "0600"),
            ("app/fresh", "2", "0400"),
        ],
    )?;
    activate(&tree, "one")?;
    Ok(tree)
}

/// Kills `command` at, and gives a full disk and an I/O error to, each of its calls that change a file.
fn no_fault_leaves_etc_half_done(command: &[&str]) -> Result<()> {
    let tree = machine()?;
    let before = contents(&tree)?;
    boot(&tree, "two")?;
    let whole = tree.copy()?;
    let calls = faults::calls(&whole, command)?;
    let after = contents(&whole)?;
    let back = whole.copy()?;
    activate(&back, "one")?;
    ensure!(contents(&back)? == before, "the way back");
    ensure!(calls.len() > 30, "{calls:?}");
    for call in &calls {
        let can_hit = |fault: &Fault| fault.can_hit(call);
        for fault in Fault::ALL.into_iter().filter(can_hit) {
            let one = tree.copy()?;
            let at = || format!("{fault:?} at {call}");
            faults::run(&one, command, call, fault)?;
            for (path, holds) in contents(&one)? {
                let name = path.file_name().context("no name")?.to_string_lossy();
                if name.ends_with(".part") {
                    continue;
                }
                // All that is there is what was there, or what is to be there.
                let is_whole = [&before, &after].map(|all| all.get(&path) == Some(&holds));
                ensure!(
                    is_whole.contains(&true),
                    "{}: {}: {holds}",
                    at(),
                    path.display()
                );
            }
            // It goes on, or back.
            let back = (fault == Fault::Kill).then(|| one.copy()).transpose()?;
            activate(&one, "two").with_context(at)?;
            ensure!(contents(&one)? == after, "{}: {:#?}", at(), contents(&one)?);
            if let Some(one) = back {
                activate(&one, "one").with_context(at)?;
                ensure!(
                    contents(&one)? == before,
                    "{}: {:#?}",
                    at(),
                    contents(&one)?
                );
            }
        }
    }
    Ok(())
}

#[test]
fn no_fault_at_any_call_leaves_etc_half_done() -> Result<()> {
    no_fault_leaves_etc_half_done(&ACTIVATE)
}

/// What it leaves is finished by the step after systemd was started.
#[test]
fn no_fault_at_any_call_of_stage_2_leaves_etc_half_done() -> Result<()> {
    no_fault_leaves_etc_half_done(&["step", "stage-2"])
}

#[test]
fn a_secret_is_never_readable_and_has_its_owner_with_its_name() -> Result<()> {
    let tree = machine()?;
    boot(&tree, "two")?;
    let trace = tempfile::NamedTempFile::new()?;
    let options = [
        "-f",
        "-y",
        "-e",
        "trace=openat,fchown,fchmod,fsync,rename,renameat2",
    ];
    let ended = tree.traced(&options, trace.path(), &ACTIVATE)?;
    ensure!(ended.status == 0, "{ended:?}");
    let trace = fs::read_to_string(trace.path())?;
    let of_it: Vec<&str> = trace
        .lines()
        .filter(|line| line.contains("/etc/.lastgood-key.part"))
        .filter(|line| !line.contains("O_RDONLY"))
        .collect();
    let [made, owned, allowed, flushed, named] = of_it[..] else {
        anyhow::bail!("{of_it:#?}");
    };
    ensure!(
        made.contains("O_EXCL") && made.contains(", 0600)"),
        "{made}"
    );
    ensure!(
        owned.contains("fchown(") && owned.contains(", 42, 7)"),
        "{owned}"
    );
    ensure!(
        allowed.contains("fchmod(") && allowed.contains("0640)"),
        "{allowed}"
    );
    ensure!(flushed.contains("fsync("), "{flushed}");
    ensure!(named.contains("rename"), "{named}");
    ensure!(contents(&tree)?[Path::new("key")] == "640 42 2");
    Ok(())
}
