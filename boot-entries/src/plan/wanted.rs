//! The entry that a generation is to have: its counter, and its place in the order.

use std::rc::Rc;

use super::{Counter, InPlace, Intent, Refusal, Standing, Step, best_of, remove};
use crate::closure::PANIC;
use crate::entry::{EntryFile, Rank};
use crate::generation::Subject;
use crate::name::{ARMED, one_more, used_up};
use crate::observe::BootFiles;
use systemd_boot_model::{ENTRIES, Entry, EntryName, Partition, Tries};

/// The entry a generation is to have.
#[derive(Clone)]
pub(super) struct Wanted<'a> {
    pub(super) id: Subject,
    pub(super) stem: &'a str,
    pub(super) on: Partition,
    /// A plan is made of copies.
    pub(super) entry: Rc<Entry>,
    pub(super) standing: Standing,
    pub(super) tries: Option<Tries>,
    pub(super) rank: Rank,
    /// An entry that must stay as it is, to the letter.
    pub(super) fixed: Option<&'a str>,
    /// It was fixed, and its rank has to change.
    is_moved: bool,
    /// Whose it is, as its last line says.
    mark: Rc<str>,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(
        intent: &Intent,
        here: &InPlace,
        id: Subject,
        stem: &'a str,
        entry: Entry,
        files: &[&'a EntryFile],
    ) -> Self {
        let standing = intent
            .standings
            .get(&id)
            .copied()
            .unwrap_or(Standing::Untested);
        let is_selected = intent.selected.as_ref() == Some(&id);
        let is_last_good = intent.last_good.as_ref() == Some(&id);
        let plain = files.iter().find(|file| file.name.tries.is_none());
        // With several counters the lowest is the truth: the loader only ever counts down.
        let counters = files.iter().filter_map(|file| file.name.tries);
        let lowest = counters.min_by_key(|tries| tries.left);
        let anew = here.rearm || intent.counter == Counter::Anew;
        let tries = match standing {
            _ if anew && is_selected && !is_last_good => Some(ARMED),
            Standing::Untested if intent.counter == Counter::OneMore && is_selected => {
                lowest.map(one_more)
            }
            Standing::Rejected => Some(used_up(lowest.unwrap_or(ARMED))),
            // Whoever goes back to an older proven generation has a way back from it, too, should it have rotted.
            Standing::Proven if is_selected && !is_last_good => Some(lowest.unwrap_or(ARMED)),
            Standing::Proven => None,
            // An entry without a counter was proven once, even if the record of that is lost.
            Standing::Untested if plain.is_some() && lowest.is_none() => None,
            Standing::Untested => Some(lowest.unwrap_or(ARMED)),
        };
        let ranks = files
            .iter()
            .filter_map(|file| Rank::of_sort_key(file.entry.sort_key.as_deref()?));
        let fixed = plain.filter(|plain| is_last_good && boots_alike(&plain.entry, &entry));
        let rank_of_fixed =
            fixed.and_then(|plain| Rank::of_sort_key(plain.entry.sort_key.as_deref()?));
        Self {
            rank: rank_of_fixed
                .or(ranks.max())
                .unwrap_or_else(|| Rank::unselected(&id.generation)),
            fixed: fixed.map(|plain| plain.text.as_str()),
            is_moved: false,
            mark: intent.ownership.mark().into(),
            id,
            stem,
            on: Partition::Boot,
            entry: Rc::new(entry),
            standing,
            tries,
        }
    }

    /// The same on the other partition, if there is an entry too: a move to an XBOOTLDR partition was cut short. Each
    /// has payload of its own, the loader lists both, and so a verdict is on both.
    pub(super) fn twin(&self, boot: &'a BootFiles) -> Option<Self> {
        let files: Vec<&EntryFile> = boot
            .files_of(self.stem)
            .map(|(_, file)| file)
            .filter(|file| file.on != self.on)
            .collect();
        let best = best_of(&files)?;
        let plain = files.iter().find(|file| file.name.tries.is_none());
        let fixed =
            plain.filter(|plain| self.fixed.is_some() && boots_alike(&plain.entry, &best.entry));
        Some(Self {
            on: best.on,
            entry: Rc::new(best.entry.clone()),
            fixed: fixed.map(|plain| plain.text.as_str()),
            ..self.clone()
        })
    }

    /// Removes entries of the same generation with fewer tries left: names that a new counter will come down to. The
    /// firmware does not rename over another file, so beside one of them the loader would stop counting, and start a
    /// trial for ever.
    pub(super) fn in_the_way(&self, boot: &BootFiles) -> Vec<Step> {
        let left = self.tries.map_or(0, |tries| tries.left);
        let files = boot.files_of(self.stem);
        let lower =
            files.filter(|(_, file)| file.name.tries.is_some_and(|tries| tries.left < left));
        lower.map(|(name, file)| remove(file.on, name)).collect()
    }

    /// File name and text.
    pub(super) fn file(&self) -> (String, String) {
        let name = EntryName {
            stem: self.stem.to_owned(),
            tries: self.tries,
        };
        if let Some(text) = self.fixed {
            return (name.to_string(), text.to_owned());
        }
        let mut text = self.entry.text(Some(&self.rank.sort_key()));
        text.push_str(&self.mark);
        (name.to_string(), text)
    }

    /// What is there while the last good entry is replaced by one with this text: the same by another name, to be
    /// written before and removed after. A file that is replaced may get lost, and this one may be all that is proven.
    pub(super) fn guard(&self, boot: &BootFiles, text: &str) -> Option<(Step, Step)> {
        let (name, _) = self.file();
        if !self.is_moved || boot.entry(self.on, &name).is_none() {
            return None;
        }
        let guard = EntryName {
            stem: self.stem.to_owned(),
            tries: Some(ARMED),
        };
        let write = Step::Text {
            text: text.to_owned(),
            on: self.on,
            path: format!("{ENTRIES}/{guard}"),
        };
        Some((write, remove(self.on, &guard.to_string())))
    }
}

