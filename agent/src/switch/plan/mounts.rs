//! The lines of `/etc/fstab`, of which systemd makes units at each reload.

use super::planner::{Owner, Planner};
use crate::switch::fstab::{
    self, Change, automount_unit, changes, is_ground, mount_unit, swap_is_wanted, swap_unit,
};

impl Planner<'_> {
    pub(super) fn mounts(&mut self) {
        let given = self.given;
        for (place, change) in changes(&given.old_fstab, &given.new_fstab) {
            let unit = mount_unit(&place);
            // A closure's own unit of that name is above what systemd makes of the line.
            let state = given.states.get(&unit).cloned().unwrap_or_default();
            let has_unit =
                given.old.files.contains_key(&unit) || given.new.files.contains_key(&unit);
            if has_unit || self.owner(&state) != Owner::Elsewhere {
                continue;
            }
            self.mount(&place, &unit, &change);
        }
        for device in given.old_fstab.swaps.keys() {
            if !given.new_fstab.swaps.contains_key(device) {
                let why = "it is gone from fstab".to_owned();
                self.plan.swap_off.insert(device.clone(), why);
            }
        }
        for (device, options) in &given.new_fstab.swaps {
            let unit = swap_unit(device);
            let is_new = !given.old_fstab.swaps.contains_key(device) && swap_is_wanted(options);
            if is_new && !self.is_up(&unit) && self.may_start(&unit) {
                self.start(&unit, "it is new in fstab");
            }
        }
    }

    fn mount(&mut self, place: &str, unit: &str, change: &Change) {
        let given = self.given;
        let automount = automount_unit(place);
        let (is_mounted, is_watched) = (self.is_up(unit), self.is_up(&automount));
        let state = given.states.get(unit).cloned().unwrap_or_default();
        let line = given.new_fstab.mounts.get(place);
        let is_wanted = line.is_some_and(fstab::Mount::is_wanted) && self.may_start(unit);
        let is_automount = line.is_some_and(fstab::Mount::is_automount);
        match change {
            Change::Gone if is_ground(place) => {
                self.skip(unit, "it is gone from fstab; it cannot be unmounted");
            }
            Change::Gone => {
                let why = "it is gone from fstab";
                if is_watched {
                    self.stop(&automount, why);
                }
                if is_mounted {
                    self.stop(unit, why);
                }
            }
            Change::Stays => self.skip(
                unit,
                "another device or type in fstab; it cannot be unmounted",
            ),
            Change::Other if is_mounted => {
                self.restart(unit, &state, "another device or type in fstab");
            }
            Change::AutomountGone if !is_mounted => {
                let why = "fstab has it without an automount";
                if is_watched {
                    self.stop(&automount, why);
                }
                if is_wanted {
                    self.start(unit, why);
                }
            }
            Change::Options | Change::AutomountGone if is_mounted => {
                let why = "other options in fstab".to_owned();
                self.plan.reload.insert(unit.to_owned(), why);
            }
            // The next look mounts it as the new line says.
            _ if is_watched || is_mounted => {}
            _ if is_automount && self.may_start(&automount) => {
                self.start(&automount, "it is new in fstab");
            }
            _ if is_wanted && !is_automount => self.start(unit, "it is new in fstab"),
            _ => {}
        }
    }
}
