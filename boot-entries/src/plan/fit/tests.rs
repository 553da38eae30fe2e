//! Small disks.

use crate::payload::Digest;
use crate::plan::InPlace;
use crate::plan::tests::{Disk, RELEASES, id, loader, proven, select};
use crate::plan::*;

/// `count` generations whose kernels take `clusters` each; they share an initrd of one.
fn with(count: u64, clusters: u64) -> Disk {
    let mut disk = Disk::with(count);
    for found in &mut disk.0.generations {
        found.bootable.as_mut().unwrap().kernel.content.size = clusters * 512;
    }
    disk
}

fn numbers(skipped: &[(Subject, String)]) -> Vec<u64> {
    skipped
        .iter()
        .map(|(id, _)| id.generation.number())
        .collect()
}

/// The plan on the smallest disk that it is not refused on, and how many clusters that has.
fn tightest(disk: &Disk, intent: &Intent) -> (u64, Plan) {
    tightest_with(disk, intent, &InPlace::default())
}

fn tightest_with(disk: &Disk, intent: &Intent, here: &InPlace) -> (u64, Plan) {
    let on = |size| plan(&disk.of_size(size).0, intent, here).ok();
    (0..9999).find_map(|size| Some((size, on(size)?))).unwrap()
}

fn run(disk: &mut Disk, size: u64, intent: &Intent) -> Result<Plan, Refusal> {
    let plan = plan(&disk.of_size(size).0, intent, &InPlace::default())?;
    plan.steps.iter().for_each(|step| disk.step(step));
    Ok(plan)
}

#[test]
fn what_nobody_needs_is_not_copied_when_it_does_not_fit() {
    let disk = with(4, 20);
    let intent = proven(select(2), 3);
    let skipped = |size| {
        numbers(
            &plan(&disk.of_size(size).0, &intent, &InPlace::default())
                .unwrap()
                .skipped,
        )
    };
    let (least, tight) = tightest(&disk, &intent);
    assert_eq!(numbers(&tight.skipped), [1, 4]);
    assert_eq!(
        (skipped(least + 30), skipped(least + 60)),
        (vec![1], vec![])
    );
    assert!((41..70).contains(&least), "{least}");
}

/// Both copies of the loader: one has room where the other has none.
#[test]
fn the_loader_needs_room_as_well() {
    let mut disk = with(2, 20);
    disk.run(&proven(select(1), 1));
    let intent = proven(select(2), 1);
    let (without, _) = tightest(&disk, &intent);
    let here = InPlace {
        loader_steps: vec![loader(280 * 512)],
        ..InPlace::default()
    };
    let (least, plan) = tightest_with(&disk, &intent, &here);
    // And its directories, with the names in them.
    assert!((281..290).contains(&(least - without)), "{least} {without}");
    let volume = disk.of_size(least).0.space.unwrap();
    let worst = volume.worst(&plan.steps, |_| true, crate::space::Reserve::Kept);
    assert!(worst.needed <= volume.free, "{worst:?}");
}

#[test]
fn a_refusal_says_how_much_and_what_stays() {
    let mut disk = with(3, 20);
    disk.run(&proven(proven(select(1), 1), 2));
    disk.0.generations = with(4, 20).0.generations;
    let intent = proven(proven(select(4), 1), 2);
    let (least, _) = tightest(&disk, &intent);
    let before = disk.0.clone();
    let refused = plan(&disk.of_size(least - 1).0, &intent, &InPlace::default()).unwrap_err();
    let Refusal::NoSpace(shortage) = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        shortage.needed,
        shortage.free + 512,
        "one cluster is missing"
    );
    assert!(shortage.step.starts_with("copy ") || shortage.step.starts_with("write "));
    let told = refused.to_string();
    for word in [
        "2 (the last good one)",
        "4 (selected)",
        "1 (proven",
        &shortage.needed.to_string(),
    ] {
        assert!(told.contains(word), "{word:?} is not in {told}");
    }
    assert_eq!(disk.0, before);
}

/// A file that is replaced takes room until it is: mending many needs no more room than mending one.
#[test]
fn what_is_mended_is_mended_one_by_one() {
    for count in 2..9 {
        let mut disk = with(count, 20);
        let intent = (1..=count).fold(select(1), proven);
        disk.run(&intent);
        let damaged = |how_many: usize| {
            let mut disk = disk.clone();
            let mut files = disk.0.payload.values_mut().filter(|file| file.size > 512);
            for file in files.by_ref().take(how_many) {
                file.digest = Digest::of(b"rotten");
            }
            drop(files);
            let keeps_all = |size: &u64| {
                let plan = plan(&disk.of_size(*size).0, &intent, &InPlace::default());
                plan.is_ok_and(|plan| plan.skipped.is_empty())
            };
            (0..9999).find(keeps_all).unwrap()
        };
        let all = usize::try_from(count).unwrap();
        let (all, one) = (damaged(all), damaged(1));
        // Their temporary names may take a few clusters of the directory; a kernel takes twenty.
        assert!((one..one + 4).contains(&all), "{count}: {all} for {one}");
    }
}

