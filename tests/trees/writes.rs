//! The order of writes, as the kernel sees it, and that there are no more and no less: no unit test notices a missing
//! fsync.

use std::fs;

use anyhow::Result;
use lastgood_tests::faults;
use lastgood_tests::tree::Tree;

use super::ok;

/// One file-changing call of the trace.
#[derive(Debug, PartialEq, Eq)]
enum Call {
    Flush(String),
    Rename(String, String),
}

/// Reads what `strace -y` wrote: `fsync(3</path>) = 0`, `rename("/a", "/b") = 0`.
fn parse(trace: &str) -> Vec<Call> {
    let quoted = |line: &str| {
        line.split('"')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let mut calls = Vec::new();
    for line in trace
        .lines()
        .filter(|line| line.trim_end().ends_with("= 0"))
    {
        if line.starts_with("fsync(") {
            let path = line
                .split_once('<')
                .and_then(|(_, rest)| rest.split_once('>'))
                .unwrap()
                .0;
            calls.push(Call::Flush(path.to_owned()));
        } else if let [from, to] = &quoted(line)[..] {
            calls.push(Call::Rename(from.clone(), to.clone()));
        }
    }
    calls
}

/// Payload, an entry, or the loader's settings.
fn kind_of(path: &str) -> char {
    match () {
        () if path.contains("/EFI/lastgood/") => 'p',
        () if path.contains("/entries/") => 'e',
        () => 'c',
    }
}

#[test]
fn every_file_is_flushed_before_it_has_its_name_and_with_its_directory_before_the_next()
-> Result<()> {
    let tree = Tree::new()?;
    tree.generations(2)?;
    let trace = tree.path("trace");
    ok(&tree.traced(
        &["-y", "-e", "trace=fsync,rename,renameat,renameat2"],
        &trace,
        &["install"],
    )?);
    let calls = parse(&fs::read_to_string(&trace)?);
    let boot = tree.path("boot").display().to_string();
    let mut order = Vec::new();
    for (at, call) in calls.iter().enumerate() {
        let Call::Rename(from, to) = call else {
            continue;
        };
        if !to.starts_with(&boot) {
            continue;
        }
        let directory = to.rsplit_once('/').unwrap().0;
        assert!(
            calls[..at].contains(&Call::Flush(from.clone())),
            "{to} was not flushed before: {calls:?}"
        );
        let kind = kind_of(to);
        // Payload waits for the last of it; anything else for nothing.
        let is_next = |call: &&Call| matches!(call, Call::Rename(_, next) if next.starts_with(&boot) && (kind != 'p' || kind_of(next) != 'p'));
        let next = calls.iter().skip(at + 1).position(|call| is_next(&call));
        let until_next = &calls[at + 1..next.map_or(calls.len(), |next| at + 1 + next)];
        // FAT keeps where a file's bytes are beside its name: the file once more, then the directory.
        let flushed = |path: &str| {
            until_next
                .iter()
                .position(|call| *call == Call::Flush(path.to_owned()))
        };
        let [file, directory] = [to, directory].map(flushed);
        assert!(file.is_some() && file < directory, "{to}: {calls:?}");
        order.push(kind);
    }
    // One kernel, two initrds; two entries; the settings.
    assert_eq!(order, ['p', 'p', 'p', 'e', 'e', 'c']);
    Ok(())
}

/// Calls that change files, a line each, with `*` for what is made of hashes. Several writes in a row to one file are one.
fn lines(calls: &[faults::Call]) -> Vec<String> {
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

/// The directory of a file, and its temporary name.
fn part(path: &str) -> (&str, String) {
    let (directory, name) = path.rsplit_once('/').unwrap();
    (directory, format!("{directory}/.lastgood-{name}.part"))
}

/// A directory is made.
fn made(path: &str) -> Vec<String> {
    vec![format!("mkdir {path}"), format!("fsync {}", part(path).0)]
}

/// A file is written, and has its name, but not for certain.
fn unnamed(path: &str) -> Vec<String> {
    let (_, part) = part(path);
    let calls = ["openat", "write", "fsync"].map(|call| format!("{call} {part}"));
    [&calls[..], &[format!("rename {path}")]].concat()
}

/// Files in one directory have their names for certain.
fn named(paths: &[&str]) -> Vec<String> {
    let directory = part(paths[0]).0;
    let flushed = paths.iter().chain([&directory]);
    flushed.map(|path| format!("fsync {path}")).collect()
}

/// A file is put in place.
fn put(path: &str) -> Vec<String> {
    [unnamed(path), named(&[path])].concat()
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
    tree.generations(2)?;
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
        recorded(),
        made("boot/EFI/lastgood"),
        unnamed(kernel),
        unnamed(initrd),
        unnamed(initrd),
        named(&[kernel, initrd, initrd]),
        made("boot/loader"),
        made("boot/loader/entries"),
        put(&entry("2-*+3-0")),
        put(&entry("1-*+3-0")),
        put("boot/loader/loader.conf"),
        put("var/lib/lastgood/digests.jsonl"),
        made("nix/var/nix/gcroots/lastgood"),
        linked(&root(1)),
        recorded(),
    ];
    let good = [
        lock(),
        recorded(),
        put(&entry("1-*")),
        removed(&entry("1-*+3-0")),
    ];
    let second = [
        lock(),
        settled(2),
        recorded(),
        put(&entry("2-*+3-0")),
        linked(&root(2)),
        recorded(),
    ];
    let bad = [
        lock(),
        recorded(),
        put(&entry("2-*+0-1")),
        removed(&entry("2-*+3-0")),
        linked("nix/var/nix/profiles/system"),
        removed(&root(2)),
    ];
    let run = |command: &[&str], expected: Vec<String>| -> Result<Vec<faults::Call>> {
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
    run(&["install", "2"], second.concat())?;
    run(&["install", "2"], lock())?;
    run(&["bad", "2"], bad.concat())?;
    Ok(())
}
