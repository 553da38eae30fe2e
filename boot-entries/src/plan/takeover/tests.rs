//! From nixpkgs' entries to ours, step by step.

use super::*;
use crate::nixpkgs::hashed_name;
use crate::plan::InPlace;
use crate::plan::tests::{Disk, RELEASES, id, proven, select, theirs};
use crate::plan::{Standing, plan};
use crate::space::Volume;
use systemd_boot_model::LOADER_CONF;

const NUMBERED: [&str; 3] = [
    "nixos-generation-1.conf",
    "nixos-generation-2.conf",
    "nixos-generation-3.conf",
];

/// A machine with `count` generations, of which nixpkgs' builder has written the first three, the third by default.
fn written(count: u64, names: [&str; 3], default: &str) -> Disk {
    let mut disk = Disk::with(count);
    for (number, name) in (1..).zip(names) {
        disk.nixpkgs_wrote(name, number);
    }
    disk.step(&Step::Text {
        text: format!("timeout 5\ndefault {default}\nconsole-mode keep\n"),
        on: Partition::Esp,
        path: LOADER_CONF.to_owned(),
    });
    disk
}

fn starts(disk: &Disk, failures: usize) -> Vec<u64> {
    let all = RELEASES.map(|release| disk.starts(release, failures));
    assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
    all[0].clone()
}

fn their_files(disk: &Disk) -> Vec<&str> {
    let files = disk.files().into_iter();
    files.filter(|name| name.starts_with("nixos")).collect()
}

fn their_payload(disk: &Disk) -> Vec<&str> {
    let names = disk.0.boot.nixpkgs.iter();
    names.map(|(_, name)| name.as_str()).collect()
}

fn stand_ins(disk: &Disk) -> usize {
    let files = disk.0.boot.entries.values();
    files.filter(|file| file.name.is_stand_in()).count()
}

