//! Small things done with files and trees. Nothing here needs to survive a power cut: it is all under `target/`.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command;

/// Writes a file and its parent directories.
///
/// # Errors
/// As the file system says.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    create_parent(path)?;
    File::create(path)
        .and_then(|mut file| file.write_all(content.as_ref()))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Makes `link` point at `target`, replacing what is there.
///
/// # Errors
/// As the file system says.
pub fn link(target: impl AsRef<Path>, link: &Path) -> Result<()> {
    create_parent(link)?;
    remove(link)?;
    symlink(target, link).with_context(|| format!("cannot link {}", link.display()))
}

/// Removes a file, a link or a whole tree. Nothing there is fine.
///
/// # Errors
/// As the file system says.
pub fn remove(path: &Path) -> Result<()> {
    let gone = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match gone {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Copies a tree with owners, modes and times, into a directory that does not exist yet. Not what is mounted in it.
///
/// # Errors
/// As `cp` says.
pub fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    command::run(
        "cp",
        [
            "-a".as_ref(),
            "--one-file-system".as_ref(),
            "--reflink=auto".as_ref(),
            from.as_os_str(),
            to.as_os_str(),
        ],
    )?;
    Ok(())
}

/// Copies the content of one tree over another, owned by root.
///
/// # Errors
/// As `cp` says.
pub fn overlay(from: &Path, onto: &Path) -> Result<()> {
    let from = from.join(".");
    command::run(
        "cp",
        [
            "-r".as_ref(),
            "--no-dereference".as_ref(),
            from.as_os_str(),
            onto.as_os_str(),
        ],
    )?;
    Ok(())
}

/// Copies a disk image, holes and all.
///
/// # Errors
/// As `cp` says.
pub fn copy_sparse(from: &Path, to: &Path) -> Result<()> {
    create_parent(to)?;
    let flags = ["--sparse=always", "--reflink=auto"].map(AsRef::as_ref);
    command::run(
        "cp",
        flags.into_iter().chain([from.as_os_str(), to.as_os_str()]),
    )?;
    Ok(())
}

/// The entries of a directory, sorted by name. No directory: none.
///
/// # Errors
/// As the file system says.
pub fn sorted_entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("cannot list {}", dir.display()))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

/// The lines of one of the rig's lists (`tests/guest/`), without comments and blanks.
///
/// # Errors
/// As the file system says.
pub fn list(path: &Path) -> Result<Vec<String>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = text.lines().map(str::trim);
    Ok(lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect())
}

fn create_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))
}
