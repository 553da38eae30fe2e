//! What a live switch costs on a machine with many services, and what it costs to watch one. Both systemd releases. Where
//! `LASTGOOD_BENCH_PEER` names nixpkgs' `switch-to-configuration`, both switch the same closures on the same machine,
//! in turns.

mod gap;
mod machine;
mod times;
mod watching;

use std::path::PathBuf;

use anyhow::Result;
use lastgood_tests::debian::Debian;

use crate::output;

/// The variable that names the other program. Its source and how to build it are not here.
const PEER: &str = "LASTGOOD_BENCH_PEER";

/// How much is measured.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How many services there are
    #[arg(long, default_value_t = 200)]
    units: usize,
    /// How often each case is timed in each direction
    #[arg(long, default_value_t = 5)]
    times: usize,
    /// Only this release of Debian
    #[arg(long, value_parser = ["12", "13"])]
    debian: Option<String>,
    /// Only what it costs to watch a machine
    #[arg(long)]
    watching: bool,
    /// For how many minutes it is watched
    #[arg(long, default_value_t = 1)]
    minutes: u64,
}

/// Measures, and prints a table for each release.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let peer = std::env::var_os(PEER).map(PathBuf::from);
    if peer.is_none() && !arguments.watching {
        output::line(&format!("{PEER} is not set: nobody to compare with"));
    }
    for debian in Debian::ALL {
        let number = debian.name().trim_start_matches("debian-");
        if arguments.debian.as_ref().is_some_and(|only| only != number) {
            continue;
        }
        if !arguments.watching {
            machine::run(debian, arguments, peer.as_deref())?;
        }
        watching::run(debian, arguments.units, arguments.minutes)?;
    }
    Ok(())
}
