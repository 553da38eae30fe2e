//! What keeps an entry from starting what it names: payload of ours that is not there, or is not what its name says.

use std::collections::BTreeSet;
use std::fmt;

use super::{Plan, outcome};
use crate::entry::EntryFile;
use crate::name::OurName as _;
use crate::observe::Observation;
use crate::payload::{self, Content};
use systemd_boot_model::Partition;

/// A file that an entry needs and that is not as it must be. The loader gives up on such an entry, and the firmware
/// starts it again: an entry without a counter is then started for ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// Relative to the top of its partition.
    pub path: String,
    /// It is not there; else it has other bytes than its name says.
    pub is_missing: bool,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_missing {
            "missing"
        } else {
            "damaged"
        };
        write!(f, "{} is {word}", self.path)
    }
}

/// What is wrong with our payload at `path`, if `content` is what is there. None: nothing, or it is none of ours.
#[must_use]
pub fn damage(path: &str, content: Option<&Content>) -> Option<Damage> {
    let name = payload::name_of(path)?;
    let kind = payload::kind_of(name)?;
    let is_right = |content: &Content| payload::file_name(content, kind) == name;
    (!content.is_some_and(is_right)).then(|| Damage {
        path: path.to_owned(),
        is_missing: content.is_none(),
    })
}

/// What is wrong with the payload that `file` needs, in the order in which the loader reads it.
pub(super) fn all_damage<'a>(
    observed: &'a Observation,
    file: &'a EntryFile,
) -> impl Iterator<Item = Damage> + 'a {
    let boot = &observed.boot;
    let is_beside = file.on == Partition::Esp && boot.place.has_xbootldr();
    file.entry.needs().filter_map(move |path| {
        let name = payload::name_of(path)?;
        if is_beside {
            // Of what was left there when $BOOT became another partition only names are known.
            let is_there = boot.esp_payload.iter().any(|there| there == name);
            return damage(path, None).filter(|_| !is_there);
        }
        damage(path, observed.payload.get(name))
    })
}

/// Whether all of our payload that an entry points at is there, to the byte.
pub(super) fn is_whole(observed: &Observation, file: &EntryFile) -> bool {
    file.entry.linux.is_some() && all_damage(observed, file).next().is_none()
}

/// What is still wrong with entries of ours, and not of another system's, when `plan` is carried out: no step of it
/// mends that.
#[must_use]
pub fn left(
    observed: &Observation,
    plan: &Plan,
    is_other_systems: impl Fn(&EntryFile) -> bool,
) -> BTreeSet<Damage> {
    let after = outcome::of(observed, plan);
    let files = after.boot.all().map(|(_, file)| file);
    let ours = files.filter(|file| file.name.is_ours() && !is_other_systems(file));
    ours.flat_map(|file| all_damage(&after, file)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::InPlace;
    use crate::plan::plan;
    use crate::plan::tests::{Disk, proven, select};

    #[test]
    fn what_no_step_mends_is_left() {
        let mut disk = Disk::with(2);
        let intent = proven(select(2), 1);
        disk.run(&intent);
        disk.0.payload.clear();
        let plan = plan(&disk.0, &intent, &InPlace::default()).unwrap();
        assert_eq!(
            left(&disk.0, &plan, |_| false),
            BTreeSet::new(),
            "all is mended"
        );
        let all = left(&disk.0, &Plan::default(), |_| false);
        assert_eq!(all.len(), 3, "{all:?}");
        assert!(all.iter().all(|damage| damage.is_missing));
    }

    #[test]
    fn of_an_esp_beside_boot_the_names_are_known() {
        let mut disk = Disk::with(1);
        disk.run(&select(1));
        let boot = &mut disk.0.boot;
        boot.place.esp = "/efi".into();
        boot.place.boot = "/boot".into();
        boot.on_esp = std::mem::take(&mut boot.entries);
        for file in boot.on_esp.values_mut() {
            file.on = Partition::Esp;
        }
        assert_eq!(left(&disk.0, &Plan::default(), |_| false).len(), 2);
        let boot = &mut disk.0.boot;
        boot.esp_payload = disk.0.payload.keys().cloned().collect();
        assert_eq!(left(&disk.0, &Plan::default(), |_| false), BTreeSet::new());
    }
}
