//! Every power cut during every plan over a small domain (invariant B1).
//!
//! The plans are carried out for real, in a directory, and the calls that [`crate::durable`] makes are noted. A cut
//! is tried after each of them, with everything that FAT may have on the disk then ([`volume`]). Each time, every
//! sequence of failed boots must end in a proven generation, nothing may be started whose files are damaged, and the
//! next run must finish the work.

mod calls;
mod claim;
mod domain;
mod end;
mod extra;
mod fit;
mod look;
mod migration;
mod neighbours;
mod partitions;
mod place;
mod systemd_boot;
mod verdict;
pub(crate) mod volume;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::apply::relied_on;
use crate::durable::call::Call;
use crate::entry::EntryFile;
use crate::name::OurName as _;
use crate::nixpkgs;
use crate::observe::{Found, Observation};
use crate::payload;
use crate::plan::InPlace;
use crate::plan::tests::{Disk, id, proven, select};
use crate::plan::{Intent, Refusal, damage, plan, uninstall, verdict};
use crate::step::Step;
use calls::{calls, make, make_all};
use claim::Claim;
use look::{observe, theirs};
use place::{Held, Volumes};
use systemd_boot_model::{ENTRIES, Partition};
use volume::Files;

/// How many boots in a row fail at most: three generations with three tries each are through by then.
const FAILURES: usize = 12;

/// What a plan starts from and leads to.
#[derive(Clone)]
struct Case {
    held: Held,
    intent: Intent,
    goal: Goal,
    /// The selected generation gets all its tries again.
    rearm: bool,
    /// A generation that is not in the profile any more.
    gone: Option<u64>,
    /// One that no entry of ours can start, whoever else's could.
    unbootable: Option<u64>,
    /// The generations that are proven before, after, or both.
    proven: BTreeSet<u64>,
    /// The one whose entry and payload must not be touched at any instant, if it has an entry without a counter on
    /// `$BOOT`.
    ground: Option<u64>,
    /// The size of `$BOOT`, in clusters. None: there is room for everything.
    size: Option<u64>,
    /// Which systemd-boot there is to install. None: the loader is somebody else's.
    loader: Option<u64>,
}

/// Which plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Install,
    /// Counters and ranks, and then all that follows.
    Verdict,
    Uninstall,
}

impl Case {
    fn install(held: &Held, intent: &Intent, good: &[u64]) -> Self {
        let last_good = intent.last_good.as_ref();
        Self {
            held: held.clone(),
            intent: intent.clone(),
            goal: Goal::Install,
            rearm: false,
            gone: None,
            unbootable: None,
            proven: good.iter().copied().collect(),
            ground: last_good.map(|subject| subject.generation.number()),
            size: None,
            loader: None,
        }
    }

    fn uninstall(held: &Held, intent: &Intent, good: &[u64]) -> Self {
        Self {
            goal: Goal::Uninstall,
            ground: None,
            ..Self::install(held, intent, good)
        }
    }

    /// The files that a power cut must not touch: that entry, unless it has to go above another system's entries;
    /// those; and what they point at; and what a predecessor wrote that no entry of ours can replace.
    fn ground(&self) -> Files {
        let disk = observe(&self.held);
        let mut ground = self.ground_of_ours(&disk);
        let entries = disk.0.boot.entries.iter();
        let irreplaceable = entries.filter(|(_, file)| {
            let closure = nixpkgs::closure_of(file);
            closure.is_some() && closure == self.unbootable.map(|number| id(number).toplevel)
        });
        for (name, file) in irreplaceable {
            ground.extend(self.with_payload(name, file));
        }
        ground
    }

    fn with_payload(&self, name: &String, file: &EntryFile) -> Files {
        let payload = file.entry.linux.iter().chain(&file.entry.initrds);
        let paths = payload.map(|path| PathBuf::from(path.trim_start_matches('/')));
        let paths = paths.chain([Path::new(ENTRIES).join(name)]);
        let files = paths.map(|path| (path.clone(), self.held.boot[&path].clone()));
        files.collect()
    }

    fn ground_of_ours(&self, disk: &Disk) -> Files {
        let entries = disk.0.boot.entries.iter();
        let others = entries.filter(|(name, _)| neighbours::is_others(Path::new(name)));
        let others: Files = others
            .flat_map(|(name, file)| self.with_payload(name, file))
            .collect();
        let plain = disk.0.boot.entries.iter().find(|(_, file)| {
            let number = file.name.generation_number();
            let is_it = number.is_some() && number == self.ground;
            // One that an earlier cut has taken is written anew.
            is_it && file.name.tries.is_none() && file.has_program
        });
        let Some((name, file)) = plain else {
            return others;
        };
        let mut ground = self.with_payload(name, file);
        if !others.is_empty() {
            ground.remove(&Path::new(ENTRIES).join(name));
        }
        ground.extend(others);
        ground
    }

