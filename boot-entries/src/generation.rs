//! A profile's numbered history: which generations exist and which closure each one is.

use std::fmt;
use std::fs::DirEntry;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::Root;

/// Where Nix keeps the system profile's links.
const SYSTEM_PROFILES: &str = "/nix/var/nix/profiles";
/// Where Nix keeps the links of further system profiles (`nixos-rebuild --profile-name`).
const NAMED_PROFILES: &str = "/nix/var/nix/profiles/system-profiles";
/// The profile that is meant when none is named.
const SYSTEM: &str = "system";
/// What a closure is booted with.
const INIT: &str = "init";

/// A generation's name: a number in a profile, and perhaps a specialisation of that. Written `47`, `profile:47`,
/// `47/name`, `profile:47/name`.
///
/// A profile's name is a file's name and so has no slash: what follows the first one is the specialisation, whatever
/// it consists of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct GenerationId {
    profile: String,
    number: u64,
    /// None sorts first: a generation, then its specialisations.
    specialisation: Option<String>,
}

impl GenerationId {
    /// Generation `number` of the `system` profile.
    #[must_use]
    pub fn system(number: u64) -> Self {
        Self {
            profile: SYSTEM.to_owned(),
            number,
            specialisation: None,
        }
    }

    /// The specialisation `name` of this generation. None when nobody could write such a name: it is empty, or holds
    /// control characters (a line break would be a line of its own in the entry).
    #[must_use]
    pub fn specialised(&self, name: &str) -> Option<Self> {
        is_a_name(name).then(|| Self {
            specialisation: Some(name.to_owned()),
            ..self.clone()
        })
    }

    /// The name of the specialisation; None: the generation itself.
    #[must_use]
    pub fn specialisation(&self) -> Option<&str> {
        self.specialisation.as_deref()
    }

    /// The generation that this is, or is a specialisation of: what the profile knows.
    #[must_use]
    pub fn base(&self) -> Self {
        Self {
            specialisation: None,
            ..self.clone()
        }
    }

    /// The profile that owns the number: `system`, or a name under `system-profiles/`.
    #[must_use]
    pub fn profile(&self) -> &str {
        &self.profile
    }

    /// The number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The profile's own link, as a path of the machine: where "current" is written.
    #[must_use]
    pub fn profile_link(&self) -> PathBuf {
        let directory = if self.profile == SYSTEM {
            SYSTEM_PROFILES
        } else {
            NAMED_PROFILES
        };
        Path::new(directory).join(&self.profile)
    }

    /// The file name of this generation's own link, beside the profile's. A specialisation has none of its own: it is
    /// that of the generation.
    #[must_use]
    pub fn link_name(&self) -> String {
        [&self.profile, "-", &self.number.to_string(), "-link"].concat()
    }

    /// Sorts newer ones later. Numbers of different profiles say nothing about each other: the system profile's are
    /// taken for newer.
    #[must_use]
    pub fn age(&self) -> (bool, u64) {
        (self.profile == SYSTEM, self.number)
    }

    /// When the link was made: its change time, which `nixos-rebuild list-generations` shows as the build date. None:
    /// there is none.
    #[must_use]
    pub fn made(&self, root: &Root) -> Option<SystemTime> {
        let link = self.profile_link().with_file_name(self.link_name());
        let found = root.place(link).ok()?.symlink_metadata().ok()?;
        let seconds = u64::try_from(found.ctime()).ok()?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// The id whose [`Self::link_name`] is `name`.
    fn of_link(name: &str) -> Option<Self> {
        // The profile's own name may hold hyphens and numbers: read from the end.
        let (profile, number) = name.strip_suffix("-link")?.rsplit_once('-')?;
        let id = Self {
            profile: profile.to_owned(),
            number: number.parse().ok()?,
            specialisation: None,
        };
        // `007` and `+7` are not how Nix writes a number.
        (id.link_name() == name && is_a_name(profile)).then_some(id)
    }
}

fn is_a_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.profile != SYSTEM {
            write!(f, "{}:", self.profile)?;
        }
        write!(f, "{}", self.number)?;
        match &self.specialisation {
            Some(name) => write!(f, "/{name}"),
            None => Ok(()),
        }
    }
}

/// A text that is no generation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no generation: give NUMBER, PROFILE:NUMBER, or either with /SPECIALISATION")]
pub struct NoGeneration(String);

impl FromStr for GenerationId {
    type Err = NoGeneration;

    fn from_str(text: &str) -> Result<Self, NoGeneration> {
        let (base, specialisation) = match text.split_once('/') {
            Some((base, name)) => (base, Some(name)),
            None => (text, None),
        };
        let (profile, number) = base.rsplit_once(':').unwrap_or((SYSTEM, base));
        // `str::parse` would take a sign.
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        match number.parse() {
            Ok(number) if digits && is_a_name(profile) && specialisation.is_none_or(is_a_name) => {
                Ok(Self {
                    profile: profile.to_owned(),
                    number,
                    specialisation: specialisation.map(str::to_owned),
                })
            }
            _ => Err(NoGeneration(text.to_owned())),
        }
    }
}

impl From<GenerationId> for String {
    fn from(id: GenerationId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for GenerationId {
    type Error = NoGeneration;

    fn try_from(text: String) -> Result<Self, NoGeneration> {
        text.parse()
    }
}

/// A generation and the closure it is: a number can come back with another closure, and then both may be needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    /// The number, in its profile.
    pub generation: GenerationId,
    /// The closure.
    pub toplevel: PathBuf,
}

/// A generation as its profile has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Its name.
    pub id: GenerationId,
    /// The closure it leads to, as a path of the machine.
    pub toplevel: PathBuf,
}

