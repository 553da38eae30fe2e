//! FAT directories, slot by slot, as Linux and as firmware fill them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::durable;
use crate::name::OurName as _;
use crate::space::{Directory, SLOT, Volume, slots};
use crate::step::{self, Step};
use systemd_boot_model::{ENTRIES, EntryName, Partition, Tries};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Cell {
    Never,
    Removed,
    Taken(String),
}

#[derive(Debug, Clone)]
pub(super) struct Fat {
    cluster: u64,
    /// Below zero: something would have failed.
    pub(super) free: i64,
    directories: BTreeMap<String, Vec<Cell>>,
    files: BTreeMap<String, u64>,
}

fn signed(number: u64) -> i64 {
    number.try_into().unwrap()
}

impl Fat {
    pub(super) fn new(cluster: u64) -> Self {
        let mut fat = Self {
            cluster,
            free: 0,
            directories: BTreeMap::new(),
            files: BTreeMap::new(),
        };
        fat.directories.insert(String::new(), Vec::new());
        fat
    }

    /// The root has `count` slots from the start.
    pub(super) fn directories_of_root(&mut self, count: usize) {
        let root = vec![Cell::Never; count];
        self.directories.insert(String::new(), root);
    }

    pub(super) fn volume(&self, free: u64) -> Volume {
        let directories = self.directories.iter().map(|(path, cells)| {
            let names = cells.iter().filter_map(|cell| match cell {
                Cell::Taken(name) if name != "." => Some(name.clone()),
                _ => None,
            });
            let directory = Directory {
                size: cells.len() as u64 * SLOT,
                names: names.collect(),
            };
            (path.clone(), directory)
        });
        Volume {
            free,
            cluster: self.cluster,
            directories: directories.collect(),
            files: self.files.clone(),
        }
    }

    fn clusters(&self, bytes: u64) -> i64 {
        signed(bytes.div_ceil(self.cluster))
    }

    /// Appends clusters to a directory until it has `wanted` slots.
    fn grow(&mut self, path: &str, wanted: usize) {
        let each = usize::try_from(self.cluster / SLOT).unwrap();
        let cells = self.directories.get_mut(path).unwrap();
        while cells.len() < wanted {
            cells.extend(vec![Cell::Never; each]);
            self.free -= 1;
        }
    }

    fn fill(&mut self, path: &str, at: usize, name: &str) {
        let count = usize::try_from(slots(name)).unwrap();
        self.grow(path, at + count);
        let cells = self.directories.get_mut(path).unwrap();
        cells[at..at + count].fill(Cell::Taken(name.to_owned()));
    }

    /// The first run of free slots that is long enough.
    fn linux_adds(&mut self, path: &str, name: &str) {
        let count = usize::try_from(slots(name)).unwrap();
        let cells = &self.directories[path];
        let is_run = |at: &usize| {
            let run = cells.iter().skip(*at).take(count);
            run.into_iter().all(|cell| !matches!(cell, Cell::Taken(_)))
        };
        let at = (0..=cells.len()).find(is_run).unwrap();
        self.fill(path, at, name);
    }

    /// After the last name there ever was.
    fn firmware_adds(&mut self, path: &str, name: &str) {
        let cells = &self.directories[path];
        let last = cells.iter().rposition(|cell| *cell != Cell::Never);
        self.fill(path, last.map_or(0, |last| last + 1), name);
    }

    fn has(&self, path: &str, name: &str) -> bool {
        let taken = Cell::Taken(name.to_owned());
        self.directories
            .get(path)
            .is_some_and(|cells| cells.contains(&taken))
    }

    fn drop_name(&mut self, path: &str, name: &str) {
        for cell in self.directories.get_mut(path).into_iter().flatten() {
            if matches!(cell, Cell::Taken(taken) if taken == name) {
                *cell = Cell::Removed;
            }
        }
    }

    fn make_directory(&mut self, path: &str) {
        if self.directories.contains_key(path) {
            return;
        }
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.make_directory(above);
        self.directories.insert(path.to_owned(), Vec::new());
        self.fill(path, 0, ".");
        self.linux_adds(above, name);
    }

