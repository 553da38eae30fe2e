//! Makes the machine the booted closure's: its `/etc`, what hangs on that, its firewall.
//!
//! Its units are in place before: `generator`. Everything here may be run again at any time, and finishes what a
//! run before it left undone.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use boot_entries::Root;
use boot_entries::durable::unflushed;

use crate::config;
use crate::system::{command_line, program};

pub mod etc;
pub mod firewall;
pub mod generator;
mod ruleset;

/// Leads to the closure that is in place.
pub const CURRENT: &str = "/run/current-system";
/// Leads to the closure that was booted.
pub const BOOTED: &str = "/run/booted-system";
/// Nix's own directory of roots.
pub const GC_ROOTS: &str = "/nix/var/nix/gcroots";

/// Programs that have run by now and must run again for what the closure adds; `lastgood-activate.service` says why
/// they cannot wait for it. Each with the directory that tells whether there is anything to do.
const AGAIN: [(&str, &[&str]); 2] = [
    (
        "etc/sysusers.d",
        &["/usr/bin/systemd-sysusers", "/bin/systemd-sysusers"],
    ),
    (
        "etc/modules-load.d",
        &[
            "/usr/lib/systemd/systemd-modules-load",
            "/lib/systemd/systemd-modules-load",
        ],
    ),
];

/// What activation came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// The host's `/etc` is the closure's now; how many changes that took.
    Linked(usize),
    /// NixOS activated the closure before systemd was started, and completely.
    Checked,
}

/// Why the machine is not the closure's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Parts of it are not. All else is.
    #[error("{}", one_line(.0))]
    Incomplete(Vec<Problem>),
    /// A NixOS host runs another closure than it booted.
    #[error("{CURRENT} is {}, but the boot is that of {}: the activation did not end", current.display(), booted.display())]
    NotCurrent {
        /// What `/run/current-system` leads to.
        current: PathBuf,
        /// What was booted.
        booted: PathBuf,
    },
    /// A link could not be followed.
    #[error("cannot read {}", path.display())]
    Read {
        /// The link.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// One thing that is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A file.
    #[error(transparent)]
    File(#[from] etc::Problem),
    /// A program that applies what the closure adds.
    #[error(transparent)]
    Program(#[from] program::Error),
}

fn one_line(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

/// Makes the machine that of `closure`; on NixOS only looks whether it is.
///
/// # Errors
/// Everything that is not as it should be. What could be done was done.
pub fn activate(root: &Root, closure: &Path) -> Result<Done, Error> {
    if is_nixos(root)? {
        return check(root, closure);
    }
    let mut problems: Vec<Problem> = Vec::new();
    let mut changes = 0;
    match etc::switch(root, closure) {
        Ok(count) => changes += count,
        Err(found) => problems.extend(found.into_iter().map(Problem::File)),
    }
    match links(root, closure) {
        Ok(count) => changes += count,
        Err(problem) => problems.push(problem.into()),
    }
    // They act on the running machine.
    if root.is_live() {
        problems.extend(run_again(root, closure));
    }
    if problems.is_empty() {
        Ok(Done::Linked(changes))
    } else {
        Err(Error::Incomplete(problems))
    }
}

/// Loads the closure's firewall, or closes the machine.
///
/// # Errors
/// When neither could be done.
pub fn firewall(
    root: &Root,
    closure: &Path,
    firewall: &config::Firewall,
) -> Result<firewall::Outcome, firewall::NotClosed> {
    firewall::load(root, closure, firewall)
}

/// Whether the host is a NixOS one.
///
/// # Errors
/// When that cannot be told.
pub fn is_nixos(root: &Root) -> Result<bool, Error> {
    let path = root.join("/etc/NIXOS");
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::Read { path, source }),
    }
}

fn check(root: &Root, closure: &Path) -> Result<Done, Error> {
    let canonical = |path: &Path| {
        root.canonical(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })
    };
    let current = canonical(Path::new(CURRENT))?;
    let booted = canonical(closure)?;
    if current == booted {
        Ok(Done::Checked)
    } else {
        Err(Error::NotCurrent { current, booted })
    }
}

