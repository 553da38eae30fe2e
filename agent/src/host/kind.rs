//! Which kind of host this is: NixOS, or a systemd host that runs closures.
//!
//! nixpkgs' own switch takes a machine for NixOS if `/etc/NIXOS` is a file or `/etc/os-release` has the distribution's
//! ID. That is not enough here: on a host of another distribution, activation may have linked a closure's `os-release`
//! into
//! `/etc`, and that says `ID=nixos`; a closure's own script may have made `/etc/NIXOS`, as nixpkgs' `activate` does. So
//! what no closure can bring decides: the distribution's own `/usr/lib/os-release`, which NixOS does not have. Only where
//! there is none, `/etc/NIXOS` does, which activation never links, and an `/etc/os-release` that does not lead through the
//! link farm, as NixOS's does where `/etc` is an overlay.
//!
//! None of this changes while a machine boots, so the generator and activation come to the same answer. A wrong or
//! missing answer writes nothing: on NixOS activation only looks.

use std::io;
use std::path::{Path, PathBuf};

use boot_entries::{Root, bounded};

use super::{NIXOS_MARKER, OS_RELEASE, STATIC, VENDOR_OS_RELEASE};

/// The longest os-release that is read, in bytes.
const LIMIT: u64 = 64 * 1024;
/// How many links one path may have.
const MAX_LINKS: usize = 40;

/// A kind of host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A systemd distribution with its own `/usr`: the agent puts the closure in place.
    Plain,
    /// NixOS: it has put the closure in place by itself before systemd is started.
    NixOs,
}

impl Kind {
    /// Where the agent's own units are.
    #[must_use]
    pub fn units(self) -> &'static str {
        match self {
            Self::Plain => "/usr/lib/systemd/system",
            // NixOS has no other directory for units.
            Self::NixOs => super::ETC_UNITS,
        }
    }

    /// The prefix of the host's systemd: `lib/systemd/boot/efi` below it has a systemd-boot.
    #[must_use]
    pub fn systemd(self) -> &'static str {
        match self {
            Self::Plain => "/usr",
            Self::NixOs => "/run/current-system/systemd",
        }
    }
}

/// What an `os-release` says of who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// There is none, or a link that leads nowhere.
    Absent,
    /// It leads through the link farm, so it is a closure's: that says nothing of the host.
    Farm,
    /// NixOS, or a system made of it.
    NixOs,
    /// Anybody else.
    Other,
}

/// What decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// `/etc/NIXOS` is a file.
    pub marker: bool,
    /// What `/usr/lib/os-release` is.
    pub vendor: Release,
    /// What `/etc/os-release` is.
    pub own: Release,
}

/// The kind of host that `facts` are of.
#[must_use]
pub fn decide(facts: Facts) -> Kind {
    // What the system calls itself counts only where the distribution says nothing: a closure cannot take its word
    // back. The same of the marker: a closure's own script may make it, nixpkgs' does.
    let says = match facts.vendor {
        Release::Absent | Release::Farm if facts.marker => Release::NixOs,
        Release::Absent | Release::Farm => facts.own,
        vendor => vendor,
    };
    match says {
        Release::NixOs => Kind::NixOs,
        Release::Absent | Release::Farm | Release::Other => Kind::Plain,
    }
}

/// Nobody can say which kind of host it is.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell whether this is NixOS: cannot read {}", path.display())]
pub struct Error {
    /// What should have told.
    pub path: PathBuf,
    /// Why it cannot be read.
    #[source]
    pub source: io::Error,
}

/// The kind of host under `root`.
///
/// # Errors
/// When something that decides is there and cannot be read.
pub fn kind(root: &Root) -> Result<Kind, Error> {
    let at = |path: &str| {
        let path = PathBuf::from(path);
        |source| Error { path, source }
    };
    Ok(decide(Facts {
        marker: is_file(root, NIXOS_MARKER).map_err(at(NIXOS_MARKER))?,
        vendor: release(root, VENDOR_OS_RELEASE).map_err(at(VENDOR_OS_RELEASE))?,
        own: release(root, OS_RELEASE).map_err(at(OS_RELEASE))?,
    }))
}

fn is_file(root: &Root, path: &str) -> io::Result<bool> {
    match std::fs::metadata(root.resolve(path)?) {
        Ok(found) => Ok(found.is_file()),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn release(root: &Root, path: &str) -> io::Result<Release> {
    if is_in_farm(root, path)? {
        return Ok(Release::Farm);
    }
    let file = root.open(path);
    match file.and_then(|file| bounded::read_open(file, LIMIT)) {
        Ok(text) if is_nixos(&text) => Ok(Release::NixOs),
        Ok(_) => Ok(Release::Other),
        Err(error) if is_absent(&error) => Ok(Release::Absent),
        // Endless, no file, or no text: whoever made that, it was not NixOS.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Release::Other),
        Err(error) => Err(error),
    }
}

/// Whether one of the links that `path` leads through is below the link farm.
fn is_in_farm(root: &Root, path: &str) -> io::Result<bool> {
    let mut path = PathBuf::from(path);
    for _ in 0..MAX_LINKS {
        if path.starts_with(STATIC) {
            return Ok(true);
        }
        let target = match std::fs::read_link(root.join(&path)) {
            Ok(target) => target,
            Err(error) if is_absent(&error) || error.kind() == io::ErrorKind::InvalidInput => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let directory = path.parent().unwrap_or(Path::new("/"));
        // Without the `..` of `../usr/lib/os-release`; a link among the directories does not matter for what is asked.
        path = plain(&directory.join(target));
    }
    // A loop. Opening it says so.
    Ok(false)
}

fn plain(path: &Path) -> PathBuf {
    use std::path::Component;
    path.components()
        .fold(PathBuf::new(), |mut plain, part| match part {
            Component::ParentDir => {
                plain.pop();
                plain
            }
            part => {
                plain.push(part);
                plain
            }
        })
}

/// Whether an os-release is NixOS's, or that of a system which calls itself like it. As os-release(5) has it, the last
/// assignment counts, and a value may have quotes.
fn is_nixos(text: &str) -> bool {
    let value = |name: &str| {
        let mut values = text.lines().filter_map(|line| {
            let value = line.trim().strip_prefix(name)?.strip_prefix('=')?.trim();
            let bare = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
            bare('"').or_else(|| bare('\'')).or(Some(value))
        });
        values.next_back().unwrap_or_default()
    };
    value("ID") == "nixos" || value("ID_LIKE").split_whitespace().any(|id| id == "nixos")
}

#[cfg(test)]
mod tests;