    fn observation(&self, held: &Held) -> Observation {
        let mut disk = observe(held);
        let listed = |found: &Found| Some(found.generation.id.number()) != self.gone;
        disk.0.generations.retain(listed);
        for found in &mut disk.0.generations {
            if Some(found.generation.id.number()) == self.unbootable {
                found.bootable = Err("no kernel".to_owned());
            }
        }
        if let Some(size) = self.size {
            disk = disk.of_size_with(size, &theirs(held));
        }
        disk.0.extras = look::extras(held, &self.intent.extras);
        disk.0
    }

    /// The part of a verdict that nothing may stand in the way of.
    fn verdict(&self, held: &Held) -> Result<Vec<Step>, Refusal> {
        let observed = observe(held).0;
        let generations = observed.generations.iter();
        let generations: Vec<_> = generations.map(|found| found.generation.clone()).collect();
        let mut is_whole = |file: &EntryFile| {
            file.entry.needs().all(|path| {
                let there = held.on(file.on).get(Path::new(path));
                damage(path, there.map(look::content).as_ref()).is_none()
            })
        };
        verdict(&observed.boot, &generations, &self.intent, &mut is_whole)
    }

    fn try_plan(&self, held: &Held) -> Result<Vec<Step>, Refusal> {
        let plan = |held: &Held| {
            let here = InPlace {
                rearm: self.rearm,
                loader_steps: systemd_boot::steps(held, self.loader),
            };
            plan(&self.observation(held), &self.intent, &here).map(|plan| plan.steps)
        };
        match self.goal {
            Goal::Install => plan(held),
            Goal::Verdict => {
                let mut steps = self.verdict(held)?;
                let mut after = held.clone();
                make_all(&mut after, &steps);
                steps.extend(plan(&after)?);
                Ok(steps)
            }
            Goal::Uninstall => uninstall(&self.observation(held), &self.intent, &theirs(held))
                .map(|plan| plan.steps),
        }
    }

    fn plan(&self, held: &Held) -> Vec<Step> {
        self.try_plan(held).unwrap()
    }

    /// Nothing goes wrong.
    fn run(&self, held: &mut Held) {
        let steps = self.plan(held);
        make_all(held, &steps);
    }

    /// Cuts the power after every call, and gives the number of different states that this leaves.
    fn explore(&self) -> Result<usize, String> {
        let claim = Claim::of(self)?;
        let mut volumes = Volumes::new(&self.held);
        let mut seen = BTreeSet::new();
        let steps = self.plan(&self.held);
        claim.cut_each(&mut volumes, &self.held, &steps, &mut seen)?;
        Ok(seen.len())
    }

    /// Kills the run right after each rename, lets another one go on from what the system shows then, and cuts the
    /// power after every call of that.
    fn explore_killed(&self) -> Result<usize, String> {
        let steps = self.plan(&self.held);
        let claim = Claim::of(self)?;
        let mut volumes = Volumes::new(&self.held);
        let mut seen = BTreeSet::new();
        for (on, call) in calls(&self.held, &steps).into_iter().flatten() {
            volumes.call(on, &call);
            if matches!(call, Call::Rename(..)) {
                let shown = volumes.held();
                let mut next = volumes.clone();
                let steps = self.try_plan(&shown).map_err(|why| why.to_string())?;
                // As `apply` begins.
                let place = observe(&shown).0.boot.place;
                let settled = relied_on(&place, &steps);
                for on in [Partition::Esp, Partition::Boot] {
                    if settled.contains(place.directory(on)) {
                        next.call(on, &Call::FlushAll(PathBuf::new()));
                    }
                }
                claim.cut_each(&mut next, &shown, &steps, &mut seen)?;
            }
        }
        Ok(seen.len())
    }

