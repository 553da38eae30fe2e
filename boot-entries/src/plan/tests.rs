//! Every case of a small domain.

mod disk;
mod linear;

use std::num::NonZeroUsize;

use super::*;
use crate::generation::Generation;
use crate::name::{OurName as _, stem_of};
use crate::observe::Found;
use crate::payload::Content;
pub(crate) use disk::{Disk, RELEASES, comes_back, id, prove, proven, select, theirs};
use systemd_boot_model::{EntryName, ReleaseRange, Tries};

#[test]
fn three_generations_of_which_nothing_is_known() {
    let mut disk = Disk::with(3);
    disk.run(&select(2));
    for release in RELEASES {
        assert_eq!(
            disk.boots(release, 9),
            [2, 2, 2, 3, 3, 3, 1, 1, 1, 2],
            "{release:?}"
        );
    }
    assert!(
        disk.files().iter().all(|name| name.ends_with("+3-0.conf")),
        "{:?}",
        disk.files()
    );
}

#[test]
fn nothing_to_do_writes_nothing() {
    let mut disk = Disk::with(3);
    for intent in [
        select(2),
        proven(select(2), 2),
        proven(select(3), 2),
        proven(select(1), 2),
    ] {
        assert!(!disk.run(&intent).steps.is_empty());
        assert_eq!(disk.run(&intent).steps, [], "{intent:?}");
    }
}

#[test]
fn garbage_payload_entry_default_and_removals() {
    let mut disk = Disk::with(3);
    disk.run(&select(3));
    disk.0.generations.remove(2);
    disk.0.payload.retain(|_, _| false);
    let leftover = "loader/entries/.lastgood-x.part".to_owned();
    let on_boot = (Partition::Boot, leftover.clone());
    disk.0.boot.leftovers.push(on_boot);
    disk.0.boot.loader_conf = None;
    let stage = |step: &Step| match step {
        Step::Remove { path, .. } if *path == leftover => 0,
        Step::Copy { .. } => 1,
        Step::Text { path, .. } if path != LOADER_CONF => 2,
        Step::Text { .. } => 3,
        Step::Remove { path, .. } if path.starts_with(ENTRIES) => 4,
        Step::Remove { .. } => 5,
    };
    let steps = disk.run(&select(2)).steps;
    assert!(steps.is_sorted_by_key(stage), "{steps:?}");
    assert_eq!(
        steps.iter().map(stage).collect::<Vec<_>>(),
        [0, 1, 1, 1, 2, 3, 4, 5]
    );
}

/// A record that nobody here understands may need any file of ours. A counter still goes with the verdict, and what
/// interrupted runs left is nobody's.
#[test]
fn nothing_goes_that_may_be_needed_by_what_is_not_understood() {
    let mut disk = Disk::with(4);
    disk.run(&select(4));
    disk.0.generations.remove(2);
    disk.nixpkgs_wrote("nixos-generation-1.conf", 1);
    let extra = Content::of(&mut &b"tool"[..]).unwrap();
    let on_record = (("EFI/tool.efi".to_owned(), None), extra.digest.to_string());
    let extras = &mut disk.0.extras;
    extras.present.insert("EFI/tool.efi".to_owned(), extra);
    extras.record.insert(on_record.0, [on_record.1].into());
    let left = [
        "EFI/.lastgood-tool.efi.part",
        "EFI/lastgood/.lastgood-x.part",
    ];
    extras.leftovers.insert(left[0].to_owned());
    let on_boot = (Partition::Boot, left[1].to_owned());
    disk.0.boot.leftovers.push(on_boot);
    let unused = crate::payload::file_name(&extra, crate::payload::Kind::Kernel);
    disk.0.payload.insert(unused.clone(), extra);
    let spares = |intent| Intent {
        limit: NonZeroUsize::new(1),
        unneeded: Unneeded::Stays,
        ..intent
    };
    let removed = |steps: &[Step]| {
        let removed = steps.iter().filter(|s| matches!(s, Step::Remove { .. }));
        let paths = removed.map(|step| step.path().to_owned());
        paths.collect::<BTreeSet<String>>()
    };
    let steps = disk.run(&spares(proven(select(4), 4))).steps;
    let counted = |path: &&String| path.starts_with("loader/entries/lastgood-4-");
    let gone = removed(&steps);
    assert_eq!(gone.iter().filter(counted).count(), 1, "{gone:?}");
    let rest: Vec<&String> = gone.iter().filter(|path| !counted(path)).collect();
    assert_eq!(rest, left);
    assert!(!steps.iter().any(|step| step.path() == crate::extra::RECORD));
    let theirs = "loader/entries/nixos-generation-1.conf";
    assert_eq!(disk.files().len(), 5, "{:?}", disk.files());
    assert_eq!(disk.boots(RELEASES[0], 0), [4]);
    disk.0.extras.leftovers.clear();
    assert_eq!(disk.run(&spares(proven(select(4), 4))).steps, []);
    let goes = Intent {
        unneeded: Unneeded::Goes,
        ..spares(proven(select(4), 4))
    };
    let gone = removed(&disk.run(&goes).steps);
    let unused = format!("EFI/lastgood/{unused}");
    for path in ["EFI/tool.efi", crate::extra::RECORD, theirs, &unused] {
        assert!(gone.contains(path), "{path}");
    }
    assert_eq!(disk.files().len(), 1, "{:?}", disk.files());
}

