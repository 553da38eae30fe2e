//! What is left, and in which order.

use super::*;
use crate::nixpkgs::{Payload as Theirs, hashed_name};
use crate::plan::tests::{Disk, RELEASES, id, proven, select, theirs};

const CONF: &str = "# mine\ntimeout 7\neditor no\ndefault lastgood-*\n";

fn content_of(text: &str) -> Content {
    Content::of(&mut text.as_bytes()).unwrap()
}

/// Their payload that is there, each file holding its own name without ending, as in the store.
fn payload(disk: &Disk) -> Theirs {
    let names = disk.0.boot.nixpkgs.iter().cloned();
    names
        .map(|(on, name)| {
            (
                (on, name.clone()),
                content_of(name.trim_end_matches(".efi")),
            )
        })
        .collect()
}

/// Every instant of it boots, by every loader, one of `good` in the end.
fn run(disk: &mut Disk, intent: &Intent, good: &[u64]) -> Vec<String> {
    let plan = uninstall(&disk.0, intent, &payload(disk)).unwrap();
    for step in &plan.steps {
        disk.step(step);
        for release in RELEASES {
            let last = disk.starts(release, 12).pop();
            assert!(last.is_some_and(|n| good.contains(&n)), "{step}: {last:?}");
        }
    }
    let again = uninstall(&disk.0, intent, &payload(disk)).unwrap();
    assert_eq!(again.steps, []);
    plan.steps.iter().map(ToString::to_string).collect()
}

fn conf(disk: &Disk) -> &str {
    disk.0.boot.loader_conf.as_deref().unwrap()
}

/// A machine that was never nixpkgs': generation 2 is proven, 3 is a trial.
fn ours() -> (Disk, Intent) {
    let mut disk = Disk::with(3);
    disk.run(&proven(select(2), 2));
    let intent = proven(select(3), 2);
    disk.run(&intent);
    disk.0.boot.loader_conf = Some(CONF.to_owned());
    (disk, intent)
}

#[test]
fn the_last_good_one_is_handed_back_as_nixpkgs_writes_it() {
    let (mut disk, intent) = ours();
    disk.wrote("debian.conf", "title Debian\nlinux /vmlinuz\n");
    let done = run(&mut disk, &intent, &[2]);
    assert_eq!(done[2], "write loader/entries/nixos-generation-2.conf");
    assert!(
        done[0].starts_with("copy EFI/nixos/kernel-2.efi")
            && done[1].starts_with("copy EFI/nixos/initrd.efi")
            && done[3] == "write loader/loader.conf"
            && done[4..].iter().all(|step| step.starts_with("remove ")),
        "{done:?}"
    );
    assert_eq!(disk.files(), ["debian.conf", "nixos-generation-2.conf"]);
    assert!(disk.0.payload.is_empty());
    assert_eq!(
        conf(&disk),
        "# mine\ntimeout 7\neditor no\ndefault nixos-generation-2.conf\n"
    );
    let text = &disk.0.boot.entries["nixos-generation-2.conf"].text;
    assert_eq!(
        text,
        "title NixOS\nsort-key nixos\nversion Generation 2 Test\nlinux /EFI/nixos/kernel-2.efi\n\
         initrd /EFI/nixos/initrd.efi\noptions init=/nix/store/2-system/init\n"
    );
    // And back.
    disk.run(&intent);
    for release in RELEASES {
        assert_eq!(disk.starts(release, 4), [3, 3, 3, 2, 2]);
    }
    assert!(!disk.0.boot.entries.contains_key("nixos-generation-2.conf"));
}

#[test]
fn a_selected_one_that_is_proven_comes_along() {
    let (mut disk, mut intent) = ours();
    intent = proven(intent, 3);
    intent.selected = Some(id(2));
    disk.run(&intent);
    run(&mut disk, &intent, &[2, 3]);
    let both = ["nixos-generation-2.conf", "nixos-generation-3.conf"];
    assert_eq!(disk.files(), both);
    assert!(conf(&disk).ends_with("default nixos-generation-3.conf\n"));
}

#[test]
fn an_entry_of_somebody_elses_will_do() {
    let (mut disk, intent) = ours();
    disk.nixpkgs_wrote("nixos-generation-2.conf", 2);
    disk.nixpkgs_wrote("nixos-generation-3.conf", 3);
    let done = run(&mut disk, &intent, &[2]);
    assert_eq!(done[0], "write loader/loader.conf", "{done:?}");
    assert!(conf(&disk).ends_with("default nixos-generation-2.conf\n"));

    // Their builder has just run, and its loader.conf is as good.
    let (mut disk, intent) = ours();
    let hashed = hashed_name(&theirs(2));
    disk.nixpkgs_wrote(&hashed, 2);
    let theirs = format!("timeout 5\npreferred {hashed}\ndefault nixos-*\n");
    disk.0.boot.loader_conf = Some(theirs.clone());
    let done = run(&mut disk, &intent, &[2]);
    assert!(done.iter().all(|step| step.starts_with("remove ")));
    assert_eq!(conf(&disk), theirs);
}

