//! Whether what is to be started may be started before PID 1 reads its units anew. That takes a while, and where it brings
//! nothing for those, whoever waits for them need not wait for it. Pure.

use std::collections::BTreeSet;
use std::path::Path;

use super::plan::{Plan, Reasons};
use super::set::Leads;
use super::situation::{Home, Situation};

/// What all directories of generators begin with.
const GENERATORS: &str = "/run/systemd/generator";

/// Whether nothing goes down, both closures tell PID 1 the same, and PID 1 has read that of what is to be started.
#[must_use]
pub fn may_start_first(situation: &Situation, plan: &Plan) -> bool {
    let named = [&plan.stop, &plan.disturbed, &plan.hold_back, &plan.reload];
    named.into_iter().all(Reasons::is_empty)
        && plan.reactivate.is_none()
        && plan.reexecute.is_none()
        && has_the_same_units(situation)
        && plan
            .up
            .iter()
            .chain(&plan.last)
            .all(|step| is_read(situation, &step.unit))
}

/// Whether both closures tell PID 1 the same. That is known of units whose files were read; the paths of all others are
/// compared.
fn has_the_same_units(situation: &Situation) -> bool {
    let (old, new) = (&situation.old, &situation.new);
    old.files == new.files
        && old.drop_ins == new.drop_ins
        && old.wanted == new.wanted
        && old.links == new.links
        && old.problems.is_empty()
        && new.problems.is_empty()
        && situation.old_fstab == situation.new_fstab
}

