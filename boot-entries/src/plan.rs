//! From what is there and what is wanted to the steps between them. Pure.
//!
//! The order of the steps is the safety of the machine. Each step is on the disk before the next begins
//! ([`crate::durable`]), so a crash leaves a prefix of the plan; only payload, which nothing points at yet, and entries
//! that were not there before are for certain no sooner than all of these in a row (`crate::apply`):
//!
//! 1. garbage that nothing points at, to make room; and where that is not enough, generations that nobody needs
//!    (`fit`), entries before the payload they pointed at;
//! 2. payload, before any entry that points at it;
//! 3. entries, the selected one last;
//! 4. the loader itself, if something is to be done about it;
//! 5. the loader's settings;
//! 6. removals, entries before the payload they pointed at; at last those of a predecessor (`takeover`).
//!
//! A verdict changes counters and ranks only: [`verdict`] plans that much, and depends on nothing else.
//!
//! A changed counter is a new file followed by the removal of the old one, never a rename: firmware and Linux both
//! have ways to lose a file while renaming it on FAT. Only a counter that goes up (`--again`) has its old file removed
//! first, so that the loader cannot count down onto it; the last good entry boots in between.

mod damage;
mod extras;
mod fit;
mod foreign;
mod housekeeping;
mod intent;
mod needed;
mod outcome;
mod proof;
mod substitute;
mod takeover;
mod uninstall;
mod wanted;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::bounded;
use crate::closure::{self, Bootable, Payload};
use crate::entry::{EntryFile, Rank};
use crate::generation::{Generation, GenerationId, Subject};
use crate::loader_conf;
use crate::name::stem_of;
use crate::observe::{BootFiles, Found, Observation};
use crate::step::Step;
use systemd_boot_model::{ENTRIES, Entry, LOADER_CONF, Partition};

pub use damage::{Damage, damage, left};
pub use outcome::after;
pub use proof::{Proof, Stranding};
pub use substitute::Substituted;
pub use takeover::lost_stand_in;
pub use uninstall::uninstall;

pub use fit::{Kept, Shortage};

use housekeeping::{copies, evictions, garbage, kept_rank, removals, stand_in_rank, within_limit};
pub use intent::{Counter, InPlace, Intent, Standing, Unneeded};
use takeover::Takeover;
use wanted::{Wanted, rank};

/// How long a title gets, in characters. Names of specialisations may have any length, a screen has not.
const TITLE: usize = 120;

/// How much of a command line Linux takes on x86, in bytes: `COMMAND_LINE_SIZE` without its NUL.
const COMMAND_LINE: usize = 2047;

/// What to do, and what was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order. Empty: there is nothing to do.
    pub steps: Vec<Step>,
    /// Generations that cannot be booted, and why. Entries they have are left alone.
    pub skipped: Vec<(Subject, String)>,
    /// What else was left alone, and why.
    pub notes: Vec<String>,
    /// What takes the place of a last good generation that cannot be started.
    pub substituted: Option<Substituted>,
}

/// A request that would leave the machine worse off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing to write entries for: the generations there are, and what is wrong with each, the one that is asked for
    /// first.
    #[error("{}", none_bootable(.0))]
    NoGenerations(Vec<(Subject, String)>),
    /// The selected generation is in no profile.
    #[error("generation {} is in no profile", .0.generation)]
    NoSuchGeneration(Subject),
    /// The selected generation lacks something.
    #[error("generation {generation} cannot be booted: {1}", generation = .0.generation)]
    Unbootable(Subject, String),
    /// Even without what nobody needs now.
    #[error("{0}")]
    NoSpace(Box<Shortage>),
    /// The machine would not come back.
    #[error("{0}")]
    Strands(Box<Stranding>),
    /// Uninstalling, with nothing that the machine could be left with.
    #[error("nothing can be left to boot: no generation is proven, and what runs is none")]
    NothingToHandBack,
    /// A million selections.
    #[error("no rank is left")]
    NoRankLeft,
}

