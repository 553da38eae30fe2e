//! What to do about what the kernel says: the last part of an error's line. Pure.

use std::error::Error;
use std::io;

use nix::errno::Errno;

/// Who asks: root is not told to become root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// May do everything that the machine allows.
    Root,
    /// Anybody else.
    User,
}

/// An error, and everything that led to it.
pub(crate) fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source())
}

/// What the kernel said last on the way to `error`. None: the error is not the kernel's.
#[must_use]
pub fn cause_of(error: &(dyn Error + 'static)) -> Option<Errno> {
    let kernels = chain(error).filter_map(|error| {
        let number = error.downcast_ref::<io::Error>()?.raw_os_error()?;
        Some(Errno::from_raw(number))
    });
    kernels.last()
}

/// What to do about `cause`, in the imperative and without a full stop.
#[must_use]
pub fn advice(cause: Errno, asker: Asker) -> &'static str {
    match cause {
        Errno::ENOENT => {
            "see that it is there, and that the file system it should be on is mounted"
        }
        Errno::ENOTDIR => {
            "a file is where a directory has to be: move it away, then run again (after `fsck` if nobody put it there)"
        }
        Errno::EISDIR => {
            "a directory is where a file has to be: move it away, then run again (after `fsck` if nobody put it there)"
        }
        Errno::ENOTEMPTY | Errno::EEXIST => {
            "something else has this name: move it away, then run again"
        }
        Errno::ENOSPC | Errno::EDQUOT => "remove there what nobody needs, then run again",
        Errno::EROFS => {
            "run `mount -o remount,rw` on its file system, then run again; if the kernel made it read-only \
             (`journalctl -k`), `fsck` comes first"
        }
        Errno::EIO | Errno::EUCLEAN | Errno::EBADMSG => {
            "the disk or its file system is damaged: see `journalctl -k`, run `fsck`, and be ready to replace the disk"
        }
        Errno::ENXIO | Errno::ENODEV | Errno::ESTALE | Errno::ENOTCONN => {
            "its disk is gone: see `journalctl -k`, and mount it again"
        }
        Errno::EACCES | Errno::EPERM => match asker {
            Asker::User => "run as root",
            Asker::Root => {
                "root may not, either: see `lsattr` for an immutable file, and `journalctl -k` for a security module"
            }
        },
        Errno::ELOOP => {
            "symbolic links lead in a circle: see `namei` for which, and mend one of them"
        }
        Errno::ENAMETOOLONG => "give it a shorter name",
        Errno::EFBIG | Errno::EOVERFLOW => "it is too large for that file system",
        Errno::EBUSY | Errno::ETXTBSY => {
            "see with `fuser -v` what uses it, and run again when that has ended"
        }
        Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EAGAIN => {
            "the machine has none left: see what takes them, and run again"
        }
        Errno::EXDEV => "something is mounted in between: unmount it, then run again",
        Errno::ENOEXEC => "it is no program for this machine: see with `file` what it is",
        Errno::EINTR | Errno::ETIMEDOUT => "run again",
        _ => "see `journalctl -k` for what the kernel has to say about it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Everything that a file system is known to answer.
    const ALL: [Errno; 14] = [
        Errno::ENOENT,
        Errno::ENOTDIR,
        Errno::EISDIR,
        Errno::EEXIST,
        Errno::ENOSPC,
        Errno::EROFS,
        Errno::EIO,
        Errno::ENODEV,
        Errno::EACCES,
        Errno::ELOOP,
        Errno::ENAMETOOLONG,
        Errno::EFBIG,
        Errno::EBUSY,
        Errno::ENOMEM,
    ];

    #[test]
    fn each_cause_has_advice_of_its_own_in_one_line() {
        let told: BTreeSet<&str> = ALL
            .iter()
            .map(|cause| advice(*cause, Asker::Root))
            .collect();
        assert_eq!(told.len(), ALL.len(), "{told:?}");
        let general = advice(Errno::UnknownErrno, Asker::Root);
        assert!(!told.contains(general));
        // Whatever the kernel comes up with.
        for number in 0..4096 {
            for asker in [Asker::Root, Asker::User] {
                let line = advice(Errno::from_raw(number), asker);
                assert!(
                    !line.is_empty() && !line.ends_with('.') && !line.contains(char::is_control)
                );
            }
        }
    }

    #[test]
    fn only_who_is_not_root_is_told_to_be() {
        for cause in [Errno::EACCES, Errno::EPERM] {
            assert_eq!(advice(cause, Asker::User), "run as root");
            assert!(advice(cause, Asker::Root).contains("lsattr"));
        }
    }

    #[test]
    fn the_cause_is_found_however_deep_it_lies() {
        let source = io::Error::from(Errno::EROFS);
        let what = "it".to_owned();
        let deep = crate::error::Error::InPlace {
            name: "/efi".into(),
            source: Box::new(crate::error::Error::Read { what, source }),
        };
        assert_eq!(cause_of(&deep), Some(Errno::EROFS));
        assert_eq!(cause_of(&io::Error::other("says who?")), None);
    }
}
