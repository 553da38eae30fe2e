//! Who is to listen on which TCP address after a switch, of those who did before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::system::listening::{self, Listening};

/// Who is to listen where, after a switch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Expected(pub(super) BTreeMap<SocketAddr, String>);

impl Expected {
    /// Of what listened `before`, what is to go on: that of the services' `main` processes. What their children listen on
    /// comes and goes (a container's port, a passive connection), and so does what is a user's.
    pub(super) fn of(before: &Listening, main: &BTreeMap<String, u64>) -> Self {
        let is_main = |(pid, unit): &&(u64, String)| {
            unit.ends_with(".service") && !unit.starts_with("user@") && main.get(unit) == Some(pid)
        };
        let owned = before.iter().filter_map(|(address, owners)| {
            let (_, unit) = owners.iter().find(is_main)?;
            Some((*address, unit.clone()))
        });
        Self(owned.collect())
    }

    /// Without that of units which are changed, or stopped for good: what they listen on now is the closure's affair.
    pub(super) fn without(mut self, changed: &BTreeSet<String>) -> Self {
        self.0.retain(|_, unit| !changed.contains(unit));
        self
    }

    /// Of these the addresses on which nobody listens now.
    pub(super) fn missing(&self) -> BTreeMap<SocketAddr, String> {
        if self.0.is_empty() {
            return BTreeMap::new();
        }
        let now = listening::addresses();
        let is_missing = |(address, _): &(&SocketAddr, &String)| !now.contains(*address);
        let missing = self.0.iter().filter(is_missing);
        missing
            .map(|(address, unit)| (*address, unit.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_not_changed_is_to_go_on_listening() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let owner = |pid, unit: &str| (pid, unit.to_owned());
        let before = Listening::from([
            (
                address(1),
                vec![owner(11, "web.service"), owner(10, "web.service")],
            ),
            (address(2), vec![owner(20, "db.service")]),
            (address(3), vec![owner(30, "session-1.scope")]),
            (address(4), vec![]),
            (address(5), vec![owner(41, "docker.service")]),
            (address(6), vec![owner(50, "user@1000.service")]),
        ]);
        let main = [
            ("web.service", 10),
            ("db.service", 20),
            ("docker.service", 40),
            ("user@1000.service", 50),
        ];
        let main = main.map(|(unit, pid)| (unit.to_owned(), pid)).into();
        let changed = BTreeSet::from(["db.service".to_owned()]);
        let expected = Expected::of(&before, &main).without(&changed);
        assert_eq!(
            expected.0,
            BTreeMap::from([(address(1), "web.service".to_owned())])
        );
        assert_eq!(expected.missing().len(), 1);
    }
}
