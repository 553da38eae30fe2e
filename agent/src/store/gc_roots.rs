//! What a fallback may need is kept from `nix-collect-garbage` (invariant B2), even when its profile link is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use boot_entries::durable::unflushed;
use boot_entries::name::stem_of;
use boot_entries::{Root, durable};

use crate::host::{OUR_GC_ROOTS, SWITCH_GC_ROOTS};
use crate::state::State;

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

/// One change to our roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A root of this name comes to lead to this closure.
    Keep {
        /// The name of the link.
        name: String,
        /// What it leads to.
        toplevel: PathBuf,
    },
    /// The root of this name goes.
    Release {
        /// The name of the link.
        name: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep { name, toplevel } => {
                let toplevel = toplevel.display();
                write!(
                    f,
                    "keep {toplevel} from the garbage collector ({OUR_GC_ROOTS}/{name})"
                )
            }
            Self::Release { name } => {
                write!(
                    f,
                    "leave to the garbage collector what {OUR_GC_ROOTS}/{name} keeps"
                )
            }
        }
    }
}

/// What makes exactly what `state` protects our garbage collector roots, in this order: new ones are made before old
/// ones go. With nothing proven none goes, because then the record of what was proven may be lost; nor does one while
/// something on record binds that is not understood.
///
/// # Errors
/// When those that are there cannot be read.
pub fn changes(root: &Root, state: &State) -> Result<Vec<Change>, Error> {
    changes_in(&directory(root)?, state)
}

fn changes_in(directory: &Path, state: &State) -> Result<Vec<Change>, Error> {
    let protected = state.protected();
    let wanted: BTreeMap<String, &Path> = protected
        .iter()
        // As its entry: two closures with one number are two roots.
        .map(|subject| (stem_of(subject), subject.toplevel.as_path()))
        .collect();
    let present = read(directory)?;
    let is_new = |(name, toplevel): &(&String, &&Path)| {
        present.get(*name).map(PathBuf::as_path) != Some(**toplevel)
    };
    let kept = wanted
        .iter()
        .filter(is_new)
        .map(|(name, toplevel)| Change::Keep {
            name: name.clone(),
            toplevel: toplevel.to_path_buf(),
        });
    let mut changes: Vec<Change> = kept.collect();
    if !state.proven.is_empty() && state.bound_by.is_none() {
        let gone = present.keys().filter(|name| !wanted.contains_key(*name));
        changes.extend(gone.map(|name| Change::Release { name: name.clone() }));
    }
    Ok(changes)
}

/// What leaves to the garbage collector all that our roots keep, but for the closures in `needed`.
///
/// # Errors
/// When those that are there cannot be read.
pub fn releases(root: &Root, needed: &BTreeSet<PathBuf>) -> Result<Vec<Change>, Error> {
    let present = read(&directory(root)?)?.into_iter();
    let gone = present.filter(|(_, toplevel)| !needed.contains(toplevel));
    Ok(gone.map(|(name, _)| Change::Release { name }).collect())
}

/// Makes these [`changes`].
///
/// # Errors
/// At the first one that cannot be read or made.
pub fn keep(root: &Root, state: &State) -> Result<(), Error> {
    make(root, changes(root, state)?)
}

/// Makes these changes.
///
/// # Errors
/// At the first one that cannot be made.
pub fn make(root: &Root, changes: Vec<Change>) -> Result<(), Error> {
    let directory = directory(root)?;
    for change in changes {
        match change {
            Change::Keep { name, toplevel } => {
                durable::put_link(&toplevel, &directory.join(name))?;
            }
            Change::Release { name } => durable::remove(&directory.join(name))?,
        }
    }
    Ok(())
}

/// Keeps the closures of a live switch until [`let_go`]: also those that no profile names.
///
/// # Errors
/// When a root cannot be written.
pub fn hold(root: &Root, before: &Path, after: &Path) -> Result<(), Error> {
    let directory = place(root, SWITCH_GC_ROOTS)?;
    durable::make_directory(&directory)?;
    // The second one flushes the names of both.
    unflushed::put_link(before, &directory.join("before"))?;
    Ok(durable::put_link(after, &directory.join("after"))?)
}

