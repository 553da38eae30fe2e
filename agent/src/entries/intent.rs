//! What the entries are to say: the ledger's state and what the closures ask for, put together once. Nothing is added to it
//! later; what is wanted in one place alone is [`plan::InPlace`].

use std::collections::BTreeSet;
use std::path::Path;

use boot_entries::boot_partition::Places;
use boot_entries::closure;
use boot_entries::digests::Digests;
use boot_entries::extra::Extra;
use boot_entries::generation::Generation;
use boot_entries::observe::{self, Found};
use boot_entries::plan::{self, Intent};

use super::Aim;
use crate::error::Error;
use crate::state::{Standing, State, Subject};
use crate::view::View;

/// The further files that the selected closure asks for.
#[derive(Debug, Default)]
struct Extras {
    files: Vec<Extra>,
    /// Those that cannot be read now, by path: what is there stays.
    unreadable: BTreeSet<String>,
}

/// What `state` asks of the entries alone: no further files, nobody's order but ours.
pub(crate) fn of(view: &View, state: &State) -> Intent {
    let generations = view.generations_in(state);
    let boot = view.boot_config(state);
    let known = |subject: &&Subject| generations.iter().any(|g| g.is(subject));
    let second = state.proven.iter().rev().nth(1);
    let subjects = generations.iter().map(Generation::subject);
    Intent {
        selected: state.selected.as_ref().filter(known).cloned(),
        last_good: state.last_good().filter(known).cloned(),
        standings: subjects
            .map(|subject| (subject.clone(), standing(state, &subject)))
            .collect(),
        running: view.running().cloned().or_else(|| view.started()),
        booted: view.variables.selected.clone(),
        second: second.map(|good| good.subject.clone()),
        may_lose_second: !boot.keep_second_proven,
        counter: plan::Counter::Stays,
        loader: boot.settings(),
        ownership: state.ownership(),
        above_other_systems: false,
        limit: boot.configuration_limit,
        unneeded: match state.bound_by {
            Some(_) => plan::Unneeded::Stays,
            None => plan::Unneeded::Goes,
        },
        left_out: BTreeSet::new(),
        extras: Vec::new(),
        extras_left: BTreeSet::new(),
    }
}

/// The same for a run with this `aim`, which has `found` these generations.
///
/// # Errors
/// When something is requested, and a further file for it cannot be read.
pub(super) fn for_aim(
    view: &View,
    state: &State,
    aim: Aim,
    (places, found): (&Places, &[Found]),
    digests: &mut Digests,
) -> Result<Intent, Error> {
    let intent = of(view, state);
    let extras = extras(view, state, aim, digests)?;
    // Whoever repairs, repairs what can be: that the selected generation cannot be booted is told with the plan.
    let is_left_out = |subject: &Subject| aim == Aim::Repair && is_unbootable(found, subject);
    Ok(Intent {
        selected: intent.selected.filter(|subject| !is_left_out(subject)),
        above_other_systems: aim == Aim::Request,
        // Whoever repairs, repairs what a boot needs.
        left_out: match aim {
            Aim::Repair => only_built(view, places),
            Aim::Request | Aim::Uninstall => BTreeSet::new(),
        },
        extras: extras.files,
        extras_left: extras.unreadable,
        ..intent
    })
}

/// Generations that were built and never asked for: they have no entry anywhere.
fn only_built(view: &View, places: &Places) -> BTreeSet<Subject> {
    let usable = places.usable.iter();
    let names = usable.filter_map(|place| observe::entry_names(place).ok());
    let stems = names.flatten().map(|name| name.stem).collect();
    view.only_built(&stems)
}

fn standing(state: &State, subject: &Subject) -> plan::Standing {
    match state.standing(subject) {
        Standing::Proven => plan::Standing::Proven,
        // It has no tries until it is selected again.
        Standing::Rejected | Standing::Suspect => plan::Standing::Rejected,
        Standing::Untested | Standing::Trial => plan::Standing::Untested,
    }
}

fn is_unbootable(found: &[Found], subject: &Subject) -> bool {
    let found = found.iter().find(|found| found.generation.is(subject));
    found.is_some_and(|found| found.bootable.is_err())
}

/// One that cannot be had refuses a request, but stops no repair.
fn extras(view: &View, state: &State, aim: Aim, digests: &mut Digests) -> Result<Extras, Error> {
    let mut extras = Extras::default();
    let Some(subject) = state.selected.as_ref().or(state.last_good()) else {
        return Ok(extras);
    };
    for (path, source) in view.boot_config(state).extra_files {
        // A path that is absolute stays what it is.
        let source = subject.toplevel.join(source);
        match extra(view, path.as_str(), &source, digests) {
            Ok(extra) => extras.files.push(extra),
            Err(why) if aim == Aim::Repair => {
                tracing::warn!("{why}");
                extras.unreadable.insert(path.as_str().to_owned());
            }
            Err(why) => return Err(Error::Refused(why)),
        }
    }
    Ok(extras)
}

fn extra(view: &View, path: &str, source: &Path, digests: &mut Digests) -> Result<Extra, String> {
    let found = view.root.resolve(source).map_err(|error| error.to_string());
    let found = found.and_then(|here| {
        closure::is_payload(&here)?;
        let content = digests.in_store(&here).map_err(|error| error.to_string())?;
        Ok((here, content))
    });
    let (source, content) =
        found.map_err(|why| format!("extra file {path}: {} {why}", source.display()))?;
    Ok(Extra {
        path: path.to_owned(),
        source,
        content,
    })
}
