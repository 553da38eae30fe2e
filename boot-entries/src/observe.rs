//! Reads everything a plan depends on, once: generations, closures, `$BOOT`.
//!
//! What one generation's closure lacks is that generation's trouble, kept beside it ([`Found::bootable`]); it never
//! stops the others (invariant B8). What `$BOOT` itself refuses to tell is an error.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::Root;
use crate::closure::{Bootable, Closures, Finished};
use crate::durable;
use crate::efi::LoaderVariables;
use crate::entry::Entry;
use crate::generation::{Generation, Subject};
use crate::loader::{Band, Listed, Loader};
use crate::loader_conf::LoaderConf;
use crate::name::{EntryName, stem_of};
use crate::payload::{self, Content};

/// Where entries are, on `$BOOT`.
pub const ENTRIES: &str = "loader/entries";
/// Where the loader's settings are, on `$BOOT`.
pub const LOADER_CONF: &str = "loader/loader.conf";

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

/// An entry file on `$BOOT`, anybody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryFile {
    /// Its name, taken apart.
    pub name: EntryName,
    /// Its content as the loader understands it.
    pub entry: Entry,
    /// Its content to the letter.
    pub text: String,
}

/// `$BOOT`, without the payload's bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boot {
    /// Where it is, as a path of this process.
    pub directory: PathBuf,
    /// The entry files that the loader looks at, by file name.
    pub entries: BTreeMap<String, EntryFile>,
    /// The loader's settings file.
    pub loader_conf: Option<String>,
    /// What interrupted runs left behind, as paths on `$BOOT`.
    pub leftovers: Vec<String>,
}

/// Everything a plan depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// Every generation, in order of its id.
    pub generations: Vec<Found>,
    /// `$BOOT`.
    pub boot: Boot,
    /// Our payload files on `$BOOT`, by name, and what is really in them.
    pub payload: BTreeMap<String, Content>,
    /// Room on `$BOOT`. None: it cannot be told.
    pub space: Option<Space>,
}

/// Room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Free, in bytes.
    pub free: u64,
    /// What a file's size is rounded up to, in bytes.
    pub cluster: u64,
}

impl Space {
    fn of(directory: &Path) -> Option<Self> {
        let found = nix::sys::statvfs::statvfs(directory).ok()?;
        let cluster = found.fragment_size().max(1);
        Some(Self {
            free: found.blocks_available().saturating_mul(cluster),
            cluster,
        })
    }
}

impl Observation {
    /// Observes `generations`, whose initrds with secrets are `finished`, and the `$BOOT` at `directory` (a path of
    /// this process).
    ///
    /// # Errors
    /// When `$BOOT` cannot be read. A generation that cannot be read is [`Found`] with the reason.
    pub fn read(
        root: &Root,
        directory: &Path,
        generations: &[Generation],
        finished: &Finished,
    ) -> Result<Self, Error> {
        let mut closures = Closures::new(root, directory, finished);
        let found = generations.iter().map(|generation| Found {
            stem: stem_of(&generation.subject()),
            bootable: closures.bootable(&generation.toplevel),
            generation: generation.clone(),
        });
        Ok(Self {
            generations: found.collect(),
            boot: Boot::read(directory)?,
            payload: read_payload(&directory.join(payload::DIRECTORY))?,
            space: Space::of(directory),
        })
    }

    /// The generation that is `subject`, if there is one.
    #[must_use]
    pub fn find(&self, subject: &Subject) -> Option<&Found> {
        let is = |found: &&Found| found.generation.subject() == *subject;
        self.generations.iter().find(is)
    }
}

impl Boot {
    /// Reads entries and settings of the `$BOOT` at `directory` (a path of this process).
    ///
    /// # Errors
    /// When something is there and cannot be read.
    pub fn read(directory: &Path) -> Result<Self, Error> {
        let mut boot = Self {
            directory: directory.to_owned(),
            loader_conf: text(&directory.join(LOADER_CONF))?,
            ..Self::default()
        };
        for folder in [ENTRIES, "loader", payload::DIRECTORY] {
            for name in names(&directory.join(folder))? {
                if durable::is_leftover(&name) {
                    boot.leftovers.push(format!("{folder}/{name}"));
                } else if folder == ENTRIES
                    && let Some(parsed) = EntryName::parse(&name)
                    && let Some(text) = text(&directory.join(folder).join(&name))?
                {
                    let entry = Entry::parse(&text);
                    let file = EntryFile {
                        name: parsed,
                        entry,
                        text,
                    };
                    boot.entries.insert(name, file);
                }
            }
        }
        Ok(boot)
    }

    /// The loader as it will find this `$BOOT`. An entry whose program is not there is not listed.
    ///
    /// # Errors
    /// When it cannot be told whether a file is there.
    pub fn loader(&self, band: Band, variables: LoaderVariables) -> Result<Loader, Error> {
        let mut entries = Vec::new();
        for file in self.entries.values() {
            let Some(program) = file.entry.linux.as_ref().or(file.entry.efi.as_ref()) else {
                continue;
            };
            let path = self.directory.join(program.trim_start_matches('/'));
            let there = path.try_exists();
            if there.map_err(|source| Error::Read { path, source })? {
                entries.push(Listed {
                    name: file.name.clone(),
                    entry: file.entry.clone(),
                });
            }
        }
        Ok(Loader {
            band,
            entries,
            conf: LoaderConf::parse(self.loader_conf.as_deref().unwrap_or_default()),
            variables,
        })
    }

    /// The entry files with this stem: normally one.
    pub fn files_of(&self, stem: &str) -> impl Iterator<Item = (&String, &EntryFile)> {
        self.entries
            .iter()
            .filter(move |(_, file)| file.name.stem == stem)
    }
}

fn read_payload(directory: &Path) -> Result<BTreeMap<String, Content>, Error> {
    let mut payload = BTreeMap::new();
    for name in names(directory)? {
        if payload::kind_of(&name).is_some() {
            let path = directory.join(&name);
            // What cannot be read is as good as damaged: it is written again.
            if let Ok(content) = Content::of_file(&path) {
                payload.insert(name, content);
            }
        }
    }
    Ok(payload)
}

/// The names in a directory; none when it is not there. A name that is no UTF-8 is nobody's we know.
fn names(directory: &Path) -> Result<Vec<String>, Error> {
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

/// The text of a small file; None when it is not there or is none (a directory). Bytes that are no UTF-8 are
/// replaced: such a file is not ours, and the loader has its own opinion of it.
fn text(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::IsADirectory
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
