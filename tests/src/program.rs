//! The program under test: the one static binary that goes into the guest, built as it is for a release.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use crate::{command, paths};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Static: what is started before the network must not depend on what else is there. Relocations that are not packed
/// are a hundred kilobytes.
const FLAGS: &str = "-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs";

/// Builds `lastgood`, once in a process, and gives its path. Cargo knows when there is nothing to do, but takes longer
/// to find out than a run of the program takes.
///
/// # Errors
/// When it does not compile.
pub fn build() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut known = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = &*known {
        return Ok(path.clone());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .args([
            "build",
            "--quiet",
            "--release",
            "--package",
            "lastgood",
            "--target",
            TARGET,
        ])
        .arg("--target-dir")
        .arg(paths::target())
        .current_dir(paths::repository())
        .env("RUSTFLAGS", FLAGS);
    command::output(&mut build)?;
    let path = paths::target().join(TARGET).join("release/lastgood");
    Ok(known.insert(path).clone())
}