    /// Everything that may be found after a power cut at any call.
    fn cut(&self) -> BTreeSet<Held> {
        let mut volumes = Volumes::new(&self.held);
        let mut seen = BTreeSet::new();
        for (on, call) in calls(&self.held, &self.plan(&self.held))
            .into_iter()
            .flatten()
        {
            volumes.call(on, &call);
            seen.extend(volumes.after_a_cut());
        }
        seen
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are the proof")]
fn no_power_cut_strands_a_machine() {
    let mut cases = domain::cases();
    let squeezed = fit::squeezed(&cases);
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
#[expect(clippy::print_stdout, reason = "the figures are the proof")]
fn no_power_cut_strands_a_machine_on_its_way_from_nixpkgs_or_back() {
    explore(
        "take-overs",
        &migration::takeovers(),
        Case::explore,
        [100, 2_000],
    );
    let mut uninstalls = migration::uninstalls();
    let squeezed = fit::squeezed(&uninstalls);
    let evicting = squeezed.iter().filter(|case| case.evicts()).count();
    println!(
        "{} uninstalls must make room, {evicting} of them before they write",
        squeezed.len()
    );
    assert!(evicting > 50, "{evicting}");
    uninstalls.extend(squeezed);
    explore("uninstalls", &uninstalls, Case::explore, [200, 5_000]);
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
fn no_power_cut_during_a_verdict_strands_a_machine() {
    let all = verdict::cases();
    explore("verdicts", &all, Case::explore, [500, 10_000]);
    let cut = verdict::after_a_cut(&verdict::trials(), 1);
    explore(
        "verdicts after a power cut",
        &cut,
        Case::explore,
        [100, 2_000],
    );
    let killed: Vec<Case> = all.into_iter().step_by(KILLED).collect();
    explore(
        "verdicts after a killed one",
        &killed,
        Case::explore_killed,
        [20, 300],
    );
}

/// One in so many of the plans on one partition is tried on two: what is planned is the same, but for where it goes.
const BESIDE: usize = 11;
/// The same of the moves from one to the other. These copy all payload in a row, which leaves a hundred times as many
/// states.
const MOVED: usize = 67;

#[test]
fn no_power_cut_strands_a_machine_with_an_xbootldr_partition() {
    for (what, stride, on) in [
        (
            "plans beside an ESP",
            BESIDE,
            Case::beside as fn(&Case) -> Case,
        ),
        ("moves from an ESP", MOVED, Case::moved),
    ] {
        let some = |cases: Vec<Case>| -> Vec<Case> {
            let some = cases.iter().step_by(stride).map(on);
            some.collect()
        };
        let mut cases = some(domain::cases());
        cases.extend(some(verdict::cases()));
        cases.extend(some(migration::takeovers()));
        cases.extend(some(migration::uninstalls()));
        let killed: Vec<Case> = cases.iter().step_by(KILLED).cloned().collect();
        explore(what, &cases, Case::explore, [30, 2_000]);
        explore(
            "of these after a killed one",
            &killed,
            Case::explore_killed,
            [3, 100],
        );
    }
    let moves: Vec<Case> = verdict::trials().iter().map(Case::moved).collect();
    // One state in so many: a move is long, and loses a file here as it does there.
    let cut = verdict::after_a_cut(&moves, 5 * MOVED);
    explore(
        "verdicts after a power cut during a move",
        &cut,
        Case::explore,
        [20, 500],
    );
}

/// A plan with everything in it: extra files that come, change and go, and systemd-boot to be updated or mended.
#[test]
fn no_power_cut_strands_a_machine_with_more_on_it() {
    let mut cases = extra::cases();
    explore("plans with extra files", &cases, Case::explore, [20, 500]);
    cases.retain(|case| case.goal == Goal::Install);
    let half: Vec<Case> = cases.iter().step_by(2).map(Case::beside).collect();
    let mut all = Vec::new();
    for copies in [[Some(250), Some(250)], [None, Some(257)], [Some(252), None]] {
        all.extend(systemd_boot::updating(cases.clone(), copies, 257));
        all.extend(systemd_boot::updating(half.clone(), copies, 257));
    }
    explore("plans with a loader", &all, Case::explore, [50, 1_000]);
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
    let next = AtomicUsize::new(0);
    let work = || {
        let todo = std::iter::repeat_with(|| cases.get(next.fetch_add(1, Ordering::Relaxed)));
        todo.map_while(|case| case.map(way)).collect::<Vec<_>>()
    };
    let outcomes = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        [work(), other.join().unwrap()].concat()
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

/// What `apply` makes of pieces: before payload that is made together, and before new entries in a row but for the last
/// of these, something may be left to flush; before every other step, and at the end, nothing is.
#[test]
fn what_a_step_relies_on_is_on_the_disk() {
    let is_payload =
        |step: &Step| matches!(step, Step::Copy { .. }) && payload::name_of(step.path()).is_some();
    let mut held = Held::default();
    let mut waiting = 0;
    for intent in [
        select(3),
        proven(select(2), 2),
        proven(select(3), 2),
        proven(select(3), 3),
    ] {
        let steps = plan(&observe(&held).0, &intent, &InPlace::default())
            .unwrap()
            .steps;
        let before = held.clone();
        let is_new_entry = |step: &Step| {
            let is_there = before.on(step.on()).contains_key(Path::new(step.path()));
            matches!(step, Step::Text { .. }) && step.path().starts_with(ENTRIES) && !is_there
        };
        let mut volumes = Volumes::new(&held);
        let calls = calls(&held, &steps);
        for (at, (step, calls)) in steps.iter().zip(calls).enumerate() {
            for (on, call) in &calls {
                volumes.call(*on, call);
            }
            make(&mut held, step);
            let is = |at: usize, kind: &dyn Fn(&Step) -> bool| steps.get(at).is_some_and(kind);
            let may_wait = is_payload(step) && is(at + 1, &is_payload)
                || is_new_entry(step) && is(at + 1, &is_new_entry) && is(at + 2, &is_new_entry);
            if may_wait {
                waiting += usize::from(!volumes.is_settled());
                continue;
            }
            assert!(volumes.is_settled(), "{step}: {volumes:?}");
            assert_eq!(volumes.after_a_cut(), BTreeSet::from([held.clone()]));
        }
    }
    assert!(waiting > 1, "{waiting}");
}
