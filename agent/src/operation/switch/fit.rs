//! Whether a closure can become this machine's without a boot, and whether it is this machine's at all.

use std::io;
use std::path::{Path, PathBuf};

use boot_entries::Root;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::exit::Exit;
use crate::host::ETC;
use crate::system::command_line;

/// What of a closure only a boot puts in place, and what people call it.
const BOOTED: [(&str, &str); 4] = [
    ("kernel", "the kernel"),
    ("initrd", "the initrd"),
    ("kernel-modules", "the kernel's modules"),
    ("kernel-params", "the kernel's parameters"),
];
/// Which interface between closure and running init a closure needs (NixOS). A switch over another one is refused.
const INIT_INTERFACE: &str = "init-interface-version";
/// The machine's name.
const HOSTNAME: &str = "hostname";
/// Names that an installer gives, or that are none: they say nothing of which machine it is.
const NO_NAMES: [&str; 6] = [
    "",
    "localhost",
    "localhost.localdomain",
    "nixos",
    "debian",
    "(none)",
];

/// What two closures differ in that a switch leaves as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeedsReboot(pub Vec<String>);

impl NeedsReboot {
    /// Whether something is.
    #[must_use]
    pub fn is_needed(&self) -> bool {
        !self.0.is_empty()
    }

    /// In half a sentence: "the kernel and the initrd are other ones".
    #[must_use]
    pub fn words(&self) -> String {
        match self.0.as_slice() {
            [one] => format!("{one} differ from the running ones"),
            all => {
                let (last, rest) = all.split_last().map_or(("", all), |(l, r)| (l.as_str(), r));
                format!(
                    "{} and {last} differ from the running ones",
                    rest.join(", ")
                )
            }
        }
    }
}

/// What of `toplevel` differs from what was booted. A boot that is no generation's: nobody can tell, and nothing is said.
///
/// # Errors
/// When one of them is there and cannot be read.
pub fn needs_reboot(root: &Root, toplevel: &Path) -> Result<NeedsReboot, Error> {
    let Some(booted) = command_line::closure(root)? else {
        return Ok(NeedsReboot::default());
    };
    let mut differ = Vec::new();
    for (name, words) in BOOTED {
        if !is_same(root, &booted.join(name), &toplevel.join(name))? {
            differ.push(words.to_owned());
        }
    }
    Ok(NeedsReboot(differ))
}

/// Whether two paths lead to the same place of the store, or to files with the same content.
fn is_same(root: &Root, one: &Path, other: &Path) -> Result<bool, Error> {
    let leads = |path: &Path| root.canonical(path).ok();
    let is_there = |path: &Option<PathBuf>| {
        path.as_deref()
            .is_some_and(|path| root.join(path).symlink_metadata().is_ok())
    };
    let (one, other) = (leads(one), leads(other));
    if one == other || (!is_there(&one) && !is_there(&other)) {
        return Ok(true);
    }
    let (Some(one), Some(other)) = (one, other) else {
        return Ok(false);
    };
    let text = |path: &Path| read(root, path);
    // Parameters are text, written anew by each build. Kernels are too large to compare, and are copied by nobody.
    match (text(&one)?, text(&other)?) {
        (Some(one), Some(other)) => Ok(one == other),
        _ => Ok(false),
    }
}

/// More is no list of parameters.
const SMALL: u64 = 64 * 1024;

/// What a small file holds. None: it is not there, or not small.
fn read(root: &Root, path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let at = |source| Error::Read {
        what: path.display().to_string(),
        source,
    };
    match root.open(path) {
        Ok(file) => {
            let length = file.metadata().map_err(at)?;
            if !length.is_file() || length.len() > SMALL {
                return Ok(None);
            }
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut io::Read::take(file, SMALL), &mut bytes).map_err(at)?;
            Ok(Some(bytes))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(at(source)),
    }
}

fn line_of(root: &Root, path: &Path) -> Result<Option<String>, Error> {
    let bytes = read(root, path)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
}

/// Refuses a closure that is built for another machine: copied by mistake, or sent to the wrong address.
///
/// # Errors
/// When both have a name and the names differ.
pub fn check_hostname(root: &Root, toplevel: &Path, is_insisted_on: bool) -> Result<(), Error> {
    let ours = line_of(root, &Path::new(ETC).join(HOSTNAME))?;
    let theirs = line_of(root, &toplevel.join("etc").join(HOSTNAME))?;
    let (ours, theirs) = (ours.unwrap_or_default(), theirs.unwrap_or_default());
    if is_insisted_on || !is_another_machines(&ours, &theirs) {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "{} is another machine's: its hostname is {theirs:?}, and this machine is {ours:?}; run again with --new-hostname \
         if this machine is to become {theirs:?}",
        toplevel.display()
    )))
}

