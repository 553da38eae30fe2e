//! The two copies on an ESP.

use std::io;
use std::path::{Path, PathBuf};

use super::image::{self, Found, Image};
use super::{FALLBACK, SYSTEMD, Source};
use crate::digests::Digests;
use crate::durable;
use crate::observe::{Error, names};

/// What lies in one of the two places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// A whole systemd-boot.
    Whole(Image),
    /// Somebody else's program. In one line, what.
    Foreign(String),
    /// Nothing that any firmware could start. In one line, why.
    Damaged(String),
}

/// One of the two places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// On the ESP, as it is written there: to FAT, upper and lower case are the same.
    pub path: String,
    /// What lies there.
    pub state: State,
}

impl Place {
    /// Reads what lies at `path`; if it is the `other` copy to the byte, that is known already.
    fn read(
        esp: &Path,
        path: &str,
        other: Option<&Image>,
        digests: &mut Digests,
    ) -> Result<Self, Error> {
        let path = as_written(esp, path)?;
        let here = esp.join(&path);
        if let Some(image) = other
            && let Ok(found) = here.metadata()
            && found.len() == image.content.size
            && digests
                .on_boot(&here)
                .is_ok_and(|content| content == image.content)
        {
            let state = State::Whole(image.clone());
            return Ok(Self { path, state });
        }
        let state = match image::look(&here) {
            Ok(Found::Whole(marked)) => match digests.on_boot(&here) {
                Ok(content) => State::Whole(marked.with(content)),
                Err(error) => State::Damaged(format!("cannot be read: {error}")),
            },
            Ok(Found::Foreign(what)) => State::Foreign(what),
            Ok(Found::Damaged(why)) => State::Damaged(why),
            Err(error) if error.kind() == io::ErrorKind::NotFound => State::Absent,
            Err(source) => return Err(Error::Read { path: here, source }),
        };
        Ok(Self { path, state })
    }

    /// The systemd-boot that lies there. None: there is none, or none that is whole.
    #[must_use]
    pub fn image(&self) -> Option<&Image> {
        match &self.state {
            State::Whole(image) => Some(image),
            State::Absent | State::Foreign(_) | State::Damaged(_) => None,
        }
    }
}

/// systemd-boot on one ESP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The ESP, as a path of this process.
    pub esp: PathBuf,
    /// Where the firmware's boot entry points.
    pub systemd: Place,
    /// Where firmware looks that has none.
    pub fallback: Place,
    /// What interrupted runs of ours left beside them, as paths on the ESP.
    pub leftovers: Vec<String>,
}

impl Installed {
    /// Reads the ESP at `esp` (a path of this process). Copies that `digests` knows are not hashed again.
    ///
    /// # Errors
    /// When one of its directories cannot be listed. A copy that cannot be read is a [`State`].
    pub fn read(esp: &Path, digests: &mut Digests) -> Result<Self, Error> {
        let systemd = Place::read(esp, SYSTEMD, None, digests)?;
        let fallback = Place::read(esp, FALLBACK, systemd.image(), digests)?;
        let mut leftovers = Vec::new();
        for place in [&systemd, &fallback] {
            let folder = place.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let names = names(&esp.join(folder))?;
            let left = names.iter().filter(|name| durable::is_leftover(name));
            leftovers.extend(left.map(|name| format!("{folder}/{name}")));
        }
        Ok(Self {
            esp: esp.to_owned(),
            systemd,
            fallback,
            leftovers,
        })
    }

    /// [`Self::read`] after somebody else has written there.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_anew(esp: &Path, digests: &mut Digests) -> Result<Self, Error> {
        for path in [SYSTEMD, FALLBACK] {
            digests.forget(&esp.join(as_written(esp, path)?));
        }
        Self::read(esp, digests)
    }

    /// The version that the machine starts from the ESP at `esp` (a path of this process), as `LoaderInfo` will give
    /// it. None: there is none that is whole.
    #[must_use]
    pub fn info(esp: &Path) -> Option<String> {
        [SYSTEMD, FALLBACK].into_iter().find_map(|path| {
            let path = as_written(esp, path).ok()?;
            match image::look(&esp.join(path)) {
                Ok(Found::Whole(marked)) => Some(marked.info()),
                _ => None,
            }
        })
    }

    /// The systemd-boot that the machine starts from this ESP. None: there is none that is whole.
    #[must_use]
    pub fn image(&self) -> Option<&Image> {
        self.systemd.image().or_else(|| self.fallback.image())
    }

    /// The same for other ESPs to be made equal to.
    #[must_use]
    pub fn source(&self) -> Option<Source> {
        let source = |place: &Place| {
            let image = place.image()?.clone();
            let path = self.esp.join(&place.path);
            Some(Source { path, image })
        };
        source(&self.systemd).or_else(|| source(&self.fallback))
    }
}

/// `path` as it is written on the ESP, in whatever case; what is not there yet is as in `path`.
///
/// FAT would find it by either name. An ESP that is being built in a directory would get a second file beside the
/// first.
fn as_written(esp: &Path, path: &str) -> Result<String, Error> {
    let mut written = PathBuf::new();
    for name in path.split('/') {
        let directory = esp.join(&written);
        let exact = directory.join(name);
        if exact.symlink_metadata().is_ok() {
            written.push(name);
            continue;
        }
        let found = names(&directory)?
            .into_iter()
            .find(|other| other.eq_ignore_ascii_case(name));
        written.push(found.as_deref().unwrap_or(name));
    }
    Ok(written.to_string_lossy().into_owned())
}