    /// Makes steps as the writer does; `instant` sees every moment at which the power may go, and in which step that
    /// is.
    pub(super) fn make_all(&mut self, steps: &[Step], instant: &mut impl FnMut(&Self, &Step)) {
        let there = self.files.clone();
        for piece in step::pieces(steps, |step| there.contains_key(step.path())) {
            for steps in piece.together() {
                for half in [Self::begin, Self::finish] {
                    for step in steps {
                        half(self, step, &mut |fat| instant(fat, step));
                    }
                }
            }
        }
    }

    /// The same for a single one.
    pub(super) fn make(&mut self, step: &Step) {
        self.make_all(std::slice::from_ref(step), &mut |_, _| ());
    }

    fn begin(&mut self, step: &Step, instant: &mut dyn FnMut(&Self)) {
        let path = step.path();
        let (directory, name) = path.rsplit_once('/').unwrap();
        if matches!(step, Step::Remove { .. }) {
            self.drop_name(directory, name);
            let size = self.files.remove(path).unwrap_or_default();
            self.free += self.clusters(size);
            return instant(self);
        }
        self.make_directory(directory);
        instant(self);
        let part = durable::part_name(Path::new(path));
        if !self.has(directory, &part) {
            self.linux_adds(directory, &part);
        }
        instant(self);
        self.free -= self.clusters(step.bytes());
        instant(self);
    }

    fn finish(&mut self, step: &Step, instant: &mut dyn FnMut(&Self)) {
        if matches!(step, Step::Remove { .. }) {
            return;
        }
        let path = step.path();
        let (directory, name) = path.rsplit_once('/').unwrap();
        let part = durable::part_name(Path::new(path));
        if !self.has(directory, name) {
            self.linux_adds(directory, name);
        }
        instant(self);
        let old = self.files.insert(path.to_owned(), step.bytes());
        self.drop_name(directory, &part);
        self.free += self.clusters(old.unwrap_or_default());
        instant(self);
    }

    fn entries(&self) -> Vec<String> {
        let paths = self.files.keys();
        let prefix = format!("{ENTRIES}/");
        paths
            .filter_map(|path| path.strip_prefix(&prefix).map(str::to_owned))
            .collect()
    }

    /// The loader renames the entry called `name`.
    pub(super) fn count(&mut self, name: &str) -> String {
        let mut counted = EntryName::parse(name).unwrap();
        counted.tries = counted.tries.map(Tries::after_a_boot);
        let counted = counted.to_string();
        let size = self.files.remove(&format!("{ENTRIES}/{name}")).unwrap();
        self.files.insert(format!("{ENTRIES}/{counted}"), size);
        self.drop_name(ENTRIES, name);
        self.firmware_adds(ENTRIES, &counted);
        counted
    }

    /// Everything fails to boot as often as it may, then two entries are written under other names, and a third one
    /// is replaced.
    pub(super) fn disaster(&self) -> Self {
        let mut fat = self.clone();
        for mut name in fat.entries() {
            let tries = EntryName::parse(&name).unwrap().tries;
            for _ in 0..tries.map_or(0, |tries| tries.left.max(1)) {
                name = fat.count(&name);
            }
        }
        let ours = |name: &String| EntryName::parse(name).unwrap().is_ours();
        let mut names: Vec<String> = fat.entries().into_iter().filter(ours).collect();
        let largest = names
            .iter()
            .map(|name| fat.files[&format!("{ENTRIES}/{name}")]);
        let text = "x".repeat(usize::try_from(largest.max().unwrap_or_default()).unwrap());
        names.truncate(1);
        for name in names {
            let other = |tries: &str| name.replace(&name[name.find(['+', '.']).unwrap()..], tries);
            let mut least = fat.free;
            for tries in ["+9-9.conf", "+8-8.conf", "+9-9.conf"] {
                let path = format!("{ENTRIES}/{}", other(tries));
                let text = text.clone();
                let step = Step::Text {
                    text,
                    on: Partition::Boot,
                    path,
                };
                fat.make_all(&[step], &mut |fat, _| least = least.min(fat.free));
            }
            fat.free = least;
        }
        fat
    }
}
