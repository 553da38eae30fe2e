//! The command line: what was typed.

use std::path::PathBuf;

use boot_entries::GenerationId;
use clap::{Args, Parser, Subcommand};

/// Every server, every boot, ends up running the newest generation that works.
#[derive(Debug, Parser)]
#[command(
    name = "lastgood",
    version,
    max_term_width = 100,
    after_help = "\
Exit status: 0 done; 1 refused or failed, the line says what; 2 usage.
GENERATION is NUMBER, PROFILE:NUMBER, or either with /SPECIALISATION."
)]
pub struct Cli {
    /// Work on the tree under DIR instead of the running machine. Links inside it stay inside it; checks that need a
    /// live machine (mounts, EFI variables, units) are left out.
    #[arg(long, global = true, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// Say more.
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Say only what is wrong.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write boot entries for all generations, and select TOPLEVEL for the next boot.
    Install(Install),
    /// List generations and how each stands.
    ListGenerations(Output),
    /// Tell what runs, what is selected, what is proven.
    Status(Output),
    /// Tell why a generation was rejected, or why the machine runs what it runs.
    Why {
        /// Which generation; by default the one that was judged last.
        generation: Option<GenerationId>,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Tell what boots now, and after 1 to N failed boots, and why.
    NextBoot {
        /// How many failed boots to look ahead.
        #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(..=1000))]
        failures: u16,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Check that everything a boot needs is where the loader reads it, byte for byte.
    Verify(Verify),
    /// Accept a generation as proven, without an assessment.
    Good {
        /// Which; by default the running one.
        generation: Option<GenerationId>,
    },
    /// Reject a generation. It is not booted again until it is installed with --again.
    Bad {
        /// Which; by default the running one.
        generation: Option<GenerationId>,
    },
    /// Remove everything of ours from the boot partition, and leave what is proven to nixpkgs' builder or whoever is next.
    Uninstall {
        /// Print what would be written and removed, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// The steps of a boot. Run by lastgood's units, each once, in this order.
    #[command(subcommand, hide = true)]
    Boot(BootStep),
}

/// `install`.
#[derive(Debug, Args)]
pub struct Install {
    /// The closure to boot next: the store path of a generation or of a specialisation, a link to it, or GENERATION.
    /// By default what the system profile points at.
    pub toplevel: Option<PathBuf>,
    /// Print what would be written, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Try a generation that was rejected, or whose tries are used up, once more.
    #[arg(long)]
    pub again: bool,
}

/// `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// Mend what is missing or damaged, from the store.
    #[arg(long)]
    pub repair: bool,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
}

/// How to print.
#[derive(Debug, Clone, Copy, Args)]
pub struct Output {
    /// Print JSON; its form is documented and stable.
    #[arg(long)]
    pub json: bool,
}

/// A step of a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum BootStep {
    /// Find out what runs, and record the attempt.
    Begin,
    /// Put the closure's /etc in place.
    Activate,
    /// Load the closure's firewall, or close the machine.
    Firewall,
    /// Watch until the machine is healthy or not.
    Assess,
    /// Record the running generation as proven.
    Bless,
    /// Go back to the last good generation, if that is what the verdict asks for.
    FallBack,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
