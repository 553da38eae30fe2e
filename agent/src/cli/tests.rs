//! That each command says how it is called and how it ends.

use super::*;
use clap::CommandFactory;

/// Somebody who reads it knows how to call it, and what comes back.
#[test]
fn each_command_has_an_example_and_says_how_it_ends() {
    let mut all = Cli::command();
    all.build();
    let shown = all.get_subcommands_mut().filter(|one| !one.is_hide_set());
    for command in shown.filter(|one| one.get_name() != "help") {
        let name = command.get_name().to_owned();
        let help = command.render_long_help().to_string();
        let example = format!("  lastgood {name}");
        assert!(help.contains(&example), "{name}: {help}");
        assert!(help.contains("Exit status: 0 "), "{name}: {help}");
        assert!(command.get_long_about().is_some(), "{name}");
        let generations = command
            .get_positionals()
            .filter(|one| !["file", "names"].contains(&one.get_id().as_str()));
        for argument in generations {
            let long = argument.get_long_help().map(ToString::to_string);
            assert!(
                long.unwrap_or_default().contains("PROFILE:NUMBER"),
                "{name}"
            );
        }
    }
}

#[test]
fn a_command_that_is_to_come_is_answered_and_not_advertised() {
    let help = Cli::command().render_long_help().to_string();
    for name in ["pin", "unpin"] {
        let said = Cli::try_parse_from(["lastgood", name, "3"]).unwrap_err();
        let line = instead_of(&said).unwrap();
        assert!(
            line.starts_with(&format!("{name}: not here yet; ")),
            "{line}"
        );
        assert!(!help.contains(&format!("  {name} ")), "{help}");
    }
    let said = Cli::try_parse_from(["lastgood", "instal"]).unwrap_err();
    assert_eq!(instead_of(&said), None);
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}