impl Generation {
    /// Puts them in order: a generation before its specialisations, an older one before a newer.
    pub fn sort(all: &mut [Self]) {
        all.sort_by(|a, b| a.id.cmp(&b.id));
    }

    /// Whether it is `subject`.
    #[must_use]
    pub fn is(&self, subject: &Subject) -> bool {
        self.id == subject.generation && self.toplevel == subject.toplevel
    }

    /// The same as a name to keep.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject {
            generation: self.id.clone(),
            toplevel: self.toplevel.clone(),
        }
    }
}

/// All profiles with a history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profiles {
    /// Every generation, in order of its id.
    pub generations: Vec<Generation>,
    /// The generation that each profile points at.
    pub current: Vec<GenerationId>,
    /// Links that look like a generation's and are none: their number is too large, or not as Nix writes one.
    pub odd: Vec<PathBuf>,
}

impl Profiles {
    /// The generation of the `system` profile that the profile points at.
    #[must_use]
    pub fn current_system(&self) -> Option<&GenerationId> {
        self.current.iter().find(|id| id.profile == SYSTEM)
    }

    /// Reads the profiles' links.
    ///
    /// # Errors
    /// When a directory or link is there and cannot be read. No profile at all is no error: the list is empty.
    pub fn read(root: &Root) -> Result<Self, Error> {
        let mut profiles = Self::default();
        // Where closures are: nearly all in the store.
        let mut closures = PathBuf::new();
        for directory in [SYSTEM_PROFILES, NAMED_PROFILES] {
            let at = |source| Error {
                path: PathBuf::from(directory),
                source,
            };
            let real = root.canonical(directory).map_err(at)?;
            let listing = match std::fs::read_dir(root.join(&real)) {
                Ok(listing) => listing,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(at(error)),
            };
            for item in listing {
                profiles.add(root, directory, &real, &item.map_err(at)?, &mut closures)?;
            }
        }
        Generation::sort(&mut profiles.generations);
        profiles.current.sort();
        profiles.odd.sort();
        Ok(profiles)
    }

    /// Adds what `item` of `directory`, which really is `real`, says of a profile's history.
    fn add(
        &mut self,
        root: &Root,
        directory: &str,
        real: &Path,
        item: &DirEntry,
        closures: &mut PathBuf,
    ) -> Result<(), Error> {
        let name = item.file_name();
        let Some(name) = name.to_str() else {
            return Ok(());
        };
        // Other profiles (`default`, per-user ones) live beside `system`; they are not systems.
        if directory == SYSTEM_PROFILES && !name.starts_with("system") {
            return Ok(());
        }
        let path = || Path::new(directory).join(name);
        let at = |source| Error {
            path: path(),
            source,
        };
        let target = match std::fs::read_link(item.path()) {
            Ok(target) => target,
            // Not a link: a directory such as `system-profiles` or `per-user`.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(()),
            Err(error) => return Err(at(error)),
        };
        let of_directory =
            |id: &GenerationId| (id.profile == SYSTEM) == (directory == SYSTEM_PROFILES);
        if let Some(id) = GenerationId::of_link(name).filter(of_directory) {
            let absolute = if target.is_absolute() {
                target
            } else {
                real.join(target)
            };
            let toplevel = match root.canonical_in(closures, &absolute) {
                Ok(toplevel) => within(root, toplevel),
                // A link that can lead nowhere is this generation's trouble: it stays, as a closure that is not
                // there. That the disk cannot be read is everybody's.
                Err(error) if leads_nowhere(&error) => path(),
                Err(error) => return Err(at(error)),
            };
            self.generations.push(Generation { id, toplevel });
        } else if let Some(id) = target
            .file_name()
            .and_then(|link| GenerationId::of_link(link.to_str()?))
            && id.profile == name
        {
            self.current.push(id);
        } else if is_odd(directory, name) {
            self.odd.push(path());
        }
        Ok(())
    }
}

/// The closure itself, where a profile leads to a directory of links into one: deploy-rs puts its own programs beside a
/// closure that way. What the machine boots, and what its command line names, is the closure that `init` is in.
fn within(root: &Root, toplevel: PathBuf) -> PathBuf {
    // A closure's own is a file, or leads to an init that is in no closure.
    let Ok(init) = std::fs::read_link(root.join(toplevel.join(INIT))) else {
        return toplevel;
    };
    let closure = init.parent().filter(|_| init.ends_with(INIT));
    match closure {
        Some(closure)
            if closure.parent() == toplevel.parent()
                && root.join(closure.join("etc")).symlink_metadata().is_ok() =>
        {
            closure.to_owned()
        }
        _ => toplevel,
    }
}

/// Whether a link in `directory` that is no generation's is named as if it were.
fn is_odd(directory: &str, name: &str) -> bool {
    let Some(name) = name.strip_suffix("-link") else {
        return false;
    };
    let number = if directory == SYSTEM_PROFILES {
        // Beside the system profile lie others, whose names may begin as its own.
        name.strip_prefix(SYSTEM)
            .and_then(|name| name.strip_prefix('-'))
    } else {
        name.rsplit_once('-').map(|(_, number)| number)
    };
    number.is_some_and(|number| {
        let is_part = |byte: u8| byte.is_ascii_digit() || b"+-".contains(&byte);
        !number.is_empty() && number.bytes().all(is_part)
    })
}

/// Whether a link is at fault (a loop, a file on the way, a name too long), and not what it is read from.
fn leads_nowhere(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, InvalidInput, NotADirectory};
    matches!(error.kind(), InvalidInput | NotADirectory | InvalidFilename)
}

/// A profile that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

#[cfg(test)]
mod tests;
