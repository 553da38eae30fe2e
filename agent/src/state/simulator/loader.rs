//! Firmware and loader: what is started, and what becomes of what cannot be.

use boot_entries::Subject;
use boot_entries::entry::{EntryFile, Rank};
use boot_entries::generation::Generation;
use boot_entries::name::{ARMED, stem_of};
use boot_entries::plan::{self, Counter, Intent};
use boot_entries::step::Step;
use systemd_boot_model::{Entry, EntryName, Partition, ReleaseRange};

use super::super::reset::{Evidence, panic_of};
use super::super::{Standing, State};
use super::world::{Machine, Nature, Up, World};

/// What became of one run of the loader.
enum Run {
    Up,
    /// The kernel ended by itself, and the firmware begins anew.
    Reset,
    /// The entry could not be started.
    Failed {
        counted: bool,
    },
    Nothing,
}

impl World {
    /// Writes what the ledger says into the entries. Gives whether that could be done.
    pub(super) fn carry(&mut self) -> bool {
        self.carry_with(Counter::Stays)
    }

    pub(super) fn carry_with(&mut self, counter: Counter) -> bool {
        if self.read_only {
            return false;
        }
        let state = &self.state;
        let generations: Vec<Generation> = self
            .generations
            .iter()
            .map(|one| Generation {
                id: one.subject.generation.clone(),
                toplevel: one.subject.toplevel.clone(),
            })
            .collect();
        let intent = Intent {
            selected: state.selected.clone(),
            last_good: state.last_good().cloned(),
            standings: self
                .generations
                .iter()
                .map(|one| (one.subject.clone(), standing(state.standing(&one.subject))))
                .collect(),
            running: state.running().cloned(),
            second: state
                .proven
                .iter()
                .rev()
                .nth(1)
                .map(|good| good.subject.clone()),
            counter,
            ..Intent::default()
        };
        let steps = plan::verdict(&self.boot, &generations, &intent, &mut |_| true).unwrap();
        for step in steps {
            // The power fails in the middle: what was written stays.
            if self.may(1) {
                say!(self, "  the entries are written in part");
                return false;
            }
            match step {
                Step::Text { text, path, .. } => self.put(&path, text),
                Step::Remove { path, .. } => {
                    self.boot.entries.remove(name_of(&path));
                }
                Step::Copy { .. } => {}
            }
        }
        for name in self.boot.entries.keys() {
            let name = EntryName::parse(name).unwrap();
            let owner = self
                .generations
                .iter()
                .find(|one| stem_of(&one.subject) == name.stem);
            let is_bare = name.tries.is_none();
            if is_bare && owner.is_some_and(|one| !one.was_good) {
                self.wrong
                    .push(format!("{name} has no counter, and was never good"));
            }
        }
        true
    }

    fn put(&mut self, path: &str, text: String) {
        let name = name_of(path).to_owned();
        let file = EntryFile {
            on: Partition::Boot,
            name: EntryName::parse(&name).unwrap(),
            entry: Entry::parse(&text),
            text,
            has_program: true,
        };
        self.boot.entries.insert(name, file);
    }

    /// A generation gets an entry, where it has none.
    pub(super) fn write_entry(&mut self, at: usize) {
        let one = &self.generations[at];
        let stem = stem_of(&one.subject);
        if self.boot.files_of(&stem).next().is_some() {
            return;
        }
        let key = Rank::unselected(&one.subject.generation).sort_key();
        let closure = one.subject.toplevel.display();
        let entry = Entry::parse(&format!("title x\nlinux /k\noptions init={closure}/init\n"));
        let text = entry.text(Some(&key));
        let name = EntryName {
            stem,
            tries: Some(ARMED),
        };
        self.put(&name.to_string(), text);
    }

    /// From the firmware on, until something runs, or nobody goes on.
    pub(super) fn power_on(&mut self) {
        // A kernel that panics again and again uses its tries up. Where nothing else is there it goes on for ever.
        for _ in 0..12 {
            self.variables.boot_count_path = None;
            self.variables.selected = None;
            match self.firmware() {
                Run::Up => return,
                Run::Reset => {}
                Run::Failed { .. } | Run::Nothing => {
                    self.told.prompts += 1;
                    say!(self, "the firmware waits for a key");
                    self.machine = Machine::Prompt;
                    return;
                }
            }
        }
        self.machine = Machine::Off;
    }

    /// The firmware starts the loader, and once more if that comes back: in the same session, so that its variables
    /// stay. From 258 on a loader resets the machine by itself, if the entry was counted.
    fn firmware(&mut self) -> Run {
        let resets_itself = self.is_new();
        let mut last = Run::Nothing;
        for _ in 0..2 {
            last = self.load();
            match last {
                Run::Failed { counted: true } if resets_itself => return Run::Reset,
                Run::Failed { .. } => {}
                Run::Up | Run::Reset | Run::Nothing => return last,
            }
        }
        last
    }

