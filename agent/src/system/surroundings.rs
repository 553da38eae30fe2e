//! What of a machine is no unit's state: where it is listened, whether there is a default route, the name servers.
//!
//! What cannot be read is None, and is compared with nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use super::listening;
use crate::host::PROC;
use crate::state::baseline::{Listener, Surroundings};

/// Ports above the first are given to whoever asks for any, and are others in each boot (ip(7)).
const ANY_PORT: &str = "sys/net/ipv4/ip_local_port_range";
/// What systemd-resolved asks, where it is in use: resolv.conf then names itself.
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
/// resolv.conf(5).
const RESOLVERS: &str = "/etc/resolv.conf";

/// `RTF_REJECT` of the kernel's `route.h`: a route that says there is none.
const REJECTS: u32 = 0x200;
/// `RTF_UP` of the same.
const UP: u32 = 1;

/// A glance: cheap, and without knowing whose a port is. Ports that are given at random are left out, but for `known`
/// ones.
#[must_use]
pub fn glance(known: &[u16]) -> Surroundings {
    let addresses = listening::addresses().into_iter();
    let unowned = addresses.map(|address| (address, None));
    around(unowned, known)
}

/// All of it, with the units that listen. Looks at the open files of all processes.
#[must_use]
pub fn look(known: &[u16]) -> Surroundings {
    let owned = listening::owned().into_iter();
    let owned = owned.map(|(address, owners)| {
        // What systemd listens on for a service is the service's once that runs.
        let mut units = owners.into_iter().map(|(_, unit)| unit);
        (address, units.find(|unit| unit != "init.scope"))
    });
    around(owned, known)
}

/// What is needed to reach anybody: the default route and the name servers. Nothing else is looked at.
#[must_use]
pub fn reach() -> Surroundings {
    let proc = |name: &str| std::fs::read_to_string(Path::new(PROC).join(name)).ok();
    let routes = proc("net/route");
    // No IPv6: no file.
    let routes_6 = proc("net/ipv6_route").unwrap_or_default();
    let resolvers = std::fs::read_to_string(RESOLVED);
    let resolvers = resolvers.or_else(|_| std::fs::read_to_string(RESOLVERS));
    Surroundings {
        default_route: routes.map(|routes| has_default(&routes) || has_default_6(&routes_6)),
        resolvers: resolvers.ok().map(|text| name_servers(&text)),
        ..Surroundings::default()
    }
}

fn around(
    listening: impl Iterator<Item = (SocketAddr, Option<String>)>,
    known: &[u16],
) -> Surroundings {
    let proc = |name: &str| std::fs::read_to_string(Path::new(PROC).join(name)).ok();
    let any_port = proc(ANY_PORT).and_then(|text| first_number(&text));
    Surroundings {
        listening: Some(by_port(listening, any_port, known)),
        ..reach()
    }
}

fn first_number(text: &str) -> Option<u16> {
    text.split_whitespace().next()?.parse().ok()
}

/// Each port once, as it can best be reached.
fn by_port(
    listening: impl Iterator<Item = (SocketAddr, Option<String>)>,
    any_port: Option<u16>,
    known: &[u16],
) -> BTreeSet<Listener> {
    let mut ports: BTreeMap<u16, Listener> = BTreeMap::new();
    for (address, unit) in listening {
        let port = address.port();
        if any_port.is_some_and(|first| port >= first) && !known.contains(&port) {
            continue;
        }
        let local = address.ip().to_canonical().is_loopback();
        let listener = ports.entry(port).or_insert_with(|| Listener {
            port,
            local,
            unit: None,
        });
        if listener.local && !local {
            *listener = Listener { port, local, unit };
        } else if listener.unit.is_none() && (listener.local || !local) {
            listener.unit = unit;
        }
    }
    ports.into_values().collect()
}

