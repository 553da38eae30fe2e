//! What firmware with Secure Boot will not start, among what is prepared: whose signer it does not know, or what carries
//! no signature of its own ([`boot_entries::signature`]).

use boot_entries::Subject;
use boot_entries::signature::Keys;

use super::{Planned, Prepared};
use crate::error::Error;
use crate::view::{View, refusal_of, refused};

impl Prepared {
    /// What the firmware refuses to start, a line each.
    #[must_use]
    pub fn refused(&self) -> &[String] {
        &self.refused
    }

    /// Refuses to arm `subject` where the firmware would refuse to start it.
    ///
    /// # Errors
    /// When its kernel is not signed, or not by one that the firmware knows.
    pub fn starts_under_secure_boot(&self, view: &View, subject: &Subject) -> Result<(), Error> {
        let keys = view.keys();
        let first = self.planned.first();
        let why = keys
            .zip(first)
            .and_then(|(keys, first)| line(first, subject, &keys));
        why.map_or(Ok(()), |why| {
            Err(Error::Refused(format!("nothing was changed: {why}")))
        })
    }
}

/// The loader in the `first` place, and the kernels of `needed` generations, that the firmware refuses.
pub(super) fn refused_of(view: &View, first: Option<&Planned>, needed: &[Subject]) -> Vec<String> {
    let mut lines = Vec::new();
    let Some((first, keys)) = first.zip(view.keys()) else {
        return lines;
    };
    // shim starts the loader, and whom it knows is not the firmware's business: only what has no signature at all is
    // refused for certain.
    if first.loader.is_unsigned() {
        let name = first.place.name.display();
        lines.push(refused(
            &format!("systemd-boot in {name}"),
            "carries no signature",
        ));
    }
    lines.extend(
        needed
            .iter()
            .filter_map(|subject| line(first, subject, &keys)),
    );
    lines
}

/// Why the firmware refuses the kernel of `subject`, in one line. What cannot be booted at all, or not be read, is told
/// elsewhere.
fn line(first: &Planned, subject: &Subject, keys: &Keys) -> Option<String> {
    let bootable = first.observed.find(subject)?.bootable.as_ref().ok()?;
    let why = refusal_of(&bootable.kernel.source, keys)?;
    let id = &subject.generation;
    Some(refused(&format!("the kernel of generation {id}"), why))
}
