//! Waiting for those who are there: an automatic reboot is announced, can be held, and waits for a while. Then it goes by a
//! way that nobody can refuse.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use boot_entries::Root;

use crate::config::Fallback;
use crate::report::line::one_line;
use crate::store::handover::Held;
use crate::system::logind::{self, Inhibitor, Session};
use crate::system::{entrance, terminals};

/// How often it is looked again.
const LOOK: Duration = Duration::from_secs(1);

/// How long to wait at most, from the first look on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For people.
    grace: Duration,
    /// For inhibitors.
    inhibitors: Duration,
}

impl From<&Fallback> for Patience {
    fn from(asked: &Fallback) -> Self {
        Self {
            grace: asked.grace_sec.into(),
            inhibitors: asked.inhibitor_patience_sec.into(),
        }
    }
}

/// Who is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum People {
    /// Nobody.
    Nobody,
    /// Somebody.
    Some,
    /// Nobody can tell: they may be.
    Unknown,
}

/// What is known at one look.
#[derive(Debug, Clone, Copy)]
struct Look {
    since: Duration,
    people: People,
    is_blocked: bool,
    is_held: bool,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Do {
    Wait,
    Go,
    Stay,
}

/// Pure and total. The two pauses run side by side: what both ask for is time, and the longer one has it.
fn decide(patience: Patience, look: Look) -> Do {
    let grace = match look.people {
        People::Nobody => Duration::ZERO,
        People::Some | People::Unknown => patience.grace,
    };
    let blocked = if look.is_blocked {
        patience.inhibitors
    } else {
        Duration::ZERO
    };
    if look.is_held {
        Do::Stay
    } else if look.since < grace.max(blocked) {
        Do::Wait
    } else {
        Do::Go
    }
}

/// How the wait ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// The machine may go.
    Go,
    /// The operator holds this boot, and who that is.
    Held(String),
}

/// Announces the reboot in `words`, and waits.
pub(super) fn wait(root: &Root, boot: &str, patience: Patience, words: &str) -> Waited {
    let began = Instant::now();
    let mut said = Said::default();
    loop {
        let since = began.elapsed();
        let held = held(root, boot);
        let people = people(patience.grace.saturating_sub(since), words, &mut said);
        let is_blocked = is_blocked(patience.inhibitors, &mut said);
        let look = Look {
            since,
            people,
            is_blocked,
            is_held: held.is_some(),
        };
        match (decide(patience, look), held) {
            (Do::Stay, Some(held)) => {
                said.tell(&[format!(
                    "lastgood: {} holds this boot; the machine does not reboot by itself",
                    held.by
                )]);
                return Waited::Held(held.by);
            }
            (Do::Go | Do::Stay, _) => {
                if is_blocked {
                    let names: Vec<String> = said.blockers.iter().map(shown).collect();
                    tracing::warn!(
                        "not waiting any longer for those who hold up the reboot: {}",
                        names.join("; ")
                    );
                }
                return Waited::Go;
            }
            (Do::Wait, _) => thread::sleep(LOOK),
        }
    }
}

/// Who holds this boot, if somebody does.
pub(super) fn held(root: &Root, boot: &str) -> Option<Held> {
    Held::read(root, boot).unwrap_or_else(|error| {
        tracing::error!("{}", one_line(&error));
        None
    })
}

/// What was said already.
#[derive(Debug, Default)]
struct Said {
    terminals: BTreeSet<PathBuf>,
    blockers: BTreeSet<Inhibitor>,
    has_no_count: bool,
    has_no_list: bool,
}

impl Said {
    /// On all terminals that heard of the reboot.
    fn tell(&self, lines: &[String]) {
        for terminal in &self.terminals {
            if let Err(error) = terminals::tell(terminal, lines) {
                tracing::debug!("{}: {error}", terminal.display());
            }
        }
    }
}

/// Pure and total. `is_closed`: whether nobody can have come in, where that can be told; `count`: how many logind knows of,
/// where it can be asked. What is closed needs no logind: early in a boot there is none to be asked.
const fn who(is_closed: Option<bool>, count: Option<usize>) -> People {
    match (is_closed, count) {
        (Some(true), _) | (_, Some(0)) => People::Nobody,
        (_, Some(_)) => People::Some,
        (_, None) => People::Unknown,
    }
}

