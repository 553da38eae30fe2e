//! Where entries go, and whether it is the real thing (invariant B6): mounted, FAT, and the partition that the loader
//! came from. Never an empty mount point, where files would be invisible to the firmware.
//!
//! A machine has one [`Place`] or several: its ESP (with the XBOOTLDR partition beside it, if there is one), and the
//! mirrored ESPs of its other disks, each bootable by itself.

mod block;
mod live;
mod mounts;

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::statvfs::{FsFlags, statvfs};

use crate::Root;
use systemd_boot_model::{LoaderVariables, Partition};

use block::Loader;
use live::Machine;
use mounts::Mounts;

/// Where an ESP is mounted if nobody says otherwise, in the order in which bootctl(1) looks.
const CANDIDATES: [&str; 3] = ["/efi", "/boot", "/boot/efi"];
/// Where an XBOOTLDR partition is mounted.
const XBOOTLDR: &str = "/boot";
/// `bootctl install` leaves it on `$BOOT`.
const MARK: &str = "loader/entries.srel";

/// One complete copy of what it takes to boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Where the ESP is, as a path of the machine: what people call it.
    pub name: PathBuf,
    /// The ESP, as a path of this process.
    pub esp: PathBuf,
    /// `$BOOT`, as a path of this process.
    pub boot: PathBuf,
    /// Mounted so that nothing can be written.
    pub is_read_only: bool,
}

impl Place {
    /// The directory of a partition, as a path of this process.
    #[must_use]
    pub fn directory(&self, on: Partition) -> &Path {
        match on {
            Partition::Esp => &self.esp,
            Partition::Boot => &self.boot,
        }
    }

    /// Whether `$BOOT` is an XBOOTLDR partition.
    #[must_use]
    pub fn has_xbootldr(&self) -> bool {
        self.esp != self.boot
    }
}

/// Where the closures say that ESPs are, as paths of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Where the first one is mounted. None: where the loader's is, or at one of the usual places.
    pub esp: Option<PathBuf>,
    /// The mount points of further ones.
    pub mirrors: Vec<PathBuf>,
}

impl Wanted {
    fn candidates(&self) -> impl Iterator<Item = &Path> {
        let usual = CANDIDATES.iter().map(Path::new);
        let usual = usual.filter(|_| self.esp.is_none());
        self.esp.as_deref().into_iter().chain(usual)
    }

    /// How to say that nothing is there.
    fn looked_at(&self) -> String {
        self.esp.as_ref().map_or_else(
            || "none of /efi, /boot and /boot/efi is".to_owned(),
            |esp| format!("{}, which lastgood.toml names, is not", esp.display()),
        )
    }
}

/// All places of a machine.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Those that can be used: never none.
    pub usable: Vec<Place>,
    /// Whether the first of them is what the loader reads next, as far as anybody can tell. If not, that is one of the
    /// unusable ones.
    pub has_next: bool,
    /// Why the others cannot be used.
    pub unusable: Vec<Error>,
    /// What could not be made sure of.
    pub doubts: Vec<Doubt>,
}

/// Something to tell about places that are used all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// Nobody knows whether the firmware reads it.
    Unchecked {
        /// The place.
        mounted: PathBuf,
        /// What the loader says it came from, if it says anything.
        partition: Option<String>,
    },
    /// The loader is another system's: this one is being installed.
    Chroot {
        /// The place.
        mounted: PathBuf,
    },
    /// The loader came from a mirror, and there are only mirrors.
    NoFirst,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchecked { mounted, partition } => {
                let why = partition.as_ref().map_or_else(
                    || "no EFI variable LoaderDevicePartUUID says which that is".to_owned(),
                    |uuid| format!("udev knows no partition with its PARTUUID {uuid}"),
                );
                write!(
                    f,
                    "it could not be checked that {} is the partition the loader came from: {why}; compare with `bootctl status`",
                    mounted.display()
                )
            }
            Self::Chroot { mounted } => write!(
                f,
                "this is a chroot, and what started the machine says nothing of {}; see that the firmware starts from it",
                mounted.display()
            ),
            Self::NoFirst => f.write_str(
                "the loader came from a mirror, and no other EFI system partition is mounted; say which one is no mirror: \
                 `[boot] esp` in lastgood.toml",
            ),
        }
    }
}

/// Why a place cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Nothing that may be the ESP is a mounted FAT file system. Holds what was looked at.
    #[error("no EFI system partition: {0} a mounted FAT file system; mount it and run again")]
    NotMounted(String),
    /// There is another partition whose entries the loader reads.
    #[error(
        "{} is an XBOOTLDR partition on the disk of {}, so the loader reads entries there, and it is no FAT file system mounted on /boot: \
         mount it there (the EFI system partition then belongs on /efi); if it is not used, give it another type \
         (`sfdisk --part-type`); then run again",
        partition.display(), esp.display()
    )]
    XbootldrNotMounted {
        /// The ESP.
        esp: PathBuf,
        /// The partition.
        partition: PathBuf,
    },
    /// A mirror is no mounted FAT file system.
    #[error(
        "the mirror {} is no mounted FAT file system: it was left as it is; mount it and run again", .0.display()
    )]
    MirrorNotMounted(PathBuf),
    /// A mirror is what another place is.
    #[error(
        "the mirror {} is the same file system as {}: it mirrors nothing; mount another disk's EFI system partition there",
        mirror.display(), other.display()
    )]
    SameDevice {
        /// The mirror.
        mirror: PathBuf,
        /// The other place.
        other: PathBuf,
    },
    /// A tree has no such directory.
    #[error("{} is no tree to write entries to: {looked_at} a directory in it", root.display())]
    NoDirectory {
        /// Its top.
        root: PathBuf,
        /// What was looked at.
        looked_at: String,
    },
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
        source: Arc<io::Error>,
    },
}

