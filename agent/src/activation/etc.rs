//! A closure's `etc/` in the host's `/etc`, in NixOS's style: `/etc/static` leads to the closure's, and
//! `/etc/X` to `/etc/static/X`.
//!
//! A link says by itself whose it is: ours are those that lead below `/etc/static/`. There is no list to lose, and a
//! run that was cut off anywhere is finished by the next. Nothing is flushed to disk on purpose: every boot runs this.
//!
//! Directories have no such mark. Those made here stay when they are empty again (the distribution's own may be among
//! them), unless the closure wants a file in their place.

pub mod give_back;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};

use boot_entries::Root;
use boot_entries::durable::{self, unflushed};

use crate::host::{ETC, STATIC};

/// What a half-made link was called by earlier versions, with its name behind.
const FORMER_HALF_MADE: &str = ".lastgood-new-";

/// What is at a place in the host's `/etc`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Have {
    /// A directory.
    Directory,
    /// A link of ours: what follows `/etc/static/` in its target.
    Ours(PathBuf),
    /// Anything else: a file, somebody else's link.
    Foreign,
}

/// The host's `/etc`, by paths relative to it.
pub type Tree = BTreeMap<PathBuf, Have>;

/// One change to the host's `/etc`. Paths are relative to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Remove a link of ours.
    Remove(PathBuf),
    /// Remove an empty directory, because a link is to take its place.
    RemoveDirectory(PathBuf),
    /// Make a directory.
    MakeDirectory(PathBuf),
    /// Make the link of this name, or replace one of ours, atomically.
    Link(PathBuf),
}

/// What must change, and what cannot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The changes, in their order.
    pub steps: Vec<Step>,
    /// What the closure wants and somebody else has: relative path wanted, relative path in the way.
    pub refused: Vec<(PathBuf, PathBuf)>,
}

/// Why something of `/etc` is not as the closure wants it.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Something lastgood did not make is in the way.
    #[error("cannot link /etc/{}: lastgood did not make /etc/{}; move it away", wanted.display(), found.display())]
    Foreign {
        /// Relative to `/etc`.
        wanted: PathBuf,
        /// Relative to `/etc`: the same path, or one above or below.
        found: PathBuf,
    },
    /// `/etc/static` itself is somebody else's.
    #[error("cannot switch /etc/static: lastgood did not make what is there; move it away")]
    Static,
    /// A file could not be changed.
    #[error("{0}: {source}", source = .0.source().map(ToString::to_string).unwrap_or_default())]
    Write(#[from] durable::Error),
    /// A file could not be read.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Problem {
    let path = path.to_owned();
    move |source| Problem::Io { what, path, source }
}

/// What must change so that `have` becomes `want`: the paths of the closure's files, none above another.
///
/// Total, and nothing when nothing is to do. What cannot be linked is refused by itself; all else goes on.
#[must_use]
pub fn plan(have: &Tree, want: &BTreeSet<PathBuf>) -> Plan {
    let mut plan = Plan::default();
    let mut links = Vec::new();
    let mut emptied = BTreeSet::new();
    for path in want {
        match in_the_way(have, path) {
            Some(found) => plan.refused.push((path.clone(), found)),
            None if matches!(have.get(path), Some(Have::Ours(leads)) if leads == path) => {}
            None => links.push(path),
        }
    }
    for path in &links {
        emptied.extend(below(have, path).filter(|(_, have)| **have == Have::Directory));
        emptied.extend(
            have.get_key_value(*path)
                .filter(|(_, have)| **have == Have::Directory),
        );
    }
    plan.steps.extend(
        have.iter()
            .filter(|(path, have)| matches!(have, Have::Ours(_)) && !want.contains(*path))
            .map(|(path, _)| Step::Remove(path.clone())),
    );
    // Deepest first: a path sorts before those below it.
    plan.steps.extend(
        emptied
            .iter()
            .rev()
            .map(|(path, _)| Step::RemoveDirectory((*path).clone())),
    );
    let mut made = BTreeSet::new();
    for path in links {
        for above in above(path) {
            if have.get(above) != Some(&Have::Directory) && made.insert(above) {
                plan.steps.push(Step::MakeDirectory(above.to_owned()));
            }
        }
        plan.steps.push(Step::Link(path.clone()));
    }
    plan
}

/// What keeps a link from being made at `path`, if anything does.
fn in_the_way(have: &Tree, path: &Path) -> Option<PathBuf> {
    let foreign = |path: &Path| have.get(path) == Some(&Have::Foreign);
    above(path)
        .into_iter()
        .chain([path])
        .find(|path| foreign(path))
        .map(Path::to_owned)
        .or_else(|| {
            below(have, path)
                .find(|(_, have)| **have == Have::Foreign)
                .map(|(path, _)| path.clone())
        })
}

/// The directories above `path`, the outermost first.
fn above(path: &Path) -> Vec<&Path> {
    let mut above: Vec<&Path> = path
        .ancestors()
        .skip(1)
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    above.reverse();
    above
}

/// What is below `path`.
fn below<'a>(have: &'a Tree, path: &'a Path) -> impl Iterator<Item = (&'a PathBuf, &'a Have)> {
    have.range(path.to_owned()..)
        .take_while(move |(found, _)| found.starts_with(path))
        .filter(move |(found, _)| *found != path)
}

