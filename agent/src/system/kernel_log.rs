//! The kernel's log: the only one there is before the journal.

use std::fs::{File, OpenOptions};
use std::io::Write as _;

use boot_entries::Root;

use crate::host::KERNEL_LOG;
use crate::report::line::plain;

/// How bad it is, as in syslog(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something is not as it should be.
    Error = 3,
    /// What was done.
    Info = 6,
}

/// The kernel's log, written to by one step. Without it (a container) nothing is said.
#[derive(Debug)]
pub struct KernelLog {
    step: &'static str,
    file: Option<File>,
}

impl KernelLog {
    /// Opens it. Every record begins with the name of the `step`.
    #[must_use]
    pub fn open(root: &Root, step: &'static str) -> Self {
        let kmsg = root.join(KERNEL_LOG);
        let file = OpenOptions::new().write(true).open(kmsg).ok();
        Self { step, file }
    }

    /// Writes one record. Nobody is left to tell when the log itself fails.
    pub fn say(&mut self, level: Level, text: &str) {
        let record = format!("<{}>{}: {}\n", level as u8, self.step, plain(text));
        if let Some(file) = &mut self.file {
            drop(file.write_all(record.as_bytes()));
        }
    }
}
