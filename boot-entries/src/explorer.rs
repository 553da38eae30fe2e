//! Every power cut during every plan over a small domain (invariant B1).
//!
//! The plans are carried out for real, in a directory, and the calls that [`crate::durable`] makes are noted. A cut
//! is tried after each of them, with everything that FAT may have on the disk then ([`volume`]). Each time, every
//! sequence of failed boots must end in a proven generation, nothing may be started whose files are damaged, and the
//! next run must finish the work.

mod claim;
mod domain;
mod end;
mod migration;
mod neighbours;
mod room;
pub(crate) mod volume;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::apply::apply;
use crate::boot_partition::{ENTRIES, LOADER_CONF, Partition, Place};
use crate::durable::{self, call};
use crate::entry::{Entry, EntryFile};
use crate::name::EntryName;
use crate::nixpkgs;
use crate::observe::{Boot, Found, Observation};
use crate::payload::{self, Content};
use crate::plan::tests::{Disk, proven, select};
use crate::plan::{Intent, Plan, Refusal, plan, uninstall};
use crate::progress::Progress;
use crate::step::Step;
use claim::Claim;
use end::theirs;
use volume::{Files, Volume};

/// How many boots in a row fail at most: three generations with three tries each are through by then.
const FAILURES: usize = 12;

/// What a plan starts from and leads to.
#[derive(Clone)]
struct Case {
    /// On `$BOOT`.
    files: Files,
    intent: Intent,
    goal: Goal,
    /// A generation that is not in the profile any more.
    gone: Option<u64>,
    /// The generations that are proven before, after, or both.
    proven: BTreeSet<u64>,
    /// The size of `$BOOT`, in clusters. None: there is room for everything.
    size: Option<u64>,
}

/// Which plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Install,
    Uninstall,
}

/// What `$BOOT` with these files is, to `plan`.
fn observe(files: &Files) -> Disk {
    let mut boot = Boot::default();
    let mut payload = BTreeMap::new();
    for (path, bytes) in files {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = String::from_utf8_lossy(bytes).into_owned();
        if durable::is_leftover(&name) {
            let left = path.to_str().unwrap().to_owned();
            boot.leftovers.push((Partition::Boot, left));
        } else if path == Path::new(LOADER_CONF) {
            boot.loader_conf = Some(text);
        } else if path.starts_with(migration::STRANGERS) {
            // Known by the entries that start it.
        } else if path.starts_with(nixpkgs::DIRECTORY) {
            boot.nixpkgs.insert((Partition::Boot, name));
        } else if payload::kind_of(&name).is_some() {
            payload.insert(name, Content::of(&mut &bytes[..]).unwrap());
        } else {
            let entry = Entry::parse(&text);
            let program = entry.linux.as_deref().unwrap_or_default();
            let file = EntryFile {
                on: Partition::Boot,
                name: EntryName::parse(&name).unwrap(),
                has_program: files.contains_key(Path::new(program.trim_start_matches('/'))),
                entry,
                text,
            };
            boot.entries.insert(name, file);
        }
    }
    let mut observed = Observation {
        boot,
        payload,
        ..Disk::with(3).0
    };
    for found in &mut observed.generations {
        let bootable = found.bootable.as_mut().unwrap();
        let payload = bootable.initrd.iter_mut().chain([&mut bootable.kernel]);
        payload.for_each(|payload| payload.content.size *= WEIGHT);
    }
    let payload = observed.payload.values_mut();
    payload.for_each(|content| content.size *= WEIGHT);
    Disk(observed)
}

/// Payload is short, and taken for so many times as large where room is planned.
const WEIGHT: u64 = 1000;

/// What a step leads to when nothing goes wrong. A source holds its own name (see [`Disk::with`]).
fn make(files: &mut Files, step: &Step) {
    match step {
        Step::Copy { source, path, .. } => {
            let bytes = source.file_name().unwrap().as_encoded_bytes();
            files.insert(path.into(), bytes.into());
        }
        Step::Text { text, path, .. } => {
            files.insert(path.into(), text.as_bytes().into());
        }
        Step::Remove { path, .. } => drop(files.remove(Path::new(path))),
    }
}

