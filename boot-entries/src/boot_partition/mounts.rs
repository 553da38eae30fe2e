//! The mounted FAT file systems, and what kind of partition each is on.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What the partition table says a partition is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// An extended boot loader partition.
    Xbootldr,
    /// Anything else, or nobody knows.
    #[default]
    Other,
}

/// The type of an XBOOTLDR partition (UAPI.2, Discoverable Partitions Specification).
const XBOOTLDR: &str = "bc13c2ff-59e6-4262-a352-b275fd6f7172";

/// One mounted FAT file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// `major:minor`
    pub(super) device: String,
    pub(super) is_read_only: bool,
    pub(super) kind: Kind,
    /// Which disk the partition is on, if that can be told.
    pub(super) disk: Option<PathBuf>,
}

impl Mount {
    /// Whether both are on one disk: the loader looks for an XBOOTLDR partition on its own disk only.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        self.device != other.device
            && match (&self.disk, &other.disk) {
                (Some(one), Some(two)) => one == two,
                _ => true,
            }
    }
}

/// The mounted FAT file systems, by mount point.
#[derive(Debug, Default)]
pub(super) struct Mounts(BTreeMap<String, Mount>);

impl Mounts {
    /// Reads `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`); `kind_of` says what a device is.
    pub(super) fn parse(
        mountinfo: &str,
        kind_of: impl Fn(&str) -> (Kind, Option<PathBuf>),
    ) -> Self {
        let mut mounts = BTreeMap::new();
        for line in mountinfo.lines() {
            let Some((before, after)) = line.split_once(" - ") else {
                continue;
            };
            let before: Vec<&str> = before.split(' ').collect();
            let after: Vec<&str> = after.split(' ').collect();
            let ([_, _, device, _, point, options, ..], [file_system, _, super_options, ..]) =
                (&before[..], &after[..])
            else {
                continue;
            };
            // What is mounted last at a point is what is seen there.
            mounts.remove(*point);
            if ["vfat", "msdos"].contains(file_system) {
                let (kind, disk) = kind_of(device);
                let is_ro = |options: &str| options.split(',').any(|option| option == "ro");
                let mount = Mount {
                    device: (*device).to_owned(),
                    is_read_only: is_ro(options) || is_ro(super_options),
                    kind,
                    disk,
                };
                mounts.insert((*point).to_owned(), mount);
            }
        }
        Self(mounts)
    }

    pub(super) fn at(&self, point: &str) -> Option<&Mount> {
        self.0.get(point)
    }
}

/// What the device is, as udev has found out, and the disk it is on.
pub(super) fn kind_of(device: &str) -> (Kind, Option<PathBuf>) {
    let record = std::fs::read_to_string(format!("/run/udev/data/b{device}"));
    let kind = record.map(|record| kind_in(&record)).unwrap_or_default();
    let partition = std::fs::canonicalize(format!("/sys/dev/block/{device}")).ok();
    let disk = partition.and_then(|partition| partition.parent().map(Path::to_owned));
    (kind, disk)
}

fn kind_in(record: &str) -> Kind {
    let kind = record
        .lines()
        .find_map(|line| line.strip_prefix("E:ID_PART_ENTRY_TYPE="));
    match kind {
        Some(kind) if kind.eq_ignore_ascii_case(XBOOTLDR) => Kind::Xbootldr,
        _ => Kind::Other,
    }
}

/// The device (`major:minor`) of the partition with this UUID; None when udev has not made its link.
pub(super) fn device_of(partition: &str) -> Option<String> {
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
    fn only_fat_mounts_count_and_the_last_one_is_seen() {
        let text = "36 25 259:1 / /boot rw,relatime shared:20 - vfat /dev/nvme0n1p1 rw,errors=remount-ro\n\
                    37 25 0:31 / /efi rw - autofs systemd-1 rw\n\
                    38 37 259:3 / /efi rw - vfat /dev/nvme0n1p3 ro\n\
                    39 25 259:4 / /gone rw - vfat /dev/nvme0n1p4 rw\n\
                    40 39 0:40 / /gone rw - tmpfs tmpfs rw\n\
                    41 25 259:2 / / rw shared:1 master:2 - ext4 /dev/nvme0n1p2 rw\n";
        let mounts = Mounts::parse(text, |_| (Kind::Other, None));
        let seen = |point| {
            mounts
                .at(point)
                .map(|m| (m.device.as_str(), m.is_read_only))
        };
        assert_eq!(seen("/boot"), Some(("259:1", false)));
        assert_eq!(seen("/efi"), Some(("259:3", true)));
        assert_eq!((seen("/gone"), seen("/")), (None, None));
    }

    #[test]
    fn the_kind_is_what_udev_says() {
        let of = |kind: &str| kind_in(&format!("S:x\nE:ID_PART_ENTRY_TYPE={kind}\n"));
        assert_eq!(of("BC13C2FF-59E6-4262-A352-B275FD6F7172"), Kind::Xbootldr);
        assert_eq!(of("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"), Kind::Other);
        assert_eq!(kind_in(""), Kind::Other);
    }
}
