//! Generations in, a provably bootable `$BOOT` out.
//!
//! The way data flows is the reading order:
//!
//! 1. What is there: [`generation`] (a profile's numbered history), [`closure`] with [`bootspec`] and `synthesis` (what
//!    a closure says about booting itself, in its `boot.json` or without one), [`kernel`] and [`payload`] (the files an
//!    entry points at), [`uki`] (what somebody's unified kernel image says of itself), [`boot_partition`] and [`efi`] (where
//!    `$BOOT` is, what the firmware remembers). [`observe`] reads all of it once; [`digests`] remembers what large files
//!    held.
//! 2. What it means: [`name`] and [`entry`] (a Boot Loader Specification file and its counter), [`owner`] (whose it is),
//!    [`loader_conf`], both files written in `lines`; [`nixpkgs`] (the entries of a predecessor); [`loader`] (a model of
//!    systemd-boot: what boots next, and after how many failures what).
//! 3. What to do: [`plan`] turns an observation and an intent into [`step`]s, for which there must be [`space`]. It is
//!    pure. [`extra`] are further files that a closure asks for. [`systemd_boot`] decides about the loader itself.
//! 4. Doing it: [`apply`] walks the steps; [`durable`] is the only module that writes. [`progress`] is what is heard of it.
//!
//! [`root`] and [`bounded`] lie under all of it: the same code runs on a live machine and on any directory, and nothing a
//! closure holds can make it hang.
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
pub mod kernel;
mod lines;
pub mod loader;
pub mod loader_conf;
pub mod name;
pub mod nixpkgs;
pub mod observe;
pub mod owner;
mod parallel;
pub mod payload;
pub mod plan;
pub mod progress;
pub mod root;
pub mod space;
pub mod step;
mod synthesis;
pub mod systemd_boot;
pub mod uki;
mod work;

pub use generation::{GenerationId, Subject};
pub use root::Root;