/// The calls that the writer makes for `steps`, step by step, with paths relative to `$BOOT`.
fn calls(files: &Files, steps: &[Step]) -> Vec<Vec<call::Call>> {
    // In memory where there is a place for it: flushing is modelled, and doing it for real so often takes minutes.
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    let tree = tempfile::tempdir_in(place).unwrap();
    let (boot, store) = (tree.path().join("boot"), tree.path().join("store"));
    std::fs::create_dir(&boot).unwrap();
    std::fs::create_dir(&store).unwrap();
    let write = |path: &Path, bytes: &[u8]| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), bytes).unwrap();
    };
    for (path, bytes) in files {
        write(&boot.join(path), bytes);
    }
    let mut steps = steps.to_vec();
    for step in &mut steps {
        if let Step::Copy {
            source, content, ..
        } = step
        {
            content.size /= WEIGHT;
            let name = source.file_name().unwrap().to_owned();
            *source = store.join(&name);
            write(source, name.as_encoded_bytes());
        }
    }
    let place = Place {
        esp: boot.clone(),
        boot: boot.clone(),
        ..Place::default()
    };
    let noted = || call::noted().into_iter().map(|call| call.below(&boot));
    let mut all: Vec<Vec<call::Call>> = Vec::new();
    call::noted();
    apply(&place, &steps, |progress| {
        if !matches!(progress, Progress::Step(_)) {
            return;
        }
        if let Some(last) = all.last_mut() {
            last.extend(noted());
        }
        all.push(Vec::new());
    })
    .unwrap();
    if let Some(last) = all.last_mut() {
        last.extend(noted());
    }
    all
}

impl Case {
    /// The files that a power cut must not touch: the last good entry, unless it has to go above another system's entries;
    /// those; and what they point at.
    fn ground(&self) -> Files {
        let disk = observe(&self.files);
        let with_payload = |name: &String, file: &EntryFile| {
            let payload = file.entry.linux.iter().chain(&file.entry.initrds);
            let paths = payload.map(|path| PathBuf::from(path.trim_start_matches('/')));
            let paths = paths.chain([Path::new(ENTRIES).join(name)]);
            let files = paths.map(|path| (path.clone(), self.files[&path].clone()));
            files.collect::<Files>()
        };
        let entries = disk.0.boot.entries.iter();
        let others = entries.filter(|(name, _)| neighbours::is_others(Path::new(name)));
        let others: Files = others
            .flat_map(|(name, file)| with_payload(name, file))
            .collect();
        let last_good = self
            .intent
            .last_good
            .as_ref()
            .map(|subject| subject.generation.number());
        let plain = disk.0.boot.entries.iter().find(|(_, file)| {
            file.name.tries.is_none() && file.name.generation_number() == last_good
        });
        let Some((name, file)) = plain.filter(|_| self.goal == Goal::Install) else {
            return others;
        };
        let mut ground = with_payload(name, file);
        if !others.is_empty() {
            ground.remove(&Path::new(ENTRIES).join(name));
        }
        ground.extend(others);
        ground
    }

    fn try_plan(&self, files: &Files) -> Result<Plan, Refusal> {
        let mut disk = observe(files);
        let listed = |found: &Found| Some(found.generation.id.number()) != self.gone;
        disk.0.generations.retain(listed);
        let theirs = theirs(files);
        if let Some(size) = self.size {
            disk = disk.of_size_with(size, &theirs);
        }
        match self.goal {
            Goal::Install => plan(&disk.0, &self.intent),
            Goal::Uninstall => uninstall(&disk.0, &self.intent, &theirs),
        }
    }

    fn plan(&self, files: &Files) -> Plan {
        self.try_plan(files).unwrap()
    }

    /// Nothing goes wrong.
    fn run(&self, files: &mut Files) {
        self.plan(files)
            .steps
            .iter()
            .for_each(|step| make(files, step));
    }

    /// Cuts the power after every call, and gives the number of different states that this leaves.
    fn explore(&self) -> Result<usize, String> {
        let steps = self.plan(&self.files).steps;
        let claim = Claim::of(self)?;
        let mut volume = Volume::new(&self.files);
        let mut seen = BTreeSet::new();
        claim.cut_each(&mut volume, &self.files, &steps, &mut seen)?;
        Ok(seen.len())
    }

