//! The first process of a plain host: what a closure's `init` leads to. It has the work done by a process of its own,
//! and then becomes systemd, whatever came of that.
//!
//! Small on purpose: if this process dies, the kernel panics. It has no thread, runs no shell, and waits no longer than
//! [`PATIENCE`].

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use boot_entries::Root;

use crate::host::SYSTEMD;
use crate::report::line::plain;
use crate::system::kernel_log::{KernelLog, Level};
use crate::system::{mount, ourselves};

/// How long the work may take. A few thousand links take less than a second.
const PATIENCE: Duration = Duration::from_mins(1);
/// What the work is called on the command line.
const WORK: [&str; 2] = ["step", "stage-2"];

/// Does what is to be done before systemd is started, and becomes systemd. `arguments` are what the kernel or the
/// initrd has given to `init`, without its name.
///
/// It returns only when there is no systemd to become. The kernel then panics, and the loader's counter goes on.
#[must_use]
pub fn pid_1(arguments: &[OsString]) -> io::Error {
    // Before anything else: it says where this program is.
    let mounted = [mount::proc(), mount::run()];
    let mut told = Told::open();
    for error in mounted.into_iter().filter_map(Result::err) {
        told.error(&error.to_string());
    }
    if let Err(error) = ourselves::run(&WORK, PATIENCE) {
        told.error(&format!(
            "{error}; systemd is started all the same, and this boot proves nothing"
        ));
    }
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for systemd in SYSTEMD {
        last = Command::new(systemd).args(arguments).exec();
        told.error(&format!("cannot start {systemd}: {last}"));
    }
    last
}

/// The console and the kernel's log.
struct Told(KernelLog);

impl Told {
    fn open() -> Self {
        Self(KernelLog::open(&Root::new("/"), "lastgood-stage-2"))
    }

    fn error(&mut self, text: &str) {
        self.0.say(Level::Error, text);
        // The kernel gives its first process the console. One that is gone says nothing.
        drop(writeln!(io::stderr(), "lastgood-stage-2: {}", plain(text)));
    }
}

/// Whether a process that was called `name` is the first one, as a closure's `init`.
#[must_use]
pub fn is_init(name: &Path) -> bool {
    name.file_name().is_some_and(|name| name == "init") && std::process::id() == 1
}
