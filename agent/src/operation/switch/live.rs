//! What a plan hangs on, as this machine has it now. The number of questions to PID 1 does not depend on how many units
//! are as they were: one list, and then only what has changed and what hangs on it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use boot_entries::Root;

use crate::error::Error;
use crate::host::{self, ETC_UNITS, Kind};
use crate::switch::fstab::Fstab;
use crate::switch::plan::{Plan, plan_with};
use crate::switch::set::{self, Units};
use crate::switch::situation::{
    Active, Before, Home, Load, Manager as Pid1, Requests, Situation, State, States,
};
use crate::switch::units;
use crate::system::manager::{Listed, Manager, Properties, Queued, Wanted};

/// What is asked of each unit that is concerned.
const PROPERTIES: [Wanted<'static>; 15] = [
    Wanted::unit("FragmentPath"),
    Wanted::unit("DropInPaths"),
    Wanted::unit("Transient"),
    Wanted::unit("Names"),
    Wanted::unit("RequiredBy"),
    Wanted::unit("BoundBy"),
    Wanted::unit("ConsistsOf"),
    Wanted::unit("RequisiteOf"),
    Wanted::unit("PropagatesStopTo"),
    Wanted::unit("Triggers"),
    Wanted::unit("TriggeredBy"),
    Wanted::unit("RefuseManualStart"),
    Wanted::unit("RefuseManualStop"),
    Wanted::unit("CanReload"),
    Wanted::unit("InactiveExitTimestampMonotonic"),
];

/// Directories of units that the host has by itself, beside those of the closure.
const HOST_UNITS: [&str; 4] = [
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/system",
];

/// From which closure to which.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way<'a> {
    /// What is left.
    pub(super) from: &'a Path,
    /// What is switched to.
    pub(super) to: &'a Path,
}

/// Looks. `before` is for an undo: how each unit was.
///
/// # Errors
/// When PID 1 does not answer, or the host cannot be told.
pub(super) fn look(
    root: &Root,
    manager: &mut Manager,
    way: Way<'_>,
    session: &BTreeSet<String>,
    before: Option<BTreeMap<String, Before>>,
) -> Result<Situation, Error> {
    let home = match host::kind(root)? {
        Kind::NixOs => Home::Etc,
        Kind::Plain => Home::Generator,
    };
    let listed = manager.units()?;
    let jobs = manager.jobs()?;
    let mut old = units::list(root, way.from, home);
    let mut new = units::list(root, way.to, home);
    let names: BTreeSet<String> = listed.iter().map(|unit| unit.name.clone()).collect();
    let mut states = in_short(&listed, &jobs);
    for (name, state) in &mut states {
        state.carries_session = carries_session(name, session);
    }
    // What was up and is not: whether it has come to its own end is in its text.
    let is_up = |name: &String| states.get(name).is_some_and(State::is_up);
    let fallen = before.iter().flatten();
    let fallen = fallen.filter(|(name, was)| was.up && !is_up(name));
    let fallen = fallen.map(|(name, _)| name.clone()).collect();
    let files = set::to_read(&old, &new, &states, &fallen);
    units::load(root, &mut old, &files);
    units::load(root, &mut new, &files);
    set::share(&old, &mut new);
    let mut first = changed(&old, &new, &names);
    first.extend(before.iter().flatten().map(|(name, _)| name.clone()));
    first.extend(
        states
            .iter()
            .filter(|(_, state)| state.is_failing())
            .map(|(name, _)| name.clone()),
    );
    ask(manager, &mut states, first)?;
    Ok(Situation {
        host_units: host_units(root, home, &old, &new),
        old_fstab: fstab(root, way.from),
        new_fstab: fstab(root, way.to),
        manager: pid_1(root, way),
        old,
        new,
        states,
        home,
        read_at: None,
        before,
    })
}

/// The plan. It may concern units that are as they were: one that makes way for a new socket, one that a script names, a
/// mount whose line is gone. Their files are read, systemd is asked about them, and the plan is made again, until nothing new
/// comes of that.
///
/// # Errors
/// When PID 1 does not answer.
pub(super) fn planned(
    root: &Root,
    manager: &mut Manager,
    situation: &mut Situation,
    requests: &Requests,
) -> Result<Plan, Error> {
    loop {
        let planned = plan_with(situation, requests);
        let before = known(situation);
        let asked_for = requests.restart.iter().chain(&requests.reload);
        let concerned: BTreeSet<String> = planned.concerned().chain(asked_for).cloned().collect();
        if concerned.is_empty() {
            return Ok(planned);
        }
        let Situation { old, new, .. } = situation;
        let files = set::to_read(old, new, &situation.states, &concerned);
        units::load(root, old, &files);
        units::load(root, new, &files);
        set::share(old, new);
        let states = &situation.states;
        let is_open = |name: &&String| {
            states
                .get(*name)
                .is_some_and(|state| !state.is_known && state.load != Load::NotFound)
        };
        let open: BTreeSet<String> = concerned.iter().filter(is_open).cloned().collect();
        ask(manager, &mut situation.states, open)?;
        // Whom systemd refuses to tell of, and what cannot be read, stays unknown.
        if known(situation) == before {
            return Ok(planned);
        }
    }
}

