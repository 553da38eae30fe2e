//! One run of QEMU with several layouts.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::layout::Layout;
use super::results::{self, Seen};
use super::{disk, script};
use crate::scratch;

const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// A loader that waits for somebody at the console says nothing more. (How long all of it takes depends on who else
/// uses the host.)
const PATIENCE: Duration = Duration::from_mins(5);

/// How one boot follows the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// The loader is started again by the firmware's shell, as the firmware itself would.
    Kept,
    /// The machine is reset, and the firmware boots again.
    Cycled,
}

/// Boots every layout `boots` times. What was seen, boot by boot, and the files on the disks at the end.
pub(super) fn run(
    loader: &Path,
    layouts: &[Layout],
    boots: usize,
    power: Power,
) -> Result<Vec<Seen>> {
    let directory = scratch::directory("loader-")?;
    let image = |at: usize| directory.path().join(format!("{at}.img"));
    let loader = fs::read(loader).context("cannot read systemd-boot")?;
    let startup = script::startup(layouts, boots, power);
    for (at, layout) in layouts.iter().enumerate() {
        let label = format!("label {}\r\n", layout.label);
        let mut extra = vec![
            (script::loader_path(at), loader.as_slice()),
            (script::LABEL, label.as_bytes()),
        ];
        if at == 0 {
            extra.push(("startup.nsh", startup.as_bytes()));
        }
        disk::write(&image(at), layout, &extra)?;
    }
    let said = qemu(directory.path(), layouts, power)?;
    let seen = results::parse(&disk::read(&image(0), script::RESULTS)?)?;
    ensure!(
        seen.len() == layouts.len() * boots,
        "{} boots instead of {}; the console said last:\n{}",
        seen.len(),
        layouts.len() * boots,
        tail(&said)
    );
    // What the firmware's shell says of the files must be what is on the disk.
    for (at, layout) in layouts.iter().enumerate() {
        let last = seen.iter().rfind(|seen| seen.layout == at);
        let last = last.context("a layout was never booted")?;
        ensure!(
            last.label == layout.label,
            "{} was booted in place of {}",
            last.label,
            layout.label
        );
        for (on, files) in layout.partitions().iter().zip(&last.files) {
            let on_disk = disk::names(&image(at), *on)?;
            ensure!(
                *files == on_disk,
                "{}: the shell lists {files:?}, mtools {on_disk:?}",
                layout.label
            );
        }
    }
    Ok(seen)
}

/// What the end of `said` is, for people.
fn tail(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let lines: Vec<&str> = said.lines().collect();
    let from = lines.len().saturating_sub(30);
    lines.get(from..).unwrap_or_default().join("\n")
}

/// Runs the machine to its end. What it said on its console.
fn qemu(directory: &Path, layouts: &[Layout], power: Power) -> Result<Vec<u8>> {
    let variables = directory.join("variables.fd");
    fs::copy(VARIABLES, &variables)?;
    let serial = directory.join("serial.txt");
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args([
        "-machine", "q35", "-cpu", "qemu64", "-smp", "1", "-m", "256",
    ])
    .args(["-nodefaults", "-display", "none", "-net", "none"])
    .args(["-accel", "tcg,thread=single,tb-size=256"])
    // Time passes with instructions, and fast: the seconds for which the loader shows an error cost nothing.
    .args(["-icount", "shift=9,sleep=off"])
    .arg("-serial")
    .arg(format!("file:{}", serial.display()));
    for (unit, file, more) in [
        (0, Path::new(FIRMWARE), ",readonly=on"),
        (1, variables.as_path(), ""),
    ] {
        qemu.arg("-drive").arg(format!(
            "if=pflash,format=raw,unit={unit},file={}{more}",
            file.display()
        ));
    }
    for (at, layout) in layouts.iter().enumerate() {
        let read_only = if layout.read_only { "on" } else { "off" };
        let image = directory.join(format!("{at}.img"));
        // Slots in order: the shell numbers volumes by their device paths.
        let boot = if at == 0 { ",bootindex=0" } else { "" };
        qemu.arg("-drive").arg(format!(
            "if=none,id=d{at},format=raw,cache=unsafe,readonly={read_only},file={}",
            image.display()
        ));
        qemu.arg("-device").arg(format!(
            "virtio-blk-pci,drive=d{at},addr={:#x}{boot}",
            at + 2
        ));
    }
    if power == Power::Kept {
        qemu.arg("-no-reboot");
    }
    let complaints = directory.join("qemu.txt");
    let mut child = qemu
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&complaints)?)
        .spawn()
        .context("cannot start QEMU")?;
    let (mut deadline, mut heard) = (Instant::now() + PATIENCE, 0);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let said = fs::read(&serial).unwrap_or_default();
        if said.len() != heard {
            (deadline, heard) = (Instant::now() + PATIENCE, said.len());
        }
        let waits = said.windows(6).any(|six| six == b"Shell>");
        if waits || Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            let tail = tail(&said);
            bail!("the firmware or the loader waits for somebody:\n{tail}");
        }
        thread::sleep(Duration::from_millis(100));
    };
    ensure!(
        status.success(),
        "QEMU: {status}: {}",
        fs::read_to_string(&complaints)?
    );
    Ok(fs::read(&serial).unwrap_or_default())
}
