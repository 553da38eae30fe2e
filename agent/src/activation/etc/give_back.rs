//! What an uninstall makes of the link farm: each link becomes what it leads to, and then the manifest and `/etc/static`
//! go. Copies stay as they are. On a NixOS host nothing of this is lastgood's.
//!
//! Every step is whole by itself: a run that was cut off leaves links or copies, and the next one goes on with the
//! links that are left. `/etc/static` goes when no link needs it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use boot_entries::durable;
use boot_entries::payload::Content;
use boot_entries::{Root, generation::Generation};

use super::places::Places;
use super::plan::{Ours, Want};
use super::{Problem, at, half_made, known};
use crate::host::{ETC, ETC_MANIFEST, ETC_SEAL, STATIC};

/// Where a chain of links is followed: closures are here.
const STORE: &str = "/nix/store";
/// As many links in a row as the kernel follows.
const LINKS: usize = 40;

/// What a link of the farm leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holds {
    /// A file, at this place of the machine.
    File(PathBuf),
    /// A directory, by names.
    Directory(BTreeMap<PathBuf, Self>),
    /// Something outside the store: a link to it is all there ever was.
    Elsewhere(PathBuf),
    /// Nothing: the closure is gone, or has no such file any more.
    Nothing,
}

/// A link of ours becomes something else, or goes. Paths are relative to `/etc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GiveBack {
    /// It becomes what it leads to.
    Keep(PathBuf, Holds),
    /// It goes: it leads nowhere, or a run that was cut off has left it.
    Remove(PathBuf),
}

impl fmt::Display for GiveBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep(path, Holds::Elsewhere(to)) => {
                write!(f, "make /etc/{} a link to {}", path.display(), to.display())
            }
            Self::Keep(path, _) => {
                write!(f, "make /etc/{} a copy of what it leads to", path.display())
            }
            Self::Remove(path) => write!(f, "remove /etc/{}, which leads nowhere", path.display()),
        }
    }
}

/// What becomes of links of ours that lead to this.
#[must_use]
pub fn plan(links: BTreeMap<PathBuf, Holds>) -> Vec<GiveBack> {
    let give_back = |(path, holds)| match holds {
        Holds::Nothing => GiveBack::Remove(path),
        holds => GiveBack::Keep(path, holds),
    };
    links.into_iter().map(give_back).collect()
}

/// What is to be given back, when `/etc/static` is one of these `generations`'. None: there is no link farm of ours.
///
/// # Errors
/// When it cannot be read.
pub fn look(root: &Root, generations: &[Generation]) -> Result<Option<Vec<GiveBack>>, Problem> {
    let farm = match std::fs::read_link(root.join(STATIC)) {
        Ok(farm) => farm,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidInput
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(at("read", Path::new(STATIC))(error)),
    };
    // Other programs make such farms, too.
    let mut closures = generations.iter().map(|one| one.toplevel.join("etc"));
    if !closures.any(|etc| etc == farm) {
        return Ok(None);
    }
    let before = known(root, Some(&farm));
    let found = Places::new(root, &before.known).finish(&Want::new());
    // What cannot be looked at may be a link that needs the farm.
    if let Some(problem) = found.problems.into_iter().next() {
        return Err(problem);
    }
    let etc = root.join(ETC);
    let mut links = BTreeMap::new();
    for path in before.known.places() {
        for left in half_made(&etc.join(path)) {
            let is_there = std::fs::symlink_metadata(&left).is_ok_and(|left| !left.is_dir());
            if let (true, Ok(left)) = (is_there, left.strip_prefix(&etc)) {
                links.insert(left.to_owned(), Holds::Nothing);
            }
        }
        let ours = found.tree.get(path);
        let leads = match ours.and_then(|have| before.known.ours(path, have)) {
            Some(Ours::Static) => Path::new(STATIC).join(path),
            Some(Ours::Link(to)) => to,
            Some(Ours::Copy(_)) | None => continue,
        };
        let holds = if leads.starts_with(STORE) || leads.starts_with(STATIC) {
            held(root, &leads).map_err(at("read", path))?
        } else {
            Holds::Elsewhere(leads)
        };
        links.insert(path.clone(), holds);
    }
    Ok(Some(plan(links)))
}

