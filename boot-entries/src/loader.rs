//! A model of systemd-boot: which entry it starts next, and after how many failed boots which other one.
//!
//! Source: systemd's `src/boot/boot.c` (before 255 `src/boot/efi/boot.c`), versions 252 to 262: what is listed, in which
//! order, what is chosen, and what the entry file is renamed to before it is started. The loader's test ring compares it
//! with the real thing.
//!
//! Not modelled, because nothing of ours depends on it: unified kernel images (`EFI/Linux/*.efi`), `uki`, `uki-url` and
//! `profile` lines (258 and later), an `efi` entry that starts the loader itself, entries the loader finds by itself,
//! `LoaderEntrySysFail`, and files called `AUTO-*.conf` in capitals, which 252 lists and later versions do not.

mod band;
mod listing;
mod order;
mod overrides;
mod pattern;
#[cfg(test)]
mod tests;
mod version;

use crate::boot_partition::Partition;
use crate::efi::LoaderVariables;
use crate::entry::Entry;
use crate::loader_conf::{LoaderConf, SAVED};
use crate::name::{EntryName, Tries};
use pattern::Pattern;

pub use band::{Band, OLDEST, installed, too_old};
pub use overrides::{Override, endless_menu, overrides};
pub use version::compare as compare_versions;

/// An entry the loader lists: what it starts is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its file's name, to the letter.
    pub file: String,
    /// The partition its file is on.
    pub on: Partition,
    /// Its file's name, taken apart.
    pub name: EntryName,
    /// The file's content: either `linux` or `efi`.
    pub entry: Entry,
}

impl Listed {
    fn is_bad(&self) -> bool {
        matches!(self.name.tries, Some(Tries { left: 0, .. }))
    }

    /// What patterns are matched with, and what `LoaderEntrySelected` will say.
    #[must_use]
    pub fn id(&self, band: Band) -> String {
        let mut id = if self.name.tries.is_some() && !band.keeps_counter_in_id() {
            format!("{}.conf", self.name.stem)
        } else {
            self.file.clone()
        };
        id.make_ascii_lowercase();
        id
    }

    /// The name its file gets when it is started. None: the boot is not counted.
    fn after_a_boot(&self, band: Band) -> Option<EntryName> {
        let tries = self.name.tries?.after_a_boot();
        let counts = self.entry.linux.is_some() || band.counts_efi();
        counts.then(|| EntryName {
            stem: self.name.stem.clone(),
            tries: Some(tries),
        })
    }
}

/// What can keep the loader from renaming an entry file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Medium {
    /// Nothing can be written: no boot is ever counted.
    pub read_only: bool,
    /// The files beside the listed entries, by partition: the firmware does not rename over another file.
    pub other_files: Vec<(Partition, String)>,
}

/// Everything a choice depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loader {
    /// Which loader it is.
    pub band: Band,
    /// The entries it lists, as they follow each other in the directory: the ESP's, then `$BOOT`'s if that is another
    /// partition. (It matters only between entries that the loader cannot tell apart.)
    pub entries: Vec<Listed>,
    /// Its settings file.
    pub conf: LoaderConf,
    /// What the firmware remembers.
    pub variables: LoaderVariables,
    /// What it can rename.
    pub medium: Medium,
}

/// One boot to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// The file of the entry that is started, as it is called before the loader counts the boot.
    pub file: String,
    /// The same, taken apart.
    pub name: EntryName,
    /// Why this one.
    pub why: &'static str,
}

impl Loader {
    /// What boots now (first), and after 1 to `failures` boots that nobody blessed. Shorter when nothing is listed.
    #[must_use]
    pub fn predict(mut self, failures: usize) -> Vec<Boot> {
        let mut boots = Vec::new();
        while boots.len() <= failures {
            let Some((boot, leaves_traces)) = self.trace() else {
                break;
            };
            if !leaves_traces {
                // The next one finds what this one found.
                boots.resize(failures + 1, boot.clone());
            }
            boots.push(boot);
        }
        boots.truncate(failures + 1);
        boots
    }

    /// The boot that all later ones are like, or, where there is none among the first `most`, the last of these. None:
    /// nothing is listed.
    #[must_use]
    pub fn end(mut self, most: usize) -> Option<Boot> {
        let mut last = None;
        for _ in 0..most {
            let (boot, leaves_traces) = self.trace()?;
            last = Some(boot);
            if !leaves_traces {
                break;
            }
        }
        last
    }

    /// One boot: what is started, and the loader's traces of it in names and variables. None: nothing is listed.
    pub fn boot(&mut self) -> Option<Boot> {
        self.trace().map(|(boot, _)| boot)
    }

    /// [`Self::boot`], and whether it leaves any traces.
    fn trace(&mut self) -> Option<(Boot, bool)> {
        let (at, why) = self.choose()?;
        let listed = self.entries.get(at)?;
        let boot = Boot {
            file: listed.file.clone(),
            name: listed.name.clone(),
            why,
        };
        let id = listed.id(self.band);
        let is_remembered = self.remember(id);
        let is_counted = self.count(at);
        Some((boot, is_remembered || is_counted))
    }

