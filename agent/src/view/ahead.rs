//! Generations that a profile has, and that nobody has asked to boot.

use std::collections::{BTreeMap, BTreeSet};

use boot_entries::GenerationId;
use boot_entries::generation::Generation;
use boot_entries::name::stem_of;

use super::View;
use crate::state::{Event, Standing, Subject};

impl View {
    /// What the profile of the selected generation points at, if that is newer and nobody has selected it: it was
    /// built, or set, and no more.
    #[must_use]
    pub fn ahead(&self) -> Option<Subject> {
        let selected = self.state.selected.as_ref()?;
        let is_newer = |id: &&GenerationId| {
            id.profile() == selected.generation.profile()
                && id.number() > selected.generation.number()
        };
        let current = self.profiles.current.iter().find(is_newer)?;
        let subject = self.listed.iter().find(|one| one.id == *current)?.subject();
        let is_open = matches!(
            self.state.standing(&subject),
            Standing::Untested | Standing::Trial | Standing::Suspect
        );
        (is_open && subject.toplevel != selected.toplevel).then_some(subject)
    }

    /// The generations that are newer than every one of their profile that was ever to be booted: they were built, and
    /// no boot needs their entries. `names` are those of the entries that are there.
    #[must_use]
    pub fn only_built(&self, names: &BTreeSet<String>) -> BTreeSet<Subject> {
        let selected = self
            .ledger
            .records
            .iter()
            .filter_map(|record| match &record.event {
                Event::Selected { subject, .. } => Some(&subject.generation),
                _ => None,
            });
        let protected = self
            .state
            .protected()
            .into_iter()
            .map(|one| &one.generation);
        let written = self
            .listed
            .iter()
            .filter(|one| names.contains(&stem_of(&one.subject())));
        let all = selected.chain(protected).chain(written.map(|one| &one.id));
        let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
        for id in all {
            let newest = newest.entry(id.profile()).or_default();
            *newest = id.number().max(*newest);
        }
        let listed = self.listed.iter();
        let only_built = listed.filter(|one| {
            let newest = newest.get(one.id.profile());
            newest.is_none_or(|newest| one.id.number() > *newest)
        });
        only_built.map(Generation::subject).collect()
    }
}
