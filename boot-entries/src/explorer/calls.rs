//! What becomes of steps: what they lead to, and the calls that the writer really makes for them.

use std::path::{Path, PathBuf};

use super::look::WEIGHT;
use super::place::Held;
use crate::apply::apply;
use crate::boot_partition::Place;
use crate::durable::call::{Call, noted};
use crate::progress::Progress;
use crate::step::Step;
use systemd_boot_model::Partition;

/// Where the ESP is, to steps that copy from it.
pub(super) const ESP: &str = "/efi";

/// What a source holds: a file of the store its own name (see [`crate::plan::tests::Disk::with`]), one of the ESP what
/// is there.
fn source(held: &Held, source: &Path) -> Vec<u8> {
    match source.strip_prefix(ESP) {
        Ok(path) => held.on(Partition::Esp)[path].to_vec(),
        Err(_) => source.file_name().unwrap().as_encoded_bytes().to_vec(),
    }
}

/// What a step leads to when nothing goes wrong.
pub(super) fn make(held: &mut Held, step: &Step) {
    let path = PathBuf::from(step.path());
    match step {
        Step::Copy { source: from, .. } => {
            let bytes = source(held, from);
            held.on_mut(step.on()).insert(path, bytes.into());
        }
        Step::Text { text, .. } => {
            let text = text.as_bytes().into();
            held.on_mut(step.on()).insert(path, text);
        }
        Step::Remove { .. } => drop(held.on_mut(step.on()).remove(&path)),
    }
}

/// The same for all of a plan's.
pub(super) fn make_all(held: &mut Held, steps: &[Step]) {
    for step in steps {
        make(held, step);
    }
}

/// The calls that the writer makes for `steps`, step by step, with paths relative to the partition.
pub(super) fn calls(held: &Held, steps: &[Step]) -> Vec<Vec<(Partition, Call)>> {
    // In memory where there is a place for it: flushing is modelled, and doing it for real so often takes minutes.
    let memory = Path::new("/dev/shm");
    let tree = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    let tree = tree.unwrap();
    let [boot, esp, store] = ["boot", "efi", "store"].map(|name| tree.path().join(name));
    let esp = if held.esp.is_some() {
        esp
    } else {
        boot.clone()
    };
    let place = Place {
        esp,
        boot,
        ..Place::default()
    };
    let write = |path: &Path, bytes: &[u8]| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), bytes).unwrap();
    };
    for directory in [&place.boot, &place.esp, &store] {
        std::fs::create_dir_all(directory).unwrap();
    }
    for (on, path, bytes) in held.all() {
        write(&place.directory(on).join(path), bytes);
    }
    let mut real = steps.to_vec();
    for step in &mut real {
        if let Step::Copy {
            source: from,
            content,
            ..
        } = step
        {
            content.size /= WEIGHT;
            *from = if let Ok(path) = from.strip_prefix(ESP) {
                place.esp.join(path)
            } else {
                let bytes = source(held, from);
                let from = store.join(from.file_name().unwrap());
                write(&from, &bytes);
                from
            };
        }
    }
    // What is noted when a step begins was done for the one before it.
    let mut all: Vec<(Partition, Vec<Call>)> = Vec::new();
    let done = |all: &mut Vec<(Partition, Vec<Call>)>| {
        if let Some((_, calls)) = all.last_mut() {
            calls.extend(noted());
        }
    };
    noted();
    apply(&place, &real, &crate::sums::Known::default(), |progress| {
        if let Progress::Step(step) = progress {
            done(&mut all);
            all.push((step.on(), Vec::new()));
        }
    })
    .unwrap();
    done(&mut all);
    let below = |(on, calls): (Partition, Vec<Call>)| {
        let calls = calls.into_iter();
        calls
            .map(|call| (on, call.below(place.directory(on))))
            .collect()
    };
    all.into_iter().map(below).collect()
}
