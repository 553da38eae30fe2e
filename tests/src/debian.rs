//! Debian's releases.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

mod unpack;

pub(crate) use self::unpack::apt_sources;

/// A release of Debian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Debian {
    /// With systemd 252 and nftables 1.0.6.
    Twelve,
    /// With systemd 257 and nftables 1.1.3.
    Thirteen,
    /// What is to become the next release, with systemd 262. It changes from day to day; only long runs need it.
    Sid,
}

impl Debian {
    /// The releases that containers are started from in every run.
    pub const ALL: [Self; 2] = [Self::Twelve, Self::Thirteen];

    /// Another one of [`Self::ALL`].
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Twelve | Self::Sid => Self::Thirteen,
            Self::Thirteen => Self::Twelve,
        }
    }

    /// As Debian's archive calls it.
    #[must_use]
    pub fn suite(self) -> &'static str {
        match self {
            Self::Twelve => "bookworm",
            Self::Thirteen => "trixie",
            Self::Sid => "sid",
        }
    }

    /// As files are called that are about it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Twelve => "debian-12",
            Self::Thirteen => "debian-13",
            Self::Sid => "debian-sid",
        }
    }

    /// Which systemd the stories on it are about.
    #[must_use]
    pub fn systemd(self) -> &'static str {
        match self {
            Self::Twelve => "252",
            Self::Thirteen => "257",
            Self::Sid => "262",
        }
    }

    /// Whether the tree of this release has the systemd that the stories are about.
    ///
    /// # Errors
    /// When it has another one. Nothing would say so otherwise: a story that passes there says nothing of this one.
    pub(crate) fn check(self, root: &Path) -> Result<()> {
        let status = root.join("var/lib/dpkg/status");
        let text = fs::read_to_string(&status)
            .with_context(|| format!("cannot read {}", status.display()))?;
        let version = version_of(&text, "systemd").context("it has no systemd")?;
        ensure!(
            is_of(version, self.systemd()),
            "{} has systemd {version} by now, and the stories are about {}: change tests/src/debian.rs and what the \
             docs say of it when they have passed there",
            self.suite(),
            self.systemd()
        );
        Ok(())
    }
}

/// The version of an installed package, in the words of dpkg's `status`.
fn version_of<'a>(status: &'a str, package: &str) -> Option<&'a str> {
    let mut all = status.split("\n\n");
    let of = all.find(|one| one.lines().next() == Some(&format!("Package: {package}")))?;
    of.lines().find_map(|line| line.strip_prefix("Version: "))
}

/// Whether `257.13-1~deb13u1` is a 257: a point release, a candidate or a revision of Debian's.
fn is_of(version: &str, release: &str) -> bool {
    version
        .strip_prefix(release)
        .is_some_and(|rest| rest.starts_with(['.', '-', '~']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_and_is_of_its_release() {
        let status =
            "Package: libsystemd0\nVersion: 1\n\nPackage: systemd\nStatus: x\nVersion: 262.1-1\n";
        assert_eq!(version_of(status, "systemd"), Some("262.1-1"));
        assert_eq!(version_of(status, "nginx"), None);
        for (version, release, is) in [
            ("262.1-1", "262", true),
            ("262~rc3-1", "262", true),
            ("263.1-1", "262", false),
            ("2620-1", "262", false),
        ] {
            assert_eq!(is_of(version, release), is, "{version}");
        }
    }
}
