//! A model of systemd-boot: which entry it starts next, and after how many failed boots which other one.
//!
//! Source: systemd's `src/boot/boot.c` (before 255 `src/boot/efi/boot.c`): the entry comparison, the selection of
//! the default, and the renaming of a counted entry before it is started. Not modelled: unified kernel images
//! (`EFI/Linux/*.efi`), `uki` entries, `@saved`, and entries the loader finds by itself.

use std::cmp::Ordering;
use std::path::Path;

use uapi_version::strverscmp;

use crate::efi::LoaderVariables;
use crate::entry::Entry;
use crate::loader_conf::LoaderConf;
use crate::name::{EntryName, Tries};
use crate::systemd_boot::{Image, Installed};

/// Versions of systemd-boot that choose alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Band {
    /// Up to 257: an id contains the counter.
    To257,
    /// 258 and 259: an id is without the counter.
    To259,
    /// From 260: `preferred` is looked at first, and passes over bad entries.
    From260,
}

impl Band {
    /// The band of a `LoaderInfo` such as `systemd-boot 252.39-1~deb12u2`. None: not systemd-boot.
    #[must_use]
    pub fn of_loader_info(info: &str) -> Option<Self> {
        let version = info.strip_prefix("systemd-boot ")?;
        let major = version.split(|c: char| !c.is_ascii_digit()).next()?;
        Some(match major.parse::<u32>().ok()? {
            ..=257 => Self::To257,
            258..=259 => Self::To259,
            260.. => Self::From260,
        })
    }
}

/// The version of the systemd-boot that lies on the `$BOOT` at `directory` (a path of this process), as `LoaderInfo`
/// will give it. None: there is none that can be read.
#[must_use]
pub fn installed(directory: &Path) -> Option<String> {
    let installed = Installed::read(directory).ok()?;
    installed.image().map(Image::info)
}

/// An entry the loader lists: what it starts is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its file.
    pub name: EntryName,
    /// The file's content.
    pub entry: Entry,
}

impl Listed {
    fn is_bad(&self) -> bool {
        matches!(self.name.tries, Some(Tries { left: 0, .. }))
    }

    fn id(&self, band: Band) -> String {
        let stripped = EntryName {
            tries: self.name.tries.filter(|_| band == Band::To257),
            ..self.name.clone()
        };
        stripped.to_string().to_lowercase()
    }
}

/// Everything a choice depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loader {
    /// Which loader it is.
    pub band: Band,
    /// The entries it lists, in any order.
    pub entries: Vec<Listed>,
    /// Its settings file.
    pub conf: LoaderConf,
    /// What the firmware remembers.
    pub variables: LoaderVariables,
}

/// One boot to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// The file of the entry that is started, as it is called before the loader counts the boot.
    pub name: EntryName,
    /// Why this one.
    pub why: &'static str,
}

impl Loader {
    /// What boots now (first), and after 1 to `failures` boots that nobody blessed. Shorter when nothing is listed.
    #[must_use]
    pub fn predict(mut self, failures: usize) -> Vec<Boot> {
        let mut boots = Vec::new();
        for _ in 0..=failures {
            self.sort();
            let Some((at, why)) = self.choose() else {
                break;
            };
            // Erased by the loader as soon as it is read.
            self.variables.one_shot = None;
            let Some(listed) = self.entries.get(at) else {
                break;
            };
            boots.push(Boot {
                name: listed.name.clone(),
                why,
            });
            let counted = EntryName {
                tries: listed.name.tries.map(Tries::after_a_boot),
                ..listed.name.clone()
            };
            // The firmware does not rename over another file. The loader says so, and boots what it did not count.
            let is_taken = self.entries.iter().any(|other| other.name == counted);
            // Up to 258 an `efi` entry counted as well; we model what still holds.
            if let Some(listed) = self.entries.get_mut(at)
                && listed.entry.linux.is_some()
                && !is_taken
            {
                listed.name = counted;
            }
        }
        boots
    }

    /// The order of the menu.
    fn sort(&mut self) {
        let band = self.band;
        self.entries.sort_by(|a, b| compare(a, b, band));
    }

    /// The entry started without anybody at the console, out of the sorted list.
    fn choose(&self) -> Option<(usize, &'static str)> {
        let variables = &self.variables;
        if let Some(at) = self.find(variables.one_shot.as_deref(), false) {
            return Some((at, "LoaderEntryOneShot asks for it, once"));
        }
        if self.band == Band::From260 {
            if let Some(at) = self.find(variables.preferred.as_deref(), true) {
                return Some((at, "LoaderEntryPreferred asks for it"));
            }
            if let Some(at) = self.find(self.conf.preferred.as_deref(), true) {
                return Some((at, "`preferred` in loader.conf asks for it"));
            }
        }
        if let Some(at) = self.find(variables.default.as_deref(), false) {
            return Some((at, "LoaderEntryDefault asks for it, over loader.conf"));
        }
        if let Some(at) = self.find(self.conf.default.as_deref(), false) {
            return Some((
                at,
                self.praise(at, "first good entry that `default` in loader.conf matches"),
            ));
        }
        (!self.entries.is_empty()).then(|| (0, self.praise(0, "first good entry")))
    }

