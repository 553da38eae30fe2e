//! What has to make room, and what must not (invariants B2 and B4).
//!
//! A plan that does not fit at its worst instant is given up piece by piece, what is missed least first:
//!
//! 1. generations that nobody needs and that are not all there are not copied: the oldest first, proven ones last;
//! 2. what would be removed in the end is removed in the beginning;
//! 3. generations that nobody needs are removed in the beginning, in the same order.
//!
//! Nobody needs what is neither running nor selected nor the last good generation, nor the proven one beside that. What
//! then does not fit is refused, and nothing is changed.
//!
//! Removing before writing is safe (B1) while the last good entry is on the disk, whole, and the plan leaves it alone:
//! every other entry runs out of tries, or is proven itself. Without that, only what was never proven may go early, and
//! only while something else is there to boot.

use std::collections::BTreeSet;
use std::fmt;

use super::damage::is_whole;
use super::housekeeping::copies;
use super::wanted::Wanted;
use super::{Candidate, InPlace, Intent, Plan, Refusal, Standing, Step, Unneeded, files_of, steps};
use crate::closure::{Bootable, Payload};
use crate::entry::EntryFile;
use crate::generation::Subject;
use crate::name::stem_of;
use crate::observe::Observation;
use crate::space::{Reserve, Volume};
use systemd_boot_model::{ENTRIES, Partition};

/// Why a plan does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// So many bytes must be free for it.
    pub needed: u64,
    /// So many are free, in bytes.
    pub free: u64,
    /// The step that needs most.
    pub step: String,
    /// What must stay, and why.
    pub kept: Vec<(Subject, Kept)>,
}

/// Why a generation stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is the last good one.
    LastGood,
    /// It is selected.
    Selected,
    /// It runs.
    Running,
    /// It is the second one of two that are proven.
    SecondProven,
    /// It is what an uninstalled machine is left with.
    HandedBack,
    /// A newer lastgood may need it.
    Spared,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LastGood => "the last good one",
            Self::Selected => "selected",
            Self::Running => "running",
            Self::SecondProven => "proven, should the last good one be lost",
            Self::HandedBack => "handed back",
            Self::Spared => "perhaps needed by a newer lastgood",
        })
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            needed, free, step, ..
        } = self;
        write!(
            f,
            "$BOOT is too small: {needed} bytes must be free to {step}, and {free} are, although nothing would stay but"
        )?;
        for (at, (subject, why)) in self.kept.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma} {} ({why})", subject.generation)?;
        }
        Ok(())
    }
}

/// The plan by which as many as possible of `all` have entries.
pub(super) fn fit(
    observed: &Observation,
    intent: &Intent,
    here: &InPlace,
    all: Vec<Candidate<'_>>,
) -> Result<Plan, Refusal> {
    let kept = kept(observed, intent, &all);
    let mut choice = Choice {
        observed,
        intent,
        here,
        all,
        is_early: false,
        may_be_proven: false,
    };
    let mut skipped = Vec::new();
    let (mut plan, mut short) = choice.plan()?;
    while short.is_some() {
        let Some(gone) = choice.give_up(&kept) else {
            break;
        };
        if let GivenUp::Generation(gone) = gone {
            skipped.push(gone);
        }
        (plan, short) = choice.plan()?;
    }
    if let Some(mut shortage) = short {
        shortage.kept = kept;
        return Err(Refusal::NoSpace(Box::new(shortage)));
    }
    let why = "there is no room for it on $BOOT".to_owned();
    plan.skipped = skipped.into_iter().map(|id| (id, why.clone())).collect();
    Ok(plan)
}

/// What is still to have an entry.
struct Choice<'a> {
    observed: &'a Observation,
    intent: &'a Intent,
    here: &'a InPlace,
    all: Vec<Candidate<'a>>,
    /// What goes, goes before anything is written.
    is_early: bool,
    /// Also what was proven.
    may_be_proven: bool,
}

/// What was given up for the plan to fit.
enum GivenUp {
    /// A generation's entry.
    Generation(Subject),
    /// That nothing is removed before everything is written.
    Order,
}

