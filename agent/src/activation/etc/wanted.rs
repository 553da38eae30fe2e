//! What a closure wants in `/etc`.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::FileType;
use std::io;
use std::path::{Path, PathBuf};

use boot_entries::Root;
use boot_entries::durable::owned::Owner;
use boot_entries::payload::Content;

use super::modes::{self, Mode};
use super::places::Places;
use super::plan::{Copied, Have, Known, Ours, Tree, Want, is_as_wanted};
use super::{Problem, at, is_leftover};
use crate::host::{GROUPS, NIX_STORE, USERS};

/// What a closure wants, as far as it can be told.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// What there is to be.
    pub(super) places: Want,
    /// The files that say how others are to be there. They are not linked; the first release did.
    pub(super) orders: Vec<PathBuf>,
    /// What is wanted here and below cannot be told.
    pub(super) unknown: BTreeSet<PathBuf>,
    /// Why.
    pub(super) problems: Vec<Problem>,
    /// Directories of the host's that were gone into, whether something is wanted in them or not.
    pub(super) directories: BTreeSet<PathBuf>,
    /// Something of it is not in the store, so that it may change.
    pub(super) may_change: bool,
}

impl Wanted {
    /// Adds the places where a run that wanted this may have made links, whatever release it was of: a link says by
    /// itself whether it is ours. Where the manifest is lost, what is at a place in `have` exactly as it was wanted is
    /// taken for what it was made.
    pub(super) fn add_to(self, known: &mut Known, have: Option<&Tree>) {
        for (path, ours) in &self.places {
            known.links.insert(path.clone());
            let found = have.and_then(|have| have.get(path));
            if found.is_some_and(|found| is_as_wanted(found, ours)) {
                known.insert(path, ours);
            }
        }
        known.links.extend(self.orders);
    }
}

/// A directory of the closure.
struct Directory {
    /// Relative to `/etc`.
    path: PathBuf,
    /// Where it is: links followed.
    place: PathBuf,
    /// It is reached through a link, so it is another program's, and what is in it means nothing but itself.
    is_through: bool,
}

/// What the tree at `etc` wants.
///
/// A directory that is itself a link (`tmpfiles.d` in NixOS) becomes one link, unless the host has a directory there:
/// then its files are linked one by one beside the host's.
///
/// # Errors
/// When not even the tree itself can be listed.
pub(super) fn wanted(root: &Root, etc: &Path, host: &mut Places<'_>) -> Result<Wanted, Problem> {
    let mut walk = Walk {
        root,
        host,
        wanted: Wanted::default(),
    };
    let top = Directory {
        path: PathBuf::new(),
        place: root.canonical(etc).map_err(at("read", etc))?,
        is_through: false,
    };
    let names = names(root, &top.place).map_err(at("list", &top.place))?;
    walk.files(&top, &names);
    Ok(walk.wanted)
}

struct Walk<'a, 'b> {
    root: &'a Root,
    host: &'a mut Places<'b>,
    wanted: Wanted,
}

type Names = Vec<(OsString, FileType)>;

fn names(root: &Root, directory: &Path) -> io::Result<Names> {
    let mut names = Names::new();
    for entry in std::fs::read_dir(root.join(directory))? {
        let entry = entry?;
        names.push((entry.file_name(), entry.file_type()?));
    }
    names.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(names)
}

fn has(names: &Names, name: &OsStr) -> bool {
    names
        .binary_search_by(|(found, _)| found.as_os_str().cmp(name))
        .is_ok()
}

impl Walk<'_, '_> {
    fn directory(&mut self, directory: &Directory) {
        self.wanted.directories.insert(directory.path.clone());
        self.wanted.may_change |= !directory.place.starts_with(NIX_STORE);
        match names(self.root, &directory.place) {
            Ok(names) => self.files(directory, &names),
            Err(error) => self.is_not_known(&directory.path, &directory.place, error),
        }
    }

    fn is_not_known(&mut self, wanted: &Path, path: &Path, source: io::Error) {
        self.wanted.unknown.insert(wanted.to_owned());
        self.wanted.problems.push(Problem::Closure {
            wanted: wanted.to_owned(),
            path: path.to_owned(),
            source,
        });
    }

