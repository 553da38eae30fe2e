//! A layout as a disk, without mounting anything.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use systemd_boot_model::{ENTRIES, IMAGES, Partition};

use super::layout::Layout;
use crate::{command, disk, files};

const MIB: u64 = 1 << 20;
/// The smallest that still is FAT32, with clusters of one sector.
const SIZE: u64 = 36 * MIB;
/// What the loader renames files in.
pub(super) const DIRECTORIES: [&str; 2] = [ENTRIES, IMAGES];
const XBOOTLDR: &str = "bc13c2ff-59e6-4262-a352-b275fd6f7172";

/// Where a partition begins.
pub(super) fn start(on: Partition) -> u64 {
    match on {
        Partition::Esp => MIB,
        Partition::Boot => MIB + SIZE,
    }
}

/// Writes `layout` to `image`; `extra` are further files of the ESP.
pub(super) fn write(image: &Path, layout: &Layout, extra: &[(&str, &[u8])]) -> Result<()> {
    let partitions = layout.partitions();
    let count = u64::try_from(partitions.len())?;
    let disk = File::create(image)?;
    disk.set_len(2 * MIB + count * SIZE)?;
    drop(disk);
    lay_out(image, partitions)?;
    for on in partitions {
        let tree = tempfile::tempdir()?;
        for directory in DIRECTORIES {
            fs::create_dir_all(tree.path().join(directory))?;
        }
        for program in &layout.programs {
            files::write(
                &tree.path().join(program.trim_start_matches('/')),
                "no program\n",
            )?;
        }
        if *on == Partition::Esp {
            let mut conf = layout.conf.clone();
            if !layout.may_reset {
                // From 258 on the loader would reset the machine where an entry with tries left cannot be started.
                conf.push_str("reboot-on-error no\n");
            }
            files::write(&tree.path().join("loader/loader.conf"), conf)?;
            for (path, bytes) in extra {
                files::write(&tree.path().join(path), bytes)?;
            }
        }
        format(image, *on)?;
        copy(image, *on, &files::sorted_entries(tree.path())?, "::/")?;
        // One run of the tool for a directory, which keeps the order: the loader reads it as it was filled.
        let entries = layout.entries.iter().filter(|entry| entry.on == *on);
        let entries = entries.map(|entry| (&entry.name, entry.text.clone().into_bytes()));
        fill(image, *on, ENTRIES, entries)?;
        let images = layout.images.iter().filter(|image| image.on == *on);
        fill(
            image,
            *on,
            IMAGES,
            images.map(|image| (&image.name, image.bytes())),
        )?;
    }
    Ok(())
}

fn fill<'a>(
    image: &Path,
    on: Partition,
    directory: &str,
    files: impl Iterator<Item = (&'a String, Vec<u8>)>,
) -> Result<()> {
    let tree = tempfile::tempdir()?;
    let mut paths = Vec::new();
    for (name, bytes) in files {
        let path = tree.path().join(name);
        files::write(&path, &bytes)?;
        paths.push(path);
    }
    copy(image, on, &paths, &format!("::/{directory}/"))
}

fn lay_out(image: &Path, partitions: &[Partition]) -> Result<()> {
    let mut table = String::from("label: gpt\n");
    for on in partitions {
        let kind = match on {
            Partition::Esp => "U",
            Partition::Boot => XBOOTLDR,
        };
        let (start, size) = (start(*on) / MIB, SIZE / MIB);
        table.extend([format!("start={start}MiB, size={size}MiB, type={kind}\n")]);
    }
    disk::partition(image, &table)
}

fn format(image: &Path, on: Partition) -> Result<()> {
    let sector = (start(on) / 512).to_string();
    let mut mkfs = Command::new("mkfs.vfat");
    mkfs.args(["-F", "32", "-s", "1", "-i", "20240101", "--offset", &sector]);
    command::output(mkfs.arg(image).arg((SIZE / 1024).to_string()))?;
    Ok(())
}

fn copy<P: AsRef<OsStr>>(image: &Path, on: Partition, from: &[P], to: &str) -> Result<()> {
    if from.is_empty() {
        return Ok(());
    }
    let paths = from.iter().map(AsRef::as_ref);
    let words = ["-s", "-Q"].map(OsStr::new).into_iter();
    let all = words.chain(paths).chain([OsStr::new(to)]);
    tool("mcopy", image, on, all).map(drop)
}

/// The names in the directories that the loader changes, as the host's tools read them, sorted.
pub(super) fn names(image: &Path, on: Partition) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for directory in DIRECTORIES {
        let directory = format!("::/{directory}");
        let listing = tool("mdir", image, on, ["-a", "-b", &directory])?;
        let files = listing
            .lines()
            .filter_map(|line| line.strip_prefix(&directory)?.strip_prefix('/'));
        names.extend(files.map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// The text of a file on the ESP.
pub(super) fn read(image: &Path, path: &str) -> Result<String> {
    tool("mtype", image, Partition::Esp, [format!("::/{path}")])
}

fn tool<A: AsRef<OsStr>>(
    name: &str,
    image: &Path,
    on: Partition,
    arguments: impl IntoIterator<Item = A>,
) -> Result<String> {
    let mut command = Command::new(name);
    command
        .arg("-i")
        .arg(format!("{}@@{}", image.display(), start(on)))
        .args(arguments)
        .env("MTOOLS_SKIP_CHECK", "1");
    command::output(&mut command)
}
