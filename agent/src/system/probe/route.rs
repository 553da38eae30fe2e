//! Whether there is a way out of the machine, as the kernel's main table has it.

use std::fmt;

/// Which protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The fourth.
    Ipv4,
    /// The sixth.
    Ipv6,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// `RTF_UP` and `RTF_REJECT` of linux/route.h.
const UP: u32 = 0x0001;
const REJECT: u32 = 0x0200;

/// Whether there is a default route. That somebody is at its other end nobody says.
///
/// # Errors
/// That there is none.
pub fn default_route(protocol: Protocol) -> Result<(), String> {
    let path = match protocol {
        Protocol::Ipv4 => "/proc/net/route",
        Protocol::Ipv6 => "/proc/net/ipv6_route",
    };
    match std::fs::read_to_string(path) {
        Ok(table) if has_default(protocol, &table) => Ok(()),
        Ok(_) => Err(format!("there is no default route of {protocol}")),
        // The kernel does not speak it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(format!("there is no {protocol}"))
        }
        Err(error) => Err(format!("cannot read {path}: {error}")),
    }
}

pub(super) fn has_default(protocol: Protocol, table: &str) -> bool {
    table.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (is_default, flags) = match (protocol, words.as_slice()) {
            // Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
            (Protocol::Ipv4, [_, destination, _, flags, _, _, _, mask, ..]) => {
                (*destination == "00000000" && *mask == "00000000", *flags)
            }
            // destination prefix source prefix gateway metric refs use flags interface
            (Protocol::Ipv6, [destination, prefix, _, _, _, _, _, _, flags, interface]) => {
                let is_all = destination.bytes().all(|digit| digit == b'0') && *prefix == "00";
                (is_all && *interface != "lo", *flags)
            }
            _ => return false,
        };
        let flags = u32::from_str_radix(flags, 16).unwrap_or_default();
        is_default && flags & UP != 0 && flags & REJECT == 0
    })
}