    /// The entries in the order of the menu.
    #[must_use]
    pub fn menu(&self) -> Vec<&Listed> {
        let menu = order::menu(&self.entries, self.band);
        menu.iter().filter_map(|at| self.entries.get(*at)).collect()
    }

    /// The entry started without anybody at the console.
    fn choose(&self) -> Option<(usize, &'static str)> {
        let menu = order::menu(&self.entries, self.band);
        for wish in self.wishes() {
            if let Some(at) = self.find(&menu, &wish) {
                return Some((at, self.praise(at, wish.why)));
            }
        }
        let at = *menu.first()?;
        Some((at, self.praise(at, FIRST_GOOD)))
    }

    /// The patterns that are tried, one after the other.
    fn wishes(&self) -> Vec<Wish> {
        let (variables, conf) = (&self.variables, &self.conf);
        let mut wishes = vec![Wish::new(
            variables.one_shot.as_ref(),
            "LoaderEntryOneShot asks for it, once (`bootctl set-oneshot ''` clears that)",
        )];
        if self.band == Band::From260 {
            let preferred_variable = self.resolved(variables.preferred.as_ref());
            let preferred = self.resolved(conf.preferred.as_ref());
            wishes
                .push(Wish::new(preferred_variable, "LoaderEntryPreferred asks for it").if_good());
            wishes.push(Wish::new(preferred, "`preferred` in loader.conf asks for it").if_good());
        }
        wishes.push(Wish::new(
            self.resolved(variables.default.as_ref()),
            "LoaderEntryDefault asks for it, over loader.conf",
        ));
        wishes.push(Wish::new(self.resolved(conf.default.as_ref()), BY_DEFAULT));
        wishes
    }

    /// A pattern with `@saved` replaced by what was saved.
    fn resolved<'a>(&'a self, pattern: Option<&'a String>) -> Option<&'a String> {
        if is_saved(pattern) {
            self.variables.last_booted.as_ref()
        } else {
            pattern
        }
    }

    fn find(&self, menu: &[usize], wish: &Wish) -> Option<usize> {
        let pattern = Pattern::new(&wish.pattern.as_ref()?.to_ascii_lowercase());
        menu.iter().copied().find(|at| {
            self.entries.get(*at).is_some_and(|listed| {
                !(wish.only_good && listed.is_bad()) && pattern.matches(&listed.id(self.band))
            })
        })
    }

    fn praise(&self, at: usize, why: &'static str) -> &'static str {
        let is_bad = self.entries.get(at).is_some_and(Listed::is_bad);
        if is_bad && [FIRST_GOOD, BY_DEFAULT].contains(&why) {
            "no good entry is left: the first of the bad ones"
        } else {
            why
        }
    }

    /// Writes down which entry was started, where `@saved` asks for it. Whether the firmware remembers something else
    /// afterwards.
    fn remember(&mut self, id: String) -> bool {
        let variables = &mut self.variables;
        // Erased by the loader as soon as it is read.
        let one_shot = variables.one_shot.take();
        if let Some(pattern) = &one_shot
            && pattern.eq_ignore_ascii_case(&id)
        {
            return true;
        }
        let saves = match &variables.default {
            Some(_) => is_saved(variables.default.as_ref()),
            None => is_saved(self.conf.default.as_ref()),
        };
        let now = saves.then_some(id);
        let is_same = one_shot.is_none() && variables.last_booted == now;
        variables.last_booted = now;
        !is_same
    }

    /// Counts a boot. Where the file cannot be renamed the loader says so, and boots what it did not count. Whether it is
    /// called something else now.
    fn count(&mut self, at: usize) -> bool {
        let listed = self.entries.get(at);
        let Some((on, counted)) = listed.and_then(|l| Some((l.on, l.after_a_boot(self.band)?)))
        else {
            return false;
        };
        let file = counted.to_string();
        let is_taken = |(partition, other): (Partition, &str)| {
            partition == on && other.eq_ignore_ascii_case(&file)
        };
        let others = &self.medium.other_files;
        let others = others.iter().map(|(on, file)| (*on, file.as_str()));
        let mut files = others.chain(self.entries.iter().map(|l| (l.on, l.file.as_str())));
        if self.medium.read_only || files.any(is_taken) {
            return false;
        }
        let Some(listed) = self.entries.get_mut(at) else {
            return false;
        };
        listed.file = file;
        listed.name = counted;
        true
    }
}

const FIRST_GOOD: &str = "first good entry";
const BY_DEFAULT: &str = "first good entry that `default` in loader.conf matches";

/// A pattern that somebody wants to be started.
struct Wish {
    pattern: Option<String>,
    only_good: bool,
    why: &'static str,
}

impl Wish {
    fn new(pattern: Option<&String>, why: &'static str) -> Self {
        Self {
            pattern: pattern.cloned(),
            only_good: false,
            why,
        }
    }

    fn if_good(self) -> Self {
        Self {
            only_good: true,
            ..self
        }
    }
}

fn is_saved(pattern: Option<&String>) -> bool {
    pattern.is_some_and(|pattern| pattern.eq_ignore_ascii_case(SAVED))
}
