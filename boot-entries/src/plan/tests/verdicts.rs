//! Verdicts where entries are not as a run of ours leaves them.

use super::*;
use crate::plan::InPlace;

/// Writes the verdicts of `intent`, and checks that once is enough.
fn written(disk: &mut Disk, intent: &Intent) -> Vec<Step> {
    let found = disk.0.generations.iter();
    let generations: Vec<Generation> = found.map(|found| found.generation.clone()).collect();
    let steps = verdict(&disk.0.boot, &generations, intent, &mut |_| true).unwrap();
    for step in &steps {
        disk.step(step);
    }
    assert_eq!(
        verdict(&disk.0.boot, &generations, intent, &mut |_| true),
        Ok(Vec::new())
    );
    steps
}

/// Half a rename leaves an empty file of another counter. `+` comes before `.`, and a smaller counter before a greater.
#[test]
fn an_empty_twin_is_not_what_a_verdict_copies() {
    let blessed = proven(proven(select(3), 2), 3);
    let rejected = {
        let mut intent = proven(select(2), 2);
        intent.standings.insert(id(3), Standing::Rejected);
        intent
    };
    for (intent, number, boots) in [
        (blessed, 3, [3; 4]),
        (rejected, 3, [2; 4]),
        (proven(select(2), 2), 2, [2; 4]),
    ] {
        let mut disk = Disk::with(3);
        disk.run(&proven(select(3), 2));
        let stem = stem_of(&id(number));
        disk.wrote(&format!("{stem}+2-1.conf"), "");
        written(&mut disk, &intent);
        let mut files = disk.0.boot.files_of(&stem);
        let (_, file) = files.next().unwrap();
        assert!(file.has_program, "{file:?}");
        assert_eq!(files.next(), None);
        for release in RELEASES {
            assert_eq!(disk.boots(release, 3), boots, "{number} {release:?}");
        }
    }
}

#[test]
fn nothing_is_made_of_an_empty_entry_alone() {
    let mut disk = Disk::with(2);
    disk.run(&proven(select(2), 1));
    let stem = stem_of(&id(2));
    let name = disk.files().into_iter().find(|n| n.starts_with(&stem));
    let name = name.unwrap().to_owned();
    disk.wrote(&name, "");
    assert_eq!(written(&mut disk, &proven(proven(select(2), 1), 2)), []);
}

/// The payload has gone, and may come again: not as a trial.
#[test]
fn an_entry_without_its_payload_gets_its_verdict() {
    let mut disk = Disk::with(2);
    disk.run(&proven(select(2), 1));
    let payload = std::mem::take(&mut disk.0.payload);
    outcome::look(&mut disk.0);
    let mut intent = proven(select(1), 1);
    intent.standings.insert(id(2), Standing::Rejected);
    assert!(!written(&mut disk, &intent).is_empty());
    disk.0.payload = payload;
    outcome::look(&mut disk.0);
    assert_eq!(disk.boots(ReleaseRange::V260, 1), [1, 1]);
}

/// 2 is the last good one and 3 a trial, all on an ESP, and written to a new XBOOTLDR partition as well: the move was
/// cut short before its removals.
fn between_two_partitions() -> Disk {
    let mut disk = Disk::with(3);
    let intent = proven(select(3), 2);
    disk.run(&intent);
    let boot = &mut disk.0.boot;
    boot.place.esp = "/efi".into();
    boot.place.boot = "/boot".into();
    boot.on_esp = std::mem::take(&mut boot.entries);
    for file in boot.on_esp.values_mut() {
        file.on = Partition::Esp;
    }
    boot.esp_payload = disk.0.payload.keys().cloned().collect();
    disk.0.payload.clear();
    let steps = plan(&disk.0, &intent, &InPlace::default()).unwrap().steps;
    let is_removal = |step: &&Step| matches!(step, Step::Remove { .. });
    assert!(steps.iter().any(|step| is_removal(&step)));
    for step in steps.iter().filter(|step| !is_removal(step)) {
        disk.step(step);
    }
    disk
}

#[test]
fn a_verdict_is_on_both_twins_of_a_move() {
    let mut disk = between_two_partitions();
    let mut rejected = proven(select(2), 2);
    rejected.standings.insert(id(3), Standing::Rejected);
    let steps = written(&mut disk, &rejected);
    for release in RELEASES {
        assert_eq!(disk.boots(release, 3), [2; 4], "{release:?} {steps:?}");
    }
    let last_good = stem_of(&id(2));
    let touches = |step: &Step| step.path().contains(&last_good);
    assert!(!steps.iter().any(touches), "B3: {steps:?}");

    let mut disk = between_two_partitions();
    written(&mut disk, &proven(proven(select(3), 2), 3));
    for release in RELEASES {
        assert_eq!(disk.boots(release, 3), [3; 4], "{release:?}");
    }
    assert!(
        disk.0
            .boot
            .files_of(&stem_of(&id(3)))
            .all(|(_, f)| f.name.tries.is_none())
    );
}

/// Each prefix of a verdict ends in the last good one.
#[test]
fn no_instant_of_a_verdict_on_twins_strands_the_machine() {
    let disk = between_two_partitions();
    let mut rejected = proven(select(2), 2);
    rejected.standings.insert(id(3), Standing::Rejected);
    for intent in [rejected, proven(proven(select(3), 2), 3)] {
        let mut disk = disk.clone();
        let mut ends = disk.clone();
        for step in written(&mut disk, &intent) {
            ends.step(&step);
            for release in RELEASES {
                let last = ends.boots(release, 20).pop();
                assert!(
                    last == Some(2)
                        || last == intent.last_good.as_ref().map(|s| s.generation.number()),
                    "{step}"
                );
            }
        }
    }
}
