//! Before systemd is started, on a plain host whose closure's `init` leads here: the machine becomes the booted
//! closure's, so that systemd and its generators read the files of the generation that is judged (invariant A11).
//!
//! [`pid_1`] is the first process, and has this done by another.

mod pid_1;

use std::path::{Path, PathBuf};

use boot_entries::Root;

use crate::activation;
use crate::error::Error;
use crate::host::{self, Kind};
use crate::store::handover::Stage2;
use crate::store::ledger::Ledger;
use crate::system::command_line;
use crate::system::mount::Writable;

pub use pid_1::{is_init, pid_1};

/// What came of it.
#[derive(Debug)]
pub enum Staged {
    /// The closure is in place, but for these problems.
    Done(Stage2),
    /// This boot is no generation's, or lastgood is uninstalled.
    NotOurs,
}

/// Makes the machine the booted closure's, and leaves word of that for the steps that follow.
///
/// # Errors
/// When it cannot be told whose boot this is, when this is NixOS, which has a stage 2 of its own, or when no word could
/// be left.
pub fn stage_2(root: &Root) -> Result<Staged, Error> {
    let Some(closure) = command_line::closure(root)? else {
        return Ok(Staged::NotOurs);
    };
    if host::kind(root).map_err(activation::Error::from)? == Kind::NixOs {
        return Err(Error::Refused(
            "this is NixOS, which has a stage 2 of its own: nothing was done".to_owned(),
        ));
    }
    // `/var` may not be there yet. Then nobody knows, and the closure was booted.
    if Ledger::read(root).is_ok_and(|ledger| ledger.state().uninstalled) {
        return Ok(Staged::NotOurs);
    }
    let staged = put_in_place(root, closure);
    staged.leave(root)?;
    Ok(Staged::Done(staged))
}

fn put_in_place(root: &Root, closure: PathBuf) -> Stage2 {
    let mut staged = Stage2 {
        closure,
        changes: 0,
        problems: Vec::new(),
    };
    // In a tree there is nothing to remount.
    let writable = root.is_live().then(|| Writable::make(Path::new("/")));
    let writable = writable.transpose();
    match activation::early(root, &staged.closure) {
        Ok(changes) => staged.changes = changes,
        Err(problems) => staged.problems.extend(problems),
    }
    if let Err(error) = writable.and_then(|writable| writable.map_or(Ok(()), Writable::end)) {
        staged.problems.insert(0, error.to_string());
    }
    staged
}
