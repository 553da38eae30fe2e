//! Generations in, a provably bootable `$BOOT` out.

pub mod root;

pub use root::Root;
