//! Every case of a small domain, every crash point.

use super::*;
use crate::efi::LoaderVariables;
use crate::generation::{Generation, GenerationId};
use crate::loader::Band;
use crate::name::stem_of;
use crate::observe::Boot;
use crate::payload::Kind;
use std::time::SystemTime;

/// `$BOOT` in memory: what the steps change.
#[derive(Clone)]
struct Disk(Observation);

impl Disk {
    /// `count` generations; each has its own kernel, and all share one initrd.
    fn with(count: u64) -> Self {
        let generations = (1..=count).map(|number| {
            let generation = Generation {
                id: GenerationId::system(number),
                toplevel: format!("/nix/store/{number}-system").into(),
                made: SystemTime::UNIX_EPOCH,
            };
            let payload = |text: &str, kind| Payload {
                source: format!("/nix/store/{text}").into(),
                content: Content::of(&mut text.as_bytes()).unwrap(),
                kind,
            };
            Found {
                stem: stem_of(&generation.subject()),
                bootable: Ok(Bootable {
                    label: "Test".to_owned(),
                    options: format!("init=/nix/store/{number}-system/init"),
                    kernel: payload(&format!("kernel-{number}"), Kind::Kernel),
                    initrd: Some(payload("initrd", Kind::Initrd)),
                    devicetree: None,
                    extra_initrds: Vec::new(),
                }),
                generation,
            }
        });
        Self(Observation {
            generations: generations.collect(),
            ..Observation::default()
        })
    }

    fn step(&mut self, step: &Step) {
        let path = match step {
            Step::Copy { path, .. } | Step::Text { path, .. } | Step::Remove { path } => path,
        };
        let file = path.rsplit('/').next().unwrap().to_owned();
        match step {
            Step::Copy { content, .. } => drop(self.0.payload.insert(file, *content)),
            Step::Remove { .. } => {
                self.0.boot.entries.remove(&file);
                self.0.payload.remove(&file);
                self.0.boot.leftovers.retain(|left| left != path);
            }
            Step::Text { text, path } if path == LOADER_CONF => {
                self.0.boot.loader_conf = Some(text.clone());
            }
            Step::Text { text, .. } => {
                let name = EntryName::parse(&file).unwrap();
                let entry = Entry::parse(text);
                let text = text.clone();
                self.0
                    .boot
                    .entries
                    .insert(file, EntryFile { name, entry, text });
            }
        }
    }

    fn run(&mut self, intent: &Intent) -> Plan {
        let plan = plan(&self.0, intent).unwrap();
        plan.steps.iter().for_each(|step| self.step(step));
        plan
    }

    /// The generations that boot now and after each of `failures` failed boots.
    fn boots(&self, band: Band, failures: usize) -> Vec<u64> {
        let listed = |file: &&EntryFile| {
            let kernel = file
                .entry
                .linux
                .as_deref()
                .unwrap()
                .rsplit('/')
                .next()
                .unwrap();
            self.0.payload.contains_key(kernel)
        };
        let present = self.0.boot.entries.values().filter(listed);
        let boot = Boot {
            entries: present
                .map(|file| (file.name.to_string(), file.clone()))
                .collect(),
            ..self.0.boot.clone()
        };
        let loader = crate::loader::Loader {
            band,
            entries: boot
                .entries
                .into_values()
                .map(|file| crate::loader::Listed {
                    name: file.name,
                    entry: file.entry,
                })
                .collect(),
            conf: crate::loader_conf::LoaderConf::parse(
                boot.loader_conf.as_deref().unwrap_or_default(),
            ),
            variables: LoaderVariables::default(),
        };
        let boots = loader.predict(failures);
        boots
            .iter()
            .map(|boot| boot.name.generation_number().unwrap())
            .collect()
    }

    fn files(&self) -> Vec<&str> {
        self.0.boot.entries.keys().map(String::as_str).collect()
    }

    /// The loader started the entry of `number`: the counter falls.
    fn count_a_boot(&mut self, number: u64) {
        let name = self
            .0
            .boot
            .entries
            .values()
            .find(|f| f.name.generation_number() == Some(number))
            .unwrap()
            .name
            .to_string();
        let mut file = self.0.boot.entries.remove(&name).unwrap();
        file.name.tries = file.name.tries.map(Tries::after_a_boot);
        self.0.boot.entries.insert(file.name.to_string(), file);
    }
}

const BANDS: [Band; 3] = [Band::To257, Band::To259, Band::From260];

fn id(number: u64) -> Subject {
    Subject {
        generation: GenerationId::system(number),
        toplevel: format!("/nix/store/{number}-system").into(),
    }
}

fn select(number: u64) -> Intent {
    Intent {
        selected: Some(id(number)),
        ..Intent::default()
    }
}

fn proven(mut intent: Intent, number: u64) -> Intent {
    intent.standings.insert(id(number), Standing::Proven);
    intent.last_good = Some(id(number));
    intent
}

