//! Is something wrong that no generation can do anything about? The route, the name servers, the clock.
//!
//! What was not there when the generation was proven cannot be gone: only what was is missed.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};

use super::surroundings;
use crate::state::baseline::Surroundings;

/// The clock of the world and that of the machine may drift apart by so much between two looks. `ntpd` and `chronyd` turn the
/// first one slowly, and set it beyond a second or less.
const JUMP: Duration = Duration::from_secs(30);
/// How long a name server may take, each time it is asked.
const ANSWER: Duration = Duration::from_secs(2);
/// So many name servers are asked. resolv.conf(5) has as many.
const SERVERS: usize = 3;
/// The number of the question, which is that of its answer.
const ID: [u8; 2] = [0x6c, 0x67];

/// The time since the machine started, as no clock that is set can change it.
#[must_use]
pub fn monotonic() -> Duration {
    // It cannot fail for this clock. If it did, nothing would ever be over.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// Who looks outside, and remembers.
#[derive(Debug)]
pub struct Outside {
    had_route: bool,
    had_servers: bool,
    /// What the clock of the world was ahead of that of the machine at the last look.
    ahead: Option<Duration>,
}

impl Outside {
    /// With what there was when the generation was proven. None: nobody has looked.
    #[must_use]
    pub fn of(before: Option<&Surroundings>) -> Self {
        let servers = before.and_then(|before| before.resolvers.as_ref());
        Self {
            had_route: before.is_some_and(|before| before.default_route == Some(true)),
            had_servers: servers.is_some_and(|servers| !servers.is_empty()),
            ahead: None,
        }
    }

    /// What is wrong now, in half a sentence. Cheap.
    pub fn trouble(&mut self) -> Option<&'static str> {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let ahead = wall.unwrap_or_default().saturating_sub(monotonic());
        let jumped = self
            .ahead
            .replace(ahead)
            .is_some_and(|before| before.abs_diff(ahead) > JUMP);
        let reach = surroundings::reach();
        if self.had_route && reach.default_route == Some(false) {
            Some("the default route is gone")
        } else if self.had_servers && reach.resolvers.is_some_and(|now| now.is_empty()) {
            Some("the name servers are gone")
        } else if jumped {
            Some("the clock has jumped")
        } else {
            None
        }
    }
}

/// Whether any of the machine's name servers answers. None: it has none. Takes seconds where none does.
#[must_use]
pub fn name_servers_answer() -> Option<bool> {
    let servers = surroundings::reach().resolvers?;
    let servers = addresses(&servers);
    (!servers.is_empty()).then(|| servers.into_iter().any(|server| answers(server, 53)))
}

/// One with a zone (`fe80::1%eth0`) is left out.
fn addresses(servers: &BTreeSet<String>) -> Vec<IpAddr> {
    let parsed = servers.iter().filter_map(|server| server.parse().ok());
    parsed.take(SERVERS).collect()
}

/// Asks for the name servers of the root, which each server knows or refuses to tell. Either is an answer.
fn answers(server: IpAddr, port: u16) -> bool {
    let any = match server {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let ask = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_read_timeout(Some(ANSWER))?;
        socket.connect((server, port))?;
        socket.send(&question())?;
        let mut answer = [0; 512];
        let length = loop {
            match socket.recv(&mut answer) {
                // This process was stopped, and goes on.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => break received?,
            }
        };
        std::io::Result::Ok(length >= 12 && answer.starts_with(&ID))
    };
    // Once more: a packet may get lost.
    (0..2).any(|_| ask().unwrap_or(false))
}

/// RFC 1035, section 4: a header with one question, which asks for `NS` of the root.
fn question() -> Vec<u8> {
    let [first, second] = ID;
    let head = [first, second, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let root = [0, 0, 2, 0, 1];
    head.into_iter().chain(root).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_answers_anything_answers() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let answerer = std::thread::spawn(move || {
            let mut question = [0; 512];
            let (length, from) = server.recv_from(&mut question).unwrap();
            assert_eq!(length, 17);
            // Refused.
            question[2] |= 0x80;
            question[3] = 5;
            server.send_to(&question[..length], from).unwrap();
        });
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert!(answers(here, port));
        answerer.join().unwrap();
        // Nobody is there any more.
        assert!(!answers(here, port));
    }

    #[test]
    fn what_was_not_there_is_not_missed() {
        let mut unknown = Outside::of(None);
        assert_eq!(unknown.trouble(), None);
        let mut known = Outside::of(Some(&surroundings::glance(&[])));
        assert_eq!(known.trouble(), None);
        known.ahead = Some(Duration::ZERO);
        assert_eq!(known.trouble(), Some("the clock has jumped"));
        assert_eq!(known.trouble(), None);
    }

    #[test]
    fn an_address_with_a_zone_is_left_out() {
        let servers = ["10.0.0.1", "fe80::1%eth0", "::1"].map(str::to_owned);
        assert_eq!(addresses(&servers.into()).len(), 2);
    }
}
