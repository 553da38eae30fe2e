//! What the kernel and udev say about block devices: which partitions a file system is on, what each is for, and what
//! else is on their disks.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Root;

/// The type of an XBOOTLDR partition (UAPI.2, Discoverable Partitions Specification).
const XBOOTLDR: &str = "bc13c2ff-59e6-4262-a352-b275fd6f7172";
/// A RAID on a RAID is odd enough.
const DEEPEST: usize = 4;

/// A device that may be a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Partition {
    /// `major:minor`
    pub(super) number: String,
    /// Its file in `/dev`.
    pub(super) node: PathBuf,
    /// What the partition table calls it (PARTUUID). None: it is no partition, or udev has not said so.
    pub(super) uuid: Option<String>,
    /// Whether it is an extended boot loader partition.
    pub(super) is_xbootldr: bool,
    /// The disk it is on, or that it is. None: that cannot be told.
    pub(super) disk: Option<PathBuf>,
}

/// What a file system is on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Device {
    /// The device itself, and what it is made of, where it is a RAID: the firmware reads one of its halves.
    pub(super) parts: Vec<Partition>,
    /// All partitions of the disks of these.
    pub(super) on_disks: Vec<Partition>,
}

impl Device {
    pub(super) fn is_xbootldr(&self) -> bool {
        self.parts.iter().any(|part| part.is_xbootldr)
    }

    /// Whether both are on one disk: the loader looks for an XBOOTLDR partition on its own disk only.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        fn disks(device: &Device) -> Vec<&PathBuf> {
            let disks = device.parts.iter().map(|part| part.disk.as_ref());
            disks.flatten().collect()
        }
        let (one, two) = (disks(self), disks(other));
        one.is_empty() || two.is_empty() || one.iter().any(|disk| two.contains(disk))
    }
}

/// The partition that the loader came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loader {
    /// As the loader says.
    pub(super) uuid: String,
    /// `major:minor`. None: there is no such partition here, or udev has made no link to it.
    pub(super) number: Option<String>,
}

impl Loader {
    /// Whether it is `device`, or the half of it that the firmware reads.
    pub(super) fn is_on(&self, device: &Device) -> bool {
        device.parts.iter().any(|part| {
            let uuid = part.uuid.as_ref();
            uuid.is_some_and(|uuid| uuid.eq_ignore_ascii_case(&self.uuid))
                || self.number.as_ref() == Some(&part.number)
        })
    }

    /// Looks for the partition with this UUID.
    pub(super) fn find(root: &Root, uuid: &str) -> Self {
        let link = Path::new("/dev/disk/by-partuuid").join(uuid.to_ascii_lowercase());
        let name = fs::read_link(root.join(link)).ok().and_then(|target| {
            // `../../cciss/c0d0p1` is `cciss!c0d0p1` in /sys.
            let names = target.strip_prefix("../..").ok()?.to_str()?;
            Some(names.replace('/', "!"))
        });
        let number = name.and_then(|name| number(root, &Path::new("/sys/class/block").join(name)));
        let uuid = uuid.to_owned();
        Self { uuid, number }
    }
}

/// The device `number` (`major:minor`). What cannot be told is left out: of a device that nobody describes its number
/// is all there is to know.
pub(super) fn device(root: &Root, number: &str) -> Device {
    let mut parts = Vec::new();
    collect(root, number, 0, &mut parts);
    let mut device = Device::default();
    for part in &parts {
        let disk = part.disk.iter().flat_map(|disk| partitions_of(root, disk));
        device.on_disks.extend(disk);
    }
    device.parts = parts;
    device
}

fn collect(root: &Root, number: &str, depth: usize, parts: &mut Vec<Partition>) {
    let directory = directory_of(root, number);
    parts.push(partition(root, number, directory.as_deref()));
    let Some(directory) = directory.filter(|_| depth < DEEPEST) else {
        return;
    };
    for member in listed(root, &directory.join("slaves")) {
        if let Some(number) = self::number(root, &member) {
            collect(root, &number, depth + 1, parts);
        }
    }
}

fn partition(root: &Root, number: &str, directory: Option<&Path>) -> Partition {
    let record = fs::read_to_string(root.join(format!("/run/udev/data/b{number}")));
    let record = record.unwrap_or_default();
    let said = |key: &str| {
        let mut lines = record.lines();
        lines.find_map(|line| {
            line.strip_prefix("E:")?
                .strip_prefix(key)?
                .strip_prefix('=')
        })
    };
    let kind = said("ID_PART_ENTRY_TYPE");
    let name = directory.and_then(Path::file_name).unwrap_or_default();
    let disk = directory.and_then(|directory| {
        if is_partition(root, directory) {
            directory.parent()
        } else {
            Some(directory)
        }
    });
    Partition {
        number: number.to_owned(),
        node: Path::new("/dev").join(name.to_string_lossy().replace('!', "/")),
        uuid: said("ID_PART_ENTRY_UUID").map(str::to_owned),
        is_xbootldr: kind.is_some_and(|kind| kind.eq_ignore_ascii_case(XBOOTLDR)),
        disk: disk.map(Path::to_owned),
    }
}

fn partitions_of(root: &Root, disk: &Path) -> Vec<Partition> {
    let mut partitions = Vec::new();
    for directory in listed(root, disk) {
        if is_partition(root, &directory)
            && let Some(number) = number(root, &directory)
        {
            partitions.push(partition(root, &number, Some(&directory)));
        }
    }
    partitions
}

fn is_partition(root: &Root, directory: &Path) -> bool {
    root.join(directory.join("partition")).is_file()
}

/// Where /sys describes a device.
fn directory_of(root: &Root, number: &str) -> Option<PathBuf> {
    let directory = root.canonical(format!("/sys/dev/block/{number}")).ok()?;
    root.join(&directory).is_dir().then_some(directory)
}

/// `major:minor` of the device that /sys describes in `directory`.
fn number(root: &Root, directory: &Path) -> Option<String> {
    let directory = root.resolve(directory).ok()?;
    let text = fs::read_to_string(directory.join("dev")).ok()?;
    Some(text.trim().to_owned())
}

/// What is in a directory of the machine, in order; nothing, where it cannot be read.
fn listed(root: &Root, directory: &Path) -> Vec<PathBuf> {
    let listing = fs::read_dir(root.join(directory)).into_iter().flatten();
    let names = listing
        .flatten()
        .map(|item| directory.join(item.file_name()));
    let mut names: Vec<PathBuf> = names.collect();
    names.sort();
    names
}
