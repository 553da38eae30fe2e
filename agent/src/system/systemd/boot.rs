//! What a boot was to start: the unit it leads to, and all that this one pulls in. Pure.
//!
//! systemd lists what is in memory and what is queued, and nowhere what the transaction of the boot was. What it left out
//! (to break an ordering cycle) or has forgotten by now is in no list. So it is put together from the dependencies, level
//! by level, one round trip each; measured: docs/cost.md.

use std::collections::BTreeSet;

use crate::system::manager::value::Properties;
use crate::system::manager::{Refusal, Wanted};

/// What a boot leads to if nobody says otherwise.
pub(super) const DEFAULT: &str = "default.target";

/// What is asked of each unit.
pub(super) const WANTED: &[Wanted<'_>] = &[
    Wanted::unit("Id"),
    Wanted::unit("Requires"),
    Wanted::unit("Wants"),
    Wanted::unit("BindsTo"),
    Wanted::unit("Upholds"),
];

/// Those that name what is started with the unit. `Requisite=` starts nothing.
const PULLS: [&str; 4] = ["Requires", "Wants", "BindsTo", "Upholds"];

/// What has been found so far.
#[derive(Debug, Default)]
pub(super) struct Boot {
    /// By their own names.
    found: BTreeSet<String>,
    asked: BTreeSet<String>,
    /// Not asked yet.
    ahead: BTreeSet<String>,
}

impl Boot {
    /// Begins with these.
    pub(super) fn from<'a>(roots: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            ahead: roots.into_iter().map(str::to_owned).collect(),
            ..Self::default()
        }
    }

    /// Whom to ask next, each once. Nobody: that is all.
    pub(super) fn next(&mut self) -> Vec<String> {
        let ahead = std::mem::take(&mut self.ahead);
        let next: Vec<String> = ahead.difference(&self.asked).cloned().collect();
        self.asked.extend(next.iter().cloned());
        next
    }

    /// Takes in their answers. One that systemd refuses to tell about pulls in nothing.
    pub(super) fn learn(&mut self, answers: &[Result<Properties, Refusal>]) {
        for properties in answers.iter().flatten() {
            let id = properties.text("Id");
            if id.is_empty() {
                continue;
            }
            // An alias leads to what was asked before.
            self.asked.insert(id.to_owned());
            self.found.insert(id.to_owned());
            // A device pulls in what it does when it turns up, which may be never.
            if id.ends_with(".device") {
                continue;
            }
            let pulled = PULLS.iter().flat_map(|kind| properties.names(kind));
            self.ahead.extend(pulled.map(str::to_owned));
        }
    }

    /// All that was found. None: not even where it leads to is known.
    pub(super) fn all(self) -> Option<BTreeSet<String>> {
        (!self.found.is_empty()).then_some(self.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::manager::Value;

    fn answer(id: &str, pulls: &[(&str, &[&str])]) -> Properties {
        let list = |names: &[&str]| {
            let names = names.iter().map(|name| Value::Text((*name).to_owned()));
            Value::List(names.collect())
        };
        let id = ("Id", Value::Text(id.to_owned()));
        let pulls = pulls.iter().map(|(kind, names)| (*kind, list(names)));
        [id].into_iter().chain(pulls).collect()
    }

    /// All of a small world, and how many round trips it took.
    fn all(world: &[(&str, Properties)]) -> (Vec<String>, usize) {
        let mut boot = Boot::from([DEFAULT]);
        let mut trips = 0;
        loop {
            let next = boot.next();
            if next.is_empty() {
                return (boot.all().into_iter().flatten().collect(), trips);
            }
            trips += 1;
            let of = |name: &String| {
                let known = world.iter().find(|(own, _)| own == name);
                known.map_or_else(
                    || {
                        Err(Refusal {
                            name: "org.freedesktop.systemd1.NoSuchUnit".to_owned(),
                            text: name.clone(),
                        })
                    },
                    |(_, answer)| Ok(answer.clone()),
                )
            };
            boot.learn(&next.iter().map(of).collect::<Vec<_>>());
        }
    }

    #[test]
    fn all_that_is_pulled_in_is_part_of_the_boot() {
        let world = [
            (
                DEFAULT,
                answer(
                    "multi-user.target",
                    &[
                        ("Requires", &["basic.target"]),
                        ("Wants", &["web.service", "gone.service"]),
                        ("Upholds", &["held.service"]),
                    ],
                ),
            ),
            (
                "basic.target",
                answer("basic.target", &[("Wants", &["timers.target"])]),
            ),
            (
                "timers.target",
                answer("timers.target", &[("Wants", &["backup.timer"])]),
            ),
            // What it starts is not started by the boot.
            (
                "backup.timer",
                answer("backup.timer", &[("Triggers", &["backup.service"])]),
            ),
            (
                "web.service",
                answer(
                    "web.service",
                    &[
                        ("BindsTo", &["dev-disk.device"]),
                        ("Requisite", &["other.service"]),
                        // A circle.
                        ("Wants", &["multi-user.target"]),
                    ],
                ),
            ),
            ("held.service", answer("held.service", &[])),
            ("plugged.service", answer("plugged.service", &[])),
            ("other.service", answer("other.service", &[])),
            ("backup.service", answer("backup.service", &[])),
            (
                "dev-disk.device",
                answer("dev-disk.device", &[("Wants", &["plugged.service"])]),
            ),
        ];
        let (found, trips) = all(&world);
        let expected = [
            "backup.timer",
            "basic.target",
            "dev-disk.device",
            "held.service",
            "multi-user.target",
            "timers.target",
            "web.service",
        ];
        assert_eq!(found, expected);
        assert_eq!(trips, 4);
    }

    #[test]
    fn nothing_known_is_not_nothing_wanted() {
        assert_eq!(Boot::from([DEFAULT]).all(), None);
    }
}
