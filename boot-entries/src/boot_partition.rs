//! Where entries go, and whether it is the real thing (invariant B6): mounted, FAT, and the partition that the loader
//! came from. Never an empty mount point, where files would be invisible to the firmware.
//!
//! A machine has one [`Place`] or several: its ESP (with the XBOOTLDR partition beside it, if there is one), and the
//! mirrored ESPs of its other disks, each bootable by itself.

mod mounts;

use std::io;
use std::path::{Path, PathBuf};

use crate::Root;
use crate::efi::LoaderVariables;

use mounts::{Kind, Mounts};

/// Where entries are, on `$BOOT`.
pub const ENTRIES: &str = "loader/entries";
/// Where the loader's settings are, on `$BOOT`.
pub const LOADER_CONF: &str = "loader/loader.conf";
/// Where unified kernel images are (UAPI.1, entries of type 2).
pub const IMAGES: &str = "EFI/Linux";

/// Where an ESP is mounted, in the order in which bootctl(1) looks.
const CANDIDATES: [&str; 3] = ["/efi", "/boot", "/boot/efi"];
/// Where an XBOOTLDR partition is mounted.
const XBOOTLDR: &str = "/boot";
/// `bootctl install` leaves it on `$BOOT`.
const MARK: &str = "loader/entries.srel";

/// One of the two partitions of a [`Place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Partition {
    /// What the firmware reads: the loader, and its settings.
    Esp,
    /// `$BOOT`: entries and payload. The XBOOTLDR partition if there is one, otherwise the ESP.
    Boot,
}

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

/// All places of a machine.
#[derive(Debug, Default)]
pub struct Places {
    /// Those that can be used: never none. The first is the one to ask about the next boot.
    pub usable: Vec<Place>,
    /// Why the others cannot.
    pub unusable: Vec<Error>,
}

/// Why a place cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No candidate is a mounted FAT file system.
    #[error(
        "no EFI system partition: none of /efi, /boot and /boot/efi is a mounted FAT file system; mount it and run again"
    )]
    NotMounted,
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

/// Finds the places of the machine. `mirrors` are the mount points of further ESPs, as paths of the machine.
///
/// In a tree (`--root`) directories are taken for what they are called: there are no mounts to check.
///
/// # Errors
/// When there is none that can be used, or none of them is what the firmware reads.
pub fn find(
    root: &Root,
    variables: &LoaderVariables,
    mirrors: &[PathBuf],
) -> Result<Places, Error> {
    if !root.is_live() {
        return in_a_tree(root, mirrors);
    }
    for candidate in CANDIDATES.iter().map(Path::new).chain(paths(mirrors)) {
        // An automount point becomes a mount when it is looked into. That it may not exist is no news.
        drop(std::fs::read_dir(candidate).map(|mut listing| listing.next().is_some()));
    }
    let path = Path::new("/proc/self/mountinfo");
    let text = std::fs::read_to_string(path).map_err(at(path))?;
    let wanted = variables.partition.as_deref();
    let wanted = wanted.and_then(|partition| Some((partition, mounts::device_of(partition)?)));
    live(
        &Mounts::parse(&text, mounts::kind_of),
        wanted.as_ref().map(|(p, d)| (*p, d.as_str())),
        mirrors,
    )
}

