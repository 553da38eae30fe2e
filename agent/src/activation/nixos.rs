//! On NixOS the closure was activated before systemd was started: is it all there, and did it end well?
//!
//! nixpkgs' `activate` goes on after a snippet of it has failed, and links `/run/current-system` as its last step all the
//! same; the initrd's unit succeeds then, too. So three things are asked: where `/run/current-system` and `/etc/static`
//! lead, what systemd knows of the initrd's unit, and which snippets failed. These are judged like failed units: some
//! fail in every boot, and nobody misses what they do.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use boot_entries::{Root, mountinfo};

use super::Error;
use crate::host::{CURRENT_SYSTEM, ETC, MOUNTS, Program, STATIC};
use crate::system::program;

/// The unit of a systemd in the initrd that runs `activate`.
const UNIT: &str = "initrd-nixos-activation.service";
/// Who speaks for `activate`: nixpkgs' stage 2, and the script of that unit.
const SPEAKERS: [&str; 2] = ["stage-2-init", "initrd-nixos-activation-start"];
/// A closure with an overlay `/etc` has this, and makes no `/etc/static`.
const OVERLAY: &str = "etc-metadata-image";

/// What there is to see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The closure that was booted.
    pub booted: PathBuf,
    /// What `/run/current-system` leads to.
    pub current: PathBuf,
    /// The closure's own `etc`.
    pub etc: PathBuf,
    /// What `/etc/static` leads to. None: it is not there.
    pub farm: Option<PathBuf>,
    /// The closure has an overlay `/etc`.
    pub overlay: bool,
    /// An overlay is mounted on `/etc`. None: nobody can tell (a tree).
    pub is_mounted: Option<bool>,
    /// systemd has the initrd's unit as failed, and this is its result.
    pub unit: Option<String>,
    /// The snippets of `activate` that failed, by their names.
    pub snippets: BTreeSet<String>,
}

/// Why the activation did not end well. Empty: it did.
#[must_use]
pub fn problems(facts: &Facts) -> Vec<String> {
    let mut problems = Vec::new();
    let Facts {
        booted,
        current,
        etc,
        ..
    } = facts;
    if current != booted {
        problems.push(format!(
            "{CURRENT_SYSTEM} is {}, but the boot is that of {}: the activation did not end",
            current.display(),
            booted.display()
        ));
    }
    match &facts.farm {
        Some(farm) if farm != etc => problems.push(format!(
            "{STATIC} is {}, and not {}: {ETC} is another generation's",
            farm.display(),
            etc.display()
        )),
        None if !facts.overlay => {
            problems.push(format!("{STATIC} is not there: {ETC} is no generation's"));
        }
        _ => {}
    }
    if facts.overlay && facts.is_mounted == Some(false) {
        problems.push(format!(
            "no overlay is mounted on {ETC}, and the closure has one"
        ));
    }
    if let Some(result) = &facts.unit {
        problems.push(format!("{UNIT} failed in the initrd ({result})"));
    }
    problems
}

/// Looks.
///
/// # Errors
/// When what decides cannot be read, or systemd or the journal does not answer.
pub(super) fn look(root: &Root, closure: &Path) -> Result<Facts, Error> {
    let canonical = |path: &Path| {
        root.canonical(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })
    };
    let farm = match root.join(STATIC).symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        _ => Some(canonical(Path::new(STATIC))?),
    };
    let overlay = root.place(closure.join(OVERLAY));
    let mut facts = Facts {
        booted: canonical(closure)?,
        current: canonical(Path::new(CURRENT_SYSTEM))?,
        etc: canonical(&closure.join("etc"))?,
        farm,
        overlay: overlay.is_ok_and(|place| place.symlink_metadata().is_ok()),
        ..Facts::default()
    };
    if root.is_live() {
        facts.is_mounted = std::fs::read(root.join(MOUNTS))
            .ok()
            .map(|text| has_overlay(&text));
        facts.unit = unit_result()?;
        facts.snippets = snippets(&journal()?);
    }
    Ok(facts)
}

