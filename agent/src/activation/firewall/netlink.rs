//! Tells the kernel without `nft`, in its own language (netlink, `linux/netfilter/nf_tables.h`).
//!
//! To close the machine so is the last resort, for when nft is missing or broken. The rules are those of `units/lockdown.nft`, written with
//! nothing but comparisons. Like a script of nft's it is one transaction.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto,
    setsockopt, socket, sockopt::ReceiveTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

/// `NFNL_SUBSYS_NFTABLES`
const NF_TABLES: u16 = 10;
/// `NFPROTO_INET`: IPv4 and IPv6.
const INET: u8 = 1;
const TABLE: &[u8] = b"lastgood-lockdown\0";

/// `NLM_F_REQUEST | NLM_F_ACK`
pub(super) const ACKNOWLEDGED: u16 = 1 | 4;
/// `NLM_F_CREATE | NLM_F_APPEND`
const NEW: u16 = 0x400 | 0x800;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;

/// Closes the machine but for TCP `ports`.
///
/// # Errors
/// When the kernel says no, or has no `nf_tables`.
pub(super) fn close(ports: &[u16]) -> io::Result<()> {
    let (messages, expected) = batch(ports);
    // An error is the answer to all.
    Netlink::open()?.ask(&messages, expected, |answer| answer)
}

/// A conversation with the kernel about what it does with packets.
pub(super) struct Netlink(OwnedFd);

impl Netlink {
    /// Begins one, about the network namespace of this thread.
    pub(super) fn open() -> io::Result<Self> {
        let netlink = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )?;
        // It answers at once, or never.
        setsockopt(&netlink, ReceiveTimeout, &TimeVal::seconds(5))?;
        Ok(Self(netlink))
    }

    /// Sends `messages`, and gives each of the `expected` answers to `heard`. What that returns as an error ends it.
    pub(super) fn ask(
        &self,
        messages: &[u8],
        expected: usize,
        mut heard: impl FnMut(io::Result<()>) -> io::Result<()>,
    ) -> io::Result<()> {
        let kernel = NetlinkAddr::new(0, 0);
        sendto(self.0.as_raw_fd(), messages, &kernel, MsgFlags::empty())?;
        let mut seen = 0;
        let mut buffer = vec![0; 64 * 1024];
        while seen < expected {
            let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let mut rest = buffer.get(..length).unwrap_or_default();
            // Header, then the error: 0 for an acknowledgement.
            while let (Some(size), Some(error)) = (number(rest, 0), number(rest, 16)) {
                heard(match error.cast_signed().wrapping_neg() {
                    0 => Ok(()),
                    error => Err(io::Error::from_raw_os_error(error)),
                })?;
                seen += 1;
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                rest = rest
                    .get(size.next_multiple_of(4).max(4)..)
                    .unwrap_or_default();
            }
        }
        Ok(())
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

/// The messages, and how many of them are answered.
fn batch(ports: &[u16]) -> (Vec<u8>, usize) {
    let table = attribute(1, TABLE);
    let mut all = vec![
        // The table anew, whether it is there or not.
        (NEW_TABLE, NEW, table.clone()),
        (DELETE_TABLE, 0, table.clone()),
        (NEW_TABLE, NEW, table),
        (NEW_CHAIN, NEW, chain(b"input\0", 1)),
        (NEW_CHAIN, NEW, chain(b"forward\0", 2)),
    ];
    let rules = rules(ports);
    all.extend(rules.iter().map(|rule| (NEW_RULE, NEW, in_input(rule))));
    let mut messages = message(0x10, 1, 0, NF_TABLES, &[]);
    for (kind, flags, attributes) in &all {
        let kind = NF_TABLES << 8 | kind;
        messages.extend(message(kind, ACKNOWLEDGED | flags, INET, 0, attributes));
    }
    messages.extend(message(0x11, 1, 0, NF_TABLES, &[]));
    (messages, all.len())
}

/// A message: `kind` with its subsystem, and what it says.
pub(super) fn message(
    kind: u16,
    flags: u16,
    family: u8,
    resource: u16,
    attributes: &[u8],
) -> Vec<u8> {
    let length = 20 + attributes.len();
    let mut message = Vec::with_capacity(length);
    message.extend(u32::try_from(length).unwrap_or_default().to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([family, 0]);
    message.extend(resource.to_be_bytes());
    message.extend(attributes);
    message
}

/// One thing that a message says.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = 4 + value.len();
    let mut attribute = Vec::new();
    attribute.extend(u16::try_from(length).unwrap_or_default().to_ne_bytes());
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(length.next_multiple_of(4), 0);
    attribute
}

/// One thing that a message says, made of several.
pub(super) fn nested(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | 0x8000, &attributes.concat())
}

