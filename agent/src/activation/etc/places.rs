//! What is at places of the host's `/etc`. Nothing else in there is looked at, and no link is followed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use boot_entries::Root;
use boot_entries::durable::owned::Owner;
use boot_entries::payload::Content;
use nix::fcntl::OFlag;

use super::Problem;
use super::plan::{Have, Known, Ours, Sorted, Tree, Want};
use crate::host::{ETC, STATIC};

/// What was looked at.
#[derive(Debug)]
pub(super) struct Places<'a> {
    etc: PathBuf,
    known: &'a Known,
    found: Vec<(PathBuf, Have)>,
    /// The directory that was looked into last.
    last: Option<(PathBuf, File)>,
    /// How long the copies are that are wanted.
    sizes: BTreeMap<PathBuf, u64>,
    /// Whether something is a directory of the host's own, of all that places are in.
    directories: BTreeMap<PathBuf, bool>,
    /// What could not be looked at.
    unknown: BTreeSet<PathBuf>,
    problems: Vec<Problem>,
}

/// The outcome.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What is there.
    pub(super) tree: Tree,
    /// What could not be looked at.
    pub(super) unknown: BTreeSet<PathBuf>,
    /// Why.
    pub(super) problems: Vec<Problem>,
}

impl<'a> Places<'a> {
    /// Nothing was looked at yet. Files are read where `known` says that a copy was made.
    pub(super) fn new(root: &Root, known: &'a Known) -> Self {
        Self {
            etc: root.join(ETC),
            known,
            found: Vec::new(),
            last: None,
            sizes: BTreeMap::new(),
            directories: BTreeMap::new(),
            unknown: BTreeSet::new(),
            problems: Vec::new(),
        }
    }

    /// What is at `path`; None: nothing. A file is read if it is as long as the copy that is wanted, or as one that was
    /// made.
    pub(super) fn look(&mut self, path: &Path, size: Option<u64>) -> Option<Have> {
        let is_in_directory = match path.parent() {
            Some(above) if !above.as_os_str().is_empty() => self.is_directory(above),
            _ => true,
        };
        if !is_in_directory {
            return None;
        }
        if let Some(size) = size {
            self.sizes.insert(path.to_owned(), size);
        }
        match self.have(path) {
            Ok(have) => {
                let have = have?;
                self.found.push((path.to_owned(), have.clone()));
                Some(have)
            }
            Err(source) => {
                self.is_not_known(path, source);
                None
            }
        }
    }

    fn is_directory(&mut self, path: &Path) -> bool {
        if let Some(known) = self.directories.get(path) {
            return *known;
        }
        let is_directory = self.look(path, None) == Some(Have::Directory);
        self.directories.insert(path.to_owned(), is_directory);
        is_directory
    }

    /// Reads a link. Most places are beside the one before: from their directory it takes half as long.
    fn link(&mut self, path: &Path) -> io::Result<PathBuf> {
        let above = path.parent().unwrap_or(Path::new(""));
        if self.last.as_ref().is_none_or(|(last, _)| last != above) {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
            let open = File::options()
                .read(true)
                .custom_flags(flags.bits())
                .open(self.etc.join(above));
            self.last = Some((above.to_owned(), open?));
        }
        let (Some((_, directory)), Some(name)) = (&self.last, path.file_name()) else {
            return std::fs::read_link(self.etc.join(path));
        };
        Ok(nix::fcntl::readlinkat(directory, name)?.into())
    }

    fn have(&mut self, path: &Path) -> io::Result<Option<Have>> {
        match self.link(path) {
            Ok(to) => {
                let rest = to.as_os_str().as_bytes().strip_prefix(STATIC.as_bytes());
                let rest = rest.and_then(|rest| rest.strip_prefix(b"/"));
                if rest == Some(path.as_os_str().as_bytes()) {
                    return Ok(Some(Have::Static));
                }
                Ok(Some(Have::Link(to)))
            }
            // There, and no link.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                match self.no_link(path, &self.etc.join(path)) {
                    // It was there.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    have => have.map(Some),
                }
            }
            // Its directory may have gone as well.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn no_link(&self, path: &Path, place: &Path) -> io::Result<Have> {
        let found = std::fs::symlink_metadata(place)?;
        if found.is_dir() {
            return Ok(Have::Directory);
        }
        if !found.is_file() {
            return Ok(Have::Other);
        }
        let made = self.known.others.get(path).into_iter().flatten();
        let mut sizes = made.filter_map(|ours| match ours {
            Ours::Copy(copy) => Some(copy.content.size),
            _ => None,
        });
        if self.sizes.get(path) != Some(&found.len()) && !sizes.any(|size| size == found.len()) {
            return Ok(Have::File(None, owner(&found)));
        }
        let open = File::options()
            .read(true)
            .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW).bits())
            .open(place)?;
        Ok(Have::File(Some(Content::of(&mut &open)?), owner(&found)))
    }

    /// Looks at what is in a directory that is to make room, until there is something that keeps it.
    pub(super) fn look_below(&mut self, path: &Path) {
        // What is ours is known. There is no more to be found than that, but for empty directories.
        let mut left = self.known.links.len() + self.known.others.len() + MANY;
        let mut todo = vec![path.to_owned()];
        while let Some(directory) = todo.pop() {
            let entries = match std::fs::read_dir(self.etc.join(&directory)) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return self.is_not_known(&directory, source),
            };
            for entry in entries {
                let inner = match entry {
                    Ok(entry) => directory.join(entry.file_name()),
                    Err(source) => return self.is_not_known(&directory, source),
                };
                left = left.saturating_sub(1);
                if left == 0 {
                    let why = "more is in it than lastgood has made; move it away";
                    return self.is_not_known(path, io::Error::other(why));
                }
                match self.look(&inner, None) {
                    None => {}
                    Some(Have::Directory) => todo.push(inner),
                    Some(have) if self.known.ours(&inner, &have).is_some() => {}
                    Some(_) => return,
                }
            }
        }
    }

    fn is_not_known(&mut self, path: &Path, source: io::Error) {
        if self.unknown.insert(path.to_owned()) {
            self.problems.push(Problem::Look {
                path: path.to_owned(),
                source,
            });
        }
    }

    /// Looks at every place where something of ours was, and gives what there is altogether. What is `wanted` was looked
    /// at before.
    pub(super) fn finish(mut self, wanted: &Want) -> Found {
        let known = self.known;
        // These may be files that were not read.
        for path in known.others.keys() {
            self.look(path, None);
        }
        let mut wanted = Sorted::new(wanted);
        for path in &known.links {
            if wanted.get(path).is_none() {
                self.look(path, None);
            }
        }
        Found {
            // Of two for one path the last one counts.
            tree: self.found.into_iter().collect(),
            unknown: self.unknown,
            problems: self.problems,
        }
    }
}

/// How many empty directories may be in one that is to make room.
const MANY: usize = 1024;

fn owner(found: &Metadata) -> Owner {
    Owner {
        uid: found.uid(),
        gid: found.gid(),
        mode: found.mode() & 0o7777,
    }
}
