//! Which TCP addresses of this machine are listened on, and by which unit.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::host::PROC;

/// `TCP_LISTEN` of the kernel's `tcp_states.h`, as `/proc/net/tcp` has it.
const LISTEN: &str = "0A";

/// The addresses, each with the processes that have the socket, and their units.
pub type Listening = BTreeMap<SocketAddr, Vec<(u64, String)>>;

/// What the kernel says now.
#[must_use]
pub fn addresses() -> BTreeSet<SocketAddr> {
    sockets().into_keys().collect()
}

/// What the kernel says now, and whose it is. Looks at the open files of all processes.
#[must_use]
pub fn owned() -> Listening {
    let sockets = sockets();
    let owners = owners(&sockets.values().copied().collect());
    sockets
        .into_iter()
        .map(|(address, inode)| (address, owners.get(&inode).cloned().unwrap_or_default()))
        .collect()
}

/// Addresses with the inode of the socket.
fn sockets() -> BTreeMap<SocketAddr, u64> {
    let mut all = BTreeMap::new();
    for table in ["net/tcp", "net/tcp6"] {
        // No IPv6: no file.
        let text = std::fs::read_to_string(Path::new(PROC).join(table)).unwrap_or_default();
        all.extend(text.lines().skip(1).filter_map(listening));
    }
    all
}

/// A line of `proc_net_tcp(5)`, if somebody listens there.
fn listening(line: &str) -> Option<(SocketAddr, u64)> {
    let mut fields = line.split_whitespace();
    let address = address(fields.nth(1)?)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    (state == LISTEN).then_some((address, inode))
}

/// `0100007F:0016`: words of the address in the order of the machine, the port in that of people.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = address.get(at..at + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (at, place) in bytes.chunks_exact_mut(4).enumerate() {
                place.copy_from_slice(&word(at * 8)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// The processes that have these sockets open, with their units.
fn owners(inodes: &BTreeSet<u64>) -> BTreeMap<u64, Vec<(u64, String)>> {
    let mut owners: BTreeMap<u64, Vec<(u64, String)>> = BTreeMap::new();
    let Ok(processes) = std::fs::read_dir(PROC) else {
        return owners;
    };
    for process in processes.flatten() {
        let pid = process.file_name().to_string_lossy().parse::<u64>();
        let Ok(pid) = pid else {
            continue;
        };
        // One that has ended by now has nothing open.
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let links = files
            .flatten()
            .filter_map(|file| std::fs::read_link(file.path()).ok());
        let open: Vec<u64> = links
            .filter_map(|link| inode(link.to_str()?))
            .filter(|inode| inodes.contains(inode))
            .collect();
        if open.is_empty() {
            continue;
        }
        let Some(unit) = unit_of(&process.path()) else {
            continue;
        };
        for inode in open {
            owners.entry(inode).or_default().push((pid, unit.clone()));
        }
    }
    owners
}

fn inode(link: &str) -> Option<u64> {
    let digits = link.strip_prefix("socket:[")?.strip_suffix(']')?;
    digits.parse().ok()
}

/// The unit of the process whose directory in `/proc` this is.
#[must_use]
pub fn unit_of(process: &Path) -> Option<String> {
    let text = std::fs::read_to_string(process.join("cgroup")).ok()?;
    unit_in(&text)
}

/// The innermost unit in a `cgroup` file (cgroups(7)) that PID 1 of the system knows: below a user's manager that is the
/// manager's own.
fn unit_in(text: &str) -> Option<String> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    path.split('/')
        .find(|part| matches!(part.rsplit_once('.'), Some((_, "service" | "scope"))))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn what_listens_is_seen_and_gone_when_it_is_closed() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let bound = listener.local_addr().unwrap();
            assert!(addresses().contains(&bound), "{bound}");
            assert!(owned().contains_key(&bound), "{bound}");
            let inode = sockets()[&bound];
            let whose = owners(&[inode].into());
            let us = u64::from(std::process::id());
            let found = whose.get(&inode).into_iter().flatten();
            let found = found.map(|(pid, _)| *pid).collect::<Vec<_>>();
            let is_in_a_unit = unit_of(Path::new("/proc/self")).is_some();
            assert_eq!(found.contains(&us), is_in_a_unit, "{found:?}");
            drop(listener);
            assert!(!addresses().contains(&bound), "{bound}");
        }
    }

    #[test]
    fn lines_of_proc() {
        let line = "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 23 1 x";
        let any = "0.0.0.0:8080".parse().unwrap();
        assert_eq!(listening(line), Some((any, 23)));
        assert_eq!(listening(&line.replace(" 0A ", " 01 ")), None);
        for odd in ["", "x", "0: 00000000 0 0A", "0: zz:zz 0 0A 0 0 0 0 0 1"] {
            assert_eq!(listening(odd), None, "{odd}");
        }
    }

    #[test]
    fn the_unit_that_pid_1_knows() {
        for (text, unit) in [
            ("0::/system.slice/ssh.service\n", Some("ssh.service")),
            (
                "0::/user.slice/user-0.slice/session-3.scope\n",
                Some("session-3.scope"),
            ),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/a.service\n",
                Some("user@1000.service"),
            ),
            ("0::/init.scope\n", Some("init.scope")),
            ("0::/\n", None),
            ("1:cpu:/system.slice/ssh.service\n", None),
        ] {
            assert_eq!(unit_in(text).as_deref(), unit, "{text}");
        }
    }
}
