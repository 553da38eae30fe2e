//! The machine as commands see it: ledger, profiles, loader variables, `$BOOT`.

mod ahead;
mod known_places;
mod stand_in;
mod startable;
pub mod versions;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;

use boot_entries::boot_partition::{Place, Places, Wanted};
use boot_entries::closure::Documents;
use boot_entries::digests::Digests;
use boot_entries::entry::EntryFile;
use boot_entries::generation::{Generation, Profiles};
use boot_entries::name::stem_of;
use boot_entries::observe;
use boot_entries::plan::{self, Damage};
use boot_entries::{GenerationId, Root, boot_partition, closure, efi, payload, systemd_boot};
use systemd_boot_model::{EntryName, LoaderVariables, ReleaseRange};

use crate::config;
use crate::error::Error;
use crate::report::line::one_line;
use crate::report::{progress, remedy};
use crate::state::started_by::{StartedBy, Starts, started_by};
use crate::state::{BootRecord, State, Subject};
use crate::store::ledger::{self, Ledger};
use crate::store::state_directory::{self, Volatile};
use crate::store::{digests, secrets};
use crate::system::boot_id::boot_id;
use crate::system::command_line;

use known_places::KnownPlaces;
pub use stand_in::LostStandIn;
pub use startable::{is_unsigned, unstartable};

/// Nothing is on record, and so many entries on `$BOOT` are ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostRecord {
    /// How many.
    pub entries: usize,
}

impl fmt::Display for LostRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entries } = self;
        write!(
            f,
            "{} is gone or says nothing, and $BOOT has {entries} of our entries: what was selected and proven is not known any \
             more; `lastgood good NUMBER` says again what works, then `lastgood install` selects",
            ledger::PATH
        )
    }
}

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
    /// What the profiles list, each generation followed by its specialisations.
    pub listed: Vec<Generation>,
    /// What is wrong with specialisations that cannot be had, and whose they are.
    pub troubles: Vec<(Subject, String)>,
    /// What the closures of those that the profiles list say.
    pub documents: Documents,
    /// What the loader left in the firmware.
    pub variables: LoaderVariables,
    /// What closures say about this machine's boot.
    configs: config::Known,
    /// Where entries go, as far as it was looked up.
    places: KnownPlaces,
    /// What was read before, until somebody asks for it.
    digests: RefCell<Option<Digests>>,
}

impl View {
    /// Reads everything under `root`.
    ///
    /// # Errors
    /// When something is there and cannot be read.
    pub fn read(root: &Root) -> Result<Self, Error> {
        let ledger = Ledger::read(root)?;
        for warning in ledger.warnings() {
            tracing::warn!("{warning}");
        }
        let profiles = Profiles::read(root)?;
        let mut digests = digests::load(root);
        let listed = closure::with_specialisations(root, &profiles.generations, &mut digests);
        Ok(Self {
            root: root.clone(),
            state: ledger.state(),
            ledger,
            profiles,
            listed: listed.generations,
            troubles: listed.troubles,
            documents: listed.documents,
            variables: efi::read(root),
            configs: config::Known::default(),
            places: KnownPlaces::default(),
            digests: RefCell::new(Some(digests)),
        })
    }

    /// What was read before; what is read beyond that is shown as progress. Whoever asks first gets what this view was
    /// read with. After that it is loaded anew: files may have been written since.
    #[must_use]
    pub fn digests(&self) -> Digests {
        let first = self.digests.take();
        let mut digests = first.unwrap_or_else(|| digests::load(&self.root));
        digests.watched_by(progress::reading(self.listed.len()));
        digests
    }

    /// Adds what services wrote to the journal to the causes, if this process may read it. That it cannot be read is
    /// told.
    pub fn add_logs(&mut self) {
        if self
            .ledger
            .records
            .iter()
            .all(|record| record.log_lines == 0)
        {
            return;
        }
        if let Err(error) = self.ledger.add_logs(&self.root) {
            tracing::warn!("what the units wrote is left out: {}", one_line(&error));
        }
        self.state = self.ledger.state();
    }

