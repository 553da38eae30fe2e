//! What a place with these files is, to `plan`.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::LazyLock;

use super::place::Held;
use super::volume::Bytes;
use crate::durable;
use crate::entry::EntryFile;
use crate::extra::{self, Extra, Extras, RECORD, Record};
use crate::nixpkgs;
use crate::observe::{BootFiles, Found, Observation};
use crate::payload::{self, Content};
use crate::plan::tests::Disk;
use systemd_boot_model::{ENTRIES, Entry, EntryName, LOADER_CONF, Partition};

/// Payload is short, and taken for so many times as large where room is planned.
pub(super) const WEIGHT: u64 = 1000;

/// The directories in which [`crate::observe`] finds what interrupted runs left.
const SWEPT: [&str; 4] = [payload::DIRECTORY, ENTRIES, "loader", nixpkgs::DIRECTORY];

/// Those of [`Disk::with`], as heavy as their payload is taken for.
static GENERATIONS: LazyLock<Vec<Found>> = LazyLock::new(|| {
    let mut all = Disk::with(3).0.generations;
    for found in &mut all {
        let bootable = found.bootable.as_mut().unwrap();
        let payload = bootable.initrd.iter_mut().chain([&mut bootable.kernel]);
        payload.for_each(|payload| payload.content.size *= WEIGHT);
    }
    all
});

/// What `bytes` are. There are few of them, and they are asked for tens of thousands of times.
pub(super) fn content(bytes: &Bytes) -> Content {
    thread_local! {
        static KNOWN: RefCell<HashMap<Bytes, Content>> = RefCell::default();
    }
    KNOWN.with_borrow_mut(|known| {
        *known.entry(bytes.clone()).or_insert_with(|| {
            let mut content = Content::of(&mut &bytes[..]).unwrap();
            content.size *= WEIGHT;
            content
        })
    })
}

/// `held` as [`Observation::read`] would find it.
pub(super) fn observe(held: &Held) -> Disk {
    let mut boot = BootFiles::default();
    boot.place.esp = if held.esp.is_some() { "/efi" } else { "/boot" }.into();
    boot.place.boot = "/boot".into();
    let mut observed = Observation {
        generations: GENERATIONS.clone(),
        ..Observation::default()
    };
    let conf = held.on(Partition::Esp).get(Path::new(LOADER_CONF));
    boot.loader_conf = conf.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    for (on, path, bytes) in held.all() {
        let text = path.to_str().unwrap();
        let (directory, name) = text.rsplit_once('/').unwrap();
        if durable::is_leftover(name) {
            if SWEPT.contains(&directory) {
                boot.leftovers.push((on, text.to_owned()));
            }
        } else if directory == nixpkgs::DIRECTORY {
            boot.nixpkgs.insert((on, name.to_owned()));
        } else if directory == payload::DIRECTORY && payload::kind_of(name).is_some() {
            if on == Partition::Esp {
                boot.esp_payload.push(name.to_owned());
            } else {
                observed.payload.insert(name.to_owned(), content(bytes));
            }
        } else if directory == ENTRIES {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let entry = Entry::parse(&text);
            let program = entry.linux.as_deref().or(entry.efi.as_deref());
            // The loader takes either slash.
            let program = program.unwrap_or_default().replace('\\', "/");
            let program = Path::new(program.trim_start_matches('/'));
            let file = EntryFile {
                on,
                name: EntryName::parse(name).unwrap(),
                has_program: held.on(on).contains_key(program),
                entry,
                text,
            };
            let entries = match on {
                Partition::Esp => &mut boot.on_esp,
                Partition::Boot => &mut boot.entries,
            };
            entries.insert(name.to_owned(), file);
        }
    }
    observed.boot = boot;
    Disk(observed)
}

/// The extra files that are there, as [`Extras::read`] would find them.
pub(super) fn extras(held: &Held, wanted: &[Extra]) -> Extras {
    let record = held.boot.get(Path::new(RECORD));
    let read = record.map(|bytes| std::str::from_utf8(bytes).map(extra::read));
    let (record, is_damaged) = match read {
        None => (Record::new(), false),
        Some(read) => read.unwrap_or((Record::new(), true)),
    };
    let paths: BTreeSet<&String> = record
        .keys()
        .map(|(path, _)| path)
        .chain(wanted.iter().map(|extra| &extra.path))
        .collect();
    let there = |path: &String| held.boot.get(Path::new(path));
    let present = paths
        .iter()
        .filter_map(|path| Some(((*path).clone(), content(there(path)?))));
    let present = present.collect();
    let left = paths.iter().map(|path| extra::leftover_of(path));
    let leftovers = left.filter(|path| there(path).is_some()).collect();
    Extras {
        record,
        is_damaged,
        present,
        leftovers,
        ..Extras::default()
    }
}

/// What nixpkgs' builders left there.
pub(super) fn theirs(held: &Held) -> nixpkgs::Payload {
    let theirs = held.all().filter_map(|(on, path, bytes)| {
        let name = nixpkgs::payload_of(path.to_str()?)?;
        Some(((on, name.to_owned()), content(bytes)))
    });
    theirs.collect()
}
