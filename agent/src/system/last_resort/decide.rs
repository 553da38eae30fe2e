//! What is to be set, given what is there. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What a panic is followed by: seconds to the reboot; 0: none; less: at once.
pub const PANIC: &str = "kernel.panic";
/// How long a task may hang before the kernel speaks of it, in seconds.
const HUNG_AFTER: &str = "kernel.hung_task_timeout_secs";
/// Whether it panics then.
const HUNG: &str = "kernel.hung_task_panic";
/// What is set on a trial, and to what. A kernel has those it was built with.
pub const SYSCTLS: [(&str, i64); 5] = [
    ("kernel.panic_on_oops", 1),
    ("kernel.softlockup_panic", 1),
    ("kernel.hardlockup_panic", 1),
    (HUNG, 1),
    // The usual two minutes are nothing to a slow disk under load, which is nobody's fault.
    (HUNG_AFTER, 300),
];
/// How long PID 1 may be silent on a trial, in microseconds. It is silent for a while in good health too: a generator may
/// take 90 s, and it answers nobody meanwhile.
const LIMIT: u64 = 180_000_000;
/// `WDIOF_MAGICCLOSE` in a device's status: closed without a word, as by a PID 1 that dies, it stops
/// (`include/uapi/linux/watchdog.h`).
pub const MAGIC_CLOSE: u64 = 0x100;

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Settings of the kernel's, by name.
    pub settings: BTreeMap<String, i64>,
    /// Those of which the host or the closure says what they are to be.
    pub said: BTreeSet<String>,
    /// The hardware watchdog.
    pub device: Option<Device>,
    /// For how long PID 1 feeds it, in microseconds. 0: not at all. None: it does not say.
    pub runtime: Option<u64>,
}

/// A hardware watchdog, as sysfs has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// What its driver calls it.
    pub identity: String,
    /// Its shortest time, in seconds.
    pub shortest: u64,
    /// Its longest one. 0: its driver does not say.
    pub longest: u64,
    /// It counts.
    pub is_active: bool,
    /// Nothing stops it once it counts.
    pub never_stops: bool,
    /// It stops when PID 1 dies: an earlier PID 1 of this boot has handed it on, by a re-execution or from the initrd.
    pub gives_up: bool,
}

impl Device {
    /// Whether it counts, and would let the machine down all the same.
    #[must_use]
    pub fn is_in_vain(&self) -> bool {
        self.is_active && self.gives_up && !self.never_stops
    }
}

/// One thing to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A setting of the kernel's.
    Setting {
        /// Its name.
        name: String,
        /// What it is.
        from: i64,
        /// What it is to be.
        to: i64,
    },
    /// For how long PID 1 feeds the watchdog, in microseconds.
    Watchdog {
        /// What it is.
        from: u64,
        /// What it is to be.
        to: u64,
        /// By way of 0: the device is to be opened again.
        anew: bool,
    },
}

/// What was set on this trial, and what it was before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Settings of the kernel's: before, and what was set.
    pub settings: BTreeMap<String, (i64, i64)>,
    /// The time for the watchdog, likewise.
    pub watchdog: Option<(u64, u64)>,
}

impl Kept {
    /// Takes down that something was set. What it was at first is what counts.
    pub fn note(&mut self, change: &Change) {
        match change {
            Change::Setting { name, from, to } => {
                let kept = self.settings.entry(name.clone()).or_insert((*from, *to));
                kept.1 = *to;
            }
            Change::Watchdog { from, to, .. } => {
                self.watchdog.get_or_insert((*from, *to)).1 = *to;
            }
        }
    }

    /// Takes down that something could not be set. It is not tried again.
    pub fn give_up(&mut self, change: &Change) {
        match change {
            Change::Setting { name, from, .. } => {
                self.settings.entry(name.clone()).or_insert((*from, *from));
            }
            Change::Watchdog { from, .. } => {
                self.watchdog.get_or_insert((*from, *from));
            }
        }
    }