/// But what another system of ours adds is as much its own, and it is still there.
#[test]
fn what_we_added_goes_even_where_their_file_will_do() {
    let added = "editor no\n# added by lastgood: editor no\n";
    let (mut disk, mut intent) = ours();
    let hashed = hashed_name(&theirs(2));
    disk.nixpkgs_wrote(&hashed, 2);
    let theirs = format!("timeout 5\npreferred {hashed}\ndefault nixos-*\n");
    disk.0.boot.loader_conf = Some(format!("{added}{theirs}"));
    let mut shared = disk.clone();
    let done = run(&mut disk, &intent, &[2]);
    assert_eq!(done[0], "write loader/loader.conf", "{done:?}");
    assert_eq!(conf(&disk), theirs);
    // Nothing else of ours is left.
    disk.0.boot.loader_conf = Some(format!("{theirs}{added}"));
    assert_eq!(run(&mut disk, &intent, &[2]), ["write loader/loader.conf"]);
    assert_eq!(conf(&disk), theirs);

    intent.ownership.owner = "11111111".parse().ok();
    let other = "title Other\nlinux /EFI/lastgood/x\n# lastgood 22222222\n";
    shared.wrote("lastgood-9-01234567.conf", other);
    let before = conf(&shared).to_owned();
    run(&mut shared, &intent, &[2]);
    assert_eq!(conf(&shared), before);
}

type Damage = fn(&mut Disk, &mut Theirs);

/// What looks like something to uninstall to, and is not.
#[test]
fn an_entry_that_is_not_whole_or_not_good_will_not_do() {
    let damages: [(&str, Damage); 4] = [
        ("a counter", |disk, _| {
            let mut boot = std::mem::take(&mut disk.0.boot.entries);
            let file = boot.remove("nixos-generation-2.conf").unwrap();
            disk.0.boot.entries = boot;
            disk.wrote("nixos-generation-2+2-1.conf", &file.text);
        }),
        ("a damaged kernel", |_, payload| {
            let kernel = (Partition::Boot, "kernel-2.efi".to_owned());
            payload.insert(kernel, content_of("kernel"));
        }),
        ("a short initrd", |_, payload| {
            let initrd = (Partition::Boot, "initrd.efi".to_owned());
            payload.insert(initrd, content_of("init"));
        }),
        ("no initrd", |_, payload| {
            payload.remove(&(Partition::Boot, "initrd.efi".to_owned()));
        }),
    ];
    for (what, damage) in damages {
        let (mut disk, intent) = ours();
        disk.nixpkgs_wrote("nixos-generation-2.conf", 2);
        let mut there = payload(&disk);
        damage(&mut disk, &mut there);
        let steps = uninstall(&disk.0, &intent, &there).unwrap().steps;
        let writes_entry = |step: &&Step| step.to_string().contains("write loader/entries/nixos-");
        assert_eq!(steps.iter().filter(writes_entry).count(), 1, "{what}");
        // Nothing that an entry of theirs needs is replaced.
        let replaces = |step: &Step| match step {
            Step::Copy { path, .. } => {
                let name = nixpkgs::payload_of(path).unwrap().to_owned();
                there.contains_key(&(Partition::Boot, name))
            }
            _ => false,
        };
        assert!(!steps.iter().any(replaces), "{what}: {steps:?}");
    }
    // Secrets are appended: longer is right.
    let (mut disk, intent) = ours();
    disk.nixpkgs_wrote("nixos-generation-2.conf", 2);
    let mut there = payload(&disk);
    let initrd = (Partition::Boot, "initrd.efi".to_owned());
    there.insert(initrd, content_of("initrd and a secret"));
    let steps = uninstall(&disk.0, &intent, &there).unwrap().steps;
    assert!(!steps.iter().any(|step| matches!(step, Step::Copy { .. })));
}

#[test]
fn another_machines_entry_of_that_name_is_not_overwritten() {
    let (mut disk, intent) = ours();
    disk.wrote("nixos-generation-2.conf", &theirs(9));
    run(&mut disk, &intent, &[2]);
    assert_eq!(disk.files().len(), 2, "{:?}", disk.files());
    assert_eq!(
        disk.0.boot.entries["nixos-generation-2.conf"].text,
        theirs(9)
    );
}

