//! The order of writes, as the kernel sees it, and that there are no more and no less: no unit test notices a missing
//! fsync.

use std::fs;

use anyhow::{Result, ensure};
use boot_entries::payload;
use lastgood_tests::faults::{self, Call};
use lastgood_tests::tree::Tree;
use systemd_boot_model::ENTRIES;

/// What is remembered of files. Nothing depends on it.
const DIGESTS: &str = "var/lib/lastgood/digests.jsonl";

/// What may be written in a row with its like: payload, and an entry.
#[derive(PartialEq)]
enum Row {
    Payload,
    Entries,
}

fn row_of(call: &Call) -> Option<Row> {
    let (directory, name) = call.path.rsplit_once('/').unwrap_or_default();
    let name = name.trim_start_matches(".lastgood-");
    let is_payload = payload::kind_of(name.trim_end_matches(".part")).is_some();
    match () {
        () if is_payload => Some(Row::Payload),
        () if directory.ends_with(ENTRIES) => Some(Row::Entries),
        () => None,
    }
}

/// Whether everything that `calls` change is on the disk before the next change: what is written; what is removed or
/// made, by its directory; a file before it has its name, and then that as on FAT. What is in a row waits for the last
/// of it.
pub(super) fn flushed(calls: &[Call]) -> Result<()> {
    for (at, call) in calls.iter().enumerate() {
        if call.path == DIGESTS || call.path == part(DIGESTS).1 {
            continue;
        }
        // What is gone at the next boot is on no disk.
        if call.path.starts_with("run/") {
            continue;
        }
        let (former, rest) = (calls[..at].last(), &calls[at + 1..]);
        // A fallback turns all of `/etc`, and then flushes it once.
        if call.path.starts_with("etc") {
            let is_flush = |next: &Call| next.name == "syncfs" && next.path == "etc";
            ensure!(
                call.name == "syncfs" || rest.iter().any(is_flush),
                "{call} is not on the disk: {calls:#?}"
            );
            continue;
        }
        let is = |other: &Call, name: &str, path: &str| other.name == name && other.path == path;
        let (directory, part) = part(&call.path);
        let end = rest.iter().position(|next| {
            let goes_on = ["fsync", "syncfs"].contains(&next.name.as_str())
                || is(next, "write", &call.path)
                || row_of(call).is_some_and(|row| row_of(next) == Some(row));
            !goes_on
        });
        let until_next = &rest[..end.unwrap_or(rest.len())];
        let position = |name: &str, path: &str| {
            let mut calls = until_next.iter();
            calls.position(|next| is(next, name, path))
        };
        let flush = |path: &str| position("fsync", path);
        let is_flushed = match call.name.as_str() {
            "write" if flush(&call.path).is_some() => true,
            // What is written together is flushed together, before it has its names.
            "write" if row_of(call) == Some(Row::Payload) => {
                let mut later = rest.iter().filter(|next| next.path.starts_with(directory));
                let mut flushes = later
                    .by_ref()
                    .take_while(|next| next.name != "rename")
                    .filter(|next| next.path == directory);
                let [first, second] = [flushes.next(), flushes.next()];
                first.is_some_and(|call| call.name == "syncfs")
                    && second.is_some_and(|call| call.name == "fsync")
            }
            "write" => false,
            "unlink"
                if rest
                    .first()
                    .is_some_and(|next| is(next, "symlink", &call.path)) =>
            {
                true
            }
            // Above all of it is what was there before.
            "mkdir" if directory.is_empty() => true,
            "mkdir" | "unlink" => flush(directory).is_some(),
            "rename" if former.is_some_and(|former| is(former, "symlink", &part)) => {
                flush(directory).is_some()
            }
            // FAT keeps where a file's bytes are beside its name: everything that is not written yet, then what the
            // disk keeps to itself.
            "rename" => {
                let files = position("syncfs", directory);
                let is_whole = row_of(call) == Some(Row::Payload)
                    || former.is_some_and(|former| is(former, "fsync", &part));
                is_whole && files.is_some() && files < flush(directory)
            }
            _ => true,
        };
        ensure!(is_flushed, "{call} is not on the disk: {calls:#?}");
    }
    Ok(())
}

#[test]
fn every_file_is_flushed_before_it_has_its_name_and_with_its_directory_before_the_next()
-> Result<()> {
    let tree = Tree::new()?;
    tree.generations(2)?;
    flushed(&faults::calls(&tree, &["install"])?)
}

/// Calls that change files, a line each, with `*` for what is made of hashes. Several writes in a row to one file are
/// one.
fn lines(calls: &[Call]) -> Vec<String> {
    let is_hash = |word: &str| match word.len() {
        8 => word.bytes().all(|byte| byte.is_ascii_hexdigit()),
        // The store's are no hexadecimal numbers.
        length => length == 32,
    };
    let plain = |path: &str| {
        let words = path.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
        let words = words.map(|word| {
            let end = word.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
            match word.strip_suffix(end) {
                Some(bare) if is_hash(bare) => format!("*{end}"),
                _ => word.to_owned(),
            }
        });
        words.collect::<String>()
    };
    let lines = calls
        .iter()
        .map(|call| format!("{} {}", call.name, plain(&call.path)));
    let mut lines: Vec<String> = lines.collect();
    lines.dedup_by(|a, b| a == b && a.starts_with("write "));
    lines
}

