//! The closure is put in place: `/etc` and units, then the firewall.

use std::path::{Path, PathBuf};

use boot_entries::Root;

use super::{begin, new_userspace};
use crate::activation::early::EarlyFiles;
use crate::activation::firewall::{Outcome, Refusal};
use crate::activation::{self, Done};
use crate::config::{self, Config};
use crate::error::Error;
use crate::host::{AGENT, BOOTED_SYSTEM, CURRENT_SYSTEM, FIREWALLED};
use crate::report::line::one_line;
use crate::state::Event;
use crate::state::cause::Stage;
use crate::store::handover::{Stage2, mark};
use crate::store::ledger::Ledger;
use crate::system::command_line;

/// What a stage 2 that did not come to its end leaves open, relative to `/etc`: nobody knows when `/etc/static` was
/// switched, so nobody knows what systemd has read.
const LEFT_OPEN: &str = "static";

/// What became of a closure's firewall.
#[derive(Debug)]
pub enum Firewalled {
    /// This boot is no generation's.
    NotOurs,
    /// The closure names no ruleset.
    NotAsked,
    /// The closure's own unit has loaded it.
    ByUnit(String),
    /// This ruleset is in the kernel now.
    Loaded(PathBuf),
    /// It was there before, and is as it was.
    Unchanged(PathBuf),
}

/// Makes the machine the booted closure's. None: this boot is no generation's, or lastgood is uninstalled.
///
/// # Errors
/// Everything that is not as it should be. What could be done was done.
pub fn activate(root: &Root) -> Result<Option<(PathBuf, Done)>, Error> {
    new_userspace::take_notice(root);
    let Some(closure) = command_line::closure(root)? else {
        return Ok(None);
    };
    // What was given back is the operator's: copies of ours would be in the way of links.
    if Ledger::read(root).is_ok_and(|ledger| ledger.state().uninstalled) {
        return Ok(None);
    }
    // systemd starts this again at a login or a timer, where it had failed. What was switched to meanwhile stays.
    if is_switched(root, &closure) {
        return Ok(None);
    }
    let before = early_files(root, &closure);
    let done = activation::activate(root, &closure);
    if let Some((before, is_cut_off)) = before {
        let mut files = before.changed(&EarlyFiles::look(root));
        if is_cut_off {
            files.insert(LEFT_OPEN.into());
        }
        if !files.is_empty() {
            record(root, &Event::Late { files });
        }
    }
    let done = done?;
    record(
        root,
        &Event::Reached {
            stage: Stage::Activated,
        },
    );
    Ok(Some((closure, done)))
}

/// Whether a live switch has put another closure in the place of `closure`, which was booted.
fn is_switched(root: &Root, closure: &Path) -> bool {
    let leads = |link: &str| root.canonical(link).ok();
    leads(BOOTED_SYSTEM).as_deref() == Some(closure)
        && leads(CURRENT_SYSTEM).is_some_and(|active| active != closure)
}

/// Loads the booted closure's firewall, or closes the machine.
///
/// # Errors
/// When the machine had to be closed, or could not be.
pub fn firewall(root: &Root) -> Result<Firewalled, Error> {
    new_userspace::take_notice(root);
    let Some(closure) = command_line::closure(root)? else {
        return Ok(Firewalled::NotOurs);
    };
    let closure = if is_switched(root, &closure) {
        root.canonical(CURRENT_SYSTEM).unwrap_or(closure)
    } else {
        closure
    };
    let (ports, outcome) = load_or_close(root, &closure)?;
    match outcome {
        Outcome::NotAsked => Ok(Firewalled::NotAsked),
        Outcome::ByUnit(unit) => {
            in_the_kernel(root);
            Ok(Firewalled::ByUnit(unit))
        }
        Outcome::Loaded(path) => {
            in_the_kernel(root);
            Ok(Firewalled::Loaded(path))
        }
        Outcome::Unchanged(path) => {
            in_the_kernel(root);
            Ok(Firewalled::Unchanged(path))
        }
        Outcome::Closed(why) => Err(Error::Refused(format!(
            "{why}; the machine is closed but for TCP ports {ports:?}"
        ))),
    }
}

