//! What nixpkgs' systemd-boot builders leave on `$BOOT`: recognising it, and writing it.
//!
//! Source: `nixos/modules/system/boot/loader/systemd-boot/systemd-boot-builder.py`. There are two schemes of names:
//!
//! - numbered (up to 2025): `nixos[-PROFILE]-generation-N[-specialisation-NAME].conf`;
//! - hashed (from 2026 on): `nixos-HASH.conf`, HASH being the SHA-256 of the file's bytes.
//!
//! Either may carry a counter. Kernels and initrds lie in `EFI/nixos`, named after the store paths they come from.
//!
//! A name says nothing about whose entry it is: two machines may share an ESP, and both have a `nixos-generation-3`.
//! The closure does ([`init_of`]).

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::boot_partition::Place;
use crate::entry::EntryFile;
use crate::generation::{GenerationId, Subject};
use crate::payload::{Content, Digest};
use systemd_boot_model::{Entry, EntryName, Partition};

/// Their directory on `$BOOT`. Their `.extra-files` and other directories in it are never looked into.
pub const DIRECTORY: &str = "EFI/nixos";

/// All their payload ends so, initrds as well.
const ENDING: &str = ".efi";
/// Entries start so in both schemes.
const PREFIX: &str = "nixos";
/// The profile that is not named in a file's name.
const SYSTEM: &str = "system";
/// Their default for bootspec's `sortKey`.
const SORT_KEY: &str = "nixos";
/// Of a SHA-256 in a name, all hexadecimal digits.
const HASH_DIGITS: usize = 64;
/// The longest file name on FAT, in characters.
const NAME_LIMIT: usize = 255;

/// The closure that an entry of theirs starts. None: it is not theirs, or does not look as they write it.
#[must_use]
pub fn closure_of(file: &EntryFile) -> Option<PathBuf> {
    let stem = file.name.stem.as_str();
    let is_theirs = is_numbered(stem) || is_hashed(stem, &file.text);
    is_theirs.then(|| init_of(&file.entry)).flatten()
}

/// The closure in an entry's `init=CLOSURE/init`, whoever wrote it. None: no such word, or several of them.
#[must_use]
pub fn init_of(entry: &Entry) -> Option<PathBuf> {
    let mut words = entry.options.split_whitespace();
    let mut inits = words.by_ref().filter_map(|word| word.strip_prefix("init="));
    let (init, None) = (inits.next()?, inits.next()) else {
        return None;
    };
    let closure = Path::new(init.strip_suffix("/init")?);
    let is_plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    (closure.is_absolute() && closure.components().all(is_plain)).then(|| closure.to_owned())
}

/// `nixos[-PROFILE]-generation-N[-specialisation-NAME]`. A profile's name may hold hyphens, and so may a
/// specialisation's, a whole `-generation-` even: any way to read it will do.
fn is_numbered(stem: &str) -> bool {
    let Some(rest) = stem.strip_prefix(PREFIX) else {
        return false;
    };
    rest.match_indices("-generation-").any(|(at, infix)| {
        let (profile, tail) = (rest.get(..at), rest.get(at + infix.len()..));
        let profile = profile.unwrap_or_default();
        let is_profile = profile.is_empty() || profile.starts_with('-') && profile.len() > 1;
        is_profile && tail.is_some_and(is_number_and_specialisation)
    })
}

fn is_number_and_specialisation(text: &str) -> bool {
    let (number, name) = match text.split_once("-specialisation-") {
        Some((number, name)) => (number, Some(name)),
        None => (text, None),
    };
    // `007` and `+7` are not how anybody writes a number here.
    let is_number = number.parse::<u64>().is_ok_and(|n| n.to_string() == number);
    is_number && name != Some("")
}

fn is_hashed(stem: &str, text: &str) -> bool {
    hash_in(stem).is_some_and(|hash| hash == sha256(text))
}

fn hash_in(stem: &str) -> Option<&str> {
    let hash = stem.strip_prefix(PREFIX)?.strip_prefix('-')?;
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (hash.len() == HASH_DIGITS && hash.bytes().all(hex)).then_some(hash)
}

/// Whether a file has a name of theirs and says nothing: what a power cut leaves of an entry that is being removed. The
/// loader does not list it, and it is no machine's.
#[must_use]
pub fn is_husk(file: &EntryFile) -> bool {
    let stem = file.name.stem.as_str();
    let says_nothing = file.entry == Entry::default() && !file.text.contains("uki");
    says_nothing && (is_numbered(stem) || hash_in(stem).is_some())
}

/// In hexadecimal.
pub(crate) fn sha256(text: &str) -> String {
    Digest::from(Sha256::new_with_prefix(text)).to_string()
}

