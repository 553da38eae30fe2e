//! One connection: bytes out, bytes in, and what belongs to what. It waits for neither side alone: systemd stops reading
//! while nobody takes what it says.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::unistd::geteuid;

use super::error::{Error, Refusal};
use super::message::{self, Call, Incoming, Kind, Nonsense};

/// How much is read at once.
const PIECE: usize = 16 * 1024;
/// Calls are made as they are sent, so that thousands need not be in memory at once. Some hundreds are sent in one
/// piece.
const AHEAD: usize = 128 * 1024;
/// Nobody greets at more length.
const GREETING: usize = 4096;
/// How long a socket whose queue is full is left alone.
const AGAIN: Duration = Duration::from_millis(20);

/// Longer than this is for ever.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// For how long something may be waited for, and since when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    until: Instant,
    length: Duration,
}

impl Patience {
    /// From now on.
    pub(super) fn of(length: Duration) -> Self {
        let length = length.min(LONGEST);
        Self {
            until: Instant::now() + length,
            length,
        }
    }

    fn left(self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    fn late(self, doing: &'static str) -> Error {
        Error::Late {
            doing,
            patience: self.length,
        }
    }
}

/// What comes in while calls are out.
pub(super) enum Heard {
    /// The answer to the call of this place.
    Answer(usize, Result<Incoming, Refusal>),
    /// Something that nobody asked for.
    Unasked(Incoming),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    /// What has come and was not read yet.
    inbox: Vec<u8>,
    serial: u32,
    is_broken: bool,
}

impl Connection {
    /// Connects to the socket of this path, and is let in.
    pub(super) fn open(path: &str, patience: Duration) -> Result<Self, Error> {
        let patience = Patience::of(patience);
        let stream = connected(path, patience).map_err(|source| Error::Connect {
            socket: path.to_owned(),
            source,
        })?;
        Self::over(stream, path, patience)
    }

    /// Is let in over a stream to what has this name.
    pub(super) fn over(stream: UnixStream, name: &str, patience: Patience) -> Result<Self, Error> {
        let doing = "the greeting";
        let failed = |source| Error::Io { doing, source };
        stream.set_nonblocking(true).map_err(failed)?;
        let mut connection = Self {
            stream,
            inbox: Vec::new(),
            serial: 0,
            is_broken: false,
        };
        // systemd compares the number, in hexadecimal digits of its digits, with what the kernel says of us. All at
        // once: there is nothing to choose from.
        let mut greeting = String::from("\0AUTH EXTERNAL ");
        for digit in geteuid().to_string().chars() {
            // A digit is 0x30 and itself.
            greeting.extend(['3', digit]);
        }
        greeting.push_str("\r\nBEGIN\r\n");
        let greeting = greeting.into_bytes();
        let mut sent = 0;
        loop {
            if let Some(end) = connection.inbox.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = connection.inbox.drain(..end + 2).collect();
                let said = String::from_utf8_lossy(&line).trim_end().to_owned();
                if said.starts_with("OK ") {
                    return Ok(connection);
                }
                let socket = name.to_owned();
                return Err(Error::Denied { socket, said });
            }
            if connection.inbox.len() > GREETING {
                let why = "a greeting without an end".to_owned();
                return Err(Error::Garbled { doing, why });
            }
            let rest = greeting.get(sent..).unwrap_or_default();
            sent += connection.exchange(doing, rest, patience)?;
        }
    }

    /// Makes all calls, and hands out what is heard meanwhile, until every call has its answer. That takes one round trip
    /// however many they are.
    pub(super) fn call_all(
        &mut self,
        doing: &'static str,
        patience: Duration,
        mut calls: impl Iterator<Item = Result<Call, Nonsense>>,
        mut hear: impl FnMut(Heard) -> Result<(), Nonsense>,
    ) -> Result<(), Error> {
        self.guarded(doing, |connection| {
            let patience = Patience::of(patience);
            let garbled = |why| Error::Garbled { doing, why };
            let mut open = BTreeMap::new();
            let mut made = 0;
            let mut all_made = false;
            let mut out: Vec<u8> = Vec::new();
            loop {
                while !all_made && out.len() < AHEAD {
                    let Some(call) = calls.next() else {
                        all_made = true;
                        break;
                    };
                    // Zero is no serial.
                    connection.serial = connection.serial.checked_add(1).unwrap_or(1);
                    let call = call.map_err(garbled)?;
                    call.write(connection.serial, &mut out).map_err(garbled)?;
                    open.insert(connection.serial, made);
                    made += 1;
                }
                while let Some(incoming) = connection.take().map_err(garbled)? {
                    let heard = match incoming.kind {
                        Kind::Reply(serial) => open
                            .remove(&serial)
                            .map(|place| Heard::Answer(place, Ok(incoming))),
                        Kind::Error(serial) => open
                            .remove(&serial)
                            .map(|place| Heard::Answer(place, Err(incoming.refusal()))),
                        Kind::Signal => Some(Heard::Unasked(incoming)),
                        Kind::Other => continue,
                    };
                    let heard = heard.ok_or_else(|| garbled(UNASKED.to_owned()))?;
                    hear(heard).map_err(garbled)?;
                }
                if all_made && open.is_empty() {
                    return Ok(());
                }
                let sent = connection.exchange(doing, &out, patience)?;
                out.drain(..sent);
            }
        })
    }

