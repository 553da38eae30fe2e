//! A profile's numbered history: which generations exist and which closure each one is.

use std::fmt;
use std::io;
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

/// A generation's name: a number in a profile. Written `47`, or `profile:47`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct GenerationId {
    profile: String,
    number: u64,
}

impl GenerationId {
    /// Generation `number` of the `system` profile.
    #[must_use]
    pub fn system(number: u64) -> Self {
        Self {
            profile: SYSTEM.to_owned(),
            number,
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

    /// The file name of this generation's own link, beside the profile's.
    #[must_use]
    pub fn link_name(&self) -> String {
        format!("{}-{}-link", self.profile, self.number)
    }

    /// The id whose [`Self::link_name`] is `name`.
    fn of_link(name: &str) -> Option<Self> {
        // The profile's own name may hold hyphens and numbers: read from the end.
        let (profile, number) = name.strip_suffix("-link")?.rsplit_once('-')?;
        let id = Self {
            profile: profile.to_owned(),
            number: number.parse().ok()?,
        };
        // `007` and `+7` are not how Nix writes a number.
        (id.link_name() == name && !profile.is_empty()).then_some(id)
    }
}

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.profile == SYSTEM {
            write!(f, "{}", self.number)
        } else {
            write!(f, "{}:{}", self.profile, self.number)
        }
    }
}

/// A text that is no generation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no generation: give a number, or profile:number")]
pub struct NoGeneration(String);

impl FromStr for GenerationId {
    type Err = NoGeneration;

    fn from_str(text: &str) -> Result<Self, NoGeneration> {
        let (profile, number) = text.rsplit_once(':').unwrap_or((SYSTEM, text));
        match number.parse() {
            Ok(number) if !profile.is_empty() && !profile.contains('/') => Ok(Self {
                profile: profile.to_owned(),
                number,
            }),
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

/// A generation as its profile has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Its name.
    pub id: GenerationId,
    /// The closure it leads to, as a path of the machine.
    pub toplevel: PathBuf,
    /// When its link was made.
    pub made: SystemTime,
}

/// All profiles with a history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profiles {
    /// Every generation, in order of its id.
    pub generations: Vec<Generation>,
    /// The generation that each profile points at.
    pub current: Vec<GenerationId>,
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
        for directory in [SYSTEM_PROFILES, NAMED_PROFILES] {
            let at = |source| Error {
                path: PathBuf::from(directory),
                source,
            };
            let here = root.resolve(directory).map_err(at)?;
            let listing = match std::fs::read_dir(&here) {
                Ok(listing) => listing,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(at(error)),
            };
            for item in listing {
                let name = item.map_err(at)?.file_name();
                let Some(name) = name.to_str() else { continue };
                // Other profiles (`default`, per-user ones) live beside `system`; they are not systems.
                if directory == SYSTEM_PROFILES && !name.starts_with("system") {
                    continue;
                }
                profiles.add(root, directory, name)?;
            }
        }
        profiles.generations.sort_by(|a, b| a.id.cmp(&b.id));
        profiles.current.sort();
        Ok(profiles)
    }

    fn add(&mut self, root: &Root, directory: &str, name: &str) -> Result<(), Error> {
        let path = Path::new(directory).join(name);
        let at = |source| Error {
            path: path.clone(),
            source,
        };
        let here = root.join(&path);
        let target = match std::fs::read_link(&here) {
            Ok(target) => target,
            // Not a link: a directory such as `system-profiles` or `per-user`.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(()),
            Err(error) => return Err(at(error)),
        };
        let of_directory =
            |id: &GenerationId| (id.profile == SYSTEM) == (directory == SYSTEM_PROFILES);
        if let Some(id) = GenerationId::of_link(name) {
            if of_directory(&id) {
                self.generations.push(Generation {
                    id,
                    toplevel: root.canonical(&path).map_err(at)?,
                    made: changed(&std::fs::symlink_metadata(&here).map_err(at)?),
                });
            }
        } else if let Some(id) = target
            .file_name()
            .and_then(|link| GenerationId::of_link(link.to_str()?))
            && id.profile == name
        {
            self.current.push(id);
        }
        Ok(())
    }
}

/// The change time of a link: what `nixos-rebuild list-generations` shows as the build date.
fn changed(metadata: &std::fs::Metadata) -> SystemTime {
    use std::os::unix::fs::MetadataExt;
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(metadata.ctime()).unwrap_or(0))
}

/// A profile that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn link_names_are_read_from_the_end() {
        let id = GenerationId::of_link("foo-bar-3-link").unwrap();
        assert_eq!((id.profile(), id.number()), ("foo-bar", 3));
        for no in [
            "system",
            "system--link",
            "-3-link",
            "system-03-link",
            "system-3",
            "system-x-link",
        ] {
            assert_eq!(GenerationId::of_link(no), None, "{no}");
        }
    }

    #[test]
    fn ids_round_trip() {
        for text in ["7", "web:7", "a-b:0"] {
            assert_eq!(text.parse::<GenerationId>().unwrap().to_string(), text);
        }
        for no in ["", "x", ":3", "-1", "a/b:3", "3:"] {
            assert!(no.parse::<GenerationId>().is_err(), "{no}");
        }
    }

    #[test]
    fn holes_other_profiles_and_strangers() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let profiles = tree.path().join("nix/var/nix/profiles");
        std::fs::create_dir_all(profiles.join("system-profiles")).unwrap();
        for (link, target) in [
            ("system-12-link", "/nix/store/l"),
            ("system-3-link", "/nix/store/c"),
            ("system", "system-3-link"),
            ("default-1-link", "/nix/store/d"),
            ("system-profiles/web-1-link", "/nix/store/w"),
            ("system-profiles/web", "web-1-link"),
        ] {
            symlink(target, profiles.join(link)).unwrap();
        }
        let read = Profiles::read(&root).unwrap();
        let ids: Vec<String> = read.generations.iter().map(|g| g.id.to_string()).collect();
        assert_eq!(ids, ["3", "12", "web:1"]);
        assert_eq!(read.current_system(), Some(&GenerationId::system(3)));
        assert_eq!(read.current.len(), 2);
    }

    #[test]
    fn no_profile_is_an_empty_list() {
        let tree = tempfile::tempdir().unwrap();
        assert_eq!(
            Profiles::read(&Root::new(tree.path())).unwrap(),
            Profiles::default()
        );
    }
}