/// An upgrade on a disk that has room for the new one only when an old one goes first.
#[test]
fn an_old_one_goes_before_the_new_one_is_written() {
    let mut disk = with(3, 20);
    let mut known = proven(proven(proven(select(3), 1), 2), 3);
    disk.run(&known);
    disk.0.generations = with(4, 20).0.generations;
    known.selected = Some(id(4));
    known.running = Some(id(3));
    let (size, tight) = tightest(&disk, &known);
    assert_eq!(numbers(&tight.skipped), [1]);
    let at = |what: &str| {
        let mut steps = tight.steps.iter();
        steps
            .position(|step| step.to_string().starts_with(what))
            .unwrap()
    };
    assert!(at("remove loader/entries/lastgood-1-") < at("remove EFI/lastgood/"));
    assert!(at("remove EFI/lastgood/") < at("copy "));
    run(&mut disk, size, &known).unwrap();
    for release in RELEASES {
        assert_eq!(disk.boots(release, 4), [4, 4, 4, 3, 3]);
    }
    assert_eq!(
        run(&mut disk, size, &known).unwrap().steps,
        [],
        "a second run has nothing to do"
    );
    // And with more room nothing goes.
    let mut roomy = with(3, 20);
    roomy.run(&proven(proven(proven(select(3), 1), 2), 3));
    roomy.0.generations = with(4, 20).0.generations;
    assert_eq!(run(&mut roomy, size + 30, &known).unwrap().skipped, []);
}

/// Two rooms for the old, one for the new: however often it is asked for, there is a way on and a way back.
#[test]
fn twenty_upgrades_and_rollbacks_on_a_small_disk() {
    // Two proven ones and the one to come, with the reserve, and not another one.
    let size = 3 * 40 + 36;
    let mut disk = with(0, 40);
    let mut known = Intent::default();
    for number in 1..=20 {
        disk.0.generations = with(number, 40).0.generations;
        known.selected = Some(id(number));
        known.running = known.last_good.clone();
        let installed = run(&mut disk, size, &known);
        let installed = installed.unwrap_or_else(|why| panic!("upgrade to {number}: {why}"));
        assert!(disk.of_size(size).0.space.unwrap().free > 3, "{number}");
        let boots = disk.boots(systemd_boot_model::ReleaseRange::V252, 3);
        assert_eq!(boots[0], number);
        if let Some(last) = &known.last_good {
            assert_eq!(boots[3], last.generation.number(), "{installed:?}");
        }
        // It is started three times in vain and rejected, or proven.
        if number % 3 == 0 {
            for _ in 0..3 {
                disk.count_a_boot(number);
            }
            known.standings.insert(id(number), Standing::Rejected);
            known.selected = known.last_good.clone();
        } else {
            known = proven(known, number);
        }
        known.running = known.last_good.clone();
        run(&mut disk, size, &known).unwrap_or_else(|why| panic!("verdict on {number}: {why}"));
        // Back to the one before, and forth again.
        let last = known.last_good.clone().unwrap();
        let second = known
            .standings
            .iter()
            .rev()
            .find(|(subject, standing)| **standing == Standing::Proven && **subject != last);
        if let Some(second) = second.map(|(subject, _)| subject.clone()) {
            known.selected = Some(second.clone());
            let back = run(&mut disk, size, &known).unwrap_or_else(|why| panic!("back: {why}"));
            assert!(
                !back.steps.iter().any(|s| matches!(s, Step::Copy { .. })),
                "{back:?}"
            );
            let boots = disk.boots(systemd_boot_model::ReleaseRange::V252, 3);
            assert_eq!(boots[0], second.generation.number());
            known.selected = Some(last);
            run(&mut disk, size, &known).unwrap();
        }
    }
}

/// Without a last good entry that is whole, nothing proven goes before something is written.
#[test]
fn nothing_proven_goes_early_while_the_last_good_one_is_damaged() {
    let mut disk = with(3, 20);
    let mut known = proven(proven(proven(select(3), 1), 2), 3);
    disk.run(&known);
    // All that is whole is the one nobody needs.
    for damaged in [1, 2] {
        let bootable = disk.0.generations[damaged].bootable.as_ref().unwrap();
        let kernel = bootable.kernel.path();
        disk.0.payload.remove(kernel.rsplit('/').next().unwrap());
    }
    known.second = Some(id(2));
    disk.0.generations = with(4, 20).0.generations;
    known.selected = Some(id(4));
    let (_, tight) = tightest(&disk, &known);
    let mut seen = disk.clone();
    for step in &tight.steps {
        seen.step(step);
        let whole = |number: u64| {
            let bootable = seen.0.generations[usize::try_from(number).unwrap() - 1]
                .bootable
                .as_ref();
            let kernel = bootable.unwrap().kernel.path();
            seen.0
                .payload
                .contains_key(kernel.rsplit('/').next().unwrap())
                && seen
                    .files()
                    .iter()
                    .any(|f| f.starts_with(&format!("lastgood-{number}-")))
        };
        let boots = seen.boots(systemd_boot_model::ReleaseRange::V252, 6);
        assert!((1..=3).any(whole) && boots[6] <= 3, "{step}: {boots:?}");
    }
}

#[test]
fn what_interrupted_runs_left_makes_room_first() {
    let mut disk = Disk::with(3);
    disk.run(&proven(select(2), 2));
    let kernel = disk.0.payload.keys().next().cloned().unwrap();
    disk.0.payload.remove(&kernel);
    let leftovers = (0..99).map(|number| format!("EFI/lastgood/.{number}.lastgood-part"));
    disk.0.boot.leftovers = leftovers.map(|path| (Partition::Boot, path)).collect();
    let full = disk.of_size(0);
    assert_eq!(full.0.space.as_ref().unwrap().free, 0);
    let plan = plan(&full.0, &proven(select(3), 2), &InPlace::default()).unwrap();
    assert!(
        plan.steps
            .iter()
            .any(|step| matches!(step, Step::Copy { .. }))
    );
    assert!(
        plan.steps
            .iter()
            .take(99)
            .all(|step| step.path().ends_with("-part"))
    );
    assert_eq!(plan.skipped, []);
}
