//! The real loaders: the host's, and those of later Debian releases, from wherever the host gets its packages.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cache::Step;
use crate::packages;

/// Where Debian's package has it.
const FILE: &str = "usr/lib/systemd/boot/efi/systemd-bootx64.efi";
const PACKAGE: &str = "systemd-boot-efi";

/// The loaders that are put to the test, oldest first: 252, 257 and 262 as Debian 12, 13 and 14 have them, or only the
/// one in the file that `SYSTEMD_BOOT` names.
///
/// # Errors
/// When a package cannot be fetched.
pub fn loaders() -> Result<Vec<PathBuf>> {
    if let Some(file) = std::env::var_os("SYSTEMD_BOOT") {
        return Ok(vec![file.into()]);
    }
    Ok(vec![
        Path::new("/").join(FILE),
        of_suite("systemd-boot-trixie", "trixie")?,
        of_suite("systemd-boot-forky", "forky")?,
    ])
}

/// The loader of a Debian release, unpacked once. Updates of Debian are not noticed: remove
/// `target/rig/systemd-boot-*`.
fn of_suite(step: &'static str, suite: &str) -> Result<PathBuf> {
    let built = Step::new(step)
        .text(suite)
        .text(PACKAGE)
        .text(concat!(
            include_str!("loaders.rs"),
            include_str!("../packages.rs")
        ))
        .get(|dir| packages::fetch(suite, &[PACKAGE], dir))?;
    Ok(built.dir.join(FILE))
}
