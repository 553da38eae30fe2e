//! Two systems with lastgood on one `$BOOT`: 1 to 3 are the first one's generations, 4 to 6 the other one's.

use super::*;
use crate::owner::Owner;
use crate::owner::Ownership;
use crate::payload;
use crate::plan::InPlace;

const FIRST: &str = "11111111";
const OTHER: &str = "22222222";

/// `$BOOT`, and what each system has in its profile.
struct Shared {
    disk: Disk,
    all: Vec<Found>,
}

impl Shared {
    fn new() -> Self {
        let mut disk = Disk::with(6);
        let all = std::mem::take(&mut disk.0.generations);
        Self { disk, all }
    }

    /// The disk as the system that has `number` sees it, and its request.
    fn seen_by(&mut self, number: u64, intent: &Intent) -> Intent {
        let is_first = number <= 3;
        let its = |found: &&Found| (found.generation.id.number() <= 3) == is_first;
        self.disk.0.generations = self.all.iter().filter(its).cloned().collect();
        let owner = if is_first { FIRST } else { OTHER };
        Intent {
            ownership: Ownership {
                owner: owner.parse().ok(),
                marks_all: true,
            },
            ..intent.clone()
        }
    }

    fn install(&mut self, intent: &Intent) -> Vec<Step> {
        let number = intent.selected.as_ref().unwrap().generation.number();
        let asked = Intent {
            above_other_systems: true,
            ..self.seen_by(number, intent)
        };
        let steps = self.disk.run(&asked).steps;
        assert_eq!(self.disk.run(&asked).steps, []);
        steps
    }

    fn mend(&mut self, intent: &Intent) -> Vec<Step> {
        let number = intent.selected.as_ref().unwrap().generation.number();
        let intent = self.seen_by(number, intent);
        self.disk.run(&intent).steps
    }

    fn boots(&self, failures: usize) -> Vec<u64> {
        let all = RELEASES.map(|release| self.disk.boots(release, failures));
        assert!(all[0] == all[1] && all[1] == all[2], "{all:?}");
        all[0].clone()
    }

    /// The entries of the system that has `number`, and the payload they need.
    fn of_system(&self, number: u64) -> BTreeMap<String, String> {
        let files = self.disk.0.boot.entries.iter();
        let its = files.filter(|(_, file)| {
            let found = file.name.generation_number().unwrap();
            (found <= 3) == (number <= 3)
        });
        let its: BTreeMap<String, String> = its
            .map(|(name, file)| (name.clone(), file.text.clone()))
            .collect();
        for text in its.values() {
            for path in Entry::parse(text).needs() {
                let name = payload::name_of(path).unwrap();
                assert!(self.disk.0.payload.contains_key(name), "{path} is gone");
            }
        }
        its
    }
}

#[test]
fn each_system_leaves_the_others_entries_alone() {
    let mut shared = Shared::new();
    shared.install(&select(1));
    shared.install(&proven(select(2), 1));
    let first = shared.of_system(1);
    assert_eq!(first.len(), 3);

    // The other one comes, is proven, tries another, falls back, and collects its garbage.
    shared.install(&select(4));
    assert_eq!(shared.boots(3)[..3], [4; 3]);
    shared.install(&proven(select(4), 4));
    assert_eq!(shared.boots(12), [4; 13]);
    shared.install(&proven(select(5), 4));
    assert_eq!(shared.boots(12), [vec![5; 3], vec![4; 10]].concat());
    let mut rejected = proven(select(4), 4);
    rejected.standings.insert(id(5), Standing::Rejected);
    shared.mend(&rejected);
    assert_eq!(shared.boots(12), [4; 13]);
    shared
        .all
        .retain(|found| found.generation.subject() != id(5));
    shared.mend(&rejected);
    assert_eq!(shared.of_system(4).len(), 2);
    assert_eq!(shared.of_system(1), first);

    // Whoever is not asked changes nothing; and no verdict here is a verdict there.
    assert_eq!(shared.mend(&proven(select(2), 1)), []);
    let other = shared.of_system(4);

    // Asked again, the first one is above, with all it falls back to.
    shared.install(&proven(select(3), 1));
    assert_eq!(shared.boots(12), [vec![3; 3], vec![1; 10]].concat());
    assert_eq!(shared.of_system(4), other);
    assert_eq!(shared.mend(&rejected), []);
    shared.install(&proven(select(6), 4));
    assert_eq!(shared.boots(12), [vec![6; 3], vec![4; 10]].concat());

    // It goes, and takes nothing along.
    let first = shared.of_system(1);
    let leave = shared.seen_by(6, &proven(select(6), 4));
    for step in uninstall(&shared.disk.0, &leave, &BTreeMap::new())
        .unwrap()
        .steps
    {
        shared.disk.step(&step);
    }
    assert!(
        uninstall(&shared.disk.0, &leave, &BTreeMap::new())
            .unwrap()
            .steps
            .is_empty()
    );
    shared
        .disk
        .0
        .boot
        .entries
        .remove("nixos-generation-4.conf")
        .unwrap();
    assert_eq!(
        (shared.of_system(1), shared.of_system(4)),
        (first, BTreeMap::new())
    );
}

