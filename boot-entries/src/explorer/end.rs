//! What a machine with these files comes to.

use std::collections::BTreeSet;
use std::path::Path;

use super::migration::STRANGERS;
use super::volume::Files;
use super::{FAILURES, observe};
use crate::boot_partition::Partition;
use crate::entry::Entry;
use crate::nixpkgs;
use crate::payload::{self, Content};
use crate::plan::tests::BANDS;

/// The generation that every sequence of failed boots ends in, by every loader; and whatever is started on the way
/// must be whole. None: nothing boots.
pub(super) fn end(files: &Files) -> Result<BTreeSet<u64>, String> {
    let disk = observe(files);
    let whole = |path: &String| {
        let name = path.rsplit('/').next().unwrap_or_default();
        if nixpkgs::payload_of(path).is_some() {
            // In the store as here, it holds its own name.
            let bytes = files.get(Path::new(path.trim_start_matches('/')));
            return bytes.is_some_and(|b| **b == *name.trim_end_matches(".efi").as_bytes());
        }
        let path = Path::new(path.trim_start_matches('/'));
        if path.starts_with(STRANGERS) {
            return files.get(path).is_some_and(|b| **b == *name.as_bytes());
        }
        let kind = payload::kind_of(name);
        let content = disk.0.payload.get(name);
        kind.zip(content)
            .is_some_and(|(kind, content)| payload::file_name(content, kind) == name)
    };
    let mut ends = BTreeSet::new();
    for band in BANDS {
        let loader = disk.loader(band);
        let boots = loader.clone().predict(FAILURES);
        for boot in &boots {
            let same = |listed: &&crate::loader::Listed| listed.name.stem == boot.name.stem;
            for entry in loader.entries.iter().filter(same).map(|l| &l.entry) {
                let number = started(entry);
                if number.is_none()
                    || boot.name.is_ours() && boot.name.generation_number() != number
                    || entry.initrds.len() != 1
                    || !entry.linux.iter().chain(&entry.initrds).all(whole)
                {
                    return Err(format!(
                        "{band:?} starts a damaged {}: {entry:?}",
                        boot.name
                    ));
                }
            }
        }
        let last = boots.last();
        ends.extend(last.and_then(|boot| {
            let mut listed = loader.entries.iter();
            started(&listed.find(|l| l.name.stem == boot.name.stem)?.entry)
        }));
    }
    Ok(ends)
}

/// The generation that an entry starts, or the number of a stranger's kernel.
fn started(entry: &Entry) -> Option<u64> {
    let Some(closure) = nixpkgs::init_of(entry) else {
        let kernel = entry.linux.as_deref()?.trim_start_matches('/');
        let kernel = Path::new(kernel).strip_prefix(STRANGERS).ok()?;
        let (number, _) = kernel.to_str()?.split_once('-')?;
        return number.parse().ok();
    };
    let number = closure.file_name()?.to_str()?.strip_suffix("-system")?;
    number.parse().ok()
}

/// What nixpkgs' builders left there.
pub(super) fn theirs(files: &Files) -> nixpkgs::Payload {
    let theirs = files.iter().filter_map(|(path, bytes)| {
        let name = nixpkgs::payload_of(path.to_str()?)?;
        let mut content = Content::of(&mut &bytes[..]).unwrap();
        content.size *= super::WEIGHT;
        Some(((Partition::Boot, name.to_owned()), content))
    });
    theirs.collect()
}
