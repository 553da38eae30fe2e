//! A soft-reboot has begun a user space of its own: what spoke of the one before is gone, and what runs is told.

use std::collections::BTreeSet;

use boot_entries::Root;

use crate::error::Error;
use crate::host::{CURRENT_SYSTEM, SWITCH_BEFORE};
use crate::report::line::one_line;
use crate::store::handover;
use crate::system::manager::{self, Listed, Manager, Mode, Verb, Wanted};
use crate::system::{command_line, userspace};

/// Asks systemd how many soft-reboots there were, and takes notice of a new one. Every step of a boot begins with it:
/// which boot this is, and what runs, depends on it.
pub(super) fn take_notice(root: &Root) {
    if !root.is_live() {
        return;
    }
    // An older systemd does not count them, and the agent goes by none of them.
    let Some(count) = userspace::asked().filter(|count| *count != userspace::count(root)) else {
        return;
    };
    if let Err(error) = noticed(root, count) {
        tracing::error!("{}", one_line(&error));
    }
    for made in [forget_failures(), start_what_devices_want()] {
        if let Err(error) = made {
            tracing::error!("{}", one_line(&error));
        }
    }
}

/// systemd keeps its devices over a soft-reboot, and starts nothing for those it has (257). What only udev wants
/// (`SYSTEMD_WANTS=`: a hypervisor's guest agent, an interface of ifupdown) would stay down.
fn start_what_devices_want() -> Result<(), manager::Error> {
    let mut manager = Manager::system(manager::PATIENCE)?;
    let units = manager.units()?;
    let devices = plugged(&units);
    let wants = manager.properties(&devices, &[Wanted::unit("Wants")])?;
    let wants = wants.iter().flatten();
    let wanted: BTreeSet<&str> = wants.flat_map(|device| device.names("Wants")).collect();
    let wanted: Vec<&str> = wanted.into_iter().collect();
    // Nobody waits for them, as after any other boot. What is up stays as it is.
    let jobs = manager.enqueue(Verb::Start, &wanted, Mode::Fail)?;
    for (unit, job) in wanted.iter().zip(jobs) {
        match job {
            Ok(_) => tracing::debug!("a device wants {unit}"),
            Err(refusal) => tracing::warn!("a device wants {unit}: {refusal}"),
        }
    }
    Ok(())
}

/// The devices that are there.
fn plugged(units: &[Listed]) -> Vec<&str> {
    let devices = units
        .iter()
        .filter(|unit| unit.active == "active" && unit.name.ends_with(".device"));
    devices.map(|unit| unit.name.as_str()).collect()
}

/// systemd keeps over a soft-reboot that a unit has failed (257). It would be held against what runs now, and the last good
/// generation would excuse the trial.
fn forget_failures() -> Result<(), manager::Error> {
    const SINCE: &str = "InactiveEnterTimestampMonotonic";
    const BEGAN: &str = "UserspaceTimestampMonotonic";
    let mut manager = Manager::system(manager::PATIENCE)?;
    let began = manager.own_properties(&[BEGAN])?.number(BEGAN);
    let units = manager.units()?.into_iter();
    let failed: Vec<String> = units
        .filter(|unit| unit.active == "failed")
        .map(|unit| unit.name)
        .collect();
    let since = manager.properties(&failed, &[Wanted::unit(SINCE)])?;
    for (unit, since) in failed.iter().zip(since) {
        let since = since.ok().and_then(|found| found.number(SINCE));
        if since < began {
            match manager.reset_failed(unit) {
                Ok(()) | Err(manager::Error::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn noticed(root: &Root, count: u64) -> Result<(), Error> {
    handover::forget_userspace(root)?;
    userspace::note(root, count).map_err(handover::Error::from)?;
    // A live switch that has ended is not undone by it: what was active goes on.
    let active = std::fs::read_link(root.join(CURRENT_SYSTEM)).ok();
    let active = active.filter(|_| !root.join(SWITCH_BEFORE).is_file());
    let runs = command_line::closure(root)?;
    if let (Some(runs), Some(active)) = (runs, active)
        && runs != active
    {
        userspace::runs_from(root, &active, count).map_err(handover::Error::from)?;
        // Its `/etc` was in place before this user space began.
        handover::Stage2 {
            closure: active,
            changes: 0,
            problems: Vec::new(),
        }
        .leave(root)?;
    }
    tracing::info!("this is the user space of soft-reboot {count}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{COMMAND_LINE, FIREWALLED, PROVEN};
    use crate::store::handover::Units;
    use boot_entries::durable::{put_link, put_text};
    use std::path::{Path, PathBuf};

    fn machine(active: &str) -> (tempfile::TempDir, Root) {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        put_text("init=/nix/store/2/init", &root.join(COMMAND_LINE)).unwrap();
        put_link(Path::new(active), &root.join(CURRENT_SYSTEM)).unwrap();
        (tree, root)
    }

    fn runs(root: &Root) -> Option<PathBuf> {
        command_line::closure(root).unwrap()
    }

    #[test]
    fn what_was_switched_to_goes_on_over_a_soft_reboot() {
        let (_tree, root) = machine("/nix/store/3");
        noticed(&root, 1).unwrap();
        assert_eq!(runs(&root), Some("/nix/store/3".into()));
        let (_tree, root) = machine("/nix/store/3");
        put_text("{}", &root.join(SWITCH_BEFORE)).unwrap();
        noticed(&root, 1).unwrap();
        assert_eq!(runs(&root), Some("/nix/store/2".into()), "it had not ended");
        let (_tree, root) = machine("/nix/store/2");
        noticed(&root, 1).unwrap();
        assert_eq!(runs(&root), Some("/nix/store/2".into()));
    }

    #[test]
    fn only_devices_that_are_there_are_asked_what_they_want() {
        let unit = |name: &str, active: &str| Listed {
            name: name.to_owned(),
            description: String::new(),
            load: "loaded".to_owned(),
            active: active.to_owned(),
            sub: String::new(),
            following: String::new(),
            job: None,
        };
        let units = [
            unit("dev-sda.device", "active"),
            unit("dev-sdb.device", "inactive"),
            unit("device.service", "active"),
        ];
        assert_eq!(plugged(&units), ["dev-sda.device"]);
    }

    #[test]
    fn what_spoke_of_the_user_space_before_is_gone() {
        let (_tree, root) = machine("/nix/store/2");
        for path in [PROVEN, FIREWALLED] {
            handover::mark(&root, path).unwrap();
        }
        let mut units = Units::none("/nix/store/2");
        units.missed = vec!["then".to_owned()];
        units.problems = vec!["now".to_owned()];
        units.leave(&root).unwrap();
        noticed(&root, 1).unwrap();
        for path in [PROVEN, FIREWALLED] {
            assert!(!root.join(path).is_file(), "{path}");
        }
        let units = Units::read(&root).unwrap().unwrap();
        assert_eq!(units.problems, ["now"]);
        assert!(units.missed.is_empty());
    }
}
