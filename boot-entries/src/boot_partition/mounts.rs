//! The mounted FAT file systems.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::mountinfo;

/// One mounted FAT file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// `major:minor`
    pub(super) device: String,
    pub(super) is_read_only: bool,
}

/// The mounted FAT file systems, by mount point.
#[derive(Debug, Default)]
pub(super) struct Mounts(BTreeMap<PathBuf, Mount>);

impl Mounts {
    /// Reads `/proc/self/mountinfo`.
    pub(super) fn parse(mountinfo: &[u8]) -> Self {
        let mut mounts = BTreeMap::new();
        for found in mountinfo::mounts(mountinfo) {
            // What is mounted last at a point is what is seen there.
            mounts.remove(&found.point);
            // Of a directory that is mounted (a bind mount) the firmware knows nothing.
            if ["vfat", "msdos"].contains(&&*found.file_system) && found.top == Path::new("/") {
                let mount = Mount {
                    is_read_only: found.is_read_only(),
                    device: found.device,
                };
                mounts.insert(found.point, mount);
            }
        }
        Self(mounts)
    }

    /// What is mounted at `point`, however that is spelled (`/boot2/`).
    pub(super) fn at(&self, point: &Path) -> Option<&Mount> {
        self.0.get(point)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Path, &Mount)> {
        self.0.iter().map(|(point, mount)| (point.as_path(), mount))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_fat_mounts_count_and_the_last_one_is_seen() {
        let text = "36 25 259:1 / /boot rw,relatime shared:20 - vfat /dev/nvme0n1p1 rw,errors=remount-ro\n\
                    37 25 0:31 / /efi rw - autofs systemd-1 rw\n\
                    38 37 259:3 / /efi rw - vfat /dev/nvme0n1p3 ro\n\
                    39 25 259:4 / /gone rw - vfat /dev/nvme0n1p4 rw\n\
                    40 39 0:40 / /gone rw - tmpfs tmpfs rw\n\
                    42 25 259:1 /EFI /bound rw - vfat /dev/nvme0n1p1 rw\n\
                    43 25 259:5 / /a\\040b\\134c rw - vfat /dev/nvme0n1p5 rw\n\
                    41 25 259:2 / / rw shared:1 master:2 - ext4 /dev/nvme0n1p2 rw\n";
        let mounts = Mounts::parse(text.as_bytes());
        let seen = |point: &str| {
            let mount = mounts.at(Path::new(point));
            mount.map(|m| (m.device.as_str(), m.is_read_only))
        };
        assert_eq!(seen("/boot"), Some(("259:1", false)));
        assert_eq!(seen("/boot/"), seen("/boot"));
        assert_eq!(seen("/efi"), Some(("259:3", true)));
        assert_eq!(
            (seen("/gone"), seen("/"), seen("/bound")),
            (None, None, None)
        );
        assert_eq!(seen("/a b\\c"), Some(("259:5", false)));
        assert_eq!(mounts.all().count(), 3);
    }
}
