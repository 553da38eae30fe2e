//! The mounted FAT file systems.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

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
    /// Reads `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`).
    pub(super) fn parse(mountinfo: &str) -> Self {
        let mut mounts = BTreeMap::new();
        for line in mountinfo.lines() {
            let Some((before, after)) = line.split_once(" - ") else {
                continue;
            };
            let before: Vec<&str> = before.split(' ').collect();
            let after: Vec<&str> = after.split(' ').collect();
            let ([_, _, device, top, point, options, ..], [file_system, _, super_options, ..]) =
                (&before[..], &after[..])
            else {
                continue;
            };
            let point = unescaped(point);
            // What is mounted last at a point is what is seen there.
            mounts.remove(&point);
            // Of a directory that is mounted (a bind mount) the firmware knows nothing.
            if ["vfat", "msdos"].contains(file_system) && *top == "/" {
                let is_ro = |options: &str| options.split(',').any(|option| option == "ro");
                let mount = Mount {
                    device: (*device).to_owned(),
                    is_read_only: is_ro(options) || is_ro(super_options),
                };
                mounts.insert(point, mount);
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

/// A path as the kernel writes it: space, tab, newline and backslash as `\` and three octal digits.
fn unescaped(path: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|d| std::str::from_utf8(d).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let (b'\\', Some(code)) = (first, code) {
            bytes.push(code);
            rest = after.get(3..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    OsString::from_vec(bytes).into()
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
        let mounts = Mounts::parse(text);
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

    #[test]
    fn what_is_no_escape_stays() {
        for odd in ["/a\\", "/a\\04", "/a\\999", "/a\\0\u{e4}"] {
            assert_eq!(unescaped(odd), Path::new(odd));
        }
    }
}