/// The directory of a file, and its temporary name, which has the end of a long one only.
fn part(path: &str) -> (&str, String) {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let end = &name[name.len().saturating_sub(48)..];
    (directory, format!("{directory}/.lastgood-{end}.part"))
}

/// A directory is made.
fn made(path: &str) -> Vec<String> {
    vec![format!("mkdir {path}"), format!("fsync {}", part(path).0)]
}

/// A file is written under its temporary name.
fn written(path: &str) -> Vec<String> {
    let (_, part) = part(path);
    ["openat", "write"]
        .map(|call| format!("{call} {part}"))
        .to_vec()
}

/// It has its name, but not for certain.
fn renamed(path: &str) -> Vec<String> {
    vec![format!("rename {path}")]
}

/// A file is written, and has its name, but not for certain.
fn unnamed(path: &str) -> Vec<String> {
    let flushed = format!("fsync {}", part(path).1);
    [written(path), vec![flushed], renamed(path)].concat()
}

/// What has a name in `directory` has it for certain; and all that the file system has to write is on the disk.
fn flush_of(directory: &str) -> Vec<String> {
    ["syncfs", "fsync"]
        .map(|call| format!("{call} {directory}"))
        .to_vec()
}

/// A file is put in place.
fn put(path: &str) -> Vec<String> {
    [unnamed(path), flush_of(part(path).0)].concat()
}

/// A link is put in place.
fn linked(path: &str) -> Vec<String> {
    let (directory, part) = part(path);
    vec![
        format!("unlink {part}"),
        format!("symlink {part}"),
        format!("rename {path}"),
        format!("fsync {directory}"),
    ]
}

/// A file or link is removed.
fn removed(path: &str) -> Vec<String> {
    vec![format!("unlink {path}"), format!("fsync {}", part(path).0)]
}

/// A line is added to the ledger.
fn recorded() -> Vec<String> {
    let ledger = "var/lib/lastgood/ledger.jsonl";
    let calls = ["openat", "write", "fsync"].map(|call| format!("{call} {ledger}"));
    [&calls[..], &["fsync var/lib/lastgood".to_owned()]].concat()
}

/// One call more is time and wear, and one less a file that a power cut takes.
#[test]
fn a_run_makes_the_calls_it_has_to_and_no_other() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(3)?;
    fs::create_dir_all(tree.path("var/lib"))?;
    let lock = || vec!["openat var/lib/lastgood/lock".to_owned()];
    // Before anything selects it, a closure is on the disk.
    let settled = |number| vec![format!("syncfs nix/store/*-nixos-system-tree-{number}")];
    let kernel = "boot/EFI/lastgood/*-kernel.efi";
    let initrd = "boot/EFI/lastgood/*-initrd";
    let entry = |name: &str| format!("boot/loader/entries/lastgood-{name}.conf");
    let root = |number| format!("nix/var/nix/gcroots/lastgood/lastgood-{number}-*");
    let first = [
        made("var/lib/lastgood"),
        lock(),
        settled(1),
        // Whose entries they are, and what is selected.
        recorded(),
        flush_of("boot"),
        made("boot/EFI/lastgood"),
        written(kernel),
        written(initrd),
        written(initrd),
        written(initrd),
        flush_of("boot/EFI/lastgood"),
        renamed(kernel),
        renamed(initrd),
        renamed(initrd),
        renamed(initrd),
        flush_of("boot/EFI/lastgood"),
        made("boot/loader"),
        made("boot/loader/entries"),
        unnamed(&entry("2-*+3-0")),
        unnamed(&entry("3-*+3-0")),
        flush_of("boot/loader/entries"),
        put(&entry("1-*+3-0")),
        put("boot/loader/loader.conf"),
        // What may get lost is not flushed.
        written(DIGESTS),
        renamed(DIGESTS),
        made("nix/var/nix/gcroots/lastgood"),
        linked(&root(1)),
        recorded(),
    ];
    let good = [
        lock(),
        recorded(),
        flush_of("boot"),
        put(&entry("1-*")),
        removed(&entry("1-*+3-0")),
    ];
    let second = [
        lock(),
        settled(3),
        recorded(),
        flush_of("boot"),
        put(&entry("3-*+3-0")),
        linked(&root(3)),
        recorded(),
    ];
    let bad = [
        lock(),
        recorded(),
        flush_of("boot"),
        put(&entry("3-*+0-1")),
        removed(&entry("3-*+3-0")),
        linked("nix/var/nix/profiles/system"),
        removed(&root(3)),
    ];
    let run = |command: &[&str], expected: Vec<String>| -> Result<Vec<Call>> {
        let calls = faults::calls(&tree, command)?;
        assert_eq!(lines(&calls), expected, "{command:?}");
        Ok(calls)
    };
    let calls = run(&["install", "1"], first.concat())?;
    // Nothing was there before, and every byte that is there was written once.
    let on_boot = calls.iter().filter(|call| call.path.starts_with("boot/"));
    let written: u64 = on_boot.map(|call| call.bytes).sum();
    let files = faults::contents(&tree, &["boot/EFI/lastgood", "boot/loader"])?;
    let there: usize = files.values().map(Vec::len).sum();
    assert_eq!(written, u64::try_from(there)?);
    run(&["install", "1"], lock())?;
    run(&["good", "1"], good.concat())?;
    run(&["install", "3"], second.concat())?;
    run(&["install", "3"], lock())?;
    run(&["bad", "3"], bad.concat())?;
    Ok(())
}