/// Leaves to the garbage collector what a live switch has kept.
///
/// # Errors
/// When a root cannot be removed.
pub fn let_go(root: &Root) -> Result<(), Error> {
    let directory = place(root, SWITCH_GC_ROOTS)?;
    // One that a crash brings back is removed after the next switch.
    for name in read(&directory)?.keys() {
        unflushed::remove(&directory.join(name))?;
    }
    Ok(durable::remove_empty_directory(&directory)?)
}

/// [`OUR_GC_ROOTS`], as a path of this process.
fn directory(root: &Root) -> Result<PathBuf, Error> {
    place(root, OUR_GC_ROOTS)
}

fn place(root: &Root, path: &str) -> Result<PathBuf, Error> {
    root.resolve(path).map_err(|source| Error::Read {
        path: PathBuf::from(path),
        source,
    })
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

    #[test]
    fn a_switch_keeps_both_closures_until_it_has_ended() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let directory = root.join(SWITCH_GC_ROOTS);
        let_go(&root).unwrap();
        hold(&root, Path::new("/nix/store/a"), Path::new("/nix/store/b")).unwrap();
        hold(&root, Path::new("/nix/store/b"), Path::new("/nix/store/c")).unwrap();
        let held = read(&directory).unwrap();
        assert_eq!(held["before"], Path::new("/nix/store/b"));
        assert_eq!(held["after"], Path::new("/nix/store/c"));
        let_go(&root).unwrap();
        assert!(directory.symlink_metadata().is_err());
    }
    use crate::state::baseline::Baseline;
    use crate::state::{Event, Subject};
    use boot_entries::GenerationId;

    fn subject(number: u64) -> Subject {
        Subject {
            generation: GenerationId::system(number),
            toplevel: format!("/nix/store/{number}").into(),
        }
    }

    fn proven(subject: Subject) -> Event {
        let baseline = Baseline::default();
        Event::Proven { subject, baseline }
    }

    /// What the roots lead to.
    fn kept(root: &Root) -> Vec<String> {
        let links = read(&root.join(OUR_GC_ROOTS)).unwrap();
        let mut all: Vec<String> = links
            .values()
            .map(|path| path.display().to_string())
            .collect();
        all.sort();
        all
    }

    #[test]
    fn exactly_what_is_protected() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::new(place.path());
        let mut state = State::of(&[proven(subject(1)), proven(subject(2))]);
        let told: Vec<String> = changes(&root, &state)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(told.len(), 2);
        assert!(
            told.iter().all(|line| line.starts_with("keep /nix/store/")),
            "{told:?}"
        );
        keep(&root, &state).unwrap();
        assert_eq!(changes(&root, &state).unwrap(), []);
        assert_eq!(kept(&root), ["/nix/store/1", "/nix/store/2"]);
        std::fs::File::create(root.join(OUR_GC_ROOTS).join("mine")).unwrap();
        let bound = State {
            bound_by: Some("line 7".to_owned()),
            ..state.clone().after(&proven(subject(3)))
        };
        keep(&root, &bound).unwrap();
        assert_eq!(
            kept(&root),
            ["/nix/store/1", "/nix/store/2", "/nix/store/3"],
            "what is on record and not known may need it"
        );
        state = state.after(&proven(subject(3)));
        keep(&root, &state).unwrap();
        assert_eq!(kept(&root), ["/nix/store/2", "/nix/store/3"]);
        keep(&root, &State::default()).unwrap();
        assert_eq!(
            kept(&root),
            ["/nix/store/2", "/nix/store/3"],
            "a lost record removes nothing"
        );
    }

    #[test]
    fn a_number_that_came_back_and_a_specialisation_are_roots_of_their_own() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::new(place.path());
        let reused = Subject {
            toplevel: "/nix/store/other".into(),
            ..subject(3)
        };
        let specialised = Subject {
            generation: subject(3).generation.specialised("a/../b").unwrap(),
            toplevel: "/nix/store/special".into(),
        };
        let selected = Event::Selected {
            subject: specialised,
            by: None,
        };
        keep(
            &root,
            &State::of(&[proven(subject(3)), proven(reused), selected]),
        )
        .unwrap();
        assert_eq!(
            kept(&root),
            ["/nix/store/3", "/nix/store/other", "/nix/store/special"]
        );
    }
}
