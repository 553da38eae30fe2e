//! From a foreign machine to ours, and back.

use super::*;
use crate::nixpkgs::Payload;
use crate::plan::InPlace;
use crate::plan::tests::{Disk, RELEASES, proven, select};
use crate::plan::{Intent, plan, uninstall};
use crate::step::Step;
use systemd_boot_model::{Listed, LoaderConf, ReleaseRange, Uki};

const DEBIAN: &str = "title Debian\nversion 6.1\nlinux \\debian\\vmlinuz\ninitrd /debian/initrd\noptions root=LABEL=r\n";
const IMAGE: &str = "debian-6.1.efi";

/// Three generations beside somebody's `debian.conf` and a unified kernel image, of which `booted` runs.
fn machine(booted: &str) -> (Disk, Intent) {
    let mut disk = Disk::with(3);
    disk.wrote("debian.conf", DEBIAN);
    disk.wrote("debian-old.conf", "linux /debian/old\n");
    for file in disk.0.boot.entries.values_mut() {
        file.has_program = true;
    }
    let image = (Partition::Boot, IMAGE.to_owned());
    disk.0.boot.images.insert(image, Uki::default());
    let intent = Intent {
        booted: Some(booted.to_owned()),
        ..select(2)
    };
    (disk, intent)
}

/// What the entries do that boot now and after each of `failures` failed boots, by every loader.
fn programs(disk: &Disk, failures: usize) -> Vec<String> {
    let all = RELEASES.map(|release| {
        let loader = disk.loader(release);
        let boots = loader.clone().predict(failures).into_iter();
        let program = |stem: &str| {
            let mut listed = loader.entries.iter();
            let found = listed.find(|listed| listed.name.stem == stem).unwrap();
            let entry = &found.entry;
            let program = entry.linux.as_ref().or(entry.efi.as_ref()).unwrap();
            program.replace('\\', "/")
        };
        let is_kernel = |program: String| match program.strip_prefix("/EFI/lastgood/") {
            Some(_) => "ours".to_owned(),
            None => program,
        };
        boots
            .map(|boot| is_kernel(program(&boot.name.stem)))
            .collect::<Vec<String>>()
    });
    assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
    all[0].clone()
}

fn stand_ins(disk: &Disk) -> usize {
    let files = disk.0.boot.entries.values();
    files.filter(|file| file.name.is_stand_in()).count()
}

#[test]
fn a_failed_trial_leads_back_to_what_booted_the_machine() {
    for (booted, program) in [
        ("debian.conf", "/debian/vmlinuz"),
        ("DEBIAN.CONF", "/debian/vmlinuz"),
        ("debian+2-1.conf", "/debian/vmlinuz"),
        ("debian-old.conf", "/debian/old"),
        (IMAGE, "/EFI/Linux/debian-6.1.efi"),
    ] {
        let (mut disk, intent) = machine(booted);
        disk.run(&intent);
        let ours = |count| vec!["ours".to_owned(); count];
        let theirs = |count| vec![program.to_owned(); count];
        assert_eq!(
            programs(&disk, 6),
            [ours(3), theirs(4)].concat(),
            "{booted}"
        );
        assert_eq!(
            plan(&disk.0, &intent, &InPlace::default()).unwrap().steps,
            [],
            "{booted}"
        );

        // It boots, by the stand-in now; another trial is tried.
        let files = disk.0.boot.entries.values();
        let stand_in = files.map(|f| &f.name).find(|name| name.is_stand_in());
        let again = Intent {
            booted: Some(stand_in.unwrap().to_string()),
            ..select(3)
        };
        disk.run(&again);
        assert_eq!(programs(&disk, 6)[3], program, "{booted}");
        assert_eq!(stand_ins(&disk), 1);

        // And passes: what is not ours stays.
        disk.run(&proven(again, 3));
        assert_eq!(programs(&disk, 4), ours(5));
        assert_eq!(stand_ins(&disk), 0);
        assert!(disk.0.boot.entries.contains_key("debian.conf"));
    }
}

