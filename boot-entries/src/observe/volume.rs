//! What is free on a partition, and what takes the rest, as far as a plan can change it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::ENTRIES;
use crate::space::{Directory, Volume};
use crate::{nixpkgs, payload};

/// The directories that a plan adds names to.
const DIRECTORIES: [&str; 8] = [
    "",
    "loader",
    ENTRIES,
    "EFI",
    payload::DIRECTORY,
    nixpkgs::DIRECTORY,
    "EFI/systemd",
    "EFI/BOOT",
];

/// Looks at the partition mounted at `directory` (a path of this process), where files have these `sizes` as far as is
/// known. None: it cannot be told.
pub(super) fn read(directory: &Path, sizes: &BTreeMap<String, u64>) -> Option<Volume> {
    let found = nix::sys::statvfs::statvfs(directory).ok()?;
    let mut volume = Volume {
        free: found.blocks_available(),
        cluster: found.fragment_size().max(1),
        ..Volume::default()
    };
    for path in DIRECTORIES {
        add(&mut volume, directory, path, sizes);
    }
    Some(volume)
}

/// A directory that is not there is what a plan makes.
fn add(volume: &mut Volume, top: &Path, path: &str, sizes: &BTreeMap<String, u64>) {
    let there = top.join(path);
    let (Ok(metadata), Ok(listing)) = (fs::metadata(&there), fs::read_dir(&there)) else {
        return;
    };
    let mut directory = Directory {
        size: metadata.len(),
        ..Directory::default()
    };
    for item in listing.flatten() {
        let name = item.file_name().to_string_lossy().into_owned();
        let is_file = item.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && !path.is_empty() {
            let file = format!("{path}/{name}");
            let size = sizes.get(&file).copied();
            if let Some(size) = size.or_else(|| item.metadata().ok().map(|found| found.len())) {
                volume.files.insert(file, size);
            }
        }
        directory.names.insert(name);
    }
    volume.directories.insert(path.to_owned(), directory);
}