/// What is at `path`, links in the store followed.
fn held(root: &Root, path: &Path) -> io::Result<Holds> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(Holds::Nothing);
        };
        let parent = match root.canonical(parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holds::Nothing),
            parent => parent?,
        };
        let here = parent.join(name);
        let kind = match std::fs::symlink_metadata(root.join(&here)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holds::Nothing),
            found => found?.file_type(),
        };
        if kind.is_symlink() {
            path = parent.join(std::fs::read_link(root.join(&here))?);
            if !path.starts_with(STORE) && !path.starts_with(STATIC) {
                return Ok(Holds::Elsewhere(path));
            }
        } else if kind.is_dir() {
            let mut inner = BTreeMap::new();
            for item in std::fs::read_dir(root.join(&here))? {
                let name = item?.file_name();
                let holds = held(root, &here.join(&name))?;
                inner.insert(PathBuf::from(name), holds);
            }
            return Ok(Holds::Directory(inner));
        } else {
            return Ok(Holds::File(here));
        }
    }
    Ok(Holds::Nothing)
}

/// Gives back `all`, and the manifest and `/etc/static` after them.
///
/// # Errors
/// Everything that could not be given back. `/etc/static` is then still there.
pub fn give_back(root: &Root, all: &[GiveBack]) -> Result<(), Vec<Problem>> {
    let etc = root.join(ETC);
    let step = |one: &GiveBack| match one {
        GiveBack::Keep(path, holds) => keep(root, holds, &etc.join(path)),
        GiveBack::Remove(path) => Ok(durable::remove(&etc.join(path))?),
    };
    let problems: Vec<Problem> = all.iter().filter_map(|one| step(one).err()).collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    // The farm last: without it nobody would look for the manifest.
    [ETC_SEAL, ETC_MANIFEST, STATIC]
        .iter()
        .try_for_each(|path| durable::remove(&root.join(path)))
        .map_err(|error| vec![error.into()])
}

fn keep(root: &Root, holds: &Holds, place: &Path) -> Result<(), Problem> {
    match holds {
        Holds::File(from) => copy(&root.join(from), place),
        Holds::Elsewhere(to) => Ok(durable::put_link(to, place)?),
        Holds::Nothing => Ok(()),
        // Beside the link, and in its place when it is whole.
        Holds::Directory(_) => {
            let beside = durable::beside(place);
            fill(root, holds, &beside)?;
            Ok(durable::exchange(&beside, place)?)
        }
    }
}

fn fill(root: &Root, holds: &Holds, place: &Path) -> Result<(), Problem> {
    let Holds::Directory(inner) = holds else {
        return keep(root, holds, place);
    };
    durable::make_directory(place)?;
    inner
        .iter()
        .try_for_each(|(name, holds)| fill(root, holds, &place.join(name)))
}