fn has_overlay(mounts: &[u8]) -> bool {
    let mut mounts = mountinfo::mounts(mounts);
    mounts.any(|mount| mount.point == Path::new(ETC) && mount.file_system == "overlay")
}

/// A unit that ended well is forgotten by now.
fn unit_result() -> Result<Option<String>, program::Error> {
    let mut systemctl = program::command(Program::Systemctl)?;
    systemctl.args(["show", "--value", "--property=ActiveState,Result", UNIT]);
    let shown = program::stdout_of(&mut systemctl)?;
    let mut words = shown.lines();
    Ok(match (words.next(), words.next()) {
        (Some(result), Some("failed")) | (Some("failed"), Some(result)) => Some(result.to_owned()),
        _ => None,
    })
}

fn journal() -> Result<String, program::Error> {
    let mut journalctl = program::command(Program::Journalctl)?;
    journalctl.args(["--boot", "--quiet", "--no-pager", "--output=cat"]);
    journalctl.args(SPEAKERS.map(|name| format!("SYSLOG_IDENTIFIER={name}")));
    program::stdout_of(&mut journalctl)
}

/// The snippets that failed, in nixpkgs' words: `Activation script snippet 'NAME' failed (STATUS)`.
fn snippets(journal: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let rest = line.trim().strip_prefix("Activation script snippet '")?;
        let (name, _) = rest.split_once("' failed (")?;
        Some(name.to_owned())
    };
    journal.lines().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Facts {
        Facts {
            booted: "/nix/store/a".into(),
            current: "/nix/store/a".into(),
            etc: "/nix/store/e/etc".into(),
            farm: Some("/nix/store/e/etc".into()),
            is_mounted: Some(false),
            ..Facts::default()
        }
    }

    /// Each of these passed for a complete activation, but for the first.
    #[test]
    fn what_is_no_complete_activation() {
        let overlay = Facts {
            farm: None,
            overlay: true,
            is_mounted: Some(true),
            ..whole()
        };
        let other = || Some(PathBuf::from("/nix/store/f/etc"));
        for (facts, expected) in [
            (whole(), None),
            (overlay.clone(), None),
            (
                Facts {
                    is_mounted: None,
                    ..overlay.clone()
                },
                None,
            ),
            (
                Facts {
                    current: "/nix/store/b".into(),
                    ..whole()
                },
                Some("the activation did not end"),
            ),
            (
                Facts {
                    farm: other(),
                    ..whole()
                },
                Some("is another generation's"),
            ),
            (
                Facts {
                    farm: other(),
                    ..overlay.clone()
                },
                Some("is another generation's"),
            ),
            (
                Facts {
                    farm: None,
                    ..whole()
                },
                Some("is no generation's"),
            ),
            (
                Facts {
                    is_mounted: Some(false),
                    ..overlay
                },
                Some("no overlay is mounted on /etc"),
            ),
            (
                Facts {
                    unit: Some("exit-code".into()),
                    ..whole()
                },
                Some("in the initrd (exit-code)"),
            ),
        ] {
            let problems = problems(&facts);
            assert_eq!(
                problems.len(),
                usize::from(expected.is_some()),
                "{problems:?}"
            );
            let expected = expected.unwrap_or_default();
            assert!(problems.concat().contains(expected), "{problems:?}");
        }
    }

    #[test]
    fn of_what_was_said_only_failures_count() {
        let journal = "booting system configuration /nix/store/a\nrunning activation script...\n\
                       setting up /etc...\nActivation script snippet 'agenix' failed (1)\n\
                       Activation script snippet 'agenix' failed (1)\n";
        assert_eq!(snippets(journal), ["agenix".to_owned()].into());
    }

    #[test]
    fn an_overlay_is_seen_on_etc_and_nowhere_else() {
        let line = |point: &str, kind: &str| {
            format!("40 23 0:34 / {point} rw - {kind} {kind} rw,lowerdir=/a::/b\n")
        };
        assert!(has_overlay(line("/etc", "overlay").as_bytes()));
        assert!(!has_overlay(line("/etc/x", "overlay").as_bytes()));
        assert!(!has_overlay(line("/etc", "tmpfs").as_bytes()));
    }
}
