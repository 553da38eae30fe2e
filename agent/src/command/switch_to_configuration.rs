//! A closure's `bin/switch-to-configuration` on NixOS, where the module puts it through lastgood: nixos-rebuild, colmena,
//! deploy-rs and comin get a switch that is undone when it fails, without knowing. Arguments, variables and exit statuses
//! are those of nixpkgs' program.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use boot_entries::Root;

use super::{install, switch};
use crate::cli::live::{DryActivate, NixosAction, SwitchToConfiguration};
use crate::cli::{Install, Output};
use crate::error::Error;
use crate::operation::switch::request::{Action, Request};
use crate::system::program::{self, Ran};

/// What nixpkgs' program calls the action in the environment of what it runs.
const ACTION: &str = "NIXOS_ACTION";
/// How long a closure's check may take.
const PATIENCE: Duration = Duration::from_mins(10);

pub(super) fn run(
    root: &Root,
    arguments: &SwitchToConfiguration,
    out: &mut impl Write,
) -> Result<(), Error> {
    let toplevel = &arguments.toplevel;
    let live = |action| {
        let request = switch::of_this_session(action);
        let name = word(arguments.action);
        let mut environment = request.environment.clone();
        environment.insert(ACTION.to_owned(), name.to_owned());
        Request {
            toplevel: Some(toplevel.clone()),
            environment,
            ..request
        }
    };
    let is_unchecked = switch::of_this_session(Action::Test).no_check;
    if let Some(check) = arguments
        .pre_switch_check
        .as_deref()
        .filter(|_| !is_unchecked)
    {
        pre_switch(check, toplevel, word(arguments.action))?;
    }
    match arguments.action {
        NixosAction::Check => Ok(()),
        NixosAction::Switch => switch::follow(root, &live(Action::Switch), out),
        NixosAction::Test => switch::follow(root, &live(Action::Test), out),
        NixosAction::Boot => {
            let install = Install {
                toplevel: Some(toplevel.clone()),
                dry_run: false,
                again: false,
                new_hostname: false,
            };
            install::run(root, &install, out)
        }
        NixosAction::DryActivate => {
            let dry = DryActivate {
                toplevel: Some(toplevel.clone()),
                output: Output { json: false },
            };
            switch::dry(root, &dry, out)
        }
    }
}

fn word(action: NixosAction) -> &'static str {
    match action {
        NixosAction::Check => "check",
        NixosAction::Switch => "switch",
        NixosAction::Boot => "boot",
        NixosAction::Test => "test",
        NixosAction::DryActivate => "dry-activate",
    }
}

fn pre_switch(check: &Path, toplevel: &Path, action: &str) -> Result<(), Error> {
    let mut command = Command::new(check);
    command.arg(toplevel).arg(action);
    let ran = program::run_within(&mut command, Stdio::null(), PATIENCE)?;
    let Ran {
        status,
        stdout,
        stderr,
    } = &ran;
    for line in stdout.lines().chain(stderr.lines()) {
        tracing::info!("{line}");
    }
    if status.success() {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "the closure's own check refuses it ({status}); its lines above say why; NIXOS_NO_CHECK=1 leaves it out"
    )))
}
