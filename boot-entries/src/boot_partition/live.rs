//! The places of the machine that we run on: which of the mounted file systems they are. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::block::{Device, Loader};
use super::mounts::{Mount, Mounts};
use super::{Doubt, Error, Place, Places, Wanted, XBOOTLDR, usable};

/// What the kernel, udev and the firmware say.
#[derive(Debug, Default)]
pub(super) struct Machine {
    pub(super) mounts: Mounts,
    /// What FAT file systems are on, by `major:minor`.
    pub(super) devices: BTreeMap<String, Device>,
    /// None: the firmware does not say what it was.
    pub(super) loader: Option<Loader>,
    /// What started the machine is not the system that these are of.
    pub(super) is_chroot: bool,
}

/// An ESP: where it is mounted, and its mount.
type Esp<'a> = (PathBuf, &'a Mount);

impl Machine {
    fn device(&self, mount: &Mount) -> Option<&Device> {
        self.devices.get(&mount.device)
    }

    fn is_xbootldr(&self, mount: &Mount) -> bool {
        self.device(mount).is_some_and(Device::is_xbootldr)
    }

    fn is_loaders(&self, mount: &Mount) -> bool {
        let loader = self.loader.as_ref().zip(self.device(mount));
        loader.is_some_and(|(loader, device)| loader.is_on(device))
    }