impl Choice<'_> {
    /// The plan for this choice, and what is missing for it.
    fn plan(&mut self) -> Result<(Plan, Option<Shortage>), Refusal> {
        let none = BTreeSet::new();
        let late = steps(self.observed, self.intent, self.here, &self.all, &none)?;
        let plan = if self.is_early {
            let (early, may_be_proven) = early(self.observed, self.intent, &self.all, &late.steps);
            self.may_be_proven = may_be_proven;
            steps(self.observed, self.intent, self.here, &self.all, &early)?
        } else {
            late
        };
        let short = shortage(self.observed, &plan.steps);
        Ok((plan, short))
    }

    /// Gives up what is missed least. None: there is nothing left to give up.
    fn give_up(&mut self, kept: &[(Subject, Kept)]) -> Option<GivenUp> {
        let is_kept = |wanted: &Wanted<'_>| kept.iter().any(|(id, _)| *id == wanted.id);
        let shared: BTreeSet<String> = self
            .all
            .iter()
            .filter(|(wanted, _)| is_kept(wanted))
            .flat_map(|(_, bootable)| paths(bootable))
            .collect();
        let costs = |bootable: &Bootable| !copies(self.observed, [bootable]).is_empty();
        let frees = |bootable: &Bootable| paths(bootable).any(|path| !shared.contains(&path));
        let mut order: Vec<usize> = (0..self.all.len()).collect();
        order.sort_by_key(|at| self.all.get(*at).map(|(wanted, _)| is_proven(wanted)));
        let mut candidates = order.into_iter().filter(|at| {
            let candidate = self.all.get(*at);
            candidate.is_some_and(|(wanted, bootable)| {
                let may_go = self.is_early && (self.may_be_proven || !is_proven(wanted));
                let counts = costs(bootable) || may_go && frees(bootable);
                !is_kept(wanted) && counts
            })
        });
        match candidates.next() {
            Some(at) => Some(GivenUp::Generation(self.all.remove(at).0.id)),
            None if self.is_early => None,
            None => {
                self.is_early = true;
                Some(GivenUp::Order)
            }
        }
    }
}

