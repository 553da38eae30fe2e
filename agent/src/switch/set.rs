//! All units of a closure as plain data: which files make a unit, under which names, and what wants what.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::situation::States;
use super::unit_file::UnitFile;

/// What one name in the directory of units leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leads {
    /// A file. Two that are the same path of the store are equal, and nobody reads them.
    File(PathBuf),
    /// `/dev/null`: the unit is masked.
    Nowhere,
    /// Another unit of the directory: this is a second name of it.
    Alias(String),
}

/// The units of a closure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Units {
    /// By name, with the suffix. [`Self::insert`] puts them in.
    pub files: BTreeMap<String, Leads>,
    /// By unit: its other names.
    aliases: BTreeMap<String, BTreeSet<String>>,
    /// By the name of a `.d` directory without that ending, then by the name of the `.conf` file.
    pub drop_ins: BTreeMap<String, BTreeMap<String, Leads>>,
    /// By the unit that wants: the names in its `.wants`, `.requires` and `.upholds` directories.
    pub wanted: BTreeMap<String, BTreeSet<String>>,
    /// By path in the directory of units (`app.service.requires/db.service`): whether that link masks.
    pub links: BTreeMap<String, bool>,
    /// What those files hold that somebody read. An empty one masks.
    pub texts: BTreeMap<PathBuf, String>,
    /// What could not be read, a line each. A unit that is concerned counts as changed.
    pub problems: Vec<String>,
}

/// What a closure makes of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Definition {
    /// It has no such unit.
    Absent,
    /// It masks it.
    Masked,
    /// It has only drop-ins for it: the unit itself is the host's.
    DropIns(UnitFile),
    /// It has it: its file with all drop-ins merged.
    Whole(UnitFile),
    /// It has it, and nobody has read all of its files.
    Unread,
}

impl Definition {
    /// What is known of the file.
    #[must_use]
    pub fn file(&self) -> Option<&UnitFile> {
        match self {
            Self::DropIns(file) | Self::Whole(file) => Some(file),
            Self::Absent | Self::Masked | Self::Unread => None,
        }
    }

    /// Whether the closure brings the unit itself.
    #[must_use]
    pub fn is_there(&self) -> bool {
        matches!(self, Self::Whole(_) | Self::Unread)
    }
}

/// The files that make one unit: its own, then its drop-ins. Equal ones make equal units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files<'a> {
    /// Its own file, or its template's. None: the closure has none.
    pub own: Option<&'a Leads>,
    /// Its drop-ins in the order in which they count. None masks one of that name.
    pub drop_ins: BTreeMap<&'a str, &'a Leads>,
}

/// So many names of names a unit may have. They may lead in a circle.
const MAX_NAMES: usize = 8;

impl Units {
    /// Puts a name in.
    pub fn insert(&mut self, name: &str, leads: Leads) {
        if let Leads::Alias(other) = &leads {
            let names = self.aliases.entry(other.clone()).or_default();
            names.insert(name.to_owned());
        }
        self.files.insert(name.to_owned(), leads);
    }

