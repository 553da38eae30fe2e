//! Long work, for whoever waits: on a terminal one line that is rewritten in place and gone at the end; elsewhere plain
//! lines, of which there are no more than changes.
//!
//! [`Reading`] and [`Writing`] are told what happens and when, and say what to show: they are pure. There is no thread
//! and no timer: while a disk does not answer, what is shown is the last thing that it did.

use std::io::{Write as _, stderr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use boot_entries::bounded;
use boot_entries::progress::{Progress, Watch};
use boot_entries::step::Step;

/// Before that nobody wonders.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same on a terminal: what is done by then does not flash up.
const FIRST: Duration = Duration::from_millis(400);
/// How long a line that is rewritten stays as it is.
const PAUSE: Duration = Duration::from_millis(100);
/// How much of a line is shown, in characters: it must not go on in a second one, which nothing would clear.
const WIDTH: usize = 78;
/// Clears the line that was shown.
pub const ERASE: &str = "\r\x1b[K";

/// Who reads what is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Audience {
    /// They want to hear of nothing but trouble.
    Nobody,
    /// A file, another program, the journal: lines stay.
    #[default]
    Reader,
    /// Somebody at a terminal: a line can be rewritten.
    Terminal,
}

/// What to show.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Say {
    /// A line that stays.
    Line(String),
    /// The line that is rewritten.
    Rewrite(String),
}

/// When the line that is rewritten was rewritten last, since the work began.
#[derive(Debug, Default)]
struct Pace(Option<Duration>);

