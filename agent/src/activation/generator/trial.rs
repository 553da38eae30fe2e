//! Whether this boot is a trial: then no hang of it may last.

use std::path::Path;

use boot_entries::digests::Digests;
use boot_entries::generation::{Generation, Profiles, Subject};
use boot_entries::name::{OurName as _, TRIES};
use boot_entries::{Root, closure};
use systemd_boot_model::EntryName;

use crate::report::line::one_line;
use crate::state::started_by::{StartedBy, started_by};
use crate::store::ledger::Ledger;
use crate::system::kernel_log::{KernelLog, Level};

/// Whether the counted entry `file` may be the one that started `booted`: after a kexec it is what the loader started
/// before. `$BOOT` is not mounted yet: the name has to tell. What a profile does
/// not say is not known then, and the counter decides.
pub(super) fn is_about(file: &str, root: &Root, booted: &Path) -> bool {
    let mut known = Profiles::read(root).unwrap_or_default().generations;
    let number = EntryName::parse(file).and_then(|name| name.generation_number());
    let numbered = known.iter().filter(|one| Some(one.id.number()) == number);
    let numbered: Vec<Generation> = numbered.cloned().collect();
    let mut digests = Digests::new(root, None);
    known.extend(closure::with_specialisations(root, &numbered, &mut digests).generations);
    let known: Vec<Subject> = known.iter().map(Generation::subject).collect();
    let by = started_by(booted, Some(file), &[], &known);
    !matches!(by, StartedBy::NotTheLoader { .. })
}

/// Whether the boot of this entry was one of the tries it was given.
///
/// systemd-boot sets `LoaderBootCountPath` for every entry with a counter. One whose tries are used up is started only
/// when nothing good is left: then there is nothing to fall back to, and rebooting would go on for ever (A3).
pub(super) fn has_tries(file: &str) -> bool {
    let tries = EntryName::parse(file).and_then(|name| name.tries);
    tries.is_some_and(|tries| tries.left > 0 || tries.done.unwrap_or(0) <= TRIES)
}

/// Whether a verdict on this closure is on record. A proven one may still have its counter, because `$BOOT` could not
/// be written: that is no reason to reboot it. A rejected one runs only for want of anything better: neither is it.
///
/// `/var` may not be mounted yet. Then nobody knows, and the counter decides.
pub(super) fn is_judged(root: &Root, closure: &Path, log: &mut KernelLog) -> bool {
    match Ledger::read(root) {
        Ok(ledger) => {
            let state = ledger.state();
            let proven = state
                .proven
                .iter()
                .any(|good| good.subject.toplevel == closure);
            // And while a record binds that nobody here knows, nothing is rebooted for its health.
            proven || state.rejected.contains_key(closure) || state.bound_by.is_some()
        }
        Err(error) => {
            log.say(Level::Error, &one_line(&error));
            false
        }
    }
}
