//! The terminals of those who are logged in. What is written there is read at once, whatever they do.
//!
//! Not by utmp: systemd writes none any more on newer distributions (Debian 13's is built without).

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::logind::Session;

const DEVICES: &str = "/dev";
const PSEUDO: &str = "/dev/pts";

/// The terminals of these people: the session's own; of one that has none, all pseudo terminals of its user's.
#[must_use]
pub fn of(people: &BTreeSet<Session>) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for person in people {
        match &person.terminal {
            Some(name) => {
                found.insert(Path::new(DEVICES).join(name));
            }
            None => found.extend(of_user(person.uid)),
        }
    }
    found
}

fn of_user(uid: u32) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(PSEUDO).into_iter().flatten().flatten();
    let owned = entries.filter(|entry| entry.metadata().is_ok_and(|found| found.uid() == uid));
    owned.map(|entry| entry.path()).collect()
}

/// Writes `lines` to a terminal. Never waits: one that takes nothing now is left alone.
///
/// # Errors
/// When it is no terminal, or takes nothing.
pub fn tell(terminal: &Path, lines: &[String]) -> io::Result<()> {
    let flags = nix::libc::O_NOCTTY | nix::libc::O_NONBLOCK | nix::libc::O_CLOEXEC;
    let mut device = OpenOptions::new()
        .write(true)
        .custom_flags(flags)
        .open(terminal)?;
    if !device.metadata()?.file_type().is_char_device() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    device.write_all(text(lines).as_bytes())
}

/// As wall(1) has it: a bell, and lines of their own whatever stands on the screen.
fn text(lines: &[String]) -> String {
    let shown = |c: char| if c.is_control() { '?' } else { c };
    let lines = lines
        .iter()
        .map(|line| line.chars().map(shown).chain("\r\n".chars()).collect());
    let lines: Vec<String> = lines.collect();
    format!("\r\n\u{7}{}\r\n", lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_the_cursor_gets_through() {
        let lines = ["a\u{1b}[2Jb".to_owned(), "c".to_owned()];
        let text = text(&lines);
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert!(
            text.starts_with("\r\n\u{7}a") && text.ends_with("c\r\n\r\n"),
            "{text:?}"
        );
    }

    #[test]
    fn only_a_terminal_is_written_to() {
        let tree = tempfile::tempdir().unwrap();
        let file = tree.path().join("file");
        boot_entries::durable::put_text("kept", &file).unwrap();
        assert!(tell(&file, &["x".to_owned()]).is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
        assert!(tell(&tree.path().join("none"), &[]).is_err());
        tell(Path::new("/dev/null"), &["x".to_owned()]).unwrap();
    }

    #[test]
    fn a_session_s_own_terminal_is_below_dev() {
        let person = Session {
            id: "1".to_owned(),
            user: "alice".to_owned(),
            uid: 1000,
            terminal: Some("pts/7".to_owned()),
        };
        let found = of(&BTreeSet::from([person]));
        assert_eq!(found, BTreeSet::from([PathBuf::from("/dev/pts/7")]));
    }
}
