//! Initrds that lack their secrets are finished before a generation is selected.

use std::collections::BTreeMap;
use std::path::PathBuf;

use boot_entries::plan;

use crate::error::Error;
use crate::state::Subject;
use crate::store::secrets;
use crate::view::View;

/// Closures whose initrd could not be finished in this run, and why.
pub type Unfinished = BTreeMap<PathBuf, String>;

/// Adds initrd secrets where they are still to be added: for `selected` first, then for all others. This runs programs
/// of the closures, and is left out in a tree.
///
/// # Errors
/// When it fails for `selected`. Another generation's failure is its own, and told with the plan.
pub fn finish(view: &View, selected: &Subject) -> Result<Unfinished, Error> {
    let mut unfinished = Unfinished::new();
    if !view.root.is_live() {
        return Ok(unfinished);
    }
    for toplevel in to_finish(view, selected) {
        tracing::info!("adding initrd secrets of {}", toplevel.display());
        let Err(why) = secrets::finish_or_say(&view.root, &toplevel) else {
            continue;
        };
        if toplevel == selected.toplevel {
            return Err(plan::Refusal::Unbootable(selected.clone(), why).into());
        }
        unfinished.insert(toplevel, why);
    }
    Ok(unfinished)
}

/// The closures whose initrd is still to be finished, that of `selected` first.
#[must_use]
pub fn to_finish(view: &View, selected: &Subject) -> Vec<PathBuf> {
    let initrds = secrets::finished(&view.root, &view.generations(), &view.documents);
    let missing = initrds.into_iter().filter(|(_, found)| found.is_err());
    let mut missing: Vec<PathBuf> = missing.map(|(toplevel, _)| toplevel).collect();
    missing.sort_by_key(|toplevel| *toplevel != selected.toplevel);
    missing
}
