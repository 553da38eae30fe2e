//! Walks the steps of a plan. Decides nothing.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::boot_partition::{Partition, Place};
use crate::durable;
use crate::payload;
use crate::progress::{Counted, Progress};
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

/// Makes `steps`, in order, in `place`, on what is on the disk for certain. `heard` hears of each before it begins, and of what is
/// copied for it.
///
/// # Errors
/// At the first step that cannot be made.
pub fn apply(
    place: &Place,
    steps: &[Step],
    mut heard: impl FnMut(Progress<'_>),
) -> Result<(), Error> {
    for directory in relied_on(place, steps) {
        durable::settle(directory)?;
    }
    // Nothing points at payload yet: all that is copied in a row gets its names flushed at once, before whatever comes next.
    let mut unnamed: Vec<PathBuf> = Vec::new();
    for step in steps {
        let is_payload = is_payload(step);
        if !is_payload {
            durable::flush_names(&std::mem::take(&mut unnamed))?;
        }
        heard(Progress::Step(step));
        make(place, step, &mut heard)?;
        if is_payload {
            unnamed.push(place.directory(step.on()).join(step.path()));
        }
    }
    Ok(durable::flush_names(&unnamed)?)
}

/// The partitions that must be on the disk as they are to be seen, before the first of `steps` is made. That is both: what
/// a step on one of them relies on may be on the other, where a killed run left it and nothing is to be done any more.
pub(crate) fn relied_on<'a>(place: &'a Place, steps: &[Step]) -> BTreeSet<&'a Path> {
    let both = [Partition::Esp, Partition::Boot].map(|on| place.directory(on));
    both.into_iter().filter(|_| !steps.is_empty()).collect()
}

fn is_payload(step: &Step) -> bool {
    matches!(step, Step::Copy { path, .. } if payload::name_of(path).is_some())
}

/// Makes one step. Payload may not have its name on the disk yet.
fn make(place: &Place, step: &Step, heard: &mut impl FnMut(Progress<'_>)) -> Result<(), Error> {
    match step {
        Step::Copy {
            source,
            content,
            on,
            path,
        } => {
            let reader = File::open(source).map_err(|error| Error::Source {
                path: source.clone(),
                source: error,
            })?;
            let mut file = Counted {
                reader,
                heard: |bytes| heard(Progress::Copied { bytes }),
            };
            let to = place.directory(*on).join(path);
            if is_payload(step) {
                durable::put_unnamed(&mut file, content, &to)?;
            } else {
                durable::put(&mut file, content, &to)?;
            }
        }
        Step::Text { text, on, path } => {
            durable::put_text(text, &place.directory(*on).join(path))?;
        }
        Step::Remove { on, path } => durable::remove(&place.directory(*on).join(path))?,
    }
    Ok(())
}
