//! The steps of a boot, as the units run them.
//!
//! [`begin`] finds out what runs and records the attempt; activation and firewall put the closure in place;
//! [`assess`] comes to a verdict and records it; then [`bless`] or [`fall_back`] acts on it. Each step can be run
//! again, and none relies on the one before having come to its end: what they share is the ledger.

mod assess;
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
    match step {
        BootStep::Begin => begin::run(root),
        BootStep::Activate => place::activate(root),
        BootStep::Firewall => place::firewall(root),
        BootStep::Assess => assess::run(root),
        BootStep::Bless => bless::run(root),
        BootStep::FallBack => fall_back::run(root),
    }
}
