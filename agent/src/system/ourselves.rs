//! This program, run as a process of its own: a crash there, or a disk that does not answer, is not one here.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::program;
use crate::host::OURSELVES;

/// How long a killed process may take to end. One that waits for a disk does not, and is left behind.
const END: Duration = Duration::from_secs(2);

/// How the work did not end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started or waited for.
    #[error("cannot run {OURSELVES}: {0}")]
    Run(io::Error),
    /// It said no, or crashed.
    #[error("{0}")]
    Failed(ExitStatus),
    /// It was ended.
    #[error("it took longer than {} s, and was ended", .0.as_secs())]
    Late(Duration),
}

/// Runs this program with `arguments`. It and its children are ended after `patience`.
///
/// # Errors
/// When it does not end well in time.
pub fn run(arguments: &[impl AsRef<OsStr>], patience: Duration) -> Result<(), Error> {
    let mut child = Command::new(OURSELVES)
        .args(arguments)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(Error::Run)?;
    match program::wait(&mut child, patience).map_err(Error::Run)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(Error::Failed(status)),
        None => {
            if let Ok(group) = i32::try_from(child.id()) {
                // It may have ended in between.
                killpg(Pid::from_raw(group), Signal::SIGKILL).unwrap_or_default();
            }
            drop(program::wait(&mut child, END));
            Err(Error::Late(patience))
        }
    }
}
