//! What a failed scenario leaves in `target/rig/evidence/<scenario>/`, for people.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Error, Result, ensure};

use crate::machine::Machine;
use crate::timeline::Timeline;
use crate::{command, disk, esp, files, paths};

/// A machine of any ring, as far as evidence goes.
pub trait Witness {
    /// The directory with everything that is this machine's.
    fn dir(&self) -> &Path;

    /// What happened when.
    fn timeline(&self) -> &Timeline;

    /// Before evidence is read: lets a machine that still answers write its journal out, then kills it.
    fn stop_for_evidence(&mut self);

    /// Leaves what there is in a directory, and says what there is not.
    fn leave(&self, into: &Path) -> Vec<(&'static str, Result<()>)>;
}

/// Stops the machine and gathers what can be had; what cannot is said in the directory itself.
///
/// # Errors
/// When not even the directory can be made.
pub fn collect(scenario: &str, machine: &mut impl Witness, failure: &Error) -> Result<PathBuf> {
    machine.stop_for_evidence();
    let dir = directory(scenario)?;
    let causes: Vec<String> = failure.chain().map(ToString::to_string).collect();
    files::write(&dir.join("failure.txt"), causes.join("\n") + "\n")?;
    files::write(&dir.join("timeline.txt"), machine.timeline().to_string())?;
    for (name, outcome) in machine.leave(&dir) {
        if let Err(error) = outcome {
            files::write(
                &dir.join(format!("{name}-is-missing.txt")),
                format!("{error:#}\n"),
            )?;
        }
    }
    Ok(dir)
}

impl Witness for Machine {
    fn dir(&self) -> &Path {
        self.dir()
    }

    fn timeline(&self) -> &Timeline {
        self.timeline()
    }

    fn stop_for_evidence(&mut self) {
        self.stop_for_evidence();
    }

    fn leave(&self, into: &Path) -> Vec<(&'static str, Result<()>)> {
        let disk = self.disk();
        let copy = |log| -> Result<()> {
            fs::copy(self.dir().join(log), into.join(log))?;
            Ok(())
        };
        vec![
            ("serial", copy("serial.log")),
            ("qemu", copy("qemu.log")),
            ("esp", boot_partition(&disk, into)),
            ("journal", journal(&disk, into)),
        ]
    }
}

/// Where a scenario's evidence goes, emptied of what an earlier run left.
///
/// # Errors
/// As the file system says.
pub fn directory(scenario: &str) -> Result<PathBuf> {
    let dir = paths::rig().join("evidence").join(scenario);
    files::remove(&dir)?;
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// The names of all files on the ESP, and the text of entries and loader configuration.
fn boot_partition(disk: &Path, dir: &Path) -> Result<()> {
    let listing = esp::list(disk)?;
    files::write(&dir.join("esp.txt"), listing.join("\n") + "\n")?;
    for path in listing.iter().filter(|path| path.starts_with("loader/")) {
        // Not the random seed.
        if Path::new(path).extension() != Some("conf".as_ref()) {
            continue;
        }
        files::write(&dir.join("esp").join(path), esp::read(disk, path)?)?;
    }
    Ok(())
}

/// The guest's journal, as files and as text.
fn journal(disk: &Path, dir: &Path) -> Result<()> {
    // Its own copy, because the file system's journal is replayed before anything is read: the machine was not shut
    // down.
    let root = dir.join("root.ext4");
    let mut dd = Command::new("dd");
    dd.arg(format!("if={}", disk.display()))
        .arg(format!("of={}", root.display()));
    dd.args(["bs=1M", "conv=sparse", "status=none"]);
    dd.arg(format!("skip={}", disk::ROOT_START >> 20))
        .arg(format!("count={}", disk::ROOT_SIZE >> 20));
    command::output(&mut dd)?;
    // Status 1 means "errors corrected": what it is for.
    let fsck = Command::new("e2fsck")
        .args(["-fy"])
        .arg(&root)
        .stdin(Stdio::null())
        .output()?;
    ensure!(
        fsck.status.code().is_some_and(|code| code <= 1),
        "e2fsck: {}",
        String::from_utf8_lossy(&fsck.stdout)
    );

    let raw = dir.join("journal");
    fs::create_dir(&raw)?;
    let dump = format!("rdump /var/log/journal {}", raw.display());
    command::run("debugfs", ["-R".as_ref(), dump.as_ref(), root.as_os_str()])?;
    files::remove(&root)?;
    journal_as_text(&raw.join("journal"), dir)
}

/// The journal in `from`, as text in `dir`.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn journal_as_text(from: &Path, dir: &Path) -> Result<()> {
    for machine in files::sorted_entries(from)? {
        let mut journalctl = Command::new("journalctl");
        journalctl
            .args([
                "--no-pager",
                "--output=short-precise",
                "--merge",
                "--directory",
            ])
            .arg(machine);
        files::write(&dir.join("journal.txt"), command::output(&mut journalctl)?)?;
    }
    Ok(())
}
