//! One boot: the process that is the container, and what can be done to it from outside.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};

use super::{Ended, Reach};
use crate::machine::{Output, Serial, http};
use crate::patience::Patience;

const START: &str = include_str!("start.sh");

/// How the container's own network configuration calls itself (`tests/guest/root/etc/systemd/network/`).
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

/// How long no answer means that there is none: the cable has no delay.
const SILENCE: Duration = Duration::from_secs(1);

const POLL: Duration = Duration::from_millis(10);

/// A container that is on. Dropped: killed.
pub(super) struct Nspawn {
    child: Child,
    console: Option<JoinHandle<()>>,
}

impl Nspawn {
    /// Boots the machine in `dir`, on top of these trees.
    pub(super) fn start(dir: &Path, layers: &[PathBuf], console: &Serial) -> Result<Self> {
        let layers: Vec<&OsStr> = layers.iter().map(|layer| layer.as_os_str()).collect();
        // The container must not outlive a test run that is killed. Killing nspawn is not enough for that; the first
        // process of a PID namespace takes all others with it, those of namespaces inside as well.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "unshare", "--mount", "--net"])
            .args(["--pid", "--mount-proc", "--fork", "--kill-child=KILL"])
            .args(["sh", "-euc", START, "container"])
            .arg(dir)
            .arg(layers.join(OsStr::new(":")))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start systemd-nspawn")?;
        let console = child.stdout.take().map(|stdout| console.attach(stdout));
        Ok(Self { child, console })
    }

    /// Waits until the container has ended by itself.
    pub(super) fn wait_until_ended(mut self, within: Duration) -> Result<Ended> {
        let status = until(within, || Ok(self.child.try_wait()?))?
            .with_context(|| format!("still on after {} s", within.as_secs()))?;
        ended(status)
    }

    /// Runs a shell command as root inside.
    pub(super) fn run(&self, command: &str, within: Duration) -> Result<Output> {
        let output = self.inside(command, within)?.output();
        Ok(of(&output.context("cannot enter the container")?))
    }

    /// Begins to run a shell command as root inside.
    pub(super) fn begin(&self, command: &str, within: Duration) -> Result<Child> {
        let mut inside = self.inside(command, within)?;
        let piped = inside.stdout(Stdio::piped()).stderr(Stdio::piped());
        piped.spawn().context("cannot enter the container")
    }

    fn inside(&self, command: &str, within: Duration) -> Result<Command> {
        let leader = self.leader(within)?.to_string();
        let mut inside = Command::new("timeout");
        inside
            .args(["--signal=KILL", &at_last(within)])
            .args(["nsenter", "--target", &leader])
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"])
            .args(["--root", "--wd", "sh", "-c", command])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        Ok(inside)
    }

    /// Runs a program of this host in the container's process namespace.
    pub(super) fn run_beside(
        &self,
        program: &str,
        arguments: &[&str],
        within: Duration,
    ) -> Result<Output> {
        let leader = self.leader(within)?;
        // `/proc` stays that of this host, so that the root has the name which it has here.
        let output = Command::new("timeout")
            .args(["--signal=KILL", &at_last(within)])
            .args(["nsenter", "--target", &leader.to_string(), "--pid", program])
            .arg(format!("/proc/{leader}/root"))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .context("cannot enter the container")?;
        Ok(of(&output))
    }

    /// Knocks from the other end of the cable, at all doors at once.
    pub(super) fn knock(&self, knocks: &[Knock]) -> Result<Vec<Reach>> {
        thread::scope(|scope| {
            let all: Vec<_> = knocks
                .iter()
                .map(|knock| scope.spawn(move || self.in_world(|| knock.at_once())))
                .collect();
            let ended = all.into_iter().map(|one| {
                one.join()
                    .map_err(|_panic| anyhow!("the knock panicked"))??
            });
            ended.collect()
        })
    }

    /// Begins a session with a port, from the other end of the cable.
    pub(super) fn call(&self, port: u16) -> Result<TcpStream> {
        let address = SocketAddr::from((ADDRESS, port));
        Ok(self.in_world(|| TcpStream::connect_timeout(&address, SILENCE))??)
    }

    /// Runs a shell command at the other end of the cable, with the programs of this host.
    pub(super) fn world(&self, command: &str) -> Result<Output> {
        let mut nsenter = Command::new("nsenter");
        nsenter
            .arg(format!("--net=/proc/{}/ns/net", self.child.id()))
            .args(["sh", "-c", command])
            .stdin(Stdio::null());
        Ok(of(&nsenter.output().context("cannot enter the world")?))
    }

    /// The network namespace at the other end of the cable.
    pub(super) fn world_of(&self) -> Result<File> {
        let place = format!("/proc/{}/ns/net", self.child.id());
        File::open(&place).with_context(|| format!("cannot open {place}"))
    }