/// No instant of going above another system's entries ends in anything but what is proven.
#[test]
fn going_above_another_systems_entries_risks_nothing() {
    for tried in [4, 5] {
        let mut shared = Shared::new();
        shared.install(&select(1));
        shared.install(&proven(select(1), 1));
        // A trial of the other's, with nothing proven there; or one that is proven.
        shared.install(&select(4));
        if tried == 5 {
            shared.install(&proven(select(4), 4));
        }
        for selected in [1, 2] {
            let asked = Intent {
                above_other_systems: true,
                ..shared.seen_by(1, &proven(select(selected), 1))
            };
            let mut now = shared.disk.clone();
            for step in plan(&now.0, &asked, &InPlace::default()).unwrap().steps {
                // A file that is replaced may be lost.
                if let Step::Text { on, path, .. } = &step {
                    let (on, path) = (*on, path.clone());
                    let mut lost = now.clone();
                    lost.step(&Step::Remove { on, path });
                    let end = lost.boots(ReleaseRange::V260, 20).pop().unwrap();
                    assert!(
                        end == 1 || tried == 5 && end == 4,
                        "{selected}: {step} {end}"
                    );
                    let mut next = lost;
                    next.run(&asked);
                    assert_eq!(next.boots(ReleaseRange::V260, 20).pop(), Some(1), "{step}");
                    assert_eq!(next.run(&asked).steps, [], "{step}");
                }
                now.step(&step);
                let end = now.boots(ReleaseRange::V260, 20).pop().unwrap();
                assert!(
                    end == 1 || tried == 5 && end == 4,
                    "{selected}: {step} {end}"
                );
            }
            assert_eq!(now.boots(ReleaseRange::V260, 20).pop(), Some(1));
        }
    }
}

/// The record is lost: there is a new mark, and entries of generations that are gone count as another system's.
#[test]
fn a_lost_mark_is_replaced_on_entries_of_our_generations() {
    let mut shared = Shared::new();
    shared.install(&proven(select(3), 2));
    shared
        .all
        .retain(|found| found.generation.subject() != id(3));
    let mut anew = shared.seen_by(1, &proven(select(1), 2));
    anew.ownership.owner = "33333333".parse().ok();
    shared.disk.run(&anew);
    let marks: Vec<_> = shared
        .of_system(1)
        .values()
        .map(|text| Owner::of_text(text))
        .collect();
    let marks: Vec<String> = marks.into_iter().flatten().map(String::from).collect();
    // The last good one is not written again (B3).
    assert_eq!(marks, ["33333333", FIRST, FIRST]);
    assert_eq!(shared.disk.run(&anew).steps, []);
    // Unmarked ones are ours only if we have written such.
    for (marks_all, left) in [(true, 3), (false, 2)] {
        let mut disk = shared.disk.clone();
        let name = disk
            .files()
            .into_iter()
            .find(|name| name.starts_with("lastgood-3-"));
        let name = name.unwrap().to_owned();
        let text = disk.0.boot.entries[&name]
            .text
            .replace(&format!("# lastgood {FIRST}\n"), "");
        disk.wrote(&name, &text);
        anew.ownership.marks_all = marks_all;
        disk.run(&anew);
        assert_eq!(disk.files().len(), left);
    }
    // What a power cut has left of one is nobody's; what cannot be read may be anybody's.
    let name = shared
        .disk
        .files()
        .into_iter()
        .find(|name| name.starts_with("lastgood-3-"));
    let name = name.unwrap().to_owned();
    anew.ownership.marks_all = true;
    for (text, left) in [(crate::owner::UNREADABLE, 3), ("", 2)] {
        shared.disk.wrote(&name, text);
        shared.disk.run(&anew);
        assert_eq!(shared.disk.files().len(), left, "{text}");
    }
}

