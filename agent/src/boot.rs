//! The steps of a boot, as the units run them.
//!
//! Each opens with [`attempt`], which records what runs. [`begin`] sets right what the boot before left undone; activation and firewall put the closure in place;
//! [`assess`] comes to a verdict and records it; then [`bless`] or [`fall_back`] acts on it. Each step can be run
//! again, and none relies on the one before having come to its end: what they share is the ledger, and what it says of an
//! earlier boot is not taken for this one.

mod assess;
mod attempt;
mod begin;
mod bless;
mod fall_back;
mod place;

use boot_entries::Root;

use crate::cli::BootStep;
use crate::error::Error;

/// Runs one step.
///
/// # Errors
/// Why the step, and so its unit, failed.
pub fn run(root: &Root, step: BootStep) -> Result<(), Error> {
    if !root.is_live() && matches!(step, BootStep::Firewall | BootStep::Assess) {
        return Err(Error::Refused(
            "this step is about the running machine's kernel and services, not about a tree; leave --root out".to_owned(),
        ));
    }
    match step {
        BootStep::Begin => begin::run(root),
        BootStep::Activate => place::activate(root),
        BootStep::Firewall => place::firewall(root),
        BootStep::Assess => assess::run(root),
        BootStep::Bless => bless::run(root),
        BootStep::FallBack => fall_back::run(root),
    }
}