#[test]
fn the_loader_is_written_after_the_entries_and_before_its_settings() {
    let mut disk = Disk::with(2);
    disk.run(&select(1));
    disk.0.boot.loader_conf = None;
    let here = InPlace {
        loader_steps: vec![loader(1)],
        ..InPlace::default()
    };
    let steps = plan(&disk.0, &select(2), &here).unwrap().steps;
    let at = steps.iter().position(|step| *step == loader(1)).unwrap();
    assert!(steps[at - 1].path().starts_with(ENTRIES), "{steps:?}");
    assert_eq!(steps[at + 1].path(), LOADER_CONF);
}

/// A systemd-boot of `size` bytes is to come.
pub(crate) fn loader(size: u64) -> Step {
    let content = Content::of(&mut &b"loader"[..]).unwrap();
    Step::Copy {
        source: "/nix/store/systemd-boot".into(),
        content: Content { size, ..content },
        on: Partition::Esp,
        path: crate::systemd_boot::SYSTEMD.to_owned(),
    }
}

#[test]
fn payload_that_a_foreign_entry_points_at_is_no_garbage() {
    let mut disk = Disk::with(2);
    disk.run(&select(2));

    disk.0.generations.remove(1);
    disk.0
        .boot
        .entries
        .retain(|_, file| file.name.generation_number() != Some(2));
    let garbage = |disk: &Disk| {
        let steps = plan(&disk.0, &select(1), &InPlace::default())
            .unwrap()
            .steps;
        let removed = steps.iter().filter(|s| matches!(s, Step::Remove { .. }));
        removed.map(|s| s.path().to_owned()).collect::<Vec<_>>()
    };
    let found = garbage(&disk);
    let [path] = &found[..] else {
        panic!("{found:?}");
    };
    let spelled = path.to_uppercase().replace('/', "\\");
    for line in [format!("linux \"/{path}\""), format!("efi /{path}")] {
        let mut disk = disk.clone();
        disk.wrote("rescue.conf", &format!("title Rescue\n{line}\n"));
        assert_eq!(garbage(&disk), [""; 0], "{line}");
    }
    disk.wrote("debian.conf", &format!("title Debian\nlinux \\{spelled}\n"));
    assert_eq!(garbage(&disk), [""; 0]);

    // Nor does it go with the entry that it was for.
    let mut disk = Disk::with(2);
    disk.run(&select(2));
    disk.0.generations.remove(1);
    assert_eq!(garbage(&disk).len(), 2);
    disk.wrote("debian.conf", &format!("title Debian\nlinux \\{spelled}\n"));
    let left = garbage(&disk);
    assert!(left.len() == 1 && left[0].starts_with(ENTRIES), "{left:?}");
}

/// What a verdict does must not depend on anything but the entries.
#[test]
fn a_verdict_is_written_without_reading_any_payload() {
    let mut disk = Disk::with(3);
    disk.run(&proven(select(2), 2));
    disk.run(&proven(select(3), 2));
    disk.count_a_boot(3);
    let generations: Vec<Generation> = disk
        .0
        .generations
        .iter()
        .map(|f| f.generation.clone())
        .collect();
    let written = |disk: &Disk, intent: &Intent| {
        let mut after = disk.clone();
        let steps = verdict(&after.0.boot, &generations, intent, &mut |_| true).unwrap();
        for step in &steps {
            after.step(step);
        }
        assert_eq!(
            verdict(&after.0.boot, &generations, intent, &mut |_| true),
            Ok(Vec::new())
        );
        after
    };
    let mut rejected = proven(select(2), 2);
    rejected.standings.insert(id(3), Standing::Rejected);
    assert_eq!(
        written(&disk, &rejected).boots(ReleaseRange::V252, 2),
        [2, 2, 2]
    );
    let blessed = written(&disk, &proven(proven(select(3), 2), 3));
    assert_eq!(blessed.boots(ReleaseRange::V252, 4), [3; 5]);
    // And it is what the whole plan would do.
    for intent in [rejected, proven(proven(select(3), 2), 3)] {
        let mut whole = disk.clone();
        whole.run(&intent);
        assert_eq!(written(&disk, &intent).0.boot, whole.0.boot);
    }
}