/// On a machine of nixpkgs', beside a system that has lastgood already.
#[test]
fn what_stands_in_is_above_another_systems_entries() {
    let mut shared = Shared::new();
    shared.install(&select(1));
    shared.install(&proven(select(1), 1));
    shared.disk.nixpkgs_wrote("nixos-generation-4.conf", 4);
    let booted = |intent| Intent {
        booted: Some("nixos-generation-4.conf".to_owned()),
        ..intent
    };
    let starts = |shared: &Shared| shared.disk.starts(ReleaseRange::V252, 6);
    shared.install(&booted(select(5)));
    assert_eq!(starts(&shared), [5, 5, 5, 4, 4, 4, 4]);
    // The first one is asked again, and leaves the other's alone; then the other is.
    shared.install(&proven(select(2), 1));
    assert_eq!(starts(&shared), [2, 2, 2, 1, 1, 1, 1]);
    shared.install(&booted(select(6)));
    assert_eq!(starts(&shared), [6, 6, 6, 4, 4, 4, 4]);
    let files = shared.disk.files();
    assert_eq!(
        files
            .iter()
            .filter(|name| name.starts_with("lastgood-before-"))
            .count(),
        1
    );
    shared.install(&proven(select(1), 1));
    let files = shared.disk.files();
    assert_eq!(
        files
            .iter()
            .filter(|name| name.starts_with("lastgood-before-"))
            .count(),
        1
    );
}

/// `verify` of the one has nothing against what the other has selected; but no plan may lead there.
#[test]
fn what_the_other_system_has_proven_is_an_end_for_verify_only() {
    let mut shared = Shared::new();
    shared.install(&proven(select(1), 1));
    let intent = shared.seen_by(1, &proven(select(1), 1));
    let named = |number: u64| systemd_boot_model::LoaderVariables {
        default: Some(format!("lastgood-{number}-*")),
        ..Default::default()
    };
    let returns = |shared: &Shared, release, variables: &_| {
        let plan = plan(&shared.disk.0, &intent, &InPlace::default()).unwrap();
        comes_back(&shared.disk.0, &plan, &intent, release, variables).is_ok()
    };
    shared.install(&proven(select(5), 4));
    shared.seen_by(1, &intent);
    for release in RELEASES {
        assert!(returns(&shared, release, &named(9)));
        assert!(returns(&shared, release, &named(4)));
    }
    // A trial of the other's that is started for ever is none.
    assert!(!returns(&shared, ReleaseRange::V258_1, &named(5)));
    // By a plan that brings the other's last good one above ours.
    shared.install(&intent);
    let mut entries = shared.disk.0.boot.entries.iter();
    let (name, file) = entries
        .find(|(name, _)| name.starts_with("lastgood-4-"))
        .unwrap();
    let request = Plan {
        steps: vec![Step::Text {
            text: file
                .text
                .replace("sort-key lastgood-", "sort-key lastgood-0"),
            on: Partition::Boot,
            path: format!("{ENTRIES}/{name}"),
        }],
        ..Plan::default()
    };
    let none = systemd_boot_model::LoaderVariables::default();
    let proved = prove(&shared.disk.0, &request, &intent, ReleaseRange::V252, &none);
    assert!(matches!(proved, Err(Refusal::Strands(_))));
    let returned = comes_back(&shared.disk.0, &request, &intent, ReleaseRange::V252, &none);
    assert_eq!(returned, Ok(()));
}
