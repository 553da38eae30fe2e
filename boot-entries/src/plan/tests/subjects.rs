//! Generations that share a number: specialisations, and numbers that came back with another closure.

use super::*;
use crate::payload::Kind;
use crate::plan::InPlace;

/// [`Disk::with`], and one more: `text` (`3/x`, or `3` for a number that came back) with a closure of its own.
fn with(count: u64, text: &str) -> (Disk, Subject) {
    let mut disk = Disk::with(count);
    let mut other = Disk::with(9).0.generations.remove(8);
    other.generation.id = text.parse().unwrap();
    let subject = other.generation.subject();
    other.stem = stem_of(&subject);
    disk.0.generations.push(other);
    disk.0
        .generations
        .sort_by(|a, b| a.generation.id.cmp(&b.generation.id));
    (disk, subject)
}

/// What boots, by the kernel that only the one closure has.
fn closures(disk: &Disk, failures: usize) -> Vec<String> {
    let mut all = Vec::new();
    for (at, _) in disk.boots(ReleaseRange::V252, failures).iter().enumerate() {
        let mut later = disk.clone();
        for _ in 0..at {
            later.count_first();
        }
        all.push(later.first().1);
    }
    all
}

impl Disk {
    /// The file and the closure of the entry that is started now.
    fn first(&self) -> (String, String) {
        let file = self.loader(ReleaseRange::V252).predict(0).remove(0).file;
        let options = &self.0.boot.entries[&file].entry.options;
        let number = options.trim_start_matches("init=/nix/store/");
        (file.clone(), number.split('-').next().unwrap().to_owned())
    }

    fn count_first(&mut self) {
        let mut file = self.0.boot.entries.remove(&self.first().0).unwrap();
        file.name.tries = file.name.tries.map(Tries::after_a_boot);
        self.0.boot.entries.insert(file.name.to_string(), file);
    }
}

#[test]
fn a_specialisation_has_an_entry_and_is_nobodys_choice_but_the_operators() {
    let (mut disk, special) = with(3, "3/x");
    disk.run(&select(3));
    assert_eq!(disk.files().len(), 4);
    let order = ["3", "3", "3", "2", "2", "2", "1", "1", "1", "9"];
    assert_eq!(closures(&disk, 9), order);

    // Asked for, it is a trial above the last good one, and its generation is not.
    let mut intent = proven(select(2), 2);
    disk.run(&intent);
    intent.selected = Some(special.clone());
    disk.run(&intent);
    assert_eq!(closures(&disk, 4), ["9", "9", "9", "2", "2"]);
    assert_eq!(disk.run(&intent).steps, []);
    // Rejected, it does no harm to the generation.
    intent.standings.insert(special.clone(), Standing::Rejected);
    intent.selected = Some(id(3));
    disk.run(&intent);
    assert_eq!(closures(&disk, 4), ["3", "3", "3", "2", "2"]);
    // Proven, it is what a fallback goes to.
    intent.standings.insert(special.clone(), Standing::Proven);
    intent.last_good = Some(special);
    disk.run(&intent);
    assert_eq!(closures(&disk, 4), ["3", "3", "3", "9", "9"]);
}

#[test]
fn a_broken_specialisation_is_reported_and_does_no_harm() {
    let (mut disk, special) = with(3, "3/x");
    let at = disk.0.generations.len() - 1;
    disk.0.generations[at].bootable = Err("no kernel".to_owned());
    let plan = disk.run(&select(3));
    assert_eq!(plan.skipped, [(special.clone(), "no kernel".to_owned())]);
    assert_eq!(closures(&disk, 1), ["3", "3"]);
    let intent = Intent {
        selected: Some(special),
        ..Intent::default()
    };
    let refused = super::super::plan(&disk.0, &intent, &InPlace::default())
        .unwrap_err()
        .to_string();
    assert_eq!(refused, "generation 3/x cannot be booted: no kernel");
}

/// The number of the last good generation came back with another closure, which is tried and turns out bad.
#[test]
fn a_number_that_came_back_takes_nothing_from_the_one_that_had_it() {
    let mut disk = Disk::with(3);
    disk.run(&proven(select(3), 3));
    let old = disk.files()[2].to_owned();
    let text = disk.0.boot.entries[&old].text.clone();
    let (now, new) = with(3, "3");
    disk.0.generations = now.0.generations;
    let mut intent = proven(select(3), 3);
    intent.selected = Some(new.clone());
    disk.run(&intent);
    assert_eq!(closures(&disk, 4), ["9", "9", "9", "3", "3"]);
    assert_eq!(disk.0.boot.entries[&old].text, text);
    intent.standings.insert(new, Standing::Rejected);
    intent.selected = Some(id(3));
    disk.run(&intent);
    assert_eq!(closures(&disk, 2), ["3", "3", "3"]);
    assert_eq!(disk.0.boot.entries[&old].text, text);
    assert_eq!(disk.run(&intent).steps, []);
}

#[test]
fn a_devicetree_is_payload_and_extra_initrds_are_somebody_elses() {
    let mut disk = Disk::with(1);
    let devicetree = Payload {
        source: "/nix/store/d".into(),
        content: Content::of(&mut &b"devicetree"[..]).unwrap(),
        kind: Kind::Devicetree,
    };
    let bootable = disk.0.generations[0].bootable.as_mut().unwrap();
    bootable.devicetree = Some(devicetree.clone());
    bootable.extra_initrds = vec!["/EFI/extra.img".to_owned()];
    disk.run(&proven(select(1), 1));
    let file = disk.0.boot.entries.values().next().unwrap();
    let entry = file.entry.clone();
    assert_eq!(entry.devicetree, Some(format!("/{}", devicetree.path())));
    assert_eq!(entry.initrds[1..], ["/EFI/extra.img"]);
    assert_eq!(disk.run(&proven(select(1), 1)).steps, [], "it is kept");
    let name = devicetree.path().rsplit('/').next().unwrap().to_owned();
    disk.0.payload.remove(&name);
    let steps = disk.run(&proven(select(1), 1)).steps;
    assert!(matches!(&steps[..], [Step::Copy { .. }]), "{steps:?}");
    // Another devicetree is another boot: also the last good entry is mended.
    let bootable = disk.0.generations[0].bootable.as_mut().unwrap();
    bootable.devicetree = None;
    let steps = disk.run(&proven(select(1), 1)).steps;
    assert!(matches!(&steps[..], [Step::Text { .. }]), "{steps:?}");
    let steps = disk.run(&proven(select(1), 1)).steps;
    assert!(matches!(&steps[..], [Step::Remove { .. }]), "{steps:?}");
}
