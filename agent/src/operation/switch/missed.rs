//! What a boot that went wrong has left down, and a boot of the closure that is gone back to would have up. Pure.
//!
//! A switch leaves alone what is down and did not change: somebody may have stopped it. Here nobody has: the unit failed, or
//! what it needs did. What is different may be a file that it reads, which no plan looks into.

use std::collections::{BTreeMap, BTreeSet};

use crate::switch::set::kind;
use crate::switch::situation::{Active, Load, Situation, State};

/// Units of lastgood's own: the verdict of this boot stands, and is not asked for again.
const OURS: &str = "lastgood-";
/// What hangs on it waits for a verdict that this boot never gives.
const COMPLETE: &str = "boot-complete.target";

/// What only the first boot of an installation comes to.
const FIRST_BOOT: &str = "first-boot-complete.target";
/// What every boot of a server comes to.
const MULTI_USER: &str = "multi-user.target";

/// What is known of a unit that is down, beside its state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Down {
    /// When it left `inactive` the last time; 0: never in this boot.
    pub(super) since: u64,
    /// What it brings up with it.
    pub(super) pulls: BTreeSet<String>,
    /// With what it goes down.
    pub(super) needs: BTreeSet<String>,
    /// Against whom it would run.
    pub(super) conflicts: BTreeSet<String>,
    /// It may not be started by name.
    pub(super) refuses_start: bool,
}

/// Units that may have been missed: they are down, and something that is up wants them, or the closure requires them.
pub(super) fn candidates(situation: &Situation, required: &BTreeSet<String>) -> BTreeSet<String> {
    let up = situation.states.iter().filter(|(_, state)| state.is_up());
    let wanted = up.flat_map(|(name, _)| situation.new.wants(situation.new.canonical(name)));
    let all = wanted.chain(required.iter().cloned());
    all.filter(|name| {
        let state = situation.states.get(name);
        state.is_some_and(|state| is_down(state) && state.load == Load::Loaded)
    })
    .filter(|name| !name.starts_with(OURS) && !matches!(kind(name), "target" | "device" | "scope"))
    .collect()
}

fn is_down(state: &State) -> bool {
    state.is_failing() || state.active == Active::Inactive
}

/// A target that a boot would have reached and that nothing is on its way to: whose units are missing nobody can say from
/// here.
pub(super) fn target_missed<'a>(
    situation: &'a Situation,
    required: &'a BTreeSet<String>,
) -> Option<&'a String> {
    let up = situation.states.iter().filter(|(_, state)| state.is_up());
    let mut wanted: BTreeSet<String> = up
        .flat_map(|(name, _)| situation.new.wants(situation.new.canonical(name)))
        .collect();
    wanted.insert(MULTI_USER.to_owned());
    let mut all = situation.states.iter();
    let (name, _) = all.find(|(name, state)| {
        kind(name) == "target"
            && (wanted.contains(*name) || required.contains(*name))
            && *name != COMPLETE
            && *name != FIRST_BOOT
            && is_down(state)
            && state.load == Load::Loaded
            && state.job.is_none()
    })?;
    Some(name)
}

