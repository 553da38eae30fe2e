//! What the loader starts, and what it leaves behind: in names of files, and in variables.

use std::fmt;

use crate::conf::{LoaderConf, SAVED};
use crate::listed::{Listed, Program};
use crate::name::EntryName;
use crate::order;
use crate::partition::{ENTRIES, IMAGES, Partition};
use crate::pattern::Pattern;
use crate::release::ReleaseRange;
use crate::variables::LoaderVariables;

/// What can keep the loader from renaming an entry file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Medium {
    /// Nothing can be written: no boot is ever counted.
    pub read_only: bool,
    /// The files beside the listed entries, in the directories of these, by partition: the firmware does not rename
    /// over another file. (Images and entry files are in different directories and end differently.)
    pub other_files: Vec<(Partition, String)>,
}

/// Everything a choice depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loader {
    /// Which release it is.
    pub release: ReleaseRange,
    /// The entries it lists, as they follow each other in the directory: the ESP's, then `$BOOT`'s if that is another
    /// partition; on each of them images before entry files. (It matters only between entries that the loader cannot
    /// tell apart.)
    pub entries: Vec<Listed>,
    /// Its settings file.
    pub conf: LoaderConf,
    /// What the firmware remembers.
    pub variables: LoaderVariables,
    /// What it can rename.
    pub medium: Medium,
}

/// Why the loader starts an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// `LoaderEntryOneShot` matches it.
    OneShot,
    /// `LoaderEntryPreferred` matches it, and it is good.
    PreferredVariable,
    /// `preferred` in loader.conf matches it, and it is good.
    PreferredLine,
    /// `LoaderEntryDefault` matches it.
    DefaultVariable,
    /// `default` in loader.conf matches it, and it is good.
    DefaultLine,
    /// `default` in loader.conf matches it, and no good entry.
    DefaultLineBad,
    /// No pattern matches anything, and it is the first good entry of the menu.
    FirstGood,
    /// The same, and no good entry is left.
    FirstBad,
    /// Everything in the menu is a further profile, which is not started unasked.
    NoFirstProfile,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneShot => "LoaderEntryOneShot asks for it, once (`bootctl set-oneshot ''` clears that)",
            Self::PreferredVariable => "LoaderEntryPreferred asks for it",
            Self::PreferredLine => "`preferred` in loader.conf asks for it",
            Self::DefaultVariable => "LoaderEntryDefault asks for it, over loader.conf",
            Self::DefaultLine => "first good entry that `default` in loader.conf matches",
            Self::DefaultLineBad => {
                "`default` in loader.conf matches no good entry: the first of the bad ones it matches"
            }
            Self::FirstGood => "first good entry",
            Self::FirstBad => "no good entry is left: the first of the bad ones",
            Self::NoFirstProfile => {
                "nothing is there to be started unasked: the first of the menu, after ten seconds"
            }
        })
    }
}

/// One boot to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The file of the entry that is started, as it is called before the loader counts the boot.
    pub file: String,
    /// The same, taken apart.
    pub name: EntryName,
    /// Whether that is a unified kernel image.
    pub is_image: bool,
    /// `@` and the profile, where that is not the image's first one. Otherwise empty.
    pub profile: String,
    /// What the loader will call it.
    pub id: String,
    /// Why this one.
    pub why: Why,
}

