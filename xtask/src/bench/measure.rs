//! One run: how long, what it changed, how much memory.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lastgood_tests::{command, faults, program};

use super::fixture::Fixture;

/// How often a case is timed.
pub(crate) const TIMES: usize = 5;

/// What a run cost.
#[derive(Debug, Default)]
pub(crate) struct Cost {
    /// The median of [`TIMES`].
    wall: Duration,
    /// Calls that change files, or make a change durable.
    calls: usize,
    /// The latter.
    syncs: usize,
    /// Written to `$BOOT`, in bytes.
    to_boot: u64,
    /// Written elsewhere, in bytes.
    elsewhere: u64,
    /// The peak of the resident set, in KiB.
    peak: u64,
}

impl Cost {
    /// The line above all others.
    pub(crate) fn header() -> String {
        let [ms, calls, syncs] = ["ms", "calls", "(syncs)"];
        let [to_boot, elsewhere, peak] = ["bytes to $BOOT", "elsewhere", "peak KiB"];
        format!(
            "{:24}  {ms:>8}  {calls:>6} {syncs:>7}  {to_boot}  {elsewhere:>10}  {peak:>9}",
            ""
        )
    }

    /// A line under [`Self::header`].
    pub(crate) fn line(&self, case: &str) -> String {
        let wall = self.wall.as_secs_f64() * 1000.0;
        let Self {
            calls,
            syncs,
            to_boot,
            elsewhere,
            peak,
            ..
        } = self;
        let syncs = format!("({syncs})");
        format!(
            "{case:24}  {wall:8.1}  {calls:6} {syncs:>7}  {to_boot:14}  {elsewhere:10}  {peak:9}"
        )
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// The command.
    pub(crate) command: &'static [&'static str],
    /// What its last line must say.
    pub(crate) says: &'static str,
}

/// Measures `run`. It begins every time with what `prepare` brings about.
pub(crate) fn cost(fixture: &Fixture, run: Run, prepare: impl Fn() -> Result<()>) -> Result<Cost> {
    let mut cost = Cost::default();
    let mut times = Vec::new();
    for _ in 0..TIMES {
        prepare()?;
        let begun = Instant::now();
        let ended = fixture.tree().lastgood(run.command)?;
        times.push(begun.elapsed());
        let last = ended.stdout.lines().last().unwrap_or_default();
        ensure!(
            ended.status == 0 && last.contains(run.says),
            "{:?}: {ended:?}",
            run.command
        );
    }
    times.sort();
    cost.wall = times.get(TIMES / 2).copied().unwrap_or_default();
    prepare()?;
    changes(fixture, run, &mut cost)?;
    prepare()?;
    cost.peak = peak(fixture, run)?;
    Ok(cost)
}

fn changes(fixture: &Fixture, run: Run, cost: &mut Cost) -> Result<()> {
    for call in faults::calls(fixture.tree(), run.command)? {
        cost.calls += 1;
        match call.name.as_str() {
            "fsync" | "fdatasync" | "syncfs" | "sync_file_range" => cost.syncs += 1,
            _ if call.path.starts_with("boot/") => cost.to_boot += call.bytes,
            _ => cost.elsewhere += call.bytes,
        }
    }
    Ok(())
}

/// As time(1) says. A process starts with the resident set of the one that made it: that one must be small.
fn peak(fixture: &Fixture, run: Run) -> Result<u64> {
    let told = tempfile::NamedTempFile::new()?;
    let mut time = Command::new("time");
    time.args(["--format=%M", "--output"])
        .arg(told.path())
        .arg(program::build()?)
        .arg("--root")
        .arg(fixture.tree().path(""))
        .args(run.command);
    command::output(time.stdin(Stdio::null()))?;
    let told = std::fs::read_to_string(told.path())?;
    told.trim().parse().context(told)
}
