//! The project's own commands: `cargo xtask COMMAND`.

mod bench;
mod demo;
mod dist;
mod manuals;
mod output;
mod rings;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::{Parser, Subcommand};
use lastgood_tests::{host, image};

use crate::rings::Ring;

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "The project's own commands")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install the Debian packages that the tests need
    Setup,
    /// Build the virtual machine's image, or say where it is
    Image,
    /// Run the tests, fast ones first; whatever cannot run is a failure
    Test {
        /// Only this ring
        #[arg(long, value_enum)]
        ring: Option<Ring>,
        /// Also what takes minutes and tries new cases each time: the loader's many layouts
        #[arg(long)]
        long: bool,
    },
    /// Show it: a bad generation is booted, judged, and undone, with nobody at the console
    Demo {
        /// Also draw what really happened
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// Write manual pages and completions; without DIR refresh docs/lastgood.toml and nix/options.json
    Manuals {
        /// Where to: DIR/man8, DIR/man5, DIR/bash, DIR/zsh, DIR/fish
        dir: Option<PathBuf>,
    },
    /// Build what a person installs: a Debian package and a tarball
    Dist {
        /// Where they go
        #[arg(long, value_name = "DIR", default_value = "target/dist")]
        out: PathBuf,
    },
    /// Say what runs of the shipped binary cost: time, changes to the disk, memory
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Setup => host::ensure_packages(output::line),
        Command::Image => build_image(),
        Command::Test { ring, long } => rings::run(ring, long),
        Command::Demo { svg } => demo::run(svg.as_deref()),
        Command::Manuals { dir } => manuals::run(dir.as_deref()),
        Command::Dist { out } => dist::run(&out).map(|made| {
            for file in [made.deb, made.tarball] {
                output::line(&file.display().to_string());
            }
        }),
        Command::Bench(arguments) => bench::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn build_image() -> Result<()> {
    let begun = Instant::now();
    host::ensure_packages(output::line)?;
    let image = image::build()?;
    for (step, built) in &image.steps {
        output::line(&match built.took {
            Some(took) => format!("{step}: built in {:.1} s", took.as_secs_f64()),
            None => format!("{step}: there already"),
        });
    }
    let disk = image.disk();
    output::line(&format!(
        "{} ({:.1} s)",
        disk.display(),
        begun.elapsed().as_secs_f64()
    ));
    Ok(())
}
