//! The typed driver of one container: a release's real systemd as PID 1, in a network namespace of its own.
//!
//! What it is not: there is no loader, so a test says which generation it starts and whether the boot is counted; and
//! there is no boot partition. The agent takes nothing but a mounted FAT file system for `$BOOT` (B6), which a
//! container cannot have everywhere (it takes the host's kernel). So every boot here is that of a machine whose boot
//! partition is gone: verdicts must be reached, recorded and acted upon all the same, and are. That entries are written
//! is for the rings around this one.

mod nspawn;
mod rootfs;
mod running;
mod watch;
mod witness;

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use boot_entries::Root;
use boot_entries::generation::GenerationId;
use boot_entries::name::{ARMED, stem_of};
use jiff::Timestamp;
use lastgood::state::{Event, State, Subject};
use lastgood::store::ledger::{self, Ledger};
use systemd_boot_model::EntryName;

pub use self::nspawn::Knock;
use self::nspawn::Nspawn;
pub use self::rootfs::Rootfs;
pub use self::running::Running;
pub use self::watch::{Glance, Watch};
use crate::closures::Variant;
use crate::machine::{Fact, Line, Output, Serial};
use crate::timeline::Timeline;
use crate::{command, files, paths};

/// How long anything may take that is not waited for on purpose. A boot takes half a second, a verdict two more.
const SOON: Duration = Duration::from_secs(30);

/// What goes before systemd.
const INIT: &str = include_str!("container/init.sh");

/// `[health]` for closures that do not say otherwise: a story should not take longer than it must.
const CONFIG: &str = "\
[health]
required-units = [\"nginx.service\"]
settle-sec = 1
deadline-sec = 20

[firewall]
ruleset = \"etc/nftables.conf\"
";

/// Where a closure says nothing else: by a reboot, because that is what a story can wait for, and without waiting for people,
/// because logind is masked and nobody could count them.
const FALLBACK: &str = "\n[fallback]\nsoft-reboot = false\ngrace-sec = 0\n";

/// Adds [`FALLBACK`] to the configuration of a closure that has no such section.
pub(crate) fn goes_back_at_once(closure: &Path) -> Result<()> {
    let path = closure.join("etc/lastgood/lastgood.toml");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    if text.contains("[fallback]") {
        return Ok(());
    }
    files::write(&path, format!("{text}{FALLBACK}"))
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It wants to be started again.
    Reboot,
    /// It does not.
    PowerOff,
}

/// What comes back from a port, at the other end of the cable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// A page.
    Page(String),
    /// Nobody listens, and the firewall lets us know.
    Refused,
    /// Nothing at all.
    Silent,
}

/// A session of the other end of the cable, which has not spoken yet.
pub struct Session(TcpStream);

impl Session {
    /// Asks for a page.
    ///
    /// # Errors
    /// When the session is ended.
    pub fn ask(self) -> Result<Reach> {
        nspawn::ask(self.0)
    }
}

/// What the loader did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// It counted this boot: a trial.
    Counted(u64),
    /// Its entry carries no counter.
    Uncounted(u64),
}

/// One machine. Its disk is kept over reboots.
pub struct Container {
    dir: PathBuf,
    rootfs: PathBuf,
    /// What lies over that, the first one above all others.
    layers: Vec<PathBuf>,
    /// What closures are made from.
    first: PathBuf,
    console: Serial,
    timeline: Timeline,
    on: Option<Nspawn>,
}

impl Container {
    /// A machine that is off, without generations: a layer over the release's tree, in `target/rig/run/<name>/`.
    ///
    /// # Errors
    /// When there is no place for it.
    pub fn new(name: &str, rootfs: &Rootfs) -> Result<Self> {
        let dir = paths::rig().join("run").join(name);
        files::remove(&dir)?;
        fs::create_dir_all(&dir)?;
        let timeline = Timeline::new(false);
        let machine = Self {
            console: Serial::new(&dir.join("console.log"), timeline.begun())?,
            rootfs: rootfs.root(),
            layers: Vec::new(),
            first: rootfs.toplevel(Variant::One)?.to_owned(),
            dir,
            timeline,
            on: None,
        };
        machine.program("/rig/init", INIT)?;
        Ok(machine)
    }