    /// What the ledger knows of the boot that is under way. None: this boot has not begun, so that what the ledger
    /// knows last is about another one.
    #[must_use]
    pub fn this_boot(&self) -> Option<&BootRecord> {
        let id = boot_id(&self.root).ok()?;
        self.state.boot.as_ref().filter(|boot| boot.id == id)
    }

    /// Whether the firmware starts only what is signed.
    #[must_use]
    pub fn checks_signatures(&self) -> bool {
        efi::checks_signatures(&self.root)
    }

    /// What runs. None: no generation, or nobody knows.
    #[must_use]
    pub fn running(&self) -> Option<&Subject> {
        self.this_boot()?.running.as_ref()
    }

    /// Why nothing that is recorded outlives a boot, if that is so.
    #[must_use]
    pub fn volatile_state(&self) -> Option<Volatile> {
        let boot = boot_id(&self.root).ok();
        let selected = self.started_from();
        state_directory::volatile(&self.root, &self.ledger, selected, boot.as_deref())
    }

    /// The entry that this boot of a generation was started from, as the loader names it. None: the loader names none,
    /// or one of which it is not known that it starts what runs. So it is after a kexec, and where the firmware went on
    /// to another loader.
    #[must_use]
    pub fn started_from(&self) -> Option<&str> {
        let closure = command_line::closure(&self.root).ok().flatten()?;
        let is_loaders = self.started_by(&closure) == StartedBy::Loader;
        self.variables.selected.as_deref().filter(|_| is_loaders)
    }

    /// What the kernel's command line says that this boot is of, whether it has begun or not.
    pub(crate) fn started(&self) -> Option<Subject> {
        let closure = command_line::closure(&self.root).ok().flatten()?;
        self.subject_of_closure(&closure)
    }

    /// Who started `closure`, which runs. Where entries cannot be read, names have to tell.
    #[must_use]
    pub fn started_by(&self, closure: &Path) -> StartedBy {
        let named = self.variables.selected.as_deref();
        let name = named.and_then(EntryName::parse);
        let boot = name.as_ref().and_then(|_| self.boot().ok());
        let files = name
            .iter()
            .zip(&boot)
            .flat_map(|(name, boot)| boot.files_of(&name.stem));
        let starts: Vec<Starts> = files.map(|(_, file)| Starts::of(&file.entry)).collect();
        let known: Vec<Subject> = self.generations().iter().map(Generation::subject).collect();
        started_by(closure, named, &starts, &known)
    }

    /// Where entries go, when `state` is the state.
    ///
    /// # Errors
    /// When there is no such place, or not the right one.
    pub fn places(&self, state: &State) -> Result<Places, Error> {
        let config = self.boot_config(state);
        // A mirror that a trial brings along is one for as long as anything on it may be booted: a verdict must be
        // written there, too.
        let mut mirrors = config.mirrors();
        for subject in state.protected() {
            mirrors.extend(
                self.configs
                    .of(&self.root, &subject.toplevel)
                    .boot
                    .mirrors(),
            );
        }
        let mut known = BTreeSet::new();
        mirrors.retain(|mirror| known.insert(mirror.clone()));
        let esp = config.esp();
        let wanted = Wanted { esp, mirrors };
        let find = || boot_partition::find(&self.root, &self.variables, &wanted);
        Ok(self.places.of(&wanted, find)?)
    }

    /// What the selected closure says about boot partitions and loader; the last good one's, where nothing is selected.
    #[must_use]
    pub fn boot_config(&self, state: &State) -> config::BootConfig {
        let subject = state.selected.as_ref().or(state.last_good());
        let config = subject.map(|subject| self.configs.of(&self.root, &subject.toplevel));
        config.unwrap_or_default().boot
    }

