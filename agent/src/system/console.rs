//! One line on the machine's console.
//!
//! What the steps of a boot say on standard error, systemd copies from the journal to the console. An event of the
//! ledger is given to the journal itself, with fields, and no copy is made of that.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::fcntl::OFlag;

const CONSOLE: &str = "/dev/console";

/// A serial line that nobody reads may take nothing, and must not hold up a boot.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes `text` as a line of this program, as systemd would. The journal has it: a console that is not there, or takes
/// nothing, costs nothing.
pub fn line(text: &str) {
    let line = format!("{}lastgood[{}]: {text}\r\n", time(), std::process::id());
    if let Err(error) = write(Path::new(CONSOLE), line, PATIENCE) {
        tracing::debug!("cannot write to {CONSOLE}: {error}");
    }
}

/// Since the kernel started: lines of the kernel stand beside ours.
fn time() -> String {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = uptime.split(' ').next().unwrap_or_default();
    format!("[{seconds:>12}] ")
}

/// Opening and writing may each take for ever: that is then left to a thread that ends with the program.
fn write(path: &Path, line: String, patience: Duration) -> io::Result<()> {
    let (done, is_done) = mpsc::channel();
    let mut open = OpenOptions::new();
    open.write(true).custom_flags(OFlag::O_NOCTTY.bits());
    let path = path.to_owned();
    thread::spawn(move || {
        let written = open
            .open(path)
            .and_then(|mut to| to.write_all(line.as_bytes()));
        // Whoever waits may have given up.
        drop(done.send(written));
    });
    let written = is_done.recv_timeout(patience);
    written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    #[test]
    fn a_console_that_takes_nothing_is_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let nobody_reads = directory.path().join("fifo");
        mkfifo(&nobody_reads, Mode::S_IRWXU).unwrap();
        let error = write(&nobody_reads, "x".to_owned(), Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_console_gets_the_line_and_is_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let console = directory.path().join("console");
        let put = || write(&console, "x\r\n".to_owned(), Duration::from_mins(1));
        assert_eq!(put().unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::File::create(&console).unwrap();
        put().unwrap();
        assert_eq!(std::fs::read_to_string(&console).unwrap(), "x\r\n");
    }
}
