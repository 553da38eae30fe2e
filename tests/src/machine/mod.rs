//! The typed driver of one machine: power, serial line, guest agent, network.
//!
//! A machine keeps its disk and its firmware variables over reboots and power cuts, as a real one does.

mod fact;
mod guest_agent;
pub(crate) mod http;
mod page_watch;
mod qemu;
mod qmp;
mod serial;
mod wire;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

pub use self::fact::Fact;
pub use self::guest_agent::Output;
pub use self::page_watch::{Look, PageWatch};
pub use self::serial::Line;
pub use self::wire::{Answer, Heard, Moment};

use self::guest_agent::GuestAgent;
use self::qemu::{Clock, Firmware, Hardware, Qemu};
pub(crate) use self::serial::Serial;
use self::wire::Wire;
use crate::closures::Variant;
use crate::image::Image;
use crate::patience::Patience;
use crate::timeline::{Mark, Timeline};
use crate::{files, paths};

/// From power-on or reset to a settled userspace, with room for a loaded host. Measured: about 15 s.
pub const BOOT: Duration = Duration::from_mins(2);

/// How long a guest agent may take to answer, counted from the call: it may come in the middle of a boot.
const AGENT_ANSWERS: Duration = BOOT;

/// How long a single command may take in the guest.
const COMMAND_ENDS: Duration = Duration::from_mins(3);

/// How long a page may take.
const PAGE: Duration = Duration::from_secs(15);

/// How long no answer means "closed". An open port answers within tenths of a second, even under emulation.
const SILENCE: Duration = Duration::from_secs(5);

/// One machine.
pub struct Machine {
    dir: PathBuf,
    toplevels: Vec<(Variant, PathBuf)>,
    serial: Serial,
    timeline: Timeline,
    qemu: Option<Qemu>,
    wire: Option<Wire>,
    hardware: Hardware,
}

impl Machine {
    /// A machine that is off: its own sparse copy of the image's disk and fresh firmware variables, in
    /// `target/rig/run/<name>/`. A `live` one prints its timeline as it goes.
    ///
    /// # Errors
    /// When the copies cannot be made.
    pub fn new(name: &str, image: &Image, live: bool) -> Result<Self> {
        let dir = paths::rig().join("run").join(name);
        files::remove(&dir)?;
        files::copy_sparse(&image.disk(), &dir.join("disk.img"))?;
        files::copy_sparse(
            Path::new(Firmware::Plain.variables()),
            &dir.join("firmware-variables.fd"),
        )?;
        let mut toplevels = Vec::new();
        for variant in Variant::ALL {
            toplevels.push((variant, image.toplevel(variant)?.to_owned()));
        }
        let timeline = Timeline::new(live);
        let serial = Serial::new(&dir.join("serial.log"), timeline.begun())?;
        Ok(Self {
            dir,
            toplevels,
            serial,
            timeline,
            qemu: None,
            wire: None,
            hardware: Hardware {
                firmware: Firmware::Plain,
                clock: Clock::Time,
                date: None,
                has_watchdog: false,
            },
        })
    }

