//! Faults, one at a time: which calls of a run of the shipped binary change files, and that run again with one of these
//! calls made to fail, or to be the last thing the process does. strace does both.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::tree::{Ended, Tree};

/// Every system call that can change a file or make a change durable. `openat` only with the flags that do.
const CALLS: &str = "openat,write,pwrite64,writev,rename,renameat,renameat2,unlink,unlinkat,rmdir,symlink,symlinkat,link,\
                     linkat,mkdir,mkdirat,fsync,fdatasync,syncfs,sync_file_range,ftruncate,fallocate,copy_file_range,sendfile,\
                     chmod,fchmod,fchmodat,chown,fchown,fchownat,utimensat,mknodat";

/// What the kernel of these machines has not: `$BOOT` is a directory, and seems to be a FAT file system
/// (`MSDOS_SUPER_MAGIC`) to whoever asks of an open file. Flushing all of the disk that the tests share is left out.
const FAT: [&str; 4] = [
    "-e",
    "inject=fstatfs:poke_exit=@arg2=444d000000000000",
    "-e",
    "inject=syncfs:retval=0",
];

/// Those that return how much they wrote.
const WRITES: [&str; 5] = ["write", "pwrite64", "writev", "copy_file_range", "sendfile"];

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed before it is made.
    Kill,
    /// The disk is full.
    NoSpace,
    /// The disk does not answer.
    Broken,
}

/// A call that changes files, as a run without faults makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// It is the so-manieth call of this name in the run, by the thread that makes it, counted from 1.
    pub number: usize,
    /// The file it is about, within the tree; the last one if it is about two.
    pub path: String,
    /// How much it wrote, in bytes.
    pub bytes: u64,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} number {} ({})", self.name, self.number, self.path)
    }
}

impl Fault {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Kill, Self::NoSpace, Self::Broken];

    /// Whether `call` can end so. Only what needs room can find none; a rename does, on FAT.
    #[must_use]
    pub fn can_hit(self, call: &Call) -> bool {
        let frees = ["unlink", "unlinkat", "rmdir"].contains(&call.name.as_str());
        self != Self::NoSpace || !frees
    }

    fn inject(self) -> &'static str {
        match self {
            Self::Kill => "signal=KILL",
            Self::NoSpace => "error=ENOSPC",
            Self::Broken => "error=EIO",
        }
    }
}

/// Runs `arguments` on `tree` without a fault, and gives the calls that changed files in it.
///
/// # Errors
/// When the run does not succeed, or strace's words make no sense.
pub fn calls(tree: &Tree, arguments: &[&str]) -> Result<Vec<Call>> {
    let trace = tempfile::NamedTempFile::new()?;
    let which = format!("trace=fstatfs,{CALLS}");
    let options = [&["-f", "-y", "-s0", "-e", &which], &FAT[..]].concat();
    let ended = tree.traced(&options, trace.path(), arguments)?;
    ensure!(
        ended.status == 0,
        "{arguments:?} without a fault: {ended:?}"
    );
    let root = tree.path("").display().to_string();
    parse(&std::fs::read_to_string(trace.path())?, &root)
}

/// Runs `arguments` on `tree` with `fault` at `call`.
///
/// # Errors
/// When the fault did not happen there.
pub fn run(tree: &Tree, arguments: &[&str], call: &Call, fault: Fault) -> Result<Ended> {
    let trace = tempfile::NamedTempFile::new()?;
    let inject = format!(
        "inject={}:{}:when={}",
        call.name,
        fault.inject(),
        call.number
    );
    let which = format!("trace=fstatfs,syncfs,{}", call.name);
    let mut options = vec!["-f", "-y", "-s0", "-e", &which];
    options.extend(FAT);
    // Of two for the same call the last one counts.
    options.extend(["-e", &inject]);
    if fault != Fault::Kill {
        // Stopping at every other call as well takes time. A signal is not sent in that way.
        options.push("--seccomp-bpf");
    }
    let ended = tree.traced(&options, trace.path(), arguments)?;
    let said = std::fs::read_to_string(trace.path())?;
    let called = format!(" {}(", call.name);
    let is_it = |line: &&str| line.contains(&called);
    let hit = match fault {
        // The call it was killed at is the last one, and did not return.
        Fault::Kill => said.lines().rfind(is_it),
        _ => said
            .lines()
            .filter(is_it)
            .find(|line| line.ends_with("(INJECTED)")),
    };
    ensure!(
        hit.is_some_and(|line| line.contains(&call.path)),
        "no {fault:?} at {call}: {said}"
    );
    Ok(ended)
}

