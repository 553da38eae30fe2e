//! Looks at one thing of the running machine that a check may be about. Each says why not in half a sentence.
//!
//! Any of them may take long (a name server, a file system behind a network): whoever calls them ends them from outside.

mod http;
mod route;

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::{Duration, Instant};

use boot_entries::mountinfo;
use nix::sys::statvfs::{FsFlags, Statvfs, statvfs};

pub use http::{Expected, http};
pub use route::{Protocol, default_route};

use super::manager::{Manager, PATIENCE, Wanted};
use super::program;
use crate::host::{MOUNTS, Program};

/// Whether somebody at `host` takes a connection on `port`, at any of its addresses.
///
/// # Errors
/// Why not.
pub fn tcp(host: &str, port: u16, patience: Duration) -> Result<(), String> {
    connect(host, port, patience).map(drop)
}

/// Whether a name has an address.
///
/// # Errors
/// Why not, as the host's resolver says.
pub fn resolve(name: &str) -> Result<(), String> {
    addresses(name, 0).map(drop)
}

/// Whether a unit is active.
///
/// # Errors
/// That it is not, and what it is.
pub fn unit(name: &str) -> Result<(), String> {
    let mut manager = Manager::system(PATIENCE).map_err(|error| error.to_string())?;
    let wanted = [Wanted::unit("ActiveState"), Wanted::unit("LoadState")];
    let answers = manager
        .properties(&[name], &wanted)
        .map_err(|error| error.to_string())?;
    match answers.into_iter().next() {
        Some(Ok(answer)) if answer.text("ActiveState") == "active" => Ok(()),
        Some(Ok(answer)) if answer.text("LoadState") != "loaded" => {
            Err(format!("{name} is {}", answer.text("LoadState")))
        }
        Some(Ok(answer)) => Err(format!("{name} is {}", answer.text("ActiveState"))),
        Some(Err(refusal)) => Err(format!("{name}: {refusal}")),
        None => Err(format!("{name}: systemd says nothing of it")),
    }
}

/// Whether something is mounted at `path`, and can be written to if that is asked for.
///
/// # Errors
/// Why not.
pub fn mount(path: &Path, writable: bool) -> Result<(), String> {
    let text = std::fs::read(MOUNTS).map_err(|error| format!("cannot read {MOUNTS}: {error}"))?;
    if !mountinfo::mounts(&text).any(|mount| mount.point == path) {
        return Err(format!("nothing is mounted at {}", path.display()));
    }
    if writable && stat(path)?.flags().contains(FsFlags::ST_RDONLY) {
        return Err(format!("{} is mounted read-only", path.display()));
    }
    Ok(())
}

/// How much room the file system of `path` has for ordinary users, and how large it is, in bytes.
///
/// # Errors
/// When it cannot be asked.
pub fn room(path: &Path) -> Result<(u64, u64), String> {
    let stat = stat(path)?;
    let size = stat.fragment_size();
    let bytes = |blocks: u64| blocks.saturating_mul(size);
    // What root alone may use is no part of what there is.
    let all = stat.blocks() - stat.blocks_free() + stat.blocks_available();
    Ok((bytes(stat.blocks_available()), bytes(all)))
}

fn stat(path: &Path) -> Result<Statvfs, String> {
    statvfs(path).map_err(|error| format!("cannot look at {}: {}", path.display(), error.desc()))
}

/// Whether the kernel takes its clock for right: something like systemd-timesyncd or chrony keeps it so.
///
/// # Errors
/// That it does not, or cannot be asked.
pub fn time_sync(patience: Duration) -> Result<(), String> {
    let mut command = program::command(Program::Timedatectl).map_err(|error| error.to_string())?;
    command.args(["show", "--property=NTPSynchronized", "--value"]);
    let said = program::stdout_within(&mut command, patience).map_err(|error| error.to_string())?;
    match said.trim() {
        "yes" => Ok(()),
        _ => Err("the clock is not synchronized; `timedatectl timesync-status` or `chronyc tracking` tells more".to_owned()),
    }
}

fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = (host, port).to_socket_addrs();
    let found: Vec<SocketAddr> = found
        .map_err(|error| format!("{host}: {}", plain(&error)))?
        .collect();
    if found.is_empty() {
        return Err(format!("{host} has no address"));
    }
    Ok(found)
}

/// Tries the addresses of `host` one after the other.
fn connect(host: &str, port: u16, patience: Duration) -> Result<TcpStream, String> {
    let until = Instant::now() + patience;
    let mut refusals = Vec::new();
    for address in addresses(host, port)? {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => refusals.push(format!("{address}: {}", plain(&error))),
        }
    }
    Err(refusals.join("; "))
}

/// Without the number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests;
