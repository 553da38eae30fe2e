//! Which files the loader lists as entries, and what it takes from them.

use crate::entry::Entry;
use crate::listed::{Listed, Program};
use crate::name::EntryName;
use crate::partition::Partition;
use crate::release::ReleaseRange;
use crate::uki::{Part, Uki};

/// What an `architecture` line must say here.
const ARCHITECTURE: &str = "x64";
/// How many profiles of an image are looked at.
const MOST_PROFILES: u32 = 256;

impl Listed {
    /// The entry in the file called `file`, with this text. None: the loader does not list it, because of its name, its
    /// content, or because what it starts is not there (`is_there`, asked with a path on the file's partition).
    pub fn read(
        release: ReleaseRange,
        on: Partition,
        file: &str,
        text: &str,
        is_there: impl FnOnce(&str) -> bool,
    ) -> Option<Self> {
        let name = EntryName::parse(file).filter(|_| is_shown(release, file))?;
        let mut entry = Entry::default();
        // Of several programs one is started at most, and which one is the loader's affair.
        let mut program: Option<(Program, &str)> = None;
        for (key, value) in release.quotes().lines(text, &[' ', '\t']) {
            let field = match key {
                "sort-key" => Some(&mut entry.sort_key),
                "machine-id" => Some(&mut entry.machine_id),
                "version" => Some(&mut entry.version),
                "profile" => Some(&mut entry.profile),
                _ => None,
            };
            if let Some(field) = field {
                *field = Some(value.to_owned());
            }
            let this = match key {
                "linux" => Program::Linux,
                "efi" => Program::Efi,
                "uki" if release.knows_uki() => Program::Uki,
                "uki-url" if release.knows_uki() => Program::Url,
                "architecture" if !value.eq_ignore_ascii_case(ARCHITECTURE) => return None,
                _ => continue,
            };
            let is_another = program.is_some_and(|(other, _)| other != this);
            if is_another && !release.takes_the_later_program() {
                return None;
            }
            // Beside where the loader itself came from: from a disk, there is no such place.
            if this == Program::Url && value.starts_with(':') {
                return None;
            }
            program = Some((this, value));
        }
        for value in [
            &mut entry.sort_key,
            &mut entry.machine_id,
            &mut entry.version,
        ] {
            *value = value.take().filter(|value| is_value(release, value));
        }
        let (program, path) = program?;
        match program {
            Program::Linux => entry.linux = Some(path.to_owned()),
            Program::Efi => entry.efi = Some(path.to_owned()),
            Program::Uki => entry.uki = Some(path.to_owned()),
            Program::Url | Program::Image => {}
        }
        let profile = entry.profile.as_deref().filter(|_| release.knows_profile());
        let listed = Self {
            file: file.to_owned(),
            on,
            name,
            program,
            profile: profile.and_then(number).unwrap_or(0),
            profile_id: None,
            entry,
        };
        // What is elsewhere is not looked for.
        (program == Program::Url || is_there(path)).then_some(listed)
    }

    /// The entries that the image in the file called `file` is listed as: one for each of its profiles, none if the
    /// loader does not list it.
    #[must_use]
    pub fn of_image(release: ReleaseRange, on: Partition, file: &str, image: &Uki) -> Vec<Self> {
        let name = EntryName::of_image(file).filter(|_| is_shown(release, file));
        let Some(name) = name else {
            return Vec::new();
        };
        let listed = |profile: Profile| {
            let entry = named_by(release, profile.os_release?)?;
            Some(Self {
                file: file.to_owned(),
                on,
                name: name.clone(),
                program: Program::Image,
                profile: profile.number,
                profile_id: value(release, profile.text.unwrap_or_default(), "ID"),
                entry,
            })
        };
        let profiles = profiles(release, image).into_iter();
        profiles.filter_map(listed).collect()
    }
}

/// The loader finds some entries by itself, and calls them so.
fn is_shown(release: ReleaseRange, file: &str) -> bool {
    !(release.hides_capitals() && file.to_ascii_lowercase().starts_with("auto-"))
}

/// Decimal digits and nothing else.
fn number(text: &str) -> Option<u32> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// One way to start an image.
struct Profile<'a> {
    number: u32,
    text: Option<&'a str>,
    os_release: Option<&'a str>,
}

/// The profiles of an image. What stands before the first `.profile` is common to all; of each kind the first counts,
/// among the profile's own and then among these. Older loaders know no profiles, and take the last of a kind.
fn profiles(release: ReleaseRange, image: &Uki) -> Vec<Profile<'_>> {
    let mut common = None;
    let mut all: Vec<Profile<'_>> = Vec::new();
    let mut number = 0;
    for part in &image.parts {
        match part {
            Part::OsRelease(text) if !release.lists_profiles() => common = Some(text.as_str()),
            Part::Profile(_) if !release.lists_profiles() => {}
            Part::Profile(_) if number == MOST_PROFILES => break,
            Part::Profile(text) => {
                all.push(Profile {
                    number,
                    text: Some(text),
                    os_release: None,
                });
                number += 1;
            }
            Part::OsRelease(text) => {
                let os_release = all.last_mut().map_or(&mut common, |p| &mut p.os_release);
                os_release.get_or_insert(text.as_str());
            }
        }
    }
    if all.is_empty() {
        all.push(Profile {
            number,
            text: None,
            os_release: None,
        });
    }
    for profile in &mut all {
        profile.os_release = profile.os_release.or(common);
    }
    all
}

/// What an image's os-release makes of it, as an entry. None: it has no name, and so is not listed.
fn named_by(release: ReleaseRange, text: &str) -> Option<Entry> {
    let first_of = |keys: &[&str]| keys.iter().find_map(|key| value(release, text, key));
    Some(Entry {
        title: Some(first_of(&["PRETTY_NAME", "IMAGE_ID", "NAME", "ID"])?),
        sort_key: first_of(&["IMAGE_ID", "ID"]),
        version: first_of(&["IMAGE_VERSION", "VERSION", "VERSION_ID", "BUILD_ID"]),
        ..Entry::default()
    })
}

/// The last value of a key, in the text of a section.
fn value(release: ReleaseRange, text: &str, key: &str) -> Option<String> {
    let lines = release.quotes().lines(text, &['=']);
    let (_, value) = lines.filter(|(there, _)| *there == key).last()?;
    is_value(release, value).then(|| value.to_owned())
}

fn is_value(release: ReleaseRange, text: &str) -> bool {
    !text.is_empty() || release.keeps_empty_values()
}
