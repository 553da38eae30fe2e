//! Where a systemd-boot to install comes from.

use std::io;
use std::path::{Path, PathBuf};

use super::image::{self, Found, Image};
use crate::digests::Digests;
use crate::{Root, bounded};

/// Below the prefix that a systemd is installed in.
const LIBRARY: &str = "lib/systemd/boot/efi";
/// A signed one is preferred, as bootctl(1) does.
const NAMES: [&str; 2] = ["systemd-bootx64.efi.signed", "systemd-bootx64.efi"];
/// How long a reason may get, in characters.
const REASON: usize = 500;

/// A systemd-boot that could be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it is, as a path of this process.
    pub path: PathBuf,
    /// What it is.
    pub image: Image,
}

impl Source {
    /// The systemd-boot of the closure `toplevel`, or if it brings none, the host's own: `host` is the prefix that its
    /// systemd is installed in (`/usr`). None: there is none. One that `digests` knows is not hashed again.
    ///
    /// # Errors
    /// When there is one that is not to be installed: what, where, why, in one line.
    pub fn find(
        root: &Root,
        toplevel: Option<&Path>,
        host: &Path,
        digests: &mut Digests,
    ) -> Result<Option<Self>, String> {
        let closure = toplevel.map(|toplevel| toplevel.join("systemd").join(LIBRARY));
        for directory in closure.into_iter().chain([host.join(LIBRARY)]) {
            for name in NAMES {
                let shown = directory.join(name);
                let said =
                    |why: String| bounded::one_line(&format!("{} {why}", shown.display()), REASON);
                let here = root.resolve(&shown);
                let here = here.map_err(|error| said(format!("cannot be found: {error}")))?;
                return match image::look(&here) {
                    Ok(Found::Whole(marked)) => match digests.in_store(&here) {
                        Ok(content) => Ok(Some(Self {
                            image: marked.with(content),
                            path: here,
                        })),
                        Err(error) => Err(said(format!("cannot be read: {error}"))),
                    },
                    Ok(Found::Foreign(why) | Found::Damaged(why)) => Err(said(why)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => Err(said(format!("cannot be read: {error}"))),
                };
            }
        }
        Ok(None)
    }
}
