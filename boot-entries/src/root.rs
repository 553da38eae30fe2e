//! The directory that plays `/`: the live machine, an image being built, a test's tree.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
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
        let path = path.as_ref();
        // A run asks hundreds of times, mostly of paths that are plain.
        if let Some(inside) = plain(path) {
            let (root, inside) = (self.0.as_os_str(), inside.as_os_str());
            let mut joined = PathBuf::from(OsString::with_capacity(root.len() + 1 + inside.len()));
            joined.push(root);
            joined.push(inside);
            return joined;
        }
        let mut joined = self.0.clone();
        joined.extend(names(path));
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
                            "too many symbolic links: they lead in a circle, mend one of them",
                        ));
                    }
                    if target.is_absolute() {
                        done = PathBuf::from("/");
                    }
                    todo.extend(reversed(&target));
                }
                Err(error) if is_no_link(&error) => done = next,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// [`Self::canonical`] for many paths in few directories. `directory` is one that is known to have no link in its
    /// name, as an earlier call has left it: what is in it takes one look.
    ///
    /// # Errors
    /// As [`Self::canonical`].
    pub(crate) fn canonical_in(&self, directory: &mut PathBuf, path: &Path) -> io::Result<PathBuf> {
        let is_in = plain(path).is_some() && path.parent() == Some(directory);
        if is_in
            && let Err(error) = std::fs::read_link(self.join(path))
            && is_no_link(&error)
        {
            return Ok(path.to_owned());
        }
        let found = self.canonical(path)?;
        if let Some(above) = found.parent() {
            above.clone_into(directory);
        }
        Ok(found)
    }

    /// `path`, if the kernel meets no link on the way: one look instead of one for each component. In every other case,
    /// and before Linux 5.6, the long way finds out.
    fn without_links(&self, path: &Path) -> Option<PathBuf> {
        match self.open_without_links(path, OFlag::O_PATH)? {
            // A link would have been met before what is missing.
            Ok(_) | Err(Errno::ENOENT) if plain(path).is_some() => Some(path.to_owned()),
            Ok(_) | Err(Errno::ENOENT) => Some(Path::new("/").iter().chain(names(path)).collect()),
            Err(_) => None,
        }
    }

    /// Opens `path` of the machine for reading, every link followed inside the root. It may be anything: nobody waits
    /// for the writer of a FIFO.
    ///
    /// # Errors
    /// As [`Self::canonical`], or when it cannot be opened.
    pub fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref();
        match self.open_without_links(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
            Some(Ok(file)) => Ok(file),
            _ => OpenOptions::new()
                .read(true)
                .custom_flags(OFlag::O_NONBLOCK.bits())
                .open(self.resolve(path)?),
        }
    }

    /// None: there is a `..` in it, and what that leads to depends on what is before it.
    fn open_without_links(&self, path: &Path, flags: OFlag) -> Option<nix::Result<File>> {
        let has_parent = || path.components().any(|part| part == Component::ParentDir);
        if plain(path).is_none() && has_parent() {
            return None;
        }
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        Some(openat2(AT_FDCWD, &self.join(path), how).map(File::from))
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

/// Whether readlink(2) met something else than a link, or nothing: EINVAL is how it says "there, and not a link".
fn is_no_link(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::NotFound
    )
}

/// What is below the root, if `path` is absolute and has nothing in it but names and a slash between each two.
fn plain(path: &Path) -> Option<&Path> {
    let inside = path.as_os_str().as_bytes().strip_prefix(b"/")?;
    // Only after a slash is there something to look at: most paths have nothing but names there.
    let (mut begins, mut is_odd) = (true, false);
    for byte in inside {
        is_odd |= begins && matches!(byte, b'/' | b'.');
        begins = *byte == b'/';
    }
    let is_name = |part: &[u8]| !matches!(part, b"" | b"." | b"..");
    let names = || inside.split(|byte| *byte == b'/').all(is_name);
    let is_plain = !begins && (!is_odd || names());
    is_plain.then(|| Path::new(OsStr::from_bytes(inside)))
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
    fn what_is_known_of_a_directory_is_right_for_all_that_is_in_it() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        std::fs::create_dir_all(tree.path().join("real/file")).unwrap();
        symlink("real", tree.path().join("link")).unwrap();
        symlink("file", tree.path().join("real/alias")).unwrap();
        let mut directory = PathBuf::new();
        for _ in 0..2 {
            for path in [
                "/real/file",
                "/real/alias",
                "/real/gone",
                "/link/file",
                "/link/alias",
                "/real/./file",
                "/real/../link/gone",
                "/real",
                "/link",
                "/",
            ] {
                let found = root.canonical_in(&mut directory, Path::new(path)).unwrap();
                assert_eq!(found, root.canonical(path).unwrap(), "{path}");
                assert_eq!(directory, root.canonical(&directory).unwrap());
            }
        }
    }

    #[test]
    fn what_is_opened_stays_inside_and_is_not_waited_for() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        std::fs::create_dir(tree.path().join("etc")).unwrap();
        crate::durable::put_text("inside", &tree.path().join("etc/hostname")).unwrap();
        symlink("/etc/hostname", tree.path().join("link")).unwrap();
        let read = |path: &str| std::io::read_to_string(root.open(path)?);
        for path in ["/etc/hostname", "/link", "/etc/../link", "/../../link"] {
            assert_eq!(read(path).unwrap(), "inside", "{path}");
        }
        assert_eq!(read("/gone").unwrap_err().kind(), io::ErrorKind::NotFound);
        let fifo = tree.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(read("/fifo").unwrap(), "");
    }

    #[test]
    fn what_is_not_there_has_a_name_without_links_all_the_same() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        std::fs::create_dir(tree.path().join("real")).unwrap();
        symlink("/real", tree.path().join("link")).unwrap();
        symlink("/real/gone", tree.path().join("dangling")).unwrap();
        for (path, leads_to) in [
            ("/real//gone/./file", "/real/gone/file"),
            ("/link/gone", "/real/gone"),
            ("/dangling/file", "/real/gone/file"),
            ("/real/gone/", "/real/gone"),
            ("/./real/gone", "/real/gone"),
            ("/real/.gone/..", "/real"),
            ("/real/.gone/.", "/real/.gone"),
            ("/real/.gone", "/real/.gone"),
            ("/real/..gone", "/real/..gone"),
        ] {
            let found = root.canonical(path).unwrap();
            assert_eq!(found.as_os_str(), leads_to, "{path}");
        }
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
