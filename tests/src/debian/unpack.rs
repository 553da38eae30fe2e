//! A release's tree, from wherever the host gets its own packages. What was unpacked before is found by this file's text.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Debian;
use crate::{command, files};

/// The host's own release.
const OF_THE_HOST: Debian = Debian::Twelve;

/// A list of sid says itself that it is out of date after a week, and a mirror may be further behind. Its signature is
/// looked at all the same.
const ANY_AGE: &str = "Acquire::Check-Valid-Until \"false\"";

impl Debian {
    /// Unpacks Debian's smallest system and these packages. `more` are further options of mmdebstrap.
    pub(crate) fn unpack(self, root: &Path, packages: &[String], more: &[String]) -> Result<()> {
        let sources = tempfile::tempdir()?;
        // Where somebody is in the tree it cannot unmount /proc there, only warns, and whoever copies the tree copies that:
        // dozens of gibibytes. In mounts of its own none is left.
        let mut mmdebstrap = Command::new("unshare");
        mmdebstrap.args(["--mount", "mmdebstrap"]);
        mmdebstrap.args(["--variant=minbase", "--mode=root"]);
        mmdebstrap.arg(format!("--include={}", packages.join(",")));
        for unread in ["man", "doc", "locale", "info"] {
            mmdebstrap.arg(format!("--dpkgopt=path-exclude=/usr/share/{unread}/*"));
        }
        if self == Self::Sid {
            mmdebstrap.arg(format!("--aptopt={ANY_AGE}"));
        }
        mmdebstrap.args(more).arg(self.suite()).arg(root);
        mmdebstrap.args(apt_sources(self.suite(), sources.path())?);
        command::output(&mut mmdebstrap)?;
        Ok(())
    }
}

/// The host's apt sources, with another suite in the place of its own, as files in `into`.
///
/// # Errors
/// When the host has none of its own suite, or as the file system says.
pub(crate) fn apt_sources(suite: &str, into: &Path) -> Result<Vec<PathBuf>> {
    let own = OF_THE_HOST.suite();
    let mut all = files::sorted_entries(Path::new("/etc/apt/sources.list.d"))?;
    all.retain(|path| {
        path.extension()
            .is_some_and(|kind| kind == "list" || kind == "sources")
    });
    all.push("/etc/apt/sources.list".into());
    let mut written = Vec::new();
    for path in all {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let mut words = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .flat_map(str::split_whitespace);
        if words.any(|word| word == own) {
            let copy = into.join(path.file_name().context("a file has a name")?);
            files::write(&copy, in_its_place(&text, suite))?;
            written.push(copy);
        }
    }
    ensure!(
        !written.is_empty(),
        "no apt source of this host offers {own}"
    );
    Ok(written)
}

/// The text of a file of apt sources with another suite. Only a release has updates and security updates of its own.
fn in_its_place(text: &str, suite: &str) -> String {
    let text = text.replace(OF_THE_HOST.suite(), suite);
    if suite != Debian::Sid.suite() {
        return text;
    }
    let further = format!("{suite}-");
    let stanzas = text.split("\n\n").filter_map(|stanza| {
        let mut lines = Vec::new();
        for line in stanza.lines() {
            let mut words: Vec<&str> = line.split_whitespace().collect();
            let had = words.len();
            words.retain(|word| !word.starts_with(&further));
            match words.first() {
                Some(&"Suites:") if words.len() == 1 => return None,
                Some(&"deb" | &"deb-src") if words.len() < had => {}
                _ if words.len() < had => lines.push(words.join(" ")),
                _ => lines.push(line.to_owned()),
            }
        }
        Some(lines.join("\n"))
    });
    stanzas.collect::<Vec<_>>().join("\n\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sid_has_neither_updates_nor_security_updates_of_its_own() {
        let stanzas = "Types: deb\nURIs: x\nSuites: bookworm bookworm-updates\n\nTypes: deb\nSuites: bookworm-security\n";
        assert_eq!(
            in_its_place(stanzas, "sid"),
            "Types: deb\nURIs: x\nSuites: sid\n"
        );
        let lines = "deb x bookworm main\ndeb x bookworm-updates main\n";
        assert_eq!(in_its_place(lines, "sid"), "deb x sid main\n");
        assert_eq!(
            in_its_place(lines, "trixie"),
            "deb x trixie main\ndeb x trixie-updates main\n"
        );
    }
}