/// Finds the places of the machine.
///
/// In a tree (`--root`) directories are taken for what they are called: there are no mounts to check.
///
/// # Errors
/// When there is none that can be used, or none of them is what the firmware reads.
pub fn find(root: &Root, variables: &LoaderVariables, wanted: &Wanted) -> Result<Places, Error> {
    if !root.is_live() {
        return in_a_tree(root, wanted);
    }
    let mirrors = wanted.mirrors.iter().map(PathBuf::as_path);
    for candidate in wanted.candidates().chain(mirrors) {
        // An automount point becomes a mount when it is looked into. That it may not exist is no news.
        drop(std::fs::read_dir(candidate).map(|mut listing| listing.next().is_some()));
    }
    machine(root, variables)?.places(wanted)
}

/// What can be known of the machine whose `/proc`, `/sys`, `/run` and `/dev` are under `root`.
fn machine(root: &Root, variables: &LoaderVariables) -> Result<Machine, Error> {
    let path = root.join("/proc/self/mountinfo");
    let mounts = Mounts::parse(&std::fs::read(&path).map_err(at(&path))?);
    let numbers = mounts.all().map(|(_, mount)| mount.device.clone());
    let devices = numbers.map(|number| (number.clone(), block::device(root, &number)));
    let is_chroot = is_chroot(root);
    // Its partition is the installer's: mounted here it would be overwritten.
    let uuid = variables.partition.as_deref().filter(|_| !is_chroot);
    Ok(Machine {
        devices: devices.collect(),
        loader: uuid.map(|uuid| Loader::find(root, uuid)),
        mounts,
        is_chroot,
    })
}

/// Whether PID 1 has another `/`, as where `nixos-install` calls us. Where that cannot be told it has not.
fn is_chroot(root: &Root) -> bool {
    let of = |path: &str| {
        let found = std::fs::metadata(root.join(path)).ok()?;
        Some((found.dev(), found.ino()))
    };
    of("/proc/1/root").is_some_and(|first| of("/") != Some(first))
}

fn in_a_tree(root: &Root, wanted: &Wanted) -> Result<Places, Error> {
    let mut places = Places::default();
    let directory = |path: &Path| {
        let resolved = root.resolve(path).map_err(at(path))?;
        match std::fs::metadata(&resolved) {
            Ok(found) if found.is_dir() => Ok(Some(resolved)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(&resolved)(error)),
        }
    };
    let place = |name: &Path, esp: PathBuf, boot: PathBuf| Place {
        name: name.to_owned(),
        is_read_only: is_read_only(&esp) || is_read_only(&boot),
        esp,
        boot,
    };
    for name in wanted.candidates() {
        let Some(esp) = directory(name)? else {
            continue;
        };
        // An empty `/efi` beside a filled `/boot` is a mount point of the finished machine.
        if wanted.esp.is_none() && name == Path::new("/efi") && !holds_something(&esp) {
            continue;
        }
        let beside = directory(Path::new(XBOOTLDR))?;
        let beside = beside.filter(|beside| *beside != esp && beside.join(MARK).is_file());
        let boot = beside.unwrap_or_else(|| esp.clone());
        places.usable.push(place(name, esp, boot));
        places.has_next = true;
        break;
    }
    if places.usable.is_empty() {
        places.unusable.push(Error::NoDirectory {
            root: root.directory().to_owned(),
            looked_at: wanted.looked_at(),
        });
    }
    for mirror in &wanted.mirrors {
        let Some(esp) = directory(mirror)? else {
            places
                .unusable
                .push(Error::MirrorNotMounted(mirror.clone()));
            continue;
        };
        let mut others = places.usable.iter();
        match others.find(|other| other.esp == esp || other.boot == esp) {
            None => places.usable.push(place(mirror, esp.clone(), esp)),
            Some(same) if same.name == *mirror => {}
            Some(same) => places.unusable.push(Error::SameDevice {
                mirror: mirror.clone(),
                other: same.name.clone(),
            }),
        }
    }
    usable(places)
}

/// Some place is needed; if there is none, the first reason is the one to tell.
fn usable(mut places: Places) -> Result<Places, Error> {
    if places.usable.is_empty() && !places.unusable.is_empty() {
        return Err(places.unusable.remove(0));
    }
    Ok(places)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Read {
        path,
        source: Arc::new(source),
    }
}

fn holds_something(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut listing| listing.next().is_some())
}

fn is_read_only(directory: &Path) -> bool {
    statvfs(directory).is_ok_and(|found| found.flags().contains(FsFlags::ST_RDONLY))
}

#[cfg(test)]
mod tests;
