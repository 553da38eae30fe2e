//! A power cut after every call of an update, with everything that FAT may have on the disk then.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{CLOSURE, closure_of, installed, keep, patched, tree, write};
use crate::durable::call::{Call, noted};
use crate::explorer::volume::{Files, Volume};
use crate::systemd_boot::{FALLBACK, SYSTEMD};

fn files(esp: &Path) -> Files {
    let mut all = Files::new();
    for path in [SYSTEMD, FALLBACK] {
        if let Ok(bytes) = fs::read(esp.join(path)) {
            all.insert(path.into(), bytes.into());
        }
    }
    all
}

/// The calls of a run, with paths relative to the ESP.
fn calls(esp: &Path) -> Vec<Call> {
    // The model knows a file's bytes as a whole.
    let mut all: Vec<Call> = Vec::new();
    for call in noted().into_iter().map(|call: Call| call.below(esp)) {
        match (all.last_mut(), call) {
            (Some(Call::Write(path, bytes)), Call::Write(same, more)) if *path == same => {
                bytes.extend(more);
            }
            (_, call) => all.push(call),
        }
    }
    all
}

#[test]
fn no_power_cut_during_an_update_leaves_a_machine_without_a_loader() {
    let (old, newer, new) = (patched("250"), patched("252"), patched("257.6"));
    let half = &old[..old.len() / 2];
    let (systemd, fallback) = (format!("boot/{SYSTEMD}"), format!("boot/{FALLBACK}"));
    let pairs: [[&[u8]; 2]; 5] = [
        [&old, &old],
        [&newer, &old],
        [&old, &newer],
        [half, &old],
        [&old, half],
    ];
    let mut states = 0;
    for [first, second] in pairs {
        let machine = tree(&[(&systemd, first), (&fallback, second), (CLOSURE, &new)]);
        let esp = machine.path().join("boot");
        let mut volume = Volume::new(&files(&esp));
        noted();
        keep(&machine);
        let mut seen = BTreeSet::new();
        for call in calls(&esp) {
            volume.call(&call);
            seen.extend(volume.after_a_cut());
        }
        assert!(volume.is_settled());
        states += seen.len();
        for found in seen {
            let after = tree(&[(CLOSURE, &new)]);
            let esp = after.path().join("boot");
            for (path, bytes) in &found {
                write(&esp.join(path), bytes);
            }
            let left = installed(&esp);
            assert!(left.image().is_some(), "{left:?}");
            // The next run finishes the work.
            keep(&after);
            let done = installed(&esp);
            let source = closure_of(&after).unwrap().unwrap();
            assert_eq!(done.systemd.image(), Some(&source.image));
            assert_eq!(done.fallback.image(), Some(&source.image));
            assert_eq!(done.leftovers, [""; 0]);
        }
    }
    assert!(states > 50, "{states}");
}
