//! The same plans where there is hardly any room.

use std::path::Path;

use super::{Case, Goal, observe, theirs};
use crate::entry::EntryFile;
use crate::name::OurName as _;
use crate::step::Step;
use systemd_boot_model::ENTRIES;

/// `cases`, and the same with a generation that has just arrived, each on the smallest `$BOOT` it is not refused on:
/// those that must make room there.
pub(super) fn squeezed(cases: &[Case]) -> Vec<Case> {
    let arrived: Vec<Case> = cases.iter().filter_map(Case::arrived).collect();
    let all = cases.iter().chain(&arrived);
    all.filter_map(Case::squeezed).collect()
}

impl Case {
    /// The same with the selected generation just arrived: nothing of it is there.
    fn arrived(&self) -> Option<Self> {
        let is_new = self.goal == Goal::Install && !self.rearm;
        let selected = self.intent.selected.as_ref().filter(|_| is_new)?;
        let number = selected.generation.number();
        let disk = observe(&self.held);
        let is_new = |file: &&EntryFile| file.name.generation_number() == Some(number);
        let file = disk.0.boot.entries.values().find(is_new)?;
        file.name.tries?;
        let kernel = file.entry.linux.as_ref()?.trim_start_matches('/');
        let entry = Path::new(ENTRIES).join(file.name.to_string());
        let mut held = self.held.clone();
        held.boot
            .retain(|path, _| *path != entry && path != Path::new(kernel));
        (self.intent.last_good.as_ref() != Some(selected)).then(|| Self {
            held,
            ..self.clone()
        })
    }

    /// The same on a `$BOOT` that is hardly large enough, if something must make room there.
    fn squeezed(&self) -> Option<Self> {
        let on = |size| Self {
            size: Some(size),
            ..self.clone()
        };
        let is_enough = |size: &u64| {
            let disk = observe(&self.held);
            let disk = disk.of_size_with(*size, &theirs(&self.held));
            let room = disk.0.space.unwrap();
            room.free > 0 && on(*size).try_plan(&self.held).is_ok()
        };
        let sizes: Vec<u64> = (1..999).step_by(4).collect();
        let least = sizes.partition_point(|size| !is_enough(size));
        let least = sizes.get(least)?;
        // The next run may know less about free slots.
        let squeezed = on(least + 4);
        let steps = squeezed.plan(&self.held);
        (steps != self.plan(&self.held)).then_some(squeezed)
    }

    /// Whether an entry goes before something is copied.
    pub(super) fn evicts(&self) -> bool {
        let steps = self.plan(&self.held);
        let is_entry = |step: &&Step| step.path().starts_with(ENTRIES);
        let first = steps
            .iter()
            .find(|step| is_entry(step) || matches!(step, Step::Copy { .. }));
        let is_removed = matches!(first, Some(Step::Remove { .. }));
        is_removed && steps.iter().any(|step| matches!(step, Step::Copy { .. }))
    }
}
