//! Files under their temporary names, and how they get their own.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Error, at, call, directories, flush_names, make_directory, open, parent, part_name};
use crate::parallel;
use crate::payload::{CHUNK, Content};
use crate::sums::{self, Sums};

/// From this size on, in bytes, a file is flushed and read back while others are copied. A flush of its own would cost a
/// smaller one more than is won.
const LARGE: u64 = 4 * 1024 * 1024;

/// Whether a file of so many bytes is read back by [`Part::ahead`].
#[must_use]
pub fn is_large(size: u64) -> bool {
    size >= LARGE
}

/// A file that is written under its temporary name. Unless it gets to its own, it is removed.
#[derive(Debug)]
pub struct Part {
    pub(super) path: PathBuf,
    to: PathBuf,
    content: Content,
    is_placed: bool,
}

/// A [`Part`] that may have been read back already.
#[derive(Debug)]
pub struct Copied<'a> {
    part: Part,
    /// Of what was to be copied, if they are known.
    sums: Option<&'a Sums>,
    /// None: it was not read back yet.
    verified: Option<io::Result<()>>,
}

impl Part {
    /// Writes the bytes of `from`, which must be `content`, and are to become the file `to`. Nothing of it is on the
    /// disk for certain before [`place`].
    ///
    /// # Errors
    /// When a step fails.
    pub fn write(from: &mut impl Read, content: &Content, to: &Path) -> Result<Self, Error> {
        Self::create(from, content, to, call::ANYBODY).map(|(part, _)| part)
    }

    pub(super) fn create(
        from: &mut impl Read,
        content: &Content,
        to: &Path,
        mode: u32,
    ) -> Result<(Self, File), Error> {
        let directory = at("find the directory of", to, parent(to))?;
        make_directory(directory)?;
        let part = Self {
            path: directory.join(part_name(to)),
            to: to.to_owned(),
            content: *content,
            is_placed: false,
        };
        let file = write(from, &part.path, to, mode)?;
        Ok((part, file))
    }

    /// Reads a large one back at once; a small one has to wait for [`place`], which flushes it with others. It is to be
    /// what it should be, or else, where they are known, what these `sums` are of, which were taken with its digest.
    #[must_use]
    pub fn ahead(self, sums: &sums::Known) -> Copied<'_> {
        let mut copied = Copied {
            sums: sums.of(&self.content.digest),
            part: self,
            verified: None,
        };
        if is_large(copied.part.content.size) {
            copied.verified = Some(copied.part.flush().and_then(|()| copied.verify()));
        }
        copied
    }

    /// Gives it its name, if what is on the disk is what it should be.
    pub(super) fn rename(self) -> Result<(), Error> {
        let verified = verify(&self.path, &self.content, None);
        self.rename_if(verified)
    }

    /// Puts its bytes on the disk, so that they can be read back. That they stay there, [`place`] sees to.
    fn flush(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_data()
    }

    fn rename_if(mut self, verified: io::Result<()>) -> Result<(), Error> {
        at("write", &self.to, verified)?;
        at("put in place", &self.to, call::rename(&self.path, &self.to))?;
        self.is_placed = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_placed {
            // The first error is the one to tell. What stays behind is swept by the next run.
            drop(call::remove(&self.path));
        }
    }
}

impl Copied<'_> {
    /// Whether what is on the disk is what it should be.
    fn verify(&self) -> io::Result<()> {
        verify(&self.part.path, &self.part.content, self.sums)
    }
}

/// Puts `parts` in place. They are on the disk then, under their names.
///
/// # Errors
/// At the first step that fails. What is not in place then is removed.
pub fn place(parts: Vec<Copied<'_>>) -> Result<(), Error> {
    let files: Vec<PathBuf> = parts.iter().map(|copied| copied.part.to.clone()).collect();
    for path in directories(&files) {
        let directory = at("open", path, File::open(path))?;
        at("flush", path, call::flush_all(&directory, path))?;
        at("flush", path, call::flush(&directory, path))?;
    }
    let left = parallel::each(&parts, |copied| {
        copied.verified.is_none().then(|| copied.verify())
    });
    let renamed = parts.into_iter().zip(left).try_for_each(|(copied, left)| {
        let verified = left.or(copied.verified).unwrap_or(Ok(()));
        copied.part.rename_if(verified)
    });
    // What has its name has it for certain, whatever became of the others.
    renamed.and(flush_names(&files))
}

