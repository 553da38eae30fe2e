//! What a selection would do. Nothing is changed, and what would be refused is refused.

use std::path::PathBuf;

use boot_entries::Root;

use super::asked::{Asked, Request};
use super::plan;
use crate::entries::prediction::{self, Prediction};
use crate::entries::{Complaints, Ready, initrds};
use crate::error::Error;
use crate::session::Session;
use crate::state::Subject;
use crate::store::{gc_roots, secrets};
use crate::view::View;

/// What a selection would do.
#[derive(Debug)]
pub struct WouldSelect {
    /// Which generation.
    pub subject: Subject,
    /// The closures whose initrd would be finished first, each with the program that does it.
    pub programs: Vec<(PathBuf, PathBuf)>,
    /// The rest. None: it is known when the selected closure's program has run.
    pub rest: Option<Rest>,
}

/// What is known without running any program.
#[derive(Debug)]
pub struct Rest {
    /// Every change, a line each.
    pub changes: Vec<String>,
    /// What would boot next. None: nothing.
    pub next: Option<Prediction>,
    /// Where it could not be done.
    pub complaints: Complaints,
}

/// Says what a selection would do.
///
/// # Errors
/// When a selection would be refused.
pub fn would_select(root: &Root, request: &Request<'_>) -> Result<WouldSelect, Error> {
    let mut session = Session::look(root)?;
    let asked = Asked::of(&session, request)?;
    let subject = asked.subject.clone();
    let programs = programs(&session.view, &subject);
    if programs
        .iter()
        .any(|(toplevel, _)| *toplevel == subject.toplevel)
    {
        // What can be told without the initrd: whether there is a place for it.
        session.view.places(&asked.state)?;
        return Ok(WouldSelect {
            subject,
            programs,
            rest: None,
        });
    }
    let (ready, overrides) = plan(&mut session, &asked, &initrds::Unfinished::default())?;
    let view = &session.view;
    let mut changes: Vec<String> = overrides
        .iter()
        .map(|one| format!("clear EFI variable {}", one.variable.name()))
        .collect();
    changes.extend(changes_of(view, &asked, &ready)?);
    let next = match ready.prepared().outcome() {
        Some((boot, release)) => {
            let release = release.map_or_else(|| view.release(&boot.place), Ok)?;
            prediction::predict_of(view, &boot, release, 0)
        }
        None => Vec::new(),
    };
    Ok(WouldSelect {
        subject,
        programs,
        rest: Some(Rest {
            changes,
            next: next.into_iter().next(),
            complaints: ready.into_complaints(),
        }),
    })
}

/// The programs that a selection would run first. In a tree none is.
fn programs(view: &View, subject: &Subject) -> Vec<(PathBuf, PathBuf)> {
    if !view.root.is_live() {
        return Vec::new();
    }
    let with_program = |toplevel: PathBuf| {
        let program = secrets::program_of(&view.root, &toplevel, &view.documents);
        (toplevel, program.unwrap_or_default())
    };
    let missing = initrds::to_finish(view, subject).into_iter();
    missing.map(with_program).collect()
}

fn changes_of(view: &View, asked: &Asked, ready: &Ready) -> Result<Vec<String>, Error> {
    let prepared = ready.prepared();
    let mut all = prepared.lines();
    for (place, programs) in prepared.programs() {
        all.push(format!("run {programs} in {}", place.name.display()));
    }
    let roots = gc_roots::changes(&view.root, &asked.state)?;
    all.extend(roots.iter().map(ToString::to_string));
    // As `Written::keep` has it.
    if asked.state.bound_by.is_none() {
        let left = secrets::left_over(&view.root, &view.generations_in(&asked.state))?;
        all.extend(left.iter().map(|path| format!("remove {}", path.display())));
    }
    if asked.is_news() {
        all.push(format!("select generation {}", asked.subject.generation));
    }
    Ok(all)
}
