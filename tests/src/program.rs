//! The program under test: the one static binary that goes into the guest, built as it is for a release.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::{command, paths};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds `lastgood` and gives its path. Cargo knows when there is nothing to do.
///
/// # Errors
/// When it does not compile.
pub fn build() -> Result<PathBuf> {
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
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    command::output(&mut build)?;
    Ok(paths::target().join(TARGET).join("release/lastgood"))
}