fn people(left: Duration, words: &str, said: &mut Said) -> People {
    let is_closed = match entrance::is_closed() {
        Ok(is_closed) => Some(is_closed),
        Err(error) => {
            tracing::debug!("{}", one_line(&error));
            None
        }
    };
    // A bus that is up before logind makes each look wait for it.
    if who(is_closed, None) == People::Nobody {
        return People::Nobody;
    }
    let people = logind::people();
    let count = people.as_ref().ok().map(BTreeSet::len);
    match people {
        Ok(people) if people.is_empty() => {}
        Ok(people) => announce(&people, left, words, said),
        Err(error) => {
            if !std::mem::replace(&mut said.has_no_count, true) && !left.is_zero() {
                tracing::warn!(
                    "{words}, in {} s; nobody can tell who is logged in: {}; `lastgood hold` holds it",
                    left.as_secs(),
                    one_line(&error)
                );
            }
        }
    }
    who(is_closed, count)
}

fn announce(people: &BTreeSet<Session>, left: Duration, words: &str, said: &mut Said) {
    let lines = announcement(left, words);
    let fresh: Vec<PathBuf> = terminals::of(people)
        .difference(&said.terminals)
        .cloned()
        .collect();
    if fresh.is_empty() {
        return;
    }
    let names: BTreeSet<&str> = people.iter().map(|one| one.user.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    tracing::warn!(
        "{words}, in {} s: {} logged in; `lastgood hold` holds it",
        left.as_secs(),
        names.join(", ")
    );
    for terminal in fresh {
        if let Err(error) = terminals::tell(&terminal, &lines) {
            tracing::debug!("{}: {error}", terminal.display());
        }
        said.terminals.insert(terminal);
    }
}

fn announcement(left: Duration, words: &str) -> Vec<String> {
    vec![
        format!("lastgood: {words}."),
        format!(
            "This machine goes down in {} s. To hold it:  lastgood hold",
            left.as_secs()
        ),
    ]
}

fn is_blocked(patience: Duration, said: &mut Said) -> bool {
    match logind::blocking_shutdown() {
        Ok(blockers) => {
            for one in blockers.difference(&said.blockers) {
                tracing::warn!(
                    "the reboot is held up, and waits for at most {} s: {}",
                    patience.as_secs(),
                    shown(one)
                );
            }
            let is_blocked = !blockers.is_empty();
            said.blockers = blockers;
            is_blocked
        }
        // Without logind there is nobody to hold anything up.
        Err(error) => {
            if !std::mem::replace(&mut said.has_no_list, true) {
                tracing::debug!("{}", one_line(&error));
            }
            false
        }
    }
}

fn shown(one: &Inhibitor) -> String {
    let Inhibitor { who, why, uid, pid } = one;
    format!("{who:?} because of {why:?} (user {uid}, process {pid})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_look_has_its_answer() {
        let seconds = Duration::from_secs;
        for (grace, inhibitors) in [(0, 0), (60, 0), (0, 60), (60, 20), (20, 60)] {
            let patience = Patience {
                grace: seconds(grace),
                inhibitors: seconds(inhibitors),
            };
            for since in [0, 1, 19, 20, 59, 60, 61, 9999] {
                for people in [People::Nobody, People::Some, People::Unknown] {
                    for is_blocked in [false, true] {
                        for is_held in [false, true] {
                            let look = Look {
                                since: seconds(since),
                                people,
                                is_blocked,
                                is_held,
                            };
                            let for_people = people != People::Nobody && since < grace;
                            let for_others = is_blocked && since < inhibitors;
                            let expected = match (is_held, for_people || for_others) {
                                (true, _) => Do::Stay,
                                (false, true) => Do::Wait,
                                (false, false) => Do::Go,
                            };
                            assert_eq!(decide(patience, look), expected, "{patience:?} {look:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn nobody_is_there_before_anybody_can_have_come_in() {
        for (count, closed, open) in [
            (None, People::Nobody, People::Unknown),
            (Some(0), People::Nobody, People::Nobody),
            (Some(1), People::Nobody, People::Some),
        ] {
            assert_eq!(who(Some(true), count), closed, "{count:?}");
            assert_eq!(who(Some(false), count), open, "{count:?}");
            assert_eq!(who(None, count), open, "{count:?}");
        }
    }

    #[test]
    fn the_announcement_has_cause_time_and_command() {
        let lines = announcement(Duration::from_secs(42), "generation 3 is not healthy");
        let text = lines.join("\n");
        for words in ["generation 3 is not healthy", "42 s", "lastgood hold"] {
            assert!(text.contains(words), "{text}");
        }
    }
}
