//! What NixOS's own scripts of a closure expect of whoever runs them, and what nixpkgs' own switch expects of others.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use boot_entries::{Root, durable};

use super::request::NIXOS_ACTION;
use crate::error::Error;
use crate::host::{self, Kind};
use crate::report::line::one_line;
use crate::system::program::{self, Ran};

/// Where the scripts leave what they ask for. They write there without making it.
const RUN_NIXOS: &str = "/run/nixos";
/// Held by nixpkgs' `switch-to-configuration` while it works.
const LOCK: &str = "/run/nixos/switch-to-configuration.lock";
/// As nixpkgs' program makes the directory.
const EVERYBODY: durable::Access = durable::Access {
    mode: 0o755,
    group: None,
};
/// They make users, keys and links, and wait for nobody.
const PATIENCE: Duration = Duration::from_mins(10);

/// A script of a closure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    /// Makes the closure the active one: users, `/etc`, links.
    Activate,
    /// Says what that would do.
    DryActivate,
}

impl Script {
    fn name(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::DryActivate => "dry-activate",
        }
    }
}

/// How a script ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Spoken {
    /// What it said.
    pub(super) lines: Vec<String>,
    /// That it did not end well, in one line.
    pub(super) failure: Option<String>,
}

/// Runs a closure's script as nixpkgs' program does: with the closure as its argument and the action in `NIXOS_ACTION`. A
/// closure without it needs none.
///
/// # Errors
/// When it cannot be run, or takes too long.
pub(super) fn run(
    closure: &Path,
    script: Script,
    environment: &BTreeMap<String, String>,
) -> Result<Spoken, program::Error> {
    let path = closure.join(script.name());
    if path.symlink_metadata().is_err() {
        return Ok(Spoken::default());
    }
    if let Err(error) = durable::make_directory_for(EVERYBODY, Path::new(RUN_NIXOS)) {
        tracing::warn!("{}", one_line(&error));
    }
    spoken(&path, closure, environment)
}

fn spoken(
    script: &Path,
    closure: &Path,
    environment: &BTreeMap<String, String>,
) -> Result<Spoken, program::Error> {
    let mut command = Command::new(script);
    // An undo has nobody's environment: it is a switch to what was before.
    command.arg(closure).env(NIXOS_ACTION, "switch");
    command.envs(environment);
    let ran = program::run_within(&mut command, Stdio::null(), PATIENCE)?;
    let Ran {
        status,
        stdout,
        stderr,
    } = &ran;
    let failure = (!status.success()).then(|| one_line(&ran.failed(&command)));
    let lines = stdout.lines().chain(stderr.lines()).map(str::to_owned);
    Ok(Spoken {
        lines: lines.collect(),
        failure,
    })
}

/// Keeps nixpkgs' `switch-to-configuration` out until it is dropped: a closure from before lastgood has it, and whoever
/// switches to that runs it. Elsewhere than on NixOS nobody has it.
///
/// # Errors
/// When somebody holds it, or it cannot be taken.
pub(super) fn lock(root: &Root) -> Result<Option<File>, Error> {
    if host::kind(root)? != Kind::NixOs {
        return Ok(None);
    }
    let place = |path: &str| {
        root.place(path).map_err(|source| Error::Read {
            what: path.to_owned(),
            source,
        })
    };
    durable::make_directory_for(EVERYBODY, &place(RUN_NIXOS)?)?;
    take(&place(LOCK)?).map(Some)
}

fn take(path: &Path) -> Result<File, Error> {
    let open = File::options().append(true).create(true).open(path);
    let held = open.and_then(|file| match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        Err(TryLockError::Error(error)) => Err(error),
    });
    held.map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => Error::Refused(format!(
            "nixpkgs' switch-to-configuration is at work (it holds {}); wait for it, and run again",
            path.display()
        )),
        _ => Error::Read {
            what: path.display().to_string(),
            source,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    fn script(text: &str) -> (tempfile::TempDir, PathBuf) {
        let tree = tempfile::tempdir().unwrap();
        let path = tree.path().join("activate");
        durable::put_text(&format!("#!/bin/sh\n{text}\n"), &path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        (tree, path)
    }

    #[test]
    fn a_script_sees_the_closure_and_the_action() {
        let (tree, path) = script("echo \"$1 $NIXOS_ACTION $LOCALE_ARCHIVE\"; pwd >&2; exit 3");
        let given = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            let environment = pairs.map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
            spoken(&path, tree.path(), &environment.collect()).unwrap()
        };
        let undo = given(&[]);
        let first = undo.lines.first().map(String::as_str);
        assert_eq!(
            first,
            Some(format!("{} switch ", tree.path().display()).as_str())
        );
        let asked = given(&[(NIXOS_ACTION, "test"), ("LOCALE_ARCHIVE", "/archive")]);
        assert!(
            asked
                .lines
                .iter()
                .any(|line| line.ends_with(" test /archive")),
            "{asked:?}"
        );
        assert!(asked.failure.is_some_and(|failure| failure.contains('3')));
    }

    #[test]
    fn a_closure_without_the_script_needs_none() {
        let tree = tempfile::tempdir().unwrap();
        let ran = run(tree.path(), Script::DryActivate, &BTreeMap::new()).unwrap();
        assert_eq!(ran, Spoken::default());
    }

    #[test]
    fn nixpkgs_own_switch_keeps_ours_out_and_ours_keeps_it_out() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        assert!(
            lock(&root).unwrap().is_none(),
            "a plain host has no such program"
        );
        std::fs::create_dir_all(tree.path().join("etc")).unwrap();
        durable::put_text("", &tree.path().join("etc/NIXOS")).unwrap();
        let ours = lock(&root).unwrap().unwrap();
        let path = tree.path().join("run/nixos/switch-to-configuration.lock");
        let theirs = File::options().append(true).open(path).unwrap();
        assert!(theirs.try_lock().is_err());
        drop(ours);
        theirs.try_lock().unwrap();
        let error = lock(&root).unwrap_err().to_string();
        assert!(
            error.contains("switch-to-configuration is at work"),
            "{error}"
        );
    }
}
