//! Single packages of a Debian release, unpacked and not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::cache::Step;
use crate::debian::{self, Debian};
use crate::{command, files};

/// The directories that are links in every Debian: what comes as `/lib` belongs to `/usr/lib`.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

const UNPACK: &str = r#"dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C "$2""#;

/// Packages of a release in a directory of their own, unpacked once, without what they depend on. `step` is that
/// directory's name under `target/rig/`. Updates of Debian are not noticed: remove it.
///
/// # Errors
/// When they cannot be fetched.
pub fn unpacked(step: &'static str, debian: Debian, packages: &[&str]) -> Result<PathBuf> {
    let fetched = Step::new(step)
        .text(debian.suite())
        .text(&packages.join("\n"))
        .text(include_str!("packages.rs"))
        .get(|dir| fetch(debian.suite(), packages, dir))?;
    Ok(fetched.dir)
}

/// Downloads packages of `suite` and unpacks them in `dir`, without what they depend on. apt has its lists and settings in
/// `dir` meanwhile, so that the host's own are left alone, and checks the signatures, as for every package.
///
/// # Errors
/// When a package cannot be fetched.
pub(crate) fn fetch(suite: &str, packages: &[&str], dir: &Path) -> Result<()> {
    let apt = dir.join("apt");
    let (sources, lists, cache) = (apt.join("sources"), apt.join("lists"), apt.join("cache"));
    for directory in [&sources, &lists, &cache] {
        fs::create_dir_all(directory.join("partial"))?;
    }
    debian::apt_sources(suite, &sources)?;
    let run = |arguments: &[&str]| {
        let mut get = Command::new("apt-get");
        for (key, value) in [
            ("Dir::Etc::SourceList", Path::new("/dev/null")),
            ("Dir::Etc::SourceParts", &sources),
            ("Dir::State::Lists", &lists),
            ("Dir::State::Status", Path::new("/dev/null")),
            ("Dir::Cache", &cache),
        ] {
            get.arg("-o").arg(format!("{key}={}", value.display()));
        }
        // There is no other user's directory to download to.
        get.args(["-o", "APT::Sandbox::User=root", "-qq"]);
        command::output(get.args(arguments).current_dir(&apt))
    };
    run(&["update"])?;
    run(&[&["download"], packages].concat())?;
    for merged in MERGED {
        fs::create_dir_all(dir.join("usr").join(merged))?;
        files::link(Path::new("usr").join(merged), &dir.join(merged))?;
    }
    for deb in files::sorted_entries(&apt)? {
        if deb.extension().is_some_and(|kind| kind == "deb") {
            let words = ["-euc", UNPACK, "unpack"].map(AsRef::as_ref);
            let places = [deb.as_os_str(), dir.as_os_str()];
            command::run("sh", words.into_iter().chain(places))?;
        }
    }
    for merged in MERGED {
        files::remove(&dir.join(merged))?;
    }
    files::remove(&apt)
}
