//! An entry of the menu: what it is called, and what becomes of its name when it is started.

use crate::entry::Entry;
use crate::name::{EntryName, Tries};
use crate::partition::Partition;
use crate::release::ReleaseRange;

/// What kind of program an entry starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// A `linux` line.
    Linux,
    /// An `efi` line.
    Efi,
    /// A `uki` line.
    Uki,
    /// A `uki-url` line.
    Url,
    /// The entry is the program: a unified kernel image in [`IMAGES`](crate::IMAGES).
    Image,
}

/// An entry the loader lists: what it starts is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its file's name, to the letter.
    pub file: String,
    /// The partition its file is on.
    pub on: Partition,
    /// Its file's name, taken apart.
    pub name: EntryName,
    /// What kind of program it starts.
    pub program: Program,
    /// Which profile of an image. 0: the first, or what is no matter of profiles.
    pub profile: u32,
    /// What the profile calls itself.
    pub profile_id: Option<String>,
    /// What of the file the choice depends on: no initrds, no options, and at most one of `linux`, `efi` and `uki`. Of
    /// an image: what is in it.
    pub entry: Entry,
}

impl Listed {
    pub(crate) fn is_bad(&self) -> bool {
        matches!(self.name.tries, Some(Tries { left: 0, .. }))
    }

    /// Whether it is an image's profile that is not the first.
    pub(crate) fn is_further_profile(&self) -> bool {
        self.program == Program::Image && self.profile > 0
    }

    /// What tells it from the first profile of the same image. Empty: it is the first, or no image.
    pub(crate) fn profile_mark(&self) -> String {
        match &self.profile_id {
            _ if !self.is_further_profile() => String::new(),
            Some(id) => format!("@{id}"),
            None => format!("@{}", self.profile),
        }
    }

    /// What patterns are matched with, and what `LoaderEntrySelected` will say.
    #[must_use]
    pub fn id(&self, release: ReleaseRange) -> String {
        let profile = self.profile_mark();
        if self.program == Program::Image && release.names_profiles_last() {
            return self.id_without_profile(release) + &profile;
        }
        // The counter is taken off last there, and the profile with it.
        self.id_without_counter(release)
            .unwrap_or_else(|| format!("{}{profile}", self.file).to_ascii_lowercase())
    }

    /// What the menu is ordered by: for an image's further profiles what they have in common with the first.
    pub(crate) fn id_without_profile(&self, release: ReleaseRange) -> String {
        let forgets = !self.is_further_profile() || release.names_profiles_last();
        let id = self.id_without_counter(release).filter(|_| forgets);
        id.unwrap_or_else(|| self.file.to_ascii_lowercase())
    }

    /// The id of a file with a counter, where that is no part of it.
    fn id_without_counter(&self, release: ReleaseRange) -> Option<String> {
        if self.name.tries.is_none() || release.keeps_counter_in_id() {
            return None;
        }
        let mut id = self.file_called(&EntryName {
            tries: None,
            ..self.name.clone()
        });
        if self.program != Program::Image && release.lowers_all_ids() {
            id.make_ascii_lowercase();
        }
        Some(id)
    }

    /// What its file is called by another name.
    fn file_called(&self, name: &EntryName) -> String {
        match self.program {
            Program::Image => name.image_file(),
            _ => name.to_string(),
        }
    }

    /// Gives its file another counter.
    pub fn set_tries(&mut self, tries: Tries) {
        self.name.tries = Some(tries);
        self.file = self.file_called(&self.name);
    }

    /// The counter its file gets when it is started. None: the boot is not counted.
    pub(crate) fn after_a_boot(&self, release: ReleaseRange) -> Option<Tries> {
        let tries = self.name.tries?.after_a_boot();
        let counts = match self.program {
            Program::Linux | Program::Uki | Program::Image => true,
            Program::Efi => release.counts_efi(),
            // The system could not tell what to bless.
            Program::Url => false,
        };
        counts.then_some(tries)
    }

    /// Whether it is in the same file: profiles are.
    pub(crate) fn shares_file(&self, other: &Self) -> bool {
        let is_image = |listed: &Self| listed.program == Program::Image;
        (self.on, &self.file) == (other.on, &other.file) && is_image(self) == is_image(other)
    }
}
