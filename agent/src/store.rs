//! What the agent keeps on disks: its own files, roots for Nix's garbage collector, what one step of a boot leaves for
//! another.
//!
//! [`ledger`] (what happened), [`lock`] (one run at a time), [`state_directory`] (does all that outlive a boot?),
//! [`digests`] (what large files held), [`secrets`] (initrds with
//! secrets), [`gc_roots`] (what Nix must keep), [`profile`] (which generation is current), [`handover`] (from one step
//! of a boot to another).

pub mod digests;
pub mod gc_roots;
pub mod handover;
pub mod ledger;
pub mod lock;
pub mod profile;
pub mod secrets;
pub mod state_directory;
