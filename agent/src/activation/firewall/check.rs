//! Whether a closure's firewall can be loaded, asked where somebody can mend it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use boot_entries::Root;
use nix::sched::{CloneFlags, unshare};

use super::super::ruleset::{Ruleset, When};
use super::nft::{self, About, Complaint, Nft};
use super::{Refusal, replacing, unit, wanted};
use crate::config::{self, Asked};
use crate::host::{self, Kind, Program};

/// Checks the firewall that `closure` asks for. Nothing is changed.
///
/// nft looks at it in a network namespace of its own. There are no interfaces and no tables, as when the machine starts,
/// so that what this machine happens to have neither helps nor hinders.
///
/// # Errors
/// When the next boot could not load it.
pub fn check(root: &Root, closure: &Path, firewall: &config::Firewall) -> Result<(), Refusal> {
    if let Asked::Unit(name) = firewall.asked() {
        return Ok(unit::check(root, closure, name)?);
    }
    let Some(ruleset) = wanted(root, closure, firewall, When::Install)? else {
        return Ok(());
    };
    if !root.is_live() {
        tracing::warn!(
            "{}: nft has not looked at it: this is a tree, and no running machine",
            ruleset.name.display()
        );
        return Ok(());
    }
    let program = program_for(root, closure)?;
    look(&|| Ok(Command::new(&program)), &ruleset)
}

/// The nft that will load it: on NixOS the closure's own.
fn program_for(root: &Root, closure: &Path) -> Result<PathBuf, Refusal> {
    let own = root.join(closure.join("sw/bin").join(Program::Nft.name()));
    if host::kind(root).is_ok_and(|kind| kind == Kind::NixOs) && own.is_file() {
        return Ok(own);
    }
    host::program(Program::Nft).map_err(Refusal::NoNft)
}

fn look(nft: Nft<'_>, ruleset: &Ruleset) -> Result<(), Refusal> {
    let name = ruleset.name.display();
    let script = replacing(ruleset, &[]);
    let complaints = match alone(nft, &script) {
        Ok(complaints) => complaints,
        Err(error) => {
            tracing::warn!("{name}: nft cannot look at it: {error}");
            return Ok(());
        }
    };
    let Some(first) = complaints.first() else {
        return Ok(());
    };
    let of = |about| complaints.iter().find(|one| one.about() == about);
    let refused = |complaint: &Complaint| {
        let source = nft::Error::Complaint(complaint.clone());
        Err(Refusal::load(ruleset, source))
    };
    if let Some(complaint) = of(About::Text) {
        return refused(complaint);
    }
    if let Some(complaint) = of(About::Machine) {
        // What this machine has may make the difference, such as its interfaces.
        let here = nft::look(nft, &script);
        let goes_here = here.is_ok_and(|here| here.iter().all(|one| one.about() == About::Users));
        if !goes_here {
            return refused(complaint);
        }
    }
    tracing::warn!("{name}: whether it can be loaded depends on the machine: {first}");
    Ok(())
}

/// Looks in a network namespace of its own; where none can be made, in this one: that changes nothing either.
fn alone(nft: Nft<'_>, script: &str) -> Result<Vec<Complaint>, nft::Error> {
    let look = || {
        // Of this thread alone, and of what it starts.
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            tracing::debug!("cannot make a network namespace: {error}");
        }
        nft::look(nft, script)
    };
    thread::scope(|scope| {
        let thread = scope.spawn(look);
        thread
            .join()
            .unwrap_or_else(|_| Err(nft::Error::Unable("ended in a panic".to_owned())))
    })
}

#[cfg(test)]
mod tests;
