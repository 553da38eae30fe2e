//! The closure's firewall, in the kernel before the network; or a closed machine.
//!
//! One run of `nft` is one transaction: all of a ruleset is in, or nothing of it. If it cannot be loaded our own table
//! closes the machine but for the declared management ports. Other tables are never touched: Docker, Kubernetes and
//! CNI plugins keep theirs (A2), which is why a ruleset that flushes everybody's is refused.

use std::path::{Path, PathBuf};

use boot_entries::Root;

use super::ruleset;
pub use super::ruleset::Refusal;
use crate::config;
use crate::host::Program;
use crate::system::program;

/// The table that closes the machine.
pub const LOCKDOWN: &str = "inet lastgood-lockdown";

/// What came of it. An [`Outcome::Closed`] machine is safe, but its generation is not healthy.
#[derive(Debug)]
#[must_use]
pub enum Outcome {
    /// The closure names no ruleset: its own units see to it.
    NotAsked,
    /// The closure's ruleset is in the kernel.
    Loaded(PathBuf),
    /// The ruleset could not be loaded; the machine is closed but for the management ports.
    Closed(Refusal),
}

/// Neither the ruleset nor the lockdown is in the kernel. Nothing was opened, nothing could be closed.
#[derive(Debug, thiserror::Error)]
#[error("cannot close the machine, although {why}")]
pub struct NotClosed {
    /// Why the machine should have been closed.
    pub why: Box<Refusal>,
    /// Why it could not be.
    #[source]
    pub lockdown: program::Error,
}

/// Loads the ruleset of `closure`, or closes the machine.
///
/// # Errors
/// When neither could be done.
pub fn load(
    root: &Root,
    closure: &Path,
    firewall: &config::Firewall,
) -> Result<Outcome, NotClosed> {
    load_with(&nft, root, closure, firewall)
}

/// Closes the machine, for the reason given: the configuration is unreadable, so no ruleset is known (A8).
///
/// # Errors
/// When that could not be done.
pub fn close(ports: &[u16], why: Refusal) -> Result<Outcome, NotClosed> {
    close_with(&nft, ports, why)
}

/// Runs `nft` on one script, which is one transaction.
fn nft(script: &str) -> Result<(), program::Error> {
    program::stdout_of(program::command(Program::Nft)?.arg(script)).map(drop)
}

type Nft<'a> = &'a dyn Fn(&str) -> Result<(), program::Error>;

fn load_with(
    nft: Nft<'_>,
    root: &Root,
    closure: &Path,
    firewall: &config::Firewall,
) -> Result<Outcome, NotClosed> {
    let Some(ruleset) = &firewall.ruleset else {
        // The machine may be closed from before a live switch. Where nft is not installed, it is not.
        if let Err(error) = nft(&without_lockdown()) {
            tracing::debug!("cannot remove a lockdown: {error}");
        }
        return Ok(Outcome::NotAsked);
    };
    match load_ruleset(nft, root, &closure.join(ruleset)) {
        Ok(()) => Ok(Outcome::Loaded(closure.join(ruleset))),
        Err(why) => close_with(nft, &firewall.management_ports, why),
    }
}

fn load_ruleset(nft: Nft<'_>, root: &Root, path: &Path) -> Result<(), Refusal> {
    ruleset::check(root, path)?;
    let file = root.resolve(path).map_err(|source| Refusal::Read {
        path: path.to_owned(),
        source,
    })?;
    // Included and not read in here: what nft has to say about it then has the right file and line.
    let script = format!("include \"{}\"\n{}", file.display(), without_lockdown());
    nft(&script).map_err(|source| Refusal::Load {
        path: path.to_owned(),
        source,
    })
}

fn close_with(nft: Nft<'_>, ports: &[u16], why: Refusal) -> Result<Outcome, NotClosed> {
    match nft(&lockdown(ports)) {
        Ok(()) => Ok(Outcome::Closed(why)),
        Err(lockdown) => Err(NotClosed {
            why: Box::new(why),
            lockdown,
        }),
    }
}

/// Removes the lockdown whether it is there or not: nft 1.0.6 has no `destroy`.
fn without_lockdown() -> String {
    format!("add table {LOCKDOWN}\ndelete table {LOCKDOWN}\n")
}

/// The ruleset of a closed machine, with the default management ports. `lastgood-firewall.service` loads the same file
/// when the agent itself is gone.
const CLOSED: &str = include_str!("../../../units/lockdown.nft");
/// What its line about management ports begins with.
const MANAGEMENT: &str = "\t\ttcp dport ";

/// The script that closes the machine but for `ports`.
///
/// What stays open is what keeps a closed machine reachable: its own answers, the address it has (neighbours, routers,
/// DHCP), ping to find it, and the management ports. A verdict of "drop" is final in nftables, whatever other tables
/// accept.
#[must_use]
pub fn lockdown(ports: &[u16]) -> String {
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    let management = format!("{MANAGEMENT}{{ {} }} accept", ports.join(", "));
    let lines = CLOSED.lines().filter_map(|line| {
        let is_about_ports = line.starts_with(MANAGEMENT);
        // An empty set is an error to nft.
        match (is_about_ports, ports.is_empty()) {
            (false, _) => Some(line),
            (true, false) => Some(management.as_str()),
            (true, true) => None,
        }
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests;