    /// The next signal. None: there was none in this time.
    pub(super) fn signal(&mut self, within: Duration) -> Result<Option<Incoming>, Error> {
        let doing = "a signal";
        self.guarded(doing, |connection| {
            let patience = Patience::of(within);
            loop {
                let garbled = |why| Error::Garbled { doing, why };
                while let Some(incoming) = connection.take().map_err(garbled)? {
                    match incoming.kind {
                        Kind::Signal => return Ok(Some(incoming)),
                        Kind::Reply(_) | Kind::Error(_) => return Err(garbled(UNASKED.to_owned())),
                        Kind::Other => {}
                    }
                }
                match connection.exchange(doing, &[], patience) {
                    Err(Error::Late { .. }) => return Ok(None),
                    other => other?,
                };
            }
        })
    }

    /// Nothing more is to be said or heard.
    pub(super) fn give_up(&mut self) {
        self.is_broken = true;
    }

    fn guarded<T>(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.is_broken {
            return Err(Error::Broken { doing });
        }
        let result = work(self);
        self.is_broken = result.is_err();
        result
    }

    /// The first message that has come as a whole.
    fn take(&mut self) -> Result<Option<Incoming>, Nonsense> {
        let Some(start) = self.inbox.first_chunk::<{ message::START }>() else {
            return Ok(None);
        };
        let length = message::length(start)?;
        let Some(bytes) = self.inbox.get(..length) else {
            return Ok(None);
        };
        let incoming = Incoming::read(bytes)?;
        self.inbox.drain(..length);
        Ok(Some(incoming))
    }

    /// Waits until something can be sent or read, and does so. Gives how much of `out` was sent.
    fn exchange(
        &mut self,
        doing: &'static str,
        out: &[u8],
        patience: Patience,
    ) -> Result<usize, Error> {
        let failed = |source: io::Error| match source.kind() {
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Error::Closed { doing },
            _ => Error::Io { doing, source },
        };
        let mut wanted = PollFlags::POLLIN;
        wanted.set(PollFlags::POLLOUT, !out.is_empty());
        let left = patience.left();
        // Rounded up, or the last millisecond would be spent in a loop.
        let wait = left.saturating_add(Duration::from_nanos(999_999));
        let wait = PollTimeout::try_from(wait.as_millis()).unwrap_or(PollTimeout::MAX);
        let mut polled = [PollFd::new(self.stream.as_fd(), wanted)];
        match poll(&mut polled, wait) {
            Ok(0) if patience.left().is_zero() => return Err(patience.late(doing)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(failed(error.into())),
        }
        let [polled] = polled;
        let events = polled.revents().unwrap_or(PollFlags::empty());
        let mut sent = 0;
        if events.contains(PollFlags::POLLOUT) {
            match self.stream.write(out) {
                Ok(length) => sent = length,
                Err(error) if is_again(&error) => {}
                // What it said before it hung up is read first.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(error) => return Err(failed(error)),
            }
        }
        if events.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
            let mut piece = [0; PIECE];
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(Error::Closed { doing }),
                Ok(length) => self.inbox.extend(piece.get(..length).unwrap_or_default()),
                Err(error) if is_again(&error) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(sent)
    }
}

const UNASKED: &str = "an answer to what was not asked";

fn is_again(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// A socket never blocks here: somebody whose queue is full may be stuck.
fn connected(path: &str, patience: Patience) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let address = UnixAddr::new(path)?;
    loop {
        match connect(socket.as_raw_fd(), &address) {
            Ok(()) => return Ok(UnixStream::from(socket)),
            Err(Errno::EAGAIN | Errno::EINTR) if !patience.left().is_zero() => {
                std::thread::sleep(AGAIN);
            }
            Err(error) => return Err(error.into()),
        }
    }
}
