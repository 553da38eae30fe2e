//! What a plan says about the present: everything it would write is missing or damaged, everything it would remove is
//! left over. And what no step of it mends: payload that an entry of ours needs and the store no longer has.

use std::io;

use boot_entries::Subject;
use boot_entries::boot_partition::Place;
use boot_entries::entry::EntryFile;
use boot_entries::name::OurName as _;
use boot_entries::observe::Observation;
use boot_entries::plan::{self, Damage, Plan};
use boot_entries::step::Step;
use serde::Serialize;

use super::complaints::Complaints;
use super::{Planned, Prepared};
use crate::error::Error;
use crate::report::progress;
use crate::view::View;

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
    /// Whether it was made good since.
    pub mended: bool,
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
    /// What is wrong, or was.
    pub findings: Vec<Finding>,
}

impl Inspected {
    /// How much is wrong now.
    #[must_use]
    pub fn left(&self) -> usize {
        self.findings.iter().filter(|one| !one.mended).count()
    }

    /// Takes over what a second look `after` a mending found: what it no longer finds is mended.
    pub fn look_again(&mut self, after: Self) {
        let is_same = |one: &Finding, other: &Finding| one.path == other.path;
        for one in &mut self.findings {
            one.mended = !after.findings.iter().any(|left| is_same(one, left));
        }
        for left in after.findings {
            if !self.findings.iter().any(|one| is_same(one, &left)) {
                self.findings.push(left);
            }
        }
        (self.files, self.bytes) = (after.files, after.bytes);
    }
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
        let inspect = |one: &Planned| {
            let ownership = &self.intent.ownership;
            let is_other_systems = one.observed.other_systems(ownership);
            inspect(
                &one.place,
                &one.observed,
                &is_other_systems,
                planned_findings(one, &is_other_systems),
            )
        };
        self.planned.iter().map(inspect).collect()
    }
}

/// What is wrong in each place, as far as entries and names tell it by themselves: for a machine whose ledger is lost.
///
/// # Errors
/// When places cannot be told.
pub fn inspect_without_record(view: &View) -> Result<(Vec<Inspected>, Complaints), Error> {
    let places = view.places(&view.state)?;
    let mut complaints = Complaints::new(places.unusable);
    let mut digests = view.digests();
    let _shown = progress::Shown;
    digests.forget_boot();
    let mut inspected = Vec::new();
    for (number, place) in places.usable.iter().enumerate() {
        match Observation::read(place, Vec::new(), &[], &mut digests) {
            Ok(observed) => {
                let is_other_systems = view.other_systems();
                let findings = dangling(&observed, &Plan::default(), &is_other_systems);
                inspected.push(inspect(place, &observed, &is_other_systems, findings));
            }
            Err(error) => complaints.in_place(number == 0, place, error.into()),
        }
    }
    Ok((inspected, complaints))
}

/// Payload that entries of ours point at and that is not there, or is not what its name says, even when `plan` is
/// carried out.
fn dangling(
    observed: &Observation,
    plan: &Plan,
    is_other_systems: impl Fn(&EntryFile) -> bool,
) -> Vec<Finding> {
    let finding = |Damage { path, is_missing }| Finding {
        path,
        wrong: if is_missing {
            Wrong::Missing
        } else {
            Wrong::Damaged
        },
        mended: false,
    };
    let left = plan::left(observed, plan, is_other_systems).into_iter();
    left.map(finding).collect()
}

fn planned_findings(
    Planned { observed, plan, .. }: &Planned,
    is_other_systems: impl Fn(&EntryFile) -> bool,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for step in &plan.steps {
        let (path, wrong) = finding(observed, step);
        // A file that is removed and written anew is one finding.
        match findings.iter_mut().find(|known| known.path == *path) {
            Some(known) => known.wrong = Wrong::Damaged,
            None => findings.push(Finding {
                path: path.to_owned(),
                wrong,
                mended: false,
            }),
        }
    }
    for left in dangling(observed, plan, is_other_systems) {
        if !findings.iter().any(|known| known.path == left.path) {
            findings.push(left);
        }
    }
    findings
}

fn inspect(
    place: &Place,
    observed: &Observation,
    is_other_systems: impl Fn(&EntryFile) -> bool,
    findings: Vec<Finding>,
) -> Inspected {
    let all = observed.boot.all();
    let ours = all.filter(|(_, file)| file.name.is_ours() && !is_other_systems(file));
    Inspected {
        name: place.name.display().to_string(),
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
