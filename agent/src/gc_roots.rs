//! What a fallback may need is kept from `nix-collect-garbage` (invariant B2), even when its profile link is gone.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use boot_entries::{Root, durable};

use crate::machine::State;

/// Our directory among Nix's indirect and direct roots.
const DIRECTORY: &str = "/nix/var/nix/gcroots/lastgood";

/// Roots that cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading.
    #[error("cannot read {}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Changing.
    #[error(transparent)]
    Write(#[from] durable::Error),
}

/// Makes exactly `protected` our garbage collector roots. New ones are made before old ones go; with nothing proven none
/// goes, because then the record of what was proven may be lost.
///
/// # Errors
/// At the first one that cannot be read or changed.
pub fn keep(root: &Root, state: &State) -> Result<(), Error> {
    let directory = root.resolve(DIRECTORY).map_err(|source| Error::Read {
        path: PathBuf::from(DIRECTORY),
        source,
    })?;
    let protected = state.protected();
    let wanted: BTreeMap<String, &Path> = protected
        .iter()
        .map(|subject| (subject.generation.link_name(), subject.toplevel.as_path()))
        .collect();
    let present = read(&directory)?;
    for (name, toplevel) in &wanted {
        if present.get(name).map(PathBuf::as_path) != Some(toplevel) {
            durable::put_link(toplevel, &directory.join(name))?;
        }
    }
    if state.proven.is_empty() {
        return Ok(());
    }
    for name in present.keys().filter(|name| !wanted.contains_key(*name)) {
        durable::remove(&directory.join(name))?;
    }
    Ok(())
}

fn read(directory: &Path) -> Result<BTreeMap<String, PathBuf>, Error> {
    let at = |path: &Path, source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let listing = match std::fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(at(directory, error)),
    };
    let mut links = BTreeMap::new();
    for item in listing {
        let item = item.map_err(|error| at(directory, error))?;
        let path = item.path();
        match std::fs::read_link(&path) {
            Ok(target) => {
                let name = item.file_name().to_string_lossy().into_owned();
                links.insert(name, target);
            }
            // Not a link, so not ours.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            Err(error) => return Err(at(&path, error)),
        }
    }
    Ok(links)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assessment::baseline::Baseline;
    use crate::machine::{Event, Subject};
    use boot_entries::GenerationId;

    fn subject(number: u64) -> Subject {
        Subject {
            generation: GenerationId::system(number),
            toplevel: format!("/nix/store/{number}").into(),
        }
    }

    #[test]
    fn exactly_what_is_protected() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::new(place.path());
        let names = || -> Vec<String> {
            let links = read(&root.join(DIRECTORY)).unwrap();
            links.into_keys().collect()
        };
        let proven = |number| Event::Proven {
            subject: subject(number),
            baseline: Baseline::default(),
        };
        let mut state = State::of(&[proven(1), proven(2)]);
        keep(&root, &state).unwrap();
        assert_eq!(names(), ["system-1-link", "system-2-link"]);
        std::fs::File::create(root.join(DIRECTORY).join("mine")).unwrap();
        state = state.after(&proven(3));
        keep(&root, &state).unwrap();
        assert_eq!(names(), ["system-2-link", "system-3-link"]);
        keep(&root, &State::default()).unwrap();
        assert_eq!(
            names(),
            ["system-2-link", "system-3-link"],
            "a lost record removes nothing"
        );
    }
}
