//! Lines of ASCII that end with a checksum of all before it: how the manifest and the seal lie on the disk.

use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// Ends `text`, whose last line has no end yet, with its checksum.
pub(super) fn close(mut text: String) -> String {
    text.push('\n');
    let sum = crc32fast::hash(text.as_bytes());
    // Writing to a String does not fail.
    writeln!(text, "end {sum:08x}").unwrap_or_default();
    text
}

/// The lines of a text that was [`close`]d. None: it is not what it was.
pub(super) fn open(text: &str) -> Option<std::str::Lines<'_>> {
    let (lines, end) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let sum = u32::from_str_radix(end.strip_prefix("end ")?, 16).ok()?;
    let is_whole = crc32fast::hash(text.get(..=lines.len())?.as_bytes()) == sum;
    is_whole.then(|| lines.lines())
}

/// Writes a path: what is not plain in it as `%` and two hexadecimal digits.
pub(super) fn push(text: &mut String, path: &Path) {
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_graphic() && *byte != b'%' {
            text.push(char::from(*byte));
        } else {
            write!(text, "%{byte:02x}").unwrap_or_default();
        }
    }
}

/// Reads a path.
pub(super) fn pulled(text: &str) -> Option<PathBuf> {
    if !text.contains('%') {
        return Some(PathBuf::from(text));
    }
    let mut pieces = text.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend(rest.as_bytes());
    }
    Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}
