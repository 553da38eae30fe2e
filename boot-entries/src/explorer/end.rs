//! What a machine with these files comes to.

use std::collections::BTreeSet;
use std::path::Path;

use super::FAILURES;
use super::look::{content, observe};
use super::migration::FOREIGN;
use super::place::Held;
use crate::name::OurName as _;
use crate::nixpkgs;
use crate::observe::BootFiles;
use crate::payload::{Kind, file_name, kind_of};
use crate::plan::tests::RELEASES;
use systemd_boot_model::{Entry, Listed, Partition};

/// The generation that every sequence of failed boots ends in, by every loader; and whatever is started on the way
/// must be whole. None: nothing boots.
pub(super) fn end(held: &Held) -> Result<BTreeSet<u64>, String> {
    let disk = observe(held);
    // Half-way to another partition each entry has a twin there.
    let failures = FAILURES * if held.esp.is_some() { 2 } else { 1 };
    let mut ends = BTreeSet::new();
    for release in RELEASES {
        let loader = disk.loader(release);
        let boots = loader.clone().predict(failures);
        for boot in &boots {
            let same = |listed: &&Listed| listed.name.stem == boot.name.stem;
            for listed in loader.entries.iter().filter(same) {
                let entry = written(&disk.0.boot, listed);
                let number = started(entry);
                let mut files = entry.linux.iter().chain(&entry.initrds);
                if number.is_none()
                    || boot.name.is_ours() && boot.name.generation_number() != number
                    || entry.initrds.len() != 1
                    || !files.all(|path| is_whole(held, listed.on, path))
                {
                    return Err(format!(
                        "{release:?} starts a damaged {}: {entry:?}",
                        boot.name
                    ));
                }
            }
        }
        let last = boots.last();
        ends.extend(last.and_then(|boot| {
            let mut listed = loader.entries.iter();
            let listed = listed.find(|l| l.name.stem == boot.name.stem)?;
            started(written(&disk.0.boot, listed))
        }));
    }
    Ok(ends)
}

/// All that is in the file of `listed`.
fn written<'a>(boot: &'a BootFiles, listed: &Listed) -> &'a Entry {
    &boot.entry(listed.on, &listed.file).unwrap().entry
}

/// What each loader starts next.
pub(super) fn next(held: &Held) -> BTreeSet<u64> {
    let disk = observe(held);
    let next = RELEASES.map(|release| disk.loader(release).predict(0).into_iter().next());
    let next = next.into_iter().flatten();
    next.filter_map(|boot| boot.name.generation_number())
        .collect()
}

/// Whether a file that an entry on a partition needs is there, and is what its name says.
fn is_whole(held: &Held, on: Partition, path: &str) -> bool {
    let path = path.trim_start_matches('/');
    let name = path.rsplit('/').next().unwrap_or_default();
    let Some(bytes) = held.on(on).get(Path::new(path)) else {
        return false;
    };
    if nixpkgs::payload_of(path).is_some() {
        // In the store as here, it holds its own name; or it has one of ours, where that was taken.
        let name = name.trim_end_matches(".efi");
        let ours = [Kind::Kernel, Kind::Initrd].map(|kind| file_name(&content(bytes), kind));
        return **bytes == *name.as_bytes()
            || ours.iter().any(|o| o.trim_end_matches(".efi") == name);
    }
    if Path::new(path).starts_with(FOREIGN) {
        return **bytes == *name.as_bytes();
    }
    kind_of(name).is_some_and(|kind| file_name(&content(bytes), kind) == name)
}

/// The generation that an entry starts, or the number of a foreign kernel.
fn started(entry: &Entry) -> Option<u64> {
    let Some(closure) = nixpkgs::init_of(entry) else {
        let kernel = entry.linux.as_deref()?.trim_start_matches('/');
        let kernel = Path::new(kernel).strip_prefix(FOREIGN).ok()?;
        let (number, _) = kernel.to_str()?.split_once('-')?;
        return number.parse().ok();
    };
    let number = closure.file_name()?.to_str()?.strip_suffix("-system")?;
    number.parse().ok()
}