    /// A unit's name with all its other names.
    fn names_of<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        let mut names = vec![name];
        let mut next = 0;
        while let Some(name) = names.get(next).copied() {
            next += 1;
            for other in self.aliases.get(name).into_iter().flatten() {
                if !names.contains(&other.as_str()) {
                    names.push(other);
                }
            }
        }
        names
    }

    /// The name under which the closure has the unit: aliases followed.
    #[must_use]
    pub fn canonical<'a>(&'a self, name: &'a str) -> &'a str {
        let mut name = name;
        for _ in 0..MAX_NAMES {
            match self.files.get(name) {
                Some(Leads::Alias(other)) => name = other,
                _ => break,
            }
        }
        name
    }

    /// The files that make a unit.
    #[must_use]
    pub fn files_of<'a>(&'a self, name: &'a str) -> Files<'a> {
        let own = self.files.get(name).or_else(|| {
            let template = template_of(name)?;
            self.files.get(self.canonical(&template))
        });
        let mut drop_ins = BTreeMap::new();
        for name in self.names_of(name) {
            for directory in directories(name) {
                for (file, leads) in self.drop_ins.get(&directory).into_iter().flatten() {
                    drop_ins.entry(file.as_str()).or_insert(leads);
                }
            }
        }
        Files { own, drop_ins }
    }

    /// What the closure makes of a name. An alias is to be followed before.
    #[must_use]
    pub fn definition(&self, name: &str) -> Definition {
        let files = self.files_of(name);
        let mut merged = UnitFile::default();
        let mut is_read = true;
        match files.own {
            None => {}
            Some(Leads::Nowhere | Leads::Alias(_)) => return Definition::Masked,
            Some(Leads::File(path)) => match self.texts.get(path) {
                Some(text) if text.is_empty() => return Definition::Masked,
                Some(text) => merged.add(text),
                None => is_read = false,
            },
        }
        let mut some = false;
        for leads in files.drop_ins.values() {
            match leads {
                Leads::File(path) => match self.texts.get(path) {
                    Some(text) => {
                        some |= !text.is_empty();
                        merged.add(text);
                    }
                    None => is_read = false,
                },
                Leads::Nowhere | Leads::Alias(_) => {}
            }
        }
        match files.own {
            _ if !is_read => Definition::Unread,
            Some(_) => Definition::Whole(merged),
            None if some => Definition::DropIns(merged),
            None => Definition::Absent,
        }
    }

    /// Whether an instance of a template is the closure's by drop-ins of its own, as NixOS makes them.
    #[must_use]
    pub fn has_instance_drop_ins(&self, name: &str) -> bool {
        let drop_ins = self.drop_ins.get(name).into_iter().flatten();
        let mut files = drop_ins.filter_map(|(_, leads)| match leads {
            Leads::File(path) => Some(path),
            Leads::Nowhere | Leads::Alias(_) => None,
        });
        files.any(|path| self.texts.get(path).is_none_or(|text| !text.is_empty()))
    }

    /// What a unit pulls in when it is started, under the names that the closure has it by: its directories, and what its
    /// file says as far as it was read.
    #[must_use]
    pub fn wants(&self, name: &str) -> BTreeSet<String> {
        let template = template_of(name);
        let directories = std::iter::once(name).chain(template.as_deref());
        let linked = directories.filter_map(|name| self.wanted.get(name));
        let mut wanted: BTreeSet<String> = linked
            .flatten()
            .map(|name| self.canonical(name).to_owned())
            .collect();
        if let Some(file) = self.definition(name).file() {
            for key in ["Wants", "Requires", "BindsTo", "Upholds"] {
                let words = file.words("Unit", key);
                wanted.extend(words.map(|word| self.canonical(word).to_owned()));
            }
        }
        wanted
    }
}

/// `foo@.service` of `foo@bar.service`.
#[must_use]
pub fn template_of(name: &str) -> Option<String> {
    let (prefix, rest) = name.split_once('@')?;
    let (instance, suffix) = rest.rsplit_once('.')?;
    (!instance.is_empty()).then(|| format!("{prefix}@.{suffix}"))
}

/// Whether this is a template, of which only instances can run.
#[must_use]
pub fn is_template(name: &str) -> bool {
    let rest = name.split_once('@').map(|(_, rest)| rest);
    rest.is_some_and(|rest| rest.starts_with('.') && rest.matches('.').count() == 1)
}

/// What kind of unit this is: `service`.
#[must_use]
pub fn kind(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, suffix)| suffix)
}

/// The names whose `.d` directories count for a unit, the nearest first (`systemd.unit(5)`).
fn directories(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    nearest(name, &mut found);
    found.push(kind(name).to_owned());
    let mut seen = BTreeSet::new();
    found.retain(|name| seen.insert(name.clone()));
    found
}