/// In the kernel's `net/route`: interface, destination, gateway, flags, three counters, mask.
fn has_default(table: &str) -> bool {
    table.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let field = |at: usize| fields.get(at).copied().unwrap_or_default();
        let flags = u32::from_str_radix(field(3), 16).unwrap_or_default();
        field(1) == "00000000" && field(7) == "00000000" && flags & UP != 0 && flags & REJECTS == 0
    })
}

/// In the kernel's `net/ipv6_route`: destination, its length, source, its length, next hop, three counters, flags,
/// interface.
fn has_default_6(table: &str) -> bool {
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let field = |at: usize| fields.get(at).copied().unwrap_or_default();
        let flags = u32::from_str_radix(field(8), 16).unwrap_or_default();
        let is_default = field(1) == "00" && field(0).bytes().all(|digit| digit == b'0');
        is_default && flags & UP != 0 && flags & REJECTS == 0 && field(9) != "lo"
    })
}

fn name_servers(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next())?
    });
    lines.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_once_as_it_can_best_be_reached() {
        let at = |text: &str, unit: Option<&str>| (text.parse().unwrap(), unit.map(str::to_owned));
        let found = [
            at("127.0.0.1:53", Some("a.service")),
            at("0.0.0.0:22", None),
            at("[::]:22", Some("ssh.service")),
            at("127.0.0.1:80", Some("local.service")),
            at("10.0.0.1:80", Some("web.service")),
            at("0.0.0.0:40000", Some("random.service")),
            at("0.0.0.0:50022", Some("ssh.service")),
            at("[::ffff:127.0.0.1]:81", None),
        ];
        let ports = by_port(found.into_iter(), Some(32768), &[50022]);
        let told: Vec<(u16, bool, Option<&str>)> = ports
            .iter()
            .map(|one| (one.port, one.local, one.unit.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                (22, false, Some("ssh.service")),
                (53, true, Some("a.service")),
                (80, false, Some("web.service")),
                (81, true, None),
                (50022, false, Some("ssh.service")),
            ]
        );
    }

    #[test]
    fn a_default_route() {
        let head = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";
        for (line, is_default) in [
            ("eth0 00000000 0102000A 0003 0 0 0 00000000 0 0 0", true),
            ("eth0 0002000A 00000000 0001 0 0 0 00FFFFFF 0 0 0", false),
            // Half of all, as a tunnel has it.
            ("tun0 00000000 00000000 0001 0 0 0 00000080 0 0 0", false),
            ("* 00000000 00000000 0200 0 0 0 00000000 0 0 0", false),
            ("", false),
        ] {
            assert_eq!(
                has_default(&format!("{head}{line}\n")),
                is_default,
                "{line}"
            );
        }
        let zero = "0".repeat(32);
        let line = |length: &str, flags: &str, interface: &str| {
            format!(
                "{zero} {length} {zero} 00 {zero} 00000400 00000001 00000000 {flags} {interface}\n"
            )
        };
        for (line, is_default) in [
            (line("00", "00450003", "eth0"), true),
            (line("00", "00200200", "lo"), false),
            (line("00", "00200201", "eth0"), false),
            (line("00", "00000001", "lo"), false),
            (line("40", "00450003", "eth0"), false),
        ] {
            assert_eq!(has_default_6(&line), is_default, "{line}");
        }
    }

    #[test]
    fn name_servers_of_a_file() {
        let text = "# nameserver 1.1.1.1\nsearch x\nnameserver 10.0.0.1\n nameserver\tfe80::1%eth0 # y\nnameserver\n";
        let expected = ["10.0.0.1", "fe80::1%eth0"].map(str::to_owned);
        assert_eq!(name_servers(text), expected.into());
    }

    #[test]
    fn this_machine_is_looked_at() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = |around: Surroundings| {
            let all = around.listening.unwrap();
            all.iter().any(|one| one.port == port && one.local)
        };
        assert!(seen(glance(&[port])));
        assert!(seen(look(&[port])));
        assert!(glance(&[]).default_route.is_some());
    }
}
