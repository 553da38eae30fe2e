//! Small files that somebody else has made: regular files only, and no more of one than makes sense.
//!
//! A FIFO would hang whoever opens it, and a gigabyte where a page belongs would be read to its end before it turns out
//! to be nonsense. Neither may stop a boot.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::OFlag;

/// Reads the text file at `path` (a path of this process), of at most `limit` bytes.
///
/// # Errors
/// When it cannot be opened or read, or is something else than a regular file, longer, or no UTF-8.
pub fn read(path: &Path, limit: u64) -> io::Result<String> {
    text(read_bytes(path, limit)?)
}

/// [`read`] for a file that is open already.
///
/// # Errors
/// As [`read`].
pub fn read_open(file: File, limit: u64) -> io::Result<String> {
    read_known(file, limit).map(|(text, _)| text)
}

/// [`read_open`], and what the file system said of the file before it was read.
///
/// # Errors
/// As [`read`].
pub fn read_known(file: File, limit: u64) -> io::Result<(String, Metadata)> {
    let found = file.metadata()?;
    Ok((text(bytes(file, &found, limit)?)?, found))
}

/// [`read`] for a file that need not be text.
///
/// # Errors
/// When it cannot be opened or read, or is something else than a regular file, or longer.
pub fn read_bytes(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Without O_NONBLOCK, opening a FIFO waits for a writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    let found = file.metadata()?;
    bytes(file, &found, limit)
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).or_else(|_| wrong("is no UTF-8 text".to_owned()))
}

fn bytes(file: File, found: &Metadata, limit: u64) -> io::Result<Vec<u8>> {
    if !found.is_file() {
        return wrong("is no regular file".to_owned());
    }
    // The size that the file claims to have is only a hint: in /proc and the like it is 0.
    let hint = found.len().min(limit).saturating_add(1);
    let mut bytes = vec![0; usize::try_from(hint).unwrap_or_default()];
    let count = (&file).read(&mut bytes)?;
    bytes.truncate(count);
    // As much as it claims, with room for more: that was all. Else it is read until it says that it has ended.
    if count as u64 != found.len() {
        file.take(limit.saturating_add(1).saturating_sub(count as u64))
            .read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > limit {
        return wrong(format!("is larger than {limit} bytes"));
    }
    Ok(bytes)
}

fn wrong<T>(text: String) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
}

/// `text` in one line of bearable length: what others wrote ends up in messages, titles and journals.
#[must_use]
pub fn one_line(text: &str, length: usize) -> String {
    // As nearly every text is.
    if text.len() <= length && is_printed(text) {
        return text.to_owned();
    }
    let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut line: String = text.chars().take(length).map(printable).collect();
    if text.chars().nth(length).is_some() {
        line.push('…');
    }
    line
}

/// Whether `text` holds a control character. Nearly every text can be printed, and that takes no decoding.
#[must_use]
pub fn has_control(text: &str) -> bool {
    !is_printed(text) && text.contains(char::is_control)
}

/// Whether there is nothing in `text` but ASCII that can be printed.
fn is_printed(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn only_regular_files_of_bearable_size() {
        let tree = tempfile::tempdir().unwrap();
        let told = |name: &str| match read(&tree.path().join(name), 4) {
            Ok(text) => text,
            Err(error) => error.to_string(),
        };
        for (name, text) in [("fits", "1234"), ("long", "12345")] {
            crate::durable::put_text(text, &tree.path().join(name)).unwrap();
        }
        let huge = File::create(tree.path().join("huge")).unwrap();
        huge.set_len(1 << 40).unwrap();
        std::fs::create_dir(tree.path().join("directory")).unwrap();
        let mode = nix::sys::stat::Mode::S_IRUSR;
        nix::unistd::mkfifo(&tree.path().join("fifo"), mode).unwrap();
        assert_eq!(told("fits"), "1234");
        assert_eq!(told("long"), "is larger than 4 bytes");
        assert_eq!(told("huge"), "is larger than 4 bytes");
        assert_eq!(told("directory"), "is no regular file");
        assert_eq!(told("fifo"), "is no regular file");
        assert!(told("gone").contains("No such file"));
        // Claims to have no bytes at all.
        assert!(
            read(Path::new("/proc/version"), 4096)
                .unwrap()
                .contains("Linux")
        );
    }

    #[test]
    fn control_characters_are_found_in_any_text() {
        for text in ["a\n", "\0", "\u{7f}", "ä\u{80}", "a\u{1b}b"] {
            assert!(has_control(text), "{text:?}");
        }
        for text in ["", "a ~", "ä", "\u{a0}"] {
            assert!(!has_control(text), "{text:?}");
        }
    }

    #[test]
    fn one_line_it_is() {
        assert_eq!(one_line("abc", 3), "abc");
        assert_eq!(one_line("abcd", 3), "abc…");
        assert_eq!(one_line("\u{7f}", 3), "\u{fffd}");
        assert_eq!(one_line("a\nb\u{1b}c", 9), "a\u{fffd}b\u{fffd}c");
        assert_eq!(one_line("äöü", 2), "äö…");
        assert_eq!(one_line("äöü", 3), "äöü");
    }
}
