//! Where things are: the repository, the guest's files in it, the rig's own directory under `target/`.

use std::path::{Path, PathBuf};

/// The repository.
#[must_use]
pub fn repository() -> PathBuf {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.parent().unwrap_or(crate_dir).to_owned()
}

/// The guest's files: `tests/guest/`.
#[must_use]
pub fn guest_files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guest")
}

/// Cargo's target directory.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

/// Everything the rig builds, runs and leaves behind.
#[must_use]
pub fn rig() -> PathBuf {
    target().join("rig")
}
