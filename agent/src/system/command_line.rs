//! Which closure does this boot run? The kernel command line says, and nothing else is asked: but for a soft-reboot, which
//! leaves it as it is ([`userspace`]).
//!
//! A boot whose `init=` is not a closure's belongs to some other system (the distribution's own entry, a rescue
//! system): the answer is then "none", and every step of the agent has nothing to do, which is a success.

use std::io;
use std::path::{Component, Path, PathBuf};

use boot_entries::Root;

use super::userspace;
use crate::host;

/// The command line could not be read: whether the boot is ours is not known.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

/// The closure this boot runs, as a path of the machine. None: the boot is not one of ours.
///
/// # Errors
/// When the command line cannot be read.
pub fn closure(root: &Root) -> Result<Option<PathBuf>, Error> {
    let started = started(root)?;
    // A boot of somebody else's stays one.
    Ok(started.map(|started| userspace::runs(root).unwrap_or(started)))
}

/// The closure that this kernel was started with, whatever a soft-reboot has made of that.
///
/// # Errors
/// When the command line cannot be read.
pub fn started(root: &Root) -> Result<Option<PathBuf>, Error> {
    Ok(closure_of(&read(root)?))
}

/// The units that somebody masked for this boot with `systemd.mask=` (systemd-debug-generator(8)), by their full names.
///
/// # Errors
/// When the command line cannot be read.
pub fn masked(root: &Root) -> Result<Vec<String>, Error> {
    let cmdline = read(root)?;
    let masks = words(&cmdline).filter(|(name, _)| name == "systemd.mask");
    Ok(masks
        .filter_map(|(_, unit)| Some(host::full_name(&unit?)))
        .collect())
}

/// Where this boot leads, if that is not systemd's default target: `systemd.unit=`, or a word that stands for one
/// (kernel-command-line(7)).
///
/// # Errors
/// When the command line cannot be read.
pub fn target(root: &Root) -> Result<Option<String>, Error> {
    Ok(target_of(&read(root)?))
}

fn target_of(cmdline: &str) -> Option<String> {
    let named = words(cmdline).filter_map(|(name, value)| match (name.as_str(), value) {
        ("systemd.unit", Some(unit)) if !unit.is_empty() => Some(host::full_name(&unit)),
        ("rescue" | "single" | "s" | "S" | "1", None) => Some("rescue.target".to_owned()),
        ("emergency" | "-b", None) => Some("emergency.target".to_owned()),
        ("2" | "3" | "4", None) => Some("multi-user.target".to_owned()),
        ("5", None) => Some("graphical.target".to_owned()),
        _ => None,
    });
    named.last()
}

fn read(root: &Root) -> Result<String, Error> {
    let path = root.join(host::COMMAND_LINE);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(source) => Err(Error { path, source }),
    }
}

/// The closure that `cmdline` starts: the last `init=` decides, as in the kernel (`init/main.c`, `init_setup`).
///
/// None when there is no `init=`, or when it is not `/nix/<...>/init`: `/sbin/init` ends in `/init` too.
#[must_use]
pub fn closure_of(cmdline: &str) -> Option<PathBuf> {
    let init = words(cmdline)
        .take_while(|(name, value)| !(name == "--" && value.is_none()))
        .filter(|(name, _)| name == "init")
        .filter_map(|(_, value)| value)
        .last()?;
    let closure = Path::new(init.strip_suffix("/init")?);
    let plain = closure
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    // `/nix` itself is not below `/nix`.
    let below = closure.strip_prefix(host::NIX).ok()?;
    (plain && below.file_name().is_some()).then(|| closure.to_owned())
}

