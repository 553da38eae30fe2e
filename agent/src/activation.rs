//! Makes the machine the booted closure's: its `/etc`, what hangs on that, its firewall.
//!
//! Its units are in place before: `generator`. Everything here may be run again at any time, and finishes what a
//! run before it left undone.

use std::io;
use std::path::{Path, PathBuf};

use boot_entries::Root;
use boot_entries::durable::unflushed;

use crate::config;
use crate::host::{self, BOOTED_SYSTEM, CURRENT_SYSTEM, GC_ROOTS, Kind, Program, RUN};
use crate::store::handover::{self, Snippets};
use crate::system::{command_line, program};

pub mod early;
pub mod etc;
pub mod firewall;
pub mod generator;
pub mod nixos;
mod ruleset;
pub mod script;

/// Programs that have run by now and must run again for what the closure adds; `lastgood-activate.service` says why
/// they cannot wait for it. Each with the directory that tells whether there is anything to do.
const AGAIN: [(&str, Program); 2] = [
    ("etc/sysusers.d", Program::Sysusers),
    ("etc/modules-load.d", Program::ModulesLoad),
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
    /// Nobody knows whether it is NixOS's to make it so.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// NixOS has not activated it, or not well: a line each.
    #[error("{}", .0.join("; "))]
    ByNixOs(Vec<String>),
    /// A program that can tell does not.
    #[error(transparent)]
    Ask(#[from] program::Error),
    /// The assessment would not know of it.
    #[error(transparent)]
    Leave(#[from] handover::Error),
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
    /// A program that applies what the closure adds, or the closure's own.
    #[error(transparent)]
    Program(#[from] program::Error),
    /// It was not run, because what it relies on is not there.
    #[error("{} was not run, because of what is said before this", .0.display())]
    NotRun(PathBuf),
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
    match host::kind(root)? {
        Kind::NixOs => {
            let facts = nixos::look(root, closure)?;
            let problems = nixos::problems(&facts);
            Snippets(facts.snippets).leave(root)?;
            if problems.is_empty() {
                Ok(Done::Checked)
            } else {
                Err(Error::ByNixOs(problems))
            }
        }
        Kind::Plain => put_in_place(root, closure),
    }
}

/// What can be done of it before systemd is started: files and links. How many changes that took.
///
/// # Errors
/// What is not as it should be, a line each. What could be done was done.
pub fn early(root: &Root, closure: &Path) -> Result<usize, Vec<String>> {
    match files(root, closure, Vec::new) {
        Ok(changes) => Ok(changes),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
    }
}

fn put_in_place(root: &Root, closure: &Path) -> Result<Done, Error> {
    let done = files(root, closure, || {
        // They act on the running machine.
        if root.is_live() {
            run_again(root, closure)
        } else {
            Vec::new()
        }
    });
    // A configuration that cannot be read is the firewall's to tell: it closes the machine.
    let config = config::read(root, closure).unwrap_or_default();
    // In a tree nothing is run: it acts on the running machine.
    let script = config.activation.script().filter(|_| root.is_live());
    match (done, script) {
        (Ok(changes), None) => Ok(Done::Linked(changes)),
        (Ok(changes), Some(_)) => script::run(closure, &config.activation)
            .map(|()| Done::Linked(changes))
            .map_err(|error| Error::Incomplete(vec![error.into()])),
        (Err(mut problems), script) => {
            let not_run = script.map(|script| Problem::NotRun(closure.join(script)));
            problems.extend(not_run);
            Err(Error::Incomplete(problems))
        }
    }
}

/// Files and links; `run_again` runs programs that are to see the closure's `/etc`. How many changes that took.
fn files(
    root: &Root,
    closure: &Path,
    run_again: impl FnOnce() -> Vec<Problem>,
) -> Result<usize, Vec<Problem>> {
    let mut problems: Vec<Problem> = Vec::new();
    let mut changes = 0;
    let mut switched = etc::switch(root, closure);
    match links(root, closure) {
        Ok(count) => changes += count,
        Err(problem) => problems.push(problem.into()),
    }
    problems.extend(run_again());
    // A copy may be for a user whom systemd-sysusers has made by now.
    let is_order = |problem: &etc::Problem| matches!(problem, etc::Problem::Order { .. });
    if switched
        .as_ref()
        .is_err_and(|found| found.iter().any(is_order))
    {
        switched = etc::switch(root, closure);
    }
    match switched {
        Ok(count) => changes += count,
        Err(found) => {
            let found = found.into_iter().map(Problem::File);
            problems.splice(0..0, found);
        }
    }
    if problems.is_empty() {
        Ok(changes)
    } else {
        Err(problems)
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
        link(BOOTED_SYSTEM, &booted)?;
    }
    if root.join(GC_ROOTS).is_dir() {
        for system in [BOOTED_SYSTEM, CURRENT_SYSTEM] {
            link(&system.replace(RUN, GC_ROOTS), Path::new(system))?;
        }
    }
    // Last, as in NixOS: whoever sees it sees the rest.
    link(CURRENT_SYSTEM, closure)?;
    Ok(changes)
}

fn run_again(root: &Root, closure: &Path) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (directory, program) in AGAIN {
        let asked = root.resolve(closure.join(directory));
        if !asked.is_ok_and(|path| path.is_dir()) {
            continue;
        }
        let ran =
            program::command(program).and_then(|mut command| program::stdout_of(&mut command));
        problems.extend(ran.err().map(Problem::from));
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
        assert_eq!(leads(BOOTED_SYSTEM), Path::new("/nix/store/a"));
        assert_eq!(leads(CURRENT_SYSTEM), Path::new("/nix/store/b"));
        assert_eq!(
            leads("/nix/var/nix/gcroots/current-system"),
            leads(CURRENT_SYSTEM)
        );
        assert_eq!(
            leads("/nix/var/nix/gcroots/booted-system"),
            leads(BOOTED_SYSTEM)
        );
    }

    #[test]
    fn on_nixos_it_only_looks() {
        let (tree, root) = machine("init=/nix/store/a/init");
        std::fs::File::create(tree.path().join("etc/NIXOS")).unwrap();
        symlink("/nix/store/b", tree.path().join("run/current-system")).unwrap();
        let error = activate(&root, Path::new("/nix/store/a")).unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
        let error = activate(&root, Path::new("/nix/store/b")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/etc/static is not there: /etc is no generation's"
        );
        assert!(!root.join("/etc/static").is_symlink());
        symlink("/nix/store/b/etc", tree.path().join("etc/static")).unwrap();
        assert!(activate(&root, Path::new("/nix/store/b")).is_ok());
    }

    /// Nothing makes `/etc/NIXOS` there, and its links lead into the store by themselves.
    #[test]
    fn on_nixos_with_an_overlay_etc_it_only_looks_as_well() {
        let (tree, root) = machine("init=/nix/store/a/init");
        let store = tree.path().join("nix/store/r-os-release");
        let mut release = std::fs::File::create(store).unwrap();
        release.write_all(b"ID=nixos\n").unwrap();
        let etc = tree.path().join("etc");
        symlink("/nix/store/r-os-release", etc.join("os-release")).unwrap();
        symlink("/nix/store/a", tree.path().join("run/current-system")).unwrap();
        let image = tree.path().join("nix/store/a/etc-metadata-image");
        symlink("/nix/store/i", image).unwrap();
        let done = activate(&root, Path::new("/nix/store/a"));
        assert!(matches!(done, Ok(Done::Checked)), "{done:?}");
        let made = std::fs::read_dir(etc).unwrap();
        assert_eq!(made.count(), 1);
    }

    #[test]
    fn a_closure_s_os_release_does_not_make_the_next_boot_one_of_nixos() {
        for vendor in [None, Some("ID=debian\n")] {
            let (tree, root) = machine("init=/nix/store/a/init");
            if let Some(vendor) = vendor {
                let lib = tree.path().join("usr/lib");
                std::fs::create_dir_all(&lib).unwrap();
                let mut release = std::fs::File::create(lib.join("os-release")).unwrap();
                release.write_all(vendor.as_bytes()).unwrap();
            }
            for closure in ["a", "b"] {
                let etc = tree.path().join("nix/store").join(closure).join("etc");
                let mut release = std::fs::File::create(etc.join("os-release")).unwrap();
                release.write_all(b"ID=nixos\n").unwrap();
                std::fs::File::create(etc.join("NIXOS")).unwrap();
            }
            let done = activate(&root, Path::new("/nix/store/a"));
            assert!(matches!(done, Ok(Done::Linked(_))), "{done:?}");
            let leads = root.canonical("/etc/os-release").unwrap();
            assert_eq!(leads, Path::new("/nix/store/a/etc/os-release"));
            let done = activate(&root, Path::new("/nix/store/b"));
            assert!(matches!(done, Ok(Done::Linked(2))), "{done:?}");
        }
    }

    #[test]
    fn a_copy_may_be_for_a_user_whom_the_closure_brings() {
        use std::os::unix::fs::MetadataExt as _;
        let (tree, root) = machine("init=/nix/store/a/init");
        let write = |path: &str, text: &str| {
            let mut file = std::fs::File::create(tree.path().join(path)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        for (ending, word) in [("", "s"), (".mode", "0600"), (".uid", "app")] {
            write(&format!("nix/store/a/etc/key{ending}"), word);
        }
        let us = tree.path().metadata().unwrap();
        write("nix/store/a/etc/key.gid", &us.gid().to_string());
        write("etc/passwd", "");
        let closure = Path::new("/nix/store/a");
        let problems = files(&root, closure, Vec::new).unwrap_err();
        let told = one_line(&problems);
        assert!(told.contains("no \"app\" in /etc/passwd"), "{told}");
        let sysusers = || {
            write("etc/passwd", &format!("app:x:{}:7::/:\n", us.uid()));
            Vec::new()
        };
        files(&root, closure, sysusers).unwrap();
        assert!(root.join("/etc/key").is_file());
    }

    #[test]
    fn a_file_in_the_way_is_told_and_the_system_is_current_all_the_same() {
        let (tree, root) = machine("init=/nix/store/a/init");
        for place in ["etc/motd", "nix/store/a/etc/motd"] {
            std::fs::File::create(tree.path().join(place)).unwrap();
        }
        let error = activate(&root, Path::new("/nix/store/a")).unwrap_err();
        assert!(error.to_string().contains("/etc/motd"), "{error}");
        assert_eq!(
            root.canonical(CURRENT_SYSTEM).unwrap(),
            Path::new("/nix/store/a")
        );
    }
}
