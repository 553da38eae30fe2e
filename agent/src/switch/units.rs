//! Reads the units of closures. All else about a switch is told what this has read.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

use boot_entries::{Root, bounded};

use super::set::{Leads, Units, share, to_read};
use super::situation::{Home, States};
use crate::host::NOWHERE;
use crate::system::unit_directory::{Directory, Sort, sort};

/// No unit's file is longer.
const LIMIT: u64 = 1 << 20;

/// A file may name units that nobody has looked at. After so many rounds all have been.
const ROUNDS: usize = 4;

/// The units of the closure that is left and of the one that is switched to, with the text of all files that a plan must
/// know. Of units that are made of the same files of the store in both, no file is opened. `also`: names of units whose
/// text is wanted whatever they are made of.
#[must_use]
pub fn read(
    root: &Root,
    old: &Path,
    new: &Path,
    home: Home,
    states: &States,
    also: &BTreeSet<String>,
) -> (Units, Units) {
    let (mut old, mut new) = (list(root, old, home), list(root, new, home));
    let mut done = BTreeSet::new();
    for _ in 0..ROUNDS {
        let files = to_read(&old, &new, states, also);
        let todo: BTreeSet<PathBuf> = files.difference(&done).cloned().collect();
        if todo.is_empty() {
            break;
        }
        for units in [&mut old, &mut new] {
            load(root, units, &todo);
        }
        done.extend(todo);
    }
    share(&old, &mut new);
    (old, new)
}

/// The names and links of the units of `closure`: one look a directory and one a link. No file is opened.
#[must_use]
pub fn list(root: &Root, closure: &Path, home: Home) -> Units {
    let below = match home {
        Home::Etc | Home::Generator => "etc/systemd/system",
        Home::User => "etc/systemd/user",
    };
    let mut units = Units::default();
    if let Err(error) = top(root, closure, below, &mut units) {
        units.problems.push(problem(&closure.join(below), &error));
    }
    units
}

fn top(root: &Root, closure: &Path, below: &str, units: &mut Units) -> io::Result<()> {
    let Some(directory) = Directory::of(root, closure, below)? else {
        return Ok(());
    };
    for name in directory.names()? {
        let path = Path::new(&name);
        let Some(text) = name.to_str() else {
            continue;
        };
        let looked = match sort(path) {
            Sort::Unit => leads(&directory, directory.place(), path, true)
                .map(|leads| units.insert(text, leads)),
            Sort::AddingUp => adding_up(&directory, path, units),
            Sort::Other => Ok(()),
        };
        if let Err(error) = looked {
            units
                .problems
                .push(problem(&directory.place().join(path), &error));
        }
    }
    Ok(())
}

fn adding_up(directory: &Directory, path: &Path, units: &mut Units) -> io::Result<()> {
    let Some(unit) = path.file_stem().and_then(OsStr::to_str) else {
        return Ok(());
    };
    let (place, names) = directory.inner(path)?;
    let names = names.iter().filter_map(|name| name.to_str());
    if path.extension() != Some(OsStr::new("d")) {
        for name in names.filter(|name| sort(Path::new(name)) == Sort::Unit) {
            let target = directory.target(&place.join(name))?;
            let is_mask = target.is_some_and(|target| target == Path::new(NOWHERE));
            let link = path.join(name).display().to_string();
            units.links.insert(link, is_mask);
            let wanted = units.wanted.entry(unit.to_owned()).or_default();
            wanted.insert(name.to_owned());
        }
        return Ok(());
    }
    for name in names.filter(|name| Path::new(name).extension() == Some(OsStr::new("conf"))) {
        let leads = leads(directory, &place, Path::new(name), false)?;
        let files = units.drop_ins.entry(unit.to_owned()).or_default();
        files.insert(name.to_owned(), leads);
    }
    Ok(())
}

/// What `name` in the directory at `place` leads to, by its own word.
fn leads(directory: &Directory, place: &Path, name: &Path, is_unit: bool) -> io::Result<Leads> {
    let at = place.join(name);
    let Some(target) = directory.target(&at)? else {
        return Ok(Leads::File(at));
    };
    let alias = directory.alias(&target, name).filter(|_| is_unit);
    if let Some(other) = alias.as_deref().and_then(Path::to_str) {
        return Ok(Leads::Alias(other.to_owned()));
    }
    if target == Path::new(NOWHERE) {
        return Ok(Leads::Nowhere);
    }
    Ok(Leads::File(plain(&place.join(target))))
}

/// A path without `.` and `..`. Store paths have no links in between that would make another one of it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

/// Reads those of `files` that are a closure's, and have not been read.
pub fn load(root: &Root, units: &mut Units, files: &BTreeSet<PathBuf>) {
    let own = units.files.values();
    let leads = own.chain(units.drop_ins.values().flat_map(|files| files.values()));
    let paths: BTreeSet<PathBuf> = leads
        .filter_map(|leads| match leads {
            Leads::File(path) => Some(path),
            Leads::Nowhere | Leads::Alias(_) => None,
        })
        .filter(|path| files.contains(*path) && !units.texts.contains_key(*path))
        .cloned()
        .collect();
    for path in paths {
        match text(root, &path) {
            Ok(text) => {
                units.texts.insert(path, text);
            }
            Err(error) => {
                let problem = problem(&path, &error);
                if !units.problems.contains(&problem) {
                    units.problems.push(problem);
                }
            }
        }
    }
}

/// A file's text. What leads to nowhere is empty, as a mask is.
fn text(root: &Root, path: &Path) -> io::Result<String> {
    let place = root.canonical(path)?;
    if place == Path::new(NOWHERE) {
        return Ok(String::new());
    }
    bounded::read(&root.join(place), LIMIT)
}

fn problem(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

#[cfg(test)]
mod tests;
