//! What is ready is carried out, place by place.

use std::path::PathBuf;

use boot_entries::apply;
use boot_entries::digests::Digests;
use boot_entries::step::Step;

use super::ready::may_be_written;
use super::{Aim, Complaints, Planned, Ready, once};
use systemd_boot_model::ReleaseRange;

use crate::error::Error;
use crate::report::progress;
use crate::store::digests;
use crate::view::View;

/// How carrying out the plans ended.
#[derive(Debug)]
#[must_use]
pub struct Done {
    /// Where all that was planned is done.
    pub places: Vec<PathBuf>,
    /// Whether what the loader reads next is among them.
    pub has_next: bool,
    /// How the loader there chooses, if that is known without another look.
    pub next_release: Option<ReleaseRange>,
    /// What is not done.
    pub complaints: Complaints,
}

/// Carries the plans out.
///
/// # Errors
/// At the first step of an uninstall that fails in the first place; a later run goes on from there.
pub fn carry_out(view: &View, ready: Ready) -> Result<Done, Error> {
    let prepared = ready.into_prepared();
    let mut writing = progress::writing(prepared.steps().map(|(_, step)| step));
    let mut digests = prepared.digests;
    let mut done = Done {
        places: Vec::new(),
        has_next: false,
        next_release: None,
        complaints: prepared.complaints,
    };
    for planned in &prepared.planned {
        let place = &planned.place;
        let written = write(planned, &mut digests, &mut writing);
        // What comes next may speak for itself.
        progress::erase();
        match written.and_then(|()| planned.loader.finish(view, place, &mut digests)) {
            Ok(()) => {
                if planned.is_first && prepared.has_next {
                    done.has_next = true;
                    done.next_release = planned.loader.next_release();
                }
                done.places.push(place.name.clone());
            }
            Err(error) if prepared.aim == Aim::Uninstall && planned.is_first => return Err(error),
            Err(error) => done.complaints.in_place(planned.is_first, place, error),
        }
    }
    if done.has_next {
        once::written(view);
    }
    digests::save(&view.root, &digests);
    Ok(done)
}

fn write(
    planned: &Planned,
    digests: &mut Digests,
    writing: &mut progress::Writes,
) -> Result<(), Error> {
    let Planned { place, plan, .. } = planned;
    may_be_written(place, &plan.steps)?;
    apply::apply(place, &plan.steps, digests.sums(), |progress| {
        writing.heard(&progress);
    })?;
    for step in &plan.steps {
        if let Step::Copy {
            on, path, content, ..
        } = step
        {
            digests.wrote(&place.directory(*on).join(path), content);
        }
    }
    Ok(())
}