/// What is to be started anew: what the verdict `blames`, whatever it does now; and of `down` what has failed, was never
/// started, or went down with one of these. Of all of them what had failed under the last good generation as well (`known`) stays
/// down, unless it is `required`; and so does what another one that runs, and goes on, keeps down. And one of these that may
/// not be started by name, if there is one.
pub(super) fn missed(
    situation: &Situation,
    down: &BTreeMap<String, Down>,
    blames: &BTreeSet<String>,
    (required, known): (&BTreeSet<String>, &BTreeSet<String>),
) -> (BTreeSet<String>, Option<String>) {
    let is = |name: &str, so: fn(&State) -> bool| situation.states.get(name).is_some_and(so);
    let has = |name: &&String| {
        let is_of_another = situation.old.files.contains_key(*name)
            && !situation.new.files.contains_key(*name)
            && !situation.host_units.contains(*name);
        situation.states.contains_key(*name) && !is_of_another && !name.starts_with(OURS)
    };
    let named = blames.iter().filter(has);
    let is_at_fault = |name: &str| blames.contains(name) || is(name, State::is_failing);
    // What the closure that is left has alone is about to go.
    let stays = |name: &str| {
        let goes = situation.old.files.contains_key(name)
            && !situation.new.files.contains_key(name)
            && !situation.host_units.contains(name);
        is(name, State::is_up) && !goes
    };
    let left: Vec<(&String, &Down)> = down
        .iter()
        .filter(|(name, one)| {
            let fell = is(name, State::is_failing)
                || one.since == 0
                || leads(down, name, |one| &one.needs, &is_at_fault);
            fell && (required.contains(*name) || !known.contains(*name))
                && !leads(down, name, |one| &one.pulls, &|name| name == COMPLETE)
                && !one.conflicts.iter().any(|other| stays(other))
        })
        .collect();
    let not_by_name = left.iter().find(|(_, one)| one.refuses_start);
    let not_by_name = not_by_name.map(|(name, _)| (*name).clone());
    let all = named.chain(left.iter().map(|(name, _)| *name));
    (all.cloned().collect(), not_by_name)
}

