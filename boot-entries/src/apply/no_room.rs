//! A demotion without room for it: where not a byte can be written, an entry file can still get another name.
//!
//! A plan writes an entry anew under its new name, and removes the old file then: at each moment one of both is whole. A
//! rename on FAT takes no room, where the directory has a place left for the name. A power cut in the middle may leave both
//! names, or none: of an entry that is to be passed over either is as good as before, or better. So this is for those alone.
//! The text stays what it was, and the next run that has room writes what the plan says.

use std::path::Path;

use systemd_boot_model::{EntryName, Partition};

use crate::boot_partition::Place;
use crate::durable;
use crate::step::Step;

/// An entry file that is to be passed over by its new name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demotion {
    /// On which partition.
    pub on: Partition,
    /// Its path there, as it is.
    pub from: String,
    /// The same with a counter that has run out.
    pub to: String,
}

/// The entry files among `steps` that are written anew with a counter that has run out, and removed under another name.
#[must_use]
pub fn demotions(steps: &[Step]) -> Vec<Demotion> {
    let name = |path: &str| EntryName::parse(Path::new(path).file_name()?.to_str()?);
    let mut demotions = Vec::new();
    for step in steps {
        let Step::Text { on, path: to, .. } = step else {
            continue;
        };
        let Some(new) = name(to).filter(|name| name.tries.is_some_and(|tries| tries.left == 0))
        else {
            continue;
        };
        let is_old = |path: &&String| {
            Path::new(path).parent() == Path::new(to).parent()
                && name(path).is_some_and(|old| old.stem == new.stem)
        };
        let from = steps.iter().find_map(|step| match step {
            Step::Remove { on: there, path } if there == on => Some(path).filter(is_old),
            _ => None,
        });
        demotions.extend(from.map(|from| Demotion {
            on: *on,
            from: from.clone(),
            to: to.clone(),
        }));
    }
    demotions
}

/// Gives the file its new name. Where another has that already, a run got so far, and this one goes.
///
/// # Errors
/// When that cannot be done; it is then as it was.
pub fn demote(place: &Place, demotion: &Demotion) -> Result<(), durable::Error> {
    let directory = place.directory(demotion.on);
    let [from, to] = [&demotion.from, &demotion.to].map(|path| directory.join(path));
    if matches!(to.try_exists(), Ok(true)) {
        return durable::remove(&from);
    }
    durable::rename(&from, &to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> Step {
        Step::Text {
            text: "title x\n".to_owned(),
            on: Partition::Esp,
            path: format!("loader/entries/{path}"),
        }
    }

    fn remove(path: &str) -> Step {
        Step::Remove {
            on: Partition::Esp,
            path: format!("loader/entries/{path}"),
        }
    }

    #[test]
    fn only_what_is_to_be_passed_over_is_renamed() {
        let steps = [
            text("lastgood-1-0123abcd.conf"),
            text("lastgood-3-0123abcd+0-1.conf"),
            text("lastgood-4-0123abcd+0-3.conf"),
            text("lastgood-5-0123abcd+1-2.conf"),
            remove("lastgood-1-0123abcd+3-0.conf"),
            remove("lastgood-2-0123abcd+3-0.conf"),
            remove("lastgood-3-0123abcd+2-1.conf"),
            remove("lastgood-5-0123abcd+0-3.conf"),
        ];
        let demotion = Demotion {
            on: Partition::Esp,
            from: "loader/entries/lastgood-3-0123abcd+2-1.conf".to_owned(),
            to: "loader/entries/lastgood-3-0123abcd+0-1.conf".to_owned(),
        };
        assert_eq!(demotions(&steps), [demotion]);
    }

    #[test]
    fn the_file_is_the_same_under_its_new_name() {
        let tree = tempfile::tempdir().unwrap();
        let place = Place {
            esp: tree.path().to_owned(),
            boot: tree.path().to_owned(),
            ..Place::default()
        };
        let [from, to] = ["a+2-1.conf", "a+0-1.conf"].map(|name| tree.path().join(name));
        durable::put_text("title a\n", &from).unwrap();
        let demotion = Demotion {
            on: Partition::Esp,
            from: "a+2-1.conf".to_owned(),
            to: "a+0-1.conf".to_owned(),
        };
        demote(&place, &demotion).unwrap();
        assert!(!from.try_exists().unwrap());
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "title a\n");
        // Killed between a plan's two steps.
        durable::put_text("title b\n", &from).unwrap();
        demote(&place, &demotion).unwrap();
        assert!(!from.try_exists().unwrap());
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "title a\n");
    }
}