/// What a loader starts by an entry with this text: the image, and which of its profiles.
fn image_of(release: ReleaseRange, text: &str) -> (Option<String>, u32) {
    let listed = Listed::read(release, Partition::Boot, "a.conf", text, |_| true).unwrap();
    (listed.entry.uki, listed.profile)
}

/// Entries that differ in the image, or in its profile only.
#[test]
fn a_failed_trial_leads_back_to_the_very_profile_of_an_image() {
    let text = |image: &str, profile: u32| {
        format!("title Debian\nuki /{IMAGES}/{image}\nprofile {profile}\n")
    };
    let files = [
        ("uki-1.conf", text("debian-6.0.efi", 2)),
        ("uki-2.conf", text(IMAGE, 1)),
        ("uki-3.conf", text(IMAGE, 2)),
    ];
    let images = files
        .each_ref()
        .map(|(_, text)| image_of(ReleaseRange::V260, text));
    assert!(images[0].0 != images[1].0 && images[1].1 != images[2].1);
    for (booted, theirs) in &files {
        let (mut disk, intent) = machine(booted);
        let older = (Partition::Boot, "debian-6.0.efi".to_owned());
        disk.0.boot.images.insert(older, Uki::default());
        for (name, text) in &files {
            disk.wrote(name, text);
        }
        disk.run(&intent);
        // Older loaders know no such entry, and have not started it.
        for release in [ReleaseRange::V258_1, ReleaseRange::V260] {
            let last = disk.loader(release).predict(3).pop().unwrap();
            let ours = &disk.0.boot.entries[&last.file];
            assert!(ours.name.is_stand_in(), "{release:?}: {booted}: {ours:?}");
            let [ours, theirs] = [&ours.text, theirs].map(|text| image_of(release, text));
            assert_eq!(ours, theirs, "{release:?}: {booted}");
        }
        assert_eq!(
            plan(&disk.0, &intent, &InPlace::default()).unwrap().steps,
            [],
            "{booted}"
        );
    }
}

/// Loaders before 258 start what the later line says.
#[test]
fn of_two_programs_the_one_that_has_booted_is_copied() {
    for text in [
        "title Debian\nefi /debian/shim.efi\nlinux /debian/vmlinuz\n",
        "title Debian\nlinux /debian/vmlinuz\nefi /debian/shim.efi\n",
    ] {
        let (mut disk, intent) = machine("two.conf");
        disk.wrote("two.conf", text);
        disk.0.boot.entries.get_mut("two.conf").unwrap().has_program = true;
        disk.run(&intent);
        let release = ReleaseRange::V252;
        let last = disk.loader(release).predict(3).pop().unwrap();
        let ours = &disk.0.boot.entries[&last.file];
        assert!(ours.name.is_stand_in(), "{ours:?}");
        let started = |text: &str| {
            let listed = Listed::read(release, Partition::Boot, "a.conf", text, |_| true).unwrap();
            (listed.program, listed.entry.linux, listed.entry.efi)
        };
        assert_eq!(started(&ours.text), started(text));
        assert_eq!(
            plan(&disk.0, &intent, &InPlace::default()).unwrap().steps,
            []
        );
    }
}

