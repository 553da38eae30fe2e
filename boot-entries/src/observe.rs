//! Reads everything a plan depends on, once: generations, closures, `$BOOT`.
//!
//! What one generation's closure lacks is that generation's trouble, kept beside it ([`Found::bootable`]); it never
//! stops the others (invariant B8). What `$BOOT` itself refuses to tell is an error.

mod folder;
mod volume;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use crate::Root;
use crate::boot_partition::Place;
use crate::bounded;
use crate::closure::{self, Bootable, Closures, Documents, Finished};
use crate::digests::Digests;
use crate::entry::EntryFile;
use crate::extra::{Extra, Extras, RECORD};
use crate::generation::{Generation, Subject};
use crate::name::stem_of;
use crate::nixpkgs;
use crate::owner::{Ownership, UNREADABLE};
use crate::payload::{self, Content};
use crate::space::Volume;
use crate::work;
use folder::Folder;
use systemd_boot_model::{
    ENTRIES, EntryName, LOADER_CONF, Listed, Loader, LoaderVariables, Medium, Partition,
    ReleaseRange, Uki,
};

/// What is longer is no settings file, in bytes.
const LONGEST_CONF: u64 = 64 * 1024;

/// Something that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part of `$BOOT`.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A generation, and whether it could be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub generation: Generation,
    /// What its entry is called, without counter.
    pub stem: String,
    /// What it takes to boot it, or why it cannot be.
    pub bootable: Result<Bootable, String>,
}

/// A place, without the payload's bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootFiles {
    /// Where it is.
    pub place: Place,
    /// The entry files on `$BOOT` that the loader looks at, by file name.
    pub entries: BTreeMap<String, EntryFile>,
    /// Those on the ESP, where that is another partition.
    pub on_esp: BTreeMap<String, EntryFile>,
    /// Our payload on the ESP, where that is another partition: file names. Left from when it was not.
    pub esp_payload: Vec<String>,
    /// The loader's settings file.
    pub loader_conf: Option<String>,
    /// What interrupted runs left behind, as paths on a partition.
    pub leftovers: Vec<(Partition, String)>,
    /// The names of what nixpkgs' builders left in [`nixpkgs::DIRECTORY`].
    pub nixpkgs: BTreeSet<(Partition, String)>,
    /// Unified kernel images in [`IMAGES`], by name, and what they say. None of them is ours.
    pub images: BTreeMap<(Partition, String), Uki>,
    /// Entry files that could not be read, and why, each in one line.
    pub unreadable: Vec<String>,
}

/// Everything a plan depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// Every generation, in order of its id.
    pub generations: Vec<Found>,
    /// `$BOOT`.
    pub boot: BootFiles,
    /// Our payload files on `$BOOT`, by name, and what is really in them.
    pub payload: BTreeMap<String, Content>,
    /// Further files of ours on `$BOOT`.
    pub extras: Extras,
    /// Room on `$BOOT`. None: it cannot be told, or nobody has looked ([`Self::measure`]).
    pub space: Option<Volume>,
    /// The same on the ESP, where that is another partition.
    pub space_on_esp: Option<Volume>,
}

impl Observation {
    /// Observes `place`, which is to boot `generations` and to have `extras`, but for the room in it. Payload that
    /// `digests` knows is not read.
    ///
    /// # Errors
    /// When the place cannot be read.
    pub fn read(
        place: &Place,
        mut generations: Vec<Found>,
        extras: &[Extra],
        digests: &mut Digests,
    ) -> Result<Self, Error> {
        for found in &mut generations {
            // Somebody else's files, which may be in one place and not in another.
            if let Ok(bootable) = &found.bootable
                && let Err(why) = closure::on_boot(&place.boot, &bootable.extra_initrds)
            {
                found.bootable = Err(why);
            }
        }
        let (boot, payload) = BootFiles::with_payload(place)?;
        let payload = read_payload(place, payload, digests);
        Ok(Self {
            generations,
            boot,
            payload,
            extras: Extras::read(&place.boot, extras, digests).map_err(|source| Error::Read {
                path: place.boot.join(RECORD),
                source,
            })?,
            space: None,
            space_on_esp: None,
        })
    }

