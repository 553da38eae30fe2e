//! What a plan says about the present: everything it would write is missing or damaged, everything it would remove is
//! left over.

use std::io;

use boot_entries::Subject;
use boot_entries::observe::Observation;
use boot_entries::plan::Step;
use serde::Serialize;

use super::entries::{Planned, Prepared};

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    /// It is not there.
    Missing,
    /// It is there with other bytes.
    Damaged,
    /// Nobody needs it any more.
    LeftOver,
}

impl Wrong {
    /// For people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::LeftOver => "left over",
        }
    }
}

/// A file that is not as it should be.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Relative to the top of its partition.
    pub path: String,
    /// What is wrong.
    pub wrong: Wrong,
}

/// What was found in one place.
#[derive(Debug, Serialize)]
pub struct Inspected {
    /// The ESP's mount point.
    pub name: String,
    /// How many files of ours were read.
    pub files: usize,
    /// How many bytes of payload were.
    pub bytes: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Prepared {
    /// Generations that a fallback may need and that cannot be booted, each in one line: what is wrong with them on
    /// `$BOOT` cannot be told.
    #[must_use]
    pub fn missed(&self) -> Vec<String> {
        let Some(first) = self.planned.first() else {
            return Vec::new();
        };
        let skipped = first.plan.skipped.iter();
        let needed = skipped.filter(|(subject, _)| self.needed.contains(subject));
        let line = |(subject, why): &(Subject, String)| {
            format!("generation {} cannot be booted: {why}", subject.generation)
        };
        needed.map(line).collect()
    }

    /// What was found in each place.
    #[must_use]
    pub fn inspected(&self) -> Vec<Inspected> {
        self.planned.iter().map(inspect).collect()
    }
}

fn inspect(planned: &Planned) -> Inspected {
    let observed = &planned.observed;
    let ours = observed.boot.all().filter(|(_, file)| file.name.is_ours());
    let mut findings: Vec<Finding> = Vec::new();
    for step in &planned.plan.steps {
        let (path, wrong) = finding(observed, step);
        // A file that is removed and written anew is one finding.
        match findings.iter_mut().find(|known| known.path == *path) {
            Some(known) => known.wrong = Wrong::Damaged,
            None => findings.push(Finding {
                path: path.to_owned(),
                wrong,
            }),
        }
    }
    Inspected {
        name: planned.place.name.display().to_string(),
        files: ours.count() + observed.payload.len(),
        bytes: observed.payload.values().map(|content| content.size).sum(),
        findings,
    }
}

fn finding<'a>(observed: &Observation, step: &'a Step) -> (&'a str, Wrong) {
    match step {
        Step::Remove { path, .. } => (path, Wrong::LeftOver),
        Step::Copy { on, path, .. } | Step::Text { on, path, .. } => {
            let there = observed.boot.place.directory(*on).join(path);
            let found = there.symlink_metadata().map_err(|error| error.kind());
            let is_missing = found.err() == Some(io::ErrorKind::NotFound);
            let wrong = if is_missing {
                Wrong::Missing
            } else {
                Wrong::Damaged
            };
            (path, wrong)
        }
    }
}
