//! The running system, asked and told: other programs, systemd, the journal, the console, the kernel's command line.
//!
//! [`program`] (how programs are run), [`ourselves`] (this one, as a second process), [`manager`] (the service manager,
//! asked and told), [`systemd`] (what an assessment sees of it), [`pulse`] (that a loop still turns), [`running`]
//! (time in which the machine ran), [`journal`], [`console`], [`kernel_log`], [`last_resort`] (what ends a hang of the
//! kernel's), [`listening`] (who listens on TCP ports), [`outside`] (what no generation can do anything about), [`mount`]
//! (what is mounted before systemd is), [`unit_directory`] (a closure's units, as links), [`bootctl`], [`command_line`]
//! (which closure this boot is of), [`boot_id`] (which boot this is), [`userspace`] (whether a soft-reboot has begun it),
//! [`last_boot`] (what the one before has left), [`way_down`] (reboots and their like), [`logind`] (who is there, and who
//! holds up a reboot), [`terminals`] (what those who are there read).

pub mod boot_id;
pub mod bootctl;
pub mod check;
pub mod command_line;
pub mod console;
pub mod entrance;
pub mod journal;
pub mod kernel_log;
pub mod last_boot;
pub mod last_resort;
pub mod listening;
pub mod logind;
pub mod manager;
pub mod mount;
pub mod ourselves;
pub mod outside;
pub mod probe;
pub mod program;
pub mod pulse;
pub mod running;
pub mod surroundings;
pub mod systemd;
pub mod terminals;
pub mod unit_directory;
pub mod userspace;
pub mod way_down;