    /// Looks for room. It matters only to whoever has something to write, and takes a look at all that could be
    /// replaced.
    pub fn measure(&mut self) {
        let place = &self.boot.place;
        let sizes = self
            .payload
            .iter()
            .map(|(name, content)| (format!("{}/{name}", payload::DIRECTORY), content.size));
        let mut known: BTreeMap<String, u64> = BTreeMap::new();
        known.extend(sizes.chain(sizes_of(&self.boot.entries)));
        self.space = volume::read(&place.boot, &known);
        if place.has_xbootldr() {
            known.clear();
            known.extend(sizes_of(&self.boot.on_esp));
            self.space_on_esp = volume::read(&place.esp, &known);
        }
    }

    /// The generation that is `subject`, if there is one.
    #[must_use]
    pub fn find(&self, subject: &Subject) -> Option<&Found> {
        let is = |found: &&Found| found.generation.is(subject);
        self.generations.iter().find(is)
    }

    /// Whether an entry that is named as ours are is another system's.
    #[must_use]
    pub fn is_other_systems(&self, ownership: &Ownership, file: &EntryFile) -> bool {
        ownership.is_other_systems(file, |stem| {
            let mut found = self.generations.iter().inspect(|_| work::look());
            found.any(|found| found.stem == stem)
        })
    }

    /// [`Self::is_other_systems`] for many files.
    pub fn other_systems(&self, ownership: &Ownership) -> impl Fn(&EntryFile) -> bool {
        ownership.clone().other_systems(|| {
            let found = self.generations.iter().inspect(|_| work::look());
            found.map(|found| found.stem.as_str()).collect()
        })
    }

    /// The generations by what their entries are called, for whoever asks about many entries.
    pub(crate) fn by_stem(&self) -> BTreeMap<&str, &Found> {
        let found = self.generations.iter().inspect(|_| work::look());
        found.map(|found| (found.stem.as_str(), found)).collect()
    }
}

/// The names of the entry files in `place`, anybody's. Nothing is opened.
///
/// # Errors
/// When they cannot be listed.
pub fn entry_names(place: &Place) -> Result<Vec<EntryName>, Error> {
    let mut all = names(&place.boot.join(ENTRIES))?;
    if place.has_xbootldr() {
        all.extend(names(&place.esp.join(ENTRIES))?);
    }
    Ok(all
        .iter()
        .filter_map(|name| EntryName::parse(name))
        .collect())
}

impl BootFiles {
    /// Reads entries and settings of `place`.
    ///
    /// # Errors
    /// When something is there and cannot be read.
    pub fn read(place: &Place) -> Result<Self, Error> {
        Self::with_payload(place).map(|(boot, _)| boot)
    }

    /// [`Self::read`], and the names of our payload on `$BOOT`.
    fn with_payload(place: &Place) -> Result<(Self, Vec<String>), Error> {
        let on_boot = Folder::read(&place.boot, Partition::Boot)?;
        let mut boot = Self {
            place: place.clone(),
            entries: on_boot.entries,
            loader_conf: text(&place.esp.join(LOADER_CONF))?,
            leftovers: on_boot.leftovers,
            nixpkgs: on_boot.nixpkgs,
            images: on_boot.images,
            unreadable: on_boot.unreadable,
            ..Self::default()
        };
        if place.has_xbootldr() {
            let on_esp = Folder::read(&place.esp, Partition::Esp)?;
            boot.on_esp = on_esp.entries;
            boot.esp_payload = on_esp.payload;
            boot.leftovers.extend(on_esp.leftovers);
            boot.nixpkgs.extend(on_esp.nixpkgs);
            boot.images.extend(on_esp.images);
            boot.unreadable.extend(on_esp.unreadable);
        }
        Ok((boot, on_boot.payload))
    }

    /// Every entry file that the loader looks at, with its name.
    pub fn all(&self) -> impl Iterator<Item = (&String, &EntryFile)> {
        self.entries.iter().chain(&self.on_esp)
    }

    /// The entry file of this name on a partition.
    #[must_use]
    pub fn entry(&self, on: Partition, name: &str) -> Option<&EntryFile> {
        match on {
            Partition::Esp if self.place.has_xbootldr() => self.on_esp.get(name),
            _ => self.entries.get(name),
        }
    }

    /// Whether all that an entry needs is there, as far as it is known: of a foreign one that is the program.
    #[must_use]
    pub fn has_payload(&self, file: &EntryFile) -> bool {
        let there = |name: &&str| self.nixpkgs.contains(&(file.on, (*name).to_owned()));
        match nixpkgs::payload_of_entry(&file.entry) {
            Some(names) => names.iter().all(there),
            None => file.has_program,
        }
    }

