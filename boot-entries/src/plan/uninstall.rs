//! Giving `$BOOT` back, with something bootable on it. Pure.
//!
//! What is left must be proven; or, with nothing proven, what runs; or, with nothing known of that, what ran before us, or
//! what loader.conf names, were it a stranger's. If an entry of somebody else's starts it, that will do. If none does, one is written as
//! nixpkgs' builder would, so that the next `nixos-rebuild` takes it over. The order:
//!
//! 1. leftovers, and where room is short everything of ours but what is handed back;
//! 2. payload under its new name, entry, loader.conf, which names that entry;
//! 3. all entries of ours, then all payload of ours that nobody else's entry needs, then extra files.

mod acceptable;

use std::collections::BTreeSet;

use super::stranger::Stranger;
use super::takeover::points_at;
use super::{Intent, Plan, Refusal, Shortage, Step, extras, remove};
use crate::boot_partition::Partition;
use crate::boot_partition::{ENTRIES, LOADER_CONF};
use crate::closure::{Bootable, Payload};
use crate::efi::LoaderVariables;
use crate::entry::Entry;
use crate::entry::EntryFile;
use crate::generation::Subject;
use crate::loader::Band;
use crate::loader_conf::{self, LoaderConf};
use crate::name::{EntryName, stem_of};
use crate::nixpkgs;
use crate::observe::Observation;
use crate::payload::{self, Content};

/// In clusters: new entry files and loader.conf under two names each, directories that grow.
const RESERVE: u64 = 16;

/// Plans the way from `observed` to a `$BOOT` without anything of ours. `theirs` is what lies in
/// [`nixpkgs::DIRECTORY`], by name.
///
/// # Errors
/// When there is nothing to leave, or no room for it; nothing is to be changed then.
pub fn uninstall(
    observed: &Observation,
    intent: &Intent,
    theirs: &nixpkgs::Payload,
) -> Result<Plan, Refusal> {
    let ground = Ground { observed, theirs };
    let mut plan = Plan::default();
    let leftovers = observed.boot.leftovers.iter().cloned();
    plan.steps
        .extend(leftovers.map(|(on, path)| Step::Remove { on, path }));
    let mut everything = ground.removals(&BTreeSet::new());
    let extras = extras::steps(&observed.extras, &Intent::default());
    plan.notes.extend(extras.notes);
    everything.extend(extras.removals);
    if everything.is_empty() && !ground.is_default_ours() {
        return Ok(plan);
    }
    let acceptable = acceptable::acceptable(observed, intent);
    let handed = match ground.hand_back(intent, &acceptable) {
        Ok(handed) => handed,
        // Not the best, but as proven; or what booted the machine before there was anything of ours.
        Err(why) => ground
            .somebody_elses_best(&acceptable)
            .or_else(|| ground.strangers(intent))
            .ok_or(why)?,
    };
    let is_theirs = handed.entries.is_empty();
    plan.steps.extend(handed.removals);
    plan.steps.extend(handed.copies);
    plan.steps.extend(handed.entries);
    let present = observed.boot.loader_conf.as_deref();
    // A loader.conf that somebody else has written since stays, if it will do.
    let is_right = is_theirs && !ground.is_default_ours() && ground.boots_one_of(&acceptable);
    let text = loader_conf::with_default(present, &handed.default);
    if !is_right && present != Some(&text) {
        let (on, path) = (Partition::Esp, LOADER_CONF.to_owned());
        plan.steps.push(Step::Text { text, on, path });
    }
    for step in everything {
        if !plan.steps.contains(&step) {
            plan.steps.push(step);
        }
    }
    Ok(plan)
}

/// What is left, and what it takes.
#[derive(Default)]
struct HandedBack {
    /// What makes room.
    removals: Vec<Step>,
    copies: Vec<Step>,
    entries: Vec<Step>,
    default: String,
}

struct Ground<'a> {
    observed: &'a Observation,
    theirs: &'a nixpkgs::Payload,
}

