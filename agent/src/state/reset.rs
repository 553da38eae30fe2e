//! How the boot before this one came to its end. Pure.
//!
//! Only a failure costs a generation. A power cut, somebody's reboot, a choice at the loader's menu and a disk that cannot
//! be written are none, so they have to be told apart. What can be known is this:
//!
//! | what is seen | what it was |
//! |---|---|
//! | the same boot of the kernel, another one of user space | a soft-reboot |
//! | a record in pstore | a panic, also where a watchdog has fired then |
//! | the watchdog's own boot status | the watchdog |
//! | the loader did not start what runs | a kexec |
//! | an end in order is on record | that |
//! | an automatic reboot is on record, and no end in order | that, by force |
//! | none of these | lost: the power, the reset button, or a hang that somebody ended. Nothing tells them apart |
//!
//! A panic that comes before `efi_pstore` is loaded (Debian's initrds do not have it) leaves no record, and counts as
//! lost. The watchdog's status is about the last reset only.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::BootRecord;
use super::cause::Stage;
use super::fault::Fault;

/// What a machine that is going down in order is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Through the firmware.
    Reboot,
    /// Into another kernel, without the firmware.
    Kexec,
    /// User space only.
    SoftReboot,
    /// Off, or halted.
    PowerOff,
    /// Nobody can tell, or a newer agent can.
    #[serde(other)]
    Unknown,
}

impl Way {
    /// By its word. One that is not known is unknown.
    #[must_use]
    pub fn of_word(word: &str) -> Self {
        Self::of_target(&format!("{word}.target")).unwrap_or(Self::Unknown)
    }

    /// By the unit that is started for it.
    #[must_use]
    pub fn of_target(unit: &str) -> Option<Self> {
        Some(match unit {
            "reboot.target" => Self::Reboot,
            "kexec.target" => Self::Kexec,
            "soft-reboot.target" => Self::SoftReboot,
            "poweroff.target" | "halt.target" => Self::PowerOff,
            _ => return None,
        })
    }
}

/// The end of a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// In order: somebody asked for it, or lastgood did.
    Orderly,
    /// lastgood rebooted it, by force.
    Forced,
    /// The kernel panicked.
    Panic,
    /// The hardware watchdog fired.
    Watchdog,
    /// Another kernel was started in its place.
    Kexec,
    /// User space was started anew.
    SoftReboot,
    /// It just ended.
    Lost,
    /// There was none on record, or a newer agent knows.
    #[serde(other)]
    Unknown,
}

impl How {
    /// Its name, as it is on record.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Orderly => "orderly",
            Self::Forced => "forced",
            Self::Panic => "panic",
            Self::Watchdog => "watchdog",
            Self::Kexec => "kexec",
            Self::SoftReboot => "soft-reboot",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }
}

/// In half a sentence, for people.
impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Orderly => "the boot before was shut down in order",
            Self::Forced => "lastgood ended the boot before by force",
            Self::Panic => "the kernel panicked in the boot before",
            Self::Watchdog => "the hardware watchdog ended the boot before: the kernel or systemd hung",
            Self::Kexec => "another kernel was started without the firmware (kexec)",
            Self::SoftReboot => "user space was started anew (soft-reboot)",
            Self::Lost => {
                "the boot before just ended: the power failed, somebody pressed the reset button, or the machine was reset"
            }
            Self::Unknown => "nothing is known of the boot before",
        })
    }
}

/// How the boot before ended, as it is on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reset {
    /// In one word.
    pub how: How,
    /// How far a kernel that panicked had come, from its own log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// What it said at last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
}

/// What a kernel that panicked has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic {
    /// How far it had come.
    pub stage: Stage,
    /// Its last words, in one line.
    pub words: Option<String>,
}

/// What is seen at the beginning of a boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The kernel is the same as in the boot that is on record, and user space is not.
    pub same_kernel: bool,
    /// A record of the last panic.
    pub panic: Option<Panic>,
    /// The hardware watchdog says that it fired.
    pub watchdog: bool,
    /// The loader's variables are about something that does not run.
    pub not_by_the_loader: bool,
}

impl Evidence {
    /// What it comes to, with the boot `before` that is on record.
    #[must_use]
    pub fn tells(self, before: Option<&BootRecord>) -> Reset {
        let of = |how| Reset {
            how,
            stage: None,
            words: None,
        };
        if self.same_kernel {
            return of(How::SoftReboot);
        }
        if let Some(Panic { stage, words }) = self.panic {
            return Reset {
                how: How::Panic,
                stage: Some(stage),
                words,
            };
        }
        let ended = before.and_then(|boot| boot.ended);
        of(match ended {
            _ if self.watchdog => How::Watchdog,
            Some(Way::Kexec) => How::Kexec,
            _ if self.not_by_the_loader => How::Kexec,
            Some(_) => How::Orderly,
            None if before.is_none() => How::Unknown,
            None if before.is_some_and(|boot| boot.is_left) => How::Forced,
            None => How::Lost,
        })
    }
}

impl Reset {
    /// What is at fault where boots of a generation ended so.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self.how {
            How::Panic => Some(Fault::Panic),
            How::Watchdog => Some(Fault::Watchdog),
            _ => None,
        }
    }
}

/// In half a sentence, for people.
impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.words {
            Some(words) => write!(f, "{}: {words}", self.how),
            None => self.how.fmt(f),
        }
    }
}

/// How far a kernel had come, and what it said at last: from what pstore has kept of its log, in whatever order.
#[must_use]
pub fn panic_of(log: &str) -> Panic {
    // The lines begin with a time in brackets, and in pstore with a level in angle brackets.
    let message = |line: &str| {
        let line = line.trim_start_matches(|c: char| c == '<' || c == '>' || c.is_ascii_digit());
        let line = line.trim_start();
        match line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((_, rest)) => rest.trim().to_owned(),
            None => line.trim().to_owned(),
        }
    };
    let lines: Vec<String> = log.lines().map(message).collect();
    let has = |words: &str| lines.iter().any(|line| line.contains(words));
    let words = lines
        .iter()
        .find(|line| line.starts_with("Kernel panic - "))
        .map(|line| line.chars().take(200).collect());
    Panic {
        stage: if has("Run /init as init process") || has("Run /sbin/init as init process") {
            Stage::Initrd
        } else {
            Stage::Kernel
        },
        words,
    }
}

#[cfg(test)]
mod tests;
