//! What is wanted on boot partitions, as plain data.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use crate::extra::Extra;
use crate::generation::Subject;
use crate::loader_conf;
use crate::owner::Ownership;
use crate::step::Step;

/// What the caller has found out about a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has assessed it on this machine.
    Untested,
    /// It passed an assessment.
    Proven,
    /// A verdict said no.
    Rejected,
}

/// What is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intent {
    /// The generation to boot next. None: leave the order as it is.
    pub selected: Option<Subject>,
    /// The proven generation a fallback goes to. Its entry is not touched (invariant B3).
    pub last_good: Option<Subject>,
    /// What is known. A generation that is not here is untested.
    pub standings: BTreeMap<Subject, Standing>,
    /// What runs. It is not removed, whatever else it is (invariant B2).
    pub running: Option<Subject>,
    /// The entry that this boot was started from (`LoaderEntrySelected`), whoever wrote it. None: it is not known.
    pub booted: Option<String>,
    /// A second proven one, where there is one: nor is that.
    pub second: Option<Subject>,
    /// Unless the operator has said that the second proven one may go where there is no room for three.
    pub may_lose_second: bool,
    /// Further files on `$BOOT`.
    pub extras: Vec<Extra>,
    /// Such files, by path, that cannot be read now: what is there stays.
    pub extras_left: BTreeSet<String>,
    /// The loader's own settings.
    pub loader: loader_conf::Settings,
    /// What becomes of the selected generation's counter.
    pub counter: Counter,
    /// What this system's entries bear, so that another system's on the same `$BOOT` are known and stay.
    pub ownership: Ownership,
    /// Put what is selected, and what it falls back to, above another system's entries: somebody asks for it. Else
    /// their order stays as it is, because whoever merely mends has not been asked.
    pub above_other_systems: bool,
    /// Generations that get no entry where they have none: nobody has asked for one yet. None that is asked for, or
    /// that a fallback may need, is left out; nor are all of them.
    pub left_out: BTreeSet<Subject>,
    /// How many generations of each profile get entries, besides those that a fallback may need. None: all.
    pub limit: Option<NonZeroUsize>,
    /// What becomes of what nobody needs.
    pub unneeded: Unneeded,
}

/// What becomes of entries, payload and extra files that nobody needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unneeded {
    /// They go.
    #[default]
    Goes,
    /// They stay, but for an entry that another of the same generation replaces, and for what interrupted runs left:
    /// something on record that nobody here understands may need them (invariant A13).
    Stays,
}

/// What becomes of the counter of the selected generation, where it has one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Counter {
    /// It stays. Only the loader counts.
    #[default]
    Stays,
    /// A try is given back: somebody rebooted before there was a verdict.
    OneMore,
    /// It gets all its tries again.
    Anew,
}

/// What is wanted in one place alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InPlace {
    /// Give the selected generation, if it is untested, all its tries again.
    pub rearm: bool,
    /// What is to be done about the loader itself, in this order ([`crate::systemd_boot::decide`]).
    pub loader_steps: Vec<Step>,
}
