//! Sockets, and the services that they start.
//!
//! A reload closes a socket whose addresses changed, and opens nothing. A socket whose service runs can be neither started
//! nor restarted. So these two go down and up together, before the reload and after it.

use super::Job;
use super::planner::{Planner, attributes};
use super::running::Running;
use crate::switch::compare::Difference;
use crate::switch::set::{Definition, kind};

impl Planner<'_> {
    /// The stop of a changed service before the reload, and its start after it. Its sockets go with it: a connection in
    /// between would start it from its old definition.
    pub(super) fn stop_and_start(&mut self, unit: &Running, why: &str) {
        let sockets = sockets_of(unit);
        let carries = |socket: &String| {
            let state = self.given.states.get(socket);
            state.is_some_and(|state| state.is_up() && state.carries_session)
        };
        if sockets.iter().any(carries) {
            self.carry(unit.name, why);
            return;
        }
        let mut has_socket = false;
        for socket in sockets {
            let is_there = self.new_definition(&socket).is_there();
            if self.is_up(&socket) {
                let why = format!("it belongs to {}", unit.id);
                self.stop(&socket, &why);
                if is_there {
                    self.start(self.given.new.canonical(&socket), &why);
                    has_socket = true;
                }
            } else if self.start.contains_key(&socket) {
                has_socket = true;
            }
        }
        self.stop(unit.id, why);
        self.after_socket(unit.id, unit.name, has_socket, why);
    }

    /// A service that is stopped comes up, or waits for its socket.
    fn after_socket(&mut self, id: &str, name: &str, has_socket: bool, why: &str) {
        let says = attributes(&self.new_definition(name));
        let starts = !has_socket
            || says.not_socket_activated
            || self.wanted.contains(name)
            || self.given.before.is_some();
        if starts {
            self.start(name, why);
        } else {
            self.left_to_socket.insert(id.to_owned());
        }
    }

    /// A running socket whose file changed.
    pub(super) fn changed_socket(
        &mut self,
        unit: &Running,
        why: &str,
        difference: Option<&Difference>,
    ) {
        let says = attributes(unit.new);
        if let Some(forbids) = says.forbids_restart() {
            self.skip(unit.id, forbids);
            return;
        }
        if unit.state.refuses_stop {
            self.skip(unit.id, "RefuseManualStop=true");
            return;
        }
        let closes = difference.is_none_or(|difference| {
            let mut keys = difference.keys.keys();
            keys.any(|(section, key)| section == "Socket" && key.starts_with("Listen"))
        });
        let services = self.services_of(unit);
        if !closes {
            if !unit.is_from_before {
                self.later.push((unit.id.to_owned(), why.to_owned()));
            }
            return;
        }
        for service in &services {
            if let Some(forbids) = self.forbids_stop(service) {
                let why = format!(
                    "{why}, and {service} says {forbids}: the new address is there when both have been stopped and started"
                );
                self.skip(unit.id, &why);
                return;
            }
        }
        let carries = |name: &str| {
            let state = self.given.states.get(name);
            state.is_some_and(|state| state.carries_session)
        };
        if unit.state.carries_session || services.iter().any(|service| carries(service)) {
            for service in &services {
                self.last(
                    service,
                    Job::Stop,
                    &format!("it is in the way of {}", unit.name),
                );
            }
            self.carry(unit.name, why);
            for service in &services {
                let name = self.given.new.canonical(service).to_owned();
                self.last(
                    &name,
                    Job::Start,
                    &format!("it was stopped for {}", unit.name),
                );
            }
            return;
        }
        self.stop(unit.id, why);
        self.start(unit.name, why);
        for service in &services {
            let why = format!("{} has other addresses", unit.name);
            if !self.plan.stop.contains_key(service) {
                self.stop(service, &why);
            }
            let name = self.given.new.canonical(service).to_owned();
            if *self.new_definition(&name) != Definition::Absent
                || *self.old_definition(service) == Definition::Absent
            {
                self.after_socket(service, &name, true, &why);
            }
        }
    }

    /// The running services that hold a socket's file descriptor. One that has an instance for each connection has none.
    fn services_of(&self, socket: &Running) -> Vec<String> {
        let accepts = |definition: &Definition| {
            let file = definition.file();
            file.is_some_and(|file| file.flag("Socket", "Accept", false))
        };
        if accepts(socket.old) {
            return Vec::new();
        }
        let services = socket.state.triggers.iter();
        services.filter(|name| self.is_up(name)).cloned().collect()
    }

    /// Why a running service must not be stopped for the sake of its socket.
    fn forbids_stop(&self, service: &str) -> Option<&'static str> {
        let state = self.given.states.get(service)?;
        let says = attributes(&self.new_definition(service));
        if state.refuses_stop {
            Some("RefuseManualStop=true")
        } else if self.plan.stop.contains_key(service) {
            None
        } else if says.reload_if_changed {
            Some("X-ReloadIfChanged=true")
        } else {
            says.forbids_restart()
        }
    }

    /// Sockets that can come up only when their service is down.
    pub(super) fn make_way(&mut self) {
        for (socket, why) in std::mem::take(&mut self.later) {
            let state = self.given.states.get(&socket).cloned().unwrap_or_default();
            let (old, new) = (self.old_definition(&socket), self.new_definition(&socket));
            let name = self.given.new.canonical(&socket).to_owned();
            let unit = Running {
                id: &socket,
                name: &name,
                state: &state,
                old: &old,
                new: &new,
                is_from_before: false,
                was_reloaded: false,
            };
            let services = self.services_of(&unit);
            let stays = services
                .iter()
                .find(|service| !self.plan.stop.contains_key(*service));
            if let Some(service) = stays {
                self.skip(
                    &socket,
                    &format!("{why}: it keeps its old settings while {service} runs"),
                );
            } else if services.is_empty() {
                self.restart(&name, &state, &why);
            } else {
                self.stop(&socket, &why);
                self.start(&name, &why);
            }
        }
        let new: Vec<String> = self.start.keys().cloned().collect();
        for socket in new.iter().filter(|name| kind(name) == "socket") {
            let Some(service) = self.service_of_new(socket) else {
                continue;
            };
            if !self.is_up(&service) || self.plan.stop.contains_key(&service) {
                continue;
            }
            let carries = self
                .given
                .states
                .get(&service)
                .is_some_and(|state| state.carries_session);
            let forbids = if carries {
                Some("this session hangs on it")
            } else {
                self.forbids_stop(&service)
            };
            if let Some(forbids) = forbids {
                self.start.remove(socket);
                self.skip(
                    socket,
                    &format!("{service} runs, and must not be stopped for it: {forbids}"),
                );
                continue;
            }
            let why = format!("it makes way for {socket}");
            self.stop(&service, &why);
            self.restart.remove(&service);
            let name = self.given.new.canonical(&service).to_owned();
            if self.new_definition(&name).is_there() {
                self.after_socket(&service, &name, true, &why);
            }
        }
    }

    /// The service that a socket of the new closure starts as a whole.
    fn service_of_new(&self, socket: &str) -> Option<String> {
        let definition = self.new_definition(socket);
        let file = definition.file()?;
        if file.flag("Socket", "Accept", false) {
            return None;
        }
        let named = file.last("Socket", "Service").map(str::to_owned);
        let service =
            named.or_else(|| Some(format!("{}.service", socket.strip_suffix(".socket")?)))?;
        Some(self.given.new.canonical(&service).to_owned())
    }
}

/// The sockets that may start a service, in the old closure or the new one.
fn sockets_of(service: &Running) -> Vec<String> {
    let mut sockets: Vec<String> = service.state.triggered_by.iter().cloned().collect();
    if let Some(file) = service.new.file() {
        sockets.extend(file.words("Service", "Sockets").map(str::to_owned));
    }
    let stem = service.name.rsplit_once('.').map_or("", |(stem, _)| stem);
    let stem = stem.split_once('@').map_or(stem, |(prefix, _)| prefix);
    sockets.push(format!("{stem}.socket"));
    sockets.retain(|name| kind(name) == "socket");
    sockets.sort();
    sockets.dedup();
    sockets
}
