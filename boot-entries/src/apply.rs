//! Walks the steps of a plan. Decides nothing.

pub mod no_room;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::boot_partition::Place;
use crate::durable::{self, Part};
use crate::parallel;
use crate::payload::Content;
use crate::progress::{Counted, Progress};
use crate::step::{self, Piece, Step};
use crate::sums;
use systemd_boot_model::Partition;

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

/// Makes `steps`, in order, in `place`, on what is on the disk for certain. `sums` are of the files that were read to
/// plan them. `heard` hears of each step before it begins, and of what is copied for it.
///
/// # Errors
/// At the first step that cannot be made.
pub fn apply(
    place: &Place,
    steps: &[Step],
    sums: &sums::Known,
    mut heard: impl FnMut(Progress<'_>),
) -> Result<(), Error> {
    for directory in relied_on(place, steps) {
        durable::settle(directory)?;
    }
    let is_there = |step: &Step| {
        let there = place.directory(step.on()).join(step.path()).try_exists();
        there.unwrap_or(true)
    };
    for piece in step::pieces(steps, is_there) {
        match piece {
            Piece::Payload(steps) => copy_together(place, steps, sums, &mut heard)?,
            Piece::Entries(steps) => write_row(place, steps, &mut heard)?,
            Piece::Alone(step) => make(place, step, Put::Whole, &mut heard).map(drop)?,
        }
    }
    Ok(())
}

/// The partitions that must be on the disk as they are to be seen, before the first of `steps` is made. That is both:
/// what a step on one of them relies on may be on the other, where a killed run left it and nothing is to be done any
/// more.
pub(crate) fn relied_on<'a>(place: &'a Place, steps: &[Step]) -> BTreeSet<&'a Path> {
    let both = [Partition::Esp, Partition::Boot].map(|on| place.directory(on));
    both.into_iter().filter(|_| !steps.is_empty()).collect()
}

/// Copies all of `steps`, and then puts all of it in place. What cannot be copied stands in the way of nothing that
/// came before it.
fn copy_together(
    place: &Place,
    steps: &[Step],
    sums: &sums::Known,
    heard: &mut impl FnMut(Progress<'_>),
) -> Result<(), Error> {
    let mut copied = Ok(());
    let is_large = |step: &&Step| durable::is_large(step.bytes());
    let large = steps.iter().filter(is_large).count();
    let mut steps = steps.iter();
    let copy = || {
        let step = steps.next()?;
        make(place, step, Put::Part, heard).unwrap_or_else(|error| {
            copied = Err(error);
            None
        })
    };
    let placed = durable::place(parallel::behind(large, copy, |part: Part| part.ahead(sums)));
    copied?;
    Ok(placed?)
}

/// Writes entries. The last of them may be what boots next, and what it falls back to may be among the others: before
/// that one is written the names of all others are flushed.
fn write_row(
    place: &Place,
    steps: &[Step],
    heard: &mut impl FnMut(Progress<'_>),
) -> Result<(), Error> {
    let Some((last, others)) = steps.split_last() else {
        return Ok(());
    };
    for step in others {
        make(place, step, Put::Unnamed, heard)?;
    }
    let others = others
        .iter()
        .map(|step| place.directory(step.on()).join(step.path()));
    durable::flush_names(&others.collect::<Vec<PathBuf>>())?;
    make(place, last, Put::Whole, heard).map(drop)
}

/// How far a file is put in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Put {
    /// Under its temporary name only.
    Part,
    /// Under its own, but that is not flushed.
    Unnamed,
    /// All the way.
    Whole,
}

/// Makes one step; what it leaves under a temporary name is to be put in place.
fn make(
    place: &Place,
    step: &Step,
    put: Put,
    heard: &mut impl FnMut(Progress<'_>),
) -> Result<Option<Part>, Error> {
    heard(Progress::Step(step));
    let to = place.directory(step.on()).join(step.path());
    let (content, mut from): (Content, Box<dyn Read + '_>) = match step {
        Step::Copy {
            source, content, ..
        } => (*content, Box::new(open(source, heard)?)),
        Step::Text { text, .. } => (Content::of_text(text), Box::new(text.as_bytes())),
        Step::Remove { .. } => {
            durable::remove(&to)?;
            return Ok(None);
        }
    };
    match put {
        Put::Part => return Ok(Some(Part::write(&mut from, &content, &to)?)),
        Put::Unnamed => durable::put_unnamed(&mut from, &content, &to)?,
        Put::Whole => durable::put(&mut from, &content, &to)?,
    }
    Ok(None)
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
    use crate::payload::{self, Kind, file_name};
    use systemd_boot_model::ENTRIES;

    /// Files that get their names (`r`), and everything that is flushed (`f`), in order.
    fn order(place: &Place, steps: &[Step]) -> String {
        noted();
        apply(place, steps, &sums::Known::default(), |_| {}).unwrap();
        let calls = noted().into_iter();
        let letters = calls.filter_map(|call| match call {
            Call::Rename(..) => Some('r'),
            Call::FlushAll(_) => Some('f'),
            _ => None,
        });
        letters.collect()
    }

    #[test]
    fn what_is_flushed_together() {
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

    /// One file of the store that cannot be read is nobody else's trouble, in this run and in the next.
    #[test]
    fn what_was_copied_before_a_failure_is_in_place() {
        let tree = tempfile::tempdir().unwrap();
        let boot = tree.path().join("boot");
        let place = Place {
            esp: boot.clone(),
            boot: boot.clone(),
            ..Place::default()
        };
        let source = tree.path().join("source");
        durable::put_text("kernel", &source).unwrap();
        let content = Content::of_file(&source).unwrap();
        let steps: Vec<Step> = (0..5)
            .map(|number| Step::Copy {
                source: if number == 3 {
                    "/gone".into()
                } else {
                    source.clone()
                },
                content,
                on: Partition::Boot,
                path: format!("{}/{number:032x}-initrd", payload::DIRECTORY),
            })
            .collect();
        let failed = apply(&place, &steps, &sums::Known::default(), |_| {}).unwrap_err();
        assert!(failed.to_string().contains("/gone"), "{failed}");
        let there: Vec<bool> = steps
            .iter()
            .map(|step| boot.join(step.path()).is_file())
            .collect();
        assert_eq!(there, [true, true, true, false, false]);
        let left = std::fs::read_dir(boot.join(payload::DIRECTORY)).unwrap();
        assert_eq!(left.count(), 3);
    }
}
