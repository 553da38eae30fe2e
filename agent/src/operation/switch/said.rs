//! What a switch says while it is under way: a file of JSON lines that the worker appends to, and that whoever asked
//! follows. The worker outlives them, and never waits for them.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::exit::Exit;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Said {
    /// Something is done now, or was found. The line stays.
    Line(String),
    /// Something is not as it should be. The line stays.
    Warning(String),
    /// What is being waited for. The next line takes its place.
    Waiting {
        /// For what.
        what: String,
        /// Since when, in seconds.
        seconds: u64,
    },
    /// It has ended, with this exit status; and what stops it, if something does.
    Ended {
        /// The exit status.
        exit: u8,
        /// In one line.
        error: Option<String>,
    },
}

/// Where the worker says it.
#[derive(Debug, Default)]
pub struct Speaker {
    path: PathBuf,
    file: Option<File>,
    last_waiting: (String, u64),
    /// For whoever is in the same process.
    kept: Option<Vec<Said>>,
}

impl Speaker {
    /// Speaks into the file at `path`, if it is there. If not, nobody listens.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            file: File::options().append(true).open(path).ok(),
            ..Self::default()
        }
    }

    /// Speaks to nobody but the journal.
    #[must_use]
    pub fn silent() -> Self {
        Self::default()
    }

    /// Keeps what is said for [`Self::kept`].
    #[must_use]
    pub fn keeping() -> Self {
        Self {
            kept: Some(Vec::new()),
            ..Self::default()
        }
    }

    /// What was said.
    #[must_use]
    pub fn kept(self) -> Vec<Said> {
        self.kept.unwrap_or_default()
    }

    /// Says something that is done now.
    pub fn line(&mut self, text: impl Into<String>) {
        let text = text.into();
        if self.kept.is_none() {
            tracing::info!("{text}");
        }
        self.put(&Said::Line(text));
    }

    /// Says that something is not as it should be.
    pub fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        if self.kept.is_none() {
            tracing::warn!("{text}");
        }
        self.put(&Said::Warning(text));
    }

    /// Says what is waited for, and since when.
    pub fn waiting(&mut self, what: &str, since: Duration) {
        let now = (what.to_owned(), since.as_secs());
        if now != self.last_waiting {
            let (what, seconds) = now.clone();
            self.put(&Said::Waiting { what, seconds });
            self.last_waiting = now;
        }
    }

    /// Says how it ended.
    pub fn ended(&mut self, exit: Exit, error: Option<String>) {
        self.put(&Said::Ended {
            exit: exit as u8,
            error,
        });
    }

    fn put(&mut self, said: &Said) {
        if let Some(kept) = &mut self.kept {
            kept.push(said.clone());
        }
        let Some(file) = &mut self.file else {
            return;
        };
        let written = serde_json::to_string(said)
            .map_err(io::Error::from)
            .and_then(|line| file.write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = written {
            tracing::warn!("cannot write {}: {error}", self.path.display());
            self.file = None;
        }
    }
}

/// Who follows.
#[derive(Debug)]
pub struct Listener {
    file: File,
    /// What was read and is no whole line yet.
    rest: Vec<u8>,
}

impl Listener {
    /// Follows the file at `path` from its beginning.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::open(path)?,
            rest: Vec::new(),
        })
    }

    /// What was said since. A line that cannot be read is passed over: it was cut off by the worker's death.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn hear(&mut self) -> io::Result<Vec<Said>> {
        self.file.read_to_end(&mut self.rest)?;
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(Vec::new());
        };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        let lines = whole.split(|byte| *byte == b'\n');
        Ok(lines
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard_once_and_half_a_line_later() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut speaker = Speaker::at(file.path());
        let mut listener = Listener::at(file.path()).unwrap();
        speaker.line("one");
        for seconds in [3, 3, 4] {
            speaker.waiting("for a", Duration::from_secs(seconds));
        }
        let heard = listener.hear().unwrap();
        let waiting = |seconds| Said::Waiting {
            what: "for a".to_owned(),
            seconds,
        };
        let expected = [Said::Line("one".to_owned()), waiting(3), waiting(4)];
        assert_eq!(heard, expected);
        let mut raw = File::options().append(true).open(file.path()).unwrap();
        raw.write_all(b"{\"line\":").unwrap();
        assert_eq!(listener.hear().unwrap(), []);
        raw.write_all(b"\"two\"}\n{ cut off\n").unwrap();
        speaker.ended(Exit::Done, None);
        let heard = listener.hear().unwrap();
        let ended = Said::Ended {
            exit: 0,
            error: None,
        };
        assert_eq!(heard, [Said::Line("two".to_owned()), ended]);
        Speaker::at(Path::new("/nowhere/at/all")).line("to nobody");
    }
}
