//! Which steps lead from what is at the places of `/etc` to what a closure wants there, and back.
//!
//! Pure: what is there, what is known to be ours and what is wanted are data. Every step says what it replaces, so that
//! it can be turned round by itself.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::iter::Peekable;
use std::path::{Path, PathBuf};

use boot_entries::durable::owned::Owner;
use boot_entries::payload::Content;

use crate::host::STATIC;

/// What lastgood makes at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ours {
    /// A link to the same path below `/etc/static`.
    Static,
    /// A link to this. It says by itself that it is ours if it leads below `/etc/static`.
    Link(PathBuf),
    /// A file with a mode and an owner of its own.
    Copy(Box<Copied>),
}

/// A copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The file of the store that it is a copy of.
    pub from: PathBuf,
    /// Its bytes.
    pub content: Content,
    /// Whose it is, and who may use it.
    pub owner: Owner,
}

/// What is at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Have {
    /// A directory.
    Directory,
    /// A link to the same path below `/etc/static`.
    Static,
    /// Another link.
    Link(PathBuf),
    /// A file. None: its bytes are not those of any copy in question, so nobody read it.
    File(Option<Content>, Owner),
    /// A device, a FIFO, a socket.
    Other,
}

/// What is at the places in question, by paths relative to `/etc`. What is not in it is not there.
pub type Tree = BTreeMap<PathBuf, Have>;
/// What is wanted, by paths relative to `/etc`, none above another.
pub type Want = BTreeMap<PathBuf, Ours>;

/// What is known to be ours, by paths relative to `/etc`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Links to the same path below `/etc/static`.
    pub links: BTreeSet<PathBuf>,
    /// Anything else. There may be two at a place: what a run found and what it was to make of it.
    pub others: BTreeMap<PathBuf, Vec<Ours>>,
}

impl Known {
    /// Adds something.
    pub fn insert(&mut self, path: &Path, ours: &Ours) {
        if *ours == Ours::Static {
            self.links.insert(path.to_owned());
            return;
        }
        let here = self.others.entry(path.to_owned()).or_default();
        if !here.contains(ours) {
            here.push(ours.clone());
        }
    }

    /// Forgets all that is known of a place.
    pub fn remove(&mut self, path: &Path) {
        self.links.remove(path);
        self.others.remove(path);
    }

    /// Every place there is.
    pub fn places(&self) -> impl Iterator<Item = &PathBuf> {
        let others = self.others.keys();
        self.links
            .iter()
            .chain(others.filter(|path| !self.links.contains(*path)))
    }

    /// What is ours of what is at a place. None: nothing.
    #[must_use]
    pub fn ours(&self, path: &Path, have: &Have) -> Option<Ours> {
        let known = || self.others.get(path).into_iter().flatten();
        match have {
            Have::Static => Some(Ours::Static),
            Have::Link(to) => {
                let says_so = to
                    .strip_prefix(STATIC)
                    .is_ok_and(|rest| !rest.as_os_str().is_empty());
                let ours = Ours::Link(to.clone());
                (says_so || known().any(|known| *known == ours)).then_some(ours)
            }
            Have::File(Some(content), owner) => known().find_map(|known| match known {
                Ours::Copy(copy) if copy.content == *content => {
                    let owner = *owner;
                    Some(Ours::Copy(Box::new(Copied {
                        owner,
                        ..(**copy).clone()
                    })))
                }
                _ => None,
            }),
            _ => None,
        }
    }

    fn has_copy(&self, path: &Path) -> bool {
        let mut known = self.others.get(path).into_iter().flatten();
        known.any(|known| matches!(known, Ours::Copy(_)))
    }
}

/// One change to the host's `/etc`. Paths are relative to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a directory.
    MakeDirectory(PathBuf),
    /// Remove an empty directory, because something else is to take its place.
    RemoveDirectory(PathBuf),
    /// Lead `/etc/static` elsewhere. None: it is not there.
    Farm {
        /// Where it leads.
        from: Option<PathBuf>,
        /// Where it is to lead.
        to: Option<PathBuf>,
    },
    /// Make something, in the place of nothing or of something of ours, atomically.
    Put {
        /// Where.
        path: PathBuf,
        /// What.
        ours: Ours,
        /// What is there. None: nothing.
        was: Option<Ours>,
    },
    /// Remove something of ours.
    Remove {
        /// Where.
        path: PathBuf,
        /// What it is.
        was: Ours,
    },
}

impl Step {
    /// What takes this step back.
    #[must_use]
    pub fn inverse(&self) -> Self {
        match self.clone() {
            Self::MakeDirectory(path) => Self::RemoveDirectory(path),
            Self::RemoveDirectory(path) => Self::MakeDirectory(path),
            Self::Farm { from, to } => Self::Farm { from: to, to: from },
            Self::Put {
                path,
                ours,
                was: None,
            } => Self::Remove { path, was: ours },
            Self::Put {
                path,
                ours,
                was: Some(was),
            } => Self::Put {
                path,
                ours: was,
                was: Some(ours),
            },
            Self::Remove { path, was } => Self::Put {
                path,
                ours: was,
                was: None,
            },
        }
    }
}

