//! A firewall that is loaded by a unit of the closure's own, as on NixOS: is it active, and is there one?
//!
//! Nothing is loaded a second time, so that a live switch, which restarts that unit, has nobody else to ask. The agent only
//! looks, between that unit and the network. Where it finds it not active the machine is closed.

use std::path::{Path, PathBuf};

use boot_entries::Root;

use crate::host::{self, Kind, Program};
use crate::system::program;

/// What an active unit is called.
const ACTIVE: &str = "active";

/// Why a closure's own unit is no firewall.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It did not do its work, or nobody has started it.
    #[error(
        "{unit}, which loads the firewall, is {state}, and should be active before the network"
    )]
    NotActive {
        /// The unit.
        unit: String,
        /// What systemd says of it.
        state: String,
    },
    /// systemd does not say.
    #[error("cannot tell whether {unit} has loaded the firewall: {source}")]
    Ask {
        /// The unit.
        unit: String,
        /// Why.
        source: program::Error,
    },
    /// There is no such unit.
    #[error("[firewall] unit: {} is not there", .0.display())]
    Missing(PathBuf),
    /// It would be too late.
    #[error(
        "[firewall] unit: {0} is for NixOS; here lastgood loads the firewall before such units are started: say a \
         `ruleset`, or rules"
    )]
    Plain(String),
}

/// Whether `unit` is active, by the systemd that runs.
///
/// # Errors
/// When it is not, or systemd does not answer.
pub(super) fn ask(unit: &str) -> Result<(), Refusal> {
    let state = state(unit).map_err(|source| Refusal::Ask {
        unit: unit.to_owned(),
        source,
    })?;
    judge(unit, state.trim())
}

pub(super) fn judge(unit: &str, state: &str) -> Result<(), Refusal> {
    if state == ACTIVE {
        return Ok(());
    }
    Err(Refusal::NotActive {
        unit: unit.to_owned(),
        state: state.to_owned(),
    })
}

fn state(unit: &str) -> Result<String, program::Error> {
    let mut systemctl = program::command(Program::Systemctl)?;
    systemctl.args(["show", "--value", "--property=ActiveState", "--", unit]);
    program::stdout_of(&mut systemctl)
}

/// Whether `closure` has `unit`, on a host on which that is early enough.
///
/// # Errors
/// When it is not so.
pub(super) fn check(root: &Root, closure: &Path, unit: &str) -> Result<(), Refusal> {
    if host::kind(root).is_ok_and(|kind| kind == Kind::Plain) {
        return Err(Refusal::Plain(unit.to_owned()));
    }
    let path = closure.join("etc/systemd/system").join(unit);
    let is_there = root.resolve(&path).is_ok_and(|file| file.is_file());
    is_there.then_some(()).ok_or(Refusal::Missing(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot_entries::durable::put_text;

    #[test]
    fn only_an_active_unit_has_loaded_it() {
        assert!(judge("nftables.service", "active").is_ok());
        for state in ["inactive", "failed", "activating", "reloading", ""] {
            let told = judge("nftables.service", state).unwrap_err().to_string();
            assert!(told.contains(&format!("is {state},")), "{told}");
        }
    }

    #[test]
    fn it_is_for_nixos_and_has_to_be_there() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let closure = Path::new("/nix/store/a");
        let look = || check(&root, closure, "nftables.service").map_err(|why| why.to_string());
        let told = look().unwrap_err();
        assert!(told.contains("is for NixOS"), "{told}");
        put_text("ID=nixos\n", &root.join("/etc/os-release")).unwrap();
        let told = look().unwrap_err();
        assert_eq!(
            told,
            "[firewall] unit: /nix/store/a/etc/systemd/system/nftables.service is not there"
        );
        let unit = root.join("/nix/store/a/etc/systemd/system/nftables.service");
        put_text("[Service]\n", &unit).unwrap();
        assert_eq!(look(), Ok(()));
    }
}