#[test]
fn going_back_to_an_older_proven_generation_has_a_way_back() {
    let mut disk = Disk::with(2);
    disk.run(&proven(select(1), 1));
    let both = |selected, last| proven(proven(select(selected), 3 - last), last);
    disk.run(&both(2, 2));
    disk.run(&both(1, 2));
    assert_eq!(disk.boots(ReleaseRange::V252, 4), [1, 1, 1, 2, 2]);
    disk.run(&both(1, 1));
    assert_eq!(
        disk.boots(ReleaseRange::V252, 4),
        [1; 5],
        "proven again, it is the last good one"
    );
}

/// However the ranks came to be: what is selected is first, and what is last good is next.
#[test]
fn whatever_was_there_the_selected_one_is_first() {
    for ranks in (0..64_usize).map(|code| [code % 4, code / 4 % 4, code / 16]) {
        for (selected, last) in [(1, 1), (1, 2), (2, 1), (3, 1), (2, 2), (3, 3), (1, 3)] {
            let mut disk = Disk::with(3);
            let all = proven(proven(proven(select(selected), 1), 2), 3);
            let intent = Intent {
                last_good: Some(id(last)),
                ..all
            };
            disk.run(&intent);
            for (file, rank) in disk.0.boot.entries.values_mut().zip(ranks) {
                file.name.tries = None;
                let key = format!("lastgood-{:06}", 999_999 - rank);
                file.entry.sort_key = Some(key);
                file.text = file.entry.to_string();
            }
            let files = std::mem::take(&mut disk.0.boot.entries);
            disk.0.boot.entries = files
                .into_values()
                .map(|f| (f.name.to_string(), f))
                .collect();
            let entry_of_last = |disk: &Disk| {
                let mut files = disk.0.boot.entries.values();
                let file = files.find(|f| f.name.generation_number() == Some(last));
                file.unwrap().text.clone()
            };
            let before = entry_of_last(&disk);
            disk.run(&intent);
            // A rank that only a selection gives.
            if Rank::of_sort_key(&format!(
                "lastgood-{:06}",
                999_999 - ranks[usize::try_from(last).unwrap() - 1]
            )) > Some(Rank::PROVEN)
            {
                assert_eq!(
                    entry_of_last(&disk),
                    before,
                    "B3: {ranks:?} {selected} {last} {:?}",
                    disk.files()
                );
            }
            let boots = disk.boots(ReleaseRange::V252, 3);
            assert_eq!(
                (boots[0], boots[3]),
                (selected, last),
                "{ranks:?} {:?}",
                disk.files()
            );
            assert_eq!(disk.run(&intent).steps, []);
        }
    }
}

/// The ledger is gone; on `$BOOT` an entry without a counter is still a sign of what was proven.
#[test]
fn a_lost_record_removes_no_proven_entry() {
    let mut disk = Disk::with(2);
    disk.run(&proven(select(2), 2));
    disk.0.generations.remove(1);
    disk.run(&select(1));
    assert!(
        disk.files()
            .iter()
            .any(|name| name.starts_with("lastgood-2-")),
        "{:?}",
        disk.files()
    );
    assert_eq!(disk.boots(ReleaseRange::V252, 3), [1, 1, 1, 2]);
    disk.run(&proven(select(1), 1));
    assert!(
        !disk
            .files()
            .iter()
            .any(|name| name.starts_with("lastgood-2-")),
        "{:?}",
        disk.files()
    );
}

#[test]
fn the_life_of_a_trial() {
    let mut disk = Disk::with(3);
    disk.run(&proven(select(2), 2));
    disk.run(&proven(select(3), 2));
    for release in RELEASES {
        assert_eq!(disk.boots(release, 4), [3, 3, 3, 2, 2]);
    }
    disk.count_a_boot(3);
    assert_eq!(
        disk.run(&proven(select(3), 2)).steps,
        [],
        "a second run must not give tries back"
    );
    let blessed = proven(select(3), 3);
    disk.run(&blessed);
    for release in RELEASES {
        assert_eq!(disk.boots(release, 2), [3, 3, 3]);
    }
}