    fn files(&mut self, directory: &Directory, names: &Names) {
        for (name, kind) in names {
            let path = directory.path.join(name);
            if !is_linked(&path, name) {
                continue;
            }
            if !directory.is_through
                && let Some(about) = modes::about(name)
                && has(names, &about)
                && has(names, &modes::with(&about, modes::MODE))
            {
                self.wanted.orders.push(path);
                continue;
            }
            let place = directory.place.join(name);
            if kind.is_dir() {
                self.host.look(&path, None);
                self.directory(&Directory {
                    path,
                    place,
                    is_through: directory.is_through,
                });
            } else if !directory.is_through && has(names, &modes::with(name, modes::MODE)) {
                self.ordered(path, &place);
            } else {
                self.file(path, &place, kind.is_symlink());
            }
        }
    }

    fn file(&mut self, path: PathBuf, place: &Path, is_link: bool) {
        let found = self.host.look(&path, None);
        if found == Some(Have::Directory) {
            match is_link.then(|| self.directory_at(place)).transpose() {
                Ok(Some(Some(place))) => {
                    return self.directory(&Directory {
                        path,
                        place,
                        is_through: true,
                    });
                }
                Ok(_) => self.host.look_below(&path),
                Err(error) => return self.is_not_known(&path, place, error),
            }
        }
        self.wanted.places.insert(path, Ours::Static);
    }

    /// Where the directory is that a link leads to. None: it leads to something else, or to nothing.
    fn directory_at(&self, link: &Path) -> io::Result<Option<PathBuf>> {
        let found = self.root.canonical(link)?;
        match std::fs::symlink_metadata(self.root.join(&found)) {
            Ok(kind) => Ok(kind.is_dir().then_some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn ordered(&mut self, path: PathBuf, place: &Path) {
        match self.order(place) {
            Ok(ours) => {
                if let Ours::Copy(copy) = &ours {
                    self.wanted.may_change |= !copy.from.starts_with(NIX_STORE);
                }
                let size = match &ours {
                    Ours::Copy(copy) => Some(copy.content.size),
                    _ => None,
                };
                if self.host.look(&path, size) == Some(Have::Directory) {
                    self.host.look_below(&path);
                }
                self.wanted.places.insert(path, ours);
            }
            Err(why) => {
                self.wanted.unknown.insert(path.clone());
                let problem = Problem::Order { wanted: path, why };
                self.wanted.problems.push(problem);
            }
        }
    }

    /// What is to become of the file at `place`, in the words of the files beside it.
    fn order(&self, place: &Path) -> Result<Ours, String> {
        let name = place.file_name().unwrap_or_default();
        let beside = |ending: &str| place.with_file_name(modes::with(name, ending));
        let why = |error: io::Error| format!("cannot read {}: {error}", place.display());
        let path = beside(modes::MODE);
        let mode = modes::word(self.root, &path).and_then(|word| {
            modes::mode(&word).map_err(|why| format!("{}: {why}", path.display()))
        });
        let mode = match mode? {
            Mode::Symlink => return Ok(Ours::Static),
            Mode::DirectSymlink => return self.direct(place).map(Ours::Link).map_err(why),
            Mode::Copy(mode) => mode,
        };
        let number = |ending: &str, list: &str| {
            let path = beside(ending);
            // nixpkgs writes all three.
            if std::fs::symlink_metadata(self.root.join(&path)).is_err() {
                return Ok(0);
            }
            let word = modes::word(self.root, &path)?;
            modes::number(self.root, &word, list)
                .map_err(|why| format!("{}: {why}", path.display()))
        };
        let owner = Owner {
            mode,
            uid: number(modes::UID, USERS)?,
            gid: number(modes::GID, GROUPS)?,
        };
        let from = self.root.canonical(place).map_err(why)?;
        let file = self.root.open(&from).map_err(why)?;
        if !file.metadata().map_err(why)?.is_file() {
            return Err(format!("{} is no file", from.display()));
        }
        let content = Content::of(&mut &file).map_err(why)?;
        Ok(Ours::Copy(Box::new(Copied {
            from,
            content,
            owner,
        })))
    }

    /// Where the link at `place` leads, as it stands there. A file of the closure's own is itself what to lead to.
    fn direct(&self, place: &Path) -> io::Result<PathBuf> {
        match std::fs::read_link(self.root.join(place)) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(place.to_owned()),
            // What is relative to the store is not relative to /etc.
            to => Ok(place.parent().unwrap_or(place).join(to?)),
        }
    }
}

/// Whether something of the closure's `etc` belongs in the host's.
fn is_linked(path: &Path, name: &OsStr) -> bool {
    // The units are lastgood-generator's, `static` is the farm itself, and `NIXOS` would make the host out to be one.
    let is_other = [
        "systemd/system",
        "static",
        "NIXOS",
        ".lastgood-etc",
        ".lastgood-etc-seal",
    ]
    .iter()
    .any(|other| path == Path::new(other));
    !is_other && !is_leftover(name)
}
