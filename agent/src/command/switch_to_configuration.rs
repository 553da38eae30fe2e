//! A closure's `bin/switch-to-configuration` on NixOS, where the module puts it through lastgood: nixos-rebuild, colmena,
//! deploy-rs and comin get a switch that is undone when it fails, without knowing. Arguments, variables and exit statuses
//! are those of nixpkgs' program.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use boot_entries::Root;

use super::{install, switch};
use crate::cli::live::{DryActivate, NixosAction, SwitchToConfiguration};
use crate::cli::{Install, Output};
use crate::error::Error;
use crate::exit::Exit;
use crate::host::CURRENT_SYSTEM;
use crate::operation::switch::fit;
use crate::operation::switch::request::{Action, NIXOS_ACTION, Request};
use crate::system::program;

pub(super) fn run(
    root: &Root,
    arguments: &SwitchToConfiguration,
    out: &mut impl Write,
) -> Result<(), Error> {
    let toplevel = &arguments.toplevel;
    let action = action(arguments.words.first().map(AsRef::as_ref))?;
    let live = |action| Request {
        toplevel: Some(toplevel.clone()),
        ..switch::of_this_session(action)
    };
    let check = arguments.pre_switch_check.as_deref();
    if let Some(check) = check.filter(|_| !live(Action::Test).no_check) {
        pre_switch(check, toplevel, action)?;
    }
    match action {
        NixosAction::Check => Ok(()),
        // nixpkgs' program has selected it by then, too.
        NixosAction::Switch if takes_another_init(root, toplevel)? => {
            boot(root, toplevel, out)?;
            Err(Error::Ended {
                exit: Exit::RebootNeeded,
                text: format!(
                    "{} boots next, and is not active before: it needs another init than the one that runs; reboot when it suits",
                    toplevel.display()
                ),
            })
        }
        NixosAction::Switch => switch::follow(root, &live(Action::Switch), out),
        NixosAction::Test => switch::follow(root, &live(Action::Test), out),
        NixosAction::Boot => boot(root, toplevel, out),
        NixosAction::DryActivate => {
            let dry = DryActivate {
                toplevel: Some(toplevel.clone()),
                output: Output { json: false },
            };
            switch::dry(root, &dry, out)
        }
    }
}

/// What was typed. nixpkgs' program ends with status 1 where that is no action, and so does this one.
fn action(word: Option<&OsStr>) -> Result<NixosAction, Error> {
    word.and_then(NixosAction::of).ok_or_else(|| {
        let wrong = match word {
            None => "no action is given".to_owned(),
            Some(word) => format!("there is no action {}", word.display()),
        };
        let names = NixosAction::ALL.map(NixosAction::name).join("|");
        Error::Refused(format!("{wrong}; Usage: switch-to-configuration [{names}]"))
    })
}

fn boot(root: &Root, toplevel: &Path, out: &mut impl Write) -> Result<(), Error> {
    let install = Install {
        toplevel: Some(toplevel.to_owned()),
        dry_run: false,
        again: false,
        new_hostname: false,
    };
    install::run(root, &install, out)
}

fn takes_another_init(root: &Root, toplevel: &Path) -> Result<bool, Error> {
    // That nothing is active here is for the switch to say.
    let Ok(active) = root.canonical(CURRENT_SYSTEM) else {
        return Ok(false);
    };
    match fit::check_init_interface(root, &active, toplevel) {
        Ok(()) => Ok(false),
        Err(Error::Ended {
            exit: Exit::RebootNeeded,
            ..
        }) => Ok(true),
        Err(error) => Err(error),
    }
}

fn pre_switch(check: &Path, toplevel: &Path, action: NixosAction) -> Result<(), Error> {
    let mut command = Command::new(check);
    command.arg(toplevel).arg(action.name());
    let status = program::watched(command.env(NIXOS_ACTION, action.name()))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "the closure's own check refuses it ({status}); its lines above say why; NIXOS_NO_CHECK=1 leaves it out"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot_entries::durable;
    use std::os::unix::fs::PermissionsExt;

    /// How it ended with a check that ends with `ends`, and what that check was called with.
    fn asked(root: &Root, words: &[&str], ends: u8) -> (Result<(), Error>, Option<String>) {
        let tree = tempfile::tempdir().unwrap();
        let check = tree.path().join("check");
        let said = tree.path().join("said");
        let text = format!(
            "#!/bin/sh\necho \"$* $NIXOS_ACTION\" > {}\nexit {ends}\n",
            said.display()
        );
        durable::put_text(&text, &check).unwrap();
        std::fs::set_permissions(&check, std::fs::Permissions::from_mode(0o755)).unwrap();
        let arguments = SwitchToConfiguration {
            toplevel: "/nix/store/x".into(),
            pre_switch_check: Some(check),
            words: words.iter().map(Into::into).collect(),
        };
        let ended = run(root, &arguments, &mut Vec::new());
        (ended, std::fs::read_to_string(said).ok())
    }

    #[test]
    fn what_is_no_action_ends_as_in_nixpkgs_program() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        for words in [&[][..], &["--help"], &["Switch"], &["reboot", "switch"]] {
            let (ended, checked) = asked(&root, words, 0);
            let error = ended.unwrap_err();
            assert_eq!(error.exit() as u8, 1, "{words:?}");
            let usage = "Usage: switch-to-configuration [check|switch|boot|test|dry-activate]";
            assert!(error.to_string().ends_with(usage), "{error}");
            assert_eq!(checked, None, "{words:?}");
        }
    }

    #[test]
    fn the_check_is_told_closure_and_action_and_its_no_counts() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let (ended, checked) = asked(&root, &["check", "--more"], 0);
        ended.unwrap();
        assert_eq!(checked.as_deref(), Some("/nix/store/x check check\n"));
        for action in NixosAction::ALL {
            let (ended, checked) = asked(&root, &[action.name()], 7);
            let error = ended.unwrap_err();
            assert_eq!(error.exit() as u8, 1);
            assert!(error.to_string().contains("NIXOS_NO_CHECK=1"), "{error}");
            let name = action.name();
            assert_eq!(checked, Some(format!("/nix/store/x {name} {name}\n")));
        }
    }

    #[test]
    fn another_init_takes_a_boot() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let version = |closure: &str, version: &str| {
            let closure = tree.path().join(closure);
            std::fs::create_dir_all(&closure).unwrap();
            durable::put_text(version, &closure.join("init-interface-version")).unwrap();
        };
        let new = Path::new("/nix/store/b");
        version("nix/store/b", "systemd 3");
        assert!(
            !takes_another_init(&root, new).unwrap(),
            "nothing is active"
        );
        version("run/current-system", "systemd 3");
        assert!(!takes_another_init(&root, new).unwrap());
        version("run/current-system", "systemd 2");
        assert!(takes_another_init(&root, new).unwrap());
    }
}
