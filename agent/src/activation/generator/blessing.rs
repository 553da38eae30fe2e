//! Who drops a counter of ours: nobody but us.

use boot_entries::name::OurName as _;
use systemd_boot_model::{EntryName, LoaderVariables};

use super::Make;
use crate::host::NOWHERE;

/// The mask of systemd's own.
pub(super) fn no_other() -> Make {
    Make::Link {
        at: "systemd-bless-boot.service".into(),
        to: NOWHERE.into(),
    }
}

/// What is made in a boot that is no generation's: a distribution's own.
///
/// `LoaderBootCountPath` may name an entry of ours all the same. That entry has not started this boot, because every
/// entry of ours starts a closure: it could not be started, and the firmware went on to another entry or another
/// loader; or somebody went from there to here by kexec. systemd would bless it now. What somebody else counts is for
/// systemd to bless.
pub(super) fn in_another_boot(variables: &LoaderVariables) -> Vec<Make> {
    let counted = variables.last_counted_file().and_then(EntryName::parse);
    let is_ours = counted.is_some_and(|name| name.is_ours());
    is_ours.then(no_other).into_iter().collect()
}
