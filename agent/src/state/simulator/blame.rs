//! Whose fault it was: what the last good one shares costs no generation its place (invariant A4).

use super::super::reset::How;
use super::super::{Standing, State};
use super::agent::OUTSIDE;
use super::world::{Nature, Up, World};

impl World {
    /// What runs was found unwell, as it was `before` that. If the machine has just come here from one that works, which was
    /// rejected for nothing but what is wrong here as well, then that is rejected no more. A kernel that was kept shares what
    /// the other has done to it, and tells nothing.
    pub(super) fn excuses_what_is_shared(&mut self, up: &Up, before: &State) {
        let running = &self.generations[up.at].subject;
        let reset = before.boot.as_ref().and_then(|boot| boot.reset.as_ref());
        let is_kernel_kept = reset.is_some_and(|reset| reset.how == How::SoftReboot);
        let is_witness = up.by_loader
            && !is_kernel_kept
            && self.outside
            && before.bound_by.is_none()
            && before.standing(running) == Standing::Proven;
        // After a soft-reboot to what works, and a boot of that by the loader, the machine has still left the other.
        let fallen = before.fallen_from.as_ref().map(|from| &from.toplevel);
        let is_same_incident = before.incident.is_some_and(|incident| incident.fell);
        let left = match &before.came_from {
            Some(from) if is_same_incident && fallen == Some(&running.toplevel) => Some(from),
            _ => fallen,
        };
        let is_blamed = |at: usize| {
            let one = &self.generations[at];
            let toplevel = &one.subject.toplevel;
            let has_just_left = left == Some(toplevel);
            let rejection = self.state.rejected.get(toplevel);
            let is_shared = rejection.is_some_and(|rejection| {
                let faults = &rejection.cause.faults;
                !faults.is_empty() && faults.iter().all(|fault| fault.key() == OUTSIDE)
            });
            one.nature == Nature::Good && at != up.at && has_just_left && is_shared
        };
        let blamed = (0..self.generations.len()).find(|at| is_witness && is_blamed(*at));
        self.expect(blamed.is_none(), || {
            format!("generation {blamed:?} stays rejected for what the last good one lacks as well")
        });
    }
}