#[test]
fn a_rejected_trial_is_passed_over_at_once() {
    let mut disk = Disk::with(3);
    disk.run(&proven(select(2), 2));
    disk.run(&proven(select(3), 2));
    disk.count_a_boot(3);
    let mut intent = proven(select(2), 2);
    intent.standings.insert(id(3), Standing::Rejected);
    disk.run(&intent);
    for release in RELEASES {
        assert_eq!(disk.boots(release, 3), [2, 2, 2, 2]);
    }
    assert!(
        disk.files().iter().any(|name| name.ends_with("+0-1.conf")),
        "{:?}",
        disk.files()
    );
    // The operator insists.
    intent = proven(select(3), 2);
    let insisted = InPlace {
        rearm: true,
        ..InPlace::default()
    };
    disk.run_with(&intent, &insisted);
    assert_eq!(disk.boots(ReleaseRange::V252, 3), [3, 3, 3, 2]);
}

#[test]
fn the_last_good_entry_is_not_touched_by_any_selection() {
    let mut disk = Disk::with(4);
    disk.run(&proven(select(3), 3));
    let name = EntryName {
        stem: disk.0.generations[2].stem.clone(),
        tries: None,
    }
    .to_string();
    let text = disk.0.boot.entries[&name].text.clone();
    for selected in [4, 1, 3, 2, 3, 4] {
        let plan = disk.run(&proven(select(selected), 3));
        let path = format!("{ENTRIES}/{name}");
        for step in &plan.steps {
            assert!(
                !matches!(step, Step::Text { path: p, .. } | Step::Remove { path: p, .. } if *p == path)
            );
        }
        assert_eq!(disk.0.boot.entries[&name].text, text);
        assert_eq!(disk.boots(ReleaseRange::V252, 0), [selected]);
    }
    // Nor by a new way of writing titles; but another command line is damage, and is mended.
    for (change, written) in [("label", 0), ("options", 1)] {
        let bootable = disk.0.generations[2].bootable.as_mut().unwrap();
        if change == "label" {
            bootable.label.push_str(", renamed");
        } else {
            bootable.options.push_str(" quiet");
        }
        let steps = disk.run(&proven(select(4), 3)).steps;
        assert_eq!(steps.len(), written, "{change}: {steps:?}");
    }
}

/// What we add to a command line stood at its end once.
#[test]
fn the_last_good_entry_is_not_touched_for_where_our_words_stand() {
    let mut disk = Disk::with(2);
    let set = |disk: &mut Disk, options: [&str; 2]| {
        for (found, options) in disk.0.generations.iter_mut().zip(options) {
            found.bootable.as_mut().unwrap().options = options.to_owned();
        }
    };
    set(
        &mut disk,
        ["init=/1/init a  b panic=10", "init=/2/init panic=10"],
    );
    disk.run(&proven(select(2), 1));
    set(
        &mut disk,
        ["init=/1/init panic=10 a  b", "init=/2/init panic=10"],
    );
    assert_eq!(disk.run(&proven(select(2), 1)).steps, []);
    let steps = disk.run(&proven(proven(select(2), 1), 2)).steps;
    assert!(
        steps.iter().any(|step| step.path().contains("lastgood-1-")),
        "{steps:?}"
    );
    set(
        &mut disk,
        ["init=/1/init panic=10 a", "init=/2/init panic=10 a"],
    );
    let steps = disk.run(&proven(proven(select(2), 1), 2)).steps;
    assert_eq!(steps.len(), 2, "another command line is damage: {steps:?}");
}

#[test]
fn damaged_payload_is_written_again() {
    let mut disk = Disk::with(2);
    disk.run(&select(2));
    let name = disk.0.payload.keys().next().unwrap().clone();
    disk.0
        .payload
        .insert(name.clone(), Content::of(&mut &b"flipped"[..]).unwrap());
    let steps = disk.run(&select(2)).steps;
    assert!(
        matches!(&steps[..], [Step::Copy { path, .. }] if path.ends_with(&name)),
        "{steps:?}"
    );
}

#[test]
fn a_generation_gone_from_the_profile_loses_entry_then_payload_and_foreign_files_stay() {
    let mut disk = Disk::with(2);
    disk.run(&select(2));
    let foreign = EntryFile {
        on: Partition::Boot,
        has_program: true,
        name: EntryName::parse("debian.conf").unwrap(),
        entry: Entry::parse("linux /debian/vmlinuz\n"),
        text: "linux /debian/vmlinuz\n".to_owned(),
    };
    disk.0
        .boot
        .entries
        .insert("debian.conf".to_owned(), foreign);
    let gone = disk.0.generations.remove(0);
    let steps = disk.run(&select(2)).steps;
    let kernel = gone.bootable.unwrap().kernel.path();
    let removed = |step: &Step| matches!(step, Step::Remove { .. });
    assert!(steps.len() == 2 && steps.iter().all(removed), "{steps:?}");
    let on = Partition::Boot;
    assert_eq!(steps[1], Step::Remove { on, path: kernel });
    assert!(disk.0.boot.entries.contains_key("debian.conf"));
}

mod owners;
mod refusals;
mod subjects;
mod verdicts;
