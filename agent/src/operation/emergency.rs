//! A generation that stays in emergency mode is brought to the network, with its SSH server, so that somebody can mend it.
//!
//! In that mode nothing can be started the ordinary way: what needs sysinit.target ends the mode, tries what failed once
//! more, and stops again what was started (252, 257 and 262). So each unit is started by itself, without what it needs;
//! and in this boot none of them needs that target any more, because a socket, a message on the bus or a restart starts
//! units the ordinary way.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use boot_entries::{Root, durable};

use crate::error::Error;
use crate::host::RUN_UNITS;
use crate::report::line::one_line;
use crate::store::handover::Emergency;
use crate::system::manager::{self, JobResult, Manager, Mode, Verb, Wanted};

/// How long systemd may take to answer.
const PATIENCE: Duration = Duration::from_secs(25);
/// How long a group of units may take to come up. The next one does not need it.
const COMES_UP: Duration = Duration::from_secs(30);

/// What is started, group after group, as far as the machine has it and would have started it.
const GROUPS: [&[&str]; 3] = [
    &["dbus.socket", "dbus-broker.service", "dbus.service"],
    &[
        "systemd-networkd.socket",
        "systemd-networkd.service",
        "systemd-resolved.service",
        "wpa_supplicant.service",
        "NetworkManager.service",
        "networking.service",
        "dhcpcd.service",
        "connman.service",
        "network-setup.service",
    ],
    &[
        // Only root may log in before it has run.
        "systemd-user-sessions.service",
        "ssh.socket",
        "ssh.service",
        "sshd.socket",
        "sshd.service",
        "dropbear.socket",
        "dropbear.service",
    ],
];
/// Whose units are of use for nothing but the bus.
const NEED_THE_BUS: [&str; 3] = [
    "NetworkManager.service",
    "connman.service",
    "wpa_supplicant.service",
];
/// What is started by others: by a socket, by a message on the bus, by a login.
const BY_OTHERS: [&str; 6] = [
    "ssh@.service",
    "sshd@.service",
    "dropbear@.service",
    "systemd-logind.service",
    "user@.service",
    "user-runtime-dir@.service",
];
/// What makes a unit need sysinit.target, taken away; and what else comes with it, kept.
const ALONE: &str = "\
# Emergency mode: needing sysinit.target would end it, and stop again what was started.
[Unit]
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
";
/// The drop-in's name.
const DROP_IN: &str = "50-lastgood-emergency.conf";

/// A unit, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its own name: two names may be of one unit.
    pub id: String,
    /// It could be read.
    pub is_loaded: bool,
    /// It is up, or on its way.
    pub is_up: bool,
    /// Something would have started it.
    pub is_wanted: bool,
}

/// Brings the machine to the network.
///
/// # Errors
/// When systemd does not answer, the drop-ins cannot be written, or what came of it cannot be left for `status`.
pub fn emergency(root: &Root) -> Result<Emergency, Error> {
    let mut manager = Manager::system(PATIENCE)?;
    let seen = see(&mut manager)?;
    let groups = to_start(&seen);
    // Those that are up are started again by their sockets, and when they fail.
    let known = seen
        .values()
        .filter(|unit| unit.is_loaded)
        .map(|unit| unit.id.as_str());
    for unit in known.chain(BY_OTHERS) {
        let place = format!("{RUN_UNITS}/{unit}.d/{DROP_IN}");
        let place = root.place(&place).map_err(|source| {
            Error::Refused(format!("cannot find the place of {place}: {source}"))
        })?;
        durable::put_text(ALONE, &place)?;
    }
    manager.reload()?;
    let mut came = Emergency::default();
    for group in &groups {
        for (unit, result) in start(&mut manager, group)? {
            match result {
                None => came.started.push(unit),
                Some(why) => {
                    tracing::error!("{unit} was not started: {why}");
                    came.failed.push(unit);
                }
            }
        }
    }
    came.leave(root)
        .unwrap_or_else(|error| tracing::error!("{}", one_line(&error)));
    Ok(came)
}

