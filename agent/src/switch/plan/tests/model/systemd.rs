//! The small systemd.

use super::*;

/// One unit, as it runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Process {
    pub(super) up: bool,
    pub(super) failed: bool,
    /// The definition that it was started from, or was reloaded with.
    pub(super) from: UnitFile,
    pub(super) since: u64,
    /// For a socket: the address that is open.
    pub(super) listens: Option<String>,
}

/// PID 1.
#[derive(Debug, Clone, Default)]
pub(super) struct Systemd {
    /// What it has read.
    pub(super) loaded: Tree,
    pub(super) units: BTreeMap<String, Process>,
    pub(super) clock: u64,
    pub(super) read_at: u64,
    /// Processes that were stopped by another file's word than their own.
    pub(super) wrong_stops: Vec<String>,
    /// Jobs that it refused.
    pub(super) refused: Vec<String>,
}

impl Systemd {
    pub(super) fn boot(tree: &Tree) -> Self {
        let mut systemd = Self {
            loaded: tree.clone(),
            ..Self::default()
        };
        systemd.start("multi-user.target");
        systemd.refused.clear();
        systemd
    }

    pub(super) fn is_up(&self, name: &str) -> bool {
        self.units.get(name).is_some_and(|unit| unit.up)
    }

    pub(super) fn words(&self, name: &str, keys: &[&str]) -> BTreeSet<String> {
        let file = text_of(&self.loaded, name).unwrap_or_default();
        let words = keys.iter().flat_map(|key| file.words("Unit", key));
        words.map(str::to_owned).collect()
    }

    /// What goes down with `name`.
    pub(super) fn hanging(&self, name: &str) -> BTreeSet<String> {
        let keys = ["Requires", "BindsTo", "PartOf", "Requisite"];
        let all = universe().filter(|other| self.words(other, &keys).contains(name));
        all.map(str::to_owned).collect()
    }

    pub(super) fn all_hanging(&self, name: &str) -> Vec<String> {
        let mut found = vec![name.to_owned()];
        let mut done = 0;
        while let Some(next) = found.get(done).cloned() {
            done += 1;
            for other in self.hanging(&next) {
                if self.is_up(&other) && !found.contains(&other) {
                    found.push(other);
                }
            }
        }
        found
    }

    pub(super) fn down(&mut self, name: &str) {
        let loaded = text_of(&self.loaded, name).unwrap_or_default();
        let unit = self.units.entry(name.to_owned()).or_default();
        let word = |file: &UnitFile| file.values("Service", "ExecStop").to_vec();
        if unit.up && word(&unit.from) != word(&loaded) {
            self.wrong_stops.push(name.to_owned());
        }
        unit.up = false;
        unit.listens = None;
    }

    pub(super) fn stop(&mut self, name: &str) {
        for unit in self.all_hanging(name) {
            self.down(&unit);
        }
    }

    /// What a start of `name` brings into one transaction. None: something that it requires is not there.
    pub(super) fn transaction(&self, name: &str) -> Option<BTreeSet<String>> {
        text_of(&self.loaded, name)?;
        let mut all = BTreeSet::from([name.to_owned()]);
        for needed in self.words(name, &["Requires", "BindsTo"]) {
            all.append(&mut self.transaction(&needed)?);
        }
        for wanted in self.words(name, &["Wants"]) {
            all.append(&mut self.transaction(&wanted).unwrap_or_default());
        }
        Some(all)
    }

    /// A start with all that it pulls in, sockets first and targets last.
    pub(super) fn start(&mut self, name: &str) {
        let all = self.transaction(name).unwrap_or_default();
        let order = SOCKETS.into_iter().chain(SERVICES).chain(TARGETS);
        for unit in order.filter(|unit| all.contains(*unit)) {
            let needs = self.words(unit, &["Requires", "BindsTo", "Requisite"]);
            let is_met = needs.iter().all(|unit| self.is_up(unit));
            if !is_met || !self.start_alone(unit) {
                self.refused.push(unit.to_owned());
            }
        }
        if all.is_empty() {
            self.refused.push(name.to_owned());
        }
    }