    /// The directory with everything that is this machine's.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The disk, for [`crate::esp`].
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        self.dir.join("disk.img")
    }

    /// The store path of a closure, for commands in the guest.
    ///
    /// # Errors
    /// When the image has no such closure.
    pub fn toplevel(&self, variant: Variant) -> Result<String> {
        let found = self.toplevels.iter().find(|(known, _)| *known == variant);
        let (_, path) = found.with_context(|| format!("no closure {}", variant.name()))?;
        Ok(path.display().to_string())
    }

    /// From the next power-on the guest's clock counts instructions, of 8 ns each: how long something takes in the guest
    /// has then nothing to do with what else this host does.
    pub fn count_instructions(&mut self) {
        self.hardware.clock = Clock::Instructions;
    }

    /// From the next power-on the machine's clock begins at `date` each time, as one without a battery does.
    pub fn begin_at(&mut self, date: &'static str) {
        self.hardware.date = Some(date);
    }

    /// From the next power-on the machine has a hardware watchdog.
    pub fn add_watchdog(&mut self) {
        self.hardware.has_watchdog = true;
    }

    /// From the next power-on the firmware starts only what is signed with the key that Debian publishes for tests
    /// ([`crate::signing`]). Its variables are those of a machine fresh from the factory.
    ///
    /// # Errors
    /// When the machine is on, or its variables cannot be written.
    pub fn enforce_secure_boot(&mut self) -> Result<()> {
        ensure!(self.qemu.is_none(), "the machine is on already");
        self.hardware.firmware = Firmware::SecureBoot;
        let variables = Path::new(self.hardware.firmware.variables());
        files::copy_sparse(variables, &self.dir.join("firmware-variables.fd"))?;
        self.timeline.note("Secure Boot is on from now on");
        Ok(())
    }

    /// Pulls the network cable, or plugs it in again: the card sees no carrier.
    ///
    /// # Errors
    /// When the machine is off, or QEMU says no.
    pub fn set_cable(&mut self, is_in: bool) -> Result<()> {
        let qemu = self.qemu.as_ref().context("the machine is off")?;
        let arguments = serde_json::json!({ "name": "net", "up": is_in });
        qmp::ask(&qemu.monitor_socket(), "set_link", &arguments)?;
        self.timeline.note(if is_in {
            "the cable is in"
        } else {
            "the cable is out"
        });
        Ok(())
    }

    /// From now on somebody at the other end of the cable asks each of `ports`, every 50 ms, whatever the machine does.
    /// Nobody can fetch a page then.
    ///
    /// # Errors
    /// When the machine is on.
    pub fn ask_from_outside(&mut self, ports: &[u16]) -> Result<()> {
        ensure!(self.qemu.is_none(), "the machine is on already");
        self.wire = Some(Wire::start(ports, self.timeline.begun())?);
        Ok(())
    }

    /// What came back since this was called last.
    ///
    /// # Errors
    /// When nobody asks.
    pub fn heard_outside(&self) -> Result<Heard> {
        let wire = self.wire.as_ref().context("nobody asks from outside")?;
        Ok(wire.take())
    }

    /// Switches the machine on.
    ///
    /// # Errors
    /// When it is on already, or QEMU does not start.
    pub fn power_on(&mut self) -> Result<()> {
        ensure!(self.qemu.is_none(), "the machine is on already");
        self.serial.skip();
        self.timeline.mark(Mark::PowerOn, "power on");
        let wire = self.wire.as_ref();
        self.qemu = Some(Qemu::start(&self.dir, &self.serial, wire, self.hardware)?);
        Ok(())
    }

    /// Pulls the plug: QEMU is killed between two instructions.
    ///
    /// The guest's memory is gone, with it every write its kernel had not yet handed to the disk: file data not flushed
    /// and file system metadata not committed. What it *had* handed over is kept, whole and in order, because the
    /// host's page cache survives. So this does not simulate a drive that loses or reorders its own volatile cache, nor
    /// a torn sector; the crash explorer over file operations is there for those.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn cut_power(&mut self) -> Result<()> {
        let qemu = self.qemu.take().context("the machine is off already")?;
        qemu.kill()?;
        self.timeline.note("power cut");
        Ok(())
    }

    /// Shuts down in order and waits until the machine is off.
    ///
    /// # Errors
    /// When the guest does not answer, or does not go down in time.
    pub fn power_off(&mut self) -> Result<()> {
        self.agent()?.start("systemctl poweroff")?;
        let qemu = self.qemu.take().context("the machine is off already")?;
        qemu.wait_until_off(BOOT)?;
        self.timeline.mark(Mark::PowerOff, "powered off");
        Ok(())
    }

    /// Reboots in order and waits until the loader runs again, so that no later command reaches the old boot.
    ///
    /// # Errors
    /// When the guest does not answer, or does not come back to the loader in time.
    pub fn reboot(&mut self) -> Result<()> {
        let mut agent = self.agent()?;
        self.serial.skip();
        agent.start("systemctl reboot")?;
        self.timeline.note("reboot asked for");
        self.wait_for(Fact::LoaderStarted, BOOT)?;
        Ok(())
    }

    /// Waits until the serial line says `fact`, in a line after the one the last wait ended at.
    ///
    /// Nothing that was said in between is missed, whenever the call comes; nothing is counted twice. What was said
    /// before [`Machine::power_on`] or [`Machine::reboot`] is about an earlier boot and is skipped.
    ///
    /// # Errors
    /// After `within`, or as soon as the machine is off; with the last 30 lines.
    pub fn wait_for(&mut self, fact: impl Into<Fact>, within: Duration) -> Result<Line> {
        let fact = fact.into();
        let line = self.serial.wait(&fact, within)?;
        let what = match fact {
            Fact::LoaderStarted => format!("boot {}: the loader starts", self.boots()),
            _ => line.text.clone(),
        };
        self.timeline.mark(Mark::Said(fact), what);
        Ok(line)
    }

    /// Whether the serial line ever said `fact`.
    pub fn has_said(&self, fact: impl Into<Fact>) -> bool {
        self.serial.count(&fact.into()) > 0
    }

    /// How often the loader was started since the machine is there.
    #[must_use]
    pub fn boots(&self) -> usize {
        self.serial.count(&Fact::LoaderStarted)
    }

    /// Runs a shell command as root in the guest; waits for the guest agent first, as a boot may be under way.
    ///
    /// # Errors
    /// When the agent does not answer or the command does not end in time. A status other than 0 is no error.
    pub fn run(&mut self, command: &str) -> Result<Output> {
        self.agent()?.run(command, COMMAND_ENDS)
    }

    /// Like [`Machine::run`], but the command must succeed; gives what it printed.
    ///
    /// # Errors
    /// Those of `run`, and a status other than 0 with the command's own words.
    pub fn run_ok(&mut self, command: &str) -> Result<String> {
        let output = self.run(command)?;
        if output.status != 0 {
            bail!(
                "in the guest, `{command}` ended with {}:\n{}{}",
                output.status,
                output.stdout,
                output.stderr
            );
        }
        Ok(output.stdout)
    }

    /// Waits until systemd has nothing left to start, and gives the state it is in: `running`, `degraded`, ...
    ///
    /// # Errors
    /// When the guest does not answer in time.
    pub fn wait_until_settled(&mut self) -> Result<String> {
        let state = self
            .run("systemctl is-system-running --wait")?
            .stdout
            .trim()
            .to_owned();
        self.timeline.note(format!("systemd is {state}"));
        Ok(state)
    }

    /// Fetches `/` from a port of the guest, from outside: through the network card and the guest's firewall.
    /// `None` when there is no answer at all.
    ///
    /// # Errors
    /// When the answer is not a page, or the port is not forwarded.
    pub fn http_get(&self, guest_port: u16) -> Result<Option<String>> {
        http::get(self.host_port(guest_port)?, PAGE)
    }

    /// Like [`Machine::http_get`], until there is an answer: a server that systemd calls started may not listen yet.
    ///
    /// # Errors
    /// Those of `http_get`, and no answer within `within`.
    pub fn wait_for_page(&mut self, guest_port: u16, within: Duration) -> Result<String> {
        let mut patience = Patience::of(within);
        loop {
            if let Some(page) = self.http_get(guest_port)? {
                return Ok(page);
            }
            if patience.is_over() {
                bail!(
                    "nothing answers on port {guest_port} within {} s",
                    within.as_secs()
                );
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until a server of SSH greets on port 22, from outside. Gives what it says.
    ///
    /// # Errors
    /// When none does within `within`.
    pub fn wait_for_ssh(&mut self, within: Duration) -> Result<String> {
        let mut patience = Patience::of(within);
        loop {
            let greeting = http::greeting(self.host_port(22)?, SILENCE)?;
            if let Some(greeting) = greeting.filter(|text| text.starts_with("SSH-2.0-")) {
                self.timeline
                    .note(format!("from outside, port 22 greets: {greeting}"));
                return Ok(greeting);
            }
            ensure!(
                !patience.is_over(),
                "no SSH server greets within {} s",
                within.as_secs()
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Whether nothing answers on a port of the guest, from outside.
    ///
    /// QEMU's user network accepts the TCP connection itself before it tries the guest, so "closed" can only be seen as
    /// "no data came back". A port without a listener looks the same: check from inside that there is one.
    ///
    /// # Errors
    /// When the port is not forwarded.
    pub fn is_closed(&self, guest_port: u16) -> Result<bool> {
        Ok(http::get(self.host_port(guest_port)?, SILENCE)?.is_none())
    }

    /// From now on somebody outside fetches `/` from a port of the guest twice a second, whatever the machine does, until
    /// what is returned is dropped.
    ///
    /// # Errors
    /// When the machine is off, or the port is not forwarded.
    pub fn watch_page(&self, guest_port: u16) -> Result<PageWatch> {
        let port = self.host_port(guest_port)?;
        Ok(PageWatch::start(port, self.timeline.begun()))
    }

    /// The story goes on with what is called `title`.
    pub fn chapter(&mut self, title: &str) {
        self.timeline.mark(Mark::Chapter, format!("== {title}"));
    }

    /// Adds an event to the timeline.
    pub fn note(&mut self, what: impl Into<String>) {
        self.timeline.note(what);
    }

    /// What happened when.
    #[must_use]
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Before evidence is read: lets a guest that still answers write its journal out, then kills the machine.
    pub(crate) fn stop_for_evidence(&mut self) {
        let Some(qemu) = self.qemu.take() else { return };
        let flush = GuestAgent::connect(&qemu.agent_socket(), Duration::from_secs(3))
            .and_then(|mut agent| agent.run("journalctl --sync; sync", Duration::from_secs(10)));
        self.timeline.note(match flush {
            Ok(_) => "stopped for evidence, journal flushed".to_owned(),
            Err(error) => format!("stopped for evidence without flushing: {error:#}"),
        });
        drop(qemu);
    }

    fn agent(&self) -> Result<GuestAgent> {
        let qemu = self.qemu.as_ref().context("the machine is off")?;
        let agent = GuestAgent::connect(&qemu.agent_socket(), AGENT_ANSWERS);
        agent.with_context(|| format!("the last lines of the serial line:\n{}", self.serial.tail()))
    }

    fn host_port(&self, guest_port: u16) -> Result<u16> {
        self.qemu
            .as_ref()
            .context("the machine is off")?
            .host_port(guest_port)
    }
}
