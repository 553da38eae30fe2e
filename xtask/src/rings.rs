//! The rings of tests, fast ones first. What cannot run is a failure, never a skip.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use lastgood_tests::container::Rootfs;
use lastgood_tests::debian::Debian;
use lastgood_tests::{host, paths, scratch, units};

use crate::output;

/// A ring of tests. Each is slower than the one before and closer to a real machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ring {
    /// Format, lints, units as systemd reads them, and the tests inside the crates
    Fast,
    /// Golden trees: whole commands with `--root`
    Trees,
    /// The model of the loader against the real one, in real firmware, without a kernel
    Loader,
    /// Real systemd as PID 1, in a container
    Container,
    /// Real boots in a virtual machine
    Vm,
}

/// What one ring came to.
struct Report {
    ring: Ring,
    tests: usize,
    took: Duration,
    outcome: Result<()>,
}

/// So many steps has the simulator in the long run.
const SIMULATED: &str = "10000000";

/// What all rings take under `target/` in a clean clone, in GiB. They share programs and images.
const ALL_TAKE: u64 = 11;

/// Runs one ring, or all of them; a failed one does not keep the next from running.
///
/// `long`: also what takes minutes and tries new cases each time, or is nearly the same as another story.
pub(crate) fn run(only: Option<Ring>, long: bool) -> Result<()> {
    scratch::sweep()?;
    scratch::ensure_room(only.map_or(ALL_TAKE, Ring::takes))?;
    host::ensure_packages(output::line)?;
    let rings = Ring::value_variants()
        .iter()
        .copied()
        .filter(|ring| only.is_none_or(|only| only == *ring));
    let mut reports = Vec::new();
    for ring in rings {
        let begun = Instant::now();
        let mut tests = 0;
        let mut outcome = ring.run(long, &mut tests);
        if outcome.is_ok() && tests == 0 {
            outcome = Err(anyhow::anyhow!("no test ran"));
        }
        reports.push(Report {
            ring,
            tests,
            took: begun.elapsed(),
            outcome,
        });
    }
    output::line("");
    for report in &reports {
        let outcome = match &report.outcome {
            Ok(()) => "passed".to_owned(),
            Err(error) => format!("FAILED: {error:#}"),
        };
        let ring = format!("{:?}", report.ring).to_lowercase();
        let took = report.took.as_secs_f64();
        output::line(&format!(
            "{ring:9}  {:4} tests  {took:6.1} s  {outcome}",
            report.tests
        ));
    }
    let failed = reports
        .iter()
        .filter(|report| report.outcome.is_err())
        .count();
    ensure!(failed == 0, "{failed} of {} rings failed", reports.len());
    Ok(())
}

impl Ring {
    /// What it takes under `target/` by itself in a clean clone, in GiB.
    const fn takes(self) -> u64 {
        match self {
            Self::Fast | Self::Loader => 4,
            Self::Trees => 7,
            Self::Container | Self::Vm => 9,
        }
    }

    fn run(self, long: bool, tests: &mut usize) -> Result<()> {
        match self {
            Self::Fast => {
                cargo(&["fmt", "--check"])?;
                cargo(&[
                    "clippy",
                    "--quiet",
                    "--workspace",
                    "--all-targets",
                    "--",
                    "-D",
                    "warnings",
                ])?;
                count(
                    &["test", "--quiet", "--workspace", "--lib", "--bins"],
                    tests,
                )?;
                if long {
                    simulate()?;
                }
                for debian in Debian::ALL {
                    let checked = units::verify(&Rootfs::build(debian)?.root())?;
                    output::line(&format!(
                        "systemd of {} has no complaint about {checked} units",
                        debian.name()
                    ));
                }
                Ok(())
            }
            Self::Trees => count(&test("trees"), tests),
            // One machine at a time, and its figures are for people.
            Self::Loader => {
                let mut arguments = test("loader").to_vec();
                arguments.extend(["--", "--test-threads=1", "--nocapture"]);
                if !long {
                    arguments.extend(["--skip", "long_"]);
                }
                count(&arguments, tests)
            }
            // A container mostly waits for what is being watched.
            Self::Container => {
                let mut arguments = test("container").to_vec();
                arguments.extend(["--", "--test-threads=6"]);
                if !long {
                    arguments.extend(["--skip", "::long_"]);
                }
                count(&arguments, tests)
            }
            // A machine has one processor, which is emulated by one of ours, and waits for a third of its time.
            Self::Vm => {
                let mut arguments = test("vm").to_vec();
                arguments.extend(["--", "--test-threads=3"]);
                if !long {
                    arguments.extend(["--skip", "long_"]);
                }
                count(&arguments, tests)
            }
        }
    }
}

/// The arguments that run one of the test programs of `tests/`.
fn test(program: &str) -> [&str; 6] {
    [
        "test",
        "--quiet",
        "--package",
        "lastgood-tests",
        "--test",
        program,
    ]
}

fn cargo(arguments: &[&str]) -> Result<()> {
    let status = command(arguments).status().context("cannot run cargo")?;
    ensure!(status.success(), "cargo {}: {status}", arguments.join(" "));
    Ok(())
}

/// Random histories of a machine, many more than in every run, and faster than the tests are otherwise.
fn simulate() -> Result<()> {
    let arguments = [
        "test",
        "--release",
        "--quiet",
        "--package",
        "lastgood",
        "--lib",
        "simulator",
    ];
    let mut cargo = command(&arguments);
    cargo.env("LASTGOOD_SIMULATOR_STEPS", SIMULATED);
    let status = cargo.status().context("cannot run cargo")?;
    ensure!(status.success(), "the simulator: {status}");
    Ok(())
}

/// Runs `cargo test` and adds up how many tests it ran.
fn count(arguments: &[&str], tests: &mut usize) -> Result<()> {
    let mut child = command(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo")?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    let mut ignored = 0;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        output::line(&line);
        if let Some(summary) = Summary::parse(&line) {
            *tests += summary.run;
            ignored += summary.ignored;
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "cargo {}: {status}", arguments.join(" "));
    if ignored > 0 {
        bail!("{ignored} tests are ignored: a test that does not run proves nothing");
    }
    Ok(())
}

fn command(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments).current_dir(paths::repository());
    // What each crate was, bit by bit, is of use to whoever changes it: gigabytes that a run of all tests does without.
    cargo.env("CARGO_INCREMENTAL", "0");
    cargo
}

/// The line a test program ends with.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    run: usize,
    ignored: usize,
}

impl Summary {
    /// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; ...`.
    fn parse(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let of = |word: &str| {
            let part = counts
                .split("; ")
                .find_map(|part| part.strip_suffix(word))?;
            part.trim().parse::<usize>().ok()
        };
        Some(Self {
            run: of(" passed")? + of(" failed")?,
            ignored: of(" ignored")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_counted_and_other_lines_are_not() {
        let line = "test result: FAILED. 11 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.59s";
        assert_eq!(
            Summary::parse(line),
            Some(Summary {
                run: 13,
                ignored: 1
            })
        );
        assert_eq!(Summary::parse("test cache::tests::x ... ok"), None);
    }
}
