//! Sessions that are older than the firewall.
//!
//! A rule such as `ct state established accept` is about what connection tracking knows, and that is nothing as long as
//! no rule asks it. To a firewall that is loaded while the machine is in use each packet of an older session is a new
//! one. If a session is idle, and the other end speaks first, it hangs. So connection tracking is told of the sessions
//! there are, before the rules come (netlink, `linux/netfilter/nfnetlink_conntrack.h`).

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use boot_entries::bounded;
use nix::errno::Errno;

use super::netlink::{ACKNOWLEDGED, Netlink, attribute, message, nested, word};

/// How many connection tracking knows of, in the network namespace of this thread.
const TRACKED: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
/// Of how many it can know.
const LIMIT_OF_TRACKED: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
/// The sockets there are, of IPv4 and of IPv6, in the same.
const SOCKETS: [&str; 2] = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
/// Of one of these, in bytes: two hundred thousand sockets.
const LIMIT: u64 = 32 * 1024 * 1024;
/// The kernel is told of no more sessions: each takes a third of a kilobyte.
const MOST: usize = 50_000;
/// Told at once: the answers to so many have room in a socket.
const AT_ONCE: usize = 64;

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW`
const NEW_SESSION: u16 = 1 << 8;
/// `NLM_F_CREATE | NLM_F_EXCL`
const UNLESS_KNOWN: u16 = 0x400 | 0x200;

/// A TCP session of this machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Session {
    /// Who has begun it.
    client: SocketAddr,
    /// Whom it was begun with.
    server: SocketAddr,
}

/// Tells connection tracking of the sessions there are, unless it knows of some already: then it was in use before, and
/// what it does not know somebody may have taken from it. Whatever fails is no more than said.
pub(super) fn keep() {
    match tell(room) {
        Ok(Told { known: 0, left: 0 }) => {}
        Ok(Told { known, left: 0 }) => {
            tracing::info!("told connection tracking of {known} sessions from before");
        }
        Ok(Told { known, left }) => tracing::warn!(
            "told connection tracking of {known} sessions from before and not of {left} others, for which it has no room: \
             one that is idle may hang"
        ),
        Err(error) => tracing::warn!(
            "cannot tell connection tracking of the sessions from before, and one that is idle may hang: {error}"
        ),
    }
}

/// What became of the sessions there are.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    /// Those that were told.
    known: usize,
    /// Those that were not.
    left: usize,
}

/// Tells of no more than there is `room` for.
fn tell(room: impl Fn() -> io::Result<usize>) -> io::Result<Told> {
    let mut told = Told::default();
    let tracked = number(TRACKED)?;
    if tracked.is_some_and(|tracked| tracked > 0) {
        return Ok(told);
    }
    let mut texts = String::new();
    for path in SOCKETS {
        let listed = if_there(path, bounded::read(Path::new(path), LIMIT))?;
        texts.push_str(&listed.unwrap_or_default());
    }
    let sessions: Vec<Session> = sessions(&texts).into_iter().collect();
    if sessions.is_empty() {
        return Ok(told);
    }
    let netlink = Netlink::open()?;
    for some in sessions.chunks(AT_ONCE) {
        // Asked each time: there may be no connection tracking before it is told of something.
        if told.known >= room()? {
            told.left += some.len();
            continue;
        }
        let messages: Vec<u8> = some.iter().flat_map(new_session).collect();
        netlink.ask(&messages, some.len(), |answer| match answer {
            // A packet of it may have come meanwhile.
            Err(error) if error.raw_os_error() != Some(Errno::EEXIST as i32) => Err(error),
            _ => Ok(()),
        })?;
        told.known += some.len();
    }
    Ok(told)
}

/// How many sessions it may be told of: there must be room for new ones.
fn room() -> io::Result<usize> {
    let limit = number(LIMIT_OF_TRACKED)?;
    Ok(limit.map_or(MOST, |limit| MOST.min(limit / 2)))
}

/// A setting of the kernel's, which is given whole or not at all: read in one go.
fn number(path: &str) -> io::Result<Option<usize>> {
    let text = if_there(path, std::fs::read_to_string(path))?;
    Ok(text.and_then(|text| text.trim().parse().ok()))
}

/// None: the kernel has no such file. It has no IPv6, or no connection tracking yet.
fn if_there(path: &str, text: io::Result<String>) -> io::Result<Option<String>> {
    match text {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("{path}: {error}"))),
    }
}

/// The sessions of the sockets that are listed in `texts`, as `/proc/net/tcp` lists them. What has no session is left
/// out, and what cannot be understood.
fn sessions(texts: &str) -> BTreeSet<Session> {
    let sockets: Vec<Socket> = texts.lines().filter_map(Socket::parse).collect();
    let servers = sockets.iter().filter(|socket| socket.state == LISTEN);
    let listened: BTreeSet<u16> = servers.map(|socket| socket.local.port()).collect();
    let open = sockets.iter().filter(|socket| OPEN.contains(&socket.state));
    open.map(|socket| {
        let is_server = listened.contains(&socket.local.port());
        let (client, server) = if is_server {
            (socket.remote, socket.local)
        } else {
            (socket.local, socket.remote)
        };
        Session { client, server }
    })
    .collect()
}

/// `TCP_LISTEN`
const LISTEN: u8 = 10;
/// `TCP_ESTABLISHED`, and those that one end alone has closed: `TCP_FIN_WAIT1`, `TCP_FIN_WAIT2`, `TCP_CLOSE_WAIT`.
const OPEN: [u8; 4] = [1, 4, 5, 8];

/// A line of `/proc/net/tcp`.
struct Socket {
    local: SocketAddr,
    remote: SocketAddr,
    state: u8,
}

impl Socket {
    /// `0: 0F02000A:0050 0202000A:8E54 01 ...`
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace().skip(1);
        Some(Self {
            local: address(words.next()?)?,
            remote: address(words.next()?)?,
            state: u8::from_str_radix(words.next()?, 16).ok()?,
        })
    }
}

/// Each four bytes of an address are one number of the processor's, and so is the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = Vec::new();
    for four in address.as_bytes().chunks(8) {
        let four = u32::from_str_radix(str::from_utf8(four).ok()?, 16).ok()?;
        bytes.extend(four.to_ne_bytes());
    }
    let address = match bytes.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(
        address,
        u16::from_str_radix(port, 16).ok()?,
    ))
}

/// The message that makes a session known, as one that both ends have spoken in.
fn new_session(session: &Session) -> Vec<u8> {
    // `AF_INET`, `AF_INET6`
    let family = if session.client.is_ipv4() { 2 } else { 10 };
    let Session { client, server } = session;
    // `IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED`
    let status = 2 | 4 | 8;
    // `IP_CT_TCP_FLAG_SACK_PERM | IP_CT_TCP_FLAG_BE_LIBERAL`, value and mask: nobody knows the numbers of its bytes, nor by
    // how much its windows are scaled.
    let liberal = [2 | 8; 2];
    // `TCP_CONNTRACK_ESTABLISHED`
    let established = attribute(1, &[3]);
    let tcp = [established, attribute(4, &liberal), attribute(5, &liberal)];
    // The kernel's own time for one that is idle, until a packet comes.
    let five_days = 5 * 24 * 60 * 60;
    let attributes = [
        tuple(1, client, server),
        tuple(2, server, client),
        word(3, status),
        nested(4, &[nested(1, &tcp)]),
        word(7, five_days),
    ];
    message(
        NEW_SESSION,
        ACKNOWLEDGED | UNLESS_KNOWN,
        family,
        0,
        &attributes.concat(),
    )
}

/// What the packets of one direction are known by.
fn tuple(kind: u16, from: &SocketAddr, to: &SocketAddr) -> Vec<u8> {
    let ip = |v4: u16, v6: u16, address: IpAddr| match address {
        IpAddr::V4(address) => attribute(v4, &address.octets()),
        IpAddr::V6(address) => attribute(v6, &address.octets()),
    };
    let port = |kind: u16, port: u16| attribute(kind, &port.to_be_bytes());
    // `IPPROTO_TCP`
    let protocol = attribute(1, &[6]);
    let ends = [ip(1, 3, from.ip()), ip(2, 4, to.ip())];
    let ports = [protocol, port(2, from.port()), port(3, to.port())];
    nested(kind, &[nested(1, &ends), nested(2, &ports)])
}

#[cfg(test)]
mod tests;
