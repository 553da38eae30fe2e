//! A closure's `etc/` in the host's `/etc`, in NixOS's style: `/etc/static` leads to the closure's, and `/etc/X` to
//! `/etc/static/X`. What has an `X.mode` becomes a copy or a link of its own, as that says.
//!
//! What is looked at are the places that the closure wants and those that are ours by the [`manifest`], and nothing else
//! of `/etc`. A run that was cut off anywhere is finished by the next. Every boot runs this, so nothing is flushed to
//! disk but what is not a link. There are no threads, and nothing but `/etc` and the store is needed.
//!
//! Directories have no mark. Those made here stay when they are empty again (the distribution's own may be among
//! them), unless the closure wants something in their place.

use std::error::Error as _;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use boot_entries::Root;
use boot_entries::durable::owned::{self, Over};
use boot_entries::durable::{self, unflushed};

use crate::host::{ETC, ETC_MANIFEST, ETC_SEAL, STATIC};

mod checked;
pub mod give_back;
mod in_the_way;
pub mod manifest;
mod modes;
mod places;
pub mod plan;
mod seal;
mod wanted;

pub use in_the_way::in_the_way;
use manifest::{Manifest, Missing};
use places::Places;
use plan::{Known, Ours, Plan, Refusal, Situation, Step, Tree};

/// What a half-made link was called by earlier versions, with its name behind.
const FORMER_HALF_MADE: &str = ".lastgood-new-";

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
    /// A copy is not what lastgood made it.
    #[error(
        "cannot copy /etc/{path}: /etc/{path} was changed since lastgood wrote it, and stays as it is; keep what you need \
         of it, then rm /etc/{path} && systemctl restart lastgood-activate",
        path = .0.display()
    )]
    Changed(PathBuf),
    /// `/etc/static` itself is somebody else's.
    #[error("cannot switch /etc/static: lastgood did not make what is there; move it away")]
    Static,
    /// The closure does not say what is to be there.
    #[error("cannot link /etc/{}: cannot read {}: {source}", wanted.display(), path.display())]
    Closure {
        /// Relative to `/etc`.
        wanted: PathBuf,
        /// The closure's file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What the closure says of a file's mode or owner cannot be done.
    #[error("cannot copy /etc/{}: {why}; mend what is beside it in the closure (.mode, .uid, .gid), and build the generation again", wanted.display())]
    Order {
        /// Relative to `/etc`.
        wanted: PathBuf,
        /// Why, with the closure's file.
        why: String,
    },
    /// What is there cannot be looked at.
    #[error("cannot look at /etc/{}: {source}", path.display())]
    Look {
        /// Relative to `/etc`.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
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

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Foreign { wanted, found } => Self::Foreign { wanted, found },
            Refusal::Changed(path) => Self::Changed(path),
        }
    }
}

fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Problem {
    let path = path.to_owned();
    move |source| Problem::Io { what, path, source }
}

/// Makes the host's `/etc` that of `closure`, as far as it can be, and gives the number of changes made.
///
/// # Errors
/// Everything that is not as the closure wants it. All else was done. If nothing of the closure can be told, if what is
/// to be done cannot be written down, or if `/etc/static` cannot be switched, then `/etc` is as it was.
pub fn switch(root: &Root, closure: &Path) -> Result<usize, Vec<Problem>> {
    let one = |problem: Problem| vec![problem];
    unflushed::make_directories(&root.join(ETC)).map_err(|error| one(error.into()))?;
    let from = farm(root).map_err(one)?;
    let to = closure.join("etc");
    if from.as_ref() == Some(&to) && seal::holds(root, &to) {
        return Ok(0);
    }
    let before = known(root, from.as_deref());
    let began = SystemTime::now();
    let mut places = Places::new(root, &before.known);
    let mut wanted = wanted::wanted(root, &to, &mut places).map_err(one)?;
    let found = places.finish(&wanted.places);
    let mut problems = std::mem::take(&mut wanted.problems);
    problems.extend(found.problems);
    let unknown = wanted
        .unknown
        .iter()
        .cloned()
        .chain(found.unknown)
        .collect();
    let situation = Situation {
        have: &found.tree,
        known: &before.known,
        want: &wanted.places,
        unknown: &unknown,
        from: from.as_deref(),
        to: &to,
    };
    let Plan {
        steps,
        refused,
        left,
        ours,
    } = plan::plan(&situation);
    let mut changes = sweep(root, &before, &found.tree, &wanted.places);
    if needs_writing_down(&steps) {
        let manifest = intended(&situation, &steps);
        manifest::write(root, &manifest).map_err(|error| one(error.into()))?;
    }
    let mut done = Vec::with_capacity(steps.len());
    let mut failed: Vec<&Path> = Vec::new();
    for step in &steps {
        if let Step::Put { path, .. } = step
            && failed.iter().any(|above| path.starts_with(above))
        {
            continue;
        }
        match apply(root, step) {
            Ok(()) => done.push(step),
            Err(problem) if matches!(step, Step::Farm { .. }) => {
                take_back(root, &done, &situation);
                return Err(one(problem));
            }
            Err(problem) => {
                if let Step::MakeDirectory(path) = step {
                    failed.push(path);
                }
                problems.push(problem);
            }
        }
    }
    changes += done.len();
    for path in &left {
        tracing::warn!(
            "/etc/{0} stays: it was changed since lastgood wrote it, and the closure has it no more; rm /etc/{0} if nobody needs it",
            path.display()
        );
    }
    let is_as_written = before.is_whole
        && steps.is_empty()
        && left.is_empty()
        && before.known.places().count() == ours;
    if !is_as_written {
        let manifest = Manifest {
            known: remaining(&situation, &refused, &done),
            farm: to.clone(),
            is_done: true,
        };
        let is_same =
            before.is_whole && from.as_ref() == Some(&to) && manifest.known == before.known;
        if !is_same {
            problems.extend(manifest::write(root, &manifest).err().map(Problem::from));
        }
    }
    problems.extend(refused.into_iter().map(Problem::from));
    if problems.is_empty() {
        if is_as_written && changes == 0 {
            seal::put(root, &to, &wanted, began);
        }
        Ok(changes)
    } else {
        Err(problems)
    }
}

