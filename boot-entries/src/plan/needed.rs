//! Which files entries need: what may not go as long as they stay.

use std::collections::BTreeSet;

use crate::entry::{Entry, EntryFile};
use crate::lines::lines;

/// What some entries need, on one partition.
pub(super) struct Needed<'a> {
    /// As we write them.
    paths: BTreeSet<String>,
    /// A stranger writes paths in other letters, with other slashes, and in lines that we know nothing of.
    texts: Vec<&'a str>,
}

impl<'a> Needed<'a> {
    /// What `files` need.
    pub(super) fn by(files: impl IntoIterator<Item = &'a EntryFile>) -> Self {
        let mut needed = Self {
            paths: BTreeSet::new(),
            texts: Vec::new(),
        };
        for file in files {
            needed.paths.extend(file.entry.needs());
            needed.texts.push(&file.text);
        }
        needed
    }

    /// And what the entries with these texts will.
    pub(super) fn and(mut self, texts: impl IntoIterator<Item = &'a String>) -> Self {
        for text in texts {
            self.paths.extend(Entry::parse(text).needs());
            self.texts.push(text);
        }
        self
    }

    /// Whether one of them needs the file at `path`.
    pub(super) fn has(&self, path: &str) -> bool {
        self.paths.contains(path) || self.texts.iter().any(|text| points_at(text, path))
    }
}

/// Whether an entry with this text needs the file at `path`, however it writes that: FAT knows no case, and the loader takes
/// either slash.
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
