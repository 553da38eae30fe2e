//! What a serial line can say.

use lastgood::report::event;

/// A fact that a test waits for, as a line of the serial console states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The firmware starts the boot loader: the beginning of every boot.
    LoaderStarted,
    /// The kernel has started the initrd, which is about to boot this toplevel (an end of its path).
    InitrdFor(String),
    /// The kernel gave up.
    KernelPanic,
    /// lastgood knows which generation runs.
    Begun(u32),
    /// lastgood has assessed a generation and found it good. That is on record; its entry may still have a counter.
    Proven(u32),
    /// lastgood has assessed a generation and found it bad.
    Rejected(u32),
    /// lastgood has assessed a generation, found it bad, and lets it run for want of a better one.
    Degraded(u32),
    /// lastgood reboots the machine, into this generation as far as it can choose.
    Rebooting(u32),
    /// A line that contains this text.
    Says(String),
}

impl Fact {
    /// Whether `line` states this fact.
    #[must_use]
    pub fn is_in(&self, line: &str) -> bool {
        match self {
            Self::LoaderStarted => line.contains("BdsDxe: starting Boot"),
            Self::InitrdFor(toplevel) => {
                line.contains("initrd: init=") && line.contains(toplevel.as_str())
            }
            Self::KernelPanic => line.contains("Kernel panic - not syncing"),
            Self::Begun(generation) => is_event(line, "began", *generation),
            Self::Proven(generation) => is_event(line, "proven", *generation),
            Self::Rejected(generation) => is_event(line, "rejected", *generation),
            Self::Degraded(generation) => is_event(line, "degraded", *generation),
            Self::Rebooting(generation) => is_event(line, "rebooting", *generation),
            Self::Says(text) => line.contains(text.as_str()),
        }
    }
}

/// Whether the agent says that such an event happens to this generation. A line begins with what the journal has in its
/// fields `LASTGOOD_EVENT` and `LASTGOOD_GENERATION`; what follows is not looked at.
fn is_event(line: &str, name: &str, generation: u32) -> bool {
    let said = line
        .split_once("lastgood[")
        .and_then(|(_, rest)| rest.split_once("]: "));
    said.is_some_and(|(_, text)| event::is_about(text, name, &generation.to_string()))
}

impl From<String> for Fact {
    fn from(text: String) -> Self {
        Self::Says(text)
    }
}

impl From<&str> for Fact {
    fn from(text: &str) -> Self {
        Self::Says(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_not_its_prefix() {
        assert!(Fact::Proven(2).is_in("[   42.66] lastgood[123]: proven: generation 2"));
        assert!(Fact::Rejected(3).is_in("lastgood[9]: rejected: generation 3: nginx.service"));
        assert!(!Fact::Proven(2).is_in("lastgood[123]: proven: generation 21"));
        assert!(!Fact::Proven(2).is_in("somebody: proven: generation 2"));
    }
}
