//! Whether a trial has anything to go back to before a generation is proven.

use std::fmt;

use boot_entries::{observe, plan};

use super::View;

/// What booted before lastgood cannot be started any more, and nothing is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostStandIn {
    /// The entry that started it.
    file: String,
}

impl fmt::Display for LostStandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a failed trial has nothing to go back to: no generation is proven, and what booted before lastgood cannot be \
             started any more ({}: its kernel or its initrd is gone); put these back, or boot the selected generation while \
             somebody can reach the console, and accept it with `lastgood good NUMBER`",
            self.file
        )
    }
}

impl View {
    /// That what booted before lastgood cannot be started any more, while nothing is proven. It could be started by
    /// what
    /// `before` has, and cannot by what `after` has, which may be the same.
    #[must_use]
    pub fn lost_stand_in(
        &self,
        before: &observe::BootFiles,
        after: &observe::BootFiles,
    ) -> Option<LostStandIn> {
        if self.state.uninstalled || self.state.last_good().is_some() {
            return None;
        }
        let lost = plan::lost_stand_in(before, after, self.other_systems())?;
        Some(LostStandIn {
            file: lost.name.to_string(),
        })
    }
}