/// How much is known.
fn known(situation: &Situation) -> (usize, usize) {
    let states = situation.states.values();
    let texts = situation.old.texts.len() + situation.new.texts.len();
    (states.filter(|state| state.is_known).count(), texts)
}

/// The units that have failed.
pub(super) fn failed(situation: &Situation) -> BTreeSet<String> {
    let states = situation.states.iter();
    let failed = states.filter(|(_, state)| state.active == Active::Failed);
    failed.map(|(name, _)| name.clone()).collect()
}

/// What the list says of all units.
fn in_short(listed: &[Listed], jobs: &[Queued]) -> States {
    let job_of = |unit: &Listed| {
        let job = jobs.iter().find(|job| Some(job.id) == unit.job);
        job.map(|job| job.kind.clone())
    };
    listed
        .iter()
        .map(|unit| {
            let state = State {
                job: job_of(unit),
                ..of_listed(unit)
            };
            (unit.name.clone(), state)
        })
        .collect()
}

/// What the list says of one unit.
pub(super) fn of_listed(unit: &Listed) -> State {
    State {
        active: Active::of(&unit.active),
        sub: unit.sub.clone(),
        load: Load::of(&unit.load),
        following: unit.following.clone(),
        names: BTreeSet::from([unit.name.clone()]),
        ..State::default()
    }
}

/// The units in memory whose files are other ones in the new closure, and the targets of both: those are started again.
fn changed(old: &Units, new: &Units, names: &BTreeSet<String>) -> BTreeSet<String> {
    let differs = |name: &str| {
        old.files.get(name) != new.files.get(name)
            || old.drop_ins.get(name) != new.drop_ins.get(name)
            || old.wanted.get(name) != new.wanted.get(name)
    };
    let is_concerned = |name: &&String| {
        let (base, kind) = name.rsplit_once('.').unwrap_or((name, ""));
        let template = base
            .split_once('@')
            .map(|(base, _)| format!("{base}@.{kind}"));
        let is_target =
            kind == "target" && (new.files.contains_key(*name) || old.files.contains_key(*name));
        is_target
            || differs(name)
            || differs(kind)
            || template.is_some_and(|template| differs(&template))
    };
    names.iter().filter(is_concerned).cloned().collect()
}

/// Asks about `first`, and then about what hangs on it, level by level.
fn ask(manager: &mut Manager, states: &mut States, first: BTreeSet<String>) -> Result<(), Error> {
    let mut asked: BTreeSet<String> = BTreeSet::new();
    let mut next = first;
    while !next.is_empty() {
        let names: Vec<String> = next.iter().cloned().collect();
        let answers = manager.properties(&names, &PROPERTIES)?;
        asked.append(&mut next);
        for (name, answer) in names.iter().zip(answers) {
            // A name that cannot be asked about is one that no plan can do anything with.
            let (Ok(answer), Some(state)) = (answer, states.get_mut(name)) else {
                continue;
            };
            fill(state, &answer);
            let hang_on_it = state
                .stops
                .iter()
                .chain(&state.triggers)
                .chain(&state.triggered_by);
            next.extend(hang_on_it.filter(|one| !asked.contains(*one)).cloned());
        }
        next.retain(|name| states.contains_key(name));
    }
    ask_whether_read(manager, states, &asked)
}

/// Asks which of these have other files by now than systemd has read, of those for which that matters. For the answer
/// systemd looks at every place where a drop-in may be, which takes longer than all other questions together.
fn ask_whether_read(
    manager: &mut Manager,
    states: &mut States,
    asked: &BTreeSet<String>,
) -> Result<(), Error> {
    let in_between = |name: &&String| {
        states
            .get(*name)
            .is_some_and(|state| matches!(state.active, Active::Activating | Active::Reloading))
    };
    let names: Vec<&String> = asked.iter().filter(in_between).collect();
    let answers = manager.properties(&names, &[Wanted::unit("NeedDaemonReload")])?;
    for (name, answer) in names.into_iter().zip(answers) {
        if let (Ok(answer), Some(state)) = (answer, states.get_mut(name)) {
            state.needs_reload = answer.flag("NeedDaemonReload").unwrap_or(false);
        }
    }
    Ok(())
}

