//! Every kind of message that the agent gives to the journal, each with an id of its own (`MESSAGE_ID`).
//!
//! The ids are ours, made by `systemd-id128 new`, and stable: `journalctl MESSAGE_ID=...` finds a kind in any release. A
//! kind that is gone leaves its id unused. `units/lastgood.catalog` says of each what it means and what to type; a test
//! holds the two together, and `journalctl --catalog` shows it under the message.

use crate::state::cause::Stage;
use crate::state::{By, Event};

/// A kind of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message(&'static str);

impl Message {
    /// Its id: 128 bits in lower case hexadecimal digits.
    #[must_use]
    pub fn id(self) -> &'static str {
        self.0
    }

    /// The kind that the message about an event is of. Every event has one.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        match event {
            Event::Selected { by: None, .. } => SELECTED,
            Event::Selected {
                by: Some(By::Suspicion),
                ..
            } => SECOND_CHANCE,
            Event::Selected {
                by: Some(By::LastResort),
                ..
            } => LAST_RESORT,
            Event::Ended { .. } => ENDED,
            Event::Hooked { trouble: None, .. } => HOOK_RAN,
            Event::Hooked { .. } => HOOK_FAILED,
            Event::Armed { .. } => ARMED,
            Event::Began {
                running: Some(_), ..
            } => BEGAN,
            Event::Began { running: None, .. } => BEGAN_UNKNOWN,
            Event::Reached { .. } => REACHED,
            Event::Late { .. } => LATE,
            Event::Proven { .. } => PROVEN,
            Event::Steady { .. } => STEADY,
            Event::Healthy { .. } => HEALTHY,
            Event::Rejected { cause, .. } if cause.stage == Stage::Probation => DEMOTED,
            Event::Rejected { .. } => REJECTED,
            Event::Degraded { .. } => DEGRADED,
            Event::Excused { .. } => EXCUSED,
            Event::Uninstalled => UNINSTALLED,
            Event::Named { .. } => NAMED,
            Event::Rebooting { from, to } if from == to => TRYING_AGAIN,
            Event::Rebooting { .. } => REBOOTING,
            Event::FellBack { .. } => FELL_BACK,
            Event::Switching(_) => SWITCHING,
            Event::SwitchedTo => SWITCHED_TO,
            Event::Switched => SWITCHED,
            Event::SwitchedBack(_) => SWITCHED_BACK,
        }
    }
}

/// Somebody, or an installer on their behalf, asked for a generation.
pub const SELECTED: Message = Message("99a33bc90ada40e4ab9b68cf6e683072");
/// A suspect is tried again by itself.
pub const SECOND_CHANCE: Message = Message("43f3ff2dcd9045beb6e648579f217100");
/// Nothing is well, and this one is tried.
pub const LAST_RESORT: Message = Message("56beb586faf24f4c81a3e87ced45d83e");
/// A boot comes to its end in order.
pub const ENDED: Message = Message("27af7de24ca14471b1b47cb328277376");
/// Its entries are on `$BOOT`.
pub const ARMED: Message = Message("a1a12b836b824149b3a714b24ed97e9c");
/// A boot of a generation reached the agent.
pub const BEGAN: Message = Message("3a16834656404215b82b9c63ba980cc6");
/// A boot of something that is no generation did.
pub const BEGAN_UNKNOWN: Message = Message("08250c87b4f14f18ac5900d9c8fa9563");
/// A boot got further.
pub const REACHED: Message = Message("9ee114e337f24d0b970daaad16dc0868");
/// Files of `/etc` came after systemd had read them.
pub const LATE: Message = Message("3732b0bfea3a4a34ae3d153875a92009");
/// A generation is the last good one now.
pub const PROVEN: Message = Message("974dc123f1684e979aba11159a2ad595");
/// What was proven was watched for long enough.
pub const STEADY: Message = Message("9c18d81eb51d44b396a1948056d28c07");
/// What was proven was not well while it was watched.
pub const DEMOTED: Message = Message("7a380d4da7704827859daeec7d3a2993");
/// A trial is healthy, and not proven.
pub const HEALTHY: Message = Message("51b2da31f7664f3f8c84a255259c881c");
/// A generation was found bad.
pub const REJECTED: Message = Message("edeb404f251d47eab31d74c1cb3e4fca");
/// What runs is not well, and stays up.
pub const DEGRADED: Message = Message("926171ae50c74e7d8b9b1af5a58d07d4");
/// A rejection is void.
pub const EXCUSED: Message = Message("50ad7407b4554399b954ece2010a1ac0");
/// `$BOOT` was given back.
pub const UNINSTALLED: Message = Message("4a966c1e9b8e456c8a6aa3ca3780efb4");
/// Entries are marked with a name of the system.
pub const NAMED: Message = Message("f44199803c504a75bf4cdf14fea69bd9");
/// The agent reboots the machine, to fall back.
pub const REBOOTING: Message = Message("a4338679e2ba4adf9e961e7957a93b2d");
/// The agent reboots the machine into the same generation.
pub const TRYING_AGAIN: Message = Message("49ae9ba5636f431eb9488932353b8e6c");
/// The machine went back without a reboot.
pub const FELL_BACK: Message = Message("938cff078fd244eaabd086fc6fad3b59");
/// A live switch begins.
pub const SWITCHING: Message = Message("bbd765698e684bf9abee28a142dd2636");
/// A live switch has ended well.
pub const SWITCHED_TO: Message = Message("3d75cdd836d14ca7a4922e20c8f474c7");
/// A live switch stays.
pub const SWITCHED: Message = Message("483202f0d2584b309baa0ed1c944006f");
/// A live switch was undone.
pub const SWITCHED_BACK: Message = Message("fe03d84dacec4e47b418766b362bd9e7");
/// A hook has run.
pub const HOOK_RAN: Message = Message("b9627bdfbd8348acb5db7298090d1932");
/// A hook could not be run, or did not end well.
pub const HOOK_FAILED: Message = Message("ab6602febbbd4a59bf0dd20f729b3082");

/// All kinds.
pub const ALL: &[Message] = &[
    SELECTED,
    SECOND_CHANCE,
    LAST_RESORT,
    ENDED,
    ARMED,
    BEGAN,
    BEGAN_UNKNOWN,
    REACHED,
    LATE,
    PROVEN,
    STEADY,
    DEMOTED,
    HEALTHY,
    REJECTED,
    DEGRADED,
    EXCUSED,
    UNINSTALLED,
    NAMED,
    REBOOTING,
    TRYING_AGAIN,
    FELL_BACK,
    SWITCHING,
    SWITCHED_TO,
    SWITCHED,
    SWITCHED_BACK,
    HOOK_RAN,
    HOOK_FAILED,
];

#[cfg(test)]
mod tests;
