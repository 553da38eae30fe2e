//! The loader that the machine starts next, and what it does with an entry that cannot be started.

use boot_entries::observe::BootFiles;
use boot_entries::systemd_boot::Installed;
use serde::Serialize;
use systemd_boot_model::{FailedStart, Tries};

use crate::view::View;

/// What is known of it.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Loader {
    /// What it calls itself, with its version.
    info: String,
    /// What it does where a trial that has tries left cannot be started.
    failed_trial: FailedStart,
    /// The same of a proven entry, which has no counter.
    failed_proven: FailedStart,
}

impl Loader {
    /// What a trial risks with this one, and what would mend that. None: it goes on by itself.
    pub(super) fn risk(&self) -> Option<(String, &'static str)> {
        let then = self.failed_trial;
        (then != FailedStart::Resets).then(|| {
            (
                format!(
                    "{} starts it; if its kernel cannot be started, {then}",
                    self.info
                ),
                "a systemd-boot from 258 on resets the machine and tries on; `lastgood install` brings the newest that the \
                 closure or the host has",
            )
        })
    }
}

/// What is on the partition that holds `boot`. None: none of which anybody knows how it chooses.
pub(super) fn of(view: &View, boot: &BootFiles) -> Option<Loader> {
    let release = view.release(&boot.place).ok()?;
    let conf = release.read_conf(boot.loader_conf.as_deref().unwrap_or_default());
    let installed = Installed::info(&boot.place.esp);
    let counted = Tries {
        left: 1,
        done: None,
    };
    Some(Loader {
        info: installed.or_else(|| view.variables.info.clone())?,
        failed_trial: FailedStart::of(release, &conf, Some(counted)),
        failed_proven: FailedStart::of(release, &conf, None),
    })
}
