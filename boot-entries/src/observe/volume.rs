//! What is free on a partition, and what takes the rest, as far as a plan can change it.

use std::fs;
use std::path::Path;

use super::ENTRIES;
use crate::payload;
use crate::space::{Directory, Volume};

/// The directories that a plan adds names to.
const DIRECTORIES: [&str; 5] = ["", "loader", ENTRIES, "EFI", payload::DIRECTORY];

/// Looks at the partition mounted at `directory` (a path of this process). None: it cannot be told.
pub(super) fn read(directory: &Path) -> Option<Volume> {
    let found = nix::sys::statvfs::statvfs(directory).ok()?;
    let mut volume = Volume {
        free: found.blocks_available(),
        cluster: found.fragment_size().max(1),
        ..Volume::default()
    };
    for path in DIRECTORIES {
        add(&mut volume, directory, path);
    }
    Some(volume)
}

/// A directory that is not there is what a plan makes.
fn add(volume: &mut Volume, top: &Path, path: &str) {
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
        if let Ok(metadata) = item.metadata()
            && metadata.is_file()
            && !path.is_empty()
        {
            let file = format!("{path}/{name}");
            volume.files.insert(file, metadata.len());
        }
        directory.names.insert(name);
    }
    volume.directories.insert(path.to_owned(), directory);
}
