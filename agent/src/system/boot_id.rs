//! The kernel's id of the boot that is under way: a new one at each start, whatever the clock says.

use std::io;
use std::path::PathBuf;

use boot_entries::Root;

use crate::host::BOOT_ID;

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
    match std::fs::read_to_string(root.join(BOOT_ID)) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(source) => Err(Error {
            path: BOOT_ID.into(),
            source,
        }),
    }
}
