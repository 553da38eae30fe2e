//! Walks the steps of a plan. Decides nothing.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::boot_partition::{ENTRIES, Partition, Place};
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
    let rows: Vec<Option<Row>> = steps.iter().map(|step| Row::of(place, step)).collect();
    let mut last = None;
    let mut unnamed: Vec<PathBuf> = Vec::new();
    for (at, (step, row)) in steps.iter().zip(&rows).enumerate() {
        let is_last = rows.get(at + 1) != Some(row);
        if *row != last || matches!(row, Some(Row::Entries(_))) && is_last {
            durable::flush_names(&std::mem::take(&mut unnamed))?;
        }
        heard(Progress::Step(step));
        make(place, step, row.is_some(), &mut heard)?;
        if row.is_some() {
            unnamed.push(place.directory(step.on()).join(step.path()));
        }
        last = *row;
    }
    Ok(durable::flush_names(&unnamed)?)
}

/// Steps on one partition that follow each other and do not rely on each other. Their names are flushed at once, before
/// whatever comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    /// Payload: nothing points at it yet.
    Payload(Partition),
    /// Entries that are not there yet, the lowest rank first. The last of them may be what boots next, and what it falls back
    /// to may be among the others: before that one the names of all others are flushed.
    Entries(Partition),
}

impl Row {
    /// What `step` may be in a row with, before anything is done. An entry that is replaced is in none: it might get lost.
    fn of(place: &Place, step: &Step) -> Option<Self> {
        match step {
            Step::Copy { on, path, .. } => payload::name_of(path).map(|_| Self::Payload(*on)),
            Step::Text { on, path, .. } => {
                let there = place.directory(*on).join(path);
                let is_new = matches!(there.try_exists(), Ok(false));
                (path.starts_with(ENTRIES) && is_new).then_some(Self::Entries(*on))
            }
            Step::Remove { .. } => None,
        }
    }
}

/// The partitions that must be on the disk as they are to be seen, before the first of `steps` is made. That is both: what
/// a step on one of them relies on may be on the other, where a killed run left it and nothing is to be done any more.
pub(crate) fn relied_on<'a>(place: &'a Place, steps: &[Step]) -> BTreeSet<&'a Path> {
    let both = [Partition::Esp, Partition::Boot].map(|on| place.directory(on));
    both.into_iter().filter(|_| !steps.is_empty()).collect()
}

/// Makes one step. One in a row does not have its name on the disk yet.
fn make(
    place: &Place,
    step: &Step,
    is_in_row: bool,
    heard: &mut impl FnMut(Progress<'_>),
) -> Result<(), Error> {
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
            if is_in_row {
                durable::put_unnamed(&mut file, content, &to)?;
            } else {
                durable::put(&mut file, content, &to)?;
            }
        }
        Step::Text { text, on, path } => {
            let to = place.directory(*on).join(path);
            if is_in_row {
                durable::put_text_unnamed(text, &to)?;
            } else {
                durable::put_text(text, &to)?;
            }
        }
        Step::Remove { on, path } => durable::remove(&place.directory(*on).join(path))?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::call::{Call, noted};
    use crate::payload::{Content, Kind, file_name};

    /// Files that get their names (`r`), and names that are flushed (`f`), in order.
    fn order(place: &Place, steps: &[Step]) -> String {
        noted();
        apply(place, steps, |_| {}).unwrap();
        let calls = noted().into_iter();
        let letters = calls.filter_map(|call| match call {
            Call::Rename(..) => Some('r'),
            Call::FlushAll(_) => Some('f'),
            _ => None,
        });
        letters.collect()
    }

    #[test]
    fn what_goes_in_rows() {
        let tree = tempfile::tempdir().unwrap();
        let place = Place {
            esp: tree.path().join("esp"),
            boot: tree.path().join("boot"),
            ..Place::default()
        };
        let source = tree.path().join("kernel");
        durable::put_text("kernel", &source).unwrap();
        let content = Content::of_file(&source).unwrap();
        let copy = |on, path: String| Step::Copy {
            source: source.clone(),
            content,
            on,
            path,
        };
        let payload = |on, kind| {
            let name = file_name(&content, kind);
            copy(on, format!("{}/{name}", payload::DIRECTORY))
        };
        let text = |on, path: &str| Step::Text {
            text: path.to_owned(),
            on,
            path: path.to_owned(),
        };
        let entry = |on, name: &str| text(on, &format!("{ENTRIES}/{name}.conf"));
        let (boot, esp) = (Partition::Boot, Partition::Esp);
        let both = [Kind::Kernel, Kind::Initrd];
        for (what, steps, wanted) in [
            (
                "payload",
                both.map(|kind| payload(boot, kind)).to_vec(),
                "rrf",
            ),
            (
                "the last entry alone",
                ["a", "b", "c"].map(|name| entry(boot, name)).to_vec(),
                "rrfrf",
            ),
            (
                "one that is replaced",
                ["b", "d", "e", "f"].map(|name| entry(boot, name)).to_vec(),
                "rfrrfrf",
            ),
            (
                "in between",
                ["g", "h", "a", "i"].map(|name| entry(boot, name)).to_vec(),
                "rfrfrfrf",
            ),
            (
                "of each partition",
                vec![
                    entry(boot, "j"),
                    entry(boot, "k"),
                    entry(boot, "l"),
                    entry(esp, "j"),
                    payload(esp, Kind::Kernel),
                    payload(boot, Kind::Devicetree),
                ],
                "rrfrfrfrfrf",
            ),
            (
                "nothing else",
                vec![
                    text(boot, "loader/random"),
                    text(boot, "loader/other"),
                    copy(boot, "EFI/a".to_owned()),
                    copy(boot, "EFI/b".to_owned()),
                ],
                "rfrfrfrf",
            ),
        ] {
            assert_eq!(order(&place, &steps), wanted, "{what}");
        }
    }
}
