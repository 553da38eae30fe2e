//! Files of `/etc` that systemd, its generators and udev read before a unit of ours can run. Where no stage 2 has put
//! the closure's in place before systemd was started, they were those of whatever was booted before (invariant A11).

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use boot_entries::payload::Digest;
use boot_entries::{Root, bounded};

use crate::host::ETC;

/// Relative to `/etc`: files, and directories with all that is in them. From the manual pages of PID 1
/// (systemd-system.conf(5)), of systemd's generators, systemd-udevd(8), systemd.link(5), systemd-journald(8),
/// systemd-modules-load(8), and of what Debian's generators and udev rules read.
const READ_EARLY: [&str; 22] = [
    "adjtime",
    "crypttab",
    "fstab",
    "hostname",
    "integritytab",
    "locale.conf",
    "lvm",
    "machine-info",
    "mdadm",
    "modprobe.d",
    "modules-load.d",
    "multipath.conf",
    "netplan",
    "selinux",
    "systemd/journald.conf",
    "systemd/journald.conf.d",
    "systemd/network",
    "systemd/system.conf",
    "systemd/system.conf.d",
    "systemd/system-preset",
    "udev",
    "veritytab",
];

/// What a reload reads besides: generators themselves, and what those of others read (of systemd's own sysv, rc.local and ssh, of
/// systemd-cron, nfs-utils, openvpn, postgresql-common, openssh, zfs, zram, cloud-init).
const READ_BY_A_RELOAD: [&str; 18] = [
    "cloud",
    "cron.d",
    "crontab",
    "default",
    "exports",
    "exports.d",
    "init.d",
    "nfs.conf",
    "nfs.conf.d",
    "openvpn",
    "postgresql",
    "rc.local",
    "ssh",
    "systemd/system-environment-generators",
    "systemd/system-generators",
    "systemd/zram-generator.conf",
    "systemd/zram-generator.conf.d",
    "zfs",
];

/// How much of a file is looked at, in bytes. They are small, and one that is larger is as good as another one.
const LIMIT: u64 = 1024 * 1024;
/// How deep directories are looked into, and how many files: nobody keeps a boot waiting.
const DEPTH: usize = 4;
const MOST: usize = 4096;

/// What was there to be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EarlyFiles(BTreeMap<PathBuf, Option<Digest>>);

impl EarlyFiles {
    /// What there is now. A file that cannot be read is one of which nothing is known.
    #[must_use]
    pub fn look(root: &Root) -> Self {
        let mut found = Self::default();
        for path in READ_EARLY {
            found.add(root, Path::new(path), DEPTH, |_| None);
        }
        found
    }

    /// What there is now that PID 1 and its generators read when they are told to read all anew, beside units. A file that
    /// cannot be read as text, as a program is, is another one where it is elsewhere.
    #[must_use]
    pub fn of_a_reload(root: &Root) -> Self {
        let by_place = |place: &Path| Some(Digest::of(place.as_os_str().as_encoded_bytes()));
        let mut found = Self::default();
        for path in READ_EARLY.iter().chain(&READ_BY_A_RELOAD) {
            found.add(root, Path::new(path), DEPTH, by_place);
        }
        found
    }

    /// `unread`: what is known of a file in this place that is no text.
    fn add(&mut self, root: &Root, path: &Path, depth: usize, unread: fn(&Path) -> Option<Digest>) {
        let Ok(place) = root.resolve(Path::new(ETC).join(path)) else {
            return;
        };
        match place.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Ok(found) if found.is_dir() => {}
            _ => {
                let text = bounded::read(&place, LIMIT).ok();
                let digest = text.map(|text| Digest::of(text.as_bytes()));
                self.0
                    .insert(path.to_owned(), digest.or_else(|| unread(&place)));
                return;
            }
        }
        let Ok(listing) = std::fs::read_dir(&place) else {
            self.0.insert(path.to_owned(), None);
            return;
        };
        for item in listing.flatten() {
            if depth > 0 && self.0.len() < MOST {
                self.add(root, &path.join(item.file_name()), depth - 1, unread);
            }
        }
    }

    /// The files that are others in `after`, relative to `/etc`.
    #[must_use]
    pub fn changed(&self, after: &Self) -> BTreeSet<PathBuf> {
        let all = self.0.keys().chain(after.0.keys());
        let is_other = |path: &&PathBuf| self.0.get(*path) != after.0.get(*path);
        all.filter(is_other).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot_entries::durable::put_text;
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_read_early_is_known_and_nothing_else() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let put = |path: &str, text: &str| put_text(text, &tree.path().join("etc").join(path));
        put("fstab", "one\n").unwrap();
        put("udev/rules.d/60-a.rules", "").unwrap();
        put("motd", "hello\n").unwrap();
        let before = EarlyFiles::look(&root);
        assert_eq!(before.changed(&EarlyFiles::look(&root)), BTreeSet::new());
        put("motd", "other\n").unwrap();
        put("fstab", "two\n").unwrap();
        put("systemd/system.conf.d/a.conf", "[Manager]\n").unwrap();
        std::fs::remove_file(tree.path().join("etc/udev/rules.d/60-a.rules")).unwrap();
        let expected = [
            "fstab",
            "systemd/system.conf.d/a.conf",
            "udev/rules.d/60-a.rules",
        ];
        let changed = before.changed(&EarlyFiles::look(&root));
        assert_eq!(changed, expected.map(PathBuf::from).into());
    }

    #[test]
    fn a_reload_reads_generators_and_what_they_read() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let put = |path: &str, text: &str| put_text(text, &tree.path().join("etc").join(path));
        let (early, before) = (EarlyFiles::look(&root), EarlyFiles::of_a_reload(&root));
        put("motd", "hello\n").unwrap();
        assert_eq!(before, EarlyFiles::of_a_reload(&root));
        put("systemd/system-generators/a", "").unwrap();
        assert_eq!(early, EarlyFiles::look(&root));
        let changed = before.changed(&EarlyFiles::of_a_reload(&root));
        let expected = ["systemd/system-generators/a"].map(PathBuf::from);
        assert_eq!(changed, expected.into());
        put("systemd/system.conf.d/a.conf", "").unwrap();
        let changed = before.changed(&EarlyFiles::of_a_reload(&root));
        assert_eq!(changed.len(), 2, "{changed:?}");
    }

    #[test]
    fn a_program_is_another_one_where_it_is_elsewhere() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let link = tree.path().join("etc/systemd/system-generators/a");
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        let mut seen = Vec::new();
        for store in ["one", "two"] {
            let place = tree.path().join("nix/store").join(store);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            let mut program = std::fs::File::create(&place).unwrap();
            program.write_all(b"\x7fELF\xff").unwrap();
            drop(std::fs::remove_file(&link));
            symlink(Path::new("/nix/store").join(store), &link).unwrap();
            seen.push(EarlyFiles::of_a_reload(&root));
        }
        assert_ne!(seen[0], seen[1]);
    }

    /// The same bytes through a link are the same to whoever has read them.
    #[test]
    fn a_link_to_the_same_is_no_change() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        put_text("one\n", &tree.path().join("etc/fstab")).unwrap();
        let before = EarlyFiles::look(&root);
        put_text("one\n", &tree.path().join("nix/store/a/etc/fstab")).unwrap();
        std::fs::remove_file(tree.path().join("etc/fstab")).unwrap();
        symlink("/nix/store/a/etc/fstab", tree.path().join("etc/fstab")).unwrap();
        assert_eq!(before.changed(&EarlyFiles::look(&root)), BTreeSet::new());
    }
}
