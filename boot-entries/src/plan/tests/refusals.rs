//! What is refused, left out or told.

use super::*;

#[test]
fn a_command_line_that_the_kernel_would_cut_is_told() {
    let mut disk = Disk::with(2);
    let initrd = disk.0.generations[1]
        .bootable
        .as_ref()
        .unwrap()
        .initrd
        .clone();
    let before = format!("initrd=/{} ", initrd.unwrap().path()).len();
    for (length, told) in [(2047, 0), (2048, 1)] {
        let bootable = disk.0.generations[1].bootable.as_mut().unwrap();
        bootable.options = "x".repeat(length - before);
        let notes = plan(&disk.0, &select(2), &InPlace::default())
            .unwrap()
            .notes;
        assert_eq!(notes.len(), told, "{notes:?}");
        assert!(
            notes.iter().all(|note| note.starts_with("generation 2: ")),
            "{notes:?}"
        );
    }
}

#[test]
fn one_broken_generation_is_reported_and_its_entry_stays() {
    let mut disk = Disk::with(3);
    disk.run(&proven(select(2), 2));
    disk.0.generations[1].bootable = Err("boot.json: no".to_owned());
    let before = disk.0.payload.clone();
    let plan = disk.run(&proven(select(3), 2));
    assert_eq!(plan.skipped, [(id(2), "boot.json: no".to_owned())]);
    assert_eq!(disk.0.payload, before);
    assert_eq!(
        disk.boots(ReleaseRange::V252, 3),
        [3, 3, 3, 2],
        "the unreadable last good is still reached"
    );
}

#[test]
fn what_cannot_be_granted_is_refused() {
    let mut disk = Disk::with(1);
    assert_eq!(
        plan(&disk.0, &select(9), &InPlace::default()),
        Err(Refusal::NoSuchGeneration(id(9)))
    );
    disk.0.generations.push(Found {
        bootable: Err("no kernel".to_owned()),
        ..Disk::with(2).0.generations.remove(1)
    });
    assert!(matches!(
        plan(&disk.0, &select(2), &InPlace::default()),
        Err(Refusal::Unbootable(..))
    ));
    disk.0.generations.clear();
    let nothing = Err(Refusal::NoGenerations(Vec::new()));
    assert_eq!(
        plan(&disk.0, &Intent::default(), &InPlace::default()),
        nothing
    );
}

/// The line that is all an operator sees names what is wrong, with the one that was asked for first.
#[test]
fn where_no_generation_can_be_booted_the_reasons_are_told() {
    let told = |count: u64, selected: u64| {
        let mut disk = Disk::with(count);
        for (number, found) in (1..).zip(&mut disk.0.generations) {
            found.bootable = Err(format!("/nix/store/{number}/boot.json: empty"));
        }
        plan(&disk.0, &select(selected), &InPlace::default())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        told(2, 1),
        "no generation can be booted: generation 1: /nix/store/1/boot.json: empty; generation 2: /nix/store/2/boot.json: \
         empty"
    );
    let many = told(5, 2);
    let order = [2, 5, 4].map(|number| many.find(&format!("generation {number}:")).unwrap());
    assert!(order.is_sorted(), "{many}");
    assert!(!many.contains("generation 3:"), "{many}");
    let empty = plan(&Disk::with(0).0, &select(1), &InPlace::default())
        .unwrap_err()
        .to_string();
    assert!(empty.starts_with("no profile has a generation"), "{empty}");
}

/// A machine that hangs in a panic is never power-cycled by anybody: it is told wherever a fallback may need it.
#[test]
fn a_generation_that_stands_still_in_a_panic_is_told() {
    let mut disk = Disk::with(3);
    for found in &mut disk.0.generations {
        found
            .bootable
            .as_mut()
            .unwrap()
            .options
            .push_str(" panic=0");
    }
    let notes = disk.run(&proven(select(3), 1)).notes;
    let told: Vec<&str> = notes.iter().filter_map(|n| n.split(':').next()).collect();
    assert_eq!(told, ["generation 1", "generation 3"], "{notes:?}");
    assert_eq!(disk.run(&proven(select(3), 1)).notes, notes);
    assert_eq!(Disk::with(3).run(&proven(select(3), 1)).notes, [""; 0]);
}

/// Then somebody needs them after all: a machine without an entry boots nothing.
#[test]
fn where_all_are_left_out_none_is() {
    let mut disk = Disk::with(2);
    disk.run(&Intent {
        left_out: [id(1), id(2)].into(),
        ..Intent::default()
    });
    assert_eq!(disk.files().len(), 2);
}

#[test]
fn what_is_asked_for_or_kept_for_a_fallback_is_never_left_out() {
    let mut disk = Disk::with(5);
    disk.run(&Intent {
        running: Some(id(3)),
        second: Some(id(4)),
        left_out: (1..=5).map(id).collect(),
        ..proven(select(1), 2)
    });
    let files = disk.0.boot.entries.values();
    let numbers: Vec<_> = files.map(|file| file.name.generation_number()).collect();
    assert_eq!(numbers, [1, 2, 3, 4].map(Some));
}