impl Pace {
    /// Whether it may be `now`; then it is.
    fn is_due(&mut self, now: Duration) -> bool {
        let is_due = match self.0 {
            None => now >= FIRST,
            Some(last) => now.saturating_sub(last) >= PAUSE,
        };
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

/// Payload that is read to know what it holds. How much there is to read is known when it is read.
#[derive(Debug, Default)]
struct Reading {
    audience: Audience,
    generations: usize,
    bytes: u64,
    pace: Pace,
    is_said: bool,
}

impl Reading {
    fn heard(&mut self, now: Duration, progress: &Progress<'_>) -> Option<Say> {
        let Progress::Read { path, bytes } = progress else {
            return None;
        };
        self.bytes = self.bytes.saturating_add(*bytes);
        match self.audience {
            Audience::Terminal => {
                let is_due = self.pace.is_due(now);
                is_due.then(|| Say::Rewrite(self.line(path)))
            }
            Audience::Reader if now >= PATIENCE && !self.is_said => {
                self.is_said = true;
                let of = match self.generations {
                    1 => "1 generation".to_owned(),
                    count => format!("{count} generations"),
                };
                Some(Say::Line(format!("reading payload of {of}")))
            }
            Audience::Reader | Audience::Nobody => None,
        }
    }

    fn line(&self, path: &Path) -> String {
        let mebibytes = self.bytes / (1024 * 1024);
        fitting(&format!("{mebibytes} MiB read, reading {}", path.display()))
    }
}

/// Steps that are made.
#[derive(Debug, Default)]
struct Writing {
    audience: Audience,
    /// Of how many bytes.
    total: u64,
    bytes: u64,
    /// Of how many steps.
    count: usize,
    number: usize,
    /// The step that is being made.
    doing: String,
    pace: Pace,
}

impl Writing {
    fn new<'a>(audience: Audience, steps: impl Iterator<Item = &'a Step>) -> Self {
        let mut new = Self {
            audience,
            ..Self::default()
        };
        for step in steps {
            new.count += 1;
            new.total = new.total.saturating_add(step.bytes());
        }
        new
    }

    fn heard(&mut self, now: Duration, progress: &Progress<'_>) -> Option<Say> {
        match progress {
            Progress::Step(step) => {
                self.number += 1;
                let Self { number, count, .. } = self;
                if self.audience != Audience::Terminal {
                    return Some(Say::Line(format!("{number}/{count} {step}")));
                }
                let doing = match step {
                    Step::Copy { .. } => "copying",
                    Step::Text { .. } => {
                        self.bytes = self.bytes.saturating_add(step.bytes());
                        "writing"
                    }
                    Step::Remove { .. } => "removing",
                };
                self.doing = format!("{doing} {}", step.path());
            }
            Progress::Copied { bytes } => self.bytes = self.bytes.saturating_add(*bytes),
            Progress::Read { .. } => return None,
        }
        let is_due = self.audience == Audience::Terminal && self.pace.is_due(now);
        is_due.then(|| Say::Rewrite(self.line()))
    }

    fn line(&self) -> String {
        // Removals only have nothing to be a part of.
        let parts = self.bytes.saturating_mul(100).checked_div(self.total);
        match parts {
            // A source that has grown since fails when it is compared.
            Some(percent) => fitting(&format!("{:>3}% {}", percent.min(100), self.doing)),
            None => fitting(&self.doing),
        }
    }
}

/// Names may be anybody's: no control characters, and not too long. The end of a path says more than its beginning.
fn fitting(line: &str) -> String {
    let line = bounded::one_line(line, usize::MAX);
    let count = line.chars().count();
    if count <= WIDTH {
        return line;
    }
    let head: String = line.chars().take(WIDTH / 2 - 1).collect();
    let tail: String = line.chars().skip(count - WIDTH / 2).collect();
    format!("{head}…{tail}")
}

static AUDIENCE: OnceLock<Audience> = OnceLock::new();
/// Whether the terminal's last line is one that is rewritten.
static IS_SHOWN: AtomicBool = AtomicBool::new(false);

/// Says to whom it is shown, once per process.
pub fn address(audience: Audience) {
    // A second start, as in tests, keeps the first.
    AUDIENCE.get_or_init(|| audience);
}

fn audience() -> Audience {
    AUDIENCE.get().copied().unwrap_or_default()
}

/// Whether a line is shown that whoever says something else has to clear first ([`ERASE`]); from now on there is none.
pub(crate) fn was_shown() -> bool {
    IS_SHOWN.swap(false, Ordering::Relaxed)
}

/// Clears the line, if one is shown.
pub fn erase() {
    if was_shown() {
        // A terminal that is gone shows nothing.
        drop(stderr().write_all(ERASE.as_bytes()));
    }
}

/// Work during which a line may be shown, which is cleared when the work ends, in whichever way.
#[derive(Debug)]
pub struct Shown;

impl Drop for Shown {
    fn drop(&mut self) {
        erase();
    }
}

/// Shows what is being waited for, and for how long: on a terminal in the line that is rewritten, elsewhere a line at its
/// beginning and one a minute.
pub fn waiting(what: &str, seconds: u64) {
    let text = format!("{what}, {seconds} s");
    let say = match audience() {
        Audience::Reader if seconds <= 1 || seconds.is_multiple_of(60) => Some(Say::Line(text)),
        Audience::Terminal => Some(Say::Rewrite(text.chars().take(WIDTH).collect())),
        Audience::Nobody | Audience::Reader => None,
    };
    show(say);
}

fn show(say: Option<Say>) {
    match say {
        Some(Say::Line(line)) => tracing::info!("{line}"),
        Some(Say::Rewrite(line)) => {
            IS_SHOWN.store(true, Ordering::Relaxed);
            // One write does not flicker. On a terminal that is narrower still, the line ends at its border.
            let text = format!("\r\x1b[?7l{line}\x1b[K\x1b[?7h");
            drop(stderr().write_all(text.as_bytes()));
        }
        None => {}
    }
}

/// Shows what is read for so many `generations` from now on.
#[must_use]
pub fn reading(generations: usize) -> Watch {
    let began = Instant::now();
    let reading = Mutex::new(Reading {
        audience: audience(),
        generations,
        ..Reading::default()
    });
    Watch::new(move |progress| {
        let mut reading = reading.lock().unwrap_or_else(PoisonError::into_inner);
        let say = reading.heard(began.elapsed(), &progress);
        drop(reading);
        show(say);
    })
}

/// Shows how steps are made, from now on.
#[derive(Debug)]
pub struct Writes {
    began: Instant,
    writing: Writing,
    _shown: Shown,
}

/// Shows how these `steps` are made.
pub fn writing<'a>(steps: impl Iterator<Item = &'a Step>) -> Writes {
    Writes {
        began: Instant::now(),
        writing: Writing::new(audience(), steps),
        _shown: Shown,
    }
}

impl Writes {
    /// Of what is done.
    pub fn heard(&mut self, progress: &Progress<'_>) {
        show(self.writing.heard(self.began.elapsed(), progress));
    }
}

#[cfg(test)]
mod tests;