/// Makes the host's `/etc` that of `closure`, as far as it can be, and gives the number of changes made.
///
/// # Errors
/// Everything that is not as the closure wants it. All else was done.
pub fn switch(root: &Root, closure: &Path) -> Result<usize, Vec<Problem>> {
    let one = |problem| vec![problem];
    let have = observe(root).map_err(one)?;
    let want = wanted(root, closure, &have).map_err(one)?;
    // First, so that every link that stays leads into the new closure at once.
    let mut changes = usize::from(switch_static(root, closure).map_err(one)?);
    let plan = plan(&have, &want);
    let mut problems: Vec<Problem> = plan
        .refused
        .into_iter()
        .map(|(wanted, found)| Problem::Foreign { wanted, found })
        .collect();
    for step in &plan.steps {
        match apply(root, step) {
            Ok(()) => changes += 1,
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        Ok(changes)
    } else {
        Err(problems)
    }
}

/// Leads `/etc/static` to the closure's `etc`. False: it did so already.
fn switch_static(root: &Root, closure: &Path) -> Result<bool, Problem> {
    let place = root.join(STATIC);
    match std::fs::read_link(&place) {
        // As in every Nix-style tree; anything else is not a link farm's.
        Ok(target) if target.is_absolute() && target.ends_with("etc") => {}
        Ok(_) => return Err(Problem::Static),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(Problem::Static),
        Err(error) => return Err(at("read", &place)(error)),
    }
    Ok(unflushed::put_link(&closure.join("etc"), &place)?)
}

fn apply(root: &Root, step: &Step) -> Result<(), Problem> {
    let place = |path: &Path| root.join(Path::new(ETC).join(path));
    match step {
        Step::Remove(path) => unflushed::remove(&place(path))?,
        Step::RemoveDirectory(path) => unflushed::remove_directory(&place(path))?,
        Step::MakeDirectory(path) => unflushed::make_directory(&place(path))?,
        Step::Link(path) => {
            unflushed::put_link(&Path::new(STATIC).join(path), &place(path))?;
        }
    }
    Ok(())
}

/// Whether a link is one that a run left when it was cut off.
fn half_made(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    durable::is_leftover(&name) || name.starts_with(FORMER_HALF_MADE)
}

/// The host's `/etc`, no link followed.
fn observe(root: &Root) -> Result<Tree, Problem> {
    let etc = root.join(ETC);
    unflushed::make_directories(&etc)?;
    let mut tree = Tree::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(directory) = todo.pop() {
        let place = etc.join(&directory);
        for entry in std::fs::read_dir(&place).map_err(at("list", &place))? {
            let entry = entry.map_err(at("list", &place))?;
            let kind = entry.file_type().map_err(at("look at", &entry.path()))?;
            let path = directory.join(entry.file_name());
            let have = if kind.is_dir() {
                todo.push(path.clone());
                Have::Directory
            } else if kind.is_symlink() {
                let target = std::fs::read_link(entry.path()).map_err(at("read", &entry.path()))?;
                match target.strip_prefix(STATIC) {
                    _ if half_made(&path) => Have::Ours(path.clone()),
                    Ok(leads) if !leads.as_os_str().is_empty() => Have::Ours(leads.to_owned()),
                    _ => Have::Foreign,
                }
            } else {
                Have::Foreign
            };
            tree.insert(path, have);
        }
    }
    Ok(tree)
}

/// The files of the closure's `etc`, as they are to be linked.
///
/// A directory that is itself a link (`tmpfiles.d` in NixOS) becomes one link, unless the host has a directory there:
/// then its files are linked one by one beside the host's.
fn wanted(root: &Root, closure: &Path, have: &Tree) -> Result<BTreeSet<PathBuf>, Problem> {
    let etc = closure.join("etc");
    let mut want = BTreeSet::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(directory) = todo.pop() {
        let place = etc.join(&directory);
        let resolved = root.resolve(&place).map_err(at("read", &place))?;
        for entry in std::fs::read_dir(&resolved).map_err(at("list", &place))? {
            let entry = entry.map_err(at("list", &place))?;
            let path = directory.join(entry.file_name());
            if !linked(&path) {
                continue;
            }
            let kind = entry.file_type().map_err(at("look at", &entry.path()))?;
            let through = kind.is_symlink() && have.get(&path) == Some(&Have::Directory);
            if kind.is_dir() || through && leads_to_directory(root, &etc.join(&path))? {
                todo.push(path);
            } else {
                want.insert(path);
            }
        }
    }
    Ok(want)
}

fn leads_to_directory(root: &Root, path: &Path) -> Result<bool, Problem> {
    let found = root.resolve(path).map_err(at("read", path))?;
    match std::fs::symlink_metadata(&found) {
        Ok(found) => Ok(found.is_dir()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(at("look at", path)(error)),
    }
}

/// Whether a path of the closure's `etc` belongs in the host's.
fn linked(path: &Path) -> bool {
    // The units are lastgood-generator's, `static` is the farm itself, and `NIXOS` would make the host out to be one.
    !["systemd/system", "static", "NIXOS"]
        .iter()
        .any(|other| path == Path::new(other))
}

#[cfg(test)]
mod tests;
