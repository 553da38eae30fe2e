//! A closure is put in place while the machine runs: its `/etc`, its script, its firewall.

use std::collections::BTreeMap;
use std::path::Path;

use boot_entries::Root;

use super::nixos::{self, Script};
use super::said::Speaker;
use crate::activation::firewall::{self, Outcome};
use crate::activation::{self, Done};
use crate::config::{self, Config};
use crate::host::{self, Kind};
use crate::report::line::one_line;

/// Puts `closure` in place: everything that can be done of it before its units are started. A firewall that one of them
/// loads is looked at afterwards ([`firewall_of_unit`]).
///
/// # Errors
/// What is not as it should be, a line each.
pub(super) fn put(
    root: &Root,
    closure: &Path,
    environment: &BTreeMap<String, String>,
    speaker: &mut Speaker,
) -> Result<(), Vec<String>> {
    let mut problems = Vec::new();
    match host::kind(root) {
        Err(error) => return Err(vec![one_line(&error)]),
        Ok(Kind::NixOs) => problems.extend(by_script(closure, environment, speaker).err()),
        Ok(Kind::Plain) => match activation::activate(root, closure) {
            Ok(Done::Linked(_) | Done::Checked) => {}
            Err(error) => problems.push(one_line(&error)),
        },
    }
    if !is_by_unit(root, closure) {
        problems.extend(load_firewall(root, closure).err());
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

fn is_by_unit(root: &Root, closure: &Path) -> bool {
    config::read(root, closure)
        .is_ok_and(|config| matches!(config.firewall.asked(), config::Asked::Unit(_)))
}

/// Whether a closure's own unit has loaded its firewall, now that the units are up. If not, the machine is closed; if it
/// has, a lockdown from before is taken away.
///
/// # Errors
/// That it is closed.
pub(super) fn firewall_of_unit(root: &Root, closure: &Path) -> Result<(), String> {
    if is_by_unit(root, closure) {
        load_firewall(root, closure)
    } else {
        Ok(())
    }
}

fn by_script(
    closure: &Path,
    environment: &BTreeMap<String, String>,
    speaker: &mut Speaker,
) -> Result<(), String> {
    let ran =
        nixos::run(closure, Script::Activate, environment).map_err(|error| one_line(&error))?;
    for line in ran.lines {
        speaker.line(line);
    }
    ran.failure.map_or(Ok(()), Err)
}

fn load_firewall(root: &Root, closure: &Path) -> Result<(), String> {
    let outcome = match config::read(root, closure) {
        Ok(config) => activation::firewall(root, closure, &config.firewall),
        Err(error) => {
            let ports = Config::default().firewall.management_ports;
            let path = closure.join(config::PATH);
            firewall::close(
                &ports,
                firewall::Refusal::Unknown(format!("{}: {error}", path.display())),
            )
        }
    };
    match outcome {
        Ok(Outcome::Closed(why)) => Err(format!(
            "the firewall was not loaded, and the machine is closed: {}",
            one_line(&why)
        )),
        Ok(_) => Ok(()),
        Err(error) => Err(one_line(&error)),
    }
}