/// Each of these pairs differs in one thing that an entry does.
#[test]
fn a_stand_in_is_given_back_to_the_entry_it_was_copied_from() {
    for (other, theirs) in [
        ("linux /debian/old", "linux /debian/vmlinuz"),
        ("linux /debian/old", "linux /debian/old\ninitrd /i"),
        (
            "linux /debian/old\ninitrd /i",
            "linux /debian/old\ninitrd /j",
        ),
        ("linux /debian/old", "linux /debian/old\noptions quiet"),
        ("linux /debian/old", "linux /debian/old\ndevicetree /d"),
        (
            "efi /EFI/Linux/debian-6.0.efi",
            "efi /EFI/Linux/debian-6.1.efi",
        ),
        (
            "uki /EFI/Linux/debian-6.0.efi",
            "uki /EFI/Linux/debian-6.1.efi",
        ),
        (
            "uki /EFI/Linux/debian-6.1.efi",
            "uki /EFI/Linux/debian-6.1.efi\nprofile 1",
        ),
    ] {
        let (mut disk, intent) = machine("b.conf");
        for (name, text) in [("a.conf", other), ("b.conf", theirs)] {
            disk.wrote(name, &format!("{text}\n"));
            disk.0.boot.entries.get_mut(name).unwrap().has_program = true;
        }
        disk.run(&intent);
        // What runs is not known any more.
        let intent = Intent {
            booted: None,
            ..intent
        };
        let plan = uninstall(&disk.0, &intent, &Payload::new()).unwrap();
        plan.steps.iter().for_each(|step| disk.step(step));
        let conf = disk.0.boot.loader_conf.as_deref().unwrap();
        let named = LoaderConf::parse(conf).default;
        assert_eq!(named.as_deref(), Some("b.conf"), "{theirs}");
    }
}

#[test]
fn what_has_not_shown_that_it_boots_stands_in_for_nothing() {
    for booted in ["debian-new.conf", "debian-6.2.efi", "auto-windows", "", "x"] {
        let (mut disk, intent) = machine(booted);
        disk.run(&intent);
        assert_eq!(stand_ins(&disk), 0, "{booted:?}");
    }
    let (mut disk, intent) = machine("debian.conf");
    disk.run(&intent);
    let (ours, _) = disk.0.boot.entries.iter().next_back().unwrap();
    let (mut disk, _) = machine("");
    disk.run(&Intent {
        booted: Some(ours.clone()),
        ..select(2)
    });
    assert_eq!(stand_ins(&disk), 0, "{ours}");

    let (mut disk, intent) = machine("counted+1-2.efi");
    let image = (Partition::Boot, "counted+1-2.efi".to_owned());
    disk.0.boot.images.insert(image, Uki::default());
    disk.run(&intent);
    assert_eq!(stand_ins(&disk), 0);

    // Still counted, or without what it starts.
    for counted in [true, false] {
        let (mut disk, intent) = machine("counted+2-1.conf");
        let (name, program) = if counted {
            ("counted+1-2.conf", "/debian/old")
        } else {
            ("counted.conf", "/gone")
        };
        disk.wrote(name, &format!("linux {program}\n"));
        assert_eq!(disk.0.boot.entries[name].has_program, counted);
        disk.run(&intent);
        assert_eq!(stand_ins(&disk), 0, "{name}");
    }
}

#[test]
fn a_stand_in_stays_until_its_program_is_gone() {
    let (mut disk, intent) = machine("debian.conf");
    disk.run(&intent);
    let newer = Intent {
        booted: Some("debian-old.conf".to_owned()),
        ..intent
    };
    assert_eq!(disk.run(&newer).steps, []);
    for file in disk.0.boot.entries.values_mut() {
        let linux = file.entry.linux.as_deref();
        file.has_program &= linux != Some("\\debian\\vmlinuz");
    }
    disk.run(&newer);
    assert_eq!(stand_ins(&disk), 1);
    assert_eq!(programs(&disk, 3)[3], "/debian/old");
}

#[test]
fn nothing_proven_is_handed_back_to_whom_it_was_taken_from() {
    for (booted, id) in [("debian.conf", "debian.conf"), (IMAGE, IMAGE)] {
        let (mut disk, intent) = machine(booted);
        disk.run(&intent);
        for booted in [Some(booted.to_owned()), None] {
            let intent = Intent {
                booted,
                ..intent.clone()
            };
            let plan = uninstall(&disk.0, &intent, &Payload::new()).unwrap();
            let mut after = disk.clone();
            plan.steps.iter().for_each(|step: &Step| after.step(step));
            assert_eq!(after.files(), ["debian-old.conf", "debian.conf"]);
            let conf = after.0.boot.loader_conf.as_deref().unwrap();
            assert_eq!(LoaderConf::parse(conf).default.as_deref(), Some(id));
        }
    }
}