/// Whether a unit that is down leads, over others that are, to one that `is` so.
fn leads(
    down: &BTreeMap<String, Down>,
    from: &str,
    over: fn(&Down) -> &BTreeSet<String>,
    is: &dyn Fn(&str) -> bool,
) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut todo = vec![from];
    while let Some(name) = todo.pop() {
        for other in down.get(name).into_iter().flat_map(over) {
            if is(other) {
                return true;
            }
            if seen.insert(other) {
                todo.push(other);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::switch::set::Leads;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// multi-user.target is up and wants all of these, which are `active` so, and of the same files in both closures.
    fn situation(units: &[(&str, Active)]) -> Situation {
        let mut situation = Situation::default();
        let up = State {
            active: Active::Active,
            ..State::default()
        };
        situation.states.insert("multi-user.target".to_owned(), up);
        for (name, active) in units {
            for closure in [&mut situation.old, &mut situation.new] {
                closure.insert(name, Leads::File(format!("/nix/store/u/{name}").into()));
                let wanted = closure
                    .wanted
                    .entry("multi-user.target".to_owned())
                    .or_default();
                wanted.insert((*name).to_owned());
            }
            let state = State {
                active: *active,
                ..State::default()
            };
            situation.states.insert((*name).to_owned(), state);
        }
        situation
    }

    #[test]
    fn what_never_came_up_does_and_what_ran_to_its_end_does_not() {
        let situation = situation(&[
            ("app.service", Active::Inactive),
            ("failed.service", Active::Failed),
            ("known.service", Active::Failed),
            ("lastgood-assess.service", Active::Failed),
            ("proven.service", Active::Inactive),
            ("ran.service", Active::Inactive),
            ("required.service", Active::Failed),
            ("runs.service", Active::Active),
        ]);
        let required = names(&["required.service"]);
        let asked = candidates(&situation, &required);
        let all = names(&[
            "app.service",
            "failed.service",
            "known.service",
            "proven.service",
            "ran.service",
            "required.service",
        ]);
        assert_eq!(asked, all);
        let mut down: BTreeMap<String, Down> = all
            .into_iter()
            .map(|name| (name, Down::default()))
            .collect();
        down.get_mut("ran.service").unwrap().since = 5;
        down.get_mut("failed.service").unwrap().since = 5;
        down.get_mut("proven.service").unwrap().pulls = names(&[COMPLETE]);
        let known = names(&["known.service", "required.service"]);
        assert_eq!(
            missed(&situation, &down, &BTreeSet::new(), (&required, &known)),
            (
                names(&["app.service", "failed.service", "required.service"]),
                None
            )
        );
    }

    #[test]
    fn what_went_down_with_one_that_failed_does_and_what_another_one_keeps_down_does_not() {
        let situation = situation(&[
            ("along.service", Active::Inactive),
            ("by-name.service", Active::Inactive),
            ("far.service", Active::Inactive),
            ("failed.service", Active::Failed),
            ("loser.service", Active::Inactive),
            ("waits.service", Active::Inactive),
            ("waits-for-it.service", Active::Inactive),
            ("winner.service", Active::Active),
        ]);
        let ran = |needs: &[&str]| Down {
            since: 5,
            needs: names(needs),
            ..Down::default()
        };
        let down = [
            ("along.service", ran(&["failed.service"])),
            (
                "by-name.service",
                Down {
                    refuses_start: true,
                    ..Down::default()
                },
            ),
            // And in a circle.
            ("far.service", ran(&["along.service", "far.service"])),
            (
                "loser.service",
                Down {
                    conflicts: names(&["winner.service"]),
                    ..Down::default()
                },
            ),
            (
                "waits.service",
                Down {
                    pulls: names(&[COMPLETE]),
                    ..Down::default()
                },
            ),
            (
                "waits-for-it.service",
                Down {
                    pulls: names(&["waits.service"]),
                    ..Down::default()
                },
            ),
        ];
        let down = down.map(|(name, one)| (name.to_owned(), one)).into();
        let nothing = BTreeSet::new();
        assert_eq!(
            missed(&situation, &down, &nothing, (&nothing, &nothing)),
            (
                names(&["along.service", "by-name.service", "far.service"]),
                Some("by-name.service".to_owned())
            )
        );
        // The winner goes with the closure that is left.
        let mut without = situation.clone();
        without.new.files.remove("winner.service");
        let (found, _) = missed(&without, &down, &nothing, (&nothing, &nothing));
        assert!(found.contains("loser.service"), "{found:?}");
        let blames = names(&["winner.service"]);
        assert_eq!(
            missed(
                &situation,
                &[("along.service".to_owned(), ran(&["winner.service"]))].into(),
                &blames,
                (&nothing, &nothing)
            ),
            (names(&["along.service", "winner.service"]), None)
        );
    }

    #[test]
    fn a_target_that_is_down_takes_a_reboot() {
        let nothing = BTreeSet::new();
        let with = |job: Option<&str>, name: &str, active| {
            let mut situation = situation(&[(name, active)]);
            situation.states.get_mut(name).unwrap().job = job.map(str::to_owned);
            target_missed(&situation, &nothing).cloned()
        };
        let app = "app.target";
        assert_eq!(with(None, app, Active::Inactive).as_deref(), Some(app));
        assert_eq!(with(None, app, Active::Active), None);
        assert_eq!(with(Some("start"), app, Active::Inactive), None);
        assert_eq!(with(None, COMPLETE, Active::Inactive), None);
        assert_eq!(with(None, FIRST_BOOT, Active::Inactive), None);
        assert_eq!(with(None, "app.service", Active::Inactive), None);
        let mut situation = situation(&[]);
        assert_eq!(target_missed(&situation, &nothing), None);
        situation
            .states
            .insert(MULTI_USER.to_owned(), State::default());
        assert_eq!(
            target_missed(&situation, &nothing).map(String::as_str),
            Some(MULTI_USER)
        );
    }

    #[test]
    fn what_is_blamed_is_started_anew_whatever_it_does() {
        let mut situation = situation(&[
            ("flaps.service", Active::Active),
            ("gone.service", Active::Failed),
            ("hangs.service", Active::Activating),
        ]);
        situation.new.files.remove("gone.service");
        let blames = names(&[
            "flaps.service",
            "gone.service",
            "hangs.service",
            "lastgood-activate.service",
            "unknown.service",
        ]);
        let nothing = BTreeSet::new();
        assert_eq!(
            missed(&situation, &BTreeMap::new(), &blames, (&nothing, &nothing)),
            (names(&["flaps.service", "hangs.service"]), None)
        );
    }
}