    /// What is mounted at `point`, if that can be an ESP.
    fn esp(&self, point: &Path) -> Option<Esp<'_>> {
        let mount = self.mounts.at(point)?;
        (!self.is_xbootldr(mount)).then(|| (point.to_owned(), mount))
    }

    /// The XBOOTLDR partition that is mounted where it belongs.
    fn xbootldr(&self) -> Option<Esp<'_>> {
        let point = Path::new(XBOOTLDR);
        let mount = self.mounts.at(point)?;
        self.is_xbootldr(mount).then(|| (point.to_owned(), mount))
    }

    /// Whether the partition of the loader is here, so that another one cannot be it.
    fn has_loaders(&self) -> bool {
        let on_disks = self.devices.values().flat_map(|device| &device.on_disks);
        let mut uuids = on_disks.filter_map(|partition| partition.uuid.as_deref());
        self.loader.as_ref().is_some_and(|loader| {
            loader.number.is_some() || uuids.any(|uuid| uuid.eq_ignore_ascii_case(&loader.uuid))
        })
    }

    /// The places among the mounts.
    pub(super) fn places(&self, wanted: &Wanted) -> Result<Places, Error> {
        let mut places = Places::default();
        let is_mirror = |(point, _): &Esp<'_>| wanted.mirrors.contains(point);
        let is_loaders = |esp: &Esp<'_>| self.is_loaders(esp.1);
        let candidates = || wanted.candidates().filter_map(|point| self.esp(point));
        let mirrors = || wanted.mirrors.iter().filter_map(|point| self.esp(point));
        let anywhere = || self.mounts.all().filter_map(|(point, _)| self.esp(point));

        // What the loader came from is what it reads next time, wherever it is mounted.
        let next = candidates()
            .chain(mirrors())
            .chain(anywhere())
            .find(is_loaders);
        let is_elsewhere = next.is_none() && self.has_loaders();
        let primary = match &next {
            Some(next) if !is_mirror(next) => Some(next.clone()),
            // The machine was started from another disk, or is all mirrors.
            _ => candidates()
                .find(is_loaders)
                .or_else(|| candidates().next()),
        };
        let primary = match primary {
            Some((mounted, _)) if is_elsewhere => {
                places.unusable.push(self.another(mounted));
                None
            }
            Some(primary) => Some(primary),
            None => {
                let are_all_mirrors = next.is_some() && mirrors().count() > 1;
                if are_all_mirrors && wanted.esp.is_none() {
                    places.doubts.push(Doubt::NoFirst);
                } else {
                    places.unusable.push(Error::NotMounted(wanted.looked_at()));
                }
                None
            }
        };
        if let (Some(named), Some((point, _))) = (&wanted.esp, &primary)
            && named != point
        {
            places.unusable.push(match self.esp(named) {
                Some(_) => self.another(named.clone()),
                None => Error::NotMounted(wanted.looked_at()),
            });
        }
        let mut esps: Vec<Esp<'_>> = Vec::new();
        let mut boot = None;
        if let Some(primary) = primary {
            match self.boot_of(&primary) {
                Ok(found) => {
                    boot = found.map(|found| (primary.0.clone(), found));
                    esps.push(primary);
                }
                Err(error) => places.unusable.push(error),
            }
        }
        let has_first = !esps.is_empty();
        for mirror in &wanted.mirrors {
            match self.mirror(mirror, &esps) {
                Ok(found) => esps.extend(found),
                Err(error) => places.unusable.push(error),
            }
        }
        esps.sort_by_key(|esp| !is_loaders(esp));
        places.has_next = match &next {
            Some(_) => esps.first().is_some_and(is_loaders),
            None => has_first,
        };
        if let (None, Some((point, _)), true) = (&next, esps.first(), has_first) {
            let mounted = point.clone();
            places.doubts.push(if self.is_chroot {
                Doubt::Chroot { mounted }
            } else {
                let partition = self.loader.as_ref().map(|loader| loader.uuid.clone());
                Doubt::Unchecked { mounted, partition }
            });
        }
        for (name, mount) in esps {
            let beside = boot.as_ref().filter(|(of, _)| *of == name);
            let beside = beside.map(|(_, beside)| beside);
            places.usable.push(Place {
                esp: name.clone(),
                boot: beside.map_or_else(|| name.clone(), |(point, _)| point.clone()),
                is_read_only: mount.is_read_only || beside.is_some_and(|(_, m)| m.is_read_only),
                name,
            });
        }
        usable(places)
    }

    /// Where `$BOOT` is for this ESP, if that is another partition. The loader reads the XBOOTLDR partition of its disk
    /// whether or not it is mounted here, so that one which is not would be forgotten.
    fn boot_of(&self, esp: &Esp<'_>) -> Result<Option<Esp<'_>>, Error> {
        let Some(device) = self.device(esp.1) else {
            return Ok(self.xbootldr());
        };
        let beside = self.xbootldr().filter(|(_, boot)| {
            let found = self.device(boot);
            boot.device != esp.1.device && found.is_some_and(|boot| device.is_beside(boot))
        });
        let mut others = device.on_disks.iter().filter(|part| part.is_xbootldr);
        match (beside, others.next()) {
            (None, Some(missing)) => Err(Error::XbootldrNotMounted {
                esp: esp.0.clone(),
                partition: missing.node.clone(),
            }),
            (beside, _) => Ok(beside),
        }
    }

    /// The ESP at this mount point; None if it is a place already by that very name.
    fn mirror(&self, mirror: &Path, esps: &[Esp<'_>]) -> Result<Option<Esp<'_>>, Error> {
        let Some(mount) = self.mounts.at(mirror) else {
            return Err(Error::MirrorNotMounted(mirror.to_owned()));
        };
        let xbootldr = self.xbootldr();
        let mut others = esps.iter().chain(&xbootldr);
        match others.find(|(_, other)| other.device == mount.device) {
            Some((other, _))
                if other == mirror && Some(other) != xbootldr.as_ref().map(|x| &x.0) =>
            {
                Ok(None)
            }
            Some((other, _)) => Err(Error::SameDevice {
                mirror: mirror.to_owned(),
                other: other.clone(),
            }),
            None => Ok(Some((mirror.to_owned(), mount))),
        }
    }

    fn another(&self, mounted: PathBuf) -> Error {
        let partition = self.loader.as_ref().map(|loader| loader.uuid.clone());
        let partition = partition.unwrap_or_default();
        Error::Another { mounted, partition }
    }
}
