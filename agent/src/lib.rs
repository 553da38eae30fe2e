//! lastgood: every server, every boot, ends up running the newest generation that works.
//!
//! The reading order:
//!
//! 1. What happens to a machine: [`machine`] (the state, one total function over events), [`cause`] (why something
//!    was not good), [`ledger`] (where the events are kept).
//! 2. What a boot does: [`boot`] (its steps), [`running`] (which closure is this), [`generator`] and [`activation`]
//!    (put the closure in place), [`assessment`] (is the machine well).
//! 3. What an operator does: [`cli`] (what was typed), [`command`] (what is meant), [`view`] (what is read for it),
//!    [`session`] (what changes things, one at a time: [`lock`]).
//! 4. What all of them use: [`config`], [`digests_file`], [`gc_roots`], [`secrets`], [`program`], [`bootctl`], [`journal`],
//!    [`progress`], [`error`], [`told`] with [`advice`], [`exit`].
//!
//! Entries on `$BOOT` are the business of the `boot-entries` crate.

pub mod activation;
pub mod advice;
pub mod assessment;
pub mod boot;
pub mod bootctl;
pub mod cause;
pub mod cli;
pub mod command;
pub mod config;
pub mod digests_file;
pub mod error;
pub mod exit;
pub mod gc_roots;
pub mod generator;
pub mod journal;
pub mod ledger;
pub mod lock;
pub mod machine;
pub mod program;
pub mod progress;
mod report_advise;
pub mod running;
pub mod secrets;
pub mod session;
pub mod told;
pub mod view;
