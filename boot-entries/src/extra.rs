//! Further files on `$BOOT` that a closure asks for: memory testers, shells, drivers, and entries for them.
//!
//! What we put there is on record, with its digest, so that it can be taken away again. A file that somebody else put
//! there, or has changed since, is left alone. Several systems may share the record: each line says whose it is.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::digests::Digests;
use crate::owner::Owner;
use crate::payload::{self, Content};
use crate::{bounded, durable, nixpkgs};
use systemd_boot_model::{ENTRIES, EntryName, IMAGES, LOADER_CONF};

/// Where the record is, on `$BOOT`: a digest, a path, and the owner if there is one, on each line.
pub const RECORD: &str = "EFI/lastgood/extra-files";
/// A record of a thousand files is smaller, in bytes.
const LIMIT: u64 = 256 * 1024;
/// What FAT and the loader can do with a name, in bytes.
const LONGEST: usize = 255;
/// Our entries start so, of whatever kind, and the loader's settings prefer what starts so: an extra entry that did
/// would be started unasked, and no proof knows what is in it.
const PREFIX: &str = "lastgood-";
/// The loader itself is not an extra file.
const LOADER: [&str; 2] = ["efi/systemd/", "efi/boot/bootx64.efi"];

/// What must stay directories.
const DIRECTORIES: [&str; 6] = [
    payload::DIRECTORY,
    ENTRIES,
    "EFI/systemd",
    "EFI/BOOT",
    IMAGES,
    nixpkgs::DIRECTORY,
];

/// A file to put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    /// Where to, on `$BOOT`; [`check`]ed.
    pub path: String,
    /// Where from, as a path of this process.
    pub source: PathBuf,
    /// Its bytes.
    pub content: Content,
}

impl Extra {
    /// Whether it is an entry: the loader must not see it before what it starts is there.
    #[must_use]
    pub fn is_entry(&self) -> bool {
        self.path.starts_with(ENTRIES)
    }
}

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extras {
    /// What was put there, and by whom.
    pub record: Record,
    /// Whether the record is there and makes no sense. What was on it is nobody's now, and stays.
    pub is_damaged: bool,
    /// What lies under those paths, and under those that are wanted.
    pub present: BTreeMap<String, Content>,
    /// Under which of these no file can be put, and why: there is a directory, or there is none above it.
    pub blocked: BTreeMap<String, String>,
    /// What interrupted runs left beside them, as paths on `$BOOT`.
    pub leftovers: BTreeSet<String>,
}

