//! A scenario: one story over one machine.

use std::io::Write as _;
use std::panic::{self, AssertUnwindSafe};

use anyhow::{Context, Result, anyhow};

use crate::machine::Machine;
use crate::{evidence, files, host, image};

/// Builds the image if need be, tells `story` over a machine that is off, and cleans up; when the story fails or
/// panics, leaves evidence and says where.
///
/// # Errors
/// The story's own, with where the evidence is.
pub fn scenario(name: &str, story: impl FnOnce(&mut Machine) -> Result<()>) -> Result<()> {
    tell(name, false, story)
}

/// Like [`scenario`], printing the timeline as it goes.
///
/// # Errors
/// Those of [`scenario`].
pub fn live_scenario(name: &str, story: impl FnOnce(&mut Machine) -> Result<()>) -> Result<()> {
    tell(name, true, story)
}

fn tell(name: &str, live: bool, story: impl FnOnce(&mut Machine) -> Result<()>) -> Result<()> {
    host::ensure_packages(|line| drop(writeln!(std::io::stderr(), "{line}")))?;
    let image = image::build()?;
    let mut machine = Machine::new(name, &image, live)?;
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| story(&mut machine)));
    let error = match outcome {
        Ok(Ok(())) => {
            let dir = machine.dir().to_owned();
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
