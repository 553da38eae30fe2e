//! What a fallback may need is kept from `nix-collect-garbage` (invariant B2), even when its profile link is gone.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use boot_entries::{Root, durable};

use crate::machine::Subject;

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

/// Makes exactly `protected` our garbage collector roots. New ones are made before old ones go.
///
/// # Errors
/// At the first one that cannot be read or changed.
pub fn keep(root: &Root, protected: &[&Subject]) -> Result<(), Error> {
    let directory = root.join(DIRECTORY);
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
        let target = std::fs::read_link(&path).map_err(|error| at(&path, error))?;
        links.insert(item.file_name().to_string_lossy().into_owned(), target);
    }
    Ok(links)
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot_entries::GenerationId;

    #[test]
    fn exactly_what_is_protected() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::new(place.path());
        let subject = |number| Subject {
            generation: GenerationId::system(number),
            toplevel: format!("/nix/store/{number}").into(),
        };
        let (one, two, three) = (subject(1), subject(2), subject(3));
        keep(&root, &[&one, &two]).unwrap();
        keep(&root, &[&two, &three]).unwrap();
        let links = read(&root.join(DIRECTORY)).unwrap();
        let names: Vec<&str> = links.keys().map(String::as_str).collect();
        assert_eq!(names, ["system-2-link", "system-3-link"]);
        assert_eq!(links["system-3-link"], Path::new("/nix/store/3"));
    }
}
