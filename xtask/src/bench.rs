//! What a run of the shipped binary costs. Figures to look at; nothing here passes or fails.

mod etc;
mod fall_back;
mod fixture;
mod measure;
mod stage_2;
mod switch;

use anyhow::{Result, ensure};
use lastgood_tests::{host, program};

use crate::output;
use fixture::Fixture;
use measure::{Cost, Run};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Something else than entries and `/etc`
    #[command(subcommand)]
    only: Option<Only>,
    /// How many generations there are; several numbers are several benches
    #[arg(long, value_delimiter = ',', default_value = "1,10,100")]
    generations: Vec<u64>,
    /// Kernel and initrd of a generation together, in KiB
    #[arg(long, default_value_t = 482)]
    payload: u64,
    /// Measure instead how long a closure's /etc with so many files takes to be put in place
    #[arg(long)]
    etc: Option<u64>,
    /// Measure instead what stage 2 adds to a boot in the virtual machine, with so many files in /etc
    #[arg(long, value_delimiter = ',', num_args = 0.., default_missing_value = "100,1000,10000")]
    stage_2: Vec<u64>,
}

/// What else can be measured.
#[derive(Debug, clap::Subcommand)]
enum Only {
    /// What a live switch costs, and watching a machine: in containers, beside nixpkgs' program if `LASTGOOD_BENCH_PEER`
    /// names its binary
    Switch(switch::Arguments),
    /// How long the machine is away after a fault, by each way back: in the virtual machine
    Fallback(fall_back::Arguments),
}

/// A run that is measured.
#[derive(Debug, Clone, Copy)]
enum Case {
    /// Nothing of ours on `$BOOT`.
    First,
    /// One generation was added.
    OneMore,
    /// Nothing was changed, and everything on `$BOOT` was read before in this boot.
    Nothing,
    /// Nothing was changed, and nothing was read before: the first run of a boot.
    NothingKnown,
    /// Somebody asks how the machine is.
    Status,
}

impl Case {
    const ALL: [Self; 5] = [
        Self::First,
        Self::OneMore,
        Self::Nothing,
        Self::NothingKnown,
        Self::Status,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::First => "first install",
            Self::OneMore => "one more",
            Self::Nothing => "nothing to do",
            Self::NothingKnown => "nothing to do, all read",
            Self::Status => "status",
        }
    }

    /// What is run.
    fn command(self) -> &'static [&'static str] {
        match self {
            Self::Status => &["status"],
            _ => &["install"],
        }
    }

    /// Brings about what this case begins with. `fixture` has its `count` generations installed before and after.
    fn prepare(self, fixture: &Fixture, count: u64) -> Result<()> {
        match self {
            Self::First => fixture.forget_all(),
            Self::OneMore => {
                fixture.keep(count)?;
                settle(fixture)?;
                fixture.add(count + 1)
            }
            Self::Nothing | Self::Status => Ok(()),
            Self::NothingKnown => fixture.forget_digests(),
        }
    }

    /// What the program must say in its last line: a run that fails quickly is not a fast one.
    fn says(self) -> &'static str {
        match self {
            Self::First | Self::OneMore => "changes",
            Self::Nothing | Self::NothingKnown => "nothing to do",
            Self::Status => "boots next",
        }
    }
}

/// Runs the benches and prints a table of each.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    host::ensure_packages(output::line)?;
    program::build()?;
    match &arguments.only {
        Some(Only::Switch(arguments)) => return switch::run(arguments),
        Some(Only::Fallback(arguments)) => return fall_back::run(arguments),
        None => {}
    }
    if let Some(count) = arguments.etc {
        return etc::run(count);
    }
    if !arguments.stage_2.is_empty() {
        return stage_2::run(&arguments.stage_2);
    }
    for count in &arguments.generations {
        ensure!(*count > 0, "a bench needs a generation");
        let fixture = Fixture::new(*count, arguments.payload * 1024)?;
        output::line(&format!(
            "\n{count} generations, {} bytes of payload each; median of {}",
            fixture.payload_of_one(),
            measure::TIMES
        ));
        output::line(&Cost::header());
        settle(&fixture)?;
        for case in Case::ALL {
            let run = Run {
                command: case.command(),
                says: case.says(),
            };
            let cost = measure::cost(&fixture, run, || case.prepare(&fixture, *count))?;
            output::line(&cost.line(case.name()));
            fixture.keep(*count)?;
            settle(&fixture)?;
        }
    }
    Ok(())
}

/// As a machine is that goes on: the first generation is the last good one, and the newest a trial.
fn settle(fixture: &Fixture) -> Result<()> {
    for command in [&["install"][..], &["good", "1"]] {
        let ended = fixture.tree().lastgood(command)?;
        ensure!(ended.status == 0, "{command:?}: {ended:?}");
    }
    Ok(())
}