/// Where `/etc/static` leads. None: it is not there.
fn farm(root: &Root) -> Result<Option<PathBuf>, Problem> {
    let place = root.join(STATIC);
    match std::fs::read_link(&place) {
        // As in every Nix-style tree; anything else is not a link farm's.
        Ok(target) if target.is_absolute() && target.ends_with("etc") => Ok(Some(target)),
        Ok(_) => Err(Problem::Static),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(Problem::Static),
        Err(error) => Err(at("read", &place)(error)),
    }
}

/// What was ours before a run.
struct Before {
    known: Known,
    /// The last run ended, and was of a release that writes manifests.
    is_whole: bool,
    /// Half-made files may lie about.
    is_cut_off: bool,
}

fn known(root: &Root, farm: Option<&Path>) -> Before {
    let manifest = manifest::read(root);
    if let Err(Missing::Damaged(why)) = &manifest {
        tracing::warn!("cannot read {ETC_MANIFEST}: {why}; looking where /etc/static leads");
    }
    let is_done = manifest.as_ref().is_ok_and(|manifest| manifest.is_done);
    let is_whole = is_done && manifest.as_ref().ok().map(|one| one.farm.as_path()) == farm;
    let is_cut_off = !is_done && (manifest.is_ok() || farm.is_some());
    let is_lost = manifest.is_err();
    let mut known = manifest.map(|one| one.known).unwrap_or_default();
    // A release without manifests was here, the last run was cut off, or the manifest is lost.
    if let Some(farm) = farm
        && !is_whole
    {
        let nothing = Known::default();
        let mut places = Places::new(root, &nothing);
        match wanted::wanted(root, farm, &mut places) {
            Ok(wanted) => {
                let found = places.finish(&wanted.places);
                wanted.add_to(&mut known, is_lost.then_some(&found.tree));
            }
            // The closure is gone.
            Err(problem) => tracing::warn!("what was linked before is not known: {problem}"),
        }
    }
    Before {
        known,
        is_whole,
        is_cut_off,
    }
}

/// Whether steps make something at a place that the manifest does not have yet.
fn needs_writing_down(steps: &[Step]) -> bool {
    steps.iter().any(|step| match step {
        Step::Put { ours, was, .. } => was.is_none() || *ours != Ours::Static,
        _ => false,
    })
}

fn intended(situation: &Situation<'_>, steps: &[Step]) -> Manifest {
    let mut known = situation.known.clone();
    for step in steps {
        if let Step::Put { path, ours, .. } = step {
            known.insert(path, ours);
        }
    }
    Manifest {
        farm: situation.to.to_owned(),
        is_done: false,
        known,
    }
}

/// What is ours after these steps.
fn remaining(situation: &Situation<'_>, refused: &[Refusal], done: &[&Step]) -> Known {
    let Situation { have, known, .. } = *situation;
    let mut after = Known::default();
    let mut keep = |path: &Path| {
        for ours in known.others.get(path).into_iter().flatten() {
            after.insert(path, ours);
        }
    };
    // Should it be what we wrote again, it is ours again.
    for refusal in refused {
        if let Refusal::Changed(path) = refusal {
            keep(path);
        }
    }
    for path in situation.unknown {
        let below = known.others.range(path.clone()..);
        for (path, _) in below.take_while(|(found, _)| found.starts_with(path)) {
            keep(path);
        }
    }
    let is_unknown = |path: &PathBuf| path.ancestors().any(|one| situation.unknown.contains(one));
    let links = known.links.iter().filter(|path| is_unknown(path));
    let mut links: Vec<PathBuf> = if situation.unknown.is_empty() {
        Vec::new()
    } else {
        links.cloned().collect()
    };
    for (path, found) in have {
        match known.ours(path, found) {
            Some(Ours::Static) => links.push(path.clone()),
            Some(ours) => after.insert(path, &ours),
            None => {}
        }
    }
    for step in done {
        if let Step::Put {
            path,
            ours: Ours::Static,
            ..
        } = step
        {
            links.push(path.clone());
        }
    }
    after.links = links.into_iter().collect();
    for step in done {
        match step {
            Step::Put { path, ours, .. } if *ours != Ours::Static => {
                after.remove(path);
                after.insert(path, ours);
            }
            Step::Put { path, .. } => {
                after.others.remove(path);
            }
            Step::Remove { path, .. } => after.remove(path),
            _ => {}
        }
    }
    after
}

