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
    /// Its paths there, as they are: half a rename leaves two.
    pub from: Vec<String>,
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
        let from = steps.iter().filter_map(|step| match step {
            Step::Remove { on: there, path } if there == on => Some(path).filter(is_old),
            _ => None,
        });
        let from: Vec<String> = from.cloned().collect();
        if !from.is_empty() {
            demotions.push(Demotion {
                on: *on,
                from,
                to: to.clone(),
            });
        }
    }
    demotions
}

/// Gives the file its new name, over what a run that did not end has left there, from each name that it still has.
///
/// # Errors
/// When that cannot be done. What has not got its new name has its old one.
pub fn demote(place: &Place, demotion: &Demotion) -> Result<(), durable::Error> {
    let directory = place.directory(demotion.on);
    let to = directory.join(&demotion.to);
    for from in &demotion.from {
        let from = directory.join(from);
        if !matches!(from.try_exists(), Ok(false)) {
            durable::rename(&from, &to)?;
        }
    }
    Ok(())
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
            remove("lastgood-3-0123abcd+3-0.conf"),
        ];
        let at = |name: &str| format!("loader/entries/lastgood-3-0123abcd{name}.conf");
        let demotion = Demotion {
            on: Partition::Esp,
            from: vec![at("+2-1"), at("+3-0")],
            to: at("+0-1"),
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
        let names = ["a+3-0.conf", "a+2-1.conf", "a+0-1.conf"];
        let [first, second, to] = names.map(|name| tree.path().join(name));
        let demotion = Demotion {
            on: Partition::Esp,
            from: vec!["a+3-0.conf".to_owned(), "a+2-1.conf".to_owned()],
            to: "a+0-1.conf".to_owned(),
        };
        let rest = || {
            let left = [&first, &second].map(|path| path.try_exists().unwrap());
            (left, std::fs::read_to_string(&to).unwrap())
        };
        durable::put_text("title a\n", &second).unwrap();
        demote(&place, &demotion).unwrap();
        assert_eq!(rest(), ([false; 2], "title a\n".to_owned()));
        // Half a rename of the firmware's, and an empty file that a power cut has left of one of ours.
        for (path, text) in [(&first, "title b\n"), (&second, "title b\n"), (&to, "")] {
            durable::put_text(text, path).unwrap();
        }
        demote(&place, &demotion).unwrap();
        assert_eq!(rest(), ([false; 2], "title b\n".to_owned()));
    }
}
