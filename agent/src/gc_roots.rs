//! What a fallback may need is kept from `nix-collect-garbage` (invariant B2), even when its profile link is gone.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use boot_entries::name::stem_of;
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
        // As its entry: two closures with one number are two roots.
        .map(|subject| (stem_of(subject), subject.toplevel.as_path()))
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
        let targets: Vec<&Path> = links.values().map(PathBuf::as_path).collect();
        assert_eq!(
            targets,
            [Path::new("/nix/store/2"), Path::new("/nix/store/3")]
        );
        assert!(links.keys().any(|name| name.starts_with("lastgood-3-")));

        // A number that came back, and a specialisation of it.
        let reused = Subject {
            toplevel: "/nix/store/other".into(),
            ..subject(3)
        };
        let specialised = Subject {
            generation: subject(3).generation.specialised("a/../b").unwrap(),
            toplevel: "/nix/store/special".into(),
        };
        keep(&root, &[&three, &reused, &specialised]).unwrap();
        assert_eq!(read(&root.join(DIRECTORY)).unwrap().len(), 3);
    }
}
