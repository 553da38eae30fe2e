//! What firmware with Secure Boot will not start, among what is prepared.
//!
//! Only what carries no signature at all is told: that is refused for certain. Whose signature the firmware accepts is
//! in its own keys, in shim's, and in what hardware vendors have revoked, and is not looked at here.

use boot_entries::Subject;
use boot_entries::kernel;

use super::{Planned, Prepared};
use crate::view::{View, refused_unsigned};

impl Prepared {
    /// What the firmware refuses to start for want of a signature, a line each.
    #[must_use]
    pub fn unsigned(&self) -> &[String] {
        &self.unsigned
    }
}

/// The loader in the `first` place, and the kernels of `needed` generations, that carry no signature where the firmware
/// asks for one.
pub(super) fn unsigned(view: &View, first: Option<&Planned>, needed: &[Subject]) -> Vec<String> {
    let mut lines = Vec::new();
    let Some(first) = first.filter(|_| view.checks_signatures()) else {
        return lines;
    };
    if first.loader.is_unsigned() {
        let name = first.place.name.display();
        lines.push(refused_unsigned(&format!("systemd-boot in {name}")));
    }
    for subject in needed {
        let bootable = first.observed.find(subject).map(|found| &found.bootable);
        // What cannot be booted at all, or not be read, is told elsewhere.
        if let Some(Ok(bootable)) = bootable
            && let Ok(false) = kernel::is_signed(&bootable.kernel.source)
        {
            let id = &subject.generation;
            lines.push(refused_unsigned(&format!("the kernel of generation {id}")));
        }
    }
    lines
}