/// Plans the way from `observed` to what `intent` wants.
///
/// # Errors
/// When the request cannot be granted safely; nothing is to be changed then.
pub fn plan(observed: &Observation, intent: &Intent, here: &InPlace) -> Result<Plan, Refusal> {
    let mut plan = Plan::default();
    for found in &observed.generations {
        if let Err(why) = &found.bootable {
            let subject = found.generation.subject();
            plan.skipped.push((subject, why.clone()));
        }
    }
    let mut intent = Cow::Borrowed(intent);
    let mut all = candidates(observed, &intent, here);
    if all.is_empty() && !intent.left_out.is_empty() {
        // A machine without an entry boots nothing.
        intent.to_mut().left_out.clear();
        all = candidates(observed, &intent, here);
    }
    let long: Vec<String> = all.iter().filter_map(too_long).collect();
    if all.is_empty() {
        // The one that is asked for, then the newest.
        let mut skipped = plan.skipped;
        let is_asked = |subject: &Subject| intent.selected.as_ref() == Some(subject);
        skipped.sort_by(|(a, _), (b, _)| (is_asked(b), b).cmp(&(is_asked(a), a)));
        return Err(Refusal::NoGenerations(skipped));
    }
    if let Some(selected) = &intent.selected {
        match observed.find(selected).map(|found| &found.bootable) {
            None => return Err(Refusal::NoSuchGeneration(selected.clone())),
            Some(Err(why)) => return Err(Refusal::Unbootable(selected.clone(), why.clone())),
            Some(Ok(_)) => {}
        }
    }
    if let Some((appointed, told)) = substitute::appoint(observed, &intent) {
        intent = Cow::Owned(appointed);
        plan.substituted = Some(told);
        all = candidates(observed, &intent, here);
    }
    within_limit(&intent, &mut all);
    let still = all
        .iter()
        .filter_map(|candidate| stands_still(&intent, candidate));
    plan.notes.extend(still);
    let fitting = fit::fit(observed, &intent, here, all)?;
    plan.steps = fitting.steps;
    plan.notes.extend(fitting.notes);
    plan.notes.extend(long);
    plan.skipped.extend(fitting.skipped);
    Ok(plan)
}

/// How many reasons fit into a line.
pub const REASONS: usize = 3;

/// That no generation can be booted, and why.
fn none_bootable(skipped: &[(Subject, String)]) -> String {
    if skipped.is_empty() {
        return "no profile has a generation".to_owned();
    }
    let reason =
        |(subject, why): &(Subject, String)| format!("generation {}: {why}", subject.generation);
    let reasons: Vec<String> = skipped.iter().take(REASONS).map(reason).collect();
    format!("no generation can be booted: {}", reasons.join("; "))
}

/// A generation that can be booted, and its entry.
type Candidate<'a> = (Wanted<'a>, &'a Bootable);

fn candidates<'a>(
    observed: &'a Observation,
    intent: &Intent,
    here: &InPlace,
) -> Vec<Candidate<'a>> {
    let candidate = |found: &'a Found| {
        let bootable = found.bootable.as_ref().ok()?;
        if is_left_out(&observed.boot, intent, found) {
            return None;
        }
        let files = files_of(&observed.boot, &found.stem);
        let id = found.generation.subject();
        let entry = entry_of(&id.generation, bootable);
        let wanted = Wanted::new(intent, here, id, &found.stem, entry, &files);
        Some((wanted, bootable))
    };
    observed.generations.iter().filter_map(candidate).collect()
}

/// Whether a generation gets no entry of ours: it has none, and nobody needs one.
fn is_left_out(boot: &BootFiles, intent: &Intent, found: &Found) -> bool {
    let id = found.generation.subject();
    intent.left_out.contains(&id)
        && !housekeeping::is_needed(intent, &id)
        && boot.files_of(&found.stem).next().is_none()
}

/// That a generation's command line is longer than what the kernel takes.
fn too_long((wanted, _): &Candidate<'_>) -> Option<String> {
    let length = wanted.entry.command_line_length();
    (length > COMMAND_LINE).then(|| {
        format!(
            "generation {}: its command line is {length} bytes long, and the kernel takes {COMMAND_LINE}: what follows is lost",
            wanted.id.generation
        )
    })
}

