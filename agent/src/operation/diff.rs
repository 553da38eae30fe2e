//! `lastgood diff`: what is different between two closures.
//!
//! [`contents`] reads both, and changes nothing; [`compare`] says what differs, a total function of what was read.

pub mod compare;
pub mod contents;
pub mod packages;

use std::path::{Path, PathBuf};

use boot_entries::GenerationId;
use serde::Serialize;

use crate::error::Error;
use crate::view::View;
use compare::{Differences, differences};

/// One of the two sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Side {
    /// Which generation it is. None: no profile lists it.
    pub generation: Option<GenerationId>,
    /// Its closure.
    pub toplevel: PathBuf,
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    /// What was.
    pub from: Side,
    /// What is.
    pub to: Side,
    /// What differs.
    #[serde(flatten)]
    pub differences: Differences,
    /// What was not compared and why, a line each.
    pub left_out: Vec<String>,
}

/// Compares two closures. Each is a generation, or a closure by its path, in a profile or not.
///
/// # Errors
/// When one of them is not there.
pub fn diff(view: &View, from: &Path, to: &Path) -> Result<Compared, Error> {
    let (from, to) = (side(view, from)?, side(view, to)?);
    let ([before, after], left_out) = contents::read(&view.root, [&from.toplevel, &to.toplevel]);
    Ok(Compared {
        differences: differences(&before, &after),
        from,
        to,
        left_out,
    })
}

fn side(view: &View, asked: &Path) -> Result<Side, Error> {
    let toplevel = match asked.to_str().and_then(|text| text.parse().ok()) {
        Some(id) => view.subject(&id)?.toplevel,
        None => canonical(view, asked)?,
    };
    let path = toplevel.display();
    match view.root.resolve(&toplevel).and_then(std::fs::metadata) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            return Err(Error::Refused(format!(
                "{path} is no closure, but a file; name a generation, or the directory that a build has left"
            )));
        }
        Err(source) => {
            let what = format!("the closure {path}");
            return Err(Error::Read { what, source });
        }
    }
    let generation = view.subject_of_closure(&toplevel);
    Ok(Side {
        generation: generation.map(|subject| subject.generation),
        toplevel,
    })
}

/// On the running machine a relative path is relative to where we stand; in a tree, to its top.
fn canonical(view: &View, asked: &Path) -> Result<PathBuf, Error> {
    let absolute = if view.root.is_live() {
        std::path::absolute(asked)
    } else {
        Ok(asked.to_owned())
    };
    let canonical = absolute.and_then(|path| view.root.canonical(path));
    canonical.map_err(|source| Error::Read {
        what: asked.display().to_string(),
        source,
    })
}