#[test]
fn three_generations_of_which_nothing_is_known() {
    let mut disk = Disk::with(3);
    disk.run(&select(2));
    for band in BANDS {
        assert_eq!(
            disk.boots(band, 9),
            [2, 2, 2, 3, 3, 3, 1, 1, 1, 2],
            "{band:?}"
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
fn payload_before_entry_before_default_and_removals_last() {
    let mut disk = Disk::with(2);
    disk.0
        .boot
        .leftovers
        .push("loader/entries/.lastgood-x.part".to_owned());
    let stage = |step: &Step| match step {
        Step::Copy { .. } => 0,
        Step::Text { path, .. } if path != LOADER_CONF => 1,
        Step::Text { .. } => 2,
        Step::Remove { .. } => 3,
    };
    let steps = disk.run(&select(2)).steps;
    assert!(steps.is_sorted_by_key(stage), "{steps:?}");
    assert_eq!(
        steps.iter().map(stage).collect::<Vec<_>>(),
        [0, 0, 0, 1, 1, 2, 3]
    );
}

#[test]
fn the_life_of_a_trial() {
    let mut disk = Disk::with(3);
    disk.run(&proven(select(2), 2));
    disk.run(&proven(select(3), 2));
    for band in BANDS {
        assert_eq!(disk.boots(band, 4), [3, 3, 3, 2, 2]);
    }
    disk.count_a_boot(3);
    assert_eq!(
        disk.run(&proven(select(3), 2)).steps,
        [],
        "a second run must not give tries back"
    );
    let blessed = proven(select(3), 3);
    disk.run(&blessed);
    for band in BANDS {
        assert_eq!(disk.boots(band, 2), [3, 3, 3]);
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
    for band in BANDS {
        assert_eq!(disk.boots(band, 3), [2, 2, 2, 2]);
    }
    assert!(
        disk.files().iter().any(|name| name.ends_with("+0-1.conf")),
        "{:?}",
        disk.files()
    );
    // The operator insists.
    intent = proven(select(3), 2);
    intent.rearm = true;
    disk.run(&intent);
    assert_eq!(disk.boots(Band::To257, 3), [3, 3, 3, 2]);
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
                !matches!(step, Step::Text { path: p, .. } | Step::Remove { path: p } if *p == path)
            );
        }
        assert_eq!(disk.0.boot.entries[&name].text, text);
        assert_eq!(disk.boots(Band::To257, 0), [selected]);
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
fn one_broken_generation_is_reported_and_its_entry_stays() {
    let mut disk = Disk::with(3);
    disk.run(&proven(select(2), 2));
    disk.0.generations[1].bootable = Err("boot.json: no".to_owned());
    let before = disk.0.payload.clone();
    let plan = disk.run(&proven(select(3), 2));
    assert_eq!(plan.skipped, [(id(2), "boot.json: no".to_owned())]);
    assert_eq!(disk.0.payload, before);
    assert_eq!(
        disk.boots(Band::To257, 3),
        [3, 3, 3, 2],
        "the unreadable last good is still reached"
    );
}

#[test]
fn what_cannot_be_granted_is_refused() {
    let mut disk = Disk::with(1);
    assert_eq!(
        plan(&disk.0, &select(9)),
        Err(Refusal::NoSuchGeneration(id(9)))
    );
    disk.0.generations.push(Found {
        bootable: Err("no kernel".to_owned()),
        ..Disk::with(2).0.generations.remove(1)
    });
    assert!(matches!(
        plan(&disk.0, &select(2)),
        Err(Refusal::Unbootable(..))
    ));
    disk.0.generations.clear();
    assert_eq!(
        plan(&disk.0, &Intent::default()),
        Err(Refusal::NoGenerations)
    );
}

#[test]
fn a_generation_gone_from_the_profile_loses_entry_then_payload_and_foreign_files_stay() {
    let mut disk = Disk::with(2);
    disk.run(&select(2));
    let foreign = EntryFile {
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
    assert_eq!(steps[1], Step::Remove { path: kernel });
    assert!(disk.0.boot.entries.contains_key("debian.conf"));
}

/// Every way three generations can stand, every former and every new selection: after every prefix of the plan,
/// every sequence of failed boots reaches a proven generation, and the run that follows finishes the work.
#[test]
fn every_crash_point_reaches_a_proven_generation() {
    use Standing::{Proven, Rejected, Untested};
    let standings = [Untested, Proven, Rejected];
    let mut states = 0;
    for code in 0..27_usize {
        let of =
            |number: u64| standings[code / 3_usize.pow(u32::try_from(number - 1).unwrap()) % 3];
        for last_good in (1..=3).filter(|n| of(*n) == Proven) {
            for before in (1..=3).filter(|n| of(*n) != Rejected) {
                for after in 1..=3 {
                    let mut old = proven(select(before), last_good);
                    old.standings.extend((1..=3).map(|n| (id(n), of(n))));
                    let mut disk = Disk::with(3);
                    disk.run(&old);
                    // What may change at once: another selection, and a verdict on the one selected before.
                    for verdict in standings {
                        let mut new = Intent {
                            selected: Some(id(after)),
                            ..old.clone()
                        };
                        if before != last_good {
                            new.standings.insert(id(before), verdict);
                        }
                        let steps = plan(&disk.0, &new).unwrap().steps;
                        for cut in 0..=steps.len() {
                            let mut found = disk.clone();
                            steps[..cut].iter().for_each(|step| found.step(step));
                            states += 1;
                            for band in BANDS {
                                let boots = found.boots(band, 12);
                                let settled = *boots.last().unwrap();
                                let good =
                                    of(settled) == Proven || new.standings[&id(settled)] == Proven;
                                assert!(
                                    good,
                                    "{old:?} -> {new:?}, cut after {cut} of {steps:?}: {boots:?}"
                                );
                            }
                            found.run(&new);
                            assert_eq!(found.run(&new).steps, []);
                        }
                    }
                }
            }
        }
    }
    assert!(states > 1000, "{states}");
}

mod subjects;
