//! The dead-man's switch: a timer of PID 1's that undoes a live switch. It is armed before the first change, and needs
//! neither the session nor any process of ours to go off. Units of no closure: whatever the switch does to units, these
//! stay. A reboot loses it, and then the machine boots what it had before.

use std::time::Duration;

use crate::error::Error;
use crate::host::OURSELVES;
use crate::system::manager::{Error as NotAnswered, Manager, Mode, Reason, Setting, Verb};

/// The timer.
const TIMER: &str = "lastgood-unconfirmed.timer";
/// What it starts.
const SERVICE: &str = "lastgood-unconfirmed.service";
/// A switch that nobody is asked to confirm ends by then, whatever becomes of the process that makes it.
pub(super) const LONGEST: Duration = Duration::from_hours(1);
/// How exactly the timer goes off. systemd's own default is a minute.
const ACCURACY: Duration = Duration::from_millis(100);
/// How soon an undo that died is taken up again.
const AGAIN: Duration = Duration::from_secs(1);

/// Arms it, instead of one that was armed before.
///
/// # Errors
/// When PID 1 does not take it: then nothing may be changed.
pub(super) fn arm(manager: &mut Manager, within: Duration) -> Result<(), Error> {
    disarm(manager)?;
    let timer = [
        (
            "Description",
            Setting::Text("Undo a live switch that nobody has confirmed".to_owned()),
        ),
        (
            "TimersMonotonic",
            Setting::Timers(vec![("OnActiveSec".to_owned(), micros(within))]),
        ),
        ("AccuracyUSec", Setting::Number(micros(ACCURACY))),
        ("RemainAfterElapse", Setting::Flag(false)),
        // Or `systemctl isolate` and `systemctl default` disarm it.
        ("IgnoreOnIsolate", Setting::Flag(true)),
    ];
    let words = [program()?, "step".to_owned(), "unconfirmed".to_owned()];
    let service = [
        (
            "Description",
            Setting::Text("Undo a live switch that nobody has confirmed".to_owned()),
        ),
        ("Type", Setting::Text("oneshot".to_owned())),
        ("ExecStart", Setting::Commands(vec![words.to_vec()])),
        ("Restart", Setting::Text("on-failure".to_owned())),
        ("RestartUSec", Setting::Number(micros(AGAIN))),
        ("StartLimitIntervalUSec", Setting::Number(0)),
        ("IgnoreOnIsolate", Setting::Flag(true)),
    ];
    manager.start_transient(TIMER, Mode::Replace, &timer, &[(SERVICE, &service)])?;
    Ok(())
}

/// Disarms it. There may be none.
///
/// # Errors
/// When PID 1 does not answer.
pub(super) fn disarm(manager: &mut Manager) -> Result<(), Error> {
    manager.enqueue(Verb::Stop, &[TIMER], Mode::Replace)?;
    for unit in [TIMER, SERVICE] {
        match manager.reset_failed(unit) {
            Ok(()) => {}
            Err(NotAnswered::Refused { refusal, .. }) if refusal.reason() == Reason::NoSuchUnit => {
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// This very program, by its own path: the closure that brought it is kept while a switch is under way.
///
/// # Errors
/// When the kernel does not tell.
pub(in crate::operation) fn program() -> Result<String, Error> {
    let path = std::fs::read_link(OURSELVES).map_err(|source| Error::Read {
        what: OURSELVES.to_owned(),
        source,
    })?;
    Ok(path.display().to_string())
}

/// Now, by the clock that systemd's timestamps have, in microseconds.
pub(super) fn manager_now() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    now.map_or(0, |now| micros(Duration::from(now)))
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
