//! The ladder: by which ways the machine may go back to the last good generation, the shortest first. Pure and total.
//!
//! Each rung that fails, or is not there within its time, leads to the next. The last one is always there.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A way back. The order is that of trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// A live switch, undone: nothing but what differs is touched.
    Live,
    /// All of user space is started anew, and the kernel stays (systemd-soft-reboot.service(8)).
    SoftReboot,
    /// The last good generation's kernel is started by this one: neither firmware nor loader takes part.
    Kexec,
    /// The firmware starts the loader, and that the last good entry.
    Reboot,
}

impl Rung {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Live, Self::SoftReboot, Self::Kexec, Self::Reboot];

    /// The key below `[fallback]` that allows it. None: it needs no permission.
    #[must_use]
    pub const fn key(self) -> Option<&'static str> {
        match self {
            Self::Live => Some("live"),
            Self::SoftReboot => Some("soft-reboot"),
            Self::Kexec => Some("kexec"),
            Self::Reboot => None,
        }
    }

    /// What is in its way, the most telling first.
    const fn obstacles(self) -> &'static [Obstacle] {
        match self {
            Self::Live => &[Obstacle::NotUp, Obstacle::Late, Obstacle::OtherStart],
            // What systemd read early is read anew: neither a late boot nor one that is not up is in its way.
            Self::SoftReboot => &[
                Obstacle::NixOs,
                Obstacle::NotCounted,
                Obstacle::NextRoot,
                Obstacle::OtherStart,
            ],
            Self::Kexec => &[Obstacle::NoKexec],
            Self::Reboot => &[],
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::SoftReboot => "soft-reboot",
            Self::Kexec => "kexec",
            Self::Reboot => "reboot",
        })
    }
}

/// Something about machine or boot that is in the way of a rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// The boot has not come to its services: there is nothing that a live switch could be measured by.
    NotUp,
    /// systemd has read files of another generation in this boot (invariant A11).
    Late,
    /// Kernel, initrd, modules or parameters differ from those that run, or nobody can tell.
    OtherStart,
    /// The host is NixOS, or nobody can tell: its activation runs before systemd, and a soft-reboot does not run it.
    NixOs,
    /// systemd does not count soft-reboots (older than 256): what runs after one could not be told.
    NotCounted,
    /// Somebody has put another root in place, into which a soft-reboot would go: `/run/nextroot`.
    NextRoot,
    /// The last good generation's kernel cannot be loaded: no kexec(8), or no entry that says what to load.
    NoKexec,
}

impl Obstacle {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NotUp,
        Self::Late,
        Self::OtherStart,
        Self::NixOs,
        Self::NotCounted,
        Self::NextRoot,
        Self::NoKexec,
    ];
}

/// Why a rung is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The closure that ran does not allow it.
    NotAllowed(&'static str),
    /// It did not lead back in this boot.
    Tried,
    /// Something is in its way.
    Obstacle(Obstacle),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed(key) => write!(f, "`[fallback] {key}` does not allow it"),
            Self::Tried => f.write_str("it was tried in this boot, and did not lead back"),
            Self::Obstacle(obstacle) => f.write_str(match obstacle {
                Obstacle::NotUp => "the boot has not come to its services",
                Obstacle::Late => "files of another generation were read in this boot",
                Obstacle::OtherStart => {
                    "kernel, initrd, modules or parameters differ from the running ones"
                }
                Obstacle::NixOs => "NixOS activates a generation before systemd is started",
                Obstacle::NotCounted => {
                    "this systemd does not count soft-reboots, so that nobody could tell what runs after one"
                }
                Obstacle::NextRoot => "/run/nextroot leads to another system",
                Obstacle::NoKexec => "the kernel cannot be loaded",
            }),
        }
    }
}

/// What the ladder is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// What the closure that runs allows.
    pub allowed: BTreeSet<Rung>,
    /// What was tried in this boot. That the machine is still here means that it failed.
    pub tried: BTreeSet<Rung>,
    /// What is in the way.
    pub obstacles: BTreeSet<Obstacle>,
}

/// Which rungs are taken, in this order, and why the others are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder {
    /// The rungs. The last one is [`Rung::Reboot`].
    pub rungs: Vec<Rung>,
    /// What was passed over.
    pub passed_over: Vec<(Rung, Why)>,
}