/// Whether a closure with the name `theirs` is not for the machine `ours`.
fn is_another_machines(ours: &str, theirs: &str) -> bool {
    ours != theirs && [ours, theirs].iter().all(|name| !NO_NAMES.contains(name))
}

/// Refuses a live switch to a closure that needs another init than the one that runs.
///
/// # Errors
/// When both say which they need, and it is not the same.
pub fn check_init_interface(root: &Root, before: &Path, after: &Path) -> Result<(), Error> {
    let version = |closure: &Path| line_of(root, &closure.join(INIT_INTERFACE));
    match (version(before)?, version(after)?) {
        (Some(before), Some(after)) if before != after => Err(Error::Ended {
            exit: Exit::RebootNeeded,
            text: format!(
                "it takes a reboot: the closure needs init interface {after:?}, and the running system has {before:?}; \
                 nothing was changed; `lastgood boot` selects it for the next boot"
            ),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot_entries::durable::put_text;
    use std::os::unix::fs::symlink;

    #[test]
    fn names_that_say_nothing_do_not_count() {
        for (ours, theirs, is_another) in [
            ("web", "web", false),
            ("web", "db", true),
            ("web", "", false),
            ("", "db", false),
            ("nixos", "db", false),
            ("web", "localhost", false),
            ("web", "web.example.org", true),
        ] {
            assert_eq!(
                is_another_machines(ours, theirs),
                is_another,
                "{ours} {theirs}"
            );
        }
    }

    fn tree() -> (tempfile::TempDir, Root) {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        for directory in ["proc", "etc", "nix/store/a/etc", "nix/store/b/etc"] {
            std::fs::create_dir_all(tree.path().join(directory)).unwrap();
        }
        put_text("init=/nix/store/a/init quiet", &root.join("/proc/cmdline")).unwrap();
        (tree, root)
    }

    #[test]
    fn a_closure_of_another_machine_is_refused_until_somebody_insists() {
        let (_tree, root) = tree();
        let closure = Path::new("/nix/store/b");
        put_text("web\n", &root.join("/etc/hostname")).unwrap();
        check_hostname(&root, closure, false).unwrap();
        put_text("db", &root.join("/nix/store/b/etc/hostname")).unwrap();
        let error = check_hostname(&root, closure, false)
            .unwrap_err()
            .to_string();
        for words in ["\"db\"", "\"web\"", "--new-hostname"] {
            assert!(error.contains(words), "{error}");
        }
        check_hostname(&root, closure, true).unwrap();
    }

    #[test]
    fn what_only_a_boot_brings_is_named() {
        let (tree, root) = tree();
        let at = |path: &str| tree.path().join("nix/store").join(path);
        let needs = || needs_reboot(&root, Path::new("/nix/store/b")).unwrap();
        assert!(!needs().is_needed(), "neither has any of it");
        for closure in ["a", "b"] {
            symlink("/nix/store/k1/bzImage", at(closure).join("kernel")).unwrap();
            put_text("quiet", &at(closure).join("kernel-params")).unwrap();
        }
        std::fs::create_dir_all(at("k1")).unwrap();
        put_text("k", &at("k1/bzImage")).unwrap();
        assert!(!needs().is_needed());
        put_text("quiet ro", &at("b/kernel-params")).unwrap();
        assert_eq!(needs().0, ["the kernel's parameters"]);
        assert_eq!(
            needs().words(),
            "the kernel's parameters differ from the running ones"
        );
        std::fs::remove_file(at("b/kernel")).unwrap();
        std::fs::create_dir_all(at("k2")).unwrap();
        put_text("k2", &at("k2/bzImage")).unwrap();
        symlink("/nix/store/k2/bzImage", at("b/kernel")).unwrap();
        assert_eq!(needs().0, ["the kernel", "the kernel's parameters"]);
        let words = needs().words();
        assert!(words.starts_with("the kernel and the kernel's parameters"));
    }

    #[test]
    fn another_init_interface_takes_a_reboot() {
        let (tree, root) = tree();
        let (a, b) = (Path::new("/nix/store/a"), Path::new("/nix/store/b"));
        let put = |closure: &str, text| {
            let place = tree.path().join("nix/store").join(closure);
            put_text(text, &place.join(INIT_INTERFACE)).unwrap();
        };
        put("b", "2");
        check_init_interface(&root, a, b).unwrap();
        put("a", "2\n");
        check_init_interface(&root, a, b).unwrap();
        put("a", "1");
        let error = check_init_interface(&root, a, b).unwrap_err();
        assert_eq!(error.exit(), Exit::RebootNeeded);
    }
}
