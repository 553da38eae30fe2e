//! `cargo xtask manuals`: manual pages, completions, the example configuration and the options of the NixOS module, from
//! the definition of the command line and the list of configuration keys.

mod commands;
mod configuration;
mod options;
mod page;
#[cfg(test)]
mod shells;

use std::path::Path;

use anyhow::{Context, Result};
use lastgood_tests::{files, paths};

use crate::output;

/// The committed files that are made here, and what they hold.
fn committed() -> Result<[(&'static str, String); 2]> {
    Ok([
        ("docs/lastgood.toml", configuration::example()),
        ("nix/options.json", options::json()?),
    ])
}

/// Writes manual pages and completions below `to`, or without it the committed files.
pub(crate) fn run(to: Option<&Path>) -> Result<()> {
    let Some(to) = to else {
        for (path, text) in committed()? {
            files::write(&paths::repository().join(path), &text)?;
            output::line(path);
        }
        return Ok(());
    };
    for path in write(to)? {
        output::line(&to.join(path).display().to_string());
    }
    Ok(())
}

/// Writes manual pages and completions below `to`, and says which.
///
/// # Errors
/// When one cannot be written.
pub(crate) fn write(to: &Path) -> Result<Vec<String>> {
    let mut written = Vec::new();
    let pages = [
        ("man8/lastgood.8", commands::page()),
        ("man5/lastgood.toml.5", configuration::page()),
    ];
    for (path, text) in pages.into_iter().chain(completions()?) {
        files::write(&to.join(path), &text).with_context(|| format!("cannot write {path}"))?;
        written.push(path.to_owned());
    }
    Ok(written)
}

/// The shells' parts of completion, each in the file that its shell looks for.
fn completions() -> Result<Vec<(&'static str, String)>> {
    use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
    use lastgood::cli::completion::VARIABLE;
    let shells: [(&str, &dyn EnvCompleter); 3] = [
        ("bash/lastgood", &Bash),
        ("zsh/_lastgood", &Zsh),
        ("fish/lastgood.fish", &Fish),
    ];
    let mut made = Vec::new();
    for (path, shell) in shells {
        let mut text = Vec::new();
        shell.write_registration(VARIABLE, "lastgood", "lastgood", "lastgood", &mut text)?;
        let text = String::from_utf8(text)?;
        made.push((path, format!("{}{}", text.trim_start(), of_its_own(path))));
    }
    Ok(made)
}

/// What a shell's part lacks as a file. zsh runs such a file when something is to be completed for the first time, and
/// expects the completion of it; clap's part only registers a function for the next time.
fn of_its_own(path: &str) -> &'static str {
    if path.starts_with("zsh/") {
        "\nif [ \"${funcstack[1]}\" = _lastgood ]; then\n    _clap_dynamic_completer_lastgood \"$@\"\nfi\n"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_is_what_is_made() {
        for (path, made) in committed().unwrap() {
            let found = std::fs::read_to_string(paths::repository().join(path)).unwrap_or_default();
            assert!(
                found == made,
                "{path} is out of date: run `cargo xtask manuals`"
            );
        }
    }
}
