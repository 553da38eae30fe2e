//! `lastgood check-config`: the first mistake in a configuration, or in a whole closure, where somebody can mend it.

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};

use boot_entries::{Root, closure};

use crate::config;
use crate::error::Error;
use crate::operation::select::check_closure;
use crate::report::print::print;
use crate::view::View;

pub(super) fn run(root: &Root, given: Option<&Path>, out: &mut impl Write) -> Result<(), Error> {
    let Some(given) = given else {
        return whole(root, &current(root)?, out);
    };
    // As `install` takes it: on the running machine a relative path is relative to where we stand.
    let absolute = std::path::absolute(given).ok().filter(|_| root.is_live());
    let toplevel = root.canonical(absolute.as_deref().unwrap_or(given));
    match toplevel {
        Ok(toplevel) if root.join(&toplevel).is_dir() => whole(root, &toplevel, out),
        _ => file(given, out),
    }
}

/// Checks a file, as a path of this process: it need not be in a closure yet.
fn file(path: &Path, out: &mut impl Write) -> Result<(), Error> {
    let checked = config::check_file(path);
    let path = path.display();
    checked.map_err(|error| Error::Refused(format!("{path}: {error}")))?;
    no_mistake(path, out)
}

/// Checks all that `install` would check of the closure `toplevel`.
fn whole(root: &Root, toplevel: &Path, out: &mut impl Write) -> Result<(), Error> {
    check_closure(root, toplevel, false)?;
    closure::examine(root, toplevel).map_err(|why| {
        Error::Refused(format!(
            "{} cannot be booted: {why}; build it anew",
            toplevel.display()
        ))
    })?;
    no_mistake(toplevel.display(), out)
}

fn no_mistake(of: impl Display, out: &mut impl Write) -> Result<(), Error> {
    Ok(print(out, &format!("{of}: no mistake\n"))?)
}

/// The generation at which the system profile points.
fn current(root: &Root) -> Result<PathBuf, Error> {
    let view = View::read(root)?;
    let current = view.profiles.current_system().ok_or_else(|| {
        Error::Refused(
            "the system profile points at no generation; name a FILE or a closure".to_owned(),
        )
    })?;
    Ok(view.subject(current)?.toplevel)
}
