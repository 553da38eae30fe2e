//! What differs between two closures: a total function of what is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use super::packages::Packages;

/// What one closure has, as far as it is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The packages of everything that it needs. None: they are not known.
    pub packages: Option<Packages>,
    /// Its units, drop-ins and the links that ask for them, by their paths below the directory of units.
    pub units: Files,
    /// Its `/etc`, without the units.
    pub etc: Files,
    /// What nftables is given for its firewall.
    pub firewall: Firewall,
    /// What a boot is made of, by what it is: kernel, initrd and so on.
    pub boot: BTreeMap<&'static str, Part>,
    /// The kernel's parameters, in their order.
    pub parameters: Vec<String>,
    /// What its lastgood.toml says, by key.
    pub config: BTreeMap<String, String>,
}

/// Files by path.
pub type Files = BTreeMap<String, File>;

/// A file, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it is: what is at one place of the store is one thing.
    pub place: PathBuf,
    /// What is in it. None: it was not read, because it is too large or cannot be.
    pub content: Option<Content>,
    /// Mode and owner, where the closure asks for them, in words.
    pub attributes: Vec<String>,
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Of all of it.
    pub digest: String,
    /// Of all of it but the hashes of store paths.
    pub digest_of_rest: String,
}

/// What nftables is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Firewall {
    /// The ruleset, without blank lines.
    pub lines: Vec<String>,
    /// Of that and all that it includes.
    pub digest: String,
}

/// A part of a boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What people call it, where it has a name.
    pub name: String,
    /// Where it is. What is no file has none.
    pub place: Option<PathBuf>,
}

/// What became of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is another one.
    Changed,
}

impl Change {
    /// For people.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Added => "+",
            Self::Removed => "-",
            Self::Changed => "~",
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// What became of it.
    pub change: Change,
    /// What it is about.
    pub name: String,
    /// What was, as far as that says more than the name.
    pub from: Vec<String>,
    /// What is.
    pub to: Vec<String>,
    /// Only the hashes in store paths differ: what it needs was built anew.
    pub only_store_paths: bool,
}

impl Difference {
    fn new(change: Change, name: impl Into<String>) -> Self {
        Self {
            change,
            name: name.into(),
            from: Vec::new(),
            to: Vec::new(),
            only_store_paths: false,
        }
    }

    fn between(name: &str, from: Option<Vec<String>>, to: Option<Vec<String>>) -> Self {
        let change = match (&from, &to) {
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
            _ => Change::Changed,
        };
        Self {
            from: from.unwrap_or_default(),
            to: to.unwrap_or_default(),
            ..Self::new(change, name)
        }
    }
}

/// All differences, each list sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Differences {
    /// By name; `from` and `to` are versions. A package may have several, and none.
    pub packages: Vec<Difference>,
    /// Unit files.
    pub units: Vec<Difference>,
    /// Files of `/etc`; `from` and `to` are modes and owners.
    pub etc: Vec<Difference>,
    /// Lines of the ruleset.
    pub firewall: Vec<Difference>,
    /// Kernel, initrd and so on; `from` and `to` are versions or paths.
    pub boot: Vec<Difference>,
    /// The kernel's parameters.
    pub parameters: Vec<Difference>,
    /// Keys of lastgood.toml; `from` and `to` are values.
    pub config: Vec<Difference>,
}

impl Differences {
    /// What they are about, and what they are.
    pub fn sections(&self) -> impl Iterator<Item = (&'static str, &[Difference])> {
        [
            ("packages", &*self.packages),
            ("units", &*self.units),
            ("/etc", &*self.etc),
            ("firewall", &*self.firewall),
            ("boot", &*self.boot),
            ("kernel parameters", &*self.parameters),
            ("lastgood.toml", &*self.config),
        ]
        .into_iter()
    }
}

/// What differs.
#[must_use]
pub fn differences(from: &Contents, to: &Contents) -> Differences {
    Differences {
        packages: match (&from.packages, &to.packages) {
            (Some(from), Some(to)) => packages(from, to),
            _ => Vec::new(),
        },
        units: files(&from.units, &to.units),
        etc: files(&from.etc, &to.etc),
        firewall: firewall(&from.firewall, &to.firewall),
        boot: boot(&from.boot, &to.boot),
        parameters: lines(&from.parameters, &to.parameters, "their order"),
        config: config(&from.config, &to.config),
    }
}

/// The names of both, each once.
fn names<'a, K: Ord, V>(from: &'a BTreeMap<K, V>, to: &'a BTreeMap<K, V>) -> BTreeSet<&'a K> {
    from.keys().chain(to.keys()).collect()
}