    /// What `work` gives when it is done at the other end of the cable.
    fn in_world<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let world = self.world_of()?;
        // A network namespace is a thread's.
        thread::scope(|scope| {
            let thread = scope.spawn(move || -> Result<T> {
                setns(world, CloneFlags::CLONE_NEWNET)?;
                Ok(work())
            });
            thread
                .join()
                .map_err(|_panic| anyhow!("the world panicked"))?
        })
    }

    /// The container's PID 1, by our name of it: unshare, then the shell, then nspawn, then it.
    fn leader(&self, within: Duration) -> Result<u32> {
        let found = until(within, || {
            let mut found = Some(self.child.id());
            for _generation in 0..3 {
                found = found.map_or(Ok(None), only_child)?;
            }
            Ok(found.filter(|pid| is_first(*pid)))
        })?;
        found.context("the container has no PID 1")
    }
}

/// What ends a command that hangs, in seconds. A machine that stood still for minutes must not.
fn at_last(within: Duration) -> String {
    (within + Duration::from_mins(5)).as_secs().to_string()
}

pub(super) fn of(output: &std::process::Output) -> Output {
    Output {
        status: output.status.code().map_or(128, i64::from),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A port that is knocked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knock {
    /// A page is asked for.
    Tcp(SocketAddr),
    /// A byte is sent.
    Udp(SocketAddr),
}

impl Knock {
    /// At a TCP port of the machine's.
    #[must_use]
    pub fn tcp(port: u16) -> Self {
        Self::Tcp((ADDRESS, port).into())
    }

    /// At a UDP port of the machine's.
    #[must_use]
    pub fn udp(port: u16) -> Self {
        Self::Udp((ADDRESS, port).into())
    }

    fn at_once(self) -> Result<Reach> {
        let answer = match self {
            Self::Tcp(to) => TcpStream::connect_timeout(&to, SILENCE).map(ask),
            Self::Udp(to) => send(to).map(|()| Ok(Reach::Page(String::new()))),
        };
        match answer {
            Ok(reach) => reach,
            Err(error) => match error.kind() {
                ErrorKind::ConnectionRefused => Ok(Reach::Refused),
                // Dropped, or not even an interface there.
                ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::HostUnreachable => {
                    Ok(Reach::Silent)
                }
                _ => Err(error.into()),
            },
        }
    }
}

/// Sends a byte and waits for one.
fn send(to: SocketAddr) -> io::Result<()> {
    let any: IpAddr = if to.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(SILENCE))?;
    socket.send(&[0])?;
    loop {
        match socket.recv(&mut [0]).map(drop) {
            // As with a page: the whole machine may have been stopped.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => return received,
        }
    }
}

/// Asks for a page. Who has let somebody in may take longer to answer: it is a process.
pub(super) fn ask(stream: TcpStream) -> Result<Reach> {
    Ok(http::exchange(stream, 5 * SILENCE)?.map_or(Reach::Silent, Reach::Page))
}

impl Drop for Nspawn {
    fn drop(&mut self) {
        // It may be gone already, which is as good.
        drop(self.child.kill());
        drop(self.child.wait());
        // The console ends when the last of them is gone.
        if let Some(console) = self.console.take() {
            drop(console.join());
        }
    }
}

/// Looks again and again, until there is something or time is up.
fn until<T>(within: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let mut patience = Patience::of(within);
    loop {
        let seen = look()?;
        if seen.is_some() || patience.is_over() {
            return Ok(seen);
        }
        thread::sleep(POLL);
    }
}

fn ended(status: ExitStatus) -> Result<Ended> {
    match status.code() {
        Some(0) => Ok(Ended::PowerOff),
        // systemd-nspawn(1), --keep-unit.
        Some(133) => Ok(Ended::Reboot),
        _ => bail!("the container ended neither by power-off nor by reboot: {status}"),
    }
}

fn only_child(of: u32) -> Result<Option<u32>> {
    let place = PathBuf::from(format!("/proc/{of}/task/{of}/children"));
    let children = match fs::read_to_string(&place) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        children => children.with_context(|| format!("cannot read {}", place.display()))?,
    };
    let mut children = children.split_whitespace();
    let first = children.next().map(str::parse).transpose()?;
    Ok(first.filter(|_| children.next().is_none()))
}

/// Whether the process is the first of its own PID namespace, and not nspawn on its way there.
fn is_first(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let ids: Vec<&str> = ids.unwrap_or_default().split_whitespace().collect();
    ids.len() > 1 && ids.last() == Some(&"1") && !status.starts_with("Name:\tsystemd-nspawn")
}