/// Whether PID 1 has in memory what the closure says of a unit, and nothing that another generator made: a link of ours may be
/// missing, and what another one makes of the same files nobody knows.
fn is_read(situation: &Situation, unit: &str) -> bool {
    let home = match situation.home {
        Home::Etc => "/etc/systemd/system/",
        Home::Generator => "/run/systemd/generator.early/",
        Home::User => return false,
    };
    let Some(state) = situation.states.get(unit).filter(|state| state.is_known) else {
        return false;
    };
    let old = &situation.old;
    let files = old.files_of(old.canonical(unit));
    let is_there = |leads: &Leads| match leads {
        Leads::File(path) => old.texts.get(path).is_none_or(|text| !text.is_empty()),
        Leads::Nowhere | Leads::Alias(_) => false,
    };
    let said = files.drop_ins.iter().filter(|(_, leads)| is_there(leads));
    let said: BTreeSet<&str> = said.map(|(name, _)| *name).collect();
    let read = state.drop_ins.iter().filter(|path| path.starts_with(home));
    let read: BTreeSet<&str> = read
        .filter_map(|path| Path::new(path).file_name()?.to_str())
        .collect();
    let mut all = state.drop_ins.iter().chain([&state.fragment]);
    state.fragment.starts_with(home) == files.own.is_some_and(is_there)
        && said == read
        && !all.any(|path| path.starts_with(GENERATORS) && !path.starts_with(home))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::switch::fstab::Fstab;
    use crate::switch::plan::{Job, Step};
    use crate::switch::set::Units;
    use crate::switch::situation::State;

    const FRAGMENT: &str = "/run/systemd/generator.early/a.service";
    const DROP_IN: &str = "/run/systemd/generator.early/a.service.d/b.conf";

    type Change = fn(&mut Situation);

    fn file(path: &str) -> Leads {
        Leads::File(path.into())
    }

    /// Two closures with the same unit, which has a drop-in, and which PID 1 has read; the host has one more of its own.
    fn same() -> Situation {
        let mut units = Units::default();
        units.insert("a.service", file("/nix/store/1/a.service"));
        let drop_ins = units.drop_ins.entry("a.service".to_owned()).or_default();
        drop_ins.insert("b.conf".to_owned(), file("/nix/store/1/b.conf"));
        drop_ins.insert("masked.conf".to_owned(), Leads::Nowhere);
        let wants = units
            .wanted
            .entry("multi-user.target".to_owned())
            .or_default();
        wants.insert("a.service".to_owned());
        units
            .links
            .insert("multi-user.target.wants/a.service".to_owned(), false);
        let state = State {
            is_known: true,
            fragment: FRAGMENT.to_owned(),
            drop_ins: vec![
                DROP_IN.to_owned(),
                "/etc/systemd/system/a.service.d/host.conf".to_owned(),
            ],
            ..State::default()
        };
        Situation {
            old: units.clone(),
            new: units,
            home: Home::Generator,
            states: [("a.service".to_owned(), state)].into(),
            ..Situation::default()
        }
    }

    fn starts() -> Plan {
        Plan {
            up: vec![Step {
                unit: "a.service".to_owned(),
                job: Job::Start,
                why: String::new(),
            }],
            ..Plan::default()
        }
    }

    fn state(situation: &mut Situation) -> &mut State {
        situation.states.get_mut("a.service").unwrap()
    }

    /// Each of these differences alone has the reload come first.
    fn assert_reload_first(differences: &[(&str, Change)]) {
        for (what, change) in differences {
            let mut one = same();
            change(&mut one);
            assert!(!may_start_first(&one, &starts()), "{what}");
        }
    }

    #[test]
    fn units_are_the_same_where_nothing_differs_that_pid_1_reads() {
        assert!(may_start_first(&same(), &starts()));
        let differences: [(&str, Change); 11] = [
            ("another file", |one| {
                one.new.insert("a.service", file("/x"));
            }),
            ("one more", |one| one.new.insert("b.service", file("/x"))),
            ("one less", |one| one.new.files.clear()),
            ("a drop-in", |one| one.new.drop_ins.clear()),
            ("what wants it", |one| one.new.wanted.clear()),
            ("in which way", |one| {
                let link = "multi-user.target.requires/a.service".to_owned();
                one.new.links = [(link, false)].into();
            }),
            ("a link that masks", |one| {
                one.new.links.values_mut().for_each(|masks| *masks = true);
            }),
            ("unread before", |one| one.old.problems.push(String::new())),
            ("unread", |one| one.new.problems.push(String::new())),
            ("fstab", |one| {
                one.new_fstab = Fstab::parse("/dev/a /a ext4");
            }),
            ("a set of users", |one| one.home = Home::User),
        ];
        assert_reload_first(&differences);
    }

    /// The generator may have been ended before it had linked all; another one may make something else of other files.
    #[test]
    fn what_pid_1_has_not_read_is_not_started_first() {
        let differences: [(&str, Change); 7] = [
            ("nobody asked", |one| state(one).is_known = false),
            ("it is gone", |one| one.states.clear()),
            ("the unit", |one| state(one).fragment.clear()),
            ("the host's", |one| {
                "/usr/lib/systemd/system/a.service".clone_into(&mut state(one).fragment);
            }),
            ("a drop-in", |one| {
                state(one).drop_ins.remove(0);
            }),
            ("one more", |one| {
                let more = "/run/systemd/generator.early/a.service.d/c.conf";
                state(one).drop_ins.push(more.to_owned());
            }),
            ("another generator's", |one| {
                let more = "/run/systemd/generator/a.service.d/c.conf";
                state(one).drop_ins.push(more.to_owned());
            }),
        ];
        assert_reload_first(&differences);
    }

    #[test]
    fn where_anything_goes_down_or_hangs_on_the_reload_that_comes_first() {
        type Change = fn(&mut Plan, Reasons);
        let more: [(&str, Change); 6] = [
            ("a stop", |plan, units| plan.stop = units),
            ("what hangs on one", |plan, units| plan.disturbed = units),
            ("one in its start", |plan, units| plan.hold_back = units),
            ("a reload", |plan, units| plan.reload = units),
            ("what runs again", |plan, _| {
                plan.reactivate = Some(String::new());
            }),
            ("systemd", |plan, _| plan.reexecute = Some(String::new())),
        ];
        for (what, change) in more {
            let mut plan = starts();
            change(&mut plan, [("x.target".to_owned(), String::new())].into());
            assert!(!may_start_first(&same(), &plan), "{what}");
        }
    }
}
