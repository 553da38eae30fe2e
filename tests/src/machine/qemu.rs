//! One life of the virtual machine: from power-on to power-off.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::serial::Serial;
use super::wire::Wire;
use crate::patience::Patience;

/// Which firmware the machine has, and what it is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Firmware {
    /// It starts what it finds.
    Plain,
    /// It starts what is signed with the key that Debian publishes for tests (`ovmf`, "snakeoil").
    SecureBoot,
}

impl Firmware {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "/usr/share/OVMF/OVMF_CODE_4M.fd",
            Self::SecureBoot => "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
        }
    }

    /// What its variables are on a machine fresh from the factory.
    pub(super) fn variables(self) -> &'static str {
        match self {
            Self::Plain => "/usr/share/OVMF/OVMF_VARS_4M.fd",
            Self::SecureBoot => "/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd",
        }
    }

    /// Only the firmware itself may write its variables, in the processor's system management mode.
    fn machine(self) -> &'static str {
        match self {
            Self::Plain => "-machine q35",
            Self::SecureBoot => {
                "-machine q35,smm=on -global driver=cfi.pflash01,property=secure,value=on \
                 -global ICH9-LPC.disable_s3=1"
            }
        }
    }
}

/// Ports of the guest that can be reached from outside.
const FORWARDED: [u16; 4] = [22, 80, 443, 8080];

/// What the guest's clock counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// This host's time.
    Time,
    /// Instructions, of 8 ns each: what else this host does has no part in it.
    Instructions,
}

/// What the machine has besides what all have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hardware {
    /// Its firmware.
    pub(super) firmware: Firmware,
    /// What its clock counts.
    pub(super) clock: Clock,
    /// Which date its clock has at each power-on. None: this host's.
    pub(super) date: Option<&'static str>,
    /// It has a watchdog, of Intel's 6300ESB.
    pub(super) has_watchdog: bool,
}

/// A running QEMU. Dropping it kills it.
pub(super) struct Qemu {
    child: Child,
    reader: Option<JoinHandle<()>>,
    /// Sockets have short names, and `target/` may be deep.
    sockets: TempDir,
    /// (port of the guest, port of this host)
    ports: Vec<(u16, u16)>,
}