/// `/run/current-system` as of now, `/run/booted-system` once a boot; and both as roots for Nix's garbage collector.
fn links(root: &Root, closure: &Path) -> Result<usize, etc::Problem> {
    let mut changes = 0;
    let mut link = |place: &str, target: &Path| {
        let new = unflushed::put_link(target, &root.join(place))?;
        changes += usize::from(new);
        Ok::<(), etc::Problem>(())
    };
    unflushed::make_directories(&root.join("/run"))?;
    // A live switch comes here as well, and must not change what was booted: the kernel says what that is.
    if let Ok(Some(booted)) = command_line::closure(root) {
        link(BOOTED, &booted)?;
    }
    if root.join(GC_ROOTS).is_dir() {
        for system in [BOOTED, CURRENT] {
            link(&system.replace("/run", GC_ROOTS), Path::new(system))?;
        }
    }
    // Last, as in NixOS: whoever sees it sees the rest.
    link(CURRENT, closure)?;
    Ok(changes)
}

fn run_again(root: &Root, closure: &Path) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (directory, places) in AGAIN {
        let asked = root.resolve(closure.join(directory));
        if !asked.is_ok_and(|path| path.is_dir()) {
            continue;
        }
        // Where /usr is not merged only one of the places has it; where none has, the first is in the error.
        let there = places.iter().find(|place| Path::new(place).is_file());
        let Some(program) = there.or(places.first()) else {
            continue;
        };
        if let Err(error) = program::stdout_of(&mut Command::new(program)) {
            problems.push(error.into());
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::symlink;

    fn machine(cmdline: &str) -> (tempfile::TempDir, Root) {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        for directory in ["proc", "etc", "run", "nix/store/a/etc", "nix/store/b/etc"] {
            std::fs::create_dir_all(tree.path().join(directory)).unwrap();
        }
        let mut file = std::fs::File::create(tree.path().join("proc/cmdline")).unwrap();
        file.write_all(cmdline.as_bytes()).unwrap();
        (tree, root)
    }

    #[test]
    fn the_booted_system_stays_when_the_current_one_moves() {
        let (_tree, root) = machine("init=/nix/store/a/init");
        std::fs::create_dir_all(root.join(GC_ROOTS)).unwrap();
        let leads = |path: &str| root.canonical(path).unwrap();
        assert!(matches!(
            activate(&root, Path::new("/nix/store/a")),
            Ok(Done::Linked(5))
        ));
        assert!(matches!(
            activate(&root, Path::new("/nix/store/a")),
            Ok(Done::Linked(0))
        ));
        activate(&root, Path::new("/nix/store/b")).unwrap();
        assert_eq!(leads(BOOTED), Path::new("/nix/store/a"));
        assert_eq!(leads(CURRENT), Path::new("/nix/store/b"));
        assert_eq!(leads("/nix/var/nix/gcroots/current-system"), leads(CURRENT));
        assert_eq!(leads("/nix/var/nix/gcroots/booted-system"), leads(BOOTED));
    }

    #[test]
    fn on_nixos_it_only_looks() {
        let (tree, root) = machine("init=/nix/store/a/init");
        std::fs::File::create(tree.path().join("etc/NIXOS")).unwrap();
        symlink("/nix/store/b", tree.path().join("run/current-system")).unwrap();
        let error = activate(&root, Path::new("/nix/store/a")).unwrap_err();
        assert!(matches!(error, Error::NotCurrent { .. }), "{error}");
        assert!(activate(&root, Path::new("/nix/store/b")).is_ok());
        assert!(!root.join("/etc/static").is_symlink());
    }

    #[test]
    fn a_file_in_the_way_is_told_and_the_system_is_current_all_the_same() {
        let (tree, root) = machine("init=/nix/store/a/init");
        for place in ["etc/motd", "nix/store/a/etc/motd"] {
            std::fs::File::create(tree.path().join(place)).unwrap();
        }
        let error = activate(&root, Path::new("/nix/store/a")).unwrap_err();
        assert!(error.to_string().contains("/etc/motd"), "{error}");
        assert_eq!(root.canonical(CURRENT).unwrap(), Path::new("/nix/store/a"));
    }
}
