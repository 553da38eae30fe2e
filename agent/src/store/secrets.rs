//! Initrds with secrets: finished once for each closure, kept, and used from then on.
//!
//! A closure with `initrdSecrets` brings a program that adds the machine's secrets to a copy of its initrd. The program
//! reads what the machine has *now*, so running it again for an old generation would give that the new key and leave it
//! unable to unlock what it could. What is made here is therefore never made again: a generation keeps the secrets it
//! had when it was installed first.
//!
//! Programs of a closure run only when an operator (or the installer hook) asks for `install`, never during a boot.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use boot_entries::closure::{self, Documents, Finished};
use boot_entries::generation::Generation;
use boot_entries::payload::{Content, Digest};
use boot_entries::{Root, durable};
use nix::sys::stat::{Mode, umask};
use sha2::{Digest as _, Sha256};

use crate::host::INITRDS;
use crate::report::line::one_line;
use crate::system::program;

/// The file a program works on.
const WORK: &str = ".lastgood-work.part";
/// How long a program may take. It waits for nothing: it reads files and packs them.
const PATIENCE: Duration = Duration::from_mins(2);

/// Something in [`INITRDS`] that cannot be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// By other means than [`durable`].
    #[error("cannot {what} {}", path.display())]
    Keep {
        /// What was to be done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// See the source.
    #[error(transparent)]
    Write(#[from] durable::Error),
    /// The program said no.
    #[error(transparent)]
    Program(#[from] program::Error),
    /// The program, or the closure, is not what it should be.
    #[error("{0}")]
    Odd(String),
}

fn at<T>(what: &'static str, path: &Path, result: io::Result<T>) -> Result<T, Error> {
    result.map_err(|source| Error::Keep {
        what,
        path: path.to_owned(),
        source,
    })
}

/// The program of a closure that adds its secrets, as a path of the machine. None: it has none.
///
/// A closure that cannot be read has none either: why it cannot be booted is told elsewhere.
#[must_use]
pub fn program_of(root: &Root, toplevel: &Path, documents: &Documents) -> Option<PathBuf> {
    let document = documents.of(root, toplevel).ok()?;
    document.bootspec.initrd_secrets.clone()
}

/// The finished initrds of `generations`, and of those that have none yet, why.
#[must_use]
pub fn finished(root: &Root, generations: &[Generation], documents: &Documents) -> Finished {
    let mut all = Finished::new();
    for generation in generations {
        let toplevel = &generation.toplevel;
        if all.contains_key(toplevel) {
            continue;
        }
        let Some(program) = program_of(root, toplevel, documents) else {
            continue;
        };
        let program = program.display();
        let here = place(root, toplevel);
        let found = match here.try_exists() {
            Ok(true) => Ok(here),
            Ok(false) if root.is_live() => Err(format!(
                "its initrd secrets are not added yet: `lastgood install` runs {program}"
            )),
            Ok(false) => Err(format!(
                "its initrd needs secrets from {program}, which is not run with --root; run `lastgood install` on the \
                 machine itself"
            )),
            Err(error) => Err(format!("{}: {error}", here.display())),
        };
        all.insert(toplevel.clone(), found);
    }
    all
}

/// Where the finished initrd of a closure is kept, as a path of this process.
fn place(root: &Root, toplevel: &Path) -> PathBuf {
    let mut hash = Sha256::new();
    hash.update(toplevel.as_os_str().as_encoded_bytes());
    let name = Digest::from(hash).to_string();
    root.join(INITRDS).join(name)
}

/// Finishes the initrd of `toplevel` by running its program, and keeps it. One that is there already is not touched.
///
/// # Errors
/// What went wrong, if the program ran then in its own words. Nothing is kept then.
pub fn finish(root: &Root, toplevel: &Path) -> Result<(), Error> {
    let to = place(root, toplevel);
    if at("look at", &to, to.try_exists())? {
        return Ok(());
    }
    let examined = closure::examine(root, toplevel).map_err(Error::Odd)?;
    let spec = examined.document.into_owned().bootspec;
    let (Some(program), Some(initrd)) = (spec.initrd_secrets, spec.initrd) else {
        return Ok(());
    };
    let directory = root.join(INITRDS);
    make_directory(&directory)?;
    let work = directory.join(WORK);
    let made = on_a_copy(root, &program, &initrd, &work).and_then(|()| keep(&work, &to));
    // Secrets do not lie around; and the first error is the one to tell.
    let swept = durable::remove(&work);
    made?;
    Ok(swept?)
}

/// A directory for root alone, whatever it was before.
fn make_directory(directory: &Path) -> Result<(), Error> {
    if let Some(above) = directory.parent() {
        durable::make_directory(above)?;
    }
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return at("make", directory, Err(error));
        }
        _ => {}
    }
    let private = std::fs::set_permissions(directory, Permissions::from_mode(0o700));
    at("protect", directory, private)
}

/// Copies the initrd to `work` and lets the program add to it.
fn on_a_copy(root: &Root, program: &Path, initrd: &Path, work: &Path) -> Result<(), Error> {
    durable::remove(work)?;
    let from = at("find", initrd, root.resolve(initrd))?;
    let mut from = at("read", initrd, File::open(from))?;
    let open = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(work);
    let copied = open.and_then(|mut to| io::copy(&mut from, &mut to));
    at("write", work, copied)?;
    let program = at("find", program, root.resolve(program))?;
    program::stdout_within(Command::new(program).arg(work), PATIENCE)?;
    let is_file = at("look at", work, work.symlink_metadata())?.is_file();
    match closure::is_payload(work) {
        Ok(()) if is_file => Ok(()),
        Ok(()) => Err(Error::Odd("the program left no regular file".to_owned())),
        Err(why) => Err(Error::Odd(format!("the program left what {why}"))),
    }
}

/// Puts the finished initrd in its place, durably and verified.
fn keep(work: &Path, to: &Path) -> Result<(), Error> {
    let content = at("read", work, Content::of_file(work))?;
    let mut from = at("read", work, File::open(work))?;
    // The writer makes files as the umask of the process says. No other thread of it makes files.
    let before = umask(Mode::S_IRWXG | Mode::S_IRWXO);
    let put = durable::put(&mut from, &content, to);
    umask(before);
    Ok(put?)
}

/// Removes what no generation needs any more, and what interrupted runs left. Called when the entries are written:
/// until then an old entry may be all there is.
///
/// # Errors
/// When something cannot be listed or removed.
pub fn sweep(root: &Root, generations: &[Generation]) -> Result<(), Error> {
    for path in left_over(root, generations)? {
        durable::remove(&path)?;
    }
    Ok(())
}

/// What [`sweep`] removes, as paths of this process.
///
/// # Errors
/// When something cannot be listed.
pub fn left_over(root: &Root, generations: &[Generation]) -> Result<Vec<PathBuf>, Error> {
    let directory = root.join(INITRDS);
    let listing = match std::fs::read_dir(&directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return at("list", &directory, Err(error)),
    };
    let needed: BTreeSet<PathBuf> = generations
        .iter()
        .map(|generation| place(root, &generation.toplevel))
        .collect();
    let mut left = Vec::new();
    for item in listing {
        let path = at("list", &directory, item)?.path();
        if !needed.contains(&path) {
            left.push(path);
        }
    }
    Ok(left)
}

/// [`finish`], told in one line.
///
/// # Errors
/// As [`finish`].
pub fn finish_or_say(root: &Root, toplevel: &Path) -> Result<(), String> {
    finish(root, toplevel).map_err(|error| format!("its initrd secrets: {}", one_line(&error)))
}

#[cfg(test)]
mod tests;
