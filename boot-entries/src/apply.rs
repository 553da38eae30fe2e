//! Walks the steps of a plan. Decides nothing.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::boot_partition::Place;
use crate::durable;
use crate::payload::{self, Content};
use crate::step::Step;

/// A step that could not be made. The steps before it are done; a later run goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file in the store.
    #[error("cannot read {}", path.display())]
    Source {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A change to `$BOOT`.
    #[error(transparent)]
    Write(#[from] durable::Error),
}

/// Makes `steps`, in order, in `place`, on what is on the disk for certain. `started` hears of each before it begins.
///
/// # Errors
/// At the first step that cannot be made.
pub fn apply(place: &Place, steps: &[Step], mut started: impl FnMut(&Step)) -> Result<(), Error> {
    let changed: BTreeSet<&Path> = steps.iter().map(|s| place.directory(s.on())).collect();
    for directory in changed {
        durable::settle(directory)?;
    }
    // Nothing points at payload yet: all that is copied in a row gets its names flushed at once, before whatever comes next.
    let mut unnamed: Vec<PathBuf> = Vec::new();
    for step in steps {
        let payload = payload_of(place, step);
        if payload.is_none() {
            durable::flush_names(&std::mem::take(&mut unnamed))?;
        }
        started(step);
        match payload {
            Some(path) => {
                make(place, step, durable::put_unnamed)?;
                unnamed.push(path);
            }
            None => make(place, step, durable::put)?,
        }
    }
    Ok(durable::flush_names(&unnamed)?)
}

/// The file that a step copies, if that is payload.
fn payload_of(place: &Place, step: &Step) -> Option<PathBuf> {
    match step {
        Step::Copy { on, path, .. } if payload::name_of(path).is_some() => {
            Some(place.directory(*on).join(path))
        }
        _ => None,
    }
}

/// How a file is written.
type Put = fn(&mut File, &Content, &Path) -> Result<(), durable::Error>;

fn make(place: &Place, step: &Step, put: Put) -> Result<(), Error> {
    match step {
        Step::Copy {
            source,
            content,
            on,
            path,
        } => {
            let mut file = File::open(source).map_err(|error| Error::Source {
                path: source.clone(),
                source: error,
            })?;
            put(&mut file, content, &place.directory(*on).join(path))?;
        }
        Step::Text { text, on, path } => {
            durable::put_text(text, &place.directory(*on).join(path))?;
        }
        Step::Remove { on, path } => durable::remove(&place.directory(*on).join(path))?,
    }
    Ok(())
}
