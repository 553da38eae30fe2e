//! The end of an incident: the hook that is due is run, and that is put on record.

use boot_entries::Root;

use super::{begin, bless, hooks};
use crate::error::Error;
use crate::report::line::one_line;
use crate::state::Event;

/// Runs the hook that is due in this boot, if one is; what becomes of it changes no verdict. Then a suspect may have its
/// second chance, which is an incident of its own.
pub fn close(root: &Root) {
    if !root.is_live() {
        return;
    }
    for done in [run(root), bless::second_chance(root)] {
        if let Err(error) = done {
            tracing::error!("{}", one_line(&error));
        }
    }
}

fn run(root: &Root) -> Result<(), Error> {
    let session = begin::session(root)?;
    let Some(closing) = session.state().closing() else {
        return Ok(());
    };
    let hook = closing.hook;
    let boot = session.state().boot_id();
    let call = hooks::Call {
        hook,
        // A boot has one end of each kind.
        incident: format!("{boot}-{hook}"),
        subject: closing.subject,
        cause: closing.cause,
    };
    // A hook may run lastgood.
    drop(session);
    let trouble = hooks::run(root, &call)?.trouble().map(str::to_owned);
    let mut session = begin::session(root)?;
    // Somebody may have selected something meanwhile: then another incident is open.
    if session
        .state()
        .closing()
        .is_some_and(|one| one.hook == hook)
    {
        session.record(&Event::Hooked { hook, trouble })?;
    }
    Ok(())
}
