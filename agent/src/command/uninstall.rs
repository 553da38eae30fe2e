//! `lastgood uninstall`: gives `$BOOT` back, with something bootable on it.

use std::io::Write;

use boot_entries::boot_partition::Partition;
use boot_entries::{Root, durable, payload};

use super::{lines, next_boot, print, print_would};
use crate::error::Error;
use crate::session::Session;
use crate::state::Event;
use crate::store::ledger;

pub(super) fn run(root: &Root, dry_run: bool, out: &mut impl Write) -> Result<(), Error> {
    let mut session = if dry_run {
        Session::look(root)?
    } else {
        Session::open(root)?
    };
    if let Some(what) = &session.state.bound_by {
        return Err(Error::Refused(format!(
            "nothing is given back, because a record may forbid it that this lastgood does not know: {}, {what}; {}",
            ledger::PATH,
            ledger::RELEASE
        )));
    }
    let prepared = session.may_be_written(session.prepare_uninstall()?)?;
    if dry_run {
        let lines = lines(&prepared);
        print_would(out, &lines)?;
        if lines.is_empty() {
            print(out, "nothing to do: nothing of ours is on $BOOT\n")?;
        }
        return prepared.complaints.into_result();
    }
    let changes = prepared.steps().count();
    // On record before the first change: no step of a boot may write again what is about to go.
    if !session.state.uninstalled && (changes > 0 || session.state.selected.is_some()) {
        session.record(&Event::Uninstalled)?;
    }
    let places: Vec<_> = prepared.places().cloned().collect();
    let done = session.carry_out(prepared)?;
    for place in &places {
        for on in [Partition::Esp, Partition::Boot] {
            durable::remove_empty_directory(&place.directory(on).join(payload::DIRECTORY))?;
        }
    }
    // Which loader it is does not matter here.
    let next = next_boot::predict(&session, 0).unwrap_or_default();
    let next = next.first().map_or("nothing", |boot| boot.entry.as_str());
    let count = match changes {
        0 => "nothing to do".to_owned(),
        1 => "1 change".to_owned(),
        count => format!("{count} changes"),
    };
    let kept = ledger::PATH;
    print(
        out,
        &format!("nothing of ours is on $BOOT; {next} boots next; {count}; {kept} is kept\n"),
    )?;
    done.complaints.into_result()
}