    /// How the loader in `place` chooses. What started this boot may have been replaced since, or have come from
    /// elsewhere.
    ///
    /// # Errors
    /// When there is none, or none whose choices are known.
    pub fn release(&self, place: &Place) -> Result<ReleaseRange, Error> {
        let info =
            systemd_boot::Installed::info(&place.esp).or_else(|| self.variables.info.clone());
        let release = info.as_deref().and_then(ReleaseRange::of_loader_info);
        release.ok_or_else(|| {
            let name = place.name.display();
            let too_old = info.as_deref().and_then(systemd_boot_model::too_old);
            let why = too_old.map(|loader| remedy::too_old(&loader));
            let why = why.unwrap_or_else(|| {
                "no systemd-boot can be seen here, so that nobody can say what the machine starts; run `lastgood install`"
                    .to_owned()
            });
            Error::Refused(format!("{name}: {why}"))
        })
    }

    /// The entries that the loader reads next.
    ///
    /// # Errors
    /// When there are none, or they cannot be read; also when only mirrors of them can be.
    pub fn boot(&self) -> Result<observe::BootFiles, Error> {
        let mut places = self.places(&self.state)?;
        if !places.has_next && !places.unusable.is_empty() {
            return Err(places.unusable.remove(0).into());
        }
        let place = places.usable.first().cloned().unwrap_or_default();
        Ok(observe::BootFiles::read(&place)?)
    }

    /// The names of the entries that the loader reads next; where these cannot be read, those of a mirror.
    ///
    /// # Errors
    /// When none can be read.
    pub fn entry_names(&self, state: &State) -> Result<Vec<EntryName>, Error> {
        let places = self.places(state)?;
        let mut read = places.usable.iter().map(observe::entry_names);
        let first = read.next().unwrap_or_else(|| Ok(Vec::new()));
        Ok(first.or_else(|error| read.find_map(Result::ok).ok_or(error))?)
    }

    /// Whether an entry that is named as ours are is another system's. What it takes to tell is worked out once,
    /// however many entries are asked about.
    pub fn other_systems(&self) -> impl Fn(&EntryFile) -> bool {
        self.state.ownership().other_systems(|| self.stems())
    }

    /// What entries of our generations are called, without a counter.
    fn stems(&self) -> BTreeSet<String> {
        let generations = self.generations();
        generations.iter().map(|g| stem_of(&g.subject())).collect()
    }

    /// That entries of ours are there and nothing is on record of them. What is known by nothing but its name may be
    /// another system's.
    #[must_use]
    pub fn lost_record(&self) -> Option<LostRecord> {
        let state = &self.state;
        if state.uninstalled || state.selected.is_some() || !state.proven.is_empty() {
            return None;
        }
        let names = self.entry_names(&self.state).unwrap_or_default();
        let stems = self.stems();
        let entries = names.iter().filter(|name| stems.contains(&name.stem));
        let entries = entries.count();
        (entries > 0).then_some(LostRecord { entries })
    }

