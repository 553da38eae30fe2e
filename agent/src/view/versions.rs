//! What a closure calls itself and its kernel.

use std::path::Path;

use boot_entries::{Root, bounded};

/// More than any `nixos-version` has, in bytes.
const LIMIT: u64 = 64 * 1024;
/// How much of it is shown, in characters.
const SHOWN: usize = 60;

/// The version in the closure's file `nixos-version`. None: there is none that can be read.
#[must_use]
pub fn nixos(root: &Root, toplevel: &Path) -> Option<String> {
    let here = root.resolve(toplevel.join("nixos-version")).ok()?;
    let text = bounded::read(&here, LIMIT).ok()?;
    Some(bounded::one_line(text.trim(), SHOWN))
}

/// The version of the closure's kernel, as its modules have it. None: it has none.
#[must_use]
pub fn kernel(root: &Root, toplevel: &Path) -> Option<String> {
    let modules = root.resolve(toplevel.join("kernel-modules/lib/modules"));
    let mut listing = std::fs::read_dir(modules.ok()?).ok()?;
    let first = listing.next()?.ok()?;
    Some(first.file_name().to_string_lossy().into_owned())
}
