//! The closure's firewall, in the kernel before the network; or a closed machine.
//!
//! One run of `nft` is one transaction: all of a ruleset is in, or nothing of it. It replaces the tables that the ruleset
//! names. What is in the kernel already is left alone: counters, sets that were filled meanwhile, and the order of the
//! tables stay. Sessions that are older than the first one are made known to connection tracking before. If it cannot be loaded our own table closes the machine but for the declared management ports. Other
//! tables are never touched: Docker, Kubernetes and CNI plugins keep theirs (A2), which is why a ruleset that flushes
//! everybody's is refused.

use std::io;
use std::path::{Path, PathBuf};

use boot_entries::Root;

use super::ruleset::{self, Ruleset, Table, When};
use crate::config::{self, Asked};
use crate::host;

mod check;
mod loaded;
mod netlink;
mod nft;
mod sessions;
mod unit;

pub use check::check;
use loaded::Loaded;
use nft::Nft;

/// The table that closes the machine.
pub const LOCKDOWN: &str = "inet lastgood-lockdown";

/// What came of it. An [`Outcome::Closed`] machine is safe, but its generation is not healthy.
#[derive(Debug)]
#[must_use]
pub enum Outcome {
    /// The closure asks for no firewall: its own units see to it.
    NotAsked,
    /// The closure's own unit has loaded its firewall.
    ByUnit(String),
    /// The closure's ruleset is in the kernel now.
    Loaded(PathBuf),
    /// It was there before, and is as it was.
    Unchanged(PathBuf),
    /// The ruleset could not be loaded; the machine is closed but for the management ports.
    Closed(Refusal),
}

/// Why a closure's firewall is not, or would not be, in the kernel.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Its ruleset may not be loaded.
    #[error(transparent)]
    Ruleset(#[from] ruleset::Refusal),
    /// nft said no.
    #[error("cannot load the ruleset {}: {source}", path.display())]
    Load {
        /// The ruleset.
        path: PathBuf,
        /// What nft said.
        source: nft::Error,
    },
    /// nft said yes, and a table is not there.
    #[error("the ruleset {} was loaded, and its table {table} is not there; see `nft list ruleset`, and who else changes it", path.display())]
    Gone {
        /// The ruleset.
        path: PathBuf,
        /// Which.
        table: Table,
    },
    /// Nothing can load it.
    #[error("the generation asks for a firewall: {0}")]
    NoNft(host::Missing),
    /// The closure's own unit has not loaded its firewall, or it cannot.
    #[error(transparent)]
    Unit(#[from] unit::Refusal),
    /// What is to be loaded is not known: the configuration could not be read.
    #[error("cannot tell which ruleset to load: {0}")]
    Unknown(String),
}

impl Refusal {
    fn load(ruleset: &Ruleset, source: nft::Error) -> Self {
        Self::Load {
            path: ruleset.name.clone(),
            source,
        }
    }
}

/// Neither the ruleset nor the lockdown is in the kernel. Nothing was opened, nothing could be closed.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot close the machine, although {why}: {lockdown}; and the kernel does not do it either"
)]
pub struct NotClosed {
    /// Why the machine should have been closed.
    pub why: Box<Refusal>,
    /// Why nft did not.
    pub lockdown: nft::Error,
    /// Why the kernel did not, when it was told without nft.
    #[source]
    pub kernel: io::Error,
}

/// What a firewall is loaded with.
#[derive(Clone, Copy)]
struct Means<'a> {
    nft: Nft<'a>,
    /// Closes the machine without it.
    close: &'a dyn Fn(&[u16]) -> io::Result<()>,
    /// Makes sessions known that are older than the rules.
    keep: &'a dyn Fn(),
    /// Whether a unit is active.
    ask: &'a dyn Fn(&str) -> Result<(), unit::Refusal>,
}

impl Means<'_> {
    fn of_this_machine() -> Self {
        Self {
            nft: &nft::of_this_machine,
            close: &netlink::close,
            keep: &sessions::keep,
            ask: &unit::ask,
        }
    }
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
    load_with(Means::of_this_machine(), root, closure, firewall)
}

/// A digest of the ruleset that lastgood has loaded in this boot. None: it has loaded none, or nobody can tell.
#[must_use]
pub fn digest(root: &Root) -> Option<String> {
    Loaded::read(root).map(|loaded| loaded.digest)
}

/// Closes the machine, for the reason given: the configuration is unreadable, so no ruleset is known (A8).
///
/// # Errors
/// When that could not be done.
pub fn close(ports: &[u16], why: Refusal) -> Result<Outcome, NotClosed> {
    close_with(Means::of_this_machine(), ports, why)
}

