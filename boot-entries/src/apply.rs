//! Walks the steps of a plan. Decides nothing.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::boot_partition::{ENTRIES, Partition, Place};
use crate::durable::{self, Part};
use crate::payload;
use crate::progress::{Counted, Progress};
use crate::step::{self, Step};

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
    let rows: Vec<(&Step, Option<Row>)> = steps
        .iter()
        .map(|step| (step, Row::of(place, step)))
        .collect();
    for row in rows.chunk_by(|(_, a), (_, b)| a.is_some() && a == b) {
        let kind = row.first().and_then(|(_, kind)| *kind);
        let steps: Vec<&Step> = row.iter().map(|(step, _)| *step).collect();
        match kind {
            Some(Row::Payload(_)) => {
                for piece in step::pieces(&steps) {
                    copy_together(place, piece, &mut heard)?;
                }
            }
            Some(Row::Entries(_)) => write_row(place, &steps, &mut heard)?,
            None => {
                for step in steps {
                    heard(Progress::Step(step));
                    make(place, step, &mut heard)?;
                }
            }
        }
    }
    Ok(())
}

/// Steps on one partition that follow each other and do not rely on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    /// Payload: nothing points at it yet.
    Payload(Partition),
    /// Entries that are not there yet, the lowest rank first.
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

/// Copies all of `steps`, and then puts all of it in place.
fn copy_together(
    place: &Place,
    steps: &[&Step],
    heard: &mut impl FnMut(Progress<'_>),
) -> Result<(), Error> {
    let mut parts = Vec::new();
    for step in steps {
        heard(Progress::Step(step));
        if let Step::Copy {
            source,
            content,
            on,
            path,
        } = step
        {
            let mut file = open(source, heard)?;
            let to = place.directory(*on).join(path);
            parts.push(Part::write(&mut file, content, &to)?);
        }
    }
    Ok(durable::place(parts)?)
}

/// Writes entries. The last of them may be what boots next, and what it falls back to may be among the others: before that one
/// is written the names of all others are flushed.
fn write_row(
    place: &Place,
    steps: &[&Step],
    heard: &mut impl FnMut(Progress<'_>),
) -> Result<(), Error> {
    let Some((last, others)) = steps.split_last() else {
        return Ok(());
    };
    let mut unnamed: Vec<PathBuf> = Vec::new();
    for step in others {
        heard(Progress::Step(step));
        if let Step::Text { text, on, path } = step {
            let to = place.directory(*on).join(path);
            durable::put_text_unnamed(text, &to)?;
            unnamed.push(to);
        }
    }
    durable::flush_names(&unnamed)?;
    heard(Progress::Step(last));
    make(place, last, heard)
}

/// Makes one step.
fn make(place: &Place, step: &Step, heard: &mut impl FnMut(Progress<'_>)) -> Result<(), Error> {
    let to = place.directory(step.on()).join(step.path());
    match step {
        Step::Copy {
            source, content, ..
        } => durable::put(&mut open(source, heard)?, content, &to)?,
        Step::Text { text, .. } => durable::put_text(text, &to)?,
        Step::Remove { .. } => durable::remove(&to)?,
    }
    Ok(())
}

/// Opens a file of the store; `heard` hears of what is read of it.
fn open(source: &Path, heard: &mut impl FnMut(Progress<'_>)) -> Result<impl Read, Error> {
    let reader = File::open(source).map_err(|error| Error::Source {
        path: source.to_owned(),
        source: error,
    })?;
    Ok(Counted {
        reader,
        heard: |bytes| heard(Progress::Copied { bytes }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::call::{Call, noted};
    use crate::payload::{Content, Kind, file_name};

    /// Files that get their names (`r`), and everything that is flushed (`f`), in order.
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
                "frrf",
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
                "rrfrfrffrffrf",
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