/// Takes back what was done, because `/etc/static` cannot be switched.
fn take_back(root: &Root, done: &[&Step], situation: &Situation<'_>) {
    let done: Vec<Step> = done.iter().map(|step| (*step).clone()).collect();
    let mut is_back = true;
    for step in plan::inverse(&done) {
        if let Err(problem) = apply(root, &step) {
            tracing::warn!("{problem}");
            is_back = false;
        }
    }
    let Some(from) = situation.from.filter(|_| is_back) else {
        return;
    };
    let manifest = Manifest {
        farm: from.to_owned(),
        is_done: true,
        known: remaining(situation, &[], &[]),
    };
    if let Err(error) = manifest::write(root, &manifest) {
        tracing::warn!("{}", Problem::from(error));
    }
}

/// Whether a file of this name is what a run left when it was cut off.
fn is_leftover(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    durable::is_leftover(&name) || name.starts_with(FORMER_HALF_MADE)
}

/// What a half-made file for `place` may be called.
fn half_made(place: &Path) -> [PathBuf; 2] {
    let mut former = std::ffi::OsString::from(FORMER_HALF_MADE);
    former.push(place.file_name().unwrap_or_default());
    [durable::beside(place), place.with_file_name(former)]
}

/// Removes what a run has left half-made beside its places, and gives how many there were.
fn sweep(root: &Root, before: &Before, have: &Tree, want: &plan::Want) -> usize {
    let remove = |path: &Path| match std::fs::symlink_metadata(path) {
        Ok(found) if !found.is_dir() => unflushed::remove(path).is_ok(),
        _ => false,
    };
    let own = [STATIC, ETC_MANIFEST, ETC_SEAL].map(|path| durable::beside(&root.join(path)));
    let own = own.iter().filter(|path| remove(path)).count();
    if !before.is_cut_off {
        return own;
    }
    let is_directory = |path: &Path| {
        let above = path.parent().unwrap_or(Path::new(""));
        above.as_os_str().is_empty() || have.get(above) == Some(&plan::Have::Directory)
    };
    let places = before.known.places().chain(want.keys());
    let etc = root.join(ETC);
    let half_made = places
        .filter(|path| is_directory(path))
        .flat_map(|path| half_made(&etc.join(path)));
    own + half_made.filter(|path| remove(path)).count()
}

/// How often a directory may go while something is made in it.
const TRIES: usize = 100;

fn apply(root: &Root, step: &Step) -> Result<(), Problem> {
    let etc = root.join(ETC);
    let mut made = take(root, &etc, step);
    // Somebody removes the empty directory since it was looked at.
    for _ in 0..TRIES {
        let (Step::MakeDirectory(path) | Step::Put { path, .. }) = step else {
            break;
        };
        if !made.as_ref().is_err_and(is_gone) {
            break;
        }
        let above = plan::down_to(path.parent().unwrap_or(path));
        let remade = above
            .into_iter()
            .try_for_each(|above| unflushed::make_directory(&etc.join(above)));
        made = match remade {
            Ok(()) => take(root, &etc, step),
            Err(error) => Err(error.into()),
        };
    }
    made
}

fn is_gone(problem: &Problem) -> bool {
    let Problem::Write(error) = problem else {
        return false;
    };
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::NotFound)
}

fn take(root: &Root, etc: &Path, step: &Step) -> Result<(), Problem> {
    match step {
        Step::MakeDirectory(path) => unflushed::make_directory(&etc.join(path))?,
        Step::RemoveDirectory(path) => unflushed::remove_directory(&etc.join(path))?,
        Step::Remove { path, .. } => unflushed::remove(&etc.join(path))?,
        Step::Farm { to: Some(to), .. } => {
            unflushed::put_link(to, &root.join(STATIC))?;
        }
        Step::Farm { to: None, .. } => unflushed::remove(&root.join(STATIC))?,
        Step::Put { path, ours, was } => put(root, path, &etc.join(path), ours, was.as_ref())?,
    }
    Ok(())
}

fn put(
    root: &Root,
    path: &Path,
    place: &Path,
    ours: &Ours,
    was: Option<&Ours>,
) -> Result<(), Problem> {
    let link = |to: &Path| match was {
        None => unflushed::make_link(to, place),
        Some(_) => unflushed::put_link(to, place).map(drop),
    };
    match ours {
        Ours::Static => link(&Path::new(STATIC).join(path))?,
        Ours::Link(to) => link(to)?,
        Ours::Copy(copy) => {
            let mut file = root.open(&copy.from).map_err(at("read", &copy.from))?;
            let over = match was {
                None => Over::Nothing,
                Some(_) => Over::Anything,
            };
            owned::put(copy.owner, &mut file, &copy.content, place, over)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
