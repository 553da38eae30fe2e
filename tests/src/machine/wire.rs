//! The cable: whoever is at its other end, asking the machine's ports from power-on, packet by packet.
//!
//! QEMU's user network answers for the guest before it has asked it. Here the frames of the guest's network card are
//! datagrams of a socket, and what comes back is what the guest's kernel has sent.

mod frame;

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use tempfile::TempDir;

use self::frame::{Frame, GUEST_MAC};

/// How often each port is asked.
const EVERY: Duration = Duration::from_millis(50);

/// What the guest sent back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The interface is there: the address was asked for.
    Address,
    /// Somebody listens on this port, and no firewall is in between.
    Open(u16),
    /// Nobody listens on this port, and no firewall is in between.
    Refused(u16),
}

impl Answer {
    /// Whether it came from a port: the packet was let in.
    #[must_use]
    pub fn is_from(self, port: u16) -> bool {
        self == Self::Open(port) || self == Self::Refused(port)
    }
}

/// When something came from the machine, or was asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moment {
    /// The time since the machine was first switched on.
    pub at: Duration,
    /// The processor time that QEMU has had. While this host is busy with something else, or stands still, the machine does
    /// nothing that anybody could miss.
    pub ran: Duration,
}

/// What came back, and how closely was asked.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// Each answer with its time.
    pub answers: Vec<(Moment, Answer)>,
    /// When each round of questions was sent.
    pub asked: Vec<Moment>,
}

impl Heard {
    /// When the first answer like this came.
    pub fn first(&self, is_it: impl Fn(Answer) -> bool) -> Option<Moment> {
        let mut answers = self.answers.iter();
        answers
            .find(|(_, answer)| is_it(*answer))
            .map(|(at, _)| *at)
    }

    /// How long the machine ran at most without a question, and how many there were, from `from` on.
    #[must_use]
    pub fn longest_pause(&self, from: Moment) -> (Duration, usize) {
        let asked: Vec<_> = self.asked.iter().filter(|one| one.at >= from.at).collect();
        let pauses = asked.windows(2).filter_map(|pair| match pair {
            [one, two] => Some(two.ran.saturating_sub(one.ran)),
            _ => None,
        });
        (pauses.max().unwrap_or_default(), asked.len())
    }
}

/// The cable with somebody at its end.
pub(super) struct Wire {
    sockets: TempDir,
    heard: Arc<Mutex<Heard>>,
    clock: Arc<Mutex<Option<ClockId>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Wire {
    /// Asks `ports`, from now on. Times count from `begun`.
    pub(super) fn start(ports: &[u16], begun: Instant) -> Result<Self> {
        let sockets = tempfile::Builder::new()
            .prefix("lastgood-wire-")
            .tempdir()?;
        let socket = UnixDatagram::bind(sockets.path().join("outside"))
            .context("cannot make the cable's end")?;
        let heard = Arc::new(Mutex::new(Heard::default()));
        let clock = Arc::new(Mutex::new(None));
        let is_over = Arc::new(AtomicBool::new(false));
        let outside = Outside {
            socket,
            guest: sockets.path().join("guest"),
            ports: ports.to_owned(),
            begun,
            clock: Arc::clone(&clock),
            heard: Arc::clone(&heard),
            rounds: 0,
        };
        let end = Arc::clone(&is_over);
        let thread = thread::spawn(move || outside.run(&end));
        Ok(Self {
            sockets,
            heard,
            clock,
            is_over,
            thread: Some(thread),
        })
    }

    /// From now on the machine at the other end is this process.
    pub(super) fn leads_to(&self, qemu: u32) -> Result<()> {
        let clock = clock_getcpuclockid(Pid::from_raw(qemu.try_into()?))?;
        *lock(&self.clock) = Some(clock);
        Ok(())
    }

    /// What came back since this was asked last.
    pub(super) fn take(&self) -> Heard {
        std::mem::take(&mut *lock(&self.heard))
    }

    /// The network card's end, as QEMU's option says it.
    pub(super) fn netdev(&self) -> String {
        let place = |end| self.sockets.path().join(end).display().to_string();
        format!(
            "dgram,id=net,local.type=unix,local.path={},remote.type=unix,remote.path={}",
            place("guest"),
            place("outside")
        )
    }

    /// The network card, as QEMU's option says it.
    pub(super) fn card() -> String {
        let mac: Vec<String> = GUEST_MAC.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("virtio-net-pci,netdev=net,romfile=,mac={}", mac.join(":"))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A panic in another thread leaves what was heard as good as it was.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Outside {
    socket: UnixDatagram,
    guest: PathBuf,
    ports: Vec<u16>,
    begun: Instant,
    clock: Arc<Mutex<Option<ClockId>>>,
    heard: Arc<Mutex<Heard>>,
    rounds: u16,
}

impl Outside {
    fn run(mut self, is_over: &AtomicBool) {
        let mut next = Instant::now();
        let mut buffer = [0; 2048];
        while !is_over.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now >= next {
                next = now + EVERY;
                self.ask();
            }
            let left = next.saturating_duration_since(Instant::now());
            let left = left.max(Duration::from_millis(1));
            // Only a zero would be refused.
            drop(self.socket.set_read_timeout(Some(left)));
            if let Ok(length) = self.socket.recv(&mut buffer) {
                self.hear(buffer.get(..length).unwrap_or_default());
            }
        }
    }

    fn ask(&mut self) {
        self.rounds = self.rounds.wrapping_add(1);
        let mut is_there = self.send(&frame::who_has());
        for port in &self.ports {
            // A port of ours for each question: an answer is to this one, and nothing is left of the one before.
            let from = 20_000 + self.rounds % 20_000;
            is_there &= self.send(&frame::syn(from, *port));
        }
        // While the machine is off there is nobody to ask.
        if is_there {
            let now = self.now();
            lock(&self.heard).asked.push(now);
        }
    }

    fn hear(&self, frame: &[u8]) {
        let answer = match frame::read(frame) {
            Some(Frame::WhoHasUs) => {
                self.send(&frame::we_have());
                return;
            }
            Some(Frame::Address) => Answer::Address,
            Some(Frame::Refused { port }) => Answer::Refused(port),
            Some(Frame::Open { port, to, number }) => {
                // Nothing is to be said: the guest may forget it.
                self.send(&frame::reset(to, port, number));
                Answer::Open(port)
            }
            None => return,
        };
        let now = self.now();
        lock(&self.heard).answers.push((now, answer));
    }

    fn now(&self) -> Moment {
        let clock = *lock(&self.clock);
        // A machine that has gone runs no more.
        let ran = clock.and_then(|clock| clock.now().ok());
        Moment {
            at: self.begun.elapsed(),
            ran: ran.map(Duration::from).unwrap_or_default(),
        }
    }

    fn send(&self, frame: &[u8]) -> bool {
        self.socket.send_to(frame, &self.guest).is_ok()
    }
}
