//! lastgood: every server, every boot, ends up running the newest generation that works.
//!
//! The reading order, from the ground up:
//!
//! 1. [`state`]: what happens to a machine, one total function over events. Pure.
//! 2. [`store`]: what is kept on disks. [`host`]: every path and program. [`system`]: the running
//!    system, asked and told. [`config`]: what a closure asks for.
//! 3. [`view`]: the machine as read once; [`session`]: the right to change it; [`entries`]: the entries of all boot
//!    partitions, planned, proven and written.
//! 4. [`activation`]: the closure put in place. [`assessment`]: is the machine well? [`switch`]: which units a live
//!    switch touches, in which order.
//! 5. [`operation`]: what lastgood does, one verb a file; the only place where steps are put in order.
//!    [`command`]: what was typed ([`cli`]) is parsed, called and printed.
//! 6. [`report`]: what people read. [`error`] and [`exit`]: how a run ends.
//!
//! Entries on `$BOOT` are the business of the `boot-entries` crate.

pub mod activation;
pub mod assessment;
pub mod cli;
pub mod command;
pub mod config;
pub mod entries;
pub mod error;
pub mod exit;
pub mod host;
pub mod operation;
pub mod report;
pub mod session;
pub mod state;
pub mod store;
pub mod switch;
pub mod system;
pub mod view;