#[test]
fn the_whole_story() {
    let mut disk = written(4, NUMBERED, NUMBERED[2]);
    disk.wrote(
        "debian.conf",
        "title Debian\nlinux \\efi\\NIXOS\\kernel-2.EFI\n",
    );
    let another = theirs(9).replace("kernel-9", "kernel-1");
    disk.wrote("nixos-generation-9.conf", &another);
    assert_eq!(starts(&disk, 0), [3]);

    // Nothing of ours is proven: a trial that fails leads to what ran before, and not to another machine's.
    disk.run(&select(4));
    assert_eq!(starts(&disk, 12), [vec![4; 3], vec![3; 10]].concat());
    assert_eq!(disk.run(&select(4)).steps, []);
    assert_eq!(their_files(&disk).len(), 4);
    let mut rejected = select(4);
    rejected.selected = None;
    rejected.standings.insert(id(4), Standing::Rejected);
    disk.run(&rejected);
    assert_eq!(starts(&disk, 12), [3; 13]);

    // Another one fails as well, and one of theirs is proven at last.
    disk.run(&select(2));
    assert_eq!(starts(&disk, 5), [2, 2, 2, 3, 3, 3]);
    let steps = disk.run(&proven(select(3), 3)).steps;
    assert_eq!(starts(&disk, 12), [3; 13]);
    assert_eq!(their_files(&disk), ["nixos-generation-9.conf"]);
    assert_eq!(stand_ins(&disk), 0);
    let left = their_payload(&disk);
    assert_eq!(
        left,
        ["initrd.efi", "kernel-1.efi", "kernel-2.efi"],
        "others need these"
    );
    assert!(disk.0.boot.entries.contains_key("debian.conf"));
    // Entries before payload, and both after everything else.
    let paths: Vec<String> = steps
        .iter()
        .rev()
        .map_while(|step| match step {
            Step::Remove { path, .. } => Some(path.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(paths[0], "EFI/nixos/kernel-3.efi");
    assert!(
        paths[1..4]
            .iter()
            .all(|path| path.contains("nixos-generation-"))
    );
    assert_eq!(disk.run(&proven(select(3), 3)).steps, []);
}

#[test]
fn hashed_names_with_counters() {
    let names = [1, 2, 3].map(|number| hashed_name(&theirs(number)));
    let tried = names[2].replace(".conf", "+2-1.conf");
    let mut disk = written(4, [&names[0], &names[1], &tried], "nixos-*");
    disk.run(&select(4));
    assert_eq!(
        starts(&disk, 12),
        [vec![4; 3], vec![2; 10]].concat(),
        "one that is still counted has not proven anything"
    );
    disk.run(&proven(select(4), 4));
    assert_eq!(their_files(&disk), [""; 0]);
    assert_eq!(disk.0.boot.nixpkgs, BTreeSet::new());
}

/// Whatever theirs sorts by, and whatever else begins with `nixos-`.
#[test]
fn a_sort_key_of_theirs_does_not_matter() {
    for key in ["a", "lastgood", "lastgood-", "zzz"] {
        let mut disk = written(4, NUMBERED, NUMBERED[2]);
        for (number, name) in (1..).zip(NUMBERED) {
            let text = theirs(number).replace("sort-key nixos", &format!("sort-key {key}"));
            disk.wrote(name, &text);
        }
        disk.run(&select(4));
        assert_eq!(starts(&disk, 6), [4, 4, 4, 3, 3, 3, 3], "{key}");
        disk.run(&proven(select(4), 4));
        assert_eq!(starts(&disk, 6), [4; 7], "{key}");
    }
}

#[test]
fn what_runs_is_better_than_what_was_built_last_and_stays_chosen() {
    let mut disk = written(4, NUMBERED, NUMBERED[2]);
    let mut intent = select(4);
    intent.running = Some(id(1));
    disk.run(&intent);
    assert_eq!(starts(&disk, 4), [4, 4, 4, 1, 1]);
    intent.running = Some(id(2));
    assert_eq!(disk.run(&intent).steps, []);
    // It is gone from the profile: the next best.
    disk.0.generations.remove(0);
    disk.run(&intent);
    assert_eq!(starts(&disk, 4), [4, 4, 4, 2, 2]);
    assert_eq!(stand_ins(&disk), 1);
}

/// Somebody has deleted the generation that ran before, and no other of theirs is there to take its place.
#[test]
fn what_ran_before_stays_until_something_is_proven() {
    let mut disk = Disk::with(3);
    disk.nixpkgs_wrote(NUMBERED[0], 1);
    disk.run(&select(3));
    let name = disk.files().into_iter().find(|n| n.contains("before"));
    let name = name.unwrap().to_owned();
    let gone = disk.0.generations.remove(0);
    let text = disk.0.boot.entries[&name].text.clone();
    disk.run(&select(3));
    assert_eq!(starts(&disk, 6), [3, 3, 3, 1, 1, 1, 1]);
    assert_eq!(disk.run(&select(3)).steps, []);
    // Their entry may be gone while the generation is still there.
    let mut alone = disk.clone();
    alone.0.generations.insert(0, gone);
    let path = format!("{ENTRIES}/{}", NUMBERED[0]);
    alone.step(&Step::Remove {
        on: Partition::Boot,
        path,
    });
    alone.nixpkgs_wrote(NUMBERED[1], 2);
    alone.run(&select(3));
    assert_eq!(starts(&alone, 4), [3, 3, 3, 1, 1]);
    assert_eq!(stand_ins(&alone), 1);
    // Not one that would start nothing, or that is not to the letter what was written.
    let mut damaged = disk.clone();
    damaged.wrote(&name, &text.replace("init=", "quiet init="));
    damaged.run(&select(3));
    assert_eq!(stand_ins(&damaged), 0);
    let mut empty = disk.clone();
    empty.0.boot.nixpkgs.clear();
    empty.run(&select(3));
    assert_eq!(stand_ins(&empty), 0);
    disk.run(&proven(select(3), 3));
    assert_eq!(stand_ins(&disk), 0);
}

#[test]
fn only_what_is_whole_and_this_machines_is_stood_in_for() {
    let mut disk = written(4, NUMBERED, NUMBERED[2]);
    let gone = (Partition::Boot, "kernel-3.efi".to_owned());
    disk.0.boot.nixpkgs.remove(&gone);
    disk.wrote("nixos-generation-9.conf", &theirs(9));
    let there = (Partition::Boot, "kernel-9.efi".to_owned());
    disk.0.boot.nixpkgs.insert(there);
    disk.run(&select(4));
    assert_eq!(starts(&disk, 4), [4, 4, 4, 2, 2]);
    // Nothing of theirs is this machine's.
    let mut disk = Disk::with(2);
    disk.nixpkgs_wrote("nixos-generation-9.conf", 9);
    disk.run(&select(2));
    assert_eq!(starts(&disk, 6), [2, 2, 2, 1, 1, 1, 2]);
    disk.run(&proven(select(2), 2));
    assert_eq!(their_files(&disk), ["nixos-generation-9.conf"]);
    assert_eq!(disk.0.boot.nixpkgs.len(), 2);
}

/// One that has lost what it starts stays for what it says, and this one says nothing that we wrote.
#[test]
fn a_damaged_stand_in_that_starts_nothing_goes() {
    let mut disk = Disk::with(3);
    disk.nixpkgs_wrote(NUMBERED[0], 1);
    disk.run(&select(3));
    disk.0.boot.nixpkgs.clear();
    let (on, path) = (Partition::Boot, format!("{ENTRIES}/{}", NUMBERED[0]));
    disk.step(&Step::Remove { on, path });
    disk.run(&select(3));
    assert_eq!(stand_ins(&disk), 1);
    let name = disk.files().into_iter().find(|n| n.contains("before"));
    let name = name.unwrap().to_owned();
    let text = disk.0.boot.entries[&name].text.clone();
    for damaged in ["", &text[..text.len() / 2]] {
        let mut disk = disk.clone();
        disk.wrote(&name, damaged);
        disk.run(&select(3));
        assert_eq!(stand_ins(&disk), 0, "{damaged}");
    }
}

/// The record may say that something is proven whose entry cannot be had.
#[test]
fn nothing_of_theirs_goes_before_the_last_good_entry_is_there() {
    let mut disk = written(4, NUMBERED, NUMBERED[2]);
    disk.0.generations[3].bootable = Err("no kernel".to_owned());
    let intent = proven(select(2), 4);
    disk.run(&intent);
    assert_eq!(their_files(&disk), NUMBERED);
    assert_eq!(starts(&disk, 4), [2, 2, 2, 3, 3]);
    disk.0.generations = Disk::with(4).0.generations;
    disk.run(&intent);
    assert_eq!(starts(&disk, 4), [2, 2, 2, 4, 4]);
    assert_eq!(their_files(&disk), [""; 0]);
}

/// Their builder took what we do not take, and it worked: it is all there is of that generation.
#[test]
fn what_we_cannot_replace_stays_for_as_long_as_that_is_so() {
    let mut disk = written(3, NUMBERED, NUMBERED[1]);
    let bootable = std::mem::replace(
        &mut disk.0.generations[1].bootable,
        Err("no plain path".to_owned()),
    );
    disk.run(&select(1));
    assert_eq!(their_files(&disk), NUMBERED);
    let intent = proven(select(1), 1);
    let notes = disk.run(&intent).notes;
    assert_eq!(their_files(&disk), [NUMBERED[1]]);
    assert_eq!(their_payload(&disk), ["initrd.efi", "kernel-2.efi"]);
    assert!(
        notes.iter().any(|note| note.starts_with(NUMBERED[1])),
        "{notes:?}"
    );
    assert_eq!(starts(&disk, 6), [1; 7]);
    assert_eq!(disk.run(&intent).steps, []);
    // Its own entry has come, and takes its place.
    disk.0.generations[1].bootable = bootable;
    assert_eq!(disk.run(&intent).notes, [""; 0]);
    assert_eq!(their_files(&disk), [""; 0]);
    assert_eq!(their_payload(&disk), [""; 0]);
}

/// Their builder wrote it beside us, and nobody has asked us for it: their entry is all it has.
#[test]
fn what_nobody_has_asked_us_for_keeps_their_entry() {
    let mut disk = written(4, NUMBERED, NUMBERED[2]);
    disk.nixpkgs_wrote("nixos-generation-4.conf", 4);
    let mut intent = proven(select(1), 1);
    intent.left_out.insert(id(4));
    assert_eq!(disk.run(&intent).notes, [""; 0]);
    assert_eq!(their_files(&disk), ["nixos-generation-4.conf"]);
    assert_eq!(their_payload(&disk), ["initrd.efi", "kernel-4.efi"]);
    assert_eq!(disk.run(&intent).steps, []);
    // It has an entry of ours, which takes its place, and is never left out again.
    intent.left_out.clear();
    let mut both = disk.clone();
    both.run(&intent);
    assert_eq!(their_files(&both), [""; 0]);
    assert_eq!(their_payload(&both), [""; 0]);
    both.nixpkgs_wrote("nixos-generation-4.conf", 4);
    intent.left_out.insert(id(4));
    both.run(&intent);
    assert_eq!(their_files(&both), [""; 0]);
    // Of what cannot be booted it is told, left out or not.
    disk.0.generations[3].bootable = Err("no plain path".to_owned());
    let notes = disk.run(&intent).notes;
    assert!(notes.len() == 1 && notes[0].contains("cannot be booted"));
}

/// Two generations are one closure, and one of them has an entry of ours.
#[test]
fn a_closure_that_we_can_start_is_replaced_whichever_generation_is_left_out() {
    let mut disk = written(4, NUMBERED, NUMBERED[2]);
    let found = &mut disk.0.generations[3];
    found.generation.toplevel = id(3).toplevel;
    let again = found.generation.subject();
    found.stem = stem_of(&again);
    disk.nixpkgs_wrote("nixos-generation-4.conf", 3);
    let mut intent = proven(select(1), 1);
    intent.left_out.insert(again);
    disk.run(&intent);
    assert_eq!(their_files(&disk), [""; 0]);
}

/// A run was cut short between their entries and their payload.
#[test]
fn payload_without_entries_goes_if_it_is_this_machines() {
    let mut disk = Disk::with(2);
    let names = [
        "kernel-1.efi",
        "initrd.efi",
        "kernel-9.efi",
        "kernel-6.1-x.efi",
    ];
    let on_boot = names.map(|name| (Partition::Boot, name.to_owned()));
    disk.0.boot.nixpkgs.extend(on_boot);
    disk.run(&proven(select(2), 2));
    let left = their_payload(&disk);
    assert_eq!(left, ["kernel-6.1-x.efi", "kernel-9.efi"]);
}

/// A full `$BOOT` is no reason to remove any of theirs.
#[test]
fn space_is_never_made_of_theirs() {
    let mut disk = written(4, NUMBERED, NUMBERED[2]);
    let volume = |free| Volume {
        free,
        cluster: 512,
        ..Volume::default()
    };
    disk.0.space = Some(volume(21));
    if let Ok(plan) = plan(&disk.0, &select(4), &InPlace::default()) {
        assert!(!plan.steps.iter().any(|s| matches!(s, Step::Remove { .. })));
    }
    disk.0.space = Some(volume(0));
    assert!(plan(&disk.0, &select(4), &InPlace::default()).is_err());
}
