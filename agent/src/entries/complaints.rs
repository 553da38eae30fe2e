//! What could not be done in one of several places, where that does not end the run.

use boot_entries::boot_partition::{self, Place};

use crate::error::Error;
use crate::report::line::one_line;

/// What could not be done, and did not end the run.
#[derive(Debug, Default)]
#[must_use]
pub struct Complaints(Vec<Error>);

impl Complaints {
    pub(super) fn new(unusable: Vec<boot_partition::Error>) -> Self {
        Self(unusable.into_iter().map(Error::from).collect())
    }

    /// Takes one more.
    pub fn add(&mut self, error: Error) {
        self.0.push(error);
    }

    /// Takes what is known as lines.
    pub(super) fn add_lines(&mut self, lines: &[String]) {
        let errors = lines.iter().cloned().map(Error::Refused);
        self.0.extend(errors);
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Error> {
        self.0.iter()
    }

    /// Tells all of them, the first one by returning it.
    ///
    /// # Errors
    /// When there is one.
    pub fn into_result(self) -> Result<(), Error> {
        self.into_first().map_or(Ok(()), Err)
    }

    /// Tells all of them but the first.
    #[must_use]
    pub fn into_first(mut self) -> Option<Error> {
        let first = (!self.0.is_empty()).then(|| self.0.remove(0));
        self.tell();
        first
    }

    /// Tells all of them, where something else ends the run.
    pub fn tell(&self) {
        for error in &self.0 {
            tracing::error!("{}", one_line(error));
        }
    }

    /// Takes what went wrong in a place. What cannot be read or written in the first one needs no further name; that
    /// nothing was changed needs one, because elsewhere something may be.
    pub(super) fn in_place(&mut self, is_first: bool, place: &Place, error: Error) {
        let name = place.name.clone();
        self.0
            .push(if is_first && !matches!(error, Error::Plan(_)) {
                error
            } else {
                let source = Box::new(error);
                Error::InPlace { name, source }
            });
    }
}