/// Words as the kernel cuts them (`lib/cmdline.c`, `next_arg`): a double quote only switches whether blanks
/// separate, and is dropped from the outer ends of the word and of its value, not from their middle.
fn words(cmdline: &str) -> impl Iterator<Item = (String, Option<String>)> {
    let mut quoted = false;
    cmdline
        .split(move |c: char| {
            quoted ^= c == '"';
            // isspace(3) in the C locale has the vertical tab, which `is_ascii_whitespace` has not.
            !quoted && (c.is_ascii_whitespace() || c == '\u{b}')
        })
        .filter(|word| !word.is_empty())
        .map(|word| {
            let (word, whole) = match word.strip_prefix('"') {
                Some(rest) => (rest, true),
                None => (word, false),
            };
            match word.split_once('=') {
                Some((name, value)) => {
                    let (value, opened) = match value.strip_prefix('"') {
                        Some(rest) => (rest, true),
                        None => (value, false),
                    };
                    let closed = if opened || whole {
                        value.strip_suffix('"').unwrap_or(value)
                    } else {
                        value
                    };
                    (name.to_owned(), Some(closed.to_owned()))
                }
                None => (word.trim_end_matches('"').to_owned(), None),
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cmdline: &str) -> Option<String> {
        closure_of(cmdline).map(|path| path.to_string_lossy().into_owned())
    }

    #[test]
    fn the_last_init_decides() {
        let two = "quiet init=/nix/store/a-nixos/init root=/dev/vda init=/nix/store/b-nixos/init\n";
        assert_eq!(of(two).as_deref(), Some("/nix/store/b-nixos"));
        // Also when the last is somebody else's: the operator typed it in the loader.
        assert_eq!(of("init=/nix/store/a-nixos/init init=/bin/sh"), None);
    }

    #[test]
    fn where_the_boot_leads() {
        for (cmdline, target) in [
            ("quiet init=/nix/store/a/init", None),
            (
                "systemd.unit=maintenance.target",
                Some("maintenance.target"),
            ),
            ("systemd.unit=x.target 3", Some("multi-user.target")),
            ("rd.systemd.unit=initrd.target", None),
            ("systemd.unit=", None),
            ("single", Some("rescue.target")),
            ("single=1", None),
        ] {
            assert_eq!(target_of(cmdline).as_deref(), target, "{cmdline}");
        }
    }

    #[test]
    fn another_system_s_boot_is_none() {
        for other in [
            "",
            "\n",
            "root=/dev/vda ro quiet",
            "init=/sbin/init",
            "init=/usr/lib/systemd/systemd",
            "init=/nix/init",
            "init=/nix/store/a-nixos",
            "init=/nix/store/a-nixos/initrd",
            "init=/nix/../sbin/init",
            "init=nix/store/a-nixos/init",
            "init",
            "init=",
            "rdinit=/nix/store/a-nixos/init",
            "rd.init=/nix/store/a-nixos/init",
            // What follows `--` is for init itself.
            "quiet -- init=/nix/store/a-nixos/init",
        ] {
            assert_eq!(of(other), None, "{other:?}");
        }
    }

    #[test]
    fn quotes_are_the_kernel_s() {
        for (cmdline, closure) in [
            (r#"init="/nix/store/a b/init" ro"#, Some("/nix/store/a b")),
            (r#""init=/nix/store/a b/init" ro"#, Some("/nix/store/a b")),
            (r#"dyndbg="file a init=/nix/store/a/init""#, None),
            (
                r#"dyndbg="file a +p" init=/nix/store/a/init"#,
                Some("/nix/store/a"),
            ),
            ("a\tinit=/nix/store/a/init\tb", Some("/nix/store/a")),
            // A quote that is never closed runs to the end, as in the kernel.
            (r#"x="y init=/nix/store/a/init"#, None),
            (
                "init=/nix/store/a-nixos/specialisation/x/init",
                Some("/nix/store/a-nixos/specialisation/x"),
            ),
        ] {
            assert_eq!(of(cmdline).as_deref(), closure, "{cmdline}");
        }
    }

    #[test]
    fn after_a_soft_reboot_what_was_gone_to_runs() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let put = |cmdline: &str| {
            boot_entries::durable::put_text(cmdline, &root.join(host::COMMAND_LINE)).unwrap();
        };
        put("init=/nix/store/2/init");
        userspace::go_to(&root, Path::new("/nix/store/1")).unwrap();
        let runs = || closure(&root).unwrap();
        assert_eq!(runs(), Some("/nix/store/2".into()), "not gone yet");
        userspace::note(&root, 1).unwrap();
        assert_eq!(runs(), Some("/nix/store/1".into()));
        assert_eq!(started(&root).unwrap(), Some("/nix/store/2".into()));
        put("root=/dev/vda");
        assert_eq!(runs(), None, "somebody else's boot");
    }

    #[test]
    fn not_readable_is_not_the_same_as_not_ours() {
        let tree = tempfile::tempdir().unwrap();
        let error = closure(&Root::new(tree.path())).unwrap_err();
        assert!(error.to_string().starts_with("cannot read "), "{error}");
    }
}
