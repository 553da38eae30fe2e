//! lastgood: every server, every boot, ends up running the newest generation that works.
//!
//! The reading order, from the ground up:
//!
//! 1. [`state`]: what happens to a machine, one total function over events. Pure.
//! 2. [`host`]: where things are. [`store`]: what is kept on disks. [`system`]: the running system, asked and told.
//!    [`config`]: what a closure asks for.
//! 3. [`view`]: the machine as read once; [`session`]: the right to change it; [`entries`]: the entries of all boot
//!    partitions, planned, proven and written.
//! 4. [`activation`]: the closure put in place. [`assessment`]: is the machine well?
//! 5. [`boot`]: the steps of a boot. [`command`]: what an operator asks for, as typed ([`cli`]).
//! 6. [`report`]: what people read. [`error`] and [`exit`]: how a run ends.
//!
//! Entries on `$BOOT` are the business of the `boot-entries` crate.

pub mod activation;
pub mod assessment;
pub mod boot;
pub mod cli;
pub mod command;
pub mod config;
pub mod entries;
pub mod error;
pub mod exit;
pub mod host;
pub mod report;
pub mod session;
pub mod state;
pub mod store;
pub mod system;
pub mod view;
