//! The machine's way down: a reboot that is meant is one.
//!
//! PID 1 is asked itself, by its own socket. `systemctl reboot` asks logind first, which inhibitors and polkit may have
//! refuse; and since systemd 256 it becomes a kexec where somebody has loaded a kernel, and a soft-reboot where
//! `/run/nextroot` is filled. A job of `reboot.target` is none of that.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use boot_entries::Root;
use nix::sys::reboot::{RebootMode, reboot};

use super::manager::{self, Asked, Error, Manager, Mode, Verb};
use super::pulse::Pulse;
use crate::host::UPTIME;
use crate::report::line::one_line;

/// A way down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// User space is started anew.
    SoftReboot,
    /// The kernel that is loaded is started.
    Kexec,
    /// The firmware starts the machine.
    Reboot,
}

impl Way {
    /// The target that leads there (systemd.special(7)).
    #[must_use]
    pub const fn target(self) -> &'static str {
        match self {
            Self::SoftReboot => "soft-reboot.target",
            Self::Kexec => "kexec.target",
            Self::Reboot => "reboot.target",
        }
    }
}

/// Begins to go down: services are stopped in their order. Nothing that is queued later may cancel it.
///
/// # Errors
/// When systemd does not answer, or refuses: it does in emergency mode, while the jobs that lead there are queued.
pub fn begin(way: Way) -> Result<(), Error> {
    let mut manager = Manager::system(manager::PATIENCE)?;
    let asked = Asked {
        verb: Verb::Start,
        unit: way.target(),
        mode: Mode::ReplaceIrreversibly,
    };
    let answers = manager.enqueue_each(&[asked])?;
    match answers.into_iter().next() {
        Some(Ok(_)) => Ok(()),
        Some(Err(refusal)) => Err(Error::Refused {
            doing: way.target(),
            refusal,
        }),
        None => Err(Error::Broken {
            doing: way.target(),
        }),
    }
}

/// Reboots without stopping services, which systemd never refuses. Processes are ended, and file systems are synced and
/// unmounted.
///
/// # Errors
/// When systemd does not answer.
pub fn by_force() -> Result<(), Error> {
    Manager::system(manager::PATIENCE)?.reboot_by_force()
}

/// Has the kernel reboot at once: for when systemd does nothing any more. File systems are synced where that ends soon,
/// and not unmounted.
///
/// # Errors
/// Why the kernel does not.
pub fn at_once() -> nix::Result<()> {
    let (tell, told) = mpsc::channel();
    // A disk that does not answer holds up whoever syncs, for ever.
    thread::spawn(move || {
        nix::unistd::sync();
        if tell.send(()).is_err() {
            tracing::debug!("file systems are synced, and nobody waits for it any more");
        }
    });
    if told.recv_timeout(SYNC).is_err() {
        tracing::error!("file systems are not synced within {} s", SYNC.as_secs());
    }
    reboot(RebootMode::RB_AUTOBOOT).map(drop)
}

/// How long a sync may take.
const SYNC: Duration = Duration::from_secs(20);

/// Reboots in order; by force where systemd refuses that; at once where it answers no more.
///
/// # Errors
/// Why not even the kernel reboots.
pub fn reboot_somehow() -> nix::Result<()> {
    let began = Instant::now();
    let mut pulse = Pulse::default();
    let mut told = BTreeSet::new();
    loop {
        pulse.beat();
        let Err(error) = begin(Way::Reboot) else {
            return Ok(());
        };
        if told.insert(one_line(&error)) {
            tracing::warn!("{}; rebooting by force", one_line(&error));
        }
        let Err(error) = by_force() else {
            return Ok(());
        };
        if told.insert(one_line(&error)) {
            tracing::error!("{}", one_line(&error));
        }
        if began.elapsed() > patience(&error) {
            tracing::error!("systemd does not reboot the machine: the kernel does, at once");
            return at_once();
        }
        thread::sleep(AGAIN);
    }
}

/// How long a systemd is asked again that cannot be asked. While it reads its units anew it answers nobody. One that nobody
/// listens for is dead, or is being executed anew, which takes seconds.
fn patience(error: &Error) -> Duration {
    match error {
        Error::Connect { source, .. } if source.kind() == ErrorKind::ConnectionRefused => DEAD,
        _ => manager::RELOAD,
    }
}

/// What nobody has listened for so long is dead.
const DEAD: Duration = Duration::from_secs(30);

/// How soon a systemd that does not answer is asked again.
const AGAIN: Duration = Duration::from_secs(2);

/// The first systemd that holds a reboot back until the machine has been up for some time (`MinimumUptimeSec=`).
const HOLDS_BACK: u32 = 261;
/// For how long, if nobody has set it otherwise.
const MINIMUM_UPTIME: Duration = Duration::from_secs(15);

/// For how long this systemd may hold the reboot back, after it has stopped everything. None: not at all.
#[must_use]
pub fn held_back(systemd: Option<u32>, uptime: Option<Duration>) -> Option<Duration> {
    let left = MINIMUM_UPTIME.checked_sub(uptime?)?;
    (systemd? >= HOLDS_BACK && !left.is_zero()).then_some(left)
}

/// How long the machine has been up.
#[must_use]
pub fn uptime(root: &Root) -> Option<Duration> {
    let text = std::fs::read_to_string(root.join(UPTIME)).ok()?;
    let seconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The number in what systemd calls its version: `257.13-1~deb13u1`.
#[must_use]
pub fn release(version: &str) -> Option<u32> {
    let end = version.find(|c: char| !c.is_ascii_digit());
    let digits = version.get(..end.unwrap_or(version.len()))?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_is_a_target_of_its_own() {
        let targets = [Way::SoftReboot, Way::Kexec, Way::Reboot].map(Way::target);
        assert_eq!(
            targets,
            ["soft-reboot.target", "kexec.target", "reboot.target"]
        );
    }

    #[test]
    fn nobody_waits_long_for_a_systemd_that_is_dead() {
        let of = |kind: ErrorKind| Error::Connect {
            socket: String::new(),
            source: kind.into(),
        };
        let late = Error::Late {
            doing: "x",
            patience: Duration::ZERO,
        };
        assert_eq!(patience(&of(ErrorKind::ConnectionRefused)), DEAD);
        assert_eq!(patience(&of(ErrorKind::WouldBlock)), manager::RELOAD);
        assert_eq!(patience(&late), manager::RELOAD);
    }

    #[test]
    fn only_a_new_systemd_holds_back_and_only_early() {
        let seconds = |count| Some(Duration::from_secs(count));
        for (systemd, up, held) in [
            (Some(252), seconds(3), None),
            (Some(260), seconds(3), None),
            (Some(261), seconds(3), seconds(12)),
            (Some(262), seconds(14), seconds(1)),
            (Some(262), seconds(15), None),
            (Some(262), seconds(900), None),
            (None, seconds(3), None),
            (Some(262), None, None),
        ] {
            assert_eq!(held_back(systemd, up), held, "{systemd:?} {up:?}");
        }
    }

    #[test]
    fn a_version_begins_with_its_number() {
        for (text, number) in [
            ("257.13-1~deb13u1", Some(257)),
            ("252.39-1~deb12u2", Some(252)),
            ("262", Some(262)),
            ("262~rc1", Some(262)),
            ("v257", None),
            ("", None),
        ] {
            assert_eq!(release(text), number, "{text}");
        }
    }
}
