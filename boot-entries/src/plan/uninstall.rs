//! Giving `$BOOT` back, with something bootable on it. Pure.
//!
//! What is left must be proven; or, with nothing proven, what runs; or, with nothing known of that, what ran before us,
//! or what loader.conf names, even if that is a foreign entry. If an entry of somebody else's starts it, that will do.
//! If none does, one is written as nixpkgs' builder would, so that the next `nixos-rebuild` takes it over. The order:
//!
//! 1. leftovers, and where room is short everything of ours but what is handed back;
//! 2. payload under its new name, entry, loader.conf, which names that entry;
//! 3. all entries of ours, then all payload of ours that nobody else's entry needs, then extra files.

mod acceptable;

use std::collections::BTreeSet;

use super::damage::is_whole;
use super::foreign::Foreign;
use super::needed::Needed;
use super::{Intent, Kept, Plan, Refusal, Step, extras, fit, remove};
use crate::closure::{Bootable, Payload};
use crate::entry::EntryFile;
use crate::generation::Subject;
use crate::loader_conf;
use crate::name::{OurName as _, stem_of};
use crate::nixpkgs;
use crate::observe::Observation;
use crate::owner::Ownership;
use crate::payload::{self, Content};
use systemd_boot_model::{
    ENTRIES, Entry, LOADER_CONF, LoaderConf, LoaderVariables, Partition, ReleaseRange,
};

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
    let ground = Ground {
        observed,
        ownership: &intent.ownership,
        theirs,
    };
    let mut plan = Plan::default();
    let mut everything = ground.removals(&BTreeSet::new());
    let extras = extras::steps(
        &observed.extras,
        &Intent {
            ownership: intent.ownership.clone(),
            ..Intent::default()
        },
    );
    plan.notes.extend(extras.notes);
    everything.extend(extras.garbage);
    everything.extend(extras.removals);
    if everything.is_empty() && (!ground.is_default_ours() || ground.has_other_systems()) {
        plan.steps = ground.leftovers();
        plan.steps.extend(ground.without_added().map(conf));
        return Ok(plan);
    }
    let acceptable = acceptable::acceptable(observed, intent);
    let best = ground.hand_back(intent, &acceptable);
    let steps = best.and_then(|handed| ground.fit(&handed, &everything, &acceptable));
    plan.steps = match steps {
        Ok(steps) => steps,
        // Not the best, but as proven; or what booted the machine before there was anything of ours.
        Err(why) => {
            let left = ground.somebody_elses_best(&acceptable);
            let left = left.or_else(|| ground.foreign_boot(intent)).ok_or(why)?;
            ground.fit(&left, &everything, &acceptable)?
        }
    };
    Ok(plan)
}

/// What is left, and what it takes.
#[derive(Default)]
struct HandedBack {
    /// What of it has entries of ours, until it has others.
    subjects: Vec<Subject>,
    copies: Vec<Step>,
    entries: Vec<Step>,
    default: String,
}

struct Ground<'a> {
    observed: &'a Observation,
    ownership: &'a Ownership,
    theirs: &'a nixpkgs::Payload,
}

impl<'a> Ground<'a> {
    fn is_ours(&self, file: &EntryFile) -> bool {
        (file.name.is_ours() || file.name.is_stand_in())
            && !self.observed.is_other_systems(self.ownership, file)
    }

