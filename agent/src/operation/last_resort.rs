//! What ends a hang of the kernel or of PID 1 on a trial: set when the trial begins, looked after while it is judged, put
//! back when it is over. Nothing here fails a boot: a machine without it is as it was.

use std::time::{Duration, Instant};

use boot_entries::Root;

use crate::host::{PROVEN, TRIAL};
use crate::report::line::one_line;
use crate::store::handover::{LastResort, is_marked};
use crate::system::last_resort::{self, Change, Device, Found, Kept, decide};
use crate::system::manager::Manager;

/// How long PID 1 may take to answer. Nobody waits for more of it.
const PATIENCE: Duration = Duration::from_secs(5);
/// What goes on when a machine is on its way down.
const DOWN: &str = "shutdown.target";

/// How often it is looked after while the trial is judged.
const EVERY: Duration = Duration::from_secs(10);

/// Looks after it now and then: a driver may come late, and whoever executes PID 1 anew takes something away.
#[derive(Debug)]
pub struct Watch {
    next: Instant,
}

impl Default for Watch {
    fn default() -> Self {
        let next = Instant::now();
        Self { next }
    }
}

impl Watch {
    /// Some time has gone by.
    pub fn turn(&mut self, root: &Root) {
        let now = Instant::now();
        if now >= self.next && is_marked(root, TRIAL) {
            self.next = now + EVERY;
            look_after(root);
        }
    }
}

/// Sets what is not set yet, if this boot is a trial. On any other boot what an earlier one of this kernel has left (a
/// soft-reboot keeps it) is put back.
pub fn look_after(root: &Root) {
    if is_marked(root, TRIAL) && !is_marked(root, PROVEN) {
        apply(root, decide::arm);
    } else {
        put_back(root);
    }
}

/// Puts back what was set. What is on its way down stays guarded: the machine may hang there, too.
pub fn give_back(root: &Root) {
    if left(root).is_empty() {
        return;
    }
    let jobs = manager(root).and_then(|mut manager| manager.jobs().ok());
    let goes_down = |jobs: &[crate::system::manager::Queued]| {
        jobs.iter()
            .any(|job| job.unit == DOWN && job.kind == "start")
    };
    if !jobs.is_some_and(|jobs| goes_down(&jobs)) {
        put_back(root);
    }
}

/// The watchdog that counts and would let the machine down, if there is such a one.
#[must_use]
pub fn in_vain(root: &Root) -> Option<Device> {
    last_resort::device(root).filter(Device::is_in_vain)
}

fn put_back(root: &Root) {
    if left(root).is_empty() {
        return;
    }
    if apply(root, decide::give_back)
        && let Err(error) = LastResort(Kept::default()).leave(root)
    {
        tracing::error!("{}", one_line(&error));
    }
}

/// Gives whether all could be done.
fn apply(root: &Root, decide: impl Fn(&Found, &Kept) -> Vec<Change>) -> bool {
    let mut kept = left(root);
    let mut manager = manager(root);
    let found = last_resort::look(root, manager.as_mut());
    let mut is_done = true;
    for change in decide(&found, &kept) {
        match last_resort::set(root, manager.as_mut(), &change) {
            Ok(()) => {
                tell(&change, found.device.as_ref());
                kept.note(&change);
            }
            Err(error) => {
                is_done = false;
                // Without advice: nobody is to mount anything for it.
                let why = std::error::Error::source(&error).map(ToString::to_string);
                let why = why.unwrap_or_default();
                if error.is_not_ours() {
                    tracing::debug!("{error}: {why}");
                } else {
                    tracing::warn!("{error}: {why}");
                }
                kept.give_up(&change);
            }
        }
    }
    if kept != left(root)
        && let Err(error) = LastResort(kept).leave(root)
    {
        tracing::error!("{}", one_line(&error));
    }
    is_done
}

fn tell(change: &Change, device: Option<&Device>) {
    match change {
        Change::Setting { name, from, to } => tracing::info!("{name} is {to} (it was {from})"),
        Change::Watchdog { to, anew, .. } => {
            let name = device.map_or("the watchdog", |device| device.identity.as_str());
            let seconds = to / 1_000_000;
            match (*to, *anew) {
                (0, _) => tracing::info!("{name} is not armed any more"),
                (_, false) => tracing::info!("{name} is armed, {seconds} s"),
                (_, true) => tracing::warn!(
                    "{name} is armed anew, {seconds} s: PID 1 was executed anew, and its death would not have been noticed"
                ),
            }
        }
    }
}

fn manager(root: &Root) -> Option<Manager> {
    if !root.is_live() {
        return None;
    }
    Manager::system(PATIENCE).ok()
}

fn left(root: &Root) -> Kept {
    match LastResort::read(root) {
        Ok(left) => left.unwrap_or_default().0,
        Err(error) => {
            tracing::error!("{}", one_line(&error));
            Kept::default()
        }
    }
}