/// The name of a file of theirs in [`DIRECTORY`] that an entry points at by `path`. None: it lies somewhere else.
#[must_use]
pub fn payload_of(path: &str) -> Option<&str> {
    let name = path.trim_start_matches('/').strip_prefix(DIRECTORY)?;
    is_payload(name.strip_prefix('/')?)
}

/// `name`, if a file of that name in [`DIRECTORY`] can be payload.
pub(crate) fn is_payload(name: &str) -> Option<&str> {
    let is_plain = !name.contains(['/', '\\']) && !name.starts_with('.');
    (is_plain && name.ends_with(ENDING)).then_some(name)
}

/// The payload of theirs that an entry needs, by name in [`DIRECTORY`]. None: it needs something somewhere else, or is
/// none that starts a kernel.
#[must_use]
pub fn payload_of_entry(entry: &Entry) -> Option<Vec<&str>> {
    entry.linux.as_ref()?;
    let paths = entry.linux.iter().chain(&entry.initrds);
    paths
        .chain(&entry.devicetree)
        .map(|path| payload_of(path))
        .collect()
}

/// What they call the payload made from the file at `source` (a path of this process, links followed):
/// `HASH-NAME-BASE.efi`, or `HASH-NAME.efi` if the store path is the file. None: it is not in the store, or FAT cannot
/// hold such a name.
#[must_use]
pub fn payload_name(source: &Path) -> Option<String> {
    let parts: Vec<&str> = source
        .components()
        .map(|part| part.as_os_str().to_str())
        .collect::<Option<_>>()?;
    let store = parts
        .windows(2)
        .rposition(|pair| pair == ["nix", "store"])?;
    let (top, base) = (parts.get(store + 2)?, parts.last()?);
    let name = if parts.len() == store + 3 {
        format!("{top}{ENDING}")
    } else {
        format!("{top}-{base}{ENDING}")
    };
    fits_fat(&name).then_some(name)
}

/// Whether FAT, and every driver of it, can hold a file of this name.
fn fits_fat(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+= ".contains(&byte);
    name.len() <= NAME_LIMIT && name.bytes().all(is_plain)
}

/// What lies in [`DIRECTORY`] of both partitions of a place, by name.
pub type Payload = BTreeMap<(Partition, String), Content>;

/// Reads what lies in [`DIRECTORY`] of `place`. A file that cannot be read is as good as none.
///
/// # Errors
/// When the directory is there and cannot be listed.
pub fn read_payload(place: &Place) -> io::Result<Payload> {
    let mut found = Payload::new();
    let esp = place.has_xbootldr().then_some(Partition::Esp);
    for on in esp.into_iter().chain([Partition::Boot]) {
        let listing = match std::fs::read_dir(place.directory(on).join(DIRECTORY)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            listing => listing?,
        };
        for item in listing {
            let item = item?;
            let name = item.file_name().into_string().ok();
            let name = name.filter(|name| is_payload(name).is_some());
            if let Some(name) = name
                && let Ok(content) = Content::of_file(&item.path())
            {
                found.insert((on, name), content);
            }
        }
    }
    Ok(found)
}

/// An entry as they would write it, without file name: `entry` says what is started.
#[must_use]
pub fn entry(subject: &Subject, label: &str, entry: &Entry) -> Entry {
    let id = &subject.generation;
    let mut title = "NixOS".to_owned();
    if id.profile() != SYSTEM {
        title.extend([" [", id.profile(), "]"]);
    }
    if let Some(name) = id.specialisation() {
        title.extend([" (", name, ")"]);
    }
    Entry {
        title: Some(title),
        sort_key: Some(SORT_KEY.to_owned()),
        version: Some(format!("Generation {} {label}", id.number())),
        ..entry.clone()
    }
}

/// The file name for such an entry: the numbered one. None: the loader would take a part of it for a counter, or FAT
/// cannot hold it.
#[must_use]
pub fn numbered_name(id: &GenerationId) -> Option<String> {
    let mut name = PREFIX.to_owned();
    if id.profile() != SYSTEM {
        name.extend(["-", id.profile()]);
    }
    name.extend(["-generation-", &id.number().to_string()]);
    if let Some(specialisation) = id.specialisation() {
        name.extend(["-specialisation-", specialisation]);
    }
    let file = format!("{name}.conf");
    let read = EntryName::parse(&file)?;
    (read.stem == name && fits_fat(&file)).then_some(file)
}

/// The file name for an entry with this text, in the other scheme.
#[must_use]
pub fn hashed_name(text: &str) -> String {
    format!("{PREFIX}-{}.conf", sha256(text))
}

#[cfg(test)]
mod tests;
