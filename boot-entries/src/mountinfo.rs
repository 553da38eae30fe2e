//! What is mounted where, as the kernel tells it (`/proc/self/mountinfo`, `proc_pid_mountinfo(5)`).
//!
//! Anybody who may mount something chooses names in it, and they need not be text. A line that cannot be understood is
//! passed over: it is nobody's boot partition.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// One line: a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount<'a> {
    /// `major:minor`, as in `st_dev` of what is on it.
    pub device: String,
    /// Which directory of the file system is mounted.
    pub top: PathBuf,
    /// Where.
    pub point: PathBuf,
    /// The type of file system.
    pub file_system: String,
    /// What is mounted: a device's name, or what the file system takes for one.
    pub source: String,
    options: &'a [u8],
    super_options: &'a [u8],
}

impl Mount<'_> {
    /// Whether nothing can be written to it by this way.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        let is_ro = |options: &[u8]| options.split(|byte| *byte == b',').any(|one| one == b"ro");
        is_ro(self.options) || is_ro(self.super_options)
    }

    /// The path that the file system was given by the option `name`.
    #[must_use]
    pub fn path_option(&self, name: &str) -> Option<PathBuf> {
        let mut options = self.super_options.split(|byte| *byte == b',');
        options.find_map(|option| {
            let value = option.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(unescaped(value))
        })
    }
}

/// The mounts, in the order of mounting: what comes last at a point is what is seen there.
pub fn mounts(mountinfo: &[u8]) -> impl Iterator<Item = Mount<'_>> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(mount)
}

fn mount(line: &[u8]) -> Option<Mount<'_>> {
    // Optional fields come before the dash, so their number is not known.
    const DASH: &[u8] = b" - ";
    let dash = line.windows(DASH.len()).position(|part| part == DASH)?;
    let (before, after) = (line.get(..dash)?, line.get(dash + DASH.len()..)?);
    let fields = |part| -> Vec<&[u8]> { <[u8]>::split(part, |byte| *byte == b' ').collect() };
    let (before, after) = (fields(before), fields(after));
    let ([_, _, device, top, point, options, ..], [file_system, source, super_options, ..]) =
        (before.as_slice(), after.as_slice())
    else {
        return None;
    };
    Some(Mount {
        device: String::from_utf8_lossy(device).into_owned(),
        top: unescaped(top),
        point: unescaped(point),
        file_system: String::from_utf8_lossy(file_system).into_owned(),
        source: unescaped(source).display().to_string(),
        options,
        super_options,
    })
}

/// A path as the kernel writes it: what would end a field is a `\` and three octal digits.
fn unescaped(path: &[u8]) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|d| std::str::from_utf8(d).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let (b'\\', Some(code)) = (first, code) {
            bytes.push(code);
            rest = after.get(3..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::Path;

    #[test]
    fn what_is_no_escape_stays() {
        for odd in ["/a\\", "/a\\04", "/a\\999", "/a\\0\u{e4}"] {
            assert_eq!(unescaped(odd.as_bytes()), Path::new(odd));
        }
    }

    #[test]
    fn an_overlay_says_where_it_keeps_what_is_written() {
        let text =
            b"31 1 0:27 / / rw - overlay none rw,lowerdir=/a:/b,upperdir=/run/x\\040y,workdir=/w\n";
        let root = mounts(text).next().unwrap();
        assert_eq!(root.path_option("upperdir").unwrap(), Path::new("/run/x y"));
        assert_eq!(root.path_option("dir"), None);
        assert_eq!(root.path_option("rw"), None);
    }

    #[test]
    fn a_line_that_makes_no_sense_takes_no_other_with_it() {
        let text = b"\n - \nnonsense\n36 25 259:1 / /short\n36 25 259:1 / /x rw future:1 - vfat\n\
            36 25 259:1 / /caf\xe9 rw future:1 - vfat d rw\n37 25 0:3 / /after ro - tmpfs  rw";
        let found: Vec<Mount<'_>> = mounts(text).collect();
        let points = found.iter().map(|mount| mount.point.as_os_str().as_bytes());
        assert_eq!(points.collect::<Vec<_>>(), [&b"/caf\xe9"[..], b"/after"]);
        assert!(!found[0].is_read_only() && found[1].is_read_only());
    }
}
