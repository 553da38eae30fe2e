//! What steps lead to, without making them.

use std::borrow::Cow;

use super::{Plan, Step};
use crate::entry::EntryFile;
use crate::nixpkgs;
use crate::observe::{BootFiles, Observation};
use crate::payload;
use crate::work;
use systemd_boot_model::{ENTRIES, Entry, EntryName, IMAGES, LOADER_CONF, Partition};

/// What the entries of `observed` are once all of `plan` is made.
#[must_use]
pub fn after<'a>(observed: &'a Observation, plan: &Plan) -> Cow<'a, BootFiles> {
    match of(observed, plan) {
        Cow::Borrowed(same) => Cow::Borrowed(&same.boot),
        Cow::Owned(other) => Cow::Owned(other.boot),
    }
}

/// What `observed` becomes by all of `plan`.
pub(super) fn of<'a>(observed: &'a Observation, plan: &Plan) -> Cow<'a, Observation> {
    let mut after = Cow::Borrowed(observed);
    for step in &plan.steps {
        change(after.to_mut(), step);
    }
    // Once for all of them: it goes through all entries.
    if !plan.steps.is_empty() {
        look(after.to_mut());
    }
    after
}

/// What `observed` becomes by `step`, when it succeeds.
#[cfg(test)]
pub(crate) fn make(observed: &mut Observation, step: &Step) {
    change(observed, step);
    look(observed);
}

/// [`of`] for one step, but for whether what entries start is there.
fn change(observed: &mut Observation, step: &Step) {
    match step {
        Step::Copy {
            content, on, path, ..
        } => {
            if let Some(name) = payload_name(path) {
                let boot = &mut observed.boot;
                if !is_beside(boot, *on) {
                    observed.payload.insert(name.to_owned(), *content);
                } else if !boot.esp_payload.iter().any(|there| there == name) {
                    boot.esp_payload.push(name.to_owned());
                }
            } else if let Some(name) = nixpkgs::payload_of(path) {
                let place = &mut observed.boot.nixpkgs;
                place.insert((*on, name.to_owned()));
            }
        }
        Step::Text { text, on, path } => {
            if path == LOADER_CONF {
                observed.boot.loader_conf = Some(text.clone());
            } else if let Some(file) = entry_name(path)
                && let Some(name) = EntryName::parse(file)
            {
                let entry = Entry::parse(text);
                let entry = EntryFile {
                    on: *on,
                    name,
                    has_program: is_known(&observed.boot, *on, &entry),
                    entry,
                    text: text.clone(),
                };
                entries_on(&mut observed.boot, *on).insert(file.to_owned(), entry);
            }
        }
        Step::Remove { on, path } => {
            if let Some(name) = payload_name(path) {
                if is_beside(&observed.boot, *on) {
                    observed.boot.esp_payload.retain(|there| there != name);
                } else {
                    observed.payload.remove(name);
                }
            }
            if let Some(name) = nixpkgs::payload_of(path) {
                observed.boot.nixpkgs.remove(&(*on, name.to_owned()));
            }
            if let Some(file) = entry_name(path) {
                entries_on(&mut observed.boot, *on).remove(file);
            }
            let is_it = |left: &(Partition, String)| left.0 == *on && left.1 == *path;
            observed.boot.leftovers.retain(|left| !is_it(left));
        }
    }
}

/// Finds out whether what entries start is there, as far as it is known what is.
pub(crate) fn look(observed: &mut Observation) {
    let boot = &mut observed.boot;
    let has_xbootldr = boot.place.has_xbootldr();
    for file in boot.entries.values_mut().chain(boot.on_esp.values_mut()) {
        work::look();
        let Some(linux) = &file.entry.linux else {
            continue;
        };
        if let Some(name) = payload_name(linux) {
            file.has_program = if file.on == Partition::Esp && has_xbootldr {
                boot.esp_payload.iter().any(|there| there == name)
            } else {
                observed.payload.contains_key(name)
            };
        } else if let Some(name) = nixpkgs::payload_of(linux) {
            file.has_program = boot.nixpkgs.contains(&(file.on, name.to_owned()));
        }
    }
}

