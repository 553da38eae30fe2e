//! The kernel's id of the boot that is under way: a new one at each start, whatever the clock says.

use std::io;
use std::path::PathBuf;

use boot_entries::Root;

/// Where the kernel tells it.
const PATH: &str = "/proc/sys/kernel/random/boot_id";

/// It cannot be read; in a tree there is none.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

/// The id.
///
/// # Errors
/// When it cannot be read.
pub fn boot_id(root: &Root) -> Result<String, Error> {
    match std::fs::read_to_string(root.join(PATH)) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(source) => Err(Error {
            path: PATH.into(),
            source,
        }),
    }
}
