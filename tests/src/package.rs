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
    made("deb")
}

/// The same of the tarball.
///
/// # Errors
/// When it cannot be built.
pub fn tarball() -> Result<PathBuf> {
    made("gz")
}

fn made(kind: &str) -> Result<PathBuf> {
    let made = build()?;
    let is_it = |path: &PathBuf| path.extension().is_some_and(|found| found == kind);
    let found = made.into_iter().find(is_it);
    found.with_context(|| format!("`cargo xtask dist` names no .{kind}"))
}

fn build() -> Result<Vec<PathBuf>> {
    static BUILT: Mutex<Option<Vec<PathBuf>>> = Mutex::new(None);
    let mut known = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(paths) = &*known {
        return Ok(paths.clone());
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
    let made = made.lines().map(PathBuf::from).collect();
    Ok(known.insert(made).clone())
}