fn load_with(
    means: Means<'_>,
    root: &Root,
    closure: &Path,
    firewall: &config::Firewall,
) -> Result<Outcome, NotClosed> {
    if let Asked::Unit(unit) = firewall.asked() {
        return match (means.ask)(unit) {
            Ok(()) => {
                unload(means, root);
                open(means);
                Ok(Outcome::ByUnit(unit.to_owned()))
            }
            Err(why) => close_with(means, &firewall.management_ports, why.into()),
        };
    }
    let ruleset = match wanted(root, closure, firewall, When::Boot) {
        Ok(Some(ruleset)) => ruleset,
        Ok(None) => {
            unload(means, root);
            open(means);
            return Ok(Outcome::NotAsked);
        }
        Err(why) => return close_with(means, &firewall.management_ports, why),
    };
    load_ruleset(means, root, ruleset)
        .or_else(|why| close_with(means, &firewall.management_ports, why))
}

/// What the closure asks for. None: nothing.
fn wanted(
    root: &Root,
    closure: &Path,
    firewall: &config::Firewall,
    when: When,
) -> Result<Option<Ruleset>, Refusal> {
    Ok(match firewall.asked() {
        Asked::Nothing | Asked::Unit(_) => None,
        Asked::Ruleset(path) => Some(ruleset::read(root, closure, &closure.join(path), when)?),
        Asked::Rules(rules) => Some(ruleset::of_rules(root, closure, rules, when)?),
    })
}

/// What nftables is given for the firewall of `closure`, and a digest of that with all that it includes. None: it asks for
/// none.
///
/// # Errors
/// When it cannot be read, or may not be loaded.
pub fn text(
    root: &Root,
    closure: &Path,
    firewall: &config::Firewall,
) -> Result<Option<(String, String)>, Refusal> {
    let ruleset = wanted(root, closure, firewall, When::Boot)?;
    let text = |ruleset: Ruleset| {
        let text = match firewall.asked() {
            Asked::Ruleset(path) => ruleset::text(root, &closure.join(path))?,
            _ => ruleset.script,
        };
        Ok((text, ruleset.digest))
    };
    ruleset.map(text).transpose()
}

/// Takes away a lockdown from an earlier run: what it was for is in place. Where nft is not installed, there is none.
fn open(means: Means<'_>) {
    if let Err(error) = nft::run(means.nft, &without_lockdown()) {
        tracing::debug!("cannot remove a lockdown: {error}");
    }
}

/// Takes away what another closure's ruleset has brought in this boot (a live switch, or its undo): this one has none, and
/// whoever is locked out by those tables would stay so. At a boot there are none.
fn unload(means: Means<'_>, root: &Root) {
    let before = Loaded::read(root).unwrap_or_default();
    let tables = before.still_there(means.nft);
    if tables.is_empty() {
        return;
    }
    let script: String = tables
        .iter()
        .map(|table| without(&table.to_string()))
        .collect();
    match nft::run(means.nft, &script) {
        Ok(()) => Loaded::default().write(root),
        Err(error) => tracing::error!("cannot remove the tables of the firewall before: {error}"),
    }
}

fn load_ruleset(means: Means<'_>, root: &Root, ruleset: Ruleset) -> Result<Outcome, Refusal> {
    let nft = means.nft;
    let before = Loaded::read(root).unwrap_or_default();
    if before.digest == ruleset.digest && before.is_whole(nft) {
        // A ruleset that was refused in between has closed the machine.
        nft::run(nft, &without_lockdown()).map_err(|source| Refusal::load(&ruleset, source))?;
        return Ok(Outcome::Unchanged(ruleset.name));
    }
    let script = replacing(&ruleset, &before.still_there(nft));
    (means.keep)();
    nft::run(nft, &script).map_err(|source| Refusal::load(&ruleset, source))?;
    match Loaded::now(nft, &ruleset) {
        Ok(loaded) => loaded.write(root),
        Err(table) => {
            let path = ruleset.name;
            return Err(Refusal::Gone { path, table });
        }
    }
    Ok(Outcome::Loaded(ruleset.name))
}

/// The script that puts `ruleset` in the place of its own tables, of those that were loaded before it, and of a
/// lockdown. It is one transaction: there is no time without either.
fn replacing(ruleset: &Ruleset, before: &[Table]) -> String {
    let others = before
        .iter()
        .filter(|table| !ruleset.tables.contains(table));
    let own = ruleset.tables.iter().chain(others);
    let without: String = own.map(|table| without(&table.to_string())).collect();
    // The ruleset comes last: a brace that is not closed would take in what comes after it.
    format!("{}{without}{}", without_lockdown(), ruleset.script)
}

fn close_with(means: Means<'_>, ports: &[u16], why: Refusal) -> Result<Outcome, NotClosed> {
    (means.keep)();
    let Err(lockdown) = nft::run(means.nft, &lockdown(ports)) else {
        return Ok(Outcome::Closed(why));
    };
    tracing::error!("nft does not close the machine: {lockdown}; telling the kernel without it");
    match (means.close)(ports) {
        Ok(()) => Ok(Outcome::Closed(why)),
        Err(kernel) => Err(NotClosed {
            why: Box::new(why),
            lockdown,
            kernel,
        }),
    }
}

fn without_lockdown() -> String {
    without(LOCKDOWN)
}

/// Removes a table whether it is there or not: nft 1.0.6 has no `destroy`, and older kernels have none either.
fn without(table: &str) -> String {
    format!("add table {table}\ndelete table {table}\n")
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
