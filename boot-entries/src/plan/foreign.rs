//! An entry of somebody else's that is known to boot this machine: Debian's, another tool's, a unified kernel image.

use crate::entry::EntryFile;
use crate::name::OurName as _;
use crate::observe::BootFiles;
use systemd_boot_model::{Entry, EntryName, IMAGES, Partition};

/// What starts it, as an entry file could say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Foreign {
    /// The partition that its paths are on.
    pub(super) on: Partition,
    /// What `default` in loader.conf calls it.
    pub(super) id: String,
    /// What it does.
    pub(super) entry: Entry,
}

impl Foreign {
    fn of_file(file: &EntryFile) -> Self {
        let mut entry = file.entry.clone();
        entry.title.get_or_insert_with(|| file.name.stem.clone());
        // Of two programs one has booted, and what is written of both may be in another order.
        if entry.linux.is_some() && entry.efi.is_some() {
            match systemd_boot_model::last_program(&file.text) {
                Some(("linux", _)) => entry.efi = None,
                _ => entry.linux = None,
            }
        }
        Self {
            on: file.on,
            id: file.name.to_string(),
            entry,
        }
    }

    fn of_image(on: Partition, image: &str) -> Self {
        Self {
            on,
            id: image.to_owned(),
            entry: Entry {
                title: Some(image.to_owned()),
                efi: Some(format!("/{IMAGES}/{image}")),
                ..Entry::default()
            },
        }
    }

    /// The one that this boot was started from, if `booted` (`LoaderEntrySelected`) is not ours. One that is still
    /// counted has not shown anything, and one that lacks what it starts shows nothing any more.
    pub(super) fn booted(boot: &BootFiles, booted: &str) -> Option<Self> {
        let name = EntryName::parse(booted);
        all(boot).find(|foreign| match &name {
            Some(name) => {
                let own = EntryName::parse(&foreign.id);
                own.is_some_and(|own| own.stem.eq_ignore_ascii_case(&name.stem))
            }
            None => foreign.id.eq_ignore_ascii_case(booted),
        })
    }

    /// The one that `stand_in`, of ours, was copied from, if it is still there.
    pub(super) fn behind(boot: &BootFiles, stand_in: &EntryFile) -> Option<Self> {
        all(boot).find(|foreign| foreign.starts_what(stand_in))
    }

    fn starts_what(&self, file: &EntryFile) -> bool {
        let what = |entry: &Entry| Entry {
            title: None,
            sort_key: None,
            machine_id: None,
            version: None,
            ..entry.clone()
        };
        self.on == file.on && what(&self.entry) == what(&file.entry)
    }
}

/// All that could be started: entry files, then images.
fn all(boot: &BootFiles) -> impl Iterator<Item = Foreign> {
    let files = boot.all().map(|(_, file)| file).filter(|file| {
        let is_ours = file.name.is_ours() || file.name.is_stand_in();
        !is_ours && file.name.tries.is_none() && boot.has_payload(file)
    });
    let images = boot.images.keys().filter(|(_, image)| {
        let name = EntryName::of_image(image);
        name.is_some_and(|name| name.tries.is_none())
    });
    files
        .map(Foreign::of_file)
        .chain(images.map(|(on, image)| Foreign::of_image(*on, image)))
}

#[cfg(test)]
mod tests;