/// Which units are to be started, group after group. Pure.
#[must_use]
pub fn to_start(seen: &BTreeMap<String, Seen>) -> Vec<Vec<String>> {
    let is_to_start = |unit: &Seen| unit.is_loaded && unit.is_wanted && !unit.is_up;
    let needs_the_bus = NEED_THE_BUS
        .iter()
        .filter_map(|name| seen.get(*name))
        .any(is_to_start);
    let of_group = |group: &&[&str]| {
        let units = group.iter().filter_map(|name| seen.get(*name));
        let mut ids: Vec<String> = Vec::new();
        for unit in units.filter(|unit| is_to_start(unit)) {
            if !ids.contains(&unit.id) {
                ids.push(unit.id.clone());
            }
        }
        ids
    };
    let groups = GROUPS.iter().enumerate();
    groups
        .filter(|(place, _)| *place > 0 || needs_the_bus)
        .map(|(_, group)| of_group(group))
        .collect()
}

/// Those that this machine has, by the name that was asked for.
fn see(manager: &mut Manager) -> Result<BTreeMap<String, Seen>, manager::Error> {
    let names: Vec<&str> = GROUPS.iter().copied().flatten().copied().collect();
    let wanted = [
        "Id",
        "LoadState",
        "ActiveState",
        "WantedBy",
        "RequiredBy",
        "TriggeredBy",
    ];
    let wanted = wanted.map(Wanted::unit);
    // What wants them is read along with it: only then do they know of it.
    manager.properties(&["default.target", "multi-user.target"], &wanted)?;
    let answers = manager.properties(&names, &wanted)?;
    let seen = names.iter().zip(answers).filter_map(|(name, answer)| {
        let unit = answer.ok()?;
        let has = |list: &str| unit.names(list).next().is_some();
        let seen = Seen {
            id: unit.text("Id").to_owned(),
            is_loaded: unit.text("LoadState") == "loaded",
            is_up: matches!(
                unit.text("ActiveState"),
                "active" | "activating" | "reloading"
            ),
            is_wanted: has("WantedBy") || has("RequiredBy") || has("TriggeredBy"),
        };
        Some(((*name).to_owned(), seen))
    });
    Ok(seen.collect())
}

/// Starts these, each by itself, and waits for them. Gives for each why it did not come up.
fn start(
    manager: &mut Manager,
    units: &[String],
) -> Result<Vec<(String, Option<String>)>, manager::Error> {
    let until = Instant::now() + COMES_UP;
    let mut ended = Vec::new();
    // In a row: of a socket and its service the socket comes first.
    for unit in units {
        let asked = manager.enqueue(Verb::Start, &[unit], Mode::IgnoreDependencies)?;
        let result = match asked.into_iter().next() {
            Some(Ok(job)) => {
                let results = manager.wait(&[job], until, &mut |_| {})?;
                match results.into_values().next() {
                    Some(JobResult::Done | JobResult::Unheard) => None,
                    Some(JobResult::Pending) => Some("it takes its time".to_owned()),
                    other => Some(format!("its job ended as {other:?}")),
                }
            }
            Some(Err(refusal)) => Some(refusal.to_string()),
            None => None,
        };
        ended.push((unit.clone(), result));
    }
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(units: &[(&str, &str, bool)]) -> BTreeMap<String, Seen> {
        let seen = |(name, id, is_up): &(&str, &str, bool)| {
            let seen = Seen {
                id: (*id).to_owned(),
                is_loaded: true,
                is_up: *is_up,
                is_wanted: true,
            };
            ((*name).to_owned(), seen)
        };
        units.iter().map(seen).collect()
    }

    #[test]
    fn what_is_down_and_wanted_is_started_once() {
        let mut machine = machine(&[
            ("dbus.socket", "dbus.socket", false),
            ("systemd-networkd.service", "systemd-networkd.service", true),
            ("ssh.service", "ssh.service", false),
            ("sshd.service", "ssh.service", false),
        ]);
        let expected = [vec![], vec!["ssh.service".to_owned()]];
        assert_eq!(to_start(&machine), expected);
        machine.insert("dropbear.service".to_owned(), Seen::default());
        assert_eq!(to_start(&machine), expected, "nobody has it");
    }

    #[test]
    fn the_bus_is_started_for_those_that_need_it() {
        let machine = machine(&[
            ("dbus.service", "dbus.service", false),
            ("NetworkManager.service", "NetworkManager.service", false),
            ("dbus.socket", "dbus.socket", false),
        ]);
        let expected = [
            vec!["dbus.socket".to_owned(), "dbus.service".to_owned()],
            vec!["NetworkManager.service".to_owned()],
            vec![],
        ];
        assert_eq!(to_start(&machine), expected);
    }
}