/// The ladder: a total function of what is known.
#[must_use]
pub fn ladder(facts: &Facts) -> Ladder {
    let mut ladder = Ladder {
        rungs: Vec::new(),
        passed_over: Vec::new(),
    };
    for rung in Rung::ALL {
        match why_not(rung, facts) {
            None => ladder.rungs.push(rung),
            Some(why) => ladder.passed_over.push((rung, why)),
        }
    }
    ladder
}

fn why_not(rung: Rung, facts: &Facts) -> Option<Why> {
    // Nothing comes after it: one that failed is taken again, by force in the end.
    let key = rung.key()?;
    if !facts.allowed.contains(&rung) {
        return Some(Why::NotAllowed(key));
    }
    if facts.tried.contains(&rung) {
        return Some(Why::Tried);
    }
    let mut obstacles = rung.obstacles().iter();
    let found = obstacles.find(|one| facts.obstacles.contains(one));
    found.map(|one| Why::Obstacle(*one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Obstacle::{Late, NextRoot, NixOs, NoKexec, NotCounted, NotUp, OtherStart};

    /// Every subset of `all`.
    fn subsets<T: Copy + Ord>(all: &[T]) -> Vec<BTreeSet<T>> {
        let masks = 0..1_u32 << all.len();
        let members = |mask: u32| {
            let chosen = all.iter().enumerate();
            let chosen = chosen.filter(move |(bit, _)| mask & (1 << bit) != 0);
            chosen.map(|(_, one)| *one).collect()
        };
        masks.map(members).collect()
    }

    /// Written down once more, by hand: what each rung needs.
    fn is_taken(rung: Rung, facts: &Facts) -> bool {
        let free =
            |obstacles: &[Obstacle]| obstacles.iter().all(|one| !facts.obstacles.contains(one));
        let may = facts.allowed.contains(&rung) && !facts.tried.contains(&rung);
        match rung {
            Rung::Live => may && free(&[NotUp, Late, OtherStart]),
            Rung::SoftReboot => may && free(&[NixOs, NotCounted, NextRoot, OtherStart]),
            Rung::Kexec => may && free(&[NoKexec]),
            Rung::Reboot => true,
        }
    }

    #[test]
    fn every_case_has_its_ladder() {
        let rungs = subsets(&Rung::ALL);
        let obstacles = subsets(&Obstacle::ALL);
        let mut count = 0;
        for allowed in &rungs {
            for tried in &rungs {
                for obstacles in &obstacles {
                    let facts = Facts {
                        allowed: allowed.clone(),
                        tried: tried.clone(),
                        obstacles: obstacles.clone(),
                    };
                    let ladder = ladder(&facts);
                    let expected: Vec<Rung> = Rung::ALL
                        .into_iter()
                        .filter(|rung| is_taken(*rung, &facts))
                        .collect();
                    assert_eq!(ladder.rungs, expected, "{facts:?}");
                    assert_eq!(ladder.rungs.last(), Some(&Rung::Reboot), "{facts:?}");
                    assert!(ladder.rungs.is_sorted(), "{facts:?}");
                    assert_eq!(ladder.rungs.len() + ladder.passed_over.len(), 4);
                    count += 1;
                }
            }
        }
        assert_eq!(count, 16 * 16 * 128);
    }

    #[test]
    fn why_a_rung_is_passed_over_is_told() {
        let all = |rungs: &[Rung]| rungs.iter().copied().collect();
        let told = |facts: &Facts, rung| {
            let found = ladder(facts).passed_over;
            let found = found.into_iter().find(|(one, _)| *one == rung);
            found.map(|(_, why)| why.to_string())
        };
        let mut facts = Facts::default();
        assert_eq!(
            told(&facts, Rung::Kexec).as_deref(),
            Some("`[fallback] kexec` does not allow it")
        );
        facts.allowed = all(&Rung::ALL);
        assert_eq!(told(&facts, Rung::SoftReboot), None);
        facts.obstacles = [Obstacle::OtherStart, Obstacle::NextRoot].into();
        assert_eq!(
            told(&facts, Rung::SoftReboot).as_deref(),
            Some("/run/nextroot leads to another system")
        );
        facts.tried = all(&[Rung::SoftReboot, Rung::Reboot]);
        assert!(told(&facts, Rung::SoftReboot).is_some_and(|why| why.contains("was tried")));
        assert_eq!(told(&facts, Rung::Reboot), None);
    }
}
