//! The package as a person gets it: the file that `cargo xtask dist` makes.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};

use crate::{command, paths};

/// Builds the Debian package, once in a process, and gives its path.
///
/// # Errors
/// When it cannot be built.
pub fn deb() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut known = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = &*known {
        return Ok(path.clone());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut dist = Command::new(cargo);
    dist.args([
        "run",
        "--quiet",
        "--package",
        "xtask",
        "--",
        "dist",
        "--out",
    ])
    .arg(paths::rig().join("dist"))
    .current_dir(paths::repository());
    let made = command::output(&mut dist)?;
    let mut made = made.lines().map(PathBuf::from);
    let deb = made.find(|path| path.extension().is_some_and(|kind| kind == "deb"));
    let deb = deb.context("`cargo xtask dist` names no .deb")?;
    Ok(known.insert(deb).clone())
}