fn write(from: &mut impl Read, part: &Path, to: &Path, mode: u32) -> Result<File, Error> {
    // An old leftover is truncated, not refused: a crash must not stand in the way of the next run.
    let mut file = at("write", to, call::create(part, mode))?;
    let mut piece = vec![0; CHUNK];
    loop {
        let count = at("read what is to become", to, from.read(&mut piece))?;
        match piece.get(..count) {
            Some(bytes) if !bytes.is_empty() => {
                at("write", to, call::write(&mut file, part, bytes))?;
            }
            _ => {
                begin_writing(&file);
                return Ok(file);
            }
        }
    }
}

/// Lets the kernel begin to write a file to the disk, so that not all is left to the flush. Nobody waits for it, and it
/// is no more than advice: where it is not taken, nothing is lost but time.
fn begin_writing(file: &File) {
    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
    let advice = PosixFadviseAdvice::POSIX_FADV_DONTNEED;
    // All of it.
    posix_fadvise(file, 0, 0, advice).unwrap_or_default();
}

/// Reads a flushed file back and compares it with what it should be: with the digest, or where they are known with the
/// sums that were taken with it.
fn verify(part: &Path, content: &Content, sums: Option<&Sums>) -> io::Result<()> {
    let mut file = open(part)?;
    let is_right = match sums {
        Some(sums) => Sums::of(&mut file)? == *sums,
        None => Content::of(&mut file)? == *content,
    };
    if is_right {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "read back other bytes than its source had when that was looked at: one of the two disks is failing",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;

    /// The kernel refuses the advice for a pipe. What is written is as good without it.
    #[test]
    fn advice_that_is_not_taken_fails_no_write() {
        let tree = tempfile::tempdir().unwrap();
        let part = tree.path().join("part");
        nix::unistd::mkfifo(&part, Mode::S_IRWXU).unwrap();
        // Somebody has it open, or nobody could.
        let pipe = File::options().read(true).write(true).open(&part);
        let mut pipe = pipe.unwrap();
        let mut from = &b"initrd"[..];
        write(&mut from, &part, &tree.path().join("to"), call::ANYBODY).unwrap();
        let mut written = [0; 6];
        pipe.read_exact(&mut written).unwrap();
        assert_eq!(&written, b"initrd");
    }

    /// Several are read back at once, large ones before the others are flushed. What is damaged on its way to the disk is
    /// noticed all the same; what comes before it is in place, and nothing of what follows is.
    #[test]
    fn of_several_files_each_is_read_back() {
        let large = usize::try_from(LARGE).unwrap();
        for (size, is_known) in [(9, false), (9, true), (large, false), (large, true)] {
            for damaged in 0..3 {
                let tree = tempfile::tempdir().unwrap();
                let to = |number: u8| tree.path().join(format!("{number}-initrd"));
                let mut known = sums::Known::default();
                let parts: Vec<Part> = (0..3)
                    .map(|number| {
                        let bytes = vec![number; size];
                        let (sums, content) = Sums::and_content(&mut &bytes[..]).unwrap();
                        if is_known {
                            known.learn(content.digest, sums);
                        }
                        Part::write(&mut &bytes[..], &content, &to(number)).unwrap()
                    })
                    .collect();
                let part = &parts[usize::from(damaged)].path;
                let mut file = File::options().write(true).open(part).unwrap();
                std::io::Write::write_all(&mut file, b"x").unwrap();
                let copied = parts.into_iter().map(|part| part.ahead(&known));
                let error = place(copied.collect()).unwrap_err();
                assert!(
                    error.to_string().contains(&format!("{damaged}-initrd")),
                    "{error}"
                );
                let there = std::fs::read_dir(tree.path()).unwrap().count();
                assert_eq!(there, usize::from(damaged), "nothing else is left");
                assert!((0..damaged).all(|number| to(number).is_file()));
            }
        }
    }
}
