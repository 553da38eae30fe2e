//! Whoever takes the machine down is killed by a soft-reboot, and the systemd that comes after it starts them again, at once:
//! before the ledger's file system is mounted, where that is one of its own.
//!
//! No unit's order can say this. With `After=local-fs.target` the start would wait in a boot that does not come as far, and with
//! `RequiresMountsFor=` whoever guards the way down would be stopped first on it.

use std::thread;
use std::time::{Duration, Instant};

use boot_entries::Root;

use crate::report::line::one_line;
use crate::system::manager::{self, Manager, Queued};

/// Each mount has a limit of its own, for its device too (90 s).
const PATIENCE: Duration = Duration::from_mins(2);
/// How often it is looked again.
const LOOK: Duration = Duration::from_millis(200);

/// Pure and total. A boot that has none queued has come as far, or never will.
fn are_to_come(jobs: &[Queued]) -> bool {
    let mut jobs = jobs.iter();
    jobs.any(|job| job.unit == "local-fs.target" && job.kind == "start")
}

/// Waits until local file systems are mounted, or nobody mounts them any more.
pub(super) fn wait(root: &Root) {
    if !root.is_live() {
        return;
    }
    let until = Instant::now() + PATIENCE;
    loop {
        match Manager::system(manager::PATIENCE).and_then(|mut manager| manager.jobs()) {
            Ok(jobs) if !are_to_come(&jobs) => return,
            Ok(_) if Instant::now() < until => thread::sleep(LOOK),
            Ok(_) => {
                tracing::error!(
                    "local file systems are not mounted within {} s",
                    PATIENCE.as_secs()
                );
                return;
            }
            Err(error) => {
                tracing::error!("{}", one_line(&error));
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::manager::JobId;

    #[test]
    fn only_the_start_of_local_file_systems_is_waited_for() {
        for unit in ["local-fs.target", "local-fs-pre.target", "var.mount"] {
            for kind in ["start", "stop", "restart", "verify-active", "nop"] {
                for running in [false, true] {
                    let job = Queued {
                        id: JobId(1),
                        unit: unit.to_owned(),
                        kind: kind.to_owned(),
                        running,
                    };
                    let expected = unit == "local-fs.target" && kind == "start";
                    assert_eq!(are_to_come(&[job]), expected, "{unit} {kind}");
                }
            }
        }
        assert!(!are_to_come(&[]));
    }
}
