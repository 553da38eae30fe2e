//! The boot partition, read and damaged from outside with mtools: no mount, no root, no cooperation of the guest.
//!
//! While a machine runs this sees what the guest has written out, not what its page cache still holds.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::{command, disk};

/// Every file, as paths from the top (`loader/entries/...`), sorted.
///
/// # Errors
/// When the file system cannot be read.
pub fn list(disk: &Path) -> Result<Vec<String>> {
    let listing = command::output(tool("mdir", disk).args(["-/", "-b", "::/"]))?;
    let files = listing.lines().filter_map(|line| line.strip_prefix("::/"));
    let mut files: Vec<String> = files
        .filter(|path| !path.ends_with('/'))
        .map(str::to_owned)
        .collect();
    files.sort();
    Ok(files)
}

/// The file names in `loader/entries`, sorted.
///
/// # Errors
/// When the file system cannot be read.
pub fn entries(disk: &Path) -> Result<Vec<String>> {
    let files = list(disk)?;
    Ok(files
        .iter()
        .filter_map(|path| path.strip_prefix("loader/entries/"))
        .map(str::to_owned)
        .collect())
}

/// The bytes of one file.
///
/// # Errors
/// When it is not there.
pub fn read(disk: &Path, path: &str) -> Result<Vec<u8>> {
    let output = tool("mtype", disk)
        .arg(format!("::/{path}"))
        .stdin(Stdio::null())
        .output()?;
    ensure!(
        output.status.success(),
        "{path} on the ESP: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output.stdout)
}

/// The text of one file.
///
/// # Errors
/// When it is not there or not text.
pub fn read_text(disk: &Path, path: &str) -> Result<String> {
    String::from_utf8(read(disk, path)?).with_context(|| format!("{path} on the ESP is not text"))
}

/// Writes one file, over what is there: damage, done while the machine is off.
///
/// # Errors
/// When the file system cannot be written.
pub fn write(disk: &Path, path: &str, content: &[u8]) -> Result<()> {
    let mut file = tempfile::NamedTempFile::new()?;
    std::io::Write::write_all(&mut file, content)?;
    command::output(
        tool("mcopy", disk)
            .args([OsStr::new("-o"), file.path().as_os_str()])
            .arg(format!("::/{path}")),
    )?;
    Ok(())
}

/// Removes one file, while the machine is off.
///
/// # Errors
/// When it is not there.
pub fn remove(disk: &Path, path: &str) -> Result<()> {
    command::output(tool("mdel", disk).arg(format!("::/{path}")))?;
    Ok(())
}

fn tool(name: &str, disk: &Path) -> Command {
    let mut command = Command::new(name);
    command
        .arg("-i")
        .arg(format!("{}@@{}", disk.display(), disk::ESP_START))
        .env("MTOOLS_SKIP_CHECK", "1");
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;

    #[test]
    fn what_is_written_is_listed_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let (esp, root, image) = (
            dir.path().join("esp"),
            dir.path().join("root"),
            dir.path().join("disk.img"),
        );
        files::write(&esp.join("loader/entries/nixos-1+3-0.conf"), "title one\n").unwrap();
        files::write(&root.join("etc/hostname"), "rig\n").unwrap();
        disk::write(&image, &esp, &root, None).unwrap();
        assert_eq!(entries(&image).unwrap(), ["nixos-1+3-0.conf"]);
        assert_eq!(
            read_text(&image, "loader/entries/nixos-1+3-0.conf").unwrap(),
            "title one\n"
        );

        write(&image, "loader/loader.conf", b"timeout 0\n").unwrap();
        remove(&image, "loader/entries/nixos-1+3-0.conf").unwrap();
        assert_eq!(list(&image).unwrap(), ["loader/loader.conf"]);
        assert!(read(&image, "loader/entries/nixos-1+3-0.conf").is_err());
    }
}
