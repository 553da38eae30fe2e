//! What a serial line can say.

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
    /// lastgood has assessed a generation and found it good.
    Proven(u32),
    /// lastgood has assessed a generation and found it bad.
    Rejected(u32),
    /// lastgood has assessed a generation, found it bad, and lets it run for want of a better one.
    Degraded(u32),
    /// lastgood has assessed a generation and found nothing to complain of; it is not blessed yet.
    Healthy(u32),
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
            Self::Begun(generation) => agent_says(line, "begun: generation ", *generation),
            Self::Proven(generation) => agent_says(line, "proven: generation ", *generation),
            Self::Rejected(generation) => agent_says(line, "rejected: generation ", *generation),
            Self::Degraded(generation) => agent_says(line, "degraded: generation ", *generation),
            Self::Healthy(generation) => agent_says(line, "healthy: generation ", *generation),
            Self::Says(text) => line.contains(text.as_str()),
        }
    }
}

/// Whether the agent says `words` about exactly this generation: 2 is not the beginning of 21.
fn agent_says(line: &str, words: &str, generation: u32) -> bool {
    let Some((_, rest)) = line.split_once(words) else {
        return false;
    };
    let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
    line.contains("lastgood") && number == generation.to_string()
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
        assert!(Fact::Proven(2).is_in("lastgood[123]: proven: generation 2"));
        assert!(Fact::Rejected(3).is_in("lastgood[9]: rejected: generation 3: nginx.service"));
        assert!(!Fact::Proven(2).is_in("lastgood[123]: proven: generation 21"));
        assert!(!Fact::Proven(2).is_in("somebody: proven: generation 2"));
    }
}