fn packages(from: &Packages, to: &Packages) -> Vec<Difference> {
    let none = BTreeSet::new();
    let differs = |name: &&String| from.get(*name) != to.get(*name);
    let difference = |name: &String| {
        let versions = |packages: &Packages, others: &Packages| {
            let all = packages.get(name)?;
            let others = others.get(name).unwrap_or(&none);
            Some(all.difference(others).cloned().collect())
        };
        Difference::between(name, versions(from, to), versions(to, from))
    };
    let names = names(from, to).into_iter();
    names.filter(differs).map(difference).collect()
}

fn files(from: &Files, to: &Files) -> Vec<Difference> {
    let names = names(from, to).into_iter();
    names
        .filter_map(|name| match (from.get(name), to.get(name)) {
            (Some(from), Some(to)) => changed(name, from, to),
            (None, Some(to)) => Some(Difference::between(name, None, Some(to.attributes.clone()))),
            (from, None) => {
                let attributes = from.map(|from| from.attributes.clone());
                Some(Difference::between(name, attributes, None))
            }
        })
        .collect()
}

fn changed(name: &str, from: &File, to: &File) -> Option<Difference> {
    let digests = from.content.as_ref().zip(to.content.as_ref());
    let has_same_content =
        from.place == to.place || digests.is_some_and(|(from, to)| from.digest == to.digest);
    let has_same_attributes = from.attributes == to.attributes;
    if has_same_content && has_same_attributes {
        return None;
    }
    let has_same_rest = digests.is_some_and(|(from, to)| from.digest_of_rest == to.digest_of_rest);
    let attributes = |file: &File| {
        let all = if has_same_attributes {
            &[]
        } else {
            &*file.attributes
        };
        all.to_vec()
    };
    Some(Difference {
        from: attributes(from),
        to: attributes(to),
        only_store_paths: !has_same_content && has_same_rest && has_same_attributes,
        ..Difference::new(Change::Changed, name)
    })
}

fn firewall(from: &Firewall, to: &Firewall) -> Vec<Difference> {
    let lines = lines(&from.lines, &to.lines, "the order of its lines");
    if lines.is_empty() && from.digest != to.digest {
        return vec![Difference::new(
            Change::Changed,
            "a file that the ruleset includes",
        )];
    }
    lines
}

/// What only one of them has, each as often as it has it more: first what goes, then what comes. Both stay in the order
/// that they are written in, because a ruleset that is sorted cannot be read.
fn lines(from: &[String], to: &[String], order: &str) -> Vec<Difference> {
    let mut all = more_of(from, to, Change::Removed);
    all.extend(more_of(to, from, Change::Added));
    if all.is_empty() && from != to {
        all.push(Difference::new(Change::Changed, order));
    }
    all
}

/// What `lines` has that `other` has not as well. Of equal ones it is the last that are too many.
fn more_of(lines: &[String], other: &[String], change: Change) -> Vec<Difference> {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for line in other {
        *left.entry(line).or_default() += 1;
    }
    let is_more = |line: &&String| match left.get_mut(line.as_str()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    let more = lines.iter().filter(is_more);
    more.map(|line| Difference::new(change, line)).collect()
}

fn boot(from: &BTreeMap<&'static str, Part>, to: &BTreeMap<&'static str, Part>) -> Vec<Difference> {
    let differs = |what: &&&'static str| from.get(**what) != to.get(**what);
    let difference = |what: &&'static str| {
        let (from, to) = (from.get(what), to.get(what));
        // What both call the same is told apart by where it is.
        let by_place = from.map(|part| &part.name) == to.map(|part| &part.name);
        let shown = |part: &Part| match &part.place {
            Some(place) if by_place || part.name.is_empty() => vec![place.display().to_string()],
            _ => vec![part.name.clone()],
        };
        Difference::between(what, from.map(shown), to.map(shown))
    };
    let names = names(from, to).into_iter();
    names.filter(differs).map(difference).collect()
}

fn config(from: &BTreeMap<String, String>, to: &BTreeMap<String, String>) -> Vec<Difference> {
    let differs = |key: &&String| from.get(*key) != to.get(*key);
    let difference = |key: &String| {
        let value = |all: &BTreeMap<String, String>| all.get(key).map(|value| vec![value.clone()]);
        Difference::between(key, value(from), value(to))
    };
    let names = names(from, to).into_iter();
    names.filter(differs).map(difference).collect()
}

#[cfg(test)]
mod tests;
