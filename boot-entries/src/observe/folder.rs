//! What lies on one partition: entries, images, names of payload.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use nix::errno::Errno;

use super::{ENTRIES, Error, names};
use crate::bounded;
use crate::durable;
use crate::entry::{self, EntryFile};
use crate::name::OurName as _;
use crate::nixpkgs;
use crate::owner::UNREADABLE;
use crate::payload;
use crate::uki;
use systemd_boot_model::{Entry, EntryName, IMAGES, Partition, Uki};

/// What is read of one partition.
#[derive(Default)]
pub(super) struct Folder {
    pub(super) entries: BTreeMap<String, EntryFile>,
    pub(super) leftovers: Vec<(Partition, String)>,
    pub(super) payload: Vec<String>,
    pub(super) nixpkgs: BTreeSet<(Partition, String)>,
    pub(super) images: BTreeMap<(Partition, String), Uki>,
    pub(super) unreadable: Vec<String>,
}

impl Folder {
    /// Reads the partition at `directory` (a path of this process).
    pub(super) fn read(directory: &Path, on: Partition) -> Result<Self, Error> {
        let mut read = Self::default();
        // Payload before entries: most of these start something that was listed then.
        for folder in [payload::DIRECTORY, ENTRIES, "loader", nixpkgs::DIRECTORY] {
            let folder_here = directory.join(folder);
            for name in names(&folder_here)? {
                if durable::is_leftover(&name) {
                    read.leftovers.push((on, format!("{folder}/{name}")));
                } else if folder == nixpkgs::DIRECTORY {
                    let name = nixpkgs::is_payload(&name).map(str::to_owned);
                    read.nixpkgs.extend(name.map(|name| (on, name)));
                } else if folder == ENTRIES
                    && let Some(parsed) = EntryName::parse(&name)
                {
                    read.entry((directory, &folder_here), on, &name, parsed)?;
                } else if folder == payload::DIRECTORY && payload::kind_of(&name).is_some() {
                    read.payload.push(name);
                }
            }
        }
        for name in names(&directory.join(IMAGES))? {
            if name.to_ascii_lowercase().ends_with(".efi") {
                let image = read.image(&directory.join(IMAGES).join(&name));
                read.images.insert((on, name), image);
            }
        }
        Ok(read)
    }

    /// What an image says. It is not ours: one that cannot be read stops nobody, and the loader lists no such image.
    fn image(&mut self, path: &Path) -> Uki {
        uki::read(path).unwrap_or_else(|error| {
            let shown = path.display();
            self.unreadable
                .push(format!("{shown} is passed over: {error}"));
            Uki::default()
        })
    }

    /// Reads one entry file, in a folder of the partition at `directory`. One that cannot be read stops nobody: a foreign one is passed over, and ours is damaged,
    /// that is, a text that starts nothing.
    fn entry(
        &mut self,
        (directory, folder): (&Path, &Path),
        on: Partition,
        file: &str,
        name: EntryName,
    ) -> Result<(), Error> {
        let path = folder.join(file);
        let text = match bounded::read_bytes(&path, entry::LONGEST) {
            // Bytes that are no UTF-8 are replaced: such a file is not ours, and the loader has its own opinion of it.
            Ok(bytes) => String::from_utf8(bytes)
                .unwrap_or_else(|no| String::from_utf8_lossy(no.as_bytes()).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                let shown = path.display();
                self.unreadable
                    .push(format!("{shown} is passed over: {error}"));
                // A directory can be neither replaced nor removed.
                let is_file = path.symlink_metadata().is_ok_and(|found| found.is_file());
                if !(name.is_ours() && is_file) {
                    return Ok(());
                }
                UNREADABLE.to_owned()
            }
        };
        let entry = Entry::parse(&text);
        let read = EntryFile {
            on,
            name,
            has_program: self.has_program(directory, &entry, &text)?,
            entry,
            text,
        };
        self.entries.insert(file.to_owned(), read);
        Ok(())
    }

    /// Whether what the loader starts for `entry`, which has this text, is there, on the partition at `directory`.
    ///
    /// The text may be anybody's, and say anything: a path that no file can have is that of no file.
    fn has_program(&self, directory: &Path, entry: &Entry, text: &str) -> Result<bool, Error> {
        let program = match (&entry.linux, &entry.efi) {
            (None, None) => entry.uki.as_deref(),
            (Some(one), None) | (None, Some(one)) => Some(one.as_str()),
            (Some(_), Some(_)) => {
                systemd_boot_model::last_program(text).map(|(_, program)| program)
            }
        };
        let Some(program) = program else {
            return Ok(false);
        };
        // The loader takes either slash.
        let program = program.replace('\\', "/");
        let program = program.trim_start_matches('/');
        let is_listed = |name: &str| {
            self.payload
                .binary_search_by(|p| p.as_str().cmp(name))
                .is_ok()
        };
        if payload::name_of(program).is_some_and(is_listed) {
            return Ok(true);
        }
        let path = directory.join(program);
        match path.try_exists() {
            Err(source) if source.raw_os_error() == Some(Errno::EIO as i32) => {
                Err(Error::Read { path, source })
            }
            there => Ok(there.unwrap_or(false)),
        }
    }
}