    /// Every generation there is: those the profiles list with their specialisations, and those that are kept beyond
    /// that. A number that came back with another closure is there twice as long as the former one is kept: first the
    /// one its profile has now.
    #[must_use]
    pub fn generations(&self) -> Cow<'_, [Generation]> {
        self.generations_in(&self.state)
    }

    /// [`Self::generations`], where `state` says what is kept.
    #[must_use]
    pub fn generations_in(&self, state: &State) -> Cow<'_, [Generation]> {
        let mut all = Cow::Borrowed(&*self.listed);
        for subject in state.protected() {
            if !all.iter().any(|g| g.is(subject)) {
                all.to_mut().push(Generation {
                    id: subject.generation.clone(),
                    toplevel: subject.toplevel.clone(),
                });
            }
        }
        // Profiles list them in order.
        if !all.is_sorted_by(|a, b| a.id <= b.id) {
            Generation::sort(all.to_mut());
        }
        all
    }

    /// Whether a profile lists it, or the generation it is a specialisation of.
    #[must_use]
    pub fn lists(&self, subject: &Subject) -> bool {
        self.listed.iter().any(|g| g.is(subject))
    }

    /// Whether its profile points at it, and at no other closure by the same number.
    #[must_use]
    pub fn is_current(&self, subject: &Subject) -> bool {
        self.profiles.current.contains(&subject.generation) && self.lists(subject)
    }

    /// Whether the profile is to point at `to` again because it still points at `rejected`: else the next
    /// `nixos-rebuild boot` or garbage collection would take the bad one for the current one.
    #[must_use]
    pub fn is_to_be_repointed(&self, rejected: &Subject, to: &Subject) -> bool {
        let (from, to_id) = (&rejected.generation, &to.generation);
        // A profile knows nothing of specialisations: that one of them is bad says nothing about what it points at. And
        // a link whose number came back with another closure leads to that one.
        from.profile() == to_id.profile()
            && from.number() != to_id.number()
            && self.is_current(rejected)
            && self.lists(to)
    }

    /// The generation `id`, with the closure it is now.
    ///
    /// # Errors
    /// When there is none.
    pub fn subject(&self, id: &GenerationId) -> Result<Subject, Error> {
        let generations = self.generations();
        if let Some(generation) = generations.iter().find(|g| g.id == *id) {
            return Ok(generation.subject());
        }
        let whole = generations.iter().any(|g| g.id == id.base());
        Err(Error::Refused(match id.specialisation() {
            Some(name) if whole => {
                format!(
                    "generation {} has no specialisation {name:?}; `lastgood list-generations` shows what there is",
                    id.base()
                )
            }
            _ => format!(
                "generation {id} is in no profile; `lastgood list-generations` shows what there is"
            ),
        }))
    }

    /// The generation that a boot of `closure` is a boot of. Several may have the same closure: the selected one, then
    /// the one the loader names, then the newest, rather itself than a specialisation of it.
    #[must_use]
    pub fn subject_of_closure(&self, closure: &Path) -> Option<Subject> {
        let all = self.generations();
        let same = || {
            all.iter()
                .filter(|generation| generation.toplevel == closure)
                .map(Generation::subject)
        };
        let selected = same().find(|subject| self.state.selected.as_ref() == Some(subject));
        let named = || {
            let stem = EntryName::parse(self.variables.selected.as_deref()?)?.stem;
            same().find(|subject| stem_of(subject) == stem)
        };
        let newest = || {
            same().max_by_key(|s| (s.generation.base(), s.generation.specialisation().is_none()))
        };
        selected.or_else(named).or_else(newest)
    }

    /// Whether a generation could be booted, without reading its files whole.
    ///
    /// # Errors
    /// Why it could not.
    pub fn examine(&self, generation: &Generation, boot: Option<&Path>) -> Result<(), String> {
        let examined = closure::examine(&self.root, &generation.toplevel)?;
        if let Some(boot) = boot {
            closure::on_boot(boot, &examined.document.extra_initrds)?;
        }
        let one = std::slice::from_ref(generation);
        let mut initrds = secrets::finished(&self.root, one, &self.documents);
        let initrd = initrds.remove(&generation.toplevel);
        initrd.transpose().map(drop)
    }
}

/// That something has no signature where the firmware asks for one, in one line.
#[must_use]
pub fn refused_unsigned(what: &str) -> String {
    format!(
        "Secure Boot is on, and {what} carries no signature: the firmware refuses to start it; sign it before it comes into the \
         store, or turn Secure Boot off"
    )
}

/// The first of our payload that `file` in `place` needs and that is not there, to the byte.
pub fn damage_of(place: &Place, file: &EntryFile, digests: &mut Digests) -> Option<Damage> {
    let directory = place.directory(file.on);
    file.entry.needs().find_map(|path| {
        payload::name_of(path)?;
        match digests.on_boot(&directory.join(path)) {
            Ok(content) => plan::damage(path, Some(&content)),
            Err(error) => Some(Damage {
                path: path.to_owned(),
                is_missing: error.kind() == io::ErrorKind::NotFound,
            }),
        }
    })
}

#[cfg(test)]
mod tests;