fn fill(state: &mut State, answer: &Properties) {
    state.is_known = true;
    let all = |names: &[&str]| -> BTreeSet<String> {
        let each = names.iter().flat_map(|name| answer.names(name));
        each.map(str::to_owned).collect()
    };
    answer.text("FragmentPath").clone_into(&mut state.fragment);
    state.drop_ins = answer.names("DropInPaths").map(str::to_owned).collect();
    state.transient = answer.flag("Transient").unwrap_or(false);
    state.names.extend(all(&["Names"]));
    state.restarts = all(&["RequiredBy", "BoundBy", "ConsistsOf", "RequisiteOf"]);
    state.stops = &state.restarts | &all(&["PropagatesStopTo"]);
    state.triggers = all(&["Triggers"]);
    state.triggered_by = all(&["TriggeredBy"]);
    state.refuses_start = answer.flag("RefuseManualStart").unwrap_or(false);
    state.refuses_stop = answer.flag("RefuseManualStop").unwrap_or(false);
    state.can_reload = answer.flag("CanReload").unwrap_or(false);
    state.since = answer.number("InactiveExitTimestampMonotonic").unwrap_or(0);
}

/// Services without which nobody reaches the machine from outside: they go down and up in one job, after all else. The
/// first word of a name is enough: instances and sockets belong to it.
const CARRIERS: [&str; 16] = [
    "ssh",
    "sshd",
    "dropbear",
    "systemd-networkd",
    "NetworkManager",
    "network-setup",
    "network-addresses",
    "networking",
    "dhcpcd",
    "connman",
    "wpa_supplicant",
    "wg-quick",
    "wireguard",
    "tailscaled",
    "openvpn",
    "zerotierone",
];

/// Whether what asked for the switch may hang on this unit.
fn carries_session(unit: &str, session: &BTreeSet<String>) -> bool {
    let base = unit.rsplit_once('.').map_or(unit, |(base, _)| base);
    let base = base.split_once('@').map_or(base, |(base, _)| base);
    let is_of = |carrier: &str| {
        let rest = base.strip_prefix(carrier);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    session.contains(unit) || CARRIERS.iter().any(|carrier| is_of(carrier))
}

/// Units that the host has a file of, of those that one of the closures has: the others do not matter.
fn host_units(root: &Root, home: Home, old: &Units, new: &Units) -> BTreeSet<String> {
    let directories = HOST_UNITS.iter().chain(match home {
        Home::Generator => [ETC_UNITS].iter(),
        Home::Etc | Home::User => [].iter(),
    });
    let places: Vec<PathBuf> = directories.map(|directory| root.join(directory)).collect();
    let has = |name: &&String| {
        places
            .iter()
            .any(|place| place.join(name.as_str()).symlink_metadata().is_ok())
    };
    let known = old.files.keys().chain(new.files.keys());
    known.filter(has).cloned().collect()
}

fn fstab(root: &Root, closure: &Path) -> Fstab {
    let text = root
        .open(closure.join("etc/fstab"))
        .and_then(std::io::read_to_string);
    Fstab::parse(&text.unwrap_or_default())
}

/// What runs as PID 1, and what the new closure would have there.
fn pid_1(root: &Root, way: Way<'_>) -> Pid1 {
    let leads = |path: &Path| {
        let path = root.canonical(path).ok()?;
        let is_there = root.join(&path).symlink_metadata().is_ok();
        is_there.then(|| path.display().to_string())
    };
    let config = |closure: &Path| leads(&closure.join("etc/systemd/system.conf"));
    let runs = std::fs::read_link(root.join("/proc/1/exe")).ok();
    Pid1 {
        runs: runs.map(|path| path.display().to_string()),
        wanted: leads(&way.to.join("systemd/lib/systemd/systemd")),
        config: config(way.from),
        new_config: config(way.to),
    }
}

/// How each unit is now: what an undo goes back to.
///
/// # Errors
/// When PID 1 does not answer.
pub(super) fn remember(
    manager: &mut Manager,
    situation: &Situation,
    planned: &Plan,
) -> Result<BTreeMap<String, Before>, Error> {
    let up: Vec<&String> = situation
        .states
        .iter()
        .filter(|(_, state)| state.is_up())
        .map(|(name, _)| name)
        .collect();
    let wanted = [Wanted::unit("InactiveExitTimestampMonotonic")];
    let answers = manager.properties(&up, &wanted)?;
    let since = |answer: &Properties| answer.number("InactiveExitTimestampMonotonic");
    let all = up.into_iter().zip(answers).map(|(name, answer)| {
        let since = answer.ok().as_ref().and_then(since).unwrap_or(0);
        let before = Before {
            up: true,
            since,
            touched: planned.touches(name),
            reloaded: planned.reload.contains_key(name),
        };
        (name.clone(), before)
    });
    Ok(all.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_session_hangs_on_is_known_by_its_name_or_by_who_asks() {
        let session = BTreeSet::from(["session-3.scope".to_owned()]);
        for (unit, carries) in [
            ("sshd.service", true),
            ("sshd@3-10.0.0.1:22.service", true),
            ("ssh.socket", true),
            ("network-addresses-eth0.service", true),
            ("wg-quick@wg0.service", true),
            ("session-3.scope", true),
            ("sshguard.service", false),
            ("nginx.service", false),
            ("my-ssh.service", false),
        ] {
            assert_eq!(carries_session(unit, &session), carries, "{unit}");
        }
    }
}
