//! Who asked: has the work done in a unit that outlives them, and follows what it says.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boot_entries::{Root, durable};

use super::request::Request;
use super::said::{Listener, Said};
use super::{WORKER, dead_man};
use crate::error::Error;
use crate::exit::Exit;
use crate::host::SWITCH;
use crate::system::manager::Error as NotAnswered;
use crate::system::manager::{self, Manager, Mode, Reason, Setting};

/// How often it is looked whether something was said.
const LOOK: Duration = Duration::from_millis(4);
/// How often it is looked whether the worker is still there, in looks.
const WORKER_EVERY: u32 = 250;
/// How long a worker that has ended may take to go.
const LEAVING: Duration = Duration::from_secs(2);
/// How soon a worker that died is started again.
const AGAIN: Duration = Duration::from_millis(200);

/// Has `request` done. `hear` is given all that is said meanwhile.
///
/// # Errors
/// How it ended, if not well.
pub fn ask(root: &Root, request: &Request, hear: &mut dyn FnMut(&Said)) -> Result<(), Error> {
    super::live_only(root)?;
    let said = place(root)?;
    durable::put_text("", &said)?;
    let ended = follow(&said, request, hear);
    if let Err(error) = std::fs::remove_file(&said) {
        tracing::debug!("cannot remove {}: {error}", said.display());
    }
    ended
}

fn place(root: &Root) -> Result<PathBuf, Error> {
    let path = Path::new(SWITCH).join(format!("said-{}", std::process::id()));
    root.place(&path).map_err(|source| Error::Read {
        what: path.display().to_string(),
        source,
    })
}

fn follow(said: &Path, request: &Request, hear: &mut dyn FnMut(&Said)) -> Result<(), Error> {
    let read = |source| Error::Read {
        what: said.display().to_string(),
        source,
    };
    let mut listener = Listener::at(said).map_err(read)?;
    let mut manager = Manager::system(manager::PATIENCE)?;
    start(&mut manager, said, request)?;
    let mut looks = 0_u32;
    let mut is_last = false;
    loop {
        for one in listener.hear().map_err(read)? {
            if let Said::Ended { exit, error } = one {
                return outcome(exit, error);
            }
            hear(&one);
        }
        if is_last {
            return Err(Error::Refused(format!(
                "{WORKER} has ended without a word; see `journalctl -u {WORKER}`, and `lastgood status` for what is active"
            )));
        }
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(WORKER_EVERY) {
            is_last = has_ended(&mut manager);
        }
        std::thread::sleep(LOOK);
    }
}

/// As it was said, with its exit status.
fn outcome(exit: u8, error: Option<String>) -> Result<(), Error> {
    let known = [
        Exit::Done,
        Exit::Failed,
        Exit::UnitsFailed,
        Exit::RebootNeeded,
    ];
    let exit = known
        .into_iter()
        .find(|one| *one as u8 == exit)
        .unwrap_or(Exit::Failed);
    match error {
        None => Ok(()),
        Some(text) => Err(Error::Ended { exit, text }),
    }
}

/// systemd may be executed anew, or be busy with a reload: then it is asked again later.
fn has_ended(manager: &mut Manager) -> bool {
    let wanted = [manager::Wanted::unit("ActiveState")];
    let answers = manager.properties(&[WORKER], &wanted);
    match answers {
        Ok(answers) => answers
            .iter()
            .flatten()
            .all(|unit| matches!(unit.text("ActiveState"), "inactive" | "failed")),
        Err(error) => {
            tracing::debug!("{error}");
            manager
                .reconnect()
                .unwrap_or_else(|error| tracing::debug!("{error}"));
            false
        }
    }
}

fn start(manager: &mut Manager, said: &Path, request: &Request) -> Result<(), Error> {
    let asked = serde_json::to_string(request).map_err(|error| {
        Error::Refused(format!("cannot say in JSON what is asked for: {error}"))
    })?;
    let words = [
        dead_man::program()?,
        "step".to_owned(),
        "switch".to_owned(),
        said.display().to_string(),
        asked,
    ];
    let text = |text: &str| Setting::Text(text.to_owned());
    let settings = [
        ("Description", text("A live switch of lastgood's")),
        ("Type", text("exec")),
        ("ExecStart", Setting::Commands(vec![words.to_vec()])),
        // Whoever kills it does not end the change in the middle: it is started again, and goes back.
        ("Restart", text("on-failure")),
        // To systemd these are a good end of a service that is no oneshot.
        (
            "RestartForceExitStatus",
            Setting::Signals(vec![
                nix::libc::SIGHUP,
                nix::libc::SIGINT,
                nix::libc::SIGTERM,
                nix::libc::SIGPIPE,
            ]),
        ),
        ("RestartUSec", Setting::Number(dead_man::micros(AGAIN))),
        ("StartLimitIntervalUSec", Setting::Number(0)),
        ("CollectMode", text("inactive-or-failed")),
        ("IgnoreOnIsolate", Setting::Flag(true)),
    ];
    let until = Instant::now() + LEAVING;
    loop {
        match manager.start_transient(WORKER, Mode::Fail, &settings, &[]) {
            Ok(_) => return Ok(()),
            Err(NotAnswered::Refused { refusal, .. }) if refusal.reason() == Reason::Exists => {
                // One that has said how it ended is about to go.
                if Instant::now() < until {
                    std::thread::sleep(LOOK);
                    continue;
                }
                return Err(Error::Refused(format!(
                    "another switch is under way ({WORKER}); wait for it, and run again; `journalctl -fu {WORKER}` shows how \
                     far it is"
                )));
            }
            Err(error) => return Err(error.into()),
        }
    }
}
