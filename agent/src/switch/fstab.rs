//! `/etc/fstab` (`fstab(5)`), and what a change of it asks for.

use std::collections::BTreeMap;

use libsystemd::unit::escape_path;

/// One file system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub device: String,
    /// Its type.
    pub kind: String,
    /// Its options, as written.
    pub options: String,
}

/// A file of that kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fstab {
    /// By mount point. Of two lines for one, systemd takes the first.
    pub mounts: BTreeMap<String, Mount>,
    /// Swap devices with their options.
    pub swaps: BTreeMap<String, String>,
}

impl Fstab {
    /// What `text` says. A line that says too little is no line.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut fstab = Self::default();
        for line in text.lines() {
            if line.trim_start().starts_with('#') {
                continue;
            }
            let mut fields = line.split_whitespace().map(unescape);
            let (Some(device), Some(place), Some(kind)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let options = fields.next().unwrap_or_default();
            if kind == "swap" {
                fstab.swaps.entry(device).or_insert(options);
            } else {
                let mount = Mount {
                    device,
                    kind,
                    options,
                };
                fstab.mounts.entry(place).or_insert(mount);
            }
        }
        fstab
    }
}

impl Mount {
    /// Whether it is mounted only when somebody looks.
    #[must_use]
    pub fn is_automount(&self) -> bool {
        self.has("x-systemd.automount")
    }

    /// Whether a boot mounts it, or watches for who looks.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.is_automount() || !self.has("noauto")
    }

    fn has(&self, option: &str) -> bool {
        has_option(&self.options, option)
    }
}

/// Whether a swap device with these options is used by a boot.
#[must_use]
pub fn swap_is_wanted(options: &str) -> bool {
    !has_option(options, "noauto")
}

fn has_option(options: &str, option: &str) -> bool {
    let mut all = options.split(',');
    all.any(|found| found == option || found.split_once('=').is_some_and(|(key, _)| key == option))
}

/// The name of the mount unit of a mount point.
#[must_use]
pub fn mount_unit(place: &str) -> String {
    format!("{}.mount", escape_path(place))
}

/// The name of the automount unit of a mount point.
#[must_use]
pub fn automount_unit(place: &str) -> String {
    format!("{}.automount", escape_path(place))
}

/// The name of the swap unit that systemd makes of a device in fstab.
#[must_use]
pub fn swap_unit(device: &str) -> String {
    format!("{}.swap", escape_path(&device_path(device)))
}

/// Whether the kernel's list of swap devices (`/proc/swaps`) has the one at this path.
#[must_use]
pub fn is_swap_in_use(list: &str, path: &str) -> bool {
    let mut lines = list.lines().skip(1);
    lines.any(|line| {
        let first = line.split_whitespace().next().unwrap_or_default();
        unescape(first) == path
    })
}

/// Where a device of fstab is, which may be written as a tag.
#[must_use]
pub fn device_path(device: &str) -> String {
    let tags = [
        ("LABEL=", "label"),
        ("UUID=", "uuid"),
        ("PARTUUID=", "partuuid"),
        ("PARTLABEL=", "partlabel"),
    ];
    let by_tag = tags.iter().find_map(|(tag, directory)| {
        let value = device.strip_prefix(tag)?.trim_matches('"');
        Some(format!(
            "/dev/disk/by-{directory}/{}",
            as_udev_writes(value)
        ))
    });
    by_tag.unwrap_or_else(|| device.to_owned())
}

/// A label as udev writes it in the name of a link: what it does not take comes in hexadecimal.
fn as_udev_writes(label: &str) -> String {
    let is_taken =
        |char: char| char.is_ascii_alphanumeric() || "#+-.:=@_".contains(char) || !char.is_ascii();
    let chars = label.chars();
    let written = chars.map(|char| {
        if is_taken(char) {
            char.to_string()
        } else {
            format!("\\x{:02x}", u32::from(char))
        }
    });
    written.collect()
}

