//! The one binary. Reads the command line and returns; the library does the work.

use std::ffi::OsString;
use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;

use boot_entries::Root;
use clap::Parser;
use clap::error::ErrorKind;
use lastgood::activation::generator;
use lastgood::cli::{Cli, completion, instead_of};
use lastgood::command;
use lastgood::error::Error;
use lastgood::exit::Exit;
use lastgood::operation::stage_2::{is_init, pid_1};
use lastgood::report::line::one_line;
use lastgood::report::print;

/// systemd runs generators by their file name, with three directories and no options.
const GENERATOR: &str = "lastgood-generator";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let called = arguments.first().map(Path::new).and_then(Path::file_name);
    if called.is_some_and(|name| name == GENERATOR) {
        if let Some(early) = arguments.get(2) {
            generator::run(&Root::new("/"), Path::new(early));
        }
        return Exit::Done.into();
    }
    if let Some((name, given)) = arguments.split_first()
        && is_init(Path::new(name))
    {
        drop(pid_1(given));
        return Exit::Failed.into();
    }
    // After PID 1's part: words of the kernel's command line are in its environment.
    match completion::answer(&arguments) {
        Ok(false) => {}
        Ok(true) => return Exit::Done.into(),
        Err(said) => {
            drop(writeln!(
                stderr(),
                "lastgood: {}: {said}",
                completion::VARIABLE
            ));
            return Exit::Usage.into();
        }
    }
    match Cli::try_parse_from(&arguments) {
        Ok(cli) => run(cli).into(),
        Err(said) => {
            if let Some(instead) = instead_of(&said) {
                drop(writeln!(stderr(), "lastgood: {instead}"));
                return Exit::Usage.into();
            }
            let help = matches!(
                said.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            // A closed terminal is no reason to fail differently.
            drop(said.print());
            if help { Exit::Done } else { Exit::Usage }.into()
        }
    }
}

fn run(cli: Cli) -> Exit {
    command::start_journal(cli.verbose, cli.quiet);
    let mut out = stdout().lock();
    let done = command::run(&Root::new(cli.root), cli.command, &mut out)
        .and_then(|()| Ok(out.flush().map_err(print::Error::Output)?));
    match done {
        // Whoever read our output has seen enough of it.
        Err(Error::Print(print::Error::Output(error)))
            if error.kind() == std::io::ErrorKind::BrokenPipe =>
        {
            Exit::Done
        }
        Err(error) => {
            drop(writeln!(stderr(), "lastgood: {}", one_line(&error)));
            error.exit()
        }
        Ok(()) => Exit::Done,
    }
}
