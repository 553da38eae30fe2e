//! The directory that plays `/`: the live machine, an image being built, a test's tree.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};

/// As the kernel's own limit (`path_resolution(7)`): more links than this in one path is a loop.
const MAX_LINKS: usize = 40;

/// The directory that plays `/`.
///
/// Every absolute path lastgood knows is a path *on the machine*. A `Root` turns it into a path of this
/// process, and follows every symbolic link, absolute or not, without ever leaving the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// The tree under `directory`; `/` is the live machine.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// Whether this is the machine we run on: only then do mount points, EFI variables and units mean anything.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// The directory itself.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// `path` of the machine as a path of this process, with no link followed (for writing, or for reading a link).
    #[must_use]
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        let mut joined = self.0.clone();
        joined.extend(names(path.as_ref()));
        joined
    }

    /// `path` of the machine with every link followed inside the root: the machine's name of the file it leads to.
    ///
    /// The file itself need not be there. A `..` above the root stays at the root, as for `chroot(2)`.
    ///
    /// # Errors
    /// When a component cannot be looked at, or links form a loop.
    pub fn canonical(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        if let Some(plain) = self.without_links(path.as_ref()) {
            return Ok(plain);
        }
        let mut done = PathBuf::from("/");
        let mut todo: Vec<OsString> = reversed(path.as_ref());
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                done.pop();
                continue;
            }
            let next = done.join(&name);
            match std::fs::read_link(self.join(&next)) {
                Ok(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(io::Error::new(
                            io::ErrorKind::InvalidInput,
                            "too many symbolic links",
                        ));
                    }
                    if target.is_absolute() {
                        done = PathBuf::from("/");
                    }
                    todo.extend(reversed(&target));
                }
                // EINVAL is how readlink(2) says "there, and not a link".
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::InvalidInput | io::ErrorKind::NotFound
                    ) =>
                {
                    done = next;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// `path`, if it is there and the kernel meets no link on the way: one look instead of one for each component. In
    /// every other case, and before Linux 5.6, the long way finds out.
    fn without_links(&self, path: &Path) -> Option<PathBuf> {
        let mut plain = PathBuf::from("/");
        for component in path.components() {
            match component {
                Component::Normal(name) => plain.push(name),
                Component::RootDir | Component::CurDir => {}
                // What it leads to depends on what is before it.
                Component::ParentDir | Component::Prefix(_) => return None,
            }
        }
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        openat2(AT_FDCWD, &self.join(&plain), how).ok()?;
        Some(plain)
    }

    /// Where to make or replace `path`, as a path of this process: every link on the way is followed inside the root,
    /// the last component is not.
    ///
    /// # Errors
    /// As [`Self::canonical`].
    pub fn place(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        let path = path.as_ref();
        match (path.parent(), path.file_name()) {
            (Some(directory), Some(name)) => Ok(self.resolve(directory)?.join(name)),
            _ => self.resolve(path),
        }
    }

    /// Like [`Self::canonical`], as a path of this process: what to open.
    ///
    /// # Errors
    /// As [`Self::canonical`].
    pub fn resolve(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        Ok(self.join(self.canonical(path)?))
    }
}

/// The components of `path` that name something: no root, no `.`.
fn names(path: &Path) -> impl DoubleEndedIterator<Item = &std::ffi::OsStr> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        Component::ParentDir => Some(std::ffi::OsStr::new("..")),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    })
}

fn reversed(path: &Path) -> Vec<OsString> {
    names(path).rev().map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn absolute_links_stay_inside() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        std::fs::create_dir_all(tree.path().join("nix/store/a")).unwrap();
        std::fs::create_dir_all(tree.path().join("run")).unwrap();
        symlink("/nix/store/a", tree.path().join("run/current")).unwrap();
        symlink("../../../../run/current/b", tree.path().join("run/up")).unwrap();
        assert_eq!(
            root.canonical("/run/current/kernel").unwrap(),
            Path::new("/nix/store/a/kernel")
        );
        assert_eq!(
            root.resolve("/run/up").unwrap(),
            tree.path().join("nix/store/a/b")
        );
    }

    #[test]
    fn what_is_written_stays_inside() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        symlink("/elsewhere", tree.path().join("var")).unwrap();
        symlink("/out", tree.path().join("link")).unwrap();
        assert_eq!(
            root.place("/var/lib/x").unwrap(),
            tree.path().join("elsewhere/lib/x")
        );
        assert_eq!(root.place("/link").unwrap(), tree.path().join("link"));
    }

    #[test]
    fn a_loop_is_an_error_and_not_a_hang() {
        let tree = tempfile::tempdir().unwrap();
        symlink("b", tree.path().join("a")).unwrap();
        symlink("a", tree.path().join("b")).unwrap();
        assert!(Root::new(tree.path()).canonical("/a").is_err());
    }
}