impl Extras {
    /// Reads the `$BOOT` at `directory` (a path of this process), which is to have `wanted`. Files that `digests` knows
    /// are not read.
    ///
    /// # Errors
    /// When the record is there and cannot be read.
    pub fn read(directory: &Path, wanted: &[Extra], digests: &mut Digests) -> io::Result<Self> {
        let mut extras = Self::default();
        match bounded::read(&directory.join(RECORD), LIMIT) {
            Ok(text) => (extras.record, extras.is_damaged) = read(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => extras.is_damaged = true,
            Err(error) => return Err(error),
        }
        for path in extras
            .record
            .keys()
            .map(|(path, _)| path)
            .chain(wanted.iter().map(|extra| &extra.path))
        {
            match digests.on_boot(&directory.join(path)) {
                Ok(content) => drop(extras.present.insert(path.clone(), content)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => drop(extras.blocked.insert(path.clone(), error.to_string())),
            }
            let left = leftover_of(path);
            if directory.join(&left).is_file() {
                extras.leftovers.insert(left);
            }
        }
        Ok(extras)
    }
}

/// Digests, by path and by who has put that there: two, while a file is replaced.
pub type Record = BTreeMap<(String, Option<Owner>), BTreeSet<String>>;

/// The record with this text, and whether it is damaged: a power cut while it was replaced may have left a part of it,
/// or nothing.
pub(crate) fn read(text: &str) -> (Record, bool) {
    let record = parse(text);
    let is_damaged = text.is_empty() || text_of(&record) != text;
    (record, is_damaged)
}

/// What a run that is interrupted while it puts a file at `path` leaves. No directory but a few is swept as a whole.
pub(crate) fn leftover_of(path: &str) -> String {
    let part = durable::part_name(Path::new(path));
    match path.rsplit_once('/') {
        Some((directory, _)) => format!("{directory}/{part}"),
        None => part,
    }
}

fn parse(text: &str) -> Record {
    let mut record = Record::new();
    let lines = text.lines().filter_map(|line| {
        let (digest, rest) = line.split_once(' ')?;
        let (path, owner) = match rest.split_once(' ') {
            Some((path, owner)) => (path, Some(owner.parse().ok()?)),
            None => (rest, None),
        };
        check_place(path).ok()?;
        Some(((path.to_owned(), owner), digest.to_owned()))
    });
    for (key, digest) in lines {
        record.entry(key).or_default().insert(digest);
    }
    record
}

/// The text of a record.
#[must_use]
pub fn text_of(record: &Record) -> String {
    let mut text = String::new();
    for ((path, owner), digests) in record {
        let owner = owner
            .as_ref()
            .map_or_else(String::new, |owner| format!(" {owner}"));
        for digest in digests {
            text.extend([digest, " ", path, &owner, "\n"]);
        }
    }
    text
}

/// Whether a file may be put at `path` on `$BOOT`.
///
/// # Errors
/// Why not.
pub fn check(path: &str) -> Result<(), String> {
    check_place(path)?;
    let lower = path.to_ascii_lowercase();
    let in_directory = |directory: &str| {
        let rest = lower.strip_prefix(&directory.to_ascii_lowercase())?;
        // The loader looks into no directory below it.
        rest.strip_prefix('/').filter(|name| !name.contains('/'))
    };
    // The loader renames what it counts: then the file is there under a name that nobody knows, and once more under
    // this one.
    let name = in_directory(IMAGES).and_then(EntryName::of_image);
    let name = name.or_else(|| in_directory(ENTRIES).and_then(EntryName::parse));
    if name.is_some_and(|name| name.tries.is_some()) {
        return Err(format!(
            "{path:?} has a counter, which the loader would change"
        ));
    }
    Ok(())
}

/// [`check`], but for counters: what a former run has put there with one is still ours to remove.
fn check_place(path: &str) -> Result<(), String> {
    let no = |why: &str| Err(format!("{path:?} {why}"));
    let parts = || path.split('/');
    if path.len() > LONGEST || parts().any(|part| part.is_empty() || part.starts_with('.')) {
        return no("must be a path relative to $BOOT, without `.`, `..` and hidden names");
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/+-_.".contains(&b);
    if !path.bytes().all(plain) {
        return no("may have letters, digits, `+`, `-`, `_` and `.` in its names");
    }
    // FAT does not tell large letters from small ones.
    let path_lower = path.to_ascii_lowercase();
    let is_below = |directory: &str| {
        let directory = directory.to_ascii_lowercase();
        path_lower
            .strip_prefix(&directory)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    let is_above = |directory: &str| {
        let directory = directory.to_ascii_lowercase();
        directory
            .strip_prefix(&path_lower)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if DIRECTORIES.into_iter().any(is_above) {
        return no("is a directory of lastgood's, or of the loader's");
    }
    let name = parts().next_back().unwrap_or_default();
    let name_lower = name.to_ascii_lowercase();
    if is_below(payload::DIRECTORY)
        || path_lower == LOADER_CONF
        || LOADER.iter().any(|loader| path_lower.starts_with(loader))
        || is_below(ENTRIES) && name_lower.starts_with(PREFIX)
        || durable::is_leftover(name)
    {
        return no("is lastgood's own, or the loader's");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_nobodys_else() {
        for good in [
            "EFI/memtest86/memtest.efi",
            "loader/entries/memtest.conf",
            "loader/entries/memtest86+.conf",
            "EFI/memtest86+/x+3.conf",
            "EFI/Linux/tool.efi",
            "EFI/Linux/tool+.efi",
            "EFI/Linux/tool+3.txt",
            "EFI/Linux/tool.efi.extra.d/x+3.addon.efi",
            "EFI/tools/tool+3.efi",
            "EFI/Linux/sub/x+3.efi",
            "loader/entries/sub/x+3.conf",
            "a",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/a",
            "a//b",
            "a/../b",
            ".a",
            "a b",
            "ä",
            "efi/LASTGOOD/x",
            "Loader/loader.conf",
            "EFI/BOOT/bootx64.EFI",
            "EFI/systemd/systemd-bootx64.efi",
            "loader/entries/lastgood-1-00000000.conf",
            "loader/entries/Lastgood-1-00000000+3-0.conf",
            "loader/entries/lastgood-memtest.conf",
            "Loader/Entries/LASTGOOD-before-01234567.conf",
            "loader/entries/memtest+3.conf",
            "loader/entries/memtest+0-1.CONF",
            "EFI/Linux/tool+3.efi",
            "efi/LINUX/Tool+2-1.EFI",
            "loader",
            "LOADER/entries",
            "efi",
            "EFI/lastgood",
            "EFI/boot",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_record_is_read_as_it_is_written() {
        let digests = |digests: &[&str]| digests.iter().map(|d| (*d).to_owned()).collect();
        let record = Record::from([
            (("a/b".to_owned(), None), digests(&["12"])),
            (
                ("a/b".to_owned(), "0123abcd".parse().ok()),
                digests(&["56"]),
            ),
            (("c".to_owned(), None), digests(&["34", "56"])),
        ]);
        assert_eq!(parse(&text_of(&record)), record);
        assert_eq!(parse("12 ../x\nnonsense\n12 a x\n"), Record::new());
        // Such a path was taken once: the file is still ours, and the record is not damaged.
        let old = "12 EFI/Linux/tool+3.efi\n";
        assert_eq!(text_of(&parse(old)), old);
    }
}