    /// Has the machine what is in this directory as well.
    pub fn has(&mut self, layer: PathBuf) {
        self.layers.insert(0, layer);
    }

    /// Puts a file on the disk of a machine that is off.
    ///
    /// # Errors
    /// As the file system says.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        ensure!(self.on.is_none(), "the machine is on");
        files::write(&self.disk().join(path), content)
    }

    /// Like [`Self::write`], with a file that can be run.
    ///
    /// # Errors
    /// As the file system says.
    pub fn program(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        self.write(path, content)?;
        let file = self.disk().join(path);
        Ok(fs::set_permissions(
            file,
            fs::Permissions::from_mode(0o755),
        )?)
    }

    /// Adds a generation to the system profile, and makes it the current one: the first closure of the guest, but for
    /// `changes` (path inside it, text).
    ///
    /// # Errors
    /// As the file system says.
    pub fn add(&self, number: u64, changes: &[(&str, &str)]) -> Result<Subject> {
        let name = format!("{number:032}-nixos-system-rig-26.05.{number}");
        let toplevel = Path::new("/nix/store").join(name);
        let tree = self.disk().join(&toplevel);
        fs::create_dir_all(self.disk().join("/nix/store"))?;
        files::copy_tree(&Root::new(&self.rootfs).join(&self.first), &tree)?;
        let page = format!("<p>generation {number}</p>\n");
        let own = [
            ("etc/lastgood/lastgood.toml", CONFIG),
            ("etc/nginx/www/index.html", &page),
        ];
        for (path, text) in own.iter().chain(changes) {
            files::write(&tree.join(path), text)?;
        }
        goes_back_at_once(&tree)?;
        let generation = GenerationId::system(number);
        let profile = self.disk().join(generation.profile_link());
        let link = generation.link_name();
        files::link(&toplevel, &profile.with_file_name(&link))?;
        files::link(link, &profile)?;
        Ok(Subject {
            generation,
            toplevel,
        })
    }

    /// From now on the closure's `init` leads to stage 2, and not to systemd.
    ///
    /// # Errors
    /// As the file system says.
    pub fn starts_by_stage_2(&self, subject: &Subject) -> Result<()> {
        ensure!(self.on.is_none(), "the machine is on");
        let init = self.disk().join(subject.toplevel.join("init"));
        files::remove(&init)?;
        files::link("/usr/bin/lastgood", &init)
    }

    /// Adds what an earlier boot, or the operator, left in the ledger.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn past(&self, event: &Event) -> Result<()> {
        ensure!(self.on.is_none(), "the machine is on");
        Ok(ledger::record(&self.disk(), Timestamp::now(), &[event])?)
    }

    /// Starts a generation that was [`Self::add`]ed.
    ///
    /// # Errors
    /// When the machine is on, or nspawn cannot be started.
    pub fn start(&mut self, boot: Boot) -> Result<()> {
        let (Boot::Counted(number) | Boot::Uncounted(number)) = boot;
        let id = GenerationId::system(number);
        let link = self.disk().join(id.profile_link());
        let toplevel = fs::read_link(link.with_file_name(id.link_name()))
            .with_context(|| format!("no generation {number} was added"))?;
        let words = format!("init={}/init systemd.show_status=0\n", toplevel.display());
        self.write("/rig/cmdline", words)?;
        files::remove(&self.disk().join("/rig/efivars"))?;
        let entry = EntryName {
            stem: stem_of(&Subject {
                generation: id,
                toplevel,
            }),
            tries: matches!(boot, Boot::Counted(_)).then_some(ARMED),
        };
        self.variable("LoaderEntrySelected", &entry.to_string())?;
        if let Some(tries) = entry.tries {
            let tries = Some(tries.after_a_boot());
            let counted = EntryName { tries, ..entry };
            let path = format!("\\loader\\entries\\{counted}");
            self.variable("LoaderBootCountPath", &path)?;
        }
        self.console.skip();
        self.timeline.note(format!("starts: {boot:?}"));
        let mut layers = self.layers.clone();
        layers.push(self.rootfs.clone());
        self.on = Some(Nspawn::start(&self.dir, &layers, &self.console)?);
        Ok(())
    }

    /// Waits until the console says `fact`, in a line after the one the last wait ended at.
    ///
    /// # Errors
    /// As soon as the machine is off, or when it takes too long; with the last lines.
    pub fn wait_for(&mut self, fact: impl Into<Fact>) -> Result<Line> {
        self.wait_longer(fact, SOON)
    }

    /// Like [`Self::wait_for`], for what takes long on purpose.
    ///
    /// # Errors
    /// Those of [`Self::wait_for`].
    pub fn wait_longer(&mut self, fact: impl Into<Fact>, within: Duration) -> Result<Line> {
        let line = self.console.wait(&fact.into(), within)?;
        self.timeline.note(&line.text);
        Ok(line)
    }

    /// Whether the console ever said `fact`.
    pub fn has_said(&self, fact: impl Into<Fact>) -> bool {
        self.console.count(&fact.into()) > 0
    }

    /// Waits until the machine ends by itself.
    ///
    /// # Errors
    /// When it does not, or ends in no orderly way.
    pub fn wait_until_ended(&mut self) -> Result<Ended> {
        let on = self.on.take().context("the machine is off already")?;
        let ended = on
            .wait_until_ended(SOON)
            .with_context(|| format!("the last lines:\n{}", self.console.tail()))?;
        self.timeline.note(format!("ended: {ended:?}"));
        Ok(ended)
    }

    /// Shuts down in order.
    ///
    /// # Errors
    /// When it does not go down, or comes up again instead.
    pub fn power_off(&mut self) -> Result<()> {
        self.run_ok("systemctl --no-block poweroff")?;
        let ended = self.wait_until_ended()?;
        ensure!(ended == Ended::PowerOff, "{ended:?} instead of power-off");
        Ok(())
    }

    /// Runs a shell command as root inside.
    ///
    /// # Errors
    /// When the container cannot be entered. A status other than 0 is no error.
    pub fn run(&self, command: &str) -> Result<Output> {
        self.on()?.run(command, SOON)
    }

    /// Like [`Self::run`], for what takes long on purpose.
    ///
    /// # Errors
    /// Those of [`Self::run`].
    pub fn run_longer(&self, command: &str, within: Duration) -> Result<Output> {
        self.on()?.run(command, within)
    }

    /// Begins to run a shell command as root inside, and waits for nothing. It is ended after `within`.
    ///
    /// # Errors
    /// When the container cannot be entered.
    pub fn begin(&self, command: &str, within: Duration) -> Result<Running> {
        Ok(Running::new(self.on()?.begin(command, within)?))
    }

    /// Like [`Self::run`], but the command must succeed; gives what it printed, without blanks around.
    ///
    /// # Errors
    /// Those of `run`, and a status other than 0 with the command's own words.
    pub fn run_ok(&self, command: &str) -> Result<String> {
        let output = self.run(command)?;
        if output.status != 0 {
            bail!(
                "`{command}` ended with {}:\n{}{}",
                output.status,
                output.stdout,
                output.stderr
            );
        }
        Ok(output.stdout.trim().to_owned())
    }

    /// Runs a program of this host among the container's processes. Its first argument is the container's root, seen from
    /// here; `arguments` follow.
    ///
    /// # Errors
    /// When the container cannot be entered. A status other than 0 is no error.
    pub fn run_beside(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        self.on()?.run_beside(program, arguments, SOON * 4)
    }

    /// A property of a unit, as `systemctl show` has it.
    ///
    /// # Errors
    /// Those of [`Self::run_ok`].
    pub fn property(&self, unit: &str, property: &str) -> Result<String> {
        self.run_ok(&format!(
            "systemctl show --value --property={property} {unit}"
        ))
    }

    /// Knocks at a port, from the other end of the cable.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn reach(&self, port: u16) -> Result<Reach> {
        let reached = self.knock(&[Knock::tcp(port)])?;
        reached.into_iter().next().context("nothing was knocked at")
    }

    /// Knocks at ports, from the other end of the cable, all at once.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn knock(&self, knocks: &[Knock]) -> Result<Vec<Reach>> {
        self.on()?.knock(knocks)
    }

    /// Runs a shell command at the other end of the cable, with the programs of this host.
    ///
    /// # Errors
    /// When the machine is off. A status other than 0 is no error.
    pub fn world(&self, command: &str) -> Result<Output> {
        self.on()?.world(command)
    }

    /// Begins a session with a port, from the other end of the cable, and says nothing.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn call(&self, port: u16) -> Result<Session> {
        Ok(Session(self.on()?.call(port)?))
    }

    /// Asks for a page every few milliseconds, from the other end of the cable, until it is told to end.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn watch(&self, port: u16) -> Result<Watch> {
        Watch::start(self.on()?.world_of()?, port)
    }

    /// The first closure of the guest, as this host sees it: what others are made from.
    #[must_use]
    pub fn first_closure(&self) -> PathBuf {
        Root::new(&self.rootfs).join(&self.first)
    }

    /// The release's own tree, as this host sees it.
    #[must_use]
    pub fn release(&self) -> &Path {
        &self.rootfs
    }

    /// The events on record.
    ///
    /// # Errors
    /// When the ledger cannot be read, or is damaged.
    pub fn events(&self) -> Result<Vec<Event>> {
        let mut ledger = Ledger::read(&self.disk())?;
        ledger.add_logs(&self.disk())?;
        ensure!(ledger.damaged.is_empty(), "damaged: {:?}", ledger.damaged);
        Ok(ledger
            .records
            .into_iter()
            .map(|record| record.event)
            .collect())
    }

    /// What the events on record add up to.
    ///
    /// # Errors
    /// Those of [`Self::events`].
    pub fn state(&self) -> Result<State> {
        Ok(State::of(&self.events()?))
    }

    /// The entries of its journal that match, as `journalctl --output=json` has them.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn journal(&self, matches: &[&str]) -> Result<Vec<serde_json::Value>> {
        let mut entries = Vec::new();
        for machine in files::sorted_entries(&self.disk().join("/var/log/journal"))? {
            let mut journalctl = Command::new("journalctl");
            journalctl.args([
                "--no-pager",
                "--quiet",
                "--all",
                "--output=json",
                "--directory",
            ]);
            let text = command::output(journalctl.arg(machine).args(matches))?;
            for line in text.lines() {
                entries.push(serde_json::from_str(line).context("no JSON")?);
            }
        }
        Ok(entries)
    }

    /// What is on the disk beyond the release's tree: of a running machine only to be read.
    #[must_use]
    pub fn disk(&self) -> Root {
        Root::new(self.dir.join("upper"))
    }

    fn on(&self) -> Result<&Nspawn> {
        self.on.as_ref().context("the machine is off")
    }

    /// A variable of the firmware, as efivarfs shows it.
    fn variable(&self, name: &str, text: &str) -> Result<()> {
        let mut bytes = 6_u32.to_le_bytes().to_vec();
        bytes.extend(text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        let vendor = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
        self.write(&format!("/rig/efivars/{name}-{vendor}"), bytes)
    }
}
