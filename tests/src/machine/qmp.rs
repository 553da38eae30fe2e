//! What is done to a running machine from outside: QEMU's monitor (QMP).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Has QEMU do one thing.
pub(super) fn ask(socket: &Path, command: &str, arguments: &Value) -> Result<()> {
    let stream = UnixStream::connect(socket).context("no monitor")?;
    stream.set_read_timeout(Some(ANSWER))?;
    let mut monitor = BufReader::new(stream);
    let greeting = receive(&mut monitor)?;
    ensure!(
        greeting.get("QMP").is_some(),
        "not QEMU's monitor: {greeting}"
    );
    for request in [
        json!({ "execute": "qmp_capabilities" }),
        json!({ "execute": command, "arguments": arguments }),
    ] {
        monitor
            .get_mut()
            .write_all(format!("{request}\n").as_bytes())?;
        loop {
            let answer = receive(&mut monitor)?;
            if answer.get("return").is_some() {
                break;
            }
            if let Some(error) = answer.get("error") {
                bail!("QEMU refuses {request}: {error}");
            }
            // An event.
        }
    }
    Ok(())
}

fn receive(monitor: &mut BufReader<UnixStream>) -> Result<Value> {
    let mut line = String::new();
    monitor
        .read_line(&mut line)
        .context("the monitor does not answer")?;
    serde_json::from_str(&line).with_context(|| format!("the monitor says {line:?}"))
}
