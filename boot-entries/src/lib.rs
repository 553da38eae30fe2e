//! Generations in, a provably bootable `$BOOT` out.
//!
//! The way data flows is the reading order:
//!
//! 1. What is there: [`generation`] (a profile's numbered history), [`closure`] with [`bootspec`] and `synthesis` (what
//!    a closure says about booting itself, in its `boot.json` or without one), [`kernel`] and [`payload`] (the files an
//!    entry points at), [`uki`] (reads somebody's unified kernel image), [`boot_partition`] and [`efi`] (where `$BOOT`
//!    is, what the firmware remembers), [`mountinfo`]. [`observe`] reads all of it once; [`digests`] remembers what
//!    large files held and closures said, [`sums`] tell within a run whether a copy is right.
//! 2. What it means: [`name`] and [`entry`] (what our files are called, and where ours stand), [`owner`] (whose an
//!    entry is), [`loader_conf`] (what we want there), [`nixpkgs`] (the entries of a predecessor). How the loader reads
//!    all this and what it starts next, the crate [`systemd_boot_model`] says.
//! 3. What to do: [`plan`] turns an observation and an intent into [`step`]s, for which there must be [`space`]. It is
//!    pure. [`extra`] are further files that a closure asks for. [`systemd_boot`] decides about the loader itself.
//! 4. Doing it: [`apply`] walks the steps; [`durable`] is the only module that writes. [`progress`] is what is heard of
//!    it.
//!
//! [`root`] and [`bounded`] lie under all of it: the same code runs on a live machine and on any directory, and nothing
//! a closure holds can make it hang.
//!
//! This crate knows nothing of units, health, or policy over time: the caller brings its verdicts as
//! [`plan::Intent`].

pub mod apply;
pub mod boot_partition;
pub mod bootspec;
pub mod bounded;
pub mod closure;
pub mod digests;
pub mod durable;
pub mod efi;
pub mod entry;
#[cfg(test)]
mod explorer;
pub mod extra;
pub mod generation;
pub mod initrd;
pub mod kernel;
pub mod loader_conf;
pub mod mountinfo;
pub mod name;
pub mod nixpkgs;
pub mod observe;
pub mod owner;
mod parallel;
pub mod payload;
pub mod plan;
pub mod progress;
pub mod root;
pub mod signature;
pub mod space;
pub mod step;
pub mod sums;
mod synthesis;
pub mod systemd_boot;
pub mod uki;
mod work;

pub use generation::{GenerationId, Subject};
pub use root::Root;