/// That a generation which a fallback may need never comes back from a panic: the closure says so, and what it says is
/// kept.
fn stands_still(intent: &Intent, (wanted, bootable): &Candidate<'_>) -> Option<String> {
    let is_told =
        housekeeping::is_needed(intent, &wanted.id) && closure::stands_still(&bootable.options);
    is_told.then(|| {
        format!(
            "generation {}: its command line says panic=0: a kernel that panics stands still for ever, its failed boot is \
             not counted, and nothing falls back; leave panic= out of boot.kernelParams (panic=10 is added then), or name a \
             number of seconds",
            wanted.id.generation
        )
    })
}

/// The plan by which `all` have entries, and nothing else has. The entry files called `early` go before anything is
/// written.
fn steps(
    observed: &Observation,
    intent: &Intent,
    here: &InPlace,
    all: &[Candidate<'_>],
    early: &BTreeSet<String>,
) -> Result<Plan, Refusal> {
    let mut plan = Plan::default();
    plan.notes.clone_from(&observed.boot.unreadable);
    let copies = copies(observed, all.iter().map(|(_, bootable)| *bootable));
    let mut all: Vec<Wanted<'_>> = all.iter().map(|(wanted, _)| wanted.clone()).collect();
    let mut kept = kept_rank(observed, intent);
    let stand_in = stand_in_rank(observed, intent)?;
    if intent.last_good.is_none() {
        kept = kept.max(stand_in);
    }
    rank(&mut all, kept, intent)?;
    let files = in_order(&mut all);
    let entries: BTreeMap<String, String> = files.iter().cloned().collect();
    let takeover = Takeover::new(observed, intent, &entries, stand_in);
    plan.notes.extend(takeover.notes());
    let extras = extras::steps(&observed.extras, intent);
    plan.steps.extend(garbage(observed, intent, &entries));
    for step in extras.garbage {
        if !plan.steps.contains(&step) {
            plan.steps.push(step);
        }
    }
    plan.steps.extend(evictions(observed, early, &entries));
    plan.steps.extend(copies);
    plan.notes.extend(extras.notes);
    plan.steps.extend(extras.files);
    plan.steps.extend(extras.entries);
    plan.steps.extend(takeover.stand_in(&observed.boot));
    plan.steps
        .extend(writes(&observed.boot, intent, &all, files));
    // A loader that does not start is then met by a machine on which everything else is in place.
    plan.steps.extend_from_slice(&here.loader_steps);
    let present = observed.boot.loader_conf.as_deref();
    let text = loader_conf::wanted(present, &intent.loader);
    if let Some(timeout) = present.and_then(systemd_boot_model::endless_timeout) {
        plan.notes.push(format!(
            "{LOADER_CONF} says `timeout {timeout}`, by which the loader waits at its menu for days, or until somebody \
             presses a key: with nobody there it has to be bounded"
        ));
    }
    if present != Some(&text) {
        plan.steps.push(Step::Text {
            text,
            on: Partition::Esp,
            path: LOADER_CONF.to_owned(),
        });
    }
    for step in removals(observed, intent, &entries) {
        if !plan.steps.contains(&step) {
            plan.steps.push(step);
        }
    }
    if intent.unneeded == Unneeded::Goes {
        plan.steps.extend(extras.removals);
        plan.steps
            .extend(takeover.removals(&observed.boot, &entries));
    }
    Ok(plan)
}

/// The part of a plan that verdicts are made of: counters and ranks of the entries that are there. It reads no payload
/// and writes none, so neither a broken closure nor a full `$BOOT` nor a slow disk stands in its way. Only where
/// another proven entry stands above that of the last good one it asks whether that one `is_whole` (`substitute`).
///
/// # Errors
/// When there is no rank left.
pub fn verdict(
    boot: &BootFiles,
    generations: &[Generation],
    intent: &Intent,
    is_whole: &mut dyn FnMut(&EntryFile) -> bool,
) -> Result<Vec<Step>, Refusal> {
    let confirmed = substitute::confirm(boot, intent, is_whole);
    let intent = confirmed.as_ref().unwrap_or(intent);
    let stems: Vec<String> = generations.iter().map(|g| stem_of(&g.subject())).collect();
    let mut all = Vec::new();
    for (generation, stem) in generations.iter().zip(&stems) {
        let files = files_of(boot, stem);
        if let Some(file) = best_of(&files) {
            let entry = file.entry.clone();
            let here = InPlace::default();
            let mut wanted = Wanted::new(intent, &here, generation.subject(), stem, entry, &files);
            // Where its payload is.
            wanted.on = file.on;
            all.push(wanted);
        }
    }
    rank(&mut all, Rank::UNRANKED, intent)?;
    let twins: Vec<Wanted<'_>> = all.iter().filter_map(|wanted| wanted.twin(boot)).collect();
    all.extend(twins);
    let files = in_order(&mut all);
    let mut changes = writes(boot, intent, &all, files);
    for wanted in &all {
        let (kept, _) = wanted.file();
        let others = boot.files_of(wanted.stem);
        for (name, _) in others.filter(|(name, file)| file.on == wanted.on && **name != kept) {
            let step = remove(wanted.on, name);
            if !changes.contains(&step) {
                changes.push(step);
            }
        }
    }
    Ok(changes)
}

/// The one of a generation's entry files that the others are written after. Half a rename leaves an empty file beside
/// the whole one, and its name may come first. None: they are all empty.
fn best_of<'a>(files: &[&'a EntryFile]) -> Option<&'a EntryFile> {
    let starts = files.iter().find(|file| file.has_program);
    // Its payload may be missing for now only. The verdict holds all the same.
    let best = starts.or_else(|| files.iter().find(|file| file.entry.linux.is_some()));
    best.copied()
}

