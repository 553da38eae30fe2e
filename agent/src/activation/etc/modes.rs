//! `NAME.mode`, `NAME.uid` and `NAME.gid` beside a file `NAME`: no files of `/etc`, but what is to become of `NAME`, as
//! nixpkgs writes it (`environment.etc.NAME.mode`, `.user`, `.group`).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use boot_entries::{Root, bounded};

/// What such a file may be called.
pub(super) const ENDINGS: [&str; 3] = [MODE, UID, GID];
/// How it is to be there.
pub(super) const MODE: &str = ".mode";
/// Whose it is to be.
pub(super) const UID: &str = ".uid";
/// Which group's.
pub(super) const GID: &str = ".gid";

/// The longest one that is read, in bytes.
const LIMIT: u64 = 4096;
/// The longest list of users or groups that is read, in bytes.
const NAMES_LIMIT: u64 = 16 * 1024 * 1024;

/// How a file is to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// As a link through `/etc/static`.
    Symlink,
    /// As the very link that the closure has.
    DirectSymlink,
    /// As a copy with these permissions.
    Copy(u32),
}

/// The name of the file that a file with this name is about, if its name is such a one.
#[must_use]
pub(super) fn about(name: &OsStr) -> Option<OsString> {
    let bytes = name.as_bytes();
    let mut stems = ENDINGS
        .iter()
        .filter_map(|ending| bytes.strip_suffix(ending.as_bytes()));
    let stem = stems.next().filter(|stem| !stem.is_empty())?;
    Some(OsString::from_vec(stem.to_vec()))
}

/// The name with an ending.
#[must_use]
pub(super) fn with(name: &OsStr, ending: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(ending);
    name
}

/// Reads what is in such a file: one word.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn word(root: &Root, path: &Path) -> Result<String, String> {
    let text = root
        .resolve(path)
        .and_then(|path| bounded::read(&path, LIMIT));
    let text = text.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(text.trim().to_owned())
}

/// What a word in `NAME.mode` means.
///
/// # Errors
/// When it means nothing.
pub(super) fn mode(word: &str) -> Result<Mode, String> {
    match word {
        "symlink" => Ok(Mode::Symlink),
        "direct-symlink" => Ok(Mode::DirectSymlink),
        digits => {
            let is_octal = digits.bytes().all(|byte| byte.is_ascii_digit());
            let mode = u32::from_str_radix(digits, 8).ok();
            mode.filter(|mode| is_octal && *mode <= 0o7777)
                .map(Mode::Copy)
                .ok_or_else(|| {
                    format!(
                        "mode {word:?} is neither octal permissions, symlink nor direct-symlink"
                    )
                })
        }
    }
}

/// Whom a word in `NAME.uid` or `NAME.gid` means: `+N` and `N` are numbers, anything else is a name in `list`
/// (passwd(5), group(5)).
///
/// # Errors
/// When it means nobody.
pub(super) fn number(root: &Root, word: &str, list: &str) -> Result<u32, String> {
    let digits = word.strip_prefix('+').unwrap_or(word);
    // The highest number means "no change" to chown(2).
    if let Ok(number) = digits.parse::<u32>()
        && number != u32::MAX
        && digits.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Ok(number);
    }
    let text = root
        .resolve(list)
        .and_then(|path| bounded::read_bytes(&path, NAMES_LIMIT));
    let text = text.map_err(|error| format!("cannot look for {word:?} in {list}: {error}"))?;
    // Comments there need not be UTF-8.
    let text = String::from_utf8_lossy(&text);
    let number = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(word)).then(|| fields.nth(1)?.parse().ok())?
    });
    number.ok_or_else(|| format!("there is no {word:?} in {list}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_what_they_mean_in_nixpkgs() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        std::fs::create_dir(tree.path().join("etc")).unwrap();
        let users = b"root:x:0:0:\xff:/root:/bin/sh\nalice:x:1000:100::/:/bin/sh\nodd\n";
        let mut file = std::fs::File::create(tree.path().join("etc/passwd")).unwrap();
        std::io::Write::write_all(&mut file, users).unwrap();
        let number = |word: &str| number(&root, word, "/etc/passwd");
        for (word, expected) in [("+0", 0), ("+1000", 1000), ("33", 33), ("alice", 1000)] {
            assert_eq!(number(word), Ok(expected), "{word}");
        }
        for word in [
            "bob",
            "odd",
            "",
            "+",
            "++1",
            "-1",
            "4294967295",
            "+99999999999",
        ] {
            let error = number(word).unwrap_err();
            assert!(error.contains("/etc/passwd"), "{word}: {error}");
        }
        assert_eq!(mode("symlink"), Ok(Mode::Symlink));
        assert_eq!(mode("direct-symlink"), Ok(Mode::DirectSymlink));
        for (word, expected) in [("0600", 0o600), ("444", 0o444), ("4755", 0o4755)] {
            assert_eq!(mode(word), Ok(Mode::Copy(expected)), "{word}");
        }
        for word in ["", "0888", "+600", "10000", "u=rw", "0o600", "-1"] {
            assert!(mode(word).is_err(), "{word}");
        }
        let name = |name: &str| about(OsStr::new(name));
        assert_eq!(name("app.conf.mode"), Some("app.conf".into()));
        assert_eq!(name("a.gid"), Some("a".into()));
        assert_eq!(name(".uid").or(name("mode")).or(name("a.model")), None);
    }
}