    /// Whether the loader would start `subject` if the machine went down now.
    pub(super) fn comes_next(&self, subject: &Subject) -> bool {
        let mut variables = self.variables.clone();
        variables.boot_count_path = None;
        variables.selected = None;
        let mut loader = self.boot.loader(self.release, variables);
        loader.medium.read_only = self.read_only;
        loader
            .boot()
            .is_some_and(|choice| choice.name.stem == stem_of(subject))
    }

    fn load(&mut self) -> Run {
        let mut loader = self.boot.loader(self.release, self.variables.clone());
        loader.medium.read_only = self.read_only;
        let Some(choice) = loader.boot() else {
            return Run::Nothing;
        };
        self.variables = loader.variables.clone();
        // From the menu's file to what it is called now.
        let renamed = loader
            .entries
            .iter()
            .map(|listed| listed.file.clone())
            .find(|file| !self.boot.entries.contains_key(file));
        let counted = renamed.is_some();
        if let Some(after) = renamed {
            let mut file = self.boot.entries.remove(&choice.file).unwrap();
            file.name = EntryName::parse(&after).unwrap();
            self.variables.boot_count_path = Some(format!("\\loader\\entries\\{after}"));
            self.boot.entries.insert(after, file);
        }
        self.variables.selected = Some(if self.is_new() {
            choice.id.clone()
        } else {
            choice.file.clone()
        });
        let stem = choice.name.stem.clone();
        let at = self
            .generations
            .iter()
            .position(|one| stem_of(&one.subject) == stem)
            .unwrap();
        say!(self, "the loader starts {} ({})", choice.file, choice.why);
        self.start(at, true, counted)
    }

    /// The kernel of a generation is started.
    fn start(&mut self, at: usize, by_loader: bool, counted: bool) -> Run {
        let one = &self.generations[at];
        match one.nature {
            Nature::CannotStart => return Run::Failed { counted },
            _ if one.rotten => return Run::Failed { counted },
            Nature::Panics => {
                say!(self, "the kernel panics");
                // Nothing is recorded as long as no module for that is loaded.
                let panic = self.random.chance(50).then(|| panic_of(""));
                self.evidence = Evidence {
                    panic,
                    ..Evidence::default()
                };
                return Run::Reset;
            }
            _ => {}
        }
        self.told.boots += 1;
        let is_stale =
            self.variables.counted_file().is_none() && self.variables.last_counted_file().is_some();
        self.told.stale += u64::from(is_stale);
        self.number += 1;
        self.id = format!("boot-{}", self.number);
        self.machine = Machine::Up(Up {
            at,
            by_loader,
            counted,
            is_judged: false,
        });
        self.begin();
        Run::Up
    }

    /// Another kernel in the place of the one that runs: the loader's variables stay.
    pub(super) fn kexec_into(&mut self, at: usize) {
        match self.start(at, false, false) {
            Run::Up => {}
            Run::Reset | Run::Failed { .. } | Run::Nothing => self.power_on(),
        }
    }

    /// Somebody at the console chooses.
    pub(super) fn chooses_at_the_menu(&mut self) {
        let at = self.random.below(self.generations.len());
        let stem = stem_of(&self.generations[at].subject);
        let Some((name, _)) = self.boot.files_of(&stem).next() else {
            return;
        };
        let name = name.clone();
        say!(self, "somebody chooses {name} at the menu");
        self.end_on_record(super::super::reset::Way::Reboot);
        self.variables.one_shot = Some(if self.is_new() {
            format!("{stem}.conf")
        } else {
            name
        });
        self.power_on();
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

fn standing(standing: Standing) -> plan::Standing {
    match standing {
        Standing::Proven => plan::Standing::Proven,
        Standing::Rejected | Standing::Suspect => plan::Standing::Rejected,
        Standing::Untested | Standing::Trial => plan::Standing::Untested,
    }
}

impl World {
    /// Whether the loader resets the machine by itself, and knows ids without a counter.
    pub(super) fn is_new(&self) -> bool {
        self.release == ReleaseRange::V260_2
    }

    pub(super) fn exhausted(&self, state: &State) -> bool {
        let Some(selected) = &state.selected else {
            return false;
        };
        let stem = stem_of(selected);
        let mut tries = self.boot.files_of(&stem).map(|(_, file)| file.name.tries);
        tries.any(|tries| tries.is_some_and(|tries| tries.left == 0))
    }
}
