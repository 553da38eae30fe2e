//! Which files entries need: what may not go as long as they stay.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use crate::entry::EntryFile;
use systemd_boot_model::{Entry, lines};

/// What some entries need, on one partition.
pub(super) struct Needed<'a> {
    /// The entries that are there, whoever wrote them. A foreign one has paths in other letters, with other slashes, and
    /// in lines that we know nothing of.
    files: Vec<&'a EntryFile>,
    /// As these write them. Where nothing is to go, nobody asks.
    there: OnceCell<BTreeSet<&'a str>>,
    /// The texts of those that are to come.
    coming: Vec<&'a str>,
    /// As these write them. Where nothing changes, nobody asks.
    to_come: OnceCell<BTreeSet<String>>,
}

impl<'a> Needed<'a> {
    /// What `files` need.
    pub(super) fn by(files: impl IntoIterator<Item = &'a EntryFile>) -> Self {
        Self {
            files: files.into_iter().collect(),
            there: OnceCell::new(),
            coming: Vec::new(),
            to_come: OnceCell::new(),
        }
    }

    /// And what the entries with these texts will.
    pub(super) fn and(mut self, texts: impl IntoIterator<Item = &'a String>) -> Self {
        self.coming.extend(texts.into_iter().map(String::as_str));
        self
    }

    /// Whether one of them needs the file at `path`.
    pub(super) fn has(&self, path: &str) -> bool {
        let texts = self.files.iter().map(|file| file.text.as_str());
        let mut texts = texts.chain(self.coming.iter().copied());
        self.there().contains(path)
            || self.to_come().contains(path)
            || texts.any(|text| points_at(text, path))
    }

    fn there(&self) -> &BTreeSet<&'a str> {
        self.there.get_or_init(|| {
            let mut there = BTreeSet::new();
            for file in &self.files {
                there.extend(file.entry.needs());
            }
            there
        })
    }

    fn to_come(&self) -> &BTreeSet<String> {
        self.to_come.get_or_init(|| {
            let entries = self.coming.iter().map(|text| Entry::parse(text));
            let needs = |entry: Entry| entry.needs().map(str::to_owned).collect::<Vec<_>>();
            entries.flat_map(needs).collect()
        })
    }
}

/// Whether an entry with this text needs the file at `path`, however it writes that: FAT knows no case, and the loader
/// takes either slash.
fn points_at(text: &str, path: &str) -> bool {
    let path = path.to_lowercase();
    let is_it = |value: &str| {
        let value = value.trim().replace('\\', "/");
        let parts: Vec<&str> = value.split('/').filter(|part| !part.is_empty()).collect();
        parts.join("/") == path
    };
    lines(&text.to_lowercase())
        .any(|(_, value)| is_it(value) || value.split_whitespace().any(is_it))
}