/// The places among `mounts`. `loader`: the partition that the loader came from, and its device.
fn live(
    mounts: &Mounts,
    loader: Option<(&str, &str)>,
    mirrors: &[PathBuf],
) -> Result<Places, Error> {
    let mut devices: Vec<(PathBuf, &str)> = Vec::new();
    let mut places = Places::default();
    let is_esp = |point: &&str| {
        mounts
            .at(point)
            .is_some_and(|mount| mount.kind != Kind::Xbootldr)
    };
    let is_loaders = |point: &&str| {
        let device = mounts.at(point).map(|mount| mount.device.as_str());
        loader.is_some_and(|(_, loader)| device == Some(loader))
    };
    let candidates = || CANDIDATES.iter().copied().filter(is_esp);
    match candidates()
        .find(is_loaders)
        .or_else(|| candidates().next())
    {
        None => places.unusable.push(Error::NotMounted),
        Some(point) => devices.extend(
            mounts
                .at(point)
                .map(|m| (PathBuf::from(point), m.device.as_str())),
        ),
    }
    for mirror in mirrors {
        let mount = mirror.to_str().and_then(|point| mounts.at(point));
        let Some(mount) = mount else {
            places
                .unusable
                .push(Error::MirrorNotMounted(mirror.clone()));
            continue;
        };
        let xbootldr = mounts
            .at(XBOOTLDR)
            .filter(|beside| beside.kind == Kind::Xbootldr)
            .map(|beside| (PathBuf::from(XBOOTLDR), beside.device.as_str()));
        let mut others = devices.iter().chain(&xbootldr);
        match others.find(|(_, device)| *device == mount.device) {
            Some((other, _)) => places.unusable.push(Error::SameDevice {
                mirror: mirror.clone(),
                other: other.clone(),
            }),
            None => devices.push((mirror.clone(), &mount.device)),
        }
    }
    if let (Some((partition, loader)), Some((mounted, _))) = (loader, devices.first())
        && !devices.iter().any(|(_, device)| *device == loader)
    {
        return Err(Error::Another {
            mounted: mounted.clone(),
            partition: partition.to_owned(),
        });
    }
    // What the loader came from is what it reads next time.
    devices.sort_by_key(|(_, device)| loader.is_none_or(|(_, loader)| *device != loader));
    for (name, _) in devices {
        let at = |point: &Path| point.to_str().and_then(|point| mounts.at(point));
        let is_primary = !mirrors.contains(&name);
        let beside = at(Path::new(XBOOTLDR)).filter(|beside| {
            is_primary
                && beside.kind == Kind::Xbootldr
                && at(&name).is_some_and(|esp| esp.is_beside(beside))
        });
        let boot = if beside.is_some() {
            PathBuf::from(XBOOTLDR)
        } else {
            name.clone()
        };
        let is_read_only =
            at(&name).is_some_and(|m| m.is_read_only) || beside.is_some_and(|m| m.is_read_only);
        places.usable.push(Place {
            esp: name.clone(),
            name,
            boot,
            is_read_only,
        });
    }
    usable(places)
}

fn in_a_tree(root: &Root, mirrors: &[PathBuf]) -> Result<Places, Error> {
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
    for candidate in CANDIDATES {
        let name = PathBuf::from(candidate);
        let Some(esp) = directory(&name)? else {
            continue;
        };
        // An empty `/efi` beside a filled `/boot` is a mount point of the finished machine.
        if candidate == "/efi" && !holds_something(&esp) {
            continue;
        }
        let beside = directory(Path::new(XBOOTLDR))?;
        let beside = beside.filter(|beside| *beside != esp && beside.join(MARK).is_file());
        places.usable.push(Place {
            boot: beside.unwrap_or_else(|| esp.clone()),
            name,
            esp,
            is_read_only: false,
        });
        break;
    }
    if places.usable.is_empty() {
        let missing = Error::NoDirectory(root.directory().to_owned());
        places.unusable.push(missing);
    }
    for mirror in mirrors {
        match directory(mirror)? {
            Some(esp) => places.usable.push(Place {
                name: mirror.clone(),
                boot: esp.clone(),
                esp,
                is_read_only: false,
            }),
            None => places
                .unusable
                .push(Error::MirrorNotMounted(mirror.clone())),
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

fn paths(paths: &[PathBuf]) -> impl Iterator<Item = &Path> {
    paths.iter().map(PathBuf::as_path)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Read { path, source }
}

fn holds_something(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut listing| listing.next().is_some())
}

#[cfg(test)]
mod tests;
