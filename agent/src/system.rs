//! The running system, asked and told: other programs, systemd, the journal, the console, the kernel's command line.
//!
//! [`program`] (how programs are run), [`ourselves`] (this one, as a second process), [`manager`] (the service manager,
//! asked and told), [`systemd`] (what an assessment sees of it), [`journal`], [`console`], [`kernel_log`], [`listening`]
//! (who listens on TCP ports), [`mount`] (what is mounted before systemd is), [`unit_directory`] (a closure's units, as
//! links), [`bootctl`], [`command_line`] (which closure this boot is of), [`boot_id`] (which boot this is),
//! [`last_boot`] (what the one before has left).

pub mod boot_id;
pub mod bootctl;
pub mod check;
pub mod command_line;
pub mod console;
pub mod journal;
pub mod kernel_log;
pub mod last_boot;
pub mod listening;
pub mod manager;
pub mod mount;
pub mod ourselves;
pub mod probe;
pub mod program;
pub mod systemd;
pub mod unit_directory;