/// What leads back from where `steps` have led: what was ours before is there again.
#[must_use]
pub fn inverse(steps: &[Step]) -> Vec<Step> {
    steps.iter().rev().map(Step::inverse).collect()
}

/// Something wanted that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Something else is in the way.
    Foreign {
        /// What is wanted.
        wanted: PathBuf,
        /// What is in the way: the same path, or one above or below.
        found: PathBuf,
    },
    /// The copy that is there was changed by somebody else.
    Changed(PathBuf),
}

/// All that a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// What is there.
    pub have: &'a Tree,
    /// What is known to be ours.
    pub known: &'a Known,
    /// What is wanted.
    pub want: &'a Want,
    /// What is wanted here and below, or what is there, nobody knows: nothing of it is touched.
    pub unknown: &'a BTreeSet<PathBuf>,
    /// Where `/etc/static` leads. None: it is not there.
    pub from: Option<&'a Path>,
    /// Where it is to lead.
    pub to: &'a Path,
}

/// What must change, and what cannot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The changes, in their order.
    pub steps: Vec<Step>,
    /// What is wanted and cannot be. All else can.
    pub refused: Vec<Refusal>,
    /// Copies that somebody has changed, and that are not wanted any more: they are not ours now.
    pub left: Vec<PathBuf>,
    /// How many places are ours already.
    pub ours: usize,
}

/// What keeps the places in a directory from being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Above<'a> {
    /// Nothing. Directories may be missing.
    Free,
    /// Something of ours that goes first.
    Cleared,
    /// Something of somebody else's.
    Foreign(&'a Path),
}

/// A sorted map that is asked in its order.
#[derive(Debug)]
pub(super) struct Sorted<'a, V>(Peekable<btree_map::Iter<'a, PathBuf, V>>);

impl<'a, V> Sorted<'a, V> {
    /// Nothing was asked yet.
    pub(super) fn new(map: &'a BTreeMap<PathBuf, V>) -> Self {
        Self(map.iter().peekable())
    }

    /// What is at `path`, which comes after all that were asked before.
    pub(super) fn get(&mut self, path: &Path) -> Option<&'a V> {
        while self
            .0
            .next_if(|(found, _)| found.as_path() < path)
            .is_some()
        {}
        let next = self.0.next_if(|(found, _)| found.as_path() == path);
        next.map(|(_, value)| value)
    }
}