impl Qemu {
    /// Starts the machine whose disk and variables are in `dir`. With a `wire` its network is that, and no port of this
    /// host leads to it.
    pub(super) fn start(
        dir: &Path,
        serial: &Serial,
        wire: Option<&Wire>,
        hardware: Hardware,
    ) -> Result<Self> {
        let sockets = tempfile::Builder::new().prefix("lastgood-rig-").tempdir()?;
        let ports = match wire {
            Some(_) => Vec::new(),
            None => free_ports()?,
        };
        let errors = File::create(dir.join("qemu.log"))?;
        // QEMU must not outlive a test run that is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        command.args(arguments(
            dir,
            sockets.path(),
            hardware.firmware,
            &network(wire, &ports),
        ));
        command.arg("-qmp").arg(format!(
            "unix:{},server=on,wait=off",
            escaped(&monitor_socket(sockets.path()))
        ));
        if hardware.clock == Clock::Instructions {
            // Its date as well: what is measured may go over a reboot.
            command.args(["-icount", "shift=3", "-rtc", "clock=vm"]);
        }
        if let Some(date) = hardware.date {
            command.arg("-rtc").arg(format!("base={date}"));
        }
        if hardware.has_watchdog {
            command.args(["-device", "i6300esb", "-action", "watchdog=reset"]);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors);
        let mut child = command.spawn().context("cannot start QEMU")?;
        if let Some(wire) = wire {
            wire.leads_to(child.id())?;
        }
        let reader = child.stdout.take().map(|stdout| serial.attach(stdout));
        Ok(Self {
            child,
            reader,
            sockets,
            ports,
        })
    }

    /// Where the guest agent is reached.
    pub(super) fn agent_socket(&self) -> PathBuf {
        agent_socket(self.sockets.path())
    }

    /// Where QEMU itself is asked.
    pub(super) fn monitor_socket(&self) -> PathBuf {
        monitor_socket(self.sockets.path())
    }

    /// The port of this host that leads to `guest_port`.
    pub(super) fn host_port(&self, guest_port: u16) -> Result<u16> {
        let found = self.ports.iter().find(|(guest, _)| *guest == guest_port);
        found
            .map(|(_, host)| *host)
            .with_context(|| format!("port {guest_port} of the guest is not forwarded"))
    }

    /// Kills it and waits until it is gone.
    pub(super) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for the guest to switch the machine off.
    pub(super) fn wait_until_off(mut self, within: Duration) -> Result<()> {
        let mut patience = Patience::of(within);
        while self.child.try_wait()?.is_none() {
            if patience.is_over() {
                bail!("the machine is still on after {} s", within.as_secs());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // It may be gone already, which is as good.
        drop(self.child.kill());
        drop(self.child.wait());
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}

/// The network, and the card.
fn network(wire: Option<&Wire>, ports: &[(u16, u16)]) -> [String; 4] {
    let (network, card) = if let Some(wire) = wire {
        (wire.netdev(), Wire::card())
    } else {
        let forwards: Vec<String> = ports
            .iter()
            .map(|(guest, host)| format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}"))
            .collect();
        let card = "virtio-net-pci,netdev=net,romfile=".to_owned();
        (format!("user,id=net{}", forwards.concat()), card)
    };
    ["-netdev".to_owned(), network, "-device".to_owned(), card]
}

/// The machine. Everything is emulated: no KVM, the same on every host.
fn arguments(dir: &Path, sockets: &Path, firmware: Firmware, network: &[String]) -> Vec<String> {
    let variables = dir.join("firmware-variables.fd");
    let disk = dir.join("disk.img");
    let agent = agent_socket(sockets);
    let mut arguments: Vec<String> = Vec::new();
    let mut add = |words: &str| arguments.extend(words.split_whitespace().map(str::to_owned));
    // One processor. With a second one the firmware waits for it at several points without a limit, and a start-up
    // interrupt that is lost on a loaded host leaves it waiting for ever after "starting Boot0001" (tianocore/edk2
    // pull request 13164; seen here once in some hundred boots).
    add(firmware.machine());
    add("-cpu qemu64 -smp 1 -m 1024");
    // A big cache of translated code makes warm resets slow, a small one userspace: this is between.
    add("-accel tcg,thread=single,tb-size=128");
    add("-nodefaults -display none -serial stdio");
    // A panic and a reboot are the guest's own affair.
    add("-action panic=none,reboot=reset,shutdown=poweroff");
    add(&format!(
        "-drive if=pflash,format=raw,unit=0,readonly=on,file={}",
        firmware.code()
    ));
    // The cloud kernel has this driver built in: the root needs no module.
    add("-device nvme,drive=disk,serial=rig,bootindex=0");
    add(
        "-device virtio-serial-pci -device virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
    );
    // Paths may hold blanks.
    for (option, value) in [
        (
            "-drive",
            format!("if=pflash,format=raw,unit=1,file={}", escaped(&variables)),
        ),
        (
            "-drive",
            format!(
                "if=none,id=disk,format=raw,cache=unsafe,file={}",
                escaped(&disk)
            ),
        ),
        (
            "-chardev",
            format!(
                "socket,id=agent,server=on,wait=off,path={}",
                escaped(&agent)
            ),
        ),
    ] {
        arguments.push(option.to_owned());
        arguments.push(value);
    }
    arguments.extend_from_slice(network);
    arguments
}

/// A path inside a QEMU option: a comma is written twice.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

fn agent_socket(sockets: &Path) -> PathBuf {
    sockets.join("agent")
}

fn monitor_socket(sockets: &Path) -> PathBuf {
    sockets.join("monitor")
}

/// A free port of this host for each forwarded one; all are held until all are known, so they differ.
fn free_ports() -> Result<Vec<(u16, u16)>> {
    let mut held = Vec::new();
    for guest in FORWARDED {
        held.push((guest, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?));
    }
    held.iter()
        .map(|(guest, listener)| Ok((*guest, listener.local_addr()?.port())))
        .collect()
}