    /// Kills the run right after each rename, lets another one go on from what the system shows then, and cuts the power
    /// after every call of that.
    fn explore_killed(&self) -> Result<usize, String> {
        let steps = self.plan(&self.files).steps;
        let claim = Claim::of(self)?;
        let mut volume = Volume::new(&self.files);
        let mut seen = BTreeSet::new();
        for call in calls(&self.files, &steps).into_iter().flatten() {
            volume.call(&call);
            if matches!(call, call::Call::Rename(..)) {
                let shown = volume.files();
                let mut next = volume.clone();
                // As `apply` begins.
                next.call(&call::Call::FlushAll(PathBuf::new()));
                let steps = self.try_plan(&shown).map_err(|why| why.to_string())?;
                claim.cut_each(&mut next, &shown, &steps.steps, &mut seen)?;
            }
        }
        Ok(seen.len())
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are the proof")]
fn no_power_cut_strands_a_machine() {
    let mut cases = domain::cases();
    let squeezed = room::squeezed(&cases);
    let evicting = squeezed.iter().filter(|case| case.evicts()).count();
    println!(
        "{} plans must make room, {evicting} of them before they write",
        squeezed.len()
    );
    assert!(evicting > 50, "{evicting}");
    cases.extend(squeezed);
    explore("plans", &cases, Case::explore, [500, 10_000]);
}

/// One in so many: each is killed a few times, and explored each time.
const KILLED: usize = 5;

#[test]
fn no_power_cut_after_a_killed_run_strands_a_machine() {
    let all = [domain::cases(), migration::takeovers()].concat();
    let some: Vec<Case> = all.into_iter().step_by(KILLED).collect();
    explore(
        "runs after a killed one",
        &some,
        Case::explore_killed,
        [20, 500],
    );
}

#[test]
fn no_power_cut_strands_a_machine_with_two_systems() {
    let all = neighbours::cases();
    explore(
        "plans beside another system",
        &all,
        Case::explore,
        [100, 1_000],
    );
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are the proof")]
fn no_power_cut_strands_a_machine_on_its_way_from_nixpkgs_or_back() {
    explore(
        "take-overs",
        &migration::takeovers(),
        Case::explore,
        [100, 2_000],
    );
    let mut uninstalls = migration::uninstalls();
    let squeezed = room::squeezed(&uninstalls);
    let evicting = squeezed.iter().filter(|case| case.evicts()).count();
    println!(
        "{} uninstalls must make room, {evicting} of them before they write",
        squeezed.len()
    );
    assert!(evicting > 50, "{evicting}");
    uninstalls.extend(squeezed);
    explore("uninstalls", &uninstalls, Case::explore, [200, 5_000]);
}

/// Explores all of `cases` in this way; they must make more than so many plans and states.
#[expect(clippy::print_stdout, reason = "the figures are the proof")]
fn explore(
    what: &str,
    cases: &[Case],
    way: fn(&Case) -> Result<usize, String>,
    [least_plans, least_states]: [usize; 2],
) {
    let begun = std::time::Instant::now();
    let (left, right) = cases.split_at(cases.len() / 2);
    let explore = |cases: &[Case]| cases.iter().map(way).collect::<Vec<_>>();
    let outcomes = std::thread::scope(|scope| {
        let left = scope.spawn(|| explore(left));
        [explore(right), left.join().unwrap()].concat()
    });
    let (found, failed): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    let found: Vec<usize> = found
        .into_iter()
        .flatten()
        .filter(|states| *states > 0)
        .collect();
    let (plans, states) = (found.len(), found.iter().sum::<usize>());
    let failed: Vec<String> = failed.into_iter().filter_map(Result::err).collect();
    if let Some(first) = failed.first() {
        panic!(
            "{} of {} {what} can strand a machine, the first one:\n{first}",
            failed.len(),
            failed.len() + plans
        );
    }
    println!(
        "{plans} {what}, {states} states after a power cut, stranded: 0, {:?}",
        begun.elapsed()
    );
    assert!(
        plans > least_plans && states > least_states,
        "{plans} plans, {states} states"
    );
}

/// What [`crate::durable`] says of itself: what it has written is on the disk, whole, when it returns. Payload that is copied
/// in a row is, when the last of it is.
#[test]
fn before_anything_points_at_it_nothing_is_left_to_flush() {
    let is_payload =
        |step: &Step| matches!(step, Step::Copy { .. }) && payload::name_of(step.path()).is_some();
    let mut files = Files::new();
    for intent in [
        select(2),
        proven(select(2), 2),
        proven(select(3), 2),
        proven(select(3), 3),
    ] {
        let steps = plan(&observe(&files).0, &intent).unwrap().steps;
        let mut volume = Volume::new(&files);
        let next = steps.iter().skip(1).map(Some).chain([None]);
        let calls = calls(&files, &steps);
        for ((step, next), calls) in steps.iter().zip(next).zip(calls) {
            for call in &calls {
                volume.call(call);
            }
            make(&mut files, step);
            if is_payload(step) && next.is_some_and(is_payload) {
                continue;
            }
            assert!(volume.is_settled(), "{step}: {volume:?}");
            assert_eq!(volume.after_a_cut(), BTreeSet::from([files.clone()]));
        }
    }
}
