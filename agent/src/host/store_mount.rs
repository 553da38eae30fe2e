//! Whether the store is on a file system of its own: then somebody has to mount it before systemd looks for units.

use std::io;
use std::path::{Path, PathBuf};

use boot_entries::{Root, mountinfo};

use super::{MOUNTS, NIX, NIX_STORE};

/// A mount that the store is on, and that is not the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreMount {
    /// What is mounted.
    pub source: String,
    /// Where.
    pub point: PathBuf,
}

/// What is mounted on `/nix` or on the store. None: nothing, or it is a tree, in which nothing is.
///
/// # Errors
/// When the mounts cannot be read.
pub fn store_mount(root: &Root) -> io::Result<Option<StoreMount>> {
    let text = match std::fs::read(root.join(MOUNTS)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let is_store = |point: &Path| point == Path::new(NIX) || point == Path::new(NIX_STORE);
    let mut mounts = mountinfo::mounts(&text).filter(|mount| is_store(&mount.point));
    Ok(mounts.next().map(|mount| StoreMount {
        source: mount.source,
        point: mount.point,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_of_its_own_is_found_and_a_root_is_not() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        assert_eq!(store_mount(&root).unwrap(), None);
        let place = root.join(MOUNTS);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        let line = |point: &str| format!("40 23 8:17 / {point} rw - ext4 /dev/sdb1 rw\n");
        for (points, expected) in [
            (vec!["/", "/nixos", "/nix/var"], None),
            (vec!["/", "/nix"], Some("/nix")),
            (vec!["/nix/store"], Some("/nix/store")),
        ] {
            let text: String = points.into_iter().map(line).collect();
            boot_entries::durable::put_text(&text, &place).unwrap();
            let found = store_mount(&root).unwrap();
            let expected = expected.map(|point| StoreMount {
                source: "/dev/sdb1".to_owned(),
                point: point.into(),
            });
            assert_eq!(found, expected);
        }
    }
}
