//! A rollback always fits: on the smallest disk that a plan is granted on, after whatever the loader counts, there is
//! room for every verdict.

use super::Fat;
use crate::generation::Generation;
use crate::plan::InPlace;
use crate::plan::tests::{Disk, id, proven, select};
use crate::plan::{self, Intent, Standing, plan};
use crate::step::Step;
use systemd_boot_model::{EntryName, Tries};

/// `$BOOT` as a plan sees it, and as it is.
#[derive(Clone)]
struct Machine {
    disk: Disk,
    fat: Fat,
}

impl Machine {
    fn new(cluster: u64) -> Self {
        let (disk, fat) = (Disk::with(3), Fat::new(cluster));
        Self { disk, fat }
    }

    /// Makes `steps`, and gives the least that was free meanwhile, in clusters.
    fn make(&mut self, steps: &[Step]) -> i64 {
        let mut least = self.fat.free;
        let note = &mut |fat: &Fat, _: &Step| least = least.min(fat.free);
        self.fat.make_all(steps, note);
        for step in steps {
            self.disk.step(step);
        }
        least
    }

    fn plan(&self, intent: &Intent, free: u64) -> Option<Vec<Step>> {
        let mut disk = self.disk.clone();
        disk.0.space = Some(self.fat.volume(free));
        plan(&disk.0, intent, &InPlace::default())
            .ok()
            .map(|plan| plan.steps)
    }

    /// The same with so little free that one cluster less would not do for `intent`, which is carried out. None: there
    /// is nothing to do.
    fn squeezed(&self, intent: &Intent) -> Option<Self> {
        let sizes: Vec<u64> = (0..4000).collect();
        let free = sizes.partition_point(|free| self.plan(intent, *free).is_none());
        let mut machine = self.clone();
        machine.fat.free = i64::try_from(free).unwrap();
        let steps = self.plan(intent, free as u64).unwrap();
        assert!(machine.make(&steps) >= 0, "{intent:?}");
        (!steps.is_empty()).then_some(machine)
    }

    /// The loader starts what comes next, and counts. Whether there was anything to count.
    fn fail(&mut self) -> bool {
        let boots = self
            .disk
            .loader(systemd_boot_model::ReleaseRange::V252)
            .predict(0);
        let Some(name) = boots.first().map(|boot| boot.name.clone()) else {
            return false;
        };
        let Some(tries) = name.tries else {
            return false;
        };
        self.fat.count(&name.to_string());
        let counted = EntryName {
            tries: Some(Tries::after_a_boot(tries)),
            ..name.clone()
        };
        let entries = &mut self.disk.0.boot.entries;
        let mut file = entries.remove(&name.to_string()).unwrap();
        file.name = counted;
        entries.insert(file.name.to_string(), file);
        tries.left > 0
    }

    /// What each verdict lacks now. None: it fits.
    fn lacks(&self, intent: &Intent) -> Vec<(String, i64)> {
        let found = self.disk.0.generations.iter();
        let generations: Vec<Generation> = found.map(|found| found.generation.clone()).collect();
        let mut lacking = Vec::new();
        for number in 1..=3 {
            for verdict in [Standing::Proven, Standing::Rejected] {
                let mut judged = intent.clone();
                judged.standings.insert(id(number), verdict);
                if verdict == Standing::Proven {
                    judged.last_good = Some(id(number));
                } else if judged.last_good == Some(id(number)) {
                    continue;
                } else if judged.selected == Some(id(number)) {
                    judged.selected.clone_from(&judged.last_good);
                }
                let steps =
                    plan::verdict(&self.disk.0.boot, &generations, &judged, &mut |_| true).unwrap();
                let least = self.clone().make(&steps);
                if least < 0 {
                    lacking.push((format!("{verdict:?} {number}"), least));
                }
            }
        }
        lacking
    }
}

/// From nothing to a trial, and from each machine with a last good generation to the next trial: `intent` carried out
/// on the smallest disk, and every verdict after every boot that fails.
#[test]
#[expect(clippy::print_stdout, reason = "the figures are the proof")]
fn a_verdict_fits_after_every_plan_that_was_granted() {
    let mut lacking = Vec::new();
    let mut checked = 0;
    for cluster in [512, 1024, 2048, 4096] {
        for (good, selected) in (1..=3).flat_map(|good| (1..=3).map(move |next| (good, next))) {
            let first = Machine::new(cluster).squeezed(&select(good)).unwrap();
            for begin in [Machine::new(cluster), first] {
                let mut machine = begin.squeezed(&proven(select(good), good)).unwrap();
                let intent = proven(select(selected), good);
                // One that has just arrived, or that was there.
                for is_new in [true, false] {
                    if is_new {
                        let payload = machine.disk.0.generations[2].bootable.as_ref().unwrap();
                        let steps = [payload.kernel.path()].map(|path| Step::Remove {
                            on: systemd_boot_model::Partition::Boot,
                            path,
                        });
                        machine.make(&steps);
                    }
                    let mut squeezed = machine.squeezed(&intent);
                    while let Some(trial) = &mut squeezed {
                        checked += 1;
                        for (what, least) in trial.lacks(&intent) {
                            lacking.push(format!("{cluster} {good} {selected}: {what}, {least}"));
                        }
                        if !trial.fail() {
                            break;
                        }
                        assert!(trial.fat.free >= 0, "{cluster} {good} {selected}");
                    }
                }
            }
        }
    }
    println!("{checked} machines judged on the smallest disk");
    assert!(
        lacking.is_empty() && checked > 100,
        "{} verdicts on {checked} machines: {lacking:#?}",
        lacking.len()
    );
}
