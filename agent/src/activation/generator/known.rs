//! Whether this host and a closure have a unit of a name at all: asked before anything is booted.

use std::io;
use std::path::Path;

use boot_entries::Root;

use super::together::BELOW;
use super::units::{self, UNITS};
use super::{Leads, Listed};

/// Kinds that are files. Others are made of fstab, of devices, or of what is in them.
const FILES: [&str; 5] = ["service", "socket", "timer", "path", "target"];

/// Where scripts of old lie that systemd-sysv-generator(8) makes services of.
const SCRIPTS: &str = "/etc/init.d";

/// How a unit stands before anything is booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There is one, or nobody can tell.
    Maybe,
    /// Neither the closure nor the host has it.
    Nowhere,
    /// The closure itself says that it never runs.
    Masked,
}

/// Whether the unit `name` can be, with the units of `closure`, and with the host's where `with_host`.
#[must_use]
pub fn standing(root: &Root, closure: &Path, name: &str, with_host: bool) -> Standing {
    let (_, kind) = name.rsplit_once('.').unwrap_or_default();
    let found = units::read(root, closure);
    // What cannot be read may be the one.
    if !FILES.contains(&kind) || !found.problems.is_empty() {
        return Standing::Maybe;
    }
    let template = template(name);
    let names = || [Some(name), template.as_deref()].into_iter().flatten();
    let of_closure = names().find_map(|name| {
        let is_it = |unit: &&Listed| unit.path == Path::new(name);
        found.listed.iter().find(is_it)
    });
    match of_closure.map(|unit| &unit.leads) {
        Some(Leads::Nowhere) => return Standing::Masked,
        Some(_) => return Standing::Maybe,
        None if with_host => {}
        // It is no whole system, and has nothing to compare with.
        None if found.listed.is_empty() => return Standing::Maybe,
        None => return Standing::Nowhere,
    }
    let mut knows_any = false;
    for directory in BELOW.iter().map(Path::new) {
        knows_any |= root.join(directory).is_dir();
        if names().any(|name| !is_absent(root, &directory.join(name))) {
            return Standing::Maybe;
        }
    }
    let script = name.strip_suffix(".service");
    let is_script = script.is_some_and(|name| !is_absent(root, &Path::new(SCRIPTS).join(name)));
    // A tree without any unit is no host.
    if knows_any && !is_script {
        Standing::Nowhere
    } else {
        Standing::Maybe
    }
}

/// `getty@.service` of `getty@tty1.service`.
fn template(name: &str) -> Option<String> {
    let (stem, kind) = name.rsplit_once('.')?;
    let (prefix, _) = stem.split_once('@')?;
    Some(format!("{prefix}@.{kind}"))
}

/// Whether there is certainly nothing. A link that leads nowhere is something.
fn is_absent(root: &Root, path: &Path) -> bool {
    let found = root.place(path).and_then(|place| place.symlink_metadata());
    found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Where a closure would have it.
#[must_use]
pub fn place(name: &str) -> String {
    format!("{UNITS}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot_entries::durable;

    #[test]
    fn a_unit_is_looked_for_in_the_closure_and_on_the_host() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let closure = Path::new("/nix/store/x");
        for path in [
            "nix/store/x/etc/systemd/system/own.service",
            "nix/store/x/etc/systemd/system/many@.service",
            "usr/lib/systemd/system/ssh.socket",
            "usr/lib/systemd/system/getty@.service",
            "etc/init.d/old",
        ] {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            durable::put_text("[Unit]\n", &path).unwrap();
        }
        let units = tree.path().join("nix/store/x/etc/systemd/system");
        std::os::unix::fs::symlink("/dev/null", units.join("off.service")).unwrap();
        let of = |name, with_host| standing(&root, closure, name, with_host);
        for (name, plain, nixos) in [
            ("own.service", Standing::Maybe, Standing::Maybe),
            ("many@1.service", Standing::Maybe, Standing::Maybe),
            ("off.service", Standing::Masked, Standing::Masked),
            ("ssh.socket", Standing::Maybe, Standing::Nowhere),
            ("getty@tty1.service", Standing::Maybe, Standing::Nowhere),
            ("old.service", Standing::Maybe, Standing::Nowhere),
            ("shh.socket", Standing::Nowhere, Standing::Nowhere),
            ("srv-data.mount", Standing::Maybe, Standing::Maybe),
        ] {
            assert_eq!((of(name, true), of(name, false)), (plain, nixos), "{name}");
        }
    }

    #[test]
    fn a_tree_without_units_is_no_host() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tree.path().join("nix/store/x")).unwrap();
        let root = Root::new(tree.path());
        for with_host in [true, false] {
            let found = standing(&root, Path::new("/nix/store/x"), "a.service", with_host);
            assert_eq!(found, Standing::Maybe);
        }
    }
}