impl Loader {
    /// What boots now (first), and after 1 to `failures` boots that nobody blessed. Shorter when nothing is listed.
    #[must_use]
    pub fn predict(mut self, failures: usize) -> Vec<Choice> {
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
    pub fn end(mut self, most: usize) -> Option<Choice> {
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
    ///
    /// A path of an earlier boot stays in `LoaderBootCountPath` where this one is not counted: this is the loader being
    /// started once more by the same run of the firmware ([`Self::reset`] is what a reset of the machine changes).
    pub fn boot(&mut self) -> Option<Choice> {
        self.trace().map(|(boot, _)| boot)
    }

    /// What a reset of the machine changes: the firmware forgets which entry was started and counted.
    pub fn reset(&mut self) {
        self.variables.selected = None;
        self.variables.boot_count_path = None;
    }

    /// [`Self::boot`], and whether it leaves any traces that the next boot may see.
    pub(crate) fn trace(&mut self) -> Option<(Choice, bool)> {
        let (at, why) = self.choose()?;
        let listed = self.entries.get(at)?;
        let boot = Choice {
            file: listed.file.clone(),
            name: listed.name.clone(),
            is_image: listed.program == Program::Image,
            profile: listed.profile_mark(),
            id: listed.id(self.release),
            why,
        };
        let is_remembered = self.remember(boot.id.clone());
        let is_counted = self.count(at);
        self.variables.selected = Some(boot.id.clone());
        if is_counted {
            self.variables.boot_count_path = self.entries.get(at).map(path_of);
        }
        Some((boot, is_remembered || is_counted))
    }

    /// The entries in the order of the menu.
    #[must_use]
    pub fn menu(&self) -> Vec<&Listed> {
        let menu = order::menu(&self.entries, self.release);
        menu.iter().filter_map(|at| self.entries.get(*at)).collect()
    }

    /// The entry started without anybody at the console.
    fn choose(&self) -> Option<(usize, Why)> {
        let menu = order::menu(&self.entries, self.release);
        for request in self.requests() {
            if let Some(at) = self.find(&menu, &request) {
                return Some((at, self.reason(at, request.why)));
            }
        }
        let may_be_chosen = |at: &&usize| {
            let listed = self.entries.get(**at);
            listed.is_some_and(|listed| listed.profile == 0 || !self.release.orders_profiles())
        };
        match menu.iter().find(may_be_chosen) {
            Some(at) => Some((*at, self.reason(*at, Why::FirstGood))),
            None => Some((*menu.first()?, Why::NoFirstProfile)),
        }
    }

    /// The patterns that are tried, one after the other.
    fn requests(&self) -> Vec<Request> {
        let (variables, conf) = (&self.variables, &self.conf);
        let asked = |pattern: Option<&String>| pattern.map(|p| p.to_ascii_lowercase());
        let mut requests = vec![Request::new(
            asked(variables.one_shot.as_ref()),
            Why::OneShot,
        )];
        if self.release.prefers() {
            let preferred_variable = self.resolved(variables.preferred.as_ref());
            let preferred = self.resolved(conf.preferred.as_ref());
            requests.push(Request::new(preferred_variable, Why::PreferredVariable).if_good());
            requests.push(Request::new(preferred, Why::PreferredLine).if_good());
        }
        requests.push(Request::new(
            self.resolved(variables.default.as_ref()),
            Why::DefaultVariable,
        ));
        requests.push(Request::new(
            self.resolved(conf.default.as_ref()),
            Why::DefaultLine,
        ));
        requests
    }

    /// A pattern in small letters, with `@saved` replaced by what was saved, to the letter.
    fn resolved(&self, pattern: Option<&String>) -> Option<String> {
        if is_saved(pattern) {
            self.variables.last_booted.clone()
        } else {
            pattern.map(|pattern| pattern.to_ascii_lowercase())
        }
    }

    fn find(&self, menu: &[usize], request: &Request) -> Option<usize> {
        let pattern = Pattern::new(request.pattern.as_ref()?);
        menu.iter().copied().find(|at| {
            self.entries.get(*at).is_some_and(|listed| {
                !(request.only_good && listed.is_bad()) && pattern.matches(&listed.id(self.release))
            })
        })
    }

    /// `why`, seen that the entry may be a bad one.
    fn reason(&self, at: usize, why: Why) -> Why {
        let is_bad = self.entries.get(at).is_some_and(Listed::is_bad);
        match why {
            Why::FirstGood if is_bad => Why::FirstBad,
            Why::DefaultLine if is_bad => Why::DefaultLineBad,
            _ => why,
        }
    }

    /// Writes down which entry was started, where `@saved` asks for it. Whether the firmware remembers something else
    /// afterwards.
    fn remember(&mut self, id: String) -> bool {
        let variables = &mut self.variables;
        // Erased by the loader as soon as it is read.
        let one_shot = variables.one_shot.take();
        if let Some(pattern) = &one_shot
            && pattern.to_ascii_lowercase() == id
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

    /// Counts a boot. Where the file cannot be renamed the loader says so, and boots what it did not count. Whether it
    /// is called something else now.
    fn count(&mut self, at: usize) -> bool {
        let Some(before) = self.entries.get(at).cloned() else {
            return false;
        };
        let Some(tries) = before.after_a_boot(self.release) else {
            return false;
        };
        let mut counted = before.clone();
        counted.set_tries(tries);
        let is_taken = |(on, other): (Partition, &str)| {
            on == counted.on && other.eq_ignore_ascii_case(&counted.file)
        };
        let others = &self.medium.other_files;
        let others = others.iter().map(|(on, file)| (*on, file.as_str()));
        let mut files = others.chain(self.entries.iter().map(|l| (l.on, l.file.as_str())));
        if self.medium.read_only || files.any(is_taken) {
            return false;
        }
        for listed in &mut self.entries {
            if listed.shares_file(&before) {
                listed.set_tries(tries);
            }
        }
        true
    }
}

/// What `LoaderBootCountPath` calls the file of `listed`.
fn path_of(listed: &Listed) -> String {
    let directory = match listed.program {
        Program::Image => IMAGES,
        _ => ENTRIES,
    };
    format!("/{directory}/{}", listed.file).replace('/', "\\")
}

/// A pattern that somebody wants to be started.
struct Request {
    pattern: Option<String>,
    only_good: bool,
    why: Why,
}

impl Request {
    fn new(pattern: Option<String>, why: Why) -> Self {
        Self {
            pattern,
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
