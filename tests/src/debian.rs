//! Debian's releases, from wherever the host gets its own packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{command, files};

/// The host's own release.
const OF_THE_HOST: Debian = Debian::Twelve;

/// A release of Debian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Debian {
    /// With systemd 252 and nftables 1.0.6.
    Twelve,
    /// With systemd 257 and nftables 1.1.3.
    Thirteen,
}

impl Debian {
    /// Every release that containers are started from.
    pub const ALL: [Self; 2] = [Self::Twelve, Self::Thirteen];

    /// The other release.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Twelve => Self::Thirteen,
            Self::Thirteen => Self::Twelve,
        }
    }

    /// As Debian's archive calls it.
    #[must_use]
    pub fn suite(self) -> &'static str {
        match self {
            Self::Twelve => "bookworm",
            Self::Thirteen => "trixie",
        }
    }

    /// As files are called that are about it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Twelve => "debian-12",
            Self::Thirteen => "debian-13",
        }
    }

    /// Unpacks Debian's smallest system and these packages. `more` are further options of mmdebstrap.
    pub(crate) fn unpack(self, root: &Path, packages: &[String], more: &[String]) -> Result<()> {
        let sources = tempfile::tempdir()?;
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap.args(["--variant=minbase", "--mode=root"]);
        mmdebstrap.arg(format!("--include={}", packages.join(",")));
        for unread in ["man", "doc", "locale", "info"] {
            mmdebstrap.arg(format!("--dpkgopt=path-exclude=/usr/share/{unread}/*"));
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
            files::write(&copy, text.replace(own, suite))?;
            written.push(copy);
        }
    }
    ensure!(
        !written.is_empty(),
        "no apt source of this host offers {own}"
    );
    Ok(written)
}