impl<'a> Ground<'a> {
    /// The entries that stay.
    fn foreign(&self) -> impl Iterator<Item = &'a EntryFile> {
        let files = self.observed.boot.all().map(|(_, file)| file);
        files.filter(|file| !is_ours(&file.name))
    }

    fn is_default_ours(&self) -> bool {
        let conf = self.observed.boot.loader_conf.as_deref();
        let default = LoaderConf::parse(conf.unwrap_or_default()).default;
        default.as_deref() == Some(loader_conf::DEFAULT_PATTERN)
    }

    /// A good entry of somebody else's that starts `subject`, its payload there and whole.
    fn somebody_elses(&self, subject: &Subject) -> Option<&'a EntryFile> {
        self.foreign().find(|file| {
            file.name.tries.is_none()
                && nixpkgs::init_of(&file.entry).as_ref() == Some(&subject.toplevel)
                && self.is_whole(subject, file)
        })
    }

    fn is_whole(&self, subject: &Subject, file: &EntryFile) -> bool {
        let payload = nixpkgs::payload_of_entry(&file.entry).unwrap_or_default();
        let content = |name: &str| self.theirs.get(&(file.on, name.to_owned())).copied();
        let there: Option<Vec<Content>> = payload.iter().map(|name| content(name)).collect();
        let (Some(there), Some(found)) = (there, self.observed.find(subject)) else {
            return false;
        };
        let Some((kernel, rest)) = there.split_first() else {
            return false;
        };
        let Ok(bootable) = &found.bootable else {
            // Nothing to compare with.
            return there.iter().all(|content| content.size > 0);
        };
        // Their builder appends secrets to an initrd: it may be longer, but not shorter.
        let is_long_enough = |initrd: &Payload| {
            let first = rest.first();
            first.is_some_and(|there| there.size >= initrd.content.size)
        };
        *kernel == bootable.kernel.content && bootable.initrd.iter().all(is_long_enough)
    }

    /// Whether every loader, with loader.conf as it is and nothing of ours there, starts one of `subjects` first.
    fn boots_one_of(&self, subjects: &[Subject]) -> bool {
        let mut after = self.observed.boot.clone();
        after.entries.retain(|_, file| !is_ours(&file.name));
        after.on_esp.retain(|_, file| !is_ours(&file.name));
        let starts_one = |band| {
            let loader = after.loader(band, LoaderVariables::default());
            let first = loader.predict(0).into_iter().next();
            let file = first.and_then(|boot| self.foreign().find(|file| file.name == boot.name));
            file.is_some_and(|file| {
                let closure = nixpkgs::init_of(&file.entry);
                let mut same = subjects
                    .iter()
                    .filter(|subject| closure.as_ref() == Some(&subject.toplevel));
                same.any(|subject| self.is_whole(subject, file))
            })
        };
        [Band::To257, Band::To259, Band::From260]
            .into_iter()
            .all(starts_one)
    }

    /// The best that can be booted, and the selected one if it is as good: as somebody else's entry, or as a new one.
    fn hand_back(&self, intent: &Intent, acceptable: &[Subject]) -> Result<HandedBack, Refusal> {
        let mut handed = HandedBack::default();
        let mut kept = BTreeSet::new();
        for subject in acceptable {
            let is_selected = intent.selected.as_ref() == Some(subject);
            if !kept.is_empty() && !is_selected {
                continue;
            }
            let bootable = || self.observed.find(subject)?.bootable.as_ref().ok();
            let name = if let Some(file) = self.somebody_elses(subject) {
                file.name.to_string()
            } else if let Some(bootable) = bootable() {
                let (name, text) = self.entry(subject, bootable, &mut handed.copies);
                handed.entries.push(Step::Text {
                    text,
                    on: Partition::Boot,
                    path: format!("{ENTRIES}/{name}"),
                });
                name
            } else {
                continue;
            };
            if kept.is_empty() {
                handed.default = name;
            }
            kept.insert(stem_of(subject));
        }
        if kept.is_empty() {
            let why = acceptable.first().and_then(|subject| {
                let why = self.observed.find(subject)?.bootable.as_ref().err()?;
                Some(Refusal::Unbootable(subject.clone(), why.clone()))
            });
            return Err(why.unwrap_or(Refusal::NothingToHandBack));
        }
        handed.removals = self.make_room(&handed.copies, &kept)?;
        Ok(handed)
    }

    fn somebody_elses_best(&self, acceptable: &[Subject]) -> Option<HandedBack> {
        let mut left = acceptable.iter().filter_map(|s| self.somebody_elses(s));
        left.next().map(|file| HandedBack {
            default: file.name.to_string(),
            ..HandedBack::default()
        })
    }

    fn strangers(&self, intent: &Intent) -> Option<HandedBack> {
        let boot = &self.observed.boot;
        let booted = intent.booted.as_deref();
        let booted = booted.and_then(|booted| Stranger::booted(boot, booted));
        let stranger = booted.or_else(|| Stranger::behind(boot))?;
        Some(HandedBack {
            default: stranger.id,
            ..HandedBack::default()
        })
    }

    /// File name and text of the entry; what it needs and is not there goes to `copies`.
    fn entry(
        &self,
        subject: &Subject,
        bootable: &Bootable,
        copies: &mut Vec<Step>,
    ) -> (String, String) {
        let mut place = |payload: &Payload| format!("/{}", self.place(payload, copies));
        let linux = place(&bootable.kernel);
        let mut initrds: Vec<String> = bootable.initrd.iter().map(&mut place).collect();
        initrds.extend_from_slice(&bootable.extra_initrds);
        let entry = Entry {
            linux: Some(linux),
            initrds,
            devicetree: bootable.devicetree.as_ref().map(&mut place),
            options: bootable.options.clone(),
            ..Entry::default()
        };
        let text = nixpkgs::entry(subject, &bootable.label, &entry).to_string();
        // Another machine may have an entry of that name.
        let is_free = |name: &String| {
            let all = self.observed.boot.all();
            let mut same = all.filter(|(n, _)| n.eq_ignore_ascii_case(name));
            same.all(|(_, file)| {
                let closure = nixpkgs::init_of(&file.entry);
                // Or a run of ours was cut short.
                closure.as_ref() == Some(&subject.toplevel) || nixpkgs::is_husk(file)
            })
        };
        let numbered = nixpkgs::numbered_name(&subject.generation).filter(is_free);
        (
            numbered.unwrap_or_else(|| nixpkgs::hashed_name(&text)),
            text,
        )
    }

    /// Where `payload` lies, or will.
    fn place(&self, payload: &Payload, copies: &mut Vec<Step>) -> String {
        let is_right = |name: &String| {
            let there = self.theirs.get(&(Partition::Boot, name.clone()));
            there == Some(&payload.content)
        };
        // A file that somebody's entry needs is not replaced, whatever is in it.
        let is_free = |name: &String| {
            is_right(name)
                || !self.foreign().any(|file| {
                    let path = format!("{}/{name}", nixpkgs::DIRECTORY);
                    points_at(&file.text, &path)
                })
        };
        let own = || {
            let name = payload::file_name(&payload.content, payload.kind);
            let stem = name.trim_end_matches(".efi");
            format!("{stem}.efi")
        };
        let theirs = nixpkgs::payload_name(&payload.source).filter(is_free);
        let name = theirs.unwrap_or_else(own);
        let path = format!("{}/{name}", nixpkgs::DIRECTORY);
        let copy = Step::Copy {
            source: payload.source.clone(),
            content: payload.content,
            on: Partition::Boot,
            path: path.clone(),
        };
        if !is_right(&name) && !copies.contains(&copy) {
            copies.push(copy);
        }
        path
    }

    /// What goes at once for `copies` to fit: everything of ours but the entries with a stem in `kept`.
    fn make_room(&self, copies: &[Step], kept: &BTreeSet<String>) -> Result<Vec<Step>, Refusal> {
        let Some(space) = &self.observed.space else {
            return Ok(Vec::new());
        };
        let sizes = copies.iter().filter_map(|step| match step {
            Step::Copy { content, .. } => Some(content.size.next_multiple_of(space.cluster)),
            _ => None,
        });
        let reserve = RESERVE.saturating_mul(space.cluster);
        let needed = sizes.fold(reserve, u64::saturating_add);
        let free = space.bytes(space.free);
        if copies.is_empty() || needed <= free {
            return Ok(Vec::new());
        }
        let steps = self.removals(kept);
        let size = |step: &Step| match step {
            Step::Remove {
                on: Partition::Boot,
                path,
            } => {
                let name = path.rsplit('/').next().unwrap_or_default();
                let content = self.observed.payload.get(name);
                content.map_or(0, |c| c.size.next_multiple_of(space.cluster))
            }
            _ => 0,
        };
        let free = steps.iter().map(size).fold(free, u64::saturating_add);
        if needed <= free {
            Ok(steps)
        } else {
            let generations = self.observed.generations.iter();
            let handed = generations.filter(|found| kept.contains(&found.stem));
            let handed = handed.map(|found| (found.generation.subject(), "handed back"));
            Err(Refusal::NoSpace(Box::new(Shortage {
                needed,
                free,
                step: "hand back what is to boot".to_owned(),
                kept: handed.collect(),
            })))
        }
    }

    /// Entries of ours but those with a stem in `kept`, then payload of ours that no other entry needs.
    fn removals(&self, kept: &BTreeSet<String>) -> Vec<Step> {
        let boot = &self.observed.boot;
        let (gone, stay): (Vec<_>, Vec<_>) = boot
            .all()
            .partition(|(_, file)| is_ours(&file.name) && !kept.contains(&file.name.stem));
        let stay: Vec<&EntryFile> = stay.into_iter().map(|(_, file)| file).collect();
        let on_boot = self.observed.payload.keys();
        let on_boot = on_boot.map(|name| (Partition::Boot, name));
        let on_esp = boot.esp_payload.iter().map(|name| (Partition::Esp, name));
        let paths = on_boot
            .chain(on_esp)
            .map(|(on, name)| (on, format!("{}/{name}", payload::DIRECTORY)));
        let unused = paths
            .filter(|(_, path)| !stay.iter().any(|file| points_at(&file.text, path)))
            .map(|(on, path)| Step::Remove { on, path });
        let gone = gone.into_iter().map(|(name, file)| remove(file.on, name));
        gone.chain(unused).collect()
    }
}

fn is_ours(name: &EntryName) -> bool {
    name.is_ours() || name.is_stand_in()
}

#[cfg(test)]
mod tests;