    /// The loader as it will find this place.
    #[must_use]
    pub fn loader(&self, release: ReleaseRange, variables: LoaderVariables) -> Loader {
        let mut entries = Vec::new();
        let mut medium = Medium::default();
        // The loader reads the ESP first, and images before entries.
        for (on, files) in [
            (Partition::Esp, &self.on_esp),
            (Partition::Boot, &self.entries),
        ] {
            for ((_, name), image) in self.images.iter().filter(|((there, _), _)| *there == on) {
                let listed = Listed::of_image(release, on, name, image);
                if listed.is_empty() {
                    medium.other_files.push((on, name.clone()));
                }
                entries.extend(listed);
            }
            for (name, file) in files {
                match Listed::read(release, file.on, name, &file.text, |_| file.has_program) {
                    Some(listed) => entries.push(listed),
                    None => medium.other_files.push((file.on, name.clone())),
                }
            }
        }
        Loader {
            release,
            entries,
            conf: release.read_conf(self.loader_conf.as_deref().unwrap_or_default()),
            variables,
            medium,
        }
    }

    /// The entry files with this stem: normally one.
    pub fn files_of(&self, stem: &str) -> impl Iterator<Item = (&String, &EntryFile)> {
        let all = [&self.entries, &self.on_esp].into_iter();
        all.flat_map(move |files| beginning_with(files, stem))
            .filter(move |(_, file)| file.name.stem == stem)
    }
}

/// The entry files whose names begin so, as every name does that has this stem. The others are not looked at: whoever
/// asks for each of a thousand generations must not look at a million files.
fn beginning_with<'a>(
    files: &'a BTreeMap<String, EntryFile>,
    stem: &str,
) -> impl Iterator<Item = (&'a String, &'a EntryFile)> {
    let from = files.range::<str, _>((Bound::Included(stem), Bound::Unbounded));
    from.inspect(|_| work::look())
        .take_while(move |(name, _)| name.starts_with(stem))
}

/// `generations`, and what it takes to boot each; `finished` are the initrds that get secrets, `documents` and
/// `digests` what was read before. What cannot be read of one is that one's reason.
#[must_use]
// As a part of the agent it would be optimised for size.
#[inline(never)]
pub fn generations(
    root: &Root,
    generations: &[Generation],
    finished: &Finished,
    documents: &Documents,
    digests: &mut Digests,
) -> Vec<Found> {
    let mut closures = Closures::new(root, finished, documents, digests);
    let looked = generations.iter().map(|g| closures.look(&g.toplevel));
    let looked: Vec<_> = looked.collect();
    closures.read();
    let found = generations
        .iter()
        .zip(looked)
        .map(|(generation, looked)| Found {
            stem: stem_of(&generation.subject()),
            bootable: looked.and_then(|examined| closures.bootable(examined)),
            generation: generation.clone(),
        });
    found.collect()
}

/// The sizes of entry files, by path, as far as their texts tell: bytes that are no UTF-8 were replaced, and of some
/// only their names could be read.
fn sizes_of(entries: &BTreeMap<String, EntryFile>) -> impl Iterator<Item = (String, u64)> {
    let known = entries
        .iter()
        .filter(|(_, file)| file.text != UNREADABLE && !file.text.contains('\u{fffd}'));
    known.map(|(name, file)| (format!("{ENTRIES}/{name}"), file.text.len() as u64))
}

fn read_payload(
    place: &Place,
    names: Vec<String>,
    digests: &mut Digests,
) -> BTreeMap<String, Content> {
    let directory = place.boot.join(payload::DIRECTORY);
    let paths: Vec<PathBuf> = names.iter().map(|name| directory.join(name)).collect();
    // What cannot be read is as good as damaged: it is written again.
    let known = names.into_iter().zip(digests.all_on_boot(&paths));
    known
        .filter_map(|(name, content)| Some((name, content?)))
        .collect()
}

/// The names in a directory; none when it is not there. A name that is no UTF-8 is nobody's we know.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>, Error> {
    let at = |source| Error::Read {
        path: directory.to_owned(),
        source,
    };
    let listing = match std::fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(error)),
    };
    let mut names = Vec::new();
    for item in listing {
        names.extend(item.map_err(at)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// The text of the loader's settings file; None when it is not there or is none (a directory, a megabyte). Bytes that
/// are no UTF-8 are replaced: such a file is not ours, and the loader has its own opinion of it.
fn text(path: &Path) -> Result<Option<String>, Error> {
    match bounded::read_bytes(path, LONGEST_CONF) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidData
            ) =>
        {
            Ok(None)
        }
        Err(source) => Err(Error::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests;
