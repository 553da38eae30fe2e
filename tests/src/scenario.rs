//! A scenario: one story over one machine.

use std::io::Write as _;
use std::panic::{self, AssertUnwindSafe};

use anyhow::{Context, Result, anyhow};

use crate::container::{Container, Rootfs};
use crate::debian::Debian;
use crate::evidence::{self, Witness};
use crate::image::{self, Image, Kind};
use crate::machine::Machine;
use crate::{files, host, package, paths};

/// Builds the image if need be, tells `story` over a machine that is off, and cleans up; when the story fails or
/// panics, leaves evidence and says where.
///
/// # Errors
/// The story's own, with where the evidence is.
pub fn scenario(name: &str, story: impl FnOnce(&mut Machine) -> Result<()>) -> Result<()> {
    scenario_on(Kind::Quick, name, story)
}

/// Like [`scenario`], over any kind of machine.
///
/// # Errors
/// Those of [`scenario`].
pub fn scenario_on(
    kind: Kind,
    name: &str,
    story: impl FnOnce(&mut Machine) -> Result<()>,
) -> Result<()> {
    let image = prepare(Debian::Twelve, kind)?;
    tell(name, Machine::new(name, &image, false)?, story)
}

/// Like [`scenario_on`], over a machine of any release.
///
/// # Errors
/// Those of [`scenario`].
pub fn scenario_of(
    debian: Debian,
    kind: Kind,
    name: &str,
    story: impl FnOnce(&mut Machine) -> Result<()>,
) -> Result<()> {
    let image = prepare(debian, kind)?;
    let name = format!("{name}-{}", debian.name());
    tell(&name, Machine::new(&name, &image, false)?, story)
}

/// Like [`scenario`], over a container of a release.
///
/// # Errors
/// Those of [`scenario`].
pub fn in_container(
    name: &str,
    debian: Debian,
    story: impl FnOnce(&mut Container) -> Result<()>,
) -> Result<()> {
    install_packages()?;
    let rootfs = Rootfs::build(debian)?;
    let name = format!("{name}-{}", debian.name());
    tell(&name, Container::new(&name, &rootfs)?, story)
}

/// Like [`in_container`], on a machine without the agent, with its package at `/rig/lastgood.deb`.
///
/// # Errors
/// Those of [`scenario`], and when the package cannot be built.
pub fn with_package(
    name: &str,
    debian: Debian,
    story: impl FnOnce(&mut Container) -> Result<()>,
) -> Result<()> {
    install_packages()?;
    let rootfs = Rootfs::build_bare(debian)?;
    let name = format!("{name}-{}", debian.name());
    let machine = Container::new(&name, &rootfs)?;
    machine.write("/rig/lastgood.deb", std::fs::read(package::deb()?)?)?;
    tell(&name, machine, story)
}

/// Like [`scenario`], printing the timeline as it goes.
///
/// # Errors
/// Those of [`scenario`].
pub fn live_scenario(name: &str, story: impl FnOnce(&mut Machine) -> Result<()>) -> Result<()> {
    let image = prepare(Debian::Twelve, Kind::Quick)?;
    tell(name, Machine::new(name, &image, true)?, story)
}

fn prepare(debian: Debian, kind: Kind) -> Result<Image> {
    install_packages()?;
    image::build_kind(debian, kind)
}

fn install_packages() -> Result<()> {
    host::ensure_packages(|line| drop(writeln!(std::io::stderr(), "{line}")))
}

fn tell<M: Witness>(
    name: &str,
    mut machine: M,
    story: impl FnOnce(&mut M) -> Result<()>,
) -> Result<()> {
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| story(&mut machine)));
    let error = match outcome {
        Ok(Ok(())) => {
            let dir = machine.dir().to_owned();
            // For people: docs quote from it.
            let told = paths::rig().join("told").join(format!("{name}.txt"));
            files::write(&told, machine.timeline().to_string())?;
            drop(machine);
            files::remove(&dir)?;
            return files::remove(&evidence::directory(name)?);
        }
        Ok(Err(error)) => error,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            anyhow!("{}", text.unwrap_or_else(|| "panicked".to_owned()))
        }
    };
    let dir = evidence::collect(name, &mut machine, &error)?;
    Err(error).with_context(|| format!("scenario {name} failed; evidence is in {}", dir.display()))
}