/// Reads what `strace -f -y` wrote: `123 openat(AT_FDCWD</>, "/root/a", O_WRONLY|O_CREAT, 0666) = 4</root/a>`.
fn parse(trace: &str, root: &str) -> Result<Vec<Call>> {
    let mut calls: Vec<Call> = Vec::new();
    let mut counts = std::collections::BTreeMap::new();
    for line in trace.lines() {
        let Some((name, rest)) = line.split_once('(') else {
            continue;
        };
        let (thread, name) = name.rsplit_once(' ').unwrap_or(("", name));
        if !CALLS.split(',').any(|call| call.trim() == name) {
            continue;
        }
        // strace counts by thread where a fault is to be. Those that only read change nothing.
        let number = counts
            .entry((thread.trim().to_owned(), name.to_owned()))
            .or_insert(0);
        *number += 1;
        let changes = name != "openat"
            || ["O_CREAT", "O_TRUNC"]
                .iter()
                .any(|flag| rest.contains(flag));
        // Another thread's call came in between: only reading is done by several.
        if !changes && rest.ends_with("<unfinished ...>") {
            continue;
        }
        let inside = |text: &str| Some(text.strip_prefix(root)?.trim_matches('/').to_owned());
        let (arguments, result) = rest.rsplit_once(" = ").context(line.to_owned())?;
        let named = arguments
            .split('"')
            .skip(1)
            .step_by(2)
            .filter_map(inside)
            .last();
        let opened = || {
            let (_, path) = arguments.split_once('<')?;
            inside(path.split_once('>')?.0)
        };
        if let Some(path) = named.or_else(opened).filter(|_| changes) {
            let written = if WRITES.contains(&name) { result } else { "0" };
            calls.push(Call {
                name: name.to_owned(),
                number: *number,
                path,
                // An error is written `-1 ENOSPC (...)`.
                bytes: written.parse().unwrap_or(0),
            });
        }
    }
    Ok(calls)
}

/// Every file and link under `places` of a tree, with what is in it or where it points. Directories are in their
/// contents.
///
/// # Errors
/// When something cannot be read.
pub fn contents(
    tree: &Tree,
    places: &[&str],
) -> Result<std::collections::BTreeMap<String, Vec<u8>>> {
    use std::os::unix::ffi::OsStringExt as _;
    let mut contents = std::collections::BTreeMap::new();
    let mut todo: Vec<_> = places.iter().map(|place| tree.path(place)).collect();
    while let Some(path) = todo.pop() {
        let name = || {
            Path::new(&path)
                .strip_prefix(tree.path(""))
                .map(|p| p.display().to_string())
        };
        let found = match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            found => found?,
        };
        if found.is_dir() {
            todo.extend(crate::files::sorted_entries(&path)?);
        } else if found.is_symlink() {
            contents.insert(
                name()?,
                std::fs::read_link(&path)?.into_os_string().into_vec(),
            );
        } else {
            contents.insert(name()?, std::fs::read(&path)?);
        }
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strace_writes() {
        let trace = "7 openat(AT_FDCWD</>, \"/t/etc\", O_RDONLY|O_CLOEXEC) = 3</t/etc>\n\
                     8 openat(AT_FDCWD</>, \"/t/nix/a\", O_RDONLY|O_CLOEXEC <unfinished ...>\n\
                     9 openat(AT_FDCWD</>, \"/t/nix/b\", O_RDONLY|O_CLOEXEC) = 4</t/nix/b>\n\
                     8 <... openat resumed>) = 5</t/nix/a>\n\
                     7 openat(AT_FDCWD</>, \"/t/boot/a.part\", O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0666) = 3</t/boot/a.part>\n\
                     7 write(1</dev/null>, \"\"..., 3) = 3\n\
                     7 write(3</t/boot/a.part>, \"\"..., 3) = 3\n\
                     7 rename(\"/t/boot/a.part\", \"/t/boot/a\") = 0\n\
                     7 +++ exited with 0 +++\n";
        let call = |name: &str, number, path: &str, bytes| Call {
            name: name.to_owned(),
            number,
            path: path.to_owned(),
            bytes,
        };
        let expected = [
            call("openat", 2, "boot/a.part", 0),
            call("write", 2, "boot/a.part", 3),
            call("rename", 1, "boot/a", 0),
        ];
        assert_eq!(parse(trace, "/t/").unwrap(), expected);
    }
}
