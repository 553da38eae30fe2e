//! The program under test: the one static binary that goes into the guest, built as it is for a release.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use crate::{command, paths};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Static: what is started before the network must not depend on what else is there. Relocations that are not packed
/// are a hundred kilobytes, functions that occur twice are forty.
const FLAGS: [&str; 4] = [
    "-Ctarget-feature=+crt-static",
    "-Clink-arg=-Wl,-z,pack-relative-relocs",
    "-Clink-arg=-Wl,--icf=all",
    "-Clink-arg=-Wl,--no-eh-frame-hdr",
];
/// Leaves out what only a panic that unwinds needs: a tenth of the file.
const SCRIPT: &str = "agent/no-unwind-tables.ld";

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
        .env("CARGO_ENCODED_RUSTFLAGS", flags().join(SEPARATOR));
    command::output(&mut build)?;
    let path = paths::target().join(TARGET).join("release/lastgood");
    Ok(known.insert(path).clone())
}

/// What cargo takes for the end of a flag, so that a path may hold anything else.
const SEPARATOR: &str = "\u{1f}";

fn flags() -> Vec<String> {
    let script = paths::repository().join(SCRIPT);
    let script = format!("-Clink-arg=-Wl,-T,{}", script.display());
    FLAGS
        .map(str::to_owned)
        .into_iter()
        .chain([script])
        .collect()
}
