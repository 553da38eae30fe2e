//! The command line: what was typed.

use std::path::PathBuf;

use boot_entries::GenerationId;
use clap::{Args, Parser, Subcommand};
use clap_complete::ArgValueCandidates;

use live::{DryActivate, Live, Rollback, SwitchToConfiguration};

pub mod completion;
pub mod live;

/// Every server, every boot, ends up running the newest generation that works.
#[derive(Debug, Parser)]
#[command(
    name = "lastgood",
    version,
    max_term_width = 100,
    after_help = "\
Exit status: 0 done; 1 refused or failed, the line on standard error says what to do; 2 usage;
4 units failed and were put back; 100 it takes a reboot.
GENERATION is NUMBER, PROFILE:NUMBER, or either with /SPECIALISATION.
`lastgood COMMAND --help` has an example of each; the operator's guide (docs/operator.md) has the rest."
)]
pub struct Cli {
    /// Work on the tree under DIR instead of the running machine. Links inside it are followed inside it. Checks that
    /// need a live machine (mounts, EFI variables, units) are left out.
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
    ///
    /// Copies kernels and initrds to $BOOT, writes an entry for each generation, and lets the loader try TOPLEVEL at
    /// the next boot, with three tries. If all of them fail, the machine goes back to the last good generation by
    /// itself. With nothing to do it writes nothing. A generation that was rejected is refused without --again.
    #[command(after_long_help = "\
Example:
  nix-env --profile /nix/var/nix/profiles/system --set /nix/store/...-nixos-system-web-25.05
  lastgood install --dry-run && lastgood install && systemctl reboot

Exit status: 0 TOPLEVEL boots next; 1 refused, and nothing was changed; or 1 failed half-way:
what was proven still boots, and running it again finishes the work; 2 usage.")]
    Install(Install),
    /// Make the machine that of a generation now, and let it boot it next. Undo it if it does not end well.
    ///
    /// Stops, reloads, restarts and starts what the closure has changed, and nothing else. Then it looks whether all of it
    /// runs, and goes on running. If not, the machine is put back as it was, and what was wrong is told. Only when all is
    /// well the generation boots next: as a trial, until a boot has proven it.
    #[command(after_long_help = "\
Example:
  lastgood dry-activate 48
  lastgood switch 48 --confirm-within 2m && ssh host lastgood confirm

Exit status: 0 done; 1 refused or failed, and nothing is changed, or it is changed back; 2 usage;
4 units failed, and the machine is back as it was; 100 it takes a reboot, and nothing is changed.")]
    Switch(Live),
    /// Make the machine that of a generation now, and boot what it would have booted. Undo it if it does not end well.
    ///
    /// As switch, but the next boot is not changed. The closure need not be in any profile.
    #[command(after_long_help = "\
Example:
  lastgood test ./result

Exit status: 0 done; 1 refused or failed, and nothing is changed, or it is changed back; 2 usage;
4 units failed, and the machine is back as it was; 100 it takes a reboot, and nothing is changed.")]
    Test(Live),
    /// Let the machine boot a generation next, and change nothing now.
    ///
    /// The same as install.
    #[command(after_long_help = "\
Example:
  lastgood boot 48 && systemctl reboot

Exit status: 0 it boots next; 1 refused or failed; 2 usage.")]
    Boot(Install),
    /// Show what a switch would do to the running machine, line for line, and change nothing.
    ///
    /// The lines are those that the switch prints when it does it.
    #[command(after_long_help = "\
Example:
  lastgood dry-activate 48

Exit status: 0 done; 1 a switch would be refused, or failed; 2 usage; 100 it would take a reboot.")]
    DryActivate(DryActivate),
    /// Go back to the generation before, now and at the next boot.
    ///
    /// Live, if kernel, initrd and their parameters are the same; otherwise it says so, and --reboot does it. The profile
    /// points at that generation then, as after `nix-env --rollback`.
    #[command(after_long_help = "\
Example:
  lastgood rollback
  lastgood rollback --to 46 --reboot

Exit status: 0 done; 1 refused or failed, and nothing is changed, or it is changed back; 2 usage;
4 units failed, and the machine is back as it was; 100 it takes a reboot, and nothing is changed.")]
    Rollback(Rollback),
    /// Keep a change that was made with --confirm-within.
    ///
    /// Without it the machine goes back by itself when the time is up.
    #[command(after_long_help = "\
Example:
  lastgood switch 48 --confirm-within 2m
  lastgood confirm

Exit status: 0 it stays; 1 there is nothing to confirm, or failed; 2 usage.")]
    Confirm,
    /// List generations and how each stands.
    ///
    /// Prints what `nixos-rebuild list-generations` prints, and the state of each: proven, trial (being tried),
    /// untested, rejected, unbootable. Also the tries it has left, and which one is booted, selected and last good.
    #[command(after_long_help = "\
Example:
  lastgood list-generations --json | jq '.[] | select(.state == \"proven\") | .generation'

Exit status: 0 done; 1 failed; 2 usage.")]
    ListGenerations(Output),
    /// Show what runs, what is proven, what boots next, and what is wrong.
    ///
    /// Also shows where failed boots lead, and when the machine went back last and why. Each thing that is wrong comes with
    /// what to type.
    #[command(after_long_help = "\
Example:
  lastgood status

Exit status: 0 done, whatever it shows; 1 failed; 2 usage.")]
    Status(Output),
    /// Show why a generation was rejected, or why the machine runs what it runs.
    ///
    /// Prints what was tried, the stage that the boot reached, the unit that failed with its last log lines, what the
    /// machine did then, and what to do next.
    #[command(after_long_help = "\
Example:
  lastgood why
  lastgood why 47

Exit status: 0 done; 1 there is no verdict yet, or failed; 2 usage.")]
    Why {
        /// Which generation; by default the one that was found bad last.
        ///
        /// NUMBER (of the system profile, as in 47), PROFILE:NUMBER (test:3), or either with /SPECIALISATION
        /// (47/debug).
        #[arg(add = ArgValueCandidates::new(completion::generations))]
        generation: Option<GenerationId>,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Show what happened on this machine: selections, boots, verdicts and fallbacks.
    ///
    /// The oldest first, each boot a paragraph of its own. With --json also the small steps in between. What is older than
    /// the ledger keeps is not there any more.
    #[command(after_long_help = "\
Example:
  lastgood log --last 20

Exit status: 0 done; 1 nothing has happened yet, or failed; 2 usage.")]
    Log(Log),
    /// Show what boots now, and after 1 to N failed boots, and why.
    ///
    /// A model of systemd-boot is run on the entries and firmware variables of this machine. Changes nothing.
    #[command(after_long_help = "\
Example:
  lastgood next-boot --failures 6

Exit status: 0 done; 1 no entry can be started, or failed; 2 usage.")]
    NextBoot {
        /// How many failed boots to look ahead.
        #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(..=1000))]
        failures: u16,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Check that everything a boot needs is where the loader reads it, byte for byte.
    ///
    /// Reads all of it, on every mirror. For gigabytes that takes minutes. Changes nothing without --repair.
    #[command(after_long_help = "\
Example:
  lastgood verify || lastgood verify --repair

Exit status: 0 all is whole, or whole again; 1 something is not, and the line says what to do; 2 usage.")]
    Verify(Verify),
    /// Show what is different between two closures.
    ///
    /// Compares packages, units, /etc, firewall, kernel, initrd, kernel parameters and lastgood.toml. Each difference is
    /// a line: + is new, - is gone, ~ is another one. Packages are those that Nix knows the closures need. Changes
    /// nothing.
    #[command(after_long_help = "\
Example:
  lastgood diff 46 47
  lastgood diff 47 ./result

Exit status: 0 done, whether they differ or not; 1 one of them is not there, or failed; 2 usage.")]
    Diff {
        /// What was.
        ///
        /// A generation: NUMBER (of the system profile, as in 47), PROFILE:NUMBER (test:3), or either with
        /// /SPECIALISATION (47/debug). Or the path of a closure, which need not be in any profile.
        #[arg(add = ArgValueCandidates::new(completion::generations))]
        from: PathBuf,
        /// What is.
        ///
        /// As FROM: NUMBER, PROFILE:NUMBER, either with /SPECIALISATION, or the path of a closure.
        #[arg(add = ArgValueCandidates::new(completion::generations))]
        to: PathBuf,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Check whether this host is ready for lastgood, and say what is to be done.
    ///
    /// Looks at firmware, loader, boot partition, store, record, units, programs and the current generation. Each line is
    /// good, a limit (it works, and something is not to be had here) or to do, with what to type. What `install` would
    /// refuse, this foretells. Changes nothing.
    #[command(after_long_help = "\
Example:
  lastgood doctor

Exit status: 0 nothing is to be done; 1 something is, or failed; 2 usage.")]
    Doctor(Output),
    /// Try the checks that the active closure declares, once each, and show what came of them.
    ///
    /// They are those of [health.checks] in its lastgood.toml, run as an assessment runs them: each in a unit of its own,
    /// with its time limit. Changes nothing, and is no verdict.
    #[command(after_long_help = "\
Example:
  lastgood check
  lastgood check web

Exit status: 0 all that are required hold; 1 one does not, or failed; 2 usage.")]
    Check(Check),
    /// Check a configuration file, or a whole closure, for mistakes.
    ///
    /// The file is what a closure has as etc/lastgood/lastgood.toml. The first mistake is told with line and column. Of a
    /// closure all is checked that `install` checks: the file, the firewall, the script, whether each unit can be linked, and
    /// whether units of the closure and of this host wait for each other in a circle.
    #[command(after_long_help = "\
Example:
  lastgood check-config ./lastgood.toml
  lastgood check-config ./result

Exit status: 0 there is no mistake; 1 there is one, or it cannot be read; 2 usage.")]
    CheckConfig {
        /// The file or the closure; by default the generation at which the system profile points.
        #[arg(value_name = "FILE|TOPLEVEL")]
        file: Option<PathBuf>,
    },
    /// Accept a generation as proven, without an assessment.
    ///
    /// The machine then falls back to it. Its entry loses its counter, and its closure is kept from the garbage
    /// collector.
    #[command(after_long_help = "\
Example:
  lastgood good
  lastgood good 47

Exit status: 0 it is proven; 1 refused or failed; 2 usage.")]
    Good {
        /// Which; by default the running one.
        ///
        /// NUMBER (of the system profile, as in 47), PROFILE:NUMBER (test:3), or either with /SPECIALISATION
        /// (47/debug).
        #[arg(add = ArgValueCandidates::new(completion::generations))]
        generation: Option<GenerationId>,
    },
    /// Reject a generation. It is not booted again until it is installed with --again.
    ///
    /// The profile points at the last good generation again. What runs goes on running until the next boot. The command
    /// is refused when no other generation is proven.
    #[command(after_long_help = "\
Example:
  lastgood bad 47 && systemctl reboot

Exit status: 0 it is rejected; 1 refused or failed; 2 usage.")]
    Bad {
        /// Which; by default the running one.
        ///
        /// NUMBER (of the system profile, as in 47), PROFILE:NUMBER (test:3), or either with /SPECIALISATION
        /// (47/debug).
        #[arg(add = ArgValueCandidates::new(completion::generations))]
        generation: Option<GenerationId>,
    },
    /// Hold this boot: no automatic reboot ends it, whatever the verdict.
    ///
    /// For whoever looks for a fault on the machine that has it. A reboot that was announced does not come. The verdict
    /// stands: what was rejected is rejected, and `systemctl reboot` goes back. The hold ends with the boot.
    #[command(after_long_help = "\
Example:
  lastgood hold

Exit status: 0 it is held; 1 it is too late, or failed; 2 usage.")]
    Hold,
    /// Remove everything of lastgood's from the boot partition, and leave it bootable.
    ///
    /// The last good generation stays bootable, by an entry as nixpkgs' builder writes it: the next `nixos-rebuild`
    /// takes it over. The ledger is kept.
    #[command(after_long_help = "\
Example:
  lastgood uninstall --dry-run && lastgood uninstall && nixos-rebuild boot

Exit status: 0 nothing of lastgood's is left; 1 refused, because nothing bootable would be
left, or failed; 2 usage.")]
    Uninstall {
        /// Print what would be written and removed, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// What NixOS calls as a closure's bin/switch-to-configuration.
    #[command(hide = true)]
    SwitchToConfiguration(SwitchToConfiguration),
    /// Whether the agent's files may be taken away. Run by the package before it is removed.
    #[command(hide = true)]
    MayBeRemoved,
    /// The steps of a boot. Run by lastgood's units, each once, in this order. And those of a live switch, which the
    /// command starts.
    #[command(subcommand, hide = true)]
    Step(BootStep),
}

/// `install`.
#[derive(Debug, Args)]
pub struct Install {
    /// The closure to boot next; by default what the system profile points at.
    ///
    /// The store path of a generation or of a specialisation, a link to it, or a generation: NUMBER (of the system
    /// profile, as in 47), PROFILE:NUMBER (test:3), or either with /SPECIALISATION (47/debug).
    #[arg(add = ArgValueCandidates::new(completion::generations))]
    pub toplevel: Option<PathBuf>,
    /// Print what would be done, and change nothing. Refuses what install would refuse.
    #[arg(long)]
    pub dry_run: bool,
    /// Select a generation although it was rejected or its tries are used up. It gets all its tries again.
    #[arg(long)]
    pub again: bool,
    /// Take a closure whose hostname is not this machine's.
    #[arg(long)]
    pub new_hostname: bool,
}

/// `log`.
#[derive(Debug, Args)]
pub struct Log {
    /// Only the last N lines.
    #[arg(long, value_name = "N")]
    pub last: Option<std::num::NonZeroUsize>,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
}

/// `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Only these checks; by default all.
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(completion::checks))]
    pub names: Vec<String>,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
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
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum BootStep {
    /// Before systemd: make /etc and /run/current-system the closure's. PID 1 runs it.
    #[command(name = "stage-2")]
    Stage2,
    /// Link the units of the booted closure for systemd. The generator runs it.
    Units {
        /// systemd's directory for what comes before /etc/systemd/system.
        early: PathBuf,
    },
    /// Find out what runs, and record the attempt.
    Begin,
    /// Put the closure's /etc in place.
    Activate,
    /// Load the closure's firewall, or close the machine.
    Firewall,
    /// Watch the machine until it is found healthy or not.
    Assess,
    /// Record the running generation as proven.
    Bless,
    /// Watch the running generation for a while, now that it is proven.
    Watch,
    /// Go back to the last good generation, if that is what the verdict asks for.
    FallBack,
    /// Go down, and up again with the last good generation. In a unit of its own: it waits for those who are there.
    GoDown {
        /// `at-once`: wait for nobody. `go-on`: from what runs, which is not rejected, to what is selected.
        how: Vec<String>,
    },
    /// In emergency mode: bring the machine to the network, with its SSH server.
    Emergency,
    /// Put on record that this boot comes to its end in order. systemd asks for it when the machine goes down.
    End {
        /// What the machine does next. By default systemd is asked; in a tree there is none.
        #[arg(long)]
        way: Option<String>,
    },
    /// Go back to a closure without a reboot, in a unit of its own: whoever acts upon a verdict is shut in.
    FallBackLive {
        /// The closure that was found bad.
        from: PathBuf,
        /// The closure to go back to.
        to: PathBuf,
    },
    /// The work of a live switch, in a unit of its own: it outlives the session that asked for it.
    Switch {
        /// Where it says how far it is.
        said: PathBuf,
        /// What is asked for, as JSON.
        request: String,
    },
    /// Undo a live switch that nobody has confirmed, or whose maker is gone. A timer starts it.
    Unconfirmed,
    /// Try a check of a closure once. A unit of its own runs it.
    Check {
        /// The closure that declares it.
        closure: PathBuf,
        /// Which.
        name: String,
    },
    /// Look again at units that a live switch has left on their way.
    Later {
        /// Which.
        units: Vec<String>,
    },
}

/// What to do instead of a command that is not here yet, in one line. None: no such command is planned.
#[must_use]
pub fn not_here_yet(command: &str) -> Option<String> {
    let instead = match command {
        "pin" | "unpin" => {
            "what runs, what is selected and the two generations proven last are kept anyway; others stay for as long as their \
             profile lists them"
        }
        _ => return None,
    };
    Some(format!("{command}: not here yet; {instead}"))
}

/// The answer to the error `said`, if what was typed is a command that is not here yet.
#[must_use]
pub fn instead_of(said: &clap::Error) -> Option<String> {
    use clap::error::{ContextKind, ContextValue};
    match said.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(command)) => not_here_yet(command),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
