//! What the last good generation had and this one has not.
//!
//! | lost | does not count if |
//! |---|---|
//! | a TCP port is not listened on any more, or only for this machine itself | this boot was not to start the unit that listened, or its files are other ones, or a port is listened on that was not before; for a management port none of it |
//! | the default route | |
//! | all name servers | |
//! | a mount | this boot was not to make it (it is not in this closure's fstab) |
//!
//! Nothing of it is final: a network may come late, and whoever listens may take its time. At the deadline it is a fault,
//! of this generation or from outside: if the last good one turns out to have it as well, nobody is blamed (invariant A4).
//! A name server that does not answer, a clock that jumps and a slow disk are nothing of this.

use std::collections::BTreeSet;

use super::wrong::Wrong;
use super::{Complaint, Kind, Standard, Weight};
use crate::state::baseline::{Listener, Looks, Surroundings};
use crate::state::fault::Fault;
use crate::system::systemd::snapshot::{Active, Load, Snapshot};

impl Standard<'_> {
    /// Everything that is lost. Nothing where nobody has looked, before or now.
    pub(super) fn lost(&self, snapshot: &Snapshot) -> Vec<Complaint> {
        let Some(before) = self.baseline.and_then(|baseline| baseline.looks.as_ref()) else {
            return Vec::new();
        };
        let mut lost: Vec<(Fault, Wrong)> = mounts(before, snapshot).collect();
        if let Some(now) = &snapshot.around {
            let ports = &self.requirements.management_ports;
            let changed = &self.requirements.changed;
            lost.extend(listeners(&before.around, now, snapshot, ports, changed));
            let had_route = before.around.default_route == Some(true);
            if had_route && now.default_route == Some(false) {
                lost.push((Fault::Route, Wrong::Gone));
            }
            let had_resolvers = before
                .around
                .resolvers
                .as_ref()
                .is_some_and(|all| !all.is_empty());
            if had_resolvers && now.resolvers.as_ref().is_some_and(BTreeSet::is_empty) {
                lost.push((Fault::Resolvers, Wrong::Gone));
            }
        }
        let lost = lost.into_iter().filter(|(fault, _)| !self.excuses(fault));
        let complaint = |(fault, wrong)| Complaint {
            weight: Weight::Open,
            kind: Kind::Compared,
            fault,
            wrong,
        };
        lost.map(complaint).collect()
    }
}

fn listeners<'a>(
    before: &'a Surroundings,
    now: &'a Surroundings,
    snapshot: &'a Snapshot,
    management_ports: &'a [u16],
    changed: &'a BTreeSet<String>,
) -> impl Iterator<Item = (Fault, Wrong)> + 'a {
    let pair = before.listening.as_ref().zip(now.listening.as_ref());
    let pairs = pair.into_iter();
    pairs.flat_map(move |(before, now)| {
        let is_there = |had: &Listener| {
            let same = now.iter().filter(|has| has.port == had.port);
            same.into_iter().any(|has| !has.local || had.local)
        };
        // Another port than ever before: what listened may have been told to listen there, and nobody can say.
        let is_new = |has: &Listener| !has.local && before.iter().all(|had| had.port != has.port);
        let has_moved = now.iter().any(is_new);
        let is_missed = move |had: &&Listener| {
            let is_management = !had.local && management_ports.contains(&had.port);
            let unit = had
                .unit
                .as_deref()
                .filter(|unit| !has_moved && !changed.contains(*unit));
            is_management || unit.is_some_and(|unit| is_declared(snapshot, unit))
        };
        let lost = before
            .iter()
            .filter(move |had| !is_there(had))
            .filter(is_missed);
        lost.map(|had| {
            let unit = had.unit.clone();
            (Fault::Listener(had.port), Wrong::Silent { unit })
        })
    })
}

/// This boot was to start the unit.
fn is_declared(snapshot: &Snapshot, name: &str) -> bool {
    let unit = snapshot.units.get(name);
    unit.is_some_and(|unit| unit.load == Load::Loaded) && snapshot.was_to_run(name)
}

/// One that failed is told as a unit that did.
fn mounts<'a>(
    before: &'a Looks,
    snapshot: &'a Snapshot,
) -> impl Iterator<Item = (Fault, Wrong)> + 'a {
    let had = before.up.iter().filter(|name| {
        let kind = name.rsplit('.').next();
        kind == Some("mount")
    });
    had.filter_map(|name| {
        let unit = snapshot.units.get(name)?;
        let is_down = unit.active == Active::Inactive && !snapshot.has_job(name);
        let is_lost = snapshot.boot.is_some() && is_declared(snapshot, name) && is_down;
        is_lost.then(|| (Fault::Mount(path_of(name)), Wrong::NotMounted))
    })
}

/// Where a mount of this name is (systemd.unit(5), "String escaping for inclusion in unit names").
fn path_of(unit: &str) -> String {
    let name = unit.strip_suffix(".mount").unwrap_or(unit);
    let mut path = vec![b'/'];
    let mut rest = name.as_bytes();
    if rest == b"-" {
        rest = b"";
    }
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'-', _) => path.push(b'/'),
            (b'\\', [b'x', high, low, after @ ..]) => {
                let digits = [*high, *low];
                let byte = std::str::from_utf8(&digits).ok();
                let byte = byte.and_then(|text| u8::from_str_radix(text, 16).ok());
                path.push(byte.unwrap_or(b'?'));
                rest = after;
            }
            (byte, _) => path.push(*byte),
        }
    }
    String::from_utf8_lossy(&path).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_mount() {
        for (unit, path) in [
            ("-.mount", "/"),
            ("data.mount", "/data"),
            ("srv-web.mount", "/srv/web"),
            ("srv-a\\x2db.mount", "/srv/a-b"),
            ("srv-\\x.mount", "/srv/\\x"),
        ] {
            assert_eq!(path_of(unit), path, "{unit}");
        }
    }
}