/// A number that a message says.
pub(super) fn word(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

/// A base chain at `hook` of priority 0, whose policy is "drop".
fn chain(name: &[u8], hook: u32) -> Vec<u8> {
    [
        attribute(1, TABLE),
        attribute(3, name),
        nested(4, &[word(1, hook), word(2, 0)]),
        word(5, 0),
        attribute(7, b"filter\0"),
    ]
    .concat()
}

/// A rule that accepts what all of these comparisons hold for.
fn in_input(rule: &[Is]) -> Vec<u8> {
    let mut expressions: Vec<Vec<u8>> = rule.iter().flat_map(Is::expressions).collect();
    let accept = nested(2, &[nested(2, &[word(1, 1)])]);
    expressions.push(expression("immediate", &[word(1, 0), accept]));
    [
        attribute(1, TABLE),
        attribute(2, b"input\0"),
        nested(4, &expressions),
    ]
    .concat()
}

fn expression(name: &str, data: &[Vec<u8>]) -> Vec<u8> {
    let name = [name.as_bytes(), b"\0"].concat();
    nested(1, &[attribute(1, &name), nested(2, data)])
}

/// What a packet is asked for, and what it must be.
enum Is {
    /// `meta`, by its key.
    Meta(u32, Vec<u8>),
    /// Its transport header, from this byte on.
    Transport(u32, Vec<u8>),
    /// Its IPv6 source begins with `fe80::/10`.
    LinkLocal,
    /// It belongs to a conversation.
    Tracked,
}

impl Is {
    fn expressions(&self) -> Vec<Vec<u8>> {
        let value = |kind: u16, bytes: &[u8]| nested(kind, &[attribute(1, bytes)]);
        let compare = |operator: u32, bytes: &[u8]| {
            expression("cmp", &[word(1, 1), word(2, operator), value(3, bytes)])
        };
        let length = |bytes: &[u8]| word(4, u32::try_from(bytes.len()).unwrap_or_default());
        let masked = |mask: &[u8]| {
            let length = u32::try_from(mask.len()).unwrap_or_default();
            let nothing = vec![0; mask.len()];
            let data = [
                word(1, 1),
                word(2, 1),
                word(3, length),
                value(4, mask),
                value(5, &nothing),
            ];
            expression("bitwise", &data)
        };
        match self {
            Self::Meta(key, bytes) => vec![
                expression("meta", &[word(1, 1), word(2, *key)]),
                compare(0, bytes),
            ],
            Self::Transport(at, bytes) => vec![
                expression(
                    "payload",
                    &[word(1, 1), word(2, 2), word(3, *at), length(bytes)],
                ),
                compare(0, bytes),
            ],
            Self::LinkLocal => {
                // Of sixteen bytes the first ten bits.
                let of_sixteen = |first: u8, second: u8| {
                    let mut bytes = vec![first, second];
                    bytes.resize(16, 0);
                    bytes
                };
                vec![
                    expression(
                        "payload",
                        &[word(1, 1), word(2, 1), word(3, 8), word(4, 16)],
                    ),
                    masked(&of_sixteen(0xff, 0xc0)),
                    compare(0, &of_sixteen(0xfe, 0x80)),
                ]
            }
            // Bits of the processor's own order: established and related. Not none of them.
            Self::Tracked => vec![
                expression("ct", &[word(1, 1), word(2, 0)]),
                masked(&6_u32.to_ne_bytes()),
                compare(1, &[0; 4]),
            ],
        }
    }
}

fn rules(ports: &[u16]) -> Vec<Vec<Is>> {
    let family = |family: u8| Is::Meta(15, vec![family]);
    let protocol = |protocol: u8| Is::Meta(16, vec![protocol]);
    let mut lo = b"lo".to_vec();
    lo.resize(16, 0);
    let mut rules = vec![vec![Is::Meta(6, lo)], vec![Is::Tracked]];
    // Ping.
    rules.push(vec![family(2), protocol(1), Is::Transport(0, vec![8])]);
    // Ping, neighbours, routers, and who listens to what.
    for kind in [128, 135, 136, 134, 130] {
        rules.push(vec![family(10), protocol(58), Is::Transport(0, vec![kind])]);
    }
    // DHCP: from port 67 to 68, and from 547 to 546.
    let udp =
        |from: u16, to: u16| Is::Transport(0, [from.to_be_bytes(), to.to_be_bytes()].concat());
    rules.push(vec![protocol(17), udp(67, 68)]);
    rules.push(vec![family(10), Is::LinkLocal, protocol(17), udp(547, 546)]);
    let port = |port: &u16| vec![protocol(6), Is::Transport(2, port.to_be_bytes().to_vec())];
    rules.extend(ports.iter().map(port));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::program;
    use nix::sched::{CloneFlags, unshare};
    use std::process::Command;

    fn nft(words: &[&str]) -> String {
        program::stdout_of(Command::new("nft").args(words)).unwrap()
    }

    /// What nft reads back says the same as `units/lockdown.nft`, rule by rule.
    #[test]
    fn the_kernel_has_what_the_file_says() {
        // This thread's machine.
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        nft(&["table ip docker { chain x { }; }"]);
        for _ in 0..2 {
            close(&[22, 8022]).unwrap();
        }
        assert_eq!(
            nft(&["list", "tables"]),
            "table ip docker\ntable inet lastgood-lockdown\n"
        );
        let listed = nft(&["-n", "list", "table", "inet", "lastgood-lockdown"]);
        let rules: Vec<&str> = listed
            .lines()
            .map(str::trim)
            .filter(|line| line.contains(' '))
            .collect();
        assert_eq!(
            rules,
            [
                "table inet lastgood-lockdown {",
                "chain input {",
                "type filter hook input priority 0; policy drop;",
                "iifname \"lo\" accept",
                "ct state 0x2,0x4 accept",
                "icmp type 8 accept",
                "icmpv6 type 128 accept",
                "icmpv6 type 135 accept",
                "icmpv6 type 136 accept",
                "icmpv6 type 134 accept",
                "icmpv6 type 130 accept",
                "udp sport 67 udp dport 68 accept",
                "ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept",
                "tcp dport 22 accept",
                "tcp dport 8022 accept",
                "chain forward {",
                "type filter hook forward priority 0; policy drop;",
            ]
        );
        close(&[]).unwrap();
        let listed = nft(&["list", "table", "inet", "lastgood-lockdown"]);
        assert!(!listed.contains("tcp"), "{listed}");
        // As the unit does it when the agent has died: nft's file in its place.
        program::stdout_of(Command::new("nft").args(["-f", "../units/lockdown.nft"])).unwrap();
    }
}