fn in_the_kernel(root: &Root) {
    // Should this program die before it can say so by its exit status, the unit would close a machine that is well.
    if let Err(error) = mark(root, FIREWALLED) {
        tracing::warn!("{}", one_line(&error));
    }
    record(
        root,
        &Event::Reached {
            stage: Stage::Firewalled,
        },
    );
}

/// What came of it, and the management ports.
fn load_or_close(root: &Root, closure: &Path) -> Result<(Vec<u16>, Outcome), Error> {
    match config::read(root, closure) {
        Ok(config) => {
            let outcome = activation::firewall(root, closure, &config.firewall)?;
            Ok((config.firewall.management_ports, outcome))
        }
        // Defaults will not do here: they name no ruleset, and the machine would be open (A8).
        Err(error) => {
            let ports = Config::default().firewall.management_ports;
            let path = closure.join(config::PATH);
            let why = Refusal::Unknown(format!("{}: {error}", path.display()));
            let outcome = activation::firewall::close(&ports, why)?;
            Ok((ports, outcome))
        }
    }
}

/// What systemd has read early, and whether a stage 2 that was to put it in place did not come to its end. None: it has
/// put all of it in place before.
fn early_files(root: &Root, closure: &Path) -> Option<(EarlyFiles, bool)> {
    let staged = Stage2::read(root).unwrap_or_else(|error| {
        tracing::error!("{}", one_line(&error));
        None
    });
    let staged = staged.filter(|done| done.closure == closure);
    if staged.as_ref().is_some_and(|done| done.problems.is_empty()) {
        return None;
    }
    let leads = |path: &Path| root.canonical(path).ok();
    let init = leads(&closure.join("init"));
    let is_cut_off = staged.is_none() && init.is_some() && init == leads(Path::new(AGENT));
    Some((EarlyFiles::look(root), is_cut_off))
}

/// Records how far the boot is, or what is to be known of it. That this cannot be written (a full disk) is the agent's
/// own trouble: were the step to fail for it, a generation that is in place would count as not being so, and the
/// firewall's unit would close a machine whose firewall is loaded (A8).
fn record(root: &Root, event: &Event) {
    let recorded = begin::session(root).and_then(|mut session| session.record(event));
    if let Err(error) = recorded {
        let what = match event {
            Event::Reached { stage } => format!("the stage {stage:?}"),
            other => format!("`{}`", other.name()),
        };
        tracing::error!("cannot record {what}: {}", one_line(&error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// It may have been ended in the middle, with a call under way.
    #[test]
    fn a_stage_2_that_left_no_word_leaves_it_open_what_was_read() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let closure = Path::new("/nix/store/1");
        for directory in ["nix/store/1", "usr/bin", "run/lastgood"] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        std::fs::File::create(root.join(AGENT)).unwrap();
        let is_cut_off = || early_files(&root, closure).map(|(_, is_cut_off)| is_cut_off);
        assert_eq!(is_cut_off(), Some(false), "no stage 2 was to be there");
        std::os::unix::fs::symlink(AGENT, root.join("/nix/store/1/init")).unwrap();
        assert_eq!(is_cut_off(), Some(true));
        for (of, problems, expected) in [
            ("/nix/store/1", vec![], None),
            ("/nix/store/1", vec!["x".to_owned()], Some(false)),
            ("/nix/store/2", vec![], Some(true)),
        ] {
            let staged = Stage2 {
                closure: of.into(),
                changes: 0,
                problems,
            };
            staged.leave(&root).unwrap();
            assert_eq!(is_cut_off(), expected, "{staged:?}");
        }
    }

    #[test]
    fn a_record_that_cannot_be_written_does_not_undo_the_activation() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        // Nobody can open a directory as a lock.
        for directory in ["proc", "nix/store/1/etc", "var/lib/lastgood/lock"] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        let mut cmdline = std::fs::File::create(root.join("proc/cmdline")).unwrap();
        cmdline.write_all(b"init=/nix/store/1/init").unwrap();
        activate(&root).unwrap();
        assert!(root.join("/etc/static").is_symlink());
    }
}
