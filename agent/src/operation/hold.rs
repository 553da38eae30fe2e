//! The operator holds a boot: whoever looks for a fault on the machine that has it must not lose it to a reboot.

use std::time::Duration;

use boot_entries::Root;

use crate::error::Error;
use crate::state::Subject;
use crate::state::reaction::WhenUnhealthy;
use crate::store::handover::Held;
use crate::store::lock;
use crate::system::boot_id::boot_id;
use crate::system::{manager, way_down};
use crate::view::View;

/// How long another run is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Holds this boot. Gives what the machine goes back to at its next boot, where what runs was found bad.
///
/// It is left before the lock is taken: whoever has that may have it for long. Whoever is about to reboot has it as well, from
/// the last look at what is left here until the machine is on its way down.
///
/// # Errors
/// When the machine is on its way down already, or the hold cannot be left.
pub fn hold(root: &Root) -> Result<Option<Subject>, Error> {
    let boot = boot_id(root)?;
    Held { boot, by: by() }.leave(root)?;
    drop(lock::take(root, PATIENCE));
    if root.is_live() && is_going_down()? {
        return Err(Error::Refused(
            "it is too late: the machine is on its way down; `lastgood log` tells why once it is up again".to_owned(),
        ));
    }
    let view = View::read(root)?;
    let state = &view.state;
    let is_rejected = view
        .running()
        .is_some_and(|running| state.rejected.contains_key(&running.toplevel));
    let to = match state.when_unhealthy() {
        WhenUnhealthy::FallBack { to, .. } => Some(to),
        _ => state.last_good().cloned(),
    };
    Ok(to.filter(|_| is_rejected))
}

fn is_going_down() -> Result<bool, manager::Error> {
    let mut manager = manager::Manager::system(manager::PATIENCE)?;
    let jobs = manager.jobs()?;
    let ways = [
        way_down::Way::SoftReboot,
        way_down::Way::Kexec,
        way_down::Way::Reboot,
    ];
    Ok(jobs.iter().any(|job| {
        job.kind == "start"
            && (job.unit == "shutdown.target" || ways.iter().any(|way| way.target() == job.unit))
    }))
}

/// Who it is, as far as it can be told: `sudo` says.
fn by() -> String {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok())
        .filter(|user| {
            !user.is_empty()
                && user
                    .chars()
                    .all(|c| c.is_alphanumeric() || "_.-@".contains(c))
        });
    user.unwrap_or_else(|| format!("user {}", nix::unistd::getuid()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{BOOT_ID, HELD};
    use boot_entries::durable::put_text;

    #[test]
    fn a_hold_is_of_one_boot() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        put_text("a\n", &root.join(BOOT_ID)).unwrap();
        assert_eq!(hold(&root).unwrap(), None, "nothing was found bad");
        assert!(Held::read(&root, "a").unwrap().is_some());
        assert!(Held::read(&root, "b").unwrap().is_none());
        assert!(root.join(HELD).is_file());
    }
}
