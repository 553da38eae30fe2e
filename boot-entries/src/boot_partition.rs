//! Where `$BOOT` is, and whether it is the real thing (invariant B6): mounted, FAT, and the partition that the
//! loader came from. Never an empty mount point, where files would be invisible to the firmware.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::Root;
use crate::efi::LoaderVariables;

/// Where an ESP is mounted, in the order in which bootctl(1) looks.
const CANDIDATES: [&str; 3] = ["/efi", "/boot", "/boot/efi"];

/// Why there is no `$BOOT` to write to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No candidate is a mounted FAT file system.
    #[error(
        "no EFI system partition: none of /efi, /boot and /boot/efi is a mounted FAT file system; mount it and run again"
    )]
    NotMounted,
    /// A tree has no such directory.
    #[error("{} holds no efi, boot or boot/efi directory to write entries to", .0.display())]
    NoDirectory(PathBuf),
    /// The firmware will not read what is written there.
    #[error("{} is not the partition the loader came from (PARTUUID {partition}); mount that one there and run again", mounted.display())]
    Another {
        /// Where a FAT file system is mounted.
        mounted: PathBuf,
        /// What the loader says.
        partition: String,
    },
    /// Something is there and cannot be looked at.
    #[error("cannot read {}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Finds `$BOOT`, as a path of the machine.
///
/// In a tree (`--root`) the first candidate directory that exists is taken: there are no mounts to check.
///
/// # Errors
/// When there is none, or it is not the one the firmware reads.
pub fn find(root: &Root, variables: &LoaderVariables) -> Result<PathBuf, Error> {
    if !root.is_live() {
        return in_a_tree(root);
    }
    for candidate in CANDIDATES {
        // An automount point becomes a mount when it is looked into. That it may not exist is no news.
        drop(std::fs::read_dir(candidate).map(|mut listing| listing.next().is_some()));
    }
    let path = Path::new("/proc/self/mountinfo");
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    let mounts = fat_mounts(&text);
    let wanted = variables
        .partition
        .as_deref()
        .and_then(|partition| device_of(partition).map(|device| (partition, device)));
    let mut another = None;
    for candidate in CANDIDATES {
        let Some((_, device)) = mounts.iter().find(|(point, _)| point == candidate) else {
            continue;
        };
        match &wanted {
            Some((partition, wanted)) if wanted != device => {
                another.get_or_insert(Error::Another {
                    mounted: PathBuf::from(candidate),
                    partition: (*partition).to_owned(),
                });
            }
            _ => return Ok(PathBuf::from(candidate)),
        }
    }
    Err(another.unwrap_or(Error::NotMounted))
}

fn in_a_tree(root: &Root) -> Result<PathBuf, Error> {
    for candidate in CANDIDATES {
        let path = root.resolve(candidate).map_err(|source| Error::Read {
            path: PathBuf::from(candidate),
            source,
        })?;
        match std::fs::metadata(&path) {
            // An empty `/efi` beside a filled `/boot` is a mount point of the finished machine.
            Ok(found) if found.is_dir() && (candidate != "/efi" || holds_something(&path)) => {
                return Ok(PathBuf::from(candidate));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Read { path, source }),
        }
    }
    Err(Error::NoDirectory(root.directory().to_owned()))
}

fn holds_something(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut listing| listing.next().is_some())
}

/// The mounted FAT file systems: mount point and device (`major:minor`). Format: `proc_pid_mountinfo(5)`.
fn fat_mounts(mountinfo: &str) -> Vec<(String, String)> {
    let mut mounts = Vec::new();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let mut fields = before.split(' ');
        let (device, point) = (fields.nth(2), fields.nth(1));
        let kind = after.split(' ').next();
        if let (Some(device), Some(point), Some("vfat" | "msdos")) = (device, point, kind) {
            mounts.push((point.to_owned(), device.to_owned()));
        }
    }
    mounts
}

/// The device (`major:minor`) of the partition with this UUID; None when udev has not made its link.
fn device_of(partition: &str) -> Option<String> {
    let link = Path::new("/dev/disk/by-partuuid").join(partition.to_ascii_lowercase());
    let device = std::fs::metadata(link).ok()?.rdev();
    Some(format!(
        "{}:{}",
        nix::sys::stat::major(device),
        nix::sys::stat::minor(device)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fat_mounts_count() {
        let text = "36 25 259:1 / /boot rw,relatime shared:20 - vfat /dev/nvme0n1p1 rw\n\
                    37 25 0:31 / /efi rw - autofs systemd-1 rw\n\
                    38 25 259:2 / / rw shared:1 master:2 - ext4 /dev/nvme0n1p2 rw\n";
        assert_eq!(fat_mounts(text), [("/boot".to_owned(), "259:1".to_owned())]);
    }

    #[test]
    fn a_tree_needs_a_directory() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let none = LoaderVariables::default();
        assert!(matches!(find(&root, &none), Err(Error::NoDirectory(_))));
        for directory in ["efi", "boot/efi"] {
            std::fs::create_dir_all(tree.path().join(directory)).unwrap();
        }
        assert_eq!(find(&root, &none).unwrap(), Path::new("/boot"));
        std::fs::create_dir(tree.path().join("efi/loader")).unwrap();
        assert_eq!(find(&root, &none).unwrap(), Path::new("/efi"));
    }
}
