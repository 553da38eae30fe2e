//! What a plan looks at must not grow faster than the number of generations.

use super::*;
use crate::owner::Ownership;
use crate::plan::InPlace;
use crate::work;

/// How often something is looked at by a plan that finds nothing to do, where `count` generations and as many of
/// another system's have entries.
fn looks(count: u64) -> u64 {
    let mut disk = Disk::with(2 * count);
    let others = disk
        .0
        .generations
        .split_off(usize::try_from(count).unwrap());
    for found in &others {
        let name = format!("{}.conf", found.stem);
        disk.wrote(&name, "linux /l\noptions x\n# lastgood 22222222\n");
    }
    let intent = Intent {
        ownership: Ownership {
            owner: "11111111".parse().ok(),
            marks_all: true,
        },
        above_other_systems: true,
        ..proven(select(count), 1)
    };
    disk.run(&intent);
    work::looks();
    assert_eq!(disk.run(&intent).steps, []);
    work::looks()
}

#[test]
fn twice_as_many_generations_take_twice_the_looks() {
    let (few, many) = (looks(30), looks(60));
    assert!(few > 0 && many <= 2 * few + few / 10, "{few} {many}");
}

/// The same for what a first plan leads to: every step of it was once followed by a look at every entry.
#[test]
fn twice_as_many_steps_take_twice_the_looks() {
    let looks = |count| {
        let disk = Disk::with(count);
        let plan = plan(&disk.0, &select(count), &InPlace::default()).unwrap();
        assert!(plan.steps.len() > usize::try_from(count).unwrap());
        work::looks();
        assert!(
            after(&disk.0, &plan)
                .entries
                .values()
                .all(|file| file.has_program)
        );
        work::looks()
    };
    let (few, many) = (looks(30), looks(60));
    assert!(few > 0 && many <= 2 * few + few / 10, "{few} {many}");
}