    pub(super) fn start_alone(&mut self, name: &str) -> bool {
        let Some(file) = text_of(&self.loaded, name) else {
            return false;
        };
        let is_socket = name.ends_with(".socket");
        if self.is_up(name) {
            return true;
        }
        if is_socket && self.is_up(&service_of(name)) {
            return false;
        }
        self.clock += 1;
        let process = Process {
            up: true,
            failed: false,
            listens: file.last("Socket", "ListenStream").map(str::to_owned),
            from: file,
            since: self.clock,
        };
        self.units.insert(name.to_owned(), process);
        true
    }

    pub(super) fn restart(&mut self, name: &str) {
        let hanging = self.all_hanging(name);
        let is_held = name.ends_with(".socket") && self.is_up(&service_of(name));
        for unit in &hanging {
            self.down(unit);
        }
        if is_held {
            self.refused.push(name.to_owned());
            return;
        }
        self.start(name);
        let order = SOCKETS.into_iter().chain(SERVICES).chain(TARGETS);
        for unit in order.filter(|unit| *unit != name && hanging.iter().any(|one| one == unit)) {
            let needs = self.words(unit, &["Requires", "BindsTo", "Requisite"]);
            if needs.iter().all(|unit| self.is_up(unit)) {
                self.start_alone(unit);
            }
        }
    }

    pub(super) fn reload_unit(&mut self, name: &str) {
        let Some(file) = text_of(&self.loaded, name) else {
            return;
        };
        match self.units.get_mut(name) {
            Some(unit) if unit.up && !file.values("Service", "ExecReload").is_empty() => {
                unit.from = file;
            }
            _ => self.refused.push(format!("reload of {name}")),
        }
    }

    /// Reads another tree. What runs goes on; a socket whose address changed is closed, and nothing is opened.
    pub(super) fn daemon_reload(&mut self, tree: &Tree) {
        self.loaded = tree.clone();
        self.read_at = self.clock;
        for (name, unit) in &mut self.units {
            let says = text_of(tree, name);
            let says = says.and_then(|file| file.last("Socket", "ListenStream").map(str::to_owned));
            if says.is_some() && unit.listens != says {
                unit.listens = None;
            }
        }
    }

    /// The plan, phase by phase.
    pub(super) fn walk(&mut self, plan: &Plan, tree: &Tree) {
        for unit in plan.stop.keys() {
            self.stop(unit);
        }
        self.daemon_reload(tree);
        for unit in plan.reload.keys() {
            self.reload_unit(unit);
        }
        for step in plan.up.iter().chain(&plan.last) {
            match step.job {
                Job::Stop => self.stop(&step.unit),
                Job::Restart => self.restart(&step.unit),
                Job::Start => self.start(&step.unit),
                Job::StartAlone => {
                    self.start_alone(&step.unit);
                }
            }
        }
    }

    pub(super) fn states(&self) -> BTreeMap<String, State> {
        let mut states = BTreeMap::new();
        for name in universe() {
            let unit = self.units.get(name).cloned().unwrap_or_default();
            if !unit.up && !unit.failed && !self.loaded.contains_key(file_of(name)) {
                continue;
            }
            let hanging = self.hanging(name);
            let active = match (unit.up, unit.failed) {
                (true, _) => Active::Active,
                (_, true) => Active::Failed,
                _ => Active::Inactive,
            };
            let mut state = State {
                active,
                since: unit.since,
                fragment: format!("/etc/systemd/system/{}", file_of(name)),
                names: BTreeSet::from([name.to_owned()]),
                stops: hanging.clone(),
                restarts: hanging,
                ..State::default()
            };
            let is_there = |name: &str| text_of(&self.loaded, name).is_some();
            if name.ends_with(".socket") && is_there(name) {
                state.triggers.insert(service_of(name));
            }
            let socket = name.replace(".service", ".socket");
            if SOCKETS.contains(&socket.as_str()) && socket != name && is_there(&socket) {
                state.triggered_by.insert(socket);
            }
            states.insert(name.to_owned(), state);
        }
        states
    }
}
