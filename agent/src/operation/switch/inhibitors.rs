//! What a closure says must not change while the machine runs (NixOS's `switch-inhibitors`).

use std::io;
use std::path::Path;

use boot_entries::Root;

use crate::error::Error;
use crate::switch::inhibitors::{Matters, inhibitors, parse};

/// Where a closure has it.
const PATH: &str = "switch-inhibitors";

/// Refuses a live switch that the closures forbid.
///
/// # Errors
/// What forbids it, or that it cannot be read.
pub(super) fn check(root: &Root, before: &Path, after: &Path) -> Result<(), Error> {
    let (Some(old), Some(new)) = (read(root, before)?, read(root, after)?) else {
        return Ok(());
    };
    let names: Vec<String> = inhibitors(&old, &new).into_iter().collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "a live switch is forbidden by what changes in it: {}; `lastgood boot` selects it for the next boot, and \
         NIXOS_NO_CHECK=1 switches all the same",
        names.join(", ")
    )))
}

fn read(root: &Root, closure: &Path) -> Result<Option<Matters>, Error> {
    let path = closure.join(PATH);
    let text = match root.open(&path).and_then(io::read_to_string) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(Error::Read {
                what: path.display().to_string(),
                source,
            });
        }
    };
    let matters = parse(&text).map_err(|error| {
        Error::Refused(format!(
            "{}: {error}; build the generation again, or set NIXOS_NO_CHECK=1 to switch all the same",
            path.display()
        ))
    })?;
    Ok(Some(matters))
}
