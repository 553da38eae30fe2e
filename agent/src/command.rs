//! What was typed is done: each command parses, calls an operation or reads a view, and prints.

mod boot;
mod check_config;
mod diff;
mod doctor;
mod generations;
mod install;
mod judge;
#[cfg(test)]
mod ledgers;
mod log;
mod next_boot;
mod status;
mod switch;
mod switch_to_configuration;
mod uninstall;
mod verify;
mod why;

use std::io::Write;

use boot_entries::Root;

use crate::cli::Command;
use crate::error::Error;
use crate::operation::removal;
use crate::operation::switch::request::Action;
use crate::report::speech;
use crate::report::style::Style;

/// Does what was asked for.
///
/// # Errors
/// Why it was not done.
pub fn run(root: &Root, command: Command, out: &mut impl Write) -> Result<(), Error> {
    let style = Style::here();
    match command {
        Command::Install(install) | Command::Boot(install) => install::run(root, &install, out),
        Command::ListGenerations(output) => generations::run(root, output, style, out),
        Command::Status(output) => status::run(root, output, style, out),
        Command::Log(arguments) => log::run(root, &arguments, style, out),
        Command::Why { generation, output } => {
            why::run(root, generation.as_ref(), output, style, out)
        }
        Command::NextBoot { failures, output } => {
            next_boot::run(root, usize::from(failures), output, style, out)
        }
        Command::Verify(verify) => verify::run(root, &verify, out),
        Command::Diff { from, to, output } => diff::run(root, (&from, &to), output, style, out),
        Command::Doctor(output) => doctor::run(root, output, style, out),
        Command::CheckConfig { file } => check_config::run(root, file.as_deref(), out),
        Command::Good { generation } => judge::good(root, generation.as_ref(), out),
        Command::Bad { generation } => judge::bad(root, generation.as_ref(), out),
        Command::Hold => judge::hold(root, out),
        Command::Uninstall { dry_run } => uninstall::run(root, dry_run, out),
        Command::MayBeRemoved => removal::may_be_removed(root),
        Command::Switch(live) => switch::run(root, Action::Switch, &live, out),
        Command::Test(live) => switch::run(root, Action::Test, &live, out),
        Command::DryActivate(arguments) => switch::dry(root, &arguments, out),
        Command::Rollback(arguments) => switch::rollback(root, &arguments, out),
        Command::Confirm => switch::confirm(root, out),
        Command::SwitchToConfiguration(arguments) => {
            switch_to_configuration::run(root, &arguments, out)
        }
        Command::Step(step) => boot::run(root, step),
    }
}

/// Starts saying things as the command line wants it.
pub fn start_journal(verbose: bool, quiet: bool) {
    speech::start(match (verbose, quiet) {
        (true, _) => speech::Verbosity::Verbose,
        (_, true) => speech::Verbosity::Quiet,
        _ => speech::Verbosity::Normal,
    });
}
