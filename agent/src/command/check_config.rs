//! `lastgood check-config`: the first mistake in a configuration, where somebody can mend it.

use std::io::Write;
use std::path::{Path, PathBuf};

use boot_entries::Root;

use crate::config;
use crate::error::Error;
use crate::report::print::print;
use crate::view::View;

pub(super) fn run(root: &Root, file: Option<&Path>, out: &mut impl Write) -> Result<(), Error> {
    let (path, checked) = match file {
        Some(file) => (file.to_owned(), config::check_file(file)),
        None => current(root)?,
    };
    let path = path.display();
    checked.map_err(|error| Error::Refused(format!("{path}: {error}")))?;
    Ok(print(out, &format!("{path}: no mistake\n"))?)
}

/// The file of the generation at which the system profile points. Without one the defaults hold, which is no mistake.
fn current(root: &Root) -> Result<(PathBuf, Result<(), config::Error>), Error> {
    let view = View::read(root)?;
    let current = view.profiles.current_system().ok_or_else(|| {
        Error::Refused("the system profile points at no generation; name a FILE".to_owned())
    })?;
    let toplevel = view.subject(current)?.toplevel;
    let checked = config::check(root, &toplevel);
    Ok((toplevel.join(config::PATH), checked))
}