/// What must stay (invariant B2), and why.
fn kept(observed: &Observation, intent: &Intent, all: &[Candidate<'_>]) -> Vec<(Subject, Kept)> {
    let asked = [
        (&intent.last_good, Kept::LastGood),
        (&intent.selected, Kept::Selected),
        (&intent.running, Kept::Running),
        (
            &intent.second.clone().filter(|_| !intent.may_lose_second),
            Kept::SecondProven,
        ),
    ];
    let mut kept: Vec<(Subject, Kept)> = Vec::new();
    for (id, why) in asked {
        if let Some(id) = id
            && !kept.iter().any(|(kept, _)| kept == id)
        {
            kept.push((id.clone(), why));
        }
    }
    if intent.unneeded == Unneeded::Stays {
        let is_new = |id: &Subject| !kept.iter().any(|(kept, _)| kept == id);
        let is_there = |w: &Wanted<'_>| !files_of(&observed.boot, w.stem).is_empty();
        let there = all.iter().filter(|(w, _)| is_there(w) && is_new(&w.id));
        let there: Vec<_> = there.map(|(w, _)| (w.id.clone(), Kept::Spared)).collect();
        kept.extend(there);
    }
    let is_kept = |id: &Subject| kept.iter().any(|(kept, _)| kept == id);
    let proven: Vec<_> = all.iter().filter(|(w, _)| is_proven(w)).collect();
    if intent.may_lose_second {
        return kept;
    }
    let missing = 2_usize.saturating_sub(proven.iter().filter(|(w, _)| is_kept(&w.id)).count());
    // Rather one that is there than a newer one that is not.
    let mut others: Vec<_> = proven
        .into_iter()
        .filter(|(w, _)| !is_kept(&w.id))
        .collect();
    others.sort_by_key(|(wanted, bootable)| {
        let is_there = copies(observed, [*bootable]).is_empty();
        (is_there, wanted.rank, wanted.id.clone())
    });
    let second = others.into_iter().rev().take(missing);
    let second: Vec<_> = second
        .map(|(w, _)| (w.id.clone(), Kept::SecondProven))
        .collect();
    kept.extend(second);
    kept
}

/// An entry without a counter was proven once, even if the record of that is lost.
fn is_proven(wanted: &Wanted<'_>) -> bool {
    match wanted.standing {
        Standing::Proven => true,
        Standing::Untested => wanted.tries.is_none(),
        Standing::Rejected => false,
    }
}

fn paths(bootable: &Bootable) -> impl Iterator<Item = String> {
    bootable.payload().map(Payload::path)
}

/// What `steps` lack.
pub(super) fn shortage(observed: &Observation, steps: &[Step]) -> Option<Shortage> {
    if steps.is_empty() {
        return None;
    }
    // What was kept free is for going back: that must not fail for lack of it.
    let has_copies = steps.iter().any(|step| matches!(step, Step::Copy { .. }));
    let reserve = if has_copies {
        Reserve::Kept
    } else {
        Reserve::Spent
    };
    let is_one = observed.space_on_esp.is_none() && !observed.boot.place.has_xbootldr();
    let lacks = |volume: &Volume, on: Partition| {
        let worst = volume.worst(steps, |step| is_one || step.on() == on, reserve);
        (worst.needed > volume.free).then(|| Shortage {
            needed: volume.bytes(worst.needed),
            free: volume.bytes(volume.free),
            step: steps
                .get(worst.step)
                .map(Step::to_string)
                .unwrap_or_default(),
            kept: Vec::new(),
        })
    };
    let on_boot = observed.space.as_ref();
    let on_esp = observed.space_on_esp.as_ref();
    on_boot
        .and_then(|volume| lacks(volume, Partition::Boot))
        .or_else(|| on_esp.and_then(|volume| lacks(volume, Partition::Esp)))
}

/// The entry files that may go before anything is written, out of those that `steps` remove for good; and whether
/// proven ones are among those that may.
fn early(
    observed: &Observation,
    intent: &Intent,
    all: &[Candidate<'_>],
    steps: &[Step],
) -> (BTreeSet<String>, bool) {
    let path = |name: &str| format!("{ENTRIES}/{name}");
    let there = || observed.boot.entries.iter();
    let touched = |name: &str, by: fn(&Step) -> bool| {
        let path = path(name);
        let mut steps = steps.iter().filter(|step| by(step));
        steps.any(|step| step.on() == Partition::Boot && step.path() == path)
    };
    let is_removed = |name: &str| touched(name, |step| matches!(step, Step::Remove { .. }));
    let is_written = |name: &str| touched(name, |step| matches!(step, Step::Text { .. }));
    let is_wanted = |file: &EntryFile| all.iter().any(|(w, _)| w.stem == file.name.stem);
    let goes = |name: &str, file: &EntryFile| is_removed(name) && !is_wanted(file);
    let stays_whole = |name: &str, file: &EntryFile| {
        !is_removed(name) && !is_written(name) && is_whole(observed, file)
    };
    let last_good = intent.last_good.as_ref().map(stem_of);
    let is_safe = there().any(|(name, file)| {
        let is_it = last_good.as_ref() == Some(&file.name.stem);
        is_it && file.name.tries.is_none() && stays_whole(name, file)
    });
    let something_boots = there().any(|(name, file)| stays_whole(name, file));
    let proven: BTreeSet<String> = intent
        .standings
        .iter()
        .filter(|(_, standing)| **standing == Standing::Proven)
        .map(|(subject, _)| stem_of(subject))
        .collect();
    let was_proven =
        |file: &EntryFile| file.name.tries.is_none() || proven.contains(&file.name.stem);
    let gone = there()
        .filter(|(name, file)| goes(name, file))
        .filter(|(_, file)| is_safe || something_boots && !was_proven(file))
        .map(|(name, _)| name.clone());
    (gone.collect(), is_safe)
}

#[cfg(test)]
mod tests;
