//! The machine as commands see it: ledger, profiles, loader variables, `$BOOT`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use boot_entries::efi::LoaderVariables;
use boot_entries::generation::{Generation, Profiles};
use boot_entries::observe;
use boot_entries::plan::{self, Intent};
use boot_entries::{GenerationId, Root, boot_partition};

use crate::error::Error;
use crate::ledger::Ledger;
use crate::machine::{Boot, Standing, State, Subject};

/// Everything read once, without a lock: what is only told may be a moment old.
#[derive(Debug)]
pub struct View {
    /// The directory that plays `/`.
    pub root: Root,
    /// The ledger.
    pub ledger: Ledger,
    /// What the ledger adds up to.
    pub state: State,
    /// What the profiles list.
    pub profiles: Profiles,
    /// What the loader left in the firmware.
    pub variables: LoaderVariables,
}

impl View {
    /// Reads everything under `root`.
    ///
    /// # Errors
    /// When something is there and cannot be read.
    pub fn read(root: &Root) -> Result<Self, Error> {
        let ledger = Ledger::read(root)?;
        for number in &ledger.damaged {
            tracing::warn!(
                "{}: line {number} is damaged and is passed over",
                crate::ledger::PATH
            );
        }
        Ok(Self {
            root: root.clone(),
            state: ledger.state(),
            ledger,
            profiles: Profiles::read(root)?,
            variables: LoaderVariables::read(root),
        })
    }

    /// What the ledger knows of the boot that is under way. None: this boot has not begun, so that what the ledger knows
    /// last is about another one.
    #[must_use]
    pub fn this_boot(&self) -> Option<&Boot> {
        let id = boot_id(&self.root).ok()?;
        self.state.boot.as_ref().filter(|boot| boot.id == id)
    }

    /// What runs. None: no generation, or nobody knows.
    #[must_use]
    pub fn running(&self) -> Option<&Subject> {
        self.this_boot()?.running.as_ref()
    }

    /// Where `$BOOT` is, as a path of this process.
    ///
    /// # Errors
    /// When there is none, or not the right one.
    pub fn boot_directory(&self) -> Result<PathBuf, Error> {
        let path = boot_partition::find(&self.root, &self.variables)?;
        self.root.resolve(&path).map_err(|source| Error::Read {
            what: path.display().to_string(),
            source,
        })
    }

    /// The entries on `$BOOT`.
    ///
    /// # Errors
    /// When there is no `$BOOT`, or it cannot be read.
    pub fn boot(&self) -> Result<observe::Boot, Error> {
        Ok(observe::Boot::read(&self.boot_directory()?)?)
    }

    /// Every generation there is: those the profiles list, and those that are kept beyond that.
    #[must_use]
    pub fn generations(&self) -> Vec<Generation> {
        let mut all = self.profiles.generations.clone();
        for subject in self.state.protected() {
            if !all.iter().any(|g| g.id == subject.generation) {
                all.push(Generation {
                    id: subject.generation.clone(),
                    toplevel: subject.toplevel.clone(),
                    made: SystemTime::UNIX_EPOCH,
                });
            }
        }
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// The generation `id`, with the closure it is now.
    ///
    /// # Errors
    /// When there is none.
    pub fn subject(&self, id: &GenerationId) -> Result<Subject, Error> {
        let generation = self.generations().into_iter().find(|g| g.id == *id);
        generation.map(|g| subject_of(&g)).ok_or_else(|| {
            Error::Refused(format!(
                "generation {id} is in no profile; `lastgood list-generations` shows what there is"
            ))
        })
    }

    /// The generation that a boot of `closure` is a boot of. Several may have the same closure: the selected one, then
    /// the one the loader names, then the newest.
    #[must_use]
    pub fn subject_of_closure(&self, closure: &Path) -> Option<Subject> {
        let all = self.generations();
        let mut same: Vec<Subject> = all
            .iter()
            .filter(|generation| generation.toplevel == closure)
            .map(subject_of)
            .collect();
        let selected = self.state.selected.as_ref();
        if let Some(selected) = selected.filter(|selected| same.contains(selected)) {
            return Some(selected.clone());
        }
        let named = self.variables.selected.as_deref();
        let number = named
            .and_then(boot_entries::name::EntryName::parse)
            .and_then(|name| name.generation_number());
        let at = same
            .iter()
            .position(|s| Some(s.generation.number()) == number);
        match at {
            Some(at) => Some(same.swap_remove(at)),
            None => same.pop(),
        }
    }

    /// What the entries are to say, as the state `state` has it.
    #[must_use]
    pub fn intent(&self, state: &State, rearm: bool) -> Intent {
        let generations = self.generations();
        let known = |subject: &Subject| generations.iter().any(|g| subject_of(g) == *subject);
        let id = |subject: Option<&Subject>| {
            subject
                .filter(|subject| known(subject))
                .map(|subject| subject.generation.clone())
        };
        let standing = |generation: &Generation| match state.standing(&subject_of(generation)) {
            Standing::Proven => plan::Standing::Proven,
            Standing::Rejected => plan::Standing::Rejected,
            Standing::Untested | Standing::Trial => plan::Standing::Untested,
        };
        Intent {
            selected: id(state.selected.as_ref()),
            last_good: id(state.last_good()),
            standings: generations
                .iter()
                .map(|g| (g.id.clone(), standing(g)))
                .collect(),
            rearm,
        }
    }
}

/// The kernel's id of the boot that is under way.
///
/// # Errors
/// When it cannot be read; in a tree there is none.
pub fn boot_id(root: &Root) -> Result<String, Error> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(root.join(path)).map_err(|source| Error::Read {
        what: path.to_owned(),
        source,
    })?;
    Ok(text.trim().to_owned())
}

/// A generation as the ledger names it.
#[must_use]
pub fn subject_of(generation: &Generation) -> Subject {
    Subject {
        generation: generation.id.clone(),
        toplevel: generation.toplevel.clone(),
    }
}
