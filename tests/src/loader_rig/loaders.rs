//! The real loaders: the host's, and those of later Debian releases, from wherever the host gets its packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache::Step;
use crate::{command, debian, files};

/// Where Debian's package has it.
const FILE: &str = "usr/lib/systemd/boot/efi/systemd-bootx64.efi";
const PACKAGE: &str = "systemd-boot-efi";

/// The loaders that are put to the test, oldest first: 252, 257 and 262 as Debian 12, 13 and 14 have them, or only the
/// one in the file that `SYSTEMD_BOOT` names.
///
/// # Errors
/// When a package cannot be fetched.
pub fn loaders() -> Result<Vec<PathBuf>> {
    if let Some(file) = std::env::var_os("SYSTEMD_BOOT") {
        return Ok(vec![file.into()]);
    }
    Ok(vec![
        Path::new("/").join(FILE),
        of_suite("systemd-boot-trixie", "trixie")?,
        of_suite("systemd-boot-forky", "forky")?,
    ])
}

/// The loader of a Debian release, unpacked once. Updates of Debian are not noticed: remove
/// `target/rig/systemd-boot-*`.
fn of_suite(step: &'static str, suite: &str) -> Result<PathBuf> {
    let built = Step::new(step)
        .text(suite)
        .text(PACKAGE)
        .text(include_str!("loaders.rs"))
        .get(|dir| fetch(dir, suite))?;
    Ok(built.dir.join(FILE))
}

/// Downloads and unpacks the package, with apt's lists and settings in `dir`, so that the host's own are left alone.
/// apt checks the signatures, as for every package.
fn fetch(dir: &Path, suite: &str) -> Result<()> {
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
    run(&["download", PACKAGE])?;
    let all = files::sorted_entries(&apt)?;
    let deb = all
        .iter()
        .find(|path| path.extension().is_some_and(|kind| kind == "deb"));
    let deb = deb.context("the package was not downloaded")?;
    command::run("dpkg", ["-x".as_ref(), deb.as_os_str(), dir.as_os_str()])?;
    files::remove(&apt)
}