/// Total, and nothing when nothing is to do. What cannot be is refused by itself; all else goes on.
///
/// The order makes every state between two steps usable. New links come first: until `/etc/static` is switched they
/// lead nowhere, which is as if they were not there. With `/etc/static` every link changes at once. Then comes what
/// cannot change with it: copies, and what takes the place of something else. What is obsolete goes last.
#[must_use]
pub fn plan(situation: &Situation<'_>) -> Plan {
    let Situation {
        have, known, want, ..
    } = *situation;
    let mut plan = Plan::default();
    let mut steps = Steps::default();
    let mut places = Sorted::new(have);
    let mut last: Option<(&Path, Above<'_>)> = None;
    for (path, wanted) in want {
        if situation.is_unknown(path) {
            continue;
        }
        let directory = path.parent().unwrap_or(Path::new(""));
        let above = match last {
            Some((known, above)) if known == directory => above,
            _ => situation.above(directory, &mut steps.cleared),
        };
        last = Some((directory, above));
        let found = places.get(path);
        let mut put = |was: Option<Ours>| steps.late.push((path, wanted, was));
        match (above, found) {
            (Above::Foreign(found), _) => plan.refused.push(foreign(path, found)),
            (Above::Free, None) if *wanted == Ours::Static => {
                steps.early.push((path, wanted, None));
            }
            (Above::Cleared, _) | (Above::Free, None) => put(None),
            (Above::Free, Some(Have::Directory)) => {
                if let Some(found) = situation.first_foreign(path) {
                    plan.refused.push(foreign(path, found));
                } else {
                    put(None);
                    steps.empty(situation, path);
                }
            }
            (Above::Free, Some(found)) => match known.ours(path, found) {
                _ if is_as_wanted(found, wanted) => {}
                Some(was) => put(Some(was)),
                None if known.has_copy(path) && matches!(found, Have::File(..)) => {
                    plan.refused.push(Refusal::Changed(path.clone()));
                }
                None => plan.refused.push(foreign(path, path)),
            },
        }
    }
    let mut wanted = Sorted::new(want);
    for (path, found) in have {
        let is_wanted = wanted.get(path).is_some();
        match known.ours(path, found) {
            Some(_) if is_wanted => plan.ours += 1,
            _ if is_wanted || situation.is_unknown(path) => {}
            Some(was) => {
                plan.ours += 1;
                steps.obsolete.push((path, was));
            }
            None if known.has_copy(path) && matches!(found, Have::File(..)) => {
                plan.left.push(path.clone());
            }
            None => {}
        }
    }
    plan.steps = steps.ordered(situation);
    plan
}

fn foreign(wanted: &Path, found: &Path) -> Refusal {
    Refusal::Foreign {
        wanted: wanted.to_owned(),
        found: found.to_owned(),
    }
}

/// Whether what is there is what is wanted.
pub(super) fn is_as_wanted(have: &Have, wanted: &Ours) -> bool {
    match (have, wanted) {
        (Have::Static, Ours::Static) => true,
        (Have::Link(to), Ours::Link(wanted)) => to == wanted,
        (Have::File(Some(content), owner), Ours::Copy(copy)) => {
            *content == copy.content && *owner == copy.owner
        }
        _ => false,
    }
}

impl<'a> Situation<'a> {
    fn is_unknown(&self, path: &Path) -> bool {
        !self.unknown.is_empty() && path.ancestors().any(|path| self.unknown.contains(path))
    }

    /// What is above the places in `directory`. What is ours there goes into `cleared`.
    fn above(&self, directory: &'a Path, cleared: &mut BTreeSet<&'a Path>) -> Above<'a> {
        for path in down_to(directory) {
            match self.have.get(path) {
                None => return Above::Free,
                Some(Have::Directory) => {}
                Some(found) if self.known.ours(path, found).is_some() => {
                    cleared.insert(path);
                    return Above::Cleared;
                }
                Some(_) => return Above::Foreign(path),
            }
        }
        Above::Free
    }

    /// Something below `path` that is no directory and not ours, or that is not known.
    fn first_foreign(&self, path: &'a Path) -> Option<&'a Path> {
        let is_foreign = |(path, found): &(&PathBuf, &Have)| {
            **found != Have::Directory && self.known.ours(path, found).is_none()
        };
        let unknown = self.unknown.iter().find(|found| found.starts_with(path));
        let found = below(self.have, path)
            .find(is_foreign)
            .map(|(path, _)| path.as_path());
        found.or(unknown.map(PathBuf::as_path))
    }
}

/// The steps, by when they are taken.
#[derive(Default)]
struct Steps<'a> {
    early: Vec<(&'a PathBuf, &'a Ours, Option<Ours>)>,
    late: Vec<(&'a PathBuf, &'a Ours, Option<Ours>)>,
    /// What is obsolete, and in the way of what is wanted.
    cleared: BTreeSet<&'a Path>,
    emptied: BTreeSet<&'a Path>,
    obsolete: Vec<(&'a PathBuf, Ours)>,
}

impl<'a> Steps<'a> {
    /// The directory at `path` makes room.
    fn empty(&mut self, situation: &Situation<'a>, path: &'a Path) {
        self.emptied.insert(path);
        for (path, found) in below(situation.have, path) {
            if *found == Have::Directory {
                self.emptied.insert(path);
            } else {
                self.cleared.insert(path);
            }
        }
    }

    fn ordered(self, situation: &Situation<'_>) -> Vec<Step> {
        let mut steps = Vec::with_capacity(self.early.len() + 1);
        let mut made = BTreeSet::new();
        let mut last = None;
        let mut put = |steps: &mut Vec<Step>, (path, ours, was): (&'a PathBuf, &Ours, _)| {
            let directory = path.parent();
            if last != Some(directory) {
                for above in directory.into_iter().flat_map(down_to) {
                    if situation.have.get(above) != Some(&Have::Directory) && made.insert(above) {
                        steps.push(Step::MakeDirectory(above.to_owned()));
                    }
                }
                last = Some(directory);
            }
            steps.push(Step::Put {
                path: path.clone(),
                ours: ours.clone(),
                was,
            });
        };
        for one in self.early {
            put(&mut steps, one);
        }
        if situation.from != Some(situation.to) {
            steps.push(Step::Farm {
                from: situation.from.map(Path::to_owned),
                to: Some(situation.to.to_owned()),
            });
        }
        let remove = |(path, was): (&PathBuf, Ours)| Step::Remove {
            path: path.clone(),
            was,
        };
        let (first, rest): (Vec<_>, Vec<_>) = self
            .obsolete
            .into_iter()
            .partition(|(path, _)| self.cleared.contains(path.as_path()));
        steps.extend(first.into_iter().map(remove));
        // Deepest first: a path sorts before those below it.
        let emptied = self.emptied.iter().rev();
        steps.extend(emptied.map(|path| Step::RemoveDirectory((*path).to_owned())));
        for one in self.late {
            put(&mut steps, one);
        }
        steps.extend(rest.into_iter().map(remove));
        steps
    }
}

/// The directories down to `path` and itself, the outermost first.
pub(super) fn down_to(path: &Path) -> Vec<&Path> {
    let mut above: Vec<&Path> = path
        .ancestors()
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

#[cfg(test)]
mod tests;