fn nearest(name: &str, found: &mut Vec<String>) {
    found.push(name.to_owned());
    if let Some(template) = template_of(name) {
        nearest(&template, found);
    }
    let Some((stem, suffix)) = name.rsplit_once('.') else {
        return;
    };
    let (prefix, instance) = match stem.split_once('@') {
        Some((prefix, instance)) => (prefix, Some(instance)),
        None => (stem, None),
    };
    // The dash at the end is the prefix's own.
    let shorter = prefix.strip_suffix('-').unwrap_or(prefix);
    if let Some((shorter, _)) = shorter.rsplit_once('-') {
        let next = match instance {
            Some(instance) if !instance.is_empty() => format!("{shorter}-@{instance}.{suffix}"),
            _ => format!("{shorter}-.{suffix}"),
        };
        nearest(&next, found);
    }
}

/// Lets `new` lead to the files of `old` where both hold the same: a closure that was built anew has its units under other
/// paths. After that only names differ that stand for something else. Files must have been read.
pub fn share(old: &Units, new: &mut Units) {
    let mut shared = BTreeSet::new();
    let mut one = |was: Option<&Leads>, is: &mut Leads| {
        if let (Some(Leads::File(was)), Leads::File(path)) = (was, &mut *is)
            && was != path
            && let (Some(text), Some(other)) = (old.texts.get(was), new.texts.get(path))
            && text == other
            && !tells_own_path(text)
        {
            shared.insert((was.clone(), text.clone()));
            path.clone_from(was);
        }
    };
    for (name, is) in &mut new.files {
        one(old.files.get(name), is);
    }
    for (name, files) in &mut new.drop_ins {
        let was = old.drop_ins.get(name);
        for (file, is) in files {
            one(was.and_then(|files| files.get(file)), is);
        }
    }
    new.texts.extend(shared);
}

/// Whether a unit may hang on where its file is: `%y` and `%Y` are that path and its directory (`systemd.unit(5)`).
fn tells_own_path(text: &str) -> bool {
    text.contains("%y") || text.contains("%Y")
}

/// The files that a plan must have the text of, of both closures: those of units that are not made of the same files on
/// both sides and of what hangs on them, those of the targets that run, and those of `also`.
#[must_use]
pub fn to_read(
    old: &Units,
    new: &Units,
    states: &States,
    also: &BTreeSet<String>,
) -> BTreeSet<PathBuf> {
    let known = states
        .keys()
        .chain(old.files.keys())
        .chain(new.files.keys());
    let known = known.chain(old.drop_ins.keys()).chain(new.drop_ins.keys());
    let mut names: BTreeSet<&str> = known
        .map(String::as_str)
        .filter(|name| differs(old, new, name))
        .collect();
    let mut todo: Vec<&str> = names.iter().copied().collect();
    while let Some(name) = todo.pop() {
        let Some(state) = states.get(name) else {
            continue;
        };
        for other in state.stops.union(&state.restarts) {
            if names.insert(other) {
                todo.push(other);
            }
        }
    }
    let targets = states
        .iter()
        .filter(|(name, state)| kind(name) == "target" && state.is_up());
    names.extend(targets.map(|(name, _)| name.as_str()));
    names.extend(also.iter().map(String::as_str));
    let wanted = |units: &Units| -> BTreeSet<String> {
        let up = states.iter().filter(|(_, state)| state.is_up());
        up.flat_map(|(name, _)| units.wants(name)).collect()
    };
    let (was, is) = (wanted(old), wanted(new));
    names.extend(is.difference(&was).map(String::as_str));
    let mut files = BTreeSet::new();
    for name in names {
        for units in [old, new] {
            let found = units.files_of(units.canonical(name));
            let leads = found.own.into_iter().chain(found.drop_ins.into_values());
            files.extend(leads.filter_map(|leads| match leads {
                Leads::File(path) => Some(path.clone()),
                Leads::Nowhere | Leads::Alias(_) => None,
            }));
        }
    }
    files
}

/// Whether a name is not made of the same files in both closures.
#[must_use]
pub fn differs(old: &Units, new: &Units, name: &str) -> bool {
    let (was, is) = (old.canonical(name), new.canonical(name));
    was != is || old.files_of(was) != new.files_of(is)
}