    /// Whether nothing was set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is to be set on a trial. It is asked more than once: a driver may come late, and a re-execution of PID 1 takes
/// something away.
#[must_use]
pub fn arm(found: &Found, kept: &Kept) -> Vec<Change> {
    let mut changes: Vec<Change> = watchdog(found, kept).into_iter().collect();
    let is_guarded = !changes.is_empty()
        || found.runtime.is_some_and(|runtime| runtime > 0) && found.device.is_some();
    // Where a panic reboots nothing and no watchdog does, half dead is better than dead. That is what the closure says.
    if found.settings.get(PANIC).is_none_or(|panic| *panic == 0) && !is_guarded {
        return changes;
    }
    let panics_when_hung = found.settings.get(HUNG) == Some(&0) && !found.said.contains(HUNG);
    for (name, to) in SYSCTLS {
        let Some(from) = found.settings.get(name).copied() else {
            continue;
        };
        let is_less = match name {
            // 0: the kernel does not look.
            HUNG_AFTER => panics_when_hung && 0 < from && from < to,
            _ => from == 0,
        };
        // Once: who sets it back meanwhile has a reason.
        if is_less && !found.said.contains(name) && !kept.settings.contains_key(name) {
            let name = name.to_owned();
            changes.push(Change::Setting { name, from, to });
        }
    }
    changes
}

fn watchdog(found: &Found, kept: &Kept) -> Option<Change> {
    let (device, from) = (found.device.as_ref()?, found.runtime?);
    if let Some((before, set)) = kept.watchdog {
        // By way of 0 systemd goes back to what its configuration says: only if that is nothing is the device closed.
        let can_be_mended = before == 0 && set != 0 && from == set && device.is_in_vain();
        let (from, to, anew) = (before, set, true);
        return can_be_mended.then_some(Change::Watchdog { from, to, anew });
    }
    let seconds = |seconds: u64| seconds.saturating_mul(1_000_000);
    let longest = match device.longest {
        0 => u64::MAX,
        known => seconds(known),
    };
    let to = LIMIT.max(seconds(device.shortest)).min(longest);
    // The host has a shorter time of its own, or leaves it to the driver.
    let is_the_hosts = from == u64::MAX || 0 < from && from <= to;
    let anew = false;
    (!is_the_hosts).then_some(Change::Watchdog { from, to, anew })
}

/// What is to be put back. What somebody else has set since, or has said to be so, stays.
#[must_use]
pub fn give_back(found: &Found, kept: &Kept) -> Vec<Change> {
    let settings = kept.settings.iter().filter_map(|(name, (before, set))| {
        let is_ours =
            before != set && found.settings.get(name) == Some(set) && !found.said.contains(name);
        is_ours.then(|| Change::Setting {
            name: name.clone(),
            from: *set,
            to: *before,
        })
    });
    let watchdog = kept
        .watchdog
        .filter(|(before, set)| before != set && found.runtime == Some(*set));
    let watchdog = watchdog.map(|(before, set)| Change::Watchdog {
        from: set,
        to: before,
        anew: false,
    });
    settings.chain(watchdog).collect()
}

/// The settings that a file names (sysctl.d(5)): with dots or slashes, a minus in front if a failure is nothing.
pub fn named_in(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    let said = lines.filter(|line| !line.starts_with(['#', ';']));
    let names = said.filter_map(|line| Some(line.split_once('=')?.0.trim()));
    names
        .map(|name| name.trim_start_matches('-').replace('/', "."))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(runtime: u64, device: Option<Device>) -> Found {
        let mut settings: BTreeMap<String, i64> = SYSCTLS
            .iter()
            .map(|(name, _)| ((*name).to_owned(), 0))
            .collect();
        settings.insert(HUNG_AFTER.to_owned(), 120);
        settings.insert(PANIC.to_owned(), 10);
        Found {
            settings,
            said: BTreeSet::new(),
            device,
            runtime: Some(runtime),
        }
    }

    fn device() -> Device {
        Device {
            identity: "i6300ESB timer".to_owned(),
            shortest: 1,
            longest: 2046,
            ..Device::default()
        }
    }

    fn time(found: &Found) -> Option<u64> {
        arm(found, &Kept::default())
            .into_iter()
            .find_map(|change| match change {
                Change::Watchdog { to, .. } => Some(to),
                Change::Setting { .. } => None,
            })
    }

    /// Every time that a host may have, with every kind of device.
    #[test]
    fn a_watchdog_is_armed_where_the_host_has_no_shorter_one() {
        const SECOND: u64 = 1_000_000;
        let with = |longest| {
            Some(Device {
                longest,
                ..device()
            })
        };
        let any = Some(device());
        for (runtime, device, expected) in [
            (0, None, None),
            (0, any.clone(), Some(LIMIT)),
            (0, with(0), Some(LIMIT)),
            (0, with(60), Some(60 * SECOND)),
            (30 * SECOND, any.clone(), None),
            (LIMIT, any.clone(), None),
            (LIMIT + 1, any.clone(), Some(LIMIT)),
            (u64::MAX, any, None),
            (90 * SECOND, with(60), Some(60 * SECOND)),
        ] {
            let found = found(runtime, device);
            assert_eq!(time(&found), expected, "{found:?}");
        }
        let silent = Found {
            runtime: None,
            ..found(0, Some(device()))
        };
        assert_eq!(time(&silent), None, "PID 1 does not answer");
    }

    #[test]
    fn what_was_set_is_set_once_and_given_back_unless_somebody_else_has_set_it() {
        let before = found(0, Some(device()));
        let mut kept = Kept::default();
        let changes = arm(&before, &kept);
        assert_eq!(changes.len(), 6, "{changes:?}");
        let mut after = before.clone();
        for change in &changes {
            kept.note(change);
            match change {
                Change::Setting { name, to, .. } => {
                    after.settings.insert(name.clone(), *to);
                }
                Change::Watchdog { to, .. } => after.runtime = Some(*to),
            }
        }
        assert_eq!(arm(&after, &kept), []);
        let back = give_back(&after, &kept);
        assert_eq!(back.len(), changes.len());
        for change in back {
            match change {
                Change::Setting { name, to, .. } => {
                    assert_eq!(before.settings.get(&name), Some(&to));
                }
                Change::Watchdog { to, .. } => assert_eq!(to, 0),
            }
        }
        after.settings.insert(HUNG.to_owned(), 7);
        after.said.insert("kernel.panic_on_oops".to_owned());
        after.runtime = Some(5);
        let back = give_back(&after, &kept);
        assert_eq!(back.len(), changes.len() - 3, "{back:?}");
    }

    /// Y21 of what was measured: a PID 1 that was executed anew can die without a reset.
    #[test]
    fn a_watchdog_that_a_new_pid_1_took_over_is_armed_anew() {
        let armed = |gives_up, never_stops, runtime| {
            let device = Some(Device {
                is_active: true,
                gives_up,
                never_stops,
                ..device()
            });
            Found {
                settings: BTreeMap::new(),
                ..found(runtime, device)
            }
        };
        let ours = Kept {
            watchdog: Some((0, LIMIT)),
            ..Kept::default()
        };
        let anew = Change::Watchdog {
            from: 0,
            to: LIMIT,
            anew: true,
        };
        assert_eq!(arm(&armed(true, false, LIMIT), &ours), [anew]);
        assert_eq!(arm(&armed(false, false, LIMIT), &ours), []);
        assert_eq!(arm(&armed(true, true, LIMIT), &ours), []);
        assert_eq!(
            arm(&armed(true, false, 5), &ours),
            [],
            "somebody else's now"
        );
        let hosts = Kept {
            watchdog: Some((2 * LIMIT, LIMIT)),
            ..Kept::default()
        };
        assert_eq!(arm(&armed(true, false, LIMIT), &hosts), []);
    }

    #[test]
    fn nothing_panics_where_a_panic_ends_nothing() {
        let mut stays = found(0, None);
        assert_eq!(arm(&stays, &Kept::default()).len(), 5);
        stays.settings.insert(PANIC.to_owned(), 0);
        assert_eq!(arm(&stays, &Kept::default()), []);
        // An armed watchdog ends a panic, too.
        stays.device = Some(device());
        assert_eq!(arm(&stays, &Kept::default()).len(), 6);
        stays.device = None;
        stays.settings.insert(PANIC.to_owned(), -1);
        assert_eq!(arm(&stays, &Kept::default()).len(), 5);
    }

    #[test]
    fn a_kernel_that_does_not_look_for_hung_tasks_is_left_alone() {
        let mut never = found(0, None);
        never.settings.insert(HUNG_AFTER.to_owned(), 0);
        let changes = arm(&never, &Kept::default());
        assert!(
            !changes
                .iter()
                .any(|change| matches!(change, Change::Setting { name, .. } if name == HUNG_AFTER))
        );
    }

    #[test]
    fn a_setting_is_named_in_any_of_its_spellings() {
        let text = "# kernel.panic=1\n;x=2\n kernel.panic_on_oops = 1\n-kernel/softlockup_panic=0\nnothing\n";
        assert_eq!(
            named_in(text),
            ["kernel.panic_on_oops", "kernel.softlockup_panic"]
        );
    }
}