    fn praise(&self, at: usize, good: &'static str) -> &'static str {
        if self.entries.get(at).is_some_and(Listed::is_bad) {
            "no good entry is left: the first of the bad ones"
        } else {
            good
        }
    }

    fn find(&self, pattern: Option<&str>, only_good: bool) -> Option<usize> {
        let pattern: Vec<char> = pattern?.to_lowercase().chars().collect();
        self.entries.iter().position(|listed| {
            let id: Vec<char> = listed.id(self.band).chars().collect();
            matches(&pattern, &id) && !(only_good && listed.is_bad())
        })
    }
}

/// Who is listed first.
fn compare(a: &Listed, b: &Listed, band: Band) -> Ordering {
    let by_key = || match (&a.entry.sort_key, &b.entry.sort_key) {
        (Some(key_a), Some(key_b)) => key_a
            .cmp(key_b)
            .then_with(|| a.entry.machine_id.cmp(&b.entry.machine_id))
            .then_with(|| newest_first(a.entry.version.as_deref(), b.entry.version.as_deref())),
        (a, b) => a.is_none().cmp(&b.is_none()),
    };
    let by_tries = || match (a.name.tries, b.name.tries) {
        (Some(a), Some(b)) => b
            .left
            .cmp(&a.left)
            .then(a.done.unwrap_or(0).cmp(&b.done.unwrap_or(0))),
        _ => Ordering::Equal,
    };
    a.is_bad()
        .cmp(&b.is_bad())
        .then_with(by_key)
        .then_with(|| newest_first(Some(&a.id(band)), Some(&b.id(band))))
        .then_with(by_tries)
}

fn newest_first(a: Option<&str>, b: Option<&str>) -> Ordering {
    strverscmp(b.unwrap_or_default(), a.unwrap_or_default())
}

/// The loader's shell pattern: `*`, `?` and `[set]`.
fn matches(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        (['*', rest @ ..], _) => {
            matches(rest, text)
                || text
                    .split_first()
                    .is_some_and(|(_, text)| matches(pattern, text))
        }
        (['?', pattern @ ..], [_, text @ ..]) => matches(pattern, text),
        (['[', set @ ..], [c, text @ ..]) => match set.iter().position(|c| *c == ']') {
            Some(end) if end > 0 => {
                let (set, rest) = set.split_at(end);
                in_set(set, *c) && matches(rest.get(1..).unwrap_or_default(), text)
            }
            _ => false,
        },
        ([p, pattern @ ..], [c, text @ ..]) => p == c && matches(pattern, text),
        _ => false,
    }
}

