//! The one place where other programs are run. Their exit status is always looked at.

use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::host;
use crate::system::pulse::Pulse;

/// A program that could not be run, or that said no.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host has none.
    #[error(transparent)]
    Missing(#[from] host::Missing),
    /// It could not be started or waited for.
    #[error("cannot run {program}")]
    Run {
        /// The program and its arguments.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ended with a status other than 0.
    #[error("{program}: {status}: {stderr}")]
    Failed {
        /// The program and its arguments.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said, in one line.
        stderr: String,
    },
    /// It had not ended in time, and was killed.
    #[error("{program}: took longer than {} s and was ended: {stderr}", patience.as_secs_f32())]
    Hung {
        /// The program and its arguments.
        program: String,
        /// How long it was waited for.
        patience: Duration,
        /// The end of what it said, in one line.
        stderr: String,
    },
}

/// A command of the running machine's `program`.
///
/// # Errors
/// When the host has none.
pub fn command(program: host::Program) -> Result<Command, Error> {
    Ok(Command::new(host::program(program)?))
}

/// Runs `command` with no input and in the C locale, and gives what it printed.
///
/// # Errors
/// When it cannot be run, or ends with a status other than 0.
pub fn stdout_of(command: &mut Command) -> Result<String, Error> {
    let program = shown(command);
    let output = match command.env("LC_ALL", "C").stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(source) => return Err(Error::Run { program, source }),
    };
    if !output.status.success() {
        return Err(Error::Failed {
            program,
            status: output.status,
            stderr: one_line(&String::from_utf8_lossy(&output.stderr)),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// [`stdout_of`] for a program that nobody vouches for: it and its children have `patience` to end, and what they print
/// beyond [`ENOUGH`] is dropped.
///
/// # Errors
/// As [`stdout_of`], and when it takes longer.
pub fn stdout_within(command: &mut Command, patience: Duration) -> Result<String, Error> {
    let ran = run_within(command, Stdio::null(), patience)?;
    if ran.status.success() {
        return Ok(ran.stdout);
    }
    Err(ran.failed(command))
}

/// Runs `command` where somebody watches it: with the input, the output and the environment of this process, and for as long
/// as it takes.
///
/// # Errors
/// When it cannot be run.
pub fn watched(command: &mut Command) -> Result<ExitStatus, Error> {
    let program = shown(command);
    command
        .status()
        .map_err(|source| Error::Run { program, source })
}

/// How a program ended, whatever it had to say.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it had to say.
    pub stderr: String,
}

impl Ran {
    /// That it ended badly, in the words of what it had to say.
    #[must_use]
    pub fn failed(&self, command: &Command) -> Error {
        Error::Failed {
            program: shown(command),
            status: self.status,
            // Some say everything on standard output.
            stderr: one_line(if self.stderr.trim().is_empty() {
                &self.stdout
            } else {
                &self.stderr
            }),
        }
    }
}

/// [`stdout_within`] for a program whose failure has a meaning, and that reads `input`.
///
/// # Errors
/// When it cannot be run, or takes longer.
pub fn run_within(
    command: &mut Command,
    input: impl Into<Stdio>,
    patience: Duration,
) -> Result<Ran, Error> {
    let program = shown(command);
    let run = |source| Error::Run {
        program: program.clone(),
        source,
    };
    // A group of its own: a shell that is killed would leave its children running.
    let spawned = command
        .env("LC_ALL", "C")
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn();
    let mut child = spawned.map_err(run)?;
    let stdout = child.stdout.take().map(heard);
    let stderr = child.stderr.take().map(heard);
    let status = wait(&mut child, patience).map_err(run)?;
    if status.is_none() {
        let group = i32::try_from(child.id()).map_or(Err(Errno::ESRCH), |id| {
            killpg(Pid::from_raw(id), Signal::SIGKILL)
        });
        // It may have ended in between.
        if let Err(error) = group {
            tracing::debug!("{program}: cannot be killed: {error}");
        }
        child.wait().map_err(run)?;
    }
    let stderr = said(stderr.as_ref());
    let Some(status) = status else {
        return Err(Error::Hung {
            program,
            patience,
            stderr: one_line(&stderr),
        });
    };
    Ok(Ran {
        status,
        stdout: said(stdout.as_ref()),
        stderr,
    })
}

/// How often a program is looked at. A boot waits for it.
const POLL: Duration = Duration::from_millis(1);
/// How much of what a program prints is kept, in bytes.
const ENOUGH: u64 = 64 * 1024;

/// Waits for `child`. None: it has not ended in time.
///
/// # Errors
/// When it cannot be waited for.
pub fn wait(child: &mut Child, patience: Duration) -> io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    let mut pulse = Pulse::from(began);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if began.elapsed() > patience {
            return Ok(None);
        }
        pulse.beat();
        thread::sleep(POLL);
    }
}

/// Listens in a thread of its own, because a child that was left behind may keep the pipe open for ever.
fn heard(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut piece = [0; 4096];
        let mut count = 0;
        // Read to the end, or a talkative program would block.
        while let Ok(length @ 1..) = pipe.read(&mut piece) {
            count += length as u64;
            let piece = piece.get(..length).unwrap_or_default();
            if count <= ENOUGH && tell.send(piece.to_vec()).is_err() {
                break;
            }
        }
    });
    told
}

fn said(told: Option<&Receiver<Vec<u8>>>) -> String {
    let mut bytes = Vec::new();
    let until = Instant::now() + Duration::from_millis(500);
    let left = || until.saturating_duration_since(Instant::now());
    while let Some(piece) = told
        .as_ref()
        .and_then(|told| told.recv_timeout(left()).ok())
    {
        bytes.extend(piece);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The last lines of `text`, joined: an error is one line.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines
        .get(lines.len().saturating_sub(5)..)
        .unwrap_or_default()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_an_error_with_its_own_words() {
        let error = stdout_of(Command::new("sh").args(["-c", "echo no >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().ends_with("exit status: 3: no"), "{error}");
    }
}
