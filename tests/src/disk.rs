//! The disk: GPT, a FAT32 ESP, an ext4 root, and an ext4 `/nix` where it is not on the root. Written without mounting anything: the host's kernel may not know FAT.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::{command, files};

const MIB: u64 = 1 << 20;

/// Where the ESP begins.
pub const ESP_START: u64 = MIB;

const ESP_SIZE: u64 = 128 * MIB;

/// Where the root begins.
pub const ROOT_START: u64 = ESP_START + ESP_SIZE;

/// The root's size; the image is sparse.
pub const ROOT_SIZE: u64 = 1024 * MIB;

const NIX_START: u64 = ROOT_START + ROOT_SIZE;

const NIX_SIZE: u64 = 512 * MIB;

/// Writes a disk whose ESP holds `esp`, whose root holds `root`, and whose `/nix` holds `nix`, if it has one.
///
/// # Errors
/// When a tool says no.
pub fn write(image: &Path, esp: &Path, root: &Path, nix: Option<&Path>) -> Result<()> {
    let disk = File::create(image)?;
    // The backup GPT needs room at the end.
    disk.set_len(NIX_START + nix.map_or(0, |_| NIX_SIZE) + MIB)?;
    drop(disk);
    partition(image, &table(nix.is_some()))?;

    // mkfs.vfat derives the cluster size from the whole file: without `-s 2` a FAT32 this small has too few clusters.
    let sector = (ESP_START / 512).to_string();
    let mut mkfs = Command::new("mkfs.vfat");
    mkfs.args([
        "-F", "32", "-s", "2", "-n", "ESP", "-i", "20240101", "--offset", &sector,
    ]);
    command::output(mkfs.arg(image).arg((ESP_SIZE / 1024).to_string()))?;
    let fat = format!("{}@@{ESP_START}", image.display());
    let mut copy = Command::new("mcopy");
    copy.args(["-s", "-Q", "-m", "-i", &fat])
        .args(files::sorted_entries(esp)?)
        .arg("::/");
    command::output(copy.env("MTOOLS_SKIP_CHECK", "1"))?;

    ext4(
        image,
        &["-L", "root", "-U", "22222222-2222-4333-8444-555555555555"],
        (ROOT_START, ROOT_SIZE),
        root,
    )?;
    match nix {
        Some(nix) => ext4(image, &["-L", "nix"], (NIX_START, NIX_SIZE), nix),
        None => Ok(()),
    }
}

fn ext4(image: &Path, names: &[&str], (start, size): (u64, u64), tree: &Path) -> Result<()> {
    let options = format!("offset={start},lazy_itable_init=1,nodiscard");
    let mut mkfs = Command::new("mkfs.ext4");
    mkfs.args(["-q", "-F"]).args(names);
    mkfs.args(["-E", &options, "-d"]).arg(tree);
    command::output(mkfs.arg(image).arg(format!("{}k", size / 1024)))?;
    Ok(())
}

fn table(has_nix: bool) -> String {
    let nix = if has_nix {
        let [start, size] = [NIX_START, NIX_SIZE].map(|bytes| bytes / MIB);
        format!(
            "start={start}MiB, size={size}MiB, type=L, name=nix, uuid=aaaaaaaa-0000-4000-8000-000000000003\n"
        )
    } else {
        String::new()
    };
    format!(
        "label: gpt\n\
         label-id: 11111111-2222-4333-8444-555555555555\n\
         start={}MiB, size={}MiB, type=U, name=esp, uuid=aaaaaaaa-0000-4000-8000-000000000001\n\
         start={}MiB, size={}MiB, type=L, name=root, uuid=aaaaaaaa-0000-4000-8000-000000000002\n\
         {nix}",
        ESP_START / MIB,
        ESP_SIZE / MIB,
        ROOT_START / MIB,
        ROOT_SIZE / MIB
    )
}

/// Writes a partition table, as sfdisk(8) takes it.
pub(crate) fn partition(image: &Path, table: &str) -> Result<()> {
    let mut sfdisk = Command::new("sfdisk")
        .arg("-q")
        .arg(image)
        .stdin(Stdio::piped())
        .spawn()?;
    let mut stdin = sfdisk.stdin.take().context("sfdisk has no input")?;
    std::io::Write::write_all(&mut stdin, table.as_bytes())?;
    drop(stdin);
    let status = sfdisk.wait()?;
    ensure!(status.success(), "sfdisk: {status}");
    Ok(())
}
