//! systemd-boot itself: which one is on an ESP, which one there is to install, and what to do about it.
//!
//! An ESP holds it twice: where the firmware's own boot entry points ([`SYSTEMD`]), and where firmware looks that has
//! lost that entry ([`FALLBACK`]). Both are kept equal, so that a machine comes back either way, and they are written
//! one after the other, so that one of them can be started at every instant.
//!
//! [`Installed`] reads an ESP, [`Source`] finds what could be installed, [`decide`] is pure. What bootctl(1) does
//! better (the first installation on a live machine) is only asked for: [`Action::Install`].

mod decision;
mod image;
mod installed;
mod source;
#[cfg(test)]
mod tests;

pub use decision::{Action, Decision, Policy, decide};
pub use image::{Image, Version};
pub use installed::{Installed, Place, State};
pub use source::Source;

/// Where the firmware's boot entry points, on the ESP.
pub const SYSTEMD: &str = "EFI/systemd/systemd-bootx64.efi";
/// What firmware starts that has no boot entry, on the ESP (UEFI specification, "Removable Media Boot Behavior").
pub const FALLBACK: &str = "EFI/BOOT/BOOTX64.EFI";