/// Whether somebody else's program that `entry` starts is known to be there: an image, or what another entry starts.
fn is_known(boot: &BootFiles, on: Partition, entry: &Entry) -> bool {
    let program = |entry: &Entry| {
        let other = entry.efi.clone().or_else(|| entry.uki.clone());
        entry.linux.clone().or(other)
    };
    let wanted = program(entry);
    // Of these [`look`] knows whether they are there.
    let linux = entry.linux.as_deref();
    if linux.is_some_and(|path| payload_name(path).or(nixpkgs::payload_of(path)).is_some()) {
        return false;
    }
    let is_image = |(there, image): &(Partition, String)| {
        *there == on && wanted.as_ref() == Some(&format!("/{IMAGES}/{image}"))
    };
    // Where there are two, what is there is the later one.
    let starts = |file: &EntryFile| match (&file.entry.linux, &file.entry.efi) {
        (Some(_), Some(_)) => {
            systemd_boot_model::last_program(&file.text).map(|(_, path)| path.to_owned())
        }
        _ => program(&file.entry),
    };
    let files = boot.all().map(|(_, file)| file);
    let mut files = files.inspect(|_| work::look());
    boot.images.keys().any(is_image)
        || files.any(|file| file.on == on && file.has_program && starts(file) == wanted)
}

/// Whether `on` is an ESP that is not `$BOOT`.
fn is_beside(boot: &BootFiles, on: Partition) -> bool {
    on == Partition::Esp && boot.place.has_xbootldr()
}

fn entries_on(
    boot: &mut BootFiles,
    on: Partition,
) -> &mut std::collections::BTreeMap<String, EntryFile> {
    if is_beside(boot, on) {
        &mut boot.on_esp
    } else {
        &mut boot.entries
    }
}

fn entry_name(path: &str) -> Option<&str> {
    path.strip_prefix(ENTRIES)?.strip_prefix('/')
}

/// The name of a file of our payload.
fn payload_name(path: &str) -> Option<&str> {
    let path = path.trim_start_matches('/');
    path.strip_prefix(payload::DIRECTORY)?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{Content, Kind};

    /// A place with an XBOOTLDR partition.
    fn two_partitions() -> Observation {
        let mut observed = Observation::default();
        observed.boot.place.esp = "/efi".into();
        observed.boot.place.boot = "/boot".into();
        observed
    }

    #[test]
    fn what_is_copied_to_an_esp_is_there_and_not_on_the_other_partition() {
        let content = Content::of(&mut &b"kernel"[..]).unwrap();
        let name = payload::file_name(&content, Kind::Kernel);
        let path = format!("{}/{name}", payload::DIRECTORY);
        for on in [Partition::Esp, Partition::Boot] {
            let mut observed = two_partitions();
            make(
                &mut observed,
                &Step::Text {
                    text: format!("linux /{path}\n"),
                    on,
                    path: format!("{ENTRIES}/lastgood-1-00000000.conf"),
                },
            );
            let copy = |on| Step::Copy {
                source: "/nix/store/x".into(),
                content,
                on,
                path: path.clone(),
            };
            let other = match on {
                Partition::Esp => Partition::Boot,
                Partition::Boot => Partition::Esp,
            };
            let starts = |observed: &Observation| {
                let mut all = observed.boot.all();
                all.all(|(_, file)| file.has_program)
            };
            make(&mut observed, &copy(other));
            assert!(!starts(&observed), "{on:?}");
            make(&mut observed, &copy(on));
            make(&mut observed, &copy(on));
            assert!(starts(&observed), "{on:?}");
            let path = path.clone();
            make(&mut observed, &Step::Remove { on, path });
            assert!(!starts(&observed), "{on:?}");
            let left = (observed.boot.esp_payload.len(), observed.payload.len());
            assert_eq!(left, if on == Partition::Esp { (0, 1) } else { (1, 0) });
        }
    }

    #[test]
    fn a_leftover_goes_from_its_own_partition() {
        let mut observed = two_partitions();
        let path = format!("{ENTRIES}/.lastgood-x.part");
        let both = [Partition::Boot, Partition::Esp].map(|on| (on, path.clone()));
        observed.boot.leftovers.extend(both);
        let on = Partition::Esp;
        make(
            &mut observed,
            &Step::Remove {
                on,
                path: path.clone(),
            },
        );
        assert_eq!(observed.boot.leftovers, [(Partition::Boot, path)]);
    }
}
