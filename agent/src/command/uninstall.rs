//! `lastgood uninstall`: what would be done, or was.

use std::io::Write;

use boot_entries::Root;

use crate::error::Error;
use crate::operation::uninstall::{uninstall, would_uninstall};
use crate::report::print::{print, print_would};
use crate::store::ledger;

pub(super) fn run(root: &Root, dry_run: bool, out: &mut impl Write) -> Result<(), Error> {
    if dry_run {
        let (ready, off_boot) = would_uninstall(root)?;
        let mut lines = ready.prepared().lines();
        lines.extend(off_boot.lines());
        print_would(out, &lines)?;
        if lines.is_empty() {
            print(out, "nothing to do: nothing of ours is on $BOOT\n")?;
        }
        return ready.into_complaints().into_result();
    }
    let done = uninstall(root)?;
    let next = done.next.as_ref();
    let next = next.map_or("nothing", |boot| boot.entry.as_str());
    let count = match done.changes {
        0 => "nothing to do".to_owned(),
        1 => "1 change".to_owned(),
        count => format!("{count} changes"),
    };
    let kept = ledger::PATH;
    print(
        out,
        &format!("nothing of ours is on $BOOT; {next} boots next; {count}; {kept} is kept\n"),
    )?;
    if done.is_nixos {
        print(out, "nothing in /etc was touched: it is NixOS's own\n")?;
    }
    done.complaints.into_result()
}