/// With the mode that the store has for it, as it could be read so far.
fn copy(from: &Path, to: &Path) -> Result<(), Problem> {
    let content = Content::of_file(from).map_err(at("read", from))?;
    let mut file = std::fs::File::open(from).map_err(at("read", from))?;
    let mode = file.metadata().map_err(at("read", from))?.permissions();
    let access = durable::Access {
        mode: mode.mode() & 0o7777,
        group: None,
    };
    durable::put_for(access, &mut file, &content, to)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot_entries::GenerationId;
    use std::os::unix::fs::symlink;

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        durable::put_text(text, path).unwrap();
    }

    fn farm() -> (tempfile::TempDir, Root, Vec<Generation>) {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let closure = "/nix/store/one";
        for (path, text) in [
            ("/nix/store/m/motd", "hello"),
            ("/nix/store/one/etc/nginx/nginx.conf", "1"),
            ("/nix/store/t/a.conf", "t"),
            ("/nix/store/t/deep/b.conf", "b"),
            ("/etc/hostname", "host"),
        ] {
            write(&root.join(path), text);
        }
        let etc = root.join("/nix/store/one/etc");
        symlink("/nix/store/m/motd", etc.join("motd")).unwrap();
        symlink("/nix/store/t", etc.join("tmpfiles.d")).unwrap();
        symlink("/proc/mounts", etc.join("mtab")).unwrap();
        symlink("/nix/store/gone", etc.join("gone")).unwrap();
        let mode = std::fs::Permissions::from_mode(0o555);
        std::fs::set_permissions(root.join("/nix/store/m/motd"), mode).unwrap();
        super::super::switch(&root, Path::new(closure)).unwrap();
        let generation = Generation {
            id: GenerationId::system(1),
            toplevel: closure.into(),
        };
        (tree, root, vec![generation])
    }

    fn check(root: &Root) {
        let read = |path: &str| {
            assert!(!root.join(path).is_symlink(), "{path}");
            std::fs::read_to_string(root.join(path)).unwrap()
        };
        assert_eq!(read("/etc/motd"), "hello");
        assert_eq!(read("/etc/nginx/nginx.conf"), "1");
        assert_eq!(read("/etc/tmpfiles.d/a.conf"), "t");
        assert_eq!(read("/etc/tmpfiles.d/deep/b.conf"), "b");
        assert_eq!(read("/etc/hostname"), "host");
        let mode = root.join("/etc/motd").metadata().unwrap().permissions();
        assert_eq!(mode.mode() & 0o7777, 0o555);
        let mtab = std::fs::read_link(root.join("/etc/mtab")).unwrap();
        assert_eq!(mtab, Path::new("/proc/mounts"));
        for gone in ["/etc/gone", "/etc/static", "/etc/.lastgood-tmpfiles.d.part"] {
            let gone = root.join(gone);
            assert!(gone.symlink_metadata().is_err(), "{gone:?}");
        }
    }

    #[test]
    fn links_become_what_they_lead_to() {
        let (_tree, root, generations) = farm();
        let all = look(&root, &generations).unwrap().unwrap();
        assert_eq!(all.len(), 5, "{all:?}");
        give_back(&root, &all).unwrap();
        check(&root);
        assert_eq!(look(&root, &generations).unwrap(), None);
    }

    #[test]
    fn a_run_that_was_cut_off_anywhere_is_finished_by_the_next() {
        let (_tree, root, generations) = farm();
        let all = look(&root, &generations).unwrap().unwrap();
        for count in 0..all.len() {
            let (_tree, root, generations) = farm();
            for one in &all[..count] {
                match one {
                    GiveBack::Keep(path, holds) => {
                        keep(&root, holds, &root.join("/etc").join(path)).unwrap();
                    }
                    GiveBack::Remove(path) => {
                        durable::remove(&root.join("/etc").join(path)).unwrap();
                    }
                }
            }
            // And a directory that is half filled.
            if root.join("/etc/tmpfiles.d").is_symlink() {
                write(&root.join("/etc/.lastgood-tmpfiles.d.part/a.conf"), "half");
            }
            let left = look(&root, &generations).unwrap().unwrap();
            give_back(&root, &left).unwrap();
            check(&root);
        }
        drop(root);
    }

    #[test]
    fn what_cannot_be_given_back_keeps_its_link_and_the_farm() {
        let (_tree, root, generations) = farm();
        let all = look(&root, &generations).unwrap().unwrap();
        std::fs::remove_file(root.join("/nix/store/m/motd")).unwrap();
        let problems = give_back(&root, &all).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(root.join("/etc/motd").is_symlink() && root.join(STATIC).is_symlink());
        assert!(!root.join("/etc/nginx/nginx.conf").is_symlink());
    }

    #[test]
    fn copies_stay_and_the_manifest_goes() {
        let (_tree, root, generations) = farm();
        super::super::tests::copied(&root, "one", "key", "secret", "0600");
        super::super::tests::copied(&root, "one", "direct", "d", "direct-symlink");
        super::super::switch(&root, Path::new("/nix/store/one")).unwrap();
        let manifest = root.join(ETC_MANIFEST);
        assert!(manifest.is_file());
        let all = look(&root, &generations).unwrap().unwrap();
        assert!(!format!("{all:?}").contains("key"), "{all:?}");
        give_back(&root, &all).unwrap();
        check(&root);
        let key = root.join("/etc/key");
        assert_eq!(std::fs::read_to_string(&key).unwrap(), "secret");
        let mode = key.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert!(root.join("/etc/direct").is_file());
        assert!(manifest.symlink_metadata().is_err());
    }

    #[test]
    fn another_programs_farm_is_left_alone() {
        let (_tree, root, _) = farm();
        assert_eq!(look(&root, &[]).unwrap(), None);
    }
}
