//! Who takes the last good generation's place, when that one cannot be started any more.
//!
//! Its entry has no counter, so that nothing ends what begins with it: a machine whose failed trial leads to an entry
//! that does not load starts that for ever. Where its payload on `$BOOT` is missing or damaged and the store has none
//! to mend it with, it is the last good one on record only. Another proven generation is then ranked above it, which is
//! the one exception to invariant B3: nothing good is touched by it.

use std::cmp::Reverse;
use std::fmt;

use super::damage::{all_damage, is_whole};
use super::{Intent, Standing};
use crate::entry::{EntryFile, Rank};
use crate::generation::{GenerationId, Subject};
use crate::name::stem_of;
use crate::observe::{BootFiles, Observation};

/// A last good generation that cannot be started, and what takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Substituted {
    /// The last good one.
    pub last_good: GenerationId,
    /// Why it cannot be started.
    pub why: String,
    /// What failed boots lead to instead.
    pub by: GenerationId,
}

impl fmt::Display for Substituted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { last_good, why, by } = self;
        write!(
            f,
            "generation {last_good} is the last good one and cannot be started ({why}), nor mended from the store: what \
             fails leads to generation {by} instead"
        )
    }
}

/// `intent` with another proven generation in the place of the last good one, and what there is to say about it. None:
/// the last good one is whole, or will be, or nobody can take its place.
pub(super) fn appoint(observed: &Observation, intent: &Intent) -> Option<(Intent, Substituted)> {
    let last_good = intent.last_good.as_ref()?;
    if can_boot(observed, last_good) {
        return None;
    }
    let others = proven(intent).filter(|subject| *subject != last_good);
    let fit = others.filter(|subject| can_boot(observed, subject));
    let substitute = fit.max_by_key(|subject| {
        let is_selected = intent.selected.as_ref() == Some(subject);
        let is_second = intent.second.as_ref() == Some(subject);
        let rank = rank_of(&observed.boot, subject);
        (Reverse(is_selected), is_second, rank, *subject)
    })?;
    let (id, place) = (&last_good.generation, &substitute.generation);
    let stem = stem_of(last_good);
    let mut files = observed.boot.files_of(&stem).map(|(_, file)| file);
    let why = files.find_map(|file| all_damage(observed, file).next());
    let why = why.map_or_else(|| "it has no entry".to_owned(), |damage| damage.to_string());
    let told = Substituted {
        last_good: id.clone(),
        why,
        by: place.clone(),
    };
    Some((with_substitute(intent, substitute.clone()), told))
}

/// The same for a verdict, which reads no payload if it can be helped. Only where another proven one stands above the
/// last good one was it put there, or the last good one has become that just now: what is on the disk has to tell, and
/// `is_whole` is asked about its entry.
pub(super) fn confirm(
    boot: &BootFiles,
    intent: &Intent,
    is_whole: &mut dyn FnMut(&EntryFile) -> bool,
) -> Option<Intent> {
    let last_good = intent.last_good.as_ref()?;
    let file = plain(boot, last_good)?;
    let mine = rank_of(boot, last_good);
    let others = proven(intent).filter(|subject| *subject != last_good);
    let others = others.filter(|subject| plain(boot, subject).is_some());
    let above = others.filter(|subject| rank_of(boot, subject) > mine);
    let substitute = above.max_by_key(|subject| rank_of(boot, subject))?;
    (!is_whole(file)).then(|| with_substitute(intent, substitute.clone()))
}

fn with_substitute(intent: &Intent, substitute: Subject) -> Intent {
    let mut intent = intent.clone();
    if intent.selected == intent.last_good {
        intent.selected = Some(substitute.clone());
    }
    intent.last_good = Some(substitute);
    intent
}

fn proven(intent: &Intent) -> impl Iterator<Item = &Subject> {
    let all = intent.standings.iter();
    let proven = all.filter(|(_, standing)| **standing == Standing::Proven);
    proven.map(|(subject, _)| subject)
}

/// Whether its entry is whole, or can be made so.
fn can_boot(observed: &Observation, subject: &Subject) -> bool {
    let found = observed.find(subject);
    found.is_some_and(|found| found.bootable.is_ok())
        || plain(&observed.boot, subject).is_some_and(|file| is_whole(observed, file))
}

/// Its entry without a counter.
fn plain<'a>(boot: &'a BootFiles, subject: &Subject) -> Option<&'a EntryFile> {
    let stem = stem_of(subject);
    let mut files = boot.files_of(&stem).map(|(_, file)| file);
    files.find(|file| file.name.tries.is_none())
}