/// Removes an entry file.
fn remove(on: Partition, name: &str) -> Step {
    let path = format!("{ENTRIES}/{name}");
    Step::Remove { on, path }
}

fn files_of<'a>(boot: &'a BootFiles, stem: &str) -> Vec<&'a EntryFile> {
    boot.files_of(stem).map(|(_, file)| file).collect()
}

/// The entry a generation is to have, but for its place.
fn entry_of(id: &GenerationId, bootable: &Bootable) -> Entry {
    let on_boot = |payload: &Payload| payload.path_after("/");
    let title = format!("{} (generation {id})", bootable.label);
    let mut initrds: Vec<String> = bootable.initrd.iter().map(on_boot).collect();
    initrds.extend_from_slice(&bootable.extra_initrds);
    Entry {
        title: Some(bounded::one_line(&title, TITLE)),
        version: Some(id.number().to_string()),
        linux: Some(on_boot(&bootable.kernel)),
        initrds,
        devicetree: bootable.devicetree.as_ref().map(on_boot),
        options: bootable.options.clone(),
        ..Entry::default()
    }
}

/// Puts `all` in the order in which they are written: the lowest rank first, the selected one last. Gives the names and
/// texts of their files.
fn in_order(all: &mut [Wanted<'_>]) -> Vec<(String, String)> {
    all.sort_by(|a, b| (a.rank, &a.id).cmp(&(b.rank, &b.id)));
    all.iter().map(Wanted::file).collect()
}

/// Entries that are not there, or not to the letter. `files` are those of `all`, which is [`in_order`].
fn writes(
    boot: &BootFiles,
    intent: &Intent,
    all: &[Wanted<'_>],
    files: Vec<(String, String)>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    for (wanted, (name, text)) in all.iter().zip(files) {
        if boot.entry(wanted.on, &name).map(|file| &file.text) == Some(&text) {
            continue;
        }
        // Only while another one is there to boot in between.
        if intent
            .last_good
            .as_ref()
            .is_some_and(|good| *good != wanted.id)
        {
            for step in wanted.in_the_way(boot) {
                // A twin on the other partition may have seen to it.
                if !steps.contains(&step) {
                    steps.push(step);
                }
            }
        }
        let path = format!("{ENTRIES}/{name}");
        let on = wanted.on;
        let guard = wanted.guard(boot, &text);
        let write = Step::Text { text, on, path };
        match guard {
            Some((write_guard, remove_guard)) => steps.extend([write_guard, write, remove_guard]),
            None => steps.push(write),
        }
    }
    steps
}

#[cfg(test)]
pub(crate) mod tests;