fn in_set(set: &[char], c: char) -> bool {
    match set {
        [] => false,
        [low, '-', high, rest @ ..] => (*low..=*high).contains(&c) || in_set(rest, c),
        [one, rest @ ..] => *one == c || in_set(rest, c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BANDS: [Band; 3] = [Band::To257, Band::To259, Band::From260];

    fn listed(file: &str, sort_key: Option<&str>, version: &str) -> Listed {
        Listed {
            name: EntryName::parse(file).unwrap(),
            entry: Entry {
                sort_key: sort_key.map(str::to_owned),
                version: Some(version.to_owned()),
                linux: Some("/k".to_owned()),
                ..Entry::default()
            },
        }
    }

    fn loader(band: Band, entries: Vec<Listed>) -> Loader {
        Loader {
            band,
            entries,
            conf: LoaderConf::default(),
            variables: LoaderVariables::default(),
        }
    }

    fn booted(loader: Loader, failures: usize) -> Vec<String> {
        let boots = loader.predict(failures);
        boots.iter().map(|boot| boot.name.to_string()).collect()
    }

    #[test]
    fn versions_of_the_loader() {
        let of = Band::of_loader_info;
        assert_eq!(of("systemd-boot 252.39-1~deb12u2"), Some(Band::To257));
        assert_eq!(of("systemd-boot 258~rc1"), Some(Band::To259));
        assert_eq!(of("systemd-boot 260"), Some(Band::From260));
        assert_eq!(of("GRUB 2.12"), None);
    }

    #[test]
    fn a_trial_is_tried_three_times_and_then_the_proven_one() {
        for band in BANDS {
            let entries = vec![
                listed("a-2.conf", Some("k8"), "2"),
                listed("a-3+3-0.conf", Some("k7"), "3"),
            ];
            let mut loader = loader(band, entries);
            loader.conf.default = Some("a-*".to_owned());
            assert_eq!(
                booted(loader, 4),
                [
                    "a-3+3-0.conf",
                    "a-3+2-1.conf",
                    "a-3+1-2.conf",
                    "a-2.conf",
                    "a-2.conf"
                ]
            );
        }
    }

    #[test]
    fn when_all_are_bad_the_best_bad_one_is_started_for_ever() {
        let entries = vec![
            listed("a+0-3.conf", Some("k"), "1"),
            listed("b+0-3.conf", Some("k"), "2"),
        ];
        let boots = loader(Band::To257, entries).predict(2);
        let names: Vec<String> = boots.iter().map(|boot| boot.name.to_string()).collect();
        assert_eq!(names, ["b+0-3.conf", "b+0-4.conf", "b+0-5.conf"]);
        assert!(boots[0].why.contains("bad"));
    }

    /// UEFI, `EFI_FILE_PROTOCOL.SetInfo()`: a name that another file has is refused.
    #[test]
    fn a_counter_does_not_come_down_onto_another_file() {
        let entries = [("a+3-0.conf", "k"), ("a+2-1.conf", "k"), ("b.conf", "z")];
        let entries = entries.map(|(file, key)| listed(file, Some(key), "1"));
        let boots = booted(loader(Band::To257, entries.to_vec()), 3);
        assert_eq!(boots, ["a+3-0.conf"; 4]);
    }

    #[test]
    fn an_exact_default_depends_on_the_version() {
        let first = |band, file: &str| {
            let mut loader = loader(
                band,
                vec![
                    listed(file, Some("k"), "9"),
                    listed("z.conf", Some("a"), "1"),
                ],
            );
            loader.conf.default = Some("x.conf".to_owned());
            booted(loader, 0).remove(0)
        };
        assert_eq!(first(Band::To257, "x+3.conf"), "z.conf");
        assert_eq!(first(Band::To259, "x+3.conf"), "x+3.conf");
        // systemd#40192: pinned although bad.
        assert_eq!(first(Band::To259, "x+0-3.conf"), "x+0-3.conf");
    }

    #[test]
    fn preferred_is_new_and_passes_over_bad_ones() {
        let first = |band, file: &str| {
            let mut loader = loader(
                band,
                vec![
                    listed(file, Some("z"), "1"),
                    listed("b.conf", Some("a"), "1"),
                ],
            );
            loader.conf.preferred = Some("p.conf".to_owned());
            booted(loader, 0).remove(0)
        };
        assert_eq!(first(Band::To259, "p.conf"), "b.conf");
        assert_eq!(first(Band::From260, "p.conf"), "p.conf");
        assert_eq!(first(Band::From260, "p+0-3.conf"), "b.conf");
    }

    #[test]
    fn one_shot_wins_once() {
        let mut loader = loader(
            Band::To257,
            vec![
                listed("a.conf", Some("a"), "1"),
                listed("b.conf", Some("b"), "1"),
            ],
        );
        loader.variables.one_shot = Some("B.conf".to_owned());
        assert_eq!(booted(loader, 1), ["b.conf", "a.conf"]);
    }

    #[test]
    fn entries_without_a_sort_key_come_after_those_with_one() {
        let entries = vec![
            listed("old.conf", None, "9"),
            listed("new.conf", Some("z"), "1"),
        ];
        assert_eq!(booted(loader(Band::To257, entries), 0), ["new.conf"]);
    }

    /// Every order has to be one: with a comparison that is no order, sorting says nothing.
    #[test]
    fn the_comparison_is_a_total_order() {
        let mut all = Vec::new();
        for file in ["a.conf", "a+0-1.conf", "a+2-1.conf", "b+3-0.conf", "b.conf"] {
            for key in [None, Some("k"), Some("l")] {
                for version in ["1", "10", "9"] {
                    all.push(listed(file, key, version));
                }
            }
        }
        for band in BANDS {
            for x in &all {
                for y in &all {
                    assert_eq!(compare(x, y, band), compare(y, x, band).reverse());
                    if compare(x, y, band).is_gt() {
                        continue;
                    }
                    for z in all.iter().filter(|z| compare(y, z, band).is_le()) {
                        // Twins that differ only in having a counter at all are equal to each other but not to
                        // a third: the loader's own comparison is loose there (from 258 on).
                        let twins = |a: &Listed, b: &Listed| {
                            a.name.stem == b.name.stem
                                && a.name.tries.is_some() != b.name.tries.is_some()
                        };
                        if !(twins(x, y) || twins(y, z) || twins(x, z)) {
                            assert!(compare(x, z, band).is_le(), "{x:?} {y:?} {z:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn patterns() {
        let is = |pattern: &str, text: &str| {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            matches(&chars(pattern), &chars(text))
        };
        assert!(
            is("*", "")
                && is("a*c", "abbc")
                && is("?b", "ab")
                && is("[a-c]x", "bx")
                && is("[xy]", "y")
        );
        assert!(
            !is("a", "ab") && !is("?", "") && !is("[a-c]", "d") && !is("[a", "a") && !is("[]", "]")
        );
    }
}