fn rank_of(boot: &BootFiles, subject: &Subject) -> Option<Rank> {
    let key = plain(boot, subject)?.entry.sort_key.as_deref()?;
    Rank::of_sort_key(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::Generation;
    use crate::plan::InPlace;
    use crate::plan::tests::{Disk, RELEASES, comes_back, id, proven, select};
    use crate::plan::{plan, verdict};
    use systemd_boot_model::LoaderVariables;

    /// 1 and 2 were proven one after the other. 2 has lost its kernel here, or the bytes of it, and in the store.
    fn rotten(is_missing: bool) -> (Disk, Intent) {
        let mut disk = Disk::with(3);
        disk.run(&proven(select(1), 1));
        disk.run(&proven(proven(select(2), 1), 2));
        let bootable = disk.0.generations[1].bootable.as_ref().unwrap();
        let path = bootable.kernel.path();
        let name = path.rsplit('/').next().unwrap().to_owned();
        let other = bootable.initrd.as_ref().unwrap().content;
        if is_missing {
            disk.0.payload.remove(&name);
        } else {
            disk.0.payload.insert(name, other);
        }
        disk.0.generations[1].bootable = Err("no kernel".to_owned());
        (disk, proven(proven(select(3), 1), 2))
    }

    #[test]
    fn what_fails_leads_to_a_proven_one_that_is_whole() {
        for is_missing in [false, true] {
            let (mut disk, intent) = rotten(is_missing);
            let plan = plan(&disk.0, &intent, &InPlace::default()).unwrap();
            let word = if is_missing { "missing" } else { "damaged" };
            let told = plan.substituted.clone().unwrap().to_string();
            for word in ["generation 2 is", word, "to generation 1 instead"] {
                assert!(told.contains(word), "{told}");
            }
            for release in RELEASES {
                let none = LoaderVariables::default();
                assert_eq!(comes_back(&disk.0, &plan, &intent, release, &none), Ok(()));
            }
            disk.run(&intent);
            for release in RELEASES {
                assert_eq!(disk.boots(release, 4), [3, 3, 3, 1, 1], "{release:?}");
            }
            assert_eq!(disk.run(&intent).steps, []);
        }
    }

    /// By whatever name it was asked for, and with a verdict that was no good: nothing puts the broken one on top
    /// again.
    #[test]
    fn no_verdict_takes_the_place_away() {
        let (mut disk, intent) = rotten(false);
        disk.run(&intent);
        let found = disk.0.generations.iter();
        let all: Vec<Generation> = found.map(|found| found.generation.clone()).collect();
        let mut rejected = proven(proven(select(2), 1), 2);
        rejected.standings.insert(id(3), Standing::Rejected);
        let healthy = proven(proven(proven(select(3), 1), 2), 3);
        for (judged, boots) in [(rejected, 1), (healthy, 3)] {
            let mut disk = disk.clone();
            let steps = verdict(&disk.0.boot, &all, &judged, &mut |_| false).unwrap();
            for step in &steps {
                disk.step(step);
            }
            for release in RELEASES {
                assert_eq!(disk.boots(release, 2), [boots; 3], "{release:?}");
            }
        }
    }

    /// Nothing is read for a verdict where nothing stands above the last good one.
    #[test]
    fn nobody_is_asked_without_need() {
        let mut disk = Disk::with(3);
        disk.run(&proven(select(1), 1));
        let intent = proven(proven(select(3), 1), 2);
        disk.run(&proven(proven(select(2), 1), 2));
        disk.run(&intent);
        let found = disk.0.generations.iter();
        let all: Vec<Generation> = found.map(|found| found.generation.clone()).collect();
        let asked = verdict(&disk.0.boot, &all, &intent, &mut |file| panic!("{file:?}"));
        assert_eq!(asked, Ok(Vec::new()));
    }

    #[test]
    fn what_is_mended_has_its_place_again() {
        let (mut disk, intent) = rotten(true);
        disk.run(&intent);
        disk.0.generations[1].bootable = Disk::with(3).0.generations[1].bootable.clone();
        assert_eq!(disk.run(&intent).substituted, None);
        for release in RELEASES {
            assert_eq!(disk.boots(release, 4), [3, 3, 3, 2, 2], "{release:?}");
        }
    }

    /// One that has rotted on $BOOT only is mended, and one that is gone from the store only is left alone.
    #[test]
    fn nobody_is_replaced_who_can_be_started() {
        for is_in_store in [false, true] {
            let (mut disk, intent) = rotten(true);
            if is_in_store {
                disk.0.generations[1].bootable = Disk::with(3).0.generations[1].bootable.clone();
            } else {
                let whole = Disk::with(3).0.generations[1].bootable.clone().unwrap();
                let name = whole.kernel.path();
                let name = name.rsplit('/').next().unwrap().to_owned();
                disk.0.payload.insert(name, whole.kernel.content);
            }
            assert_eq!(disk.run(&intent).substituted, None);
            for release in RELEASES {
                assert_eq!(disk.boots(release, 4), [3, 3, 3, 2, 2], "{release:?}");
            }
        }
    }
}
