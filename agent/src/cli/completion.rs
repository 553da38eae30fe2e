//! What a shell offers when TAB is pressed: commands and options from the definition, generations from the profiles.
//!
//! The shell's own part is a few lines that call `lastgood` with `COMPLETE=SHELL` in the environment. So what is offered is
//! always what this very binary takes.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use boot_entries::generation::Profiles;
use boot_entries::{GenerationId, Root};
use clap::CommandFactory as _;
use clap_complete::CompletionCandidate;
use clap_complete::env::CompleteEnv;

use super::Cli;
use crate::config;
use crate::host::CURRENT_SYSTEM;

/// The variable by which a shell asks.
pub const VARIABLE: &str = "COMPLETE";

/// Answers a shell that asks by [`VARIABLE`]. False: nobody asks. A shell asks for its own part without a word, and for
/// words after `--`. Anything else was typed by somebody in whose environment the variable happens to be, and is done.
///
/// # Errors
/// One line, when it asks in a way that this binary does not know (another shell's name, say).
pub fn answer(arguments: &[OsString]) -> Result<bool, String> {
    if !may_be_asked(arguments) {
        return Ok(false);
    }
    let here = std::env::current_dir().ok();
    CompleteEnv::with_factory(Cli::command)
        .var(VARIABLE)
        .try_complete(arguments.iter().cloned(), here.as_deref())
        .map_err(|error| {
            error
                .to_string()
                .trim_start_matches("error: ")
                .trim_end()
                .to_owned()
        })
}

fn may_be_asked(arguments: &[OsString]) -> bool {
    arguments.get(1).is_none_or(|word| word == "--")
}

/// The generations of this machine, or of the tree that `--root` names.
pub(super) fn generations() -> Vec<CompletionCandidate> {
    let typed: Vec<OsString> = std::env::args_os().collect();
    let root = Root::new(root_of(&typed));
    // Nobody wants to read an error in the middle of a line that is being typed.
    let Ok(profiles) = Profiles::read(&root) else {
        return Vec::new();
    };
    offered(&profiles)
        .into_iter()
        .enumerate()
        .map(|(order, (name, help))| {
            CompletionCandidate::new(name)
                .help(Some(help.into()))
                .display_order(Some(order))
        })
        .collect()
}

/// The checks that the active closure declares.
pub(super) fn checks() -> Vec<CompletionCandidate> {
    let typed: Vec<OsString> = std::env::args_os().collect();
    let names = names_of_checks(&Root::new(root_of(&typed)));
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// None, where there is no closure or its file cannot be understood: an error is told to whoever runs the command.
fn names_of_checks(root: &Root) -> Vec<String> {
    let active = root.canonical(CURRENT_SYSTEM).ok();
    let config = active.and_then(|active| config::read(root, &active).ok());
    let checks = config
        .map(|config| config.health.checks)
        .unwrap_or_default();
    checks.keys().map(|name| name.as_str().to_owned()).collect()
}

/// What `--root` says among the words of the line that is being typed.
fn root_of(typed: &[OsString]) -> PathBuf {
    let inline = |word: &OsString| {
        let text = word.to_str()?;
        text.strip_prefix("--root=").map(PathBuf::from)
    };
    let apart = |pair: &[OsString]| match pair {
        [option, value] if option == OsStr::new("--root") => Some(PathBuf::from(value)),
        _ => None,
    };
    let found = typed.iter().find_map(inline);
    found
        .or_else(|| typed.windows(2).find_map(apart))
        .unwrap_or_else(|| PathBuf::from("/"))
}

/// Generations as they are typed, the newest first, the system profile's before others; and what each is.
fn offered(profiles: &Profiles) -> Vec<(String, String)> {
    let mut all: Vec<_> = profiles.generations.iter().collect();
    all.sort_by_key(|one| std::cmp::Reverse(one.id.age()));
    let describe = |id: &GenerationId, toplevel: &Path| {
        let name = toplevel.file_name().unwrap_or_default().to_string_lossy();
        // Without the digest of the store.
        let name = name
            .split_once('-')
            .map_or(&*name, |(_, name)| name)
            .to_owned();
        if profiles.current.contains(id) {
            format!("{name} (current)")
        } else {
            name
        }
    };
    all.into_iter()
        .map(|one| (one.id.to_string(), describe(&one.id, &one.toplevel)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot_entries::generation::Generation;

    #[test]
    fn the_newest_is_offered_first_and_says_what_it_is() {
        let generation = |id: &str, closure: &str| Generation {
            id: id.parse().unwrap(),
            toplevel: Path::new("/nix/store").join(closure),
        };
        let profiles = Profiles {
            generations: vec![
                generation("9", "aaa-nixos-system-web-25.05"),
                generation("10", "bbb-nixos-system-web-25.11"),
                generation("test:12", "ccc-nixos-system-web-26.05"),
            ],
            current: vec!["10".parse().unwrap()],
            odd: Vec::new(),
        };
        let expected = [
            ("10", "nixos-system-web-25.11 (current)"),
            ("9", "nixos-system-web-25.05"),
            ("test:12", "nixos-system-web-26.05"),
        ];
        let expected = expected.map(|(name, help)| (name.to_owned(), help.to_owned()));
        assert_eq!(offered(&profiles), expected);
    }

    #[test]
    fn the_active_closures_checks_are_offered() {
        let tree = tempfile::tempdir().unwrap();
        let at = |path: &str| tree.path().join(path);
        let root = Root::new(tree.path());
        assert!(names_of_checks(&root).is_empty());
        std::fs::create_dir_all(at("nix/store/1/etc/lastgood")).unwrap();
        std::fs::create_dir_all(at("run")).unwrap();
        std::os::unix::fs::symlink("/nix/store/1", at("run/current-system")).unwrap();
        let declare = |text: &str| {
            boot_entries::durable::put_text(text, &at("nix/store/1/etc/lastgood/lastgood.toml"))
                .unwrap();
        };
        declare("[health.checks]\nweb = { unit = \"nginx\" }\ndns = { resolve = \"x.org\" }\n");
        assert_eq!(names_of_checks(&root), ["dns", "web"]);
        declare("[health.checks]\nweb = 1\n");
        assert!(names_of_checks(&root).is_empty());
    }

    /// `COMPLETE=bash lastgood install` must not pass for an installation.
    #[test]
    fn what_is_typed_is_done_whatever_the_environment_says() {
        for (line, may_be) in [
            ("lastgood", true),
            ("lastgood -- lastgood in", true),
            ("lastgood install", false),
            ("lastgood may-be-removed", false),
            ("lastgood step stage-2", false),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(may_be_asked(&words), may_be, "{line}");
        }
    }

    #[test]
    fn the_tree_that_is_being_typed_of() {
        for (line, root) in [
            ("lastgood -- lastgood why", "/"),
            ("lastgood -- lastgood --root /mnt why", "/mnt"),
            ("lastgood -- lastgood --root=/mnt why", "/mnt"),
            ("lastgood -- lastgood why --root", "/"),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(root_of(&words), Path::new(root), "{line}");
        }
    }
}