/// A field as it is meant: `\040` is a blank.
fn unescape(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let octal = others.get(..3).filter(|_| *first == b'\\');
        let octal = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(byte);
            rest = others.get(3..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = others;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a change of one mount point's line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is to be unmounted. With an automount this is the unit to stop: it takes the mount with it.
    Gone,
    /// It is to be mounted.
    New,
    /// Other options: it is to be mounted again over itself.
    Options,
    /// Another device or type: it is to be unmounted and mounted.
    Other,
    /// Another device or type, and nobody can unmount it.
    Stays,
    /// Somebody waited for a look at it, and it is to be mounted now.
    AutomountGone,
}

/// Where a machine lives: unmounting these would take it down.
#[must_use]
pub fn is_ground(place: &str) -> bool {
    matches!(place, "/" | "/nix" | "/nix/store")
}

/// What changed between two files, by mount point.
#[must_use]
pub fn changes(old: &Fstab, new: &Fstab) -> BTreeMap<String, Change> {
    let mut changes = BTreeMap::new();
    for (place, was) in &old.mounts {
        let change = match new.mounts.get(place) {
            None => Change::Gone,
            Some(is) if is == was => continue,
            Some(is) if (&is.device, &is.kind) != (&was.device, &was.kind) => {
                match (is_ground(place), is.options == was.options) {
                    (true, true) => Change::Stays,
                    (true, false) => Change::Options,
                    (false, _) => Change::Other,
                }
            }
            Some(is) if was.is_automount() && !is.is_automount() => Change::AutomountGone,
            Some(_) => Change::Options,
        };
        changes.insert(place.clone(), change);
    }
    for (place, is) in &new.mounts {
        if !old.mounts.contains_key(place) && is.is_wanted() {
            changes.insert(place.clone(), Change::New);
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_line_by_line() {
        assert_eq!(Fstab::parse(""), Fstab::default());
        assert_eq!(Fstab::parse("\\\ninvalid\n /dev/x /x\n"), Fstab::default());
        let fstab = Fstab::parse(concat!(
            "# <file system> <mount point> <type> <options> <dump> <pass>\n",
            "/dev/mapper/root / btrfs x-initrd.mount,compress=zstd 0 0\n",
            "  # indented\n",
            "/dev/disk/by-label/a#b /home ext4 defaults 0 2\n",
            "LABEL=data /with\\040blank ext4\n",
            "/dev/other /home xfs ro 0 2\n",
            "/dev/disk/by-label/swap none swap pri=3\n",
        ));
        assert_eq!(fstab.mounts.len(), 3);
        let home = fstab.mounts.get("/home").cloned().unwrap_or_default();
        assert_eq!(home.device, "/dev/disk/by-label/a#b");
        assert_eq!(
            (home.kind.as_str(), home.options.as_str()),
            ("ext4", "defaults")
        );
        assert!(fstab.mounts.contains_key("/with blank"));
        assert_eq!(
            fstab
                .swaps
                .get("/dev/disk/by-label/swap")
                .map(String::as_str),
            Some("pri=3")
        );
    }

    #[test]
    fn names_are_those_that_systemd_makes() {
        for (place, name) in [
            ("/", "-.mount"),
            ("/nix/store", "nix-store.mount"),
            ("/srv/my-data/", "srv-my\\x2ddata.mount"),
            ("/with blank", "with\\x20blank.mount"),
            ("/.hidden", "\\x2ehidden.mount"),
        ] {
            assert_eq!(mount_unit(place), name);
        }
        assert_eq!(automount_unit("/boot"), "boot.automount");
        for (device, name) in [
            ("/swapfile", "swapfile.swap"),
            ("/dev/disk/by-uuid/a-b", "dev-disk-by\\x2duuid-a\\x2db.swap"),
            ("UUID=a-b", "dev-disk-by\\x2duuid-a\\x2db.swap"),
            ("LABEL=my swap", "dev-disk-by\\x2dlabel-my\\x5cx20swap.swap"),
        ] {
            assert_eq!(swap_unit(device), name);
        }
    }

    #[test]
    fn each_change_of_a_line_asks_for_one_thing() {
        for (old, new, want) in [
            ("a /x ext4 rw", "a /x ext4 rw", None),
            ("", "a /x ext4 rw", Some(Change::New)),
            ("", "a /x ext4 noauto", None),
            (
                "",
                "a /x ext4 noauto,x-systemd.automount",
                Some(Change::New),
            ),
            ("", "a /x ext4 nofail", Some(Change::New)),
            ("a /x ext4 rw", "", Some(Change::Gone)),
            ("a /x ext4 rw", "a /x ext4 ro", Some(Change::Options)),
            ("a /x ext4 rw", "b /x ext4 rw", Some(Change::Other)),
            ("a /x ext4 rw", "a /x xfs rw", Some(Change::Other)),
            ("a /x ext4 rw", "b /x ext4 ro", Some(Change::Other)),
            ("a / ext4 rw", "a / ext4 ro", Some(Change::Options)),
            ("a / ext4 rw", "b / ext4 ro", Some(Change::Options)),
            ("a / ext4 rw", "b / ext4 rw", Some(Change::Stays)),
            ("a /nix ext4 rw", "a /nix xfs rw", Some(Change::Stays)),
            (
                "a /nix/store ext4 rw",
                "a /nix/store xfs rw",
                Some(Change::Stays),
            ),
            ("a /x ext4 x-systemd.automount", "", Some(Change::Gone)),
            (
                "a /x ext4 x-systemd.automount",
                "a /x ext4 rw",
                Some(Change::AutomountGone),
            ),
            (
                "a /x ext4 rw",
                "a /x ext4 x-systemd.automount",
                Some(Change::Options),
            ),
        ] {
            let found = changes(&Fstab::parse(old), &Fstab::parse(new));
            assert_eq!(found.into_values().next(), want, "from {old:?} to {new:?}");
        }
    }

    #[test]
    fn the_kernel_lists_swap_devices_by_their_real_paths() {
        let list = "Filename\t\t\tType\t\tSize\tUsed\tPriority\n\
                    /dev/sda2                               partition\t976892\t0\t-2\n\
                    /srv/my\\040swap                          file\t\t1020\t0\t-3\n";
        for (path, is) in [
            ("/dev/sda2", true),
            ("/srv/my swap", true),
            ("/dev/sda", false),
            ("Filename", false),
        ] {
            assert_eq!(is_swap_in_use(list, path), is, "{path}");
        }
    }
}
