//! Walks the steps of a plan. Decides nothing.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::boot_partition::{Partition, Place};
use crate::durable;
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
    for directory in relied_on(place, steps) {
        durable::settle(directory)?;
    }
    for step in steps {
        started(step);
        make(place, step)?;
    }
    Ok(())
}

/// The partitions that must be on the disk as they are to be seen, before the first of `steps` is made. That is both: what
/// a step on one of them relies on may be on the other, where a killed run left it and nothing is to be done any more.
pub(crate) fn relied_on<'a>(place: &'a Place, steps: &[Step]) -> BTreeSet<&'a Path> {
    let both = [Partition::Esp, Partition::Boot].map(|on| place.directory(on));
    both.into_iter().filter(|_| !steps.is_empty()).collect()
}

/// Makes one step.
pub(crate) fn make(place: &Place, step: &Step) -> Result<(), Error> {
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
            durable::put(&mut file, content, &place.directory(*on).join(path))?;
        }
        Step::Text { text, on, path } => {
            durable::put_text(text, &place.directory(*on).join(path))?;
        }
        Step::Remove { on, path } => durable::remove(&place.directory(*on).join(path))?,
    }
    Ok(())
}
