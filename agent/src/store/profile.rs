//! The profile's own link: which of its generations is the current one.

use std::io;
use std::path::{Path, PathBuf};

use boot_entries::{GenerationId, Root, durable};

/// A profile link that cannot be replaced.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its place cannot be found.
    #[error("cannot read {}", path.display())]
    Read {
        /// The link.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] durable::Error),
}

/// Lets the profile of `to` point at that generation.
///
/// # Errors
/// When the link cannot be replaced; it is then as it was.
pub fn point_at(root: &Root, to: &GenerationId) -> Result<(), Error> {
    let path = to.profile_link();
    let link = root
        .place(&path)
        .map_err(|source| Error::Read { path, source })?;
    durable::put_link(Path::new(&to.link_name()), &link)?;
    tracing::info!(
        "profile {} points at generation {} again",
        to.profile(),
        to.base()
    );
    Ok(())
}