#[test]
fn with_nothing_proven_it_is_what_runs_then_what_ran_before() {
    let story = |running: Option<u64>| {
        let mut disk = Disk::with(3);
        disk.nixpkgs_wrote("nixos-generation-1.conf", 1);
        disk.run(&select(3));
        let intent = Intent {
            running: running.map(id),
            ..select(3)
        };
        let done = run(&mut disk, &intent, &[1, 3]);
        (done, conf(&disk).to_owned())
    };
    let (done, conf) = story(Some(3));
    assert!(done[0].starts_with("copy EFI/nixos/kernel-3.efi"));
    assert!(conf.ends_with("default nixos-generation-3.conf\n"));
    let (done, conf) = story(None);
    assert_eq!(done[0], "write loader/loader.conf");
    assert!(conf.ends_with("default nixos-generation-1.conf\n"));
}

#[test]
fn nothing_to_hand_back_and_nothing_to_do() {
    let mut disk = Disk::with(2);
    let refused = |disk: &Disk, intent: &Intent| uninstall(&disk.0, intent, &payload(disk));
    assert_eq!(refused(&disk, &select(2)), Ok(Plan::default()));
    disk.run(&select(2));
    assert_eq!(refused(&disk, &select(2)), Err(Refusal::NothingToHandBack));
    disk.0.generations[1].bootable = Err("no kernel".to_owned());
    assert_eq!(
        refused(&disk, &proven(select(2), 2)),
        Err(Refusal::Unbootable(id(2), "no kernel".to_owned()))
    );
}

#[test]
fn room_is_made_of_what_is_not_handed_back() {
    let (disk, intent) = ours();
    let mut orders = Vec::new();
    for clusters in 1..99 {
        let mut disk = disk.of_size(clusters);
        if let Err(why) = uninstall(&disk.0, &intent, &payload(&disk)) {
            let why = why.to_string();
            assert!(
                why.contains("nothing would stay but 2 (handed back)"),
                "{why}"
            );
            orders.push("refused");
            continue;
        }
        let done = run(&mut disk, &intent, &[2]);
        let is_early = done[0].starts_with("remove loader/entries/lastgood-");
        orders.push(if is_early { "early" } else { "late" });
    }
    orders.dedup();
    assert_eq!(orders, ["refused", "early", "late"]);
}

#[test]
fn what_is_handed_back_goes_last_even_where_there_is_no_room() {
    let (disk, intent) = ours();
    let starts = |disk: &Disk| {
        let mut disk = disk.of_size(40);
        disk.0.space.as_mut().unwrap().free = 12;
        let steps = uninstall(&disk.0, &intent, &payload(&disk))?.steps;
        Ok::<_, Refusal>(steps.first().unwrap().to_string())
    };
    assert!(starts(&disk).unwrap().starts_with("remove "));
    // Others would boot meanwhile, but not what is handed back: its kernel is damaged.
    let mut damaged = disk.clone();
    let handed = |file: &&EntryFile| file.name.generation_number() == Some(2);
    let entry = disk.0.boot.entries.values().find(handed).unwrap();
    let kernel = entry.entry.linux.as_deref().unwrap();
    let name = kernel.rsplit('/').next().unwrap().to_owned();
    damaged.0.payload.insert(name, content_of("damaged"));
    assert!(matches!(starts(&damaged), Err(Refusal::NoSpace(_))));
    // None of ours would: nothing is lost by removing them.
    for content in damaged.0.payload.values_mut() {
        *content = content_of("damaged");
    }
    assert!(starts(&damaged).unwrap().starts_with("remove "));
}

#[test]
fn what_interrupted_runs_left_makes_room_first() {
    let (mut disk, intent) = ours();
    let leftovers = (0..99).map(|number| format!("EFI/lastgood/.{number}.lastgood-part"));
    disk.0.boot.leftovers = leftovers.map(|path| (Partition::Boot, path)).collect();
    let mut disk = disk.of_size(0);
    for damaged in [false, true] {
        if damaged {
            disk.0.payload.clear();
        }
        let plan = uninstall(&disk.0, &intent, &payload(&disk)).unwrap();
        let first: Vec<&str> = plan.steps.iter().take(100).map(Step::path).collect();
        assert!(first.iter().take(99).all(|path| path.ends_with("-part")));
        assert!(
            !first.iter().any(|path| path.starts_with(ENTRIES)),
            "{first:?}"
        );
    }
}
