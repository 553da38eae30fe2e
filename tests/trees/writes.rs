//! The order of writes, as the kernel sees it: no unit test notices a missing fsync.

use std::fs;

use anyhow::Result;
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
