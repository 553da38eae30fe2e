//! Commands in the guest, through QEMU's guest agent: a virtio serial port, so no network and no firewall is involved.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::patience::Patience;

/// How a command in the guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit status; 128 + the signal when one killed it.
    pub status: i64,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

/// How long to wait for the first answer before asking again. What is asked while nobody listens is lost.
const FIRST: Duration = Duration::from_secs(5);

/// How long to wait for any other. A busy guest has one processor, and this host may have none left for it.
const ANSWER: Duration = Duration::from_mins(1);

/// How long one read may take.
const LOOK: Duration = Duration::from_secs(1);

const POLL: Duration = Duration::from_millis(50);

/// Numbers of conversations: a late answer to an earlier one must not be taken for ours.
static CONVERSATIONS: AtomicU64 = AtomicU64::new(1);

#[derive(Deserialize)]
struct Answer<T> {
    #[serde(rename = "return")]
    result: Option<T>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Started {
    pid: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Status {
    exited: bool,
    exitcode: Option<i64>,
    signal: Option<i64>,
    #[serde(default)]
    out_data: String,
    #[serde(default)]
    err_data: String,
}

/// A conversation with the agent of the boot that is running now.
pub(super) struct GuestAgent {
    stream: BufReader<UnixStream>,
}

impl GuestAgent {
    /// Connects and waits until the agent answers.
    pub(super) fn connect(socket: &Path, within: Duration) -> Result<Self> {
        let mut patience = Patience::of(within);
        loop {
            match Self::synchronise(socket) {
                Ok(agent) => return Ok(agent),
                Err(error) if patience.is_over() => {
                    return Err(error).with_context(|| {
                        format!("the guest agent is silent for {} s", within.as_secs())
                    });
                }
                Err(_) => thread::sleep(POLL),
            }
        }
    }

    /// Asks for a number back, and skips what an earlier conversation may have left in the line.
    fn synchronise(socket: &Path) -> Result<Self> {
        let id = CONVERSATIONS.fetch_add(1, Ordering::Relaxed);
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(LOOK))?;
        let mut agent = Self {
            stream: BufReader::new(stream),
        };
        // 0xFF makes the agent's parser forget half a request.
        agent.send(
            b"\xff",
            &json!({ "execute": "guest-sync-delimited", "arguments": { "id": id } }),
        )?;
        let mut patience = Patience::of(FIRST);
        while !patience.is_over() {
            if agent
                .receive::<u64>(&mut patience)
                .is_ok_and(|answer| answer.result == Some(id))
            {
                return Ok(agent);
            }
        }
        bail!("no answer to guest-sync")
    }

    /// Runs a shell command and waits for its end.
    pub(super) fn run(&mut self, command: &str, within: Duration) -> Result<Output> {
        let mut patience = Patience::of(within);
        let pid = self.start(command)?;
        loop {
            let request = json!({ "execute": "guest-exec-status", "arguments": { "pid": pid } });
            let status: Status = self.ask(&request)?;
            if status.exited {
                let signal = status.signal.map(|signal| 128 + signal);
                return Ok(Output {
                    status: signal
                        .or(status.exitcode)
                        .context("neither exit code nor signal")?,
                    stdout: text(&status.out_data)?,
                    stderr: text(&status.err_data)?,
                });
            }
            if patience.is_over() {
                bail!(
                    "in the guest, `{command}` still runs after {} s",
                    within.as_secs()
                );
            }
            thread::sleep(POLL);
        }
    }

    /// Starts a shell command and gives its process number.
    pub(super) fn start(&mut self, command: &str) -> Result<i64> {
        let arguments = json!({
            "path": "/bin/sh",
            "arg": ["-c", command],
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C"],
            "capture-output": true,
        });
        let started: Started =
            self.ask(&json!({ "execute": "guest-exec", "arguments": arguments }))?;
        Ok(started.pid)
    }

    fn ask<T: DeserializeOwned>(&mut self, request: &Value) -> Result<T> {
        self.send(b"", request)?;
        let answer: Answer<T> = self.receive(&mut Patience::of(ANSWER))?;
        let refused = || format!("the guest agent refuses {request}: {:?}", answer.error);
        answer.result.with_context(refused)
    }

    fn send(&mut self, before: &[u8], request: &Value) -> Result<()> {
        let message = [before, request.to_string().as_bytes(), b"\n"].concat();
        self.stream
            .get_mut()
            .write_all(&message)
            .context("the guest agent's port is gone")
    }

    fn receive<T: DeserializeOwned>(&mut self, patience: &mut Patience) -> Result<Answer<T>> {
        let mut line = Vec::new();
        // What was read before a time was over is kept.
        while let Err(error) = self.stream.read_until(b'\n', &mut line) {
            if error.kind() != ErrorKind::WouldBlock || patience.is_over() {
                return Err(error).context("the guest agent does not answer");
            }
        }
        let line = line.strip_prefix(b"\xff").unwrap_or(&line);
        serde_json::from_slice(line).context("the guest agent's answer is not JSON")
    }
}

fn text(data: &str) -> Result<String> {
    let bytes = BASE64_STANDARD
        .decode(data)
        .context("output is not base64")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_come_late_and_in_pieces() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_millis(10)))
            .unwrap();
        let answers = thread::spawn(move || {
            for piece in [b"{\"return\"".as_slice(), b": 7", b"}\n"] {
                thread::sleep(Duration::from_millis(50));
                theirs.write_all(piece).unwrap();
            }
        });
        let mut agent = GuestAgent {
            stream: BufReader::new(ours),
        };
        let answer = agent.receive::<u64>(&mut Patience::of(ANSWER)).unwrap();
        assert_eq!(answer.result, Some(7));
        assert!(agent.receive::<u64>(&mut Patience::of(ANSWER)).is_err());
        answers.join().unwrap();
    }
}
