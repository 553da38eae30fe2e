//! Files of other users, which nobody else may read at any moment.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::{Error, OWNER, at, beside};
use crate::payload::{CHUNK, Content};

/// Whose a file is, and who may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Its permissions, with the set-user-ID, set-group-ID and sticky bits.
    pub mode: u32,
}

/// What may be at the place of a file that is put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Nothing: what has come there in the meantime stays.
    Nothing,
    /// Something that is to go.
    Anything,
}

/// Makes `to` a file of `owner` with the bytes of `from`, which must be `content`. Its directory must be there.
///
/// The file has its owner and its permissions before it has its name. Until then only the user of this process may read
/// it. Its bytes are on the disk before it has its name; the name itself is not flushed.
///
/// # Errors
/// When a step fails, or what is read back is something else. `to` is then as it was.
pub fn put(
    owner: Owner,
    from: &mut impl Read,
    content: &Content,
    to: &Path,
    over: Over,
) -> Result<(), Error> {
    let part = beside(to);
    // A directory may be another user's. What is at the temporary name is not followed and not written to.
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return at("replace", &part, Err(error));
        }
        _ => {}
    }
    let placed = at("write", to, fill(owner, from, content, &part))
        .and_then(|()| at("put in place", to, place(&part, to, over)));
    if placed.is_err() {
        // The first error is the one to tell.
        drop(std::fs::remove_file(&part));
    }
    placed
}

fn fill(owner: Owner, from: &mut impl Read, content: &Content, part: &Path) -> io::Result<()> {
    let open = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(OWNER & 0o666)
        .open(part);
    let mut file = open?;
    let mut piece = vec![0; CHUNK];
    loop {
        let count = from.read(&mut piece)?;
        match piece.get(..count) {
            Some(bytes) if !bytes.is_empty() => file.write_all(bytes)?,
            _ => break,
        }
    }
    // In this order: a change of owner takes the set-user-ID bit away.
    fchown(&file, Some(owner.uid), Some(owner.gid))?;
    file.set_permissions(Permissions::from_mode(owner.mode))?;
    file.sync_all()?;
    io::Seek::rewind(&mut file)?;
    if Content::of(&mut file)? == *content {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        "read back other bytes than its source had when that was looked at",
    ))
}

fn place(part: &Path, to: &Path, over: Over) -> io::Result<()> {
    if over == Over::Nothing {
        let placed = renameat2(AT_FDCWD, part, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE);
        // Some file systems cannot promise that.
        if placed != Err(Errno::EINVAL) {
            return Ok(placed?);
        }
    }
    std::fs::rename(part, to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    fn us(tree: &Path, mode: u32) -> Owner {
        let found = tree.metadata().unwrap();
        Owner {
            uid: found.uid(),
            gid: found.gid(),
            mode,
        }
    }

    #[test]
    fn it_has_its_permissions_with_its_name_and_what_came_in_between_stays() {
        let tree = tempfile::tempdir().unwrap();
        let (to, secret) = (tree.path().join("key"), tree.path().join("victim"));
        let owner = us(tree.path(), 0o4640);
        crate::durable::put_text("victim", &secret).unwrap();
        // Somebody else owns the directory, and waits for the temporary name.
        symlink(&secret, beside(&to)).unwrap();
        let put = |text: &str, over| {
            let content = Content::of_text(text);
            put(owner, &mut text.as_bytes(), &content, &to, over)
        };
        put("one", Over::Nothing).unwrap();
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "victim");
        assert_eq!(to.metadata().unwrap().mode() & 0o7777, 0o4640);
        put("two", Over::Nothing).unwrap_err();
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "one");
        put("two", Over::Anything).unwrap();
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "two");
        assert_eq!(std::fs::read_dir(tree.path()).unwrap().count(), 2);
    }

    #[test]
    fn other_bytes_than_promised_are_not_put_in_place() {
        let tree = tempfile::tempdir().unwrap();
        let to = tree.path().join("key");
        let content = Content::of_text("new");
        let owner = us(tree.path(), 0o600);
        put(owner, &mut &b"nev"[..], &content, &to, Over::Anything).unwrap_err();
        assert_eq!(std::fs::read_dir(tree.path()).unwrap().count(), 0);
    }
}