/// Whether two entries start the same thing, however they are titled and sorted.
fn boots_alike(a: &Entry, b: &Entry) -> bool {
    (&a.linux, &a.initrds, &a.devicetree) == (&b.linux, &b.initrds, &b.devicetree)
        && (a.options == b.options || a.options == as_before(&b.options))
}

/// `options` as they were written when what we add to them came last: an entry that has booted so is as good.
fn as_before(options: &str) -> String {
    match options.split_once(PANIC) {
        Some((init, rest)) => format!("{init}{rest}{PANIC}"),
        None => options.to_owned(),
    }
}

/// Ranks everything so that the selected entry is started first, and the last good one next.
///
/// From the bottom: never selected and rejected ones, other proven ones, the last good one, the selected one. Ranks
/// that already fit are kept, so that a second run finds nothing to do. The last good one's stays as it is (B3) unless
/// it was never selected: then it has just become the last good one, and the one before it is still untouched; or an
/// entry that is left alone is above it ([`Wanted::guard`]).
///
/// `kept` is the highest rank among the entries that are left alone.
pub(super) fn rank(all: &mut [Wanted<'_>], kept: Rank, intent: &Intent) -> Result<(), Refusal> {
    let top: Vec<&Subject> = intent.last_good.iter().chain(&intent.selected).collect();
    let fixed = all.iter().find(|w| w.fixed.is_some()).map(|w| w.rank);
    let ceiling = fixed.filter(|rank| *rank > kept.max(Rank::PROVEN));
    let mut below = kept.max(Rank::PROVEN);
    for wanted in all.iter_mut().filter(|wanted| !top.contains(&&wanted.id)) {
        wanted.rank = match wanted.standing {
            Standing::Proven if ceiling.is_none_or(|ceiling| wanted.rank < ceiling) => {
                wanted.rank.max(Rank::PROVEN)
            }
            Standing::Proven => Rank::PROVEN,
            Standing::Untested | Standing::Rejected => Rank::unselected(&wanted.id.generation),
        };
        below = below.max(wanted.rank);
    }
    let is_top = |id: &Subject| intent.selected.as_ref() == Some(id);
    let last_good = intent.last_good.iter().filter(|id| !is_top(id));
    for id in last_good.chain(&intent.selected) {
        for wanted in all.iter_mut().filter(|wanted| wanted.id == *id) {
            if wanted.rank <= below {
                // One that was never selected has just become the last good one.
                wanted.is_moved = wanted.fixed.take().is_some() && wanted.rank > Rank::PROVEN;
                wanted.rank = below.above().ok_or(Refusal::NoRankLeft)?;
            }
            below = wanted.rank;
        }
    }
    Ok(())
}