    /// The entries that stay.
    fn foreign(&self) -> impl Iterator<Item = &'a EntryFile> {
        let files = self.observed.boot.all().map(|(_, file)| file);
        files.filter(|file| !self.is_ours(file))
    }

    fn leftovers(&self) -> Vec<Step> {
        let all = self.observed.boot.leftovers.iter().cloned();
        all.map(|(on, path)| Step::Remove { on, path }).collect()
    }

    /// Whether another system has lastgood here: `default` in loader.conf is then its as well.
    fn has_other_systems(&self) -> bool {
        let mut files = self.observed.boot.all().map(|(_, file)| file);
        files.any(|file| self.observed.is_other_systems(self.ownership, file))
    }

    fn is_default_ours(&self) -> bool {
        let conf = self.observed.boot.loader_conf.as_deref();
        let default = LoaderConf::parse(conf.unwrap_or_default()).default;
        default.as_deref().is_some_and(loader_conf::is_ours)
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
        after.entries.retain(|_, file| !self.is_ours(file));
        after.on_esp.retain(|_, file| !self.is_ours(file));
        let starts_one = |release| {
            let loader = after.loader(release, LoaderVariables::default());
            let first = loader.predict(0).into_iter().next();
            let file = first.and_then(|boot| {
                let mut foreign = self.foreign().filter(|_| !boot.is_image);
                foreign.find(|file| file.name == boot.name)
            });
            file.is_some_and(|file| {
                let closure = nixpkgs::init_of(&file.entry);
                let mut same = subjects
                    .iter()
                    .filter(|subject| closure.as_ref() == Some(&subject.toplevel));
                same.any(|subject| self.is_whole(subject, file))
            })
        };
        ReleaseRange::ALL.into_iter().all(starts_one)
    }

    /// The best that can be booted, and the selected one if it is as good: as somebody else's entry, or as a new one.
    fn hand_back(&self, intent: &Intent, acceptable: &[Subject]) -> Result<HandedBack, Refusal> {
        let mut handed = HandedBack::default();
        for subject in acceptable {
            let is_selected = intent.selected.as_ref() == Some(subject);
            if !handed.subjects.is_empty() && !is_selected {
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
            if handed.subjects.is_empty() {
                handed.default = name;
            }
            handed.subjects.push(subject.clone());
        }
        if handed.subjects.is_empty() {
            let why = acceptable.first().and_then(|subject| {
                let why = self.observed.find(subject)?.bootable.as_ref().err()?;
                Some(Refusal::Unbootable(subject.clone(), why.clone()))
            });
            return Err(why.unwrap_or(Refusal::NothingToHandBack));
        }
        Ok(handed)
    }

    fn somebody_elses_best(&self, acceptable: &[Subject]) -> Option<HandedBack> {
        let mut left = acceptable.iter().filter_map(|s| self.somebody_elses(s));
        left.next().map(|file| HandedBack {
            default: file.name.to_string(),
            ..HandedBack::default()
        })
    }

    fn foreign_boot(&self, intent: &Intent) -> Option<HandedBack> {
        let boot = &self.observed.boot;
        let booted = intent.booted.as_deref();
        let booted = booted.and_then(|booted| Foreign::booted(boot, booted));
        let foreign = booted.or_else(|| {
            let stand_in = acceptable::stand_in(self.observed, intent)?;
            Foreign::behind(boot, stand_in)
        })?;
        Some(HandedBack {
            default: foreign.id,
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
                || !Needed::by(self.foreign()).has(&format!("{}/{name}", nixpkgs::DIRECTORY))
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

    /// The steps that leave `handed` and take `everything` away; if there is no room for them in that order, everything
    /// goes at once but what `handed` boots until it has an entry of somebody else's.
    fn fit(
        &self,
        handed: &HandedBack,
        everything: &[Step],
        acceptable: &[Subject],
    ) -> Result<Vec<Step>, Refusal> {
        let late = self.steps(self.leftovers(), handed, everything, acceptable);
        let Some(mut shortage) = fit::shortage(self.observed, &late) else {
            return Ok(late);
        };
        let kept = handed.subjects.iter().map(stem_of).collect();
        if self.needs_only(&kept) {
            let mut first = self.leftovers();
            first.extend(self.removals(&kept));
            let early = self.steps(first, handed, everything, acceptable);
            match fit::shortage(self.observed, &early) {
                None => return Ok(early),
                Some(least) => shortage = least,
            }
        }
        let subjects = handed.subjects.iter().cloned();
        shortage.kept = subjects.map(|id| (id, Kept::HandedBack)).collect();
        Err(Refusal::NoSpace(Box::new(shortage)))
    }

    /// What loader.conf is to say for no line of ours to be in it. None: it has none, or another system needs them as
    /// well.
    fn without_added(&self) -> Option<String> {
        let present = self.observed.boot.loader_conf.as_deref();
        let without = present.and_then(loader_conf::without_added);
        without.filter(|_| !self.has_other_systems())
    }

    /// After the first ones.
    fn steps(
        &self,
        mut steps: Vec<Step>,
        handed: &HandedBack,
        everything: &[Step],
        acceptable: &[Subject],
    ) -> Vec<Step> {
        steps.extend(handed.copies.iter().chain(&handed.entries).cloned());
        let present = self.observed.boot.loader_conf.as_deref();
        // A loader.conf that somebody else has written since stays, if it will do, but for what we have added to it.
        let is_theirs = handed.entries.is_empty() && !self.is_default_ours();
        let is_right = is_theirs && self.boots_one_of(acceptable);
        let text = if is_right {
            self.without_added()
        } else {
            let text = loader_conf::with_default(present, &handed.default);
            (present != Some(&text)).then_some(text)
        };
        steps.extend(text.map(conf));
        for step in everything {
            if !steps.contains(step) {
                steps.push(step.clone());
            }
        }
        steps
    }

    /// Whether nothing of ours is needed for a while but entries with a stem in `kept`: one of them is whole, or none
    /// of ours is.
    fn needs_only(&self, kept: &BTreeSet<String>) -> bool {
        let entries = self.observed.boot.entries.values();
        let mut whole = entries
            .filter(|file| self.is_ours(file) && is_whole(self.observed, file))
            .peekable();
        whole.peek().is_none() || whole.any(|file| kept.contains(&file.name.stem))
    }

    /// Entries of ours but those with a stem in `kept`, then payload of ours that no other entry needs.
    fn removals(&self, kept: &BTreeSet<String>) -> Vec<Step> {
        let boot = &self.observed.boot;
        let (gone, stay): (Vec<_>, Vec<_>) = boot
            .all()
            .partition(|(_, file)| self.is_ours(file) && !kept.contains(&file.name.stem));
        let needed = Needed::by(stay.into_iter().map(|(_, file)| file));
        let on_boot = self.observed.payload.keys();
        let on_boot = on_boot.map(|name| (Partition::Boot, name));
        let on_esp = boot.esp_payload.iter().map(|name| (Partition::Esp, name));
        let paths = on_boot
            .chain(on_esp)
            .map(|(on, name)| (on, format!("{}/{name}", payload::DIRECTORY)));
        let unused = paths
            .filter(|(_, path)| !needed.has(path))
            .map(|(on, path)| Step::Remove { on, path });
        let gone = gone.into_iter().map(|(name, file)| remove(file.on, name));
        gone.chain(unused).collect()
    }
}

/// Writes loader.conf.
fn conf(text: String) -> Step {
    let (on, path) = (Partition::Esp, LOADER_CONF.to_owned());
    Step::Text { text, on, path }
}

#[cfg(test)]
mod tests;
