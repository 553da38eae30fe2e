//! What somebody who waits would like to know. Data only: whoever hears it decides what is shown, and when.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use crate::step::Step;

/// Something that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// So many bytes more of a file are read to know what it holds.
    Read {
        /// Which, as a path of this process.
        path: &'a Path,
        /// How many.
        bytes: u64,
    },
    /// A step begins.
    Step(&'a Step),
    /// So many bytes more are copied for the step that began last.
    Copied {
        /// How many.
        bytes: u64,
    },
}

type Heard = dyn Fn(Progress<'_>) + Send + Sync;

/// Whoever wants to hear; by default nobody.
#[derive(Clone, Default)]
pub struct Watch(Option<Arc<Heard>>);

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.0.is_some()).finish()
    }
}

impl Watch {
    /// `heard` is called for each piece of work, and is to return soon.
    pub fn new(heard: impl Fn(Progress<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(heard)))
    }

    /// `reader`, which is the file at `path`, heard of while it is read.
    pub(crate) fn over<R: Read>(&self, reader: R, path: &Path) -> impl Read {
        Counted {
            reader,
            heard: move |bytes| {
                if let Some(heard) = &self.0 {
                    heard(Progress::Read { path, bytes });
                }
            },
        }
    }
}

/// A reader whose bytes are counted by somebody.
pub(crate) struct Counted<R, F> {
    pub(crate) reader: R,
    pub(crate) heard: F,
}

impl<R: Read, F: FnMut(u64)> Read for Counted<R, F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(into)?;
        if count > 0 {
            (self.heard)(count as u64);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Root;
    use crate::apply::apply;
    use crate::boot_partition::Place;
    use crate::digests::Digests;
    use crate::durable::put_text;
    use crate::payload::{CHUNK, Content};
    use std::sync::Mutex;
    use systemd_boot_model::Partition;

    /// Every byte is told once, and what is known already is not.
    #[test]
    fn as_many_bytes_are_told_as_are_read() {
        let tree = tempfile::tempdir().unwrap();
        let file = tree.path().join("initrd");
        put_text(&"7".repeat(CHUNK + 5), &file).unwrap();
        let told: Arc<Mutex<Vec<u64>>> = Arc::default();
        let heard = Arc::clone(&told);
        let mut digests = Digests::new(&Root::new(tree.path()), None);
        digests.watched_by(Watch::new(move |progress| {
            if let Progress::Read { bytes, .. } = progress {
                heard.lock().unwrap().push(bytes);
            }
        }));
        for _ in 0..2 {
            digests.in_store(&file).unwrap();
        }
        assert_eq!(*told.lock().unwrap(), [CHUNK as u64, 5]);
    }

    #[test]
    fn a_copy_is_told_piece_by_piece_after_its_step() {
        let tree = tempfile::tempdir().unwrap();
        let source = tree.path().join("kernel");
        put_text(&"7".repeat(CHUNK + 5), &source).unwrap();
        let place = Place {
            boot: tree.path().to_owned(),
            esp: tree.path().to_owned(),
            ..Place::default()
        };
        let copy = Step::Copy {
            content: Content::of_file(&source).unwrap(),
            source,
            on: Partition::Boot,
            path: "copy".to_owned(),
        };
        let mut told = Vec::new();
        apply(
            &place,
            std::slice::from_ref(&copy),
            &crate::sums::Known::default(),
            |progress| {
                told.push(match progress {
                    Progress::Step(step) => (Some(step.clone()), 0),
                    Progress::Copied { bytes } | Progress::Read { bytes, .. } => (None, bytes),
                });
            },
        )
        .unwrap();
        assert_eq!(told, [(Some(copy), 0), (None, CHUNK as u64), (None, 5)]);
    }
}
