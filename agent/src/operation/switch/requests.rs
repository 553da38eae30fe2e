//! What a closure's scripts ask for, and what a switch of nixpkgs' own left undone (NixOS): units to restart and to reload,
//! a line each.

use std::collections::BTreeSet;
use std::io;

use boot_entries::Root;

use crate::switch::situation::Requests;

/// What `activate` asks for.
const RESTART: &str = "/run/nixos/activation-restart-list";
const RELOAD: &str = "/run/nixos/activation-reload-list";
/// What `dry-activate` says that `activate` would ask for.
const DRY_RESTART: &str = "/run/nixos/dry-activation-restart-list";
const DRY_RELOAD: &str = "/run/nixos/dry-activation-reload-list";
/// What nixpkgs' program had stopped or changed when it was cut off. Its next run goes on with these, and so do we.
const CUT_OFF: [&str; 2] = ["/run/nixos/start-list", "/run/nixos/restart-list"];
const CUT_OFF_RELOAD: &str = "/run/nixos/reload-list";

/// What was asked for, and left undone. The lists are gone then: the next switch is not to find them.
pub(super) fn take(root: &Root) -> Requests {
    let cut_off = CUT_OFF.into_iter().flat_map(|path| list(root, path));
    // It has every target there that was up. These are started by each plan.
    let mut restart: BTreeSet<String> = cut_off.filter(|unit| !unit.ends_with(".target")).collect();
    restart.extend(list(root, RESTART));
    let mut reload = list(root, RELOAD);
    reload.extend(list(root, CUT_OFF_RELOAD));
    Requests { restart, reload }
}

/// What would be asked for.
pub(super) fn take_dry(root: &Root) -> Requests {
    Requests {
        restart: list(root, DRY_RESTART),
        reload: list(root, DRY_RELOAD),
    }
}

fn list(root: &Root, path: &str) -> BTreeSet<String> {
    let place = root.join(path);
    let text = match std::fs::read_to_string(&place) {
        Ok(text) => text,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::error!("cannot read {path}: {error}");
            }
            return BTreeSet::new();
        }
    };
    if let Err(error) = std::fs::remove_file(&place) {
        tracing::warn!("cannot remove {path}: {error}");
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(crate::host::full_name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_list_is_read_once() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let directory = tree.path().join("run/nixos");
        std::fs::create_dir_all(&directory).unwrap();
        for (name, text) in [
            ("activation-restart-list", "a.service\n\nb\n"),
            ("activation-reload-list", "c.service"),
            ("dry-activation-restart-list", "d.service"),
            ("dry-activation-reload-list", "e.service"),
            ("start-list", "multi-user.target\nf.service\n"),
            ("restart-list", "g.timer\n"),
            ("reload-list", "h.service\n"),
        ] {
            boot_entries::durable::put_text(text, &directory.join(name)).unwrap();
        }
        let units = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let dry = Requests {
            restart: units(&["d.service"]),
            reload: units(&["e.service"]),
        };
        assert_eq!(take_dry(&root), dry);
        let asked = Requests {
            restart: units(&["a.service", "b.service", "f.service", "g.timer"]),
            reload: units(&["c.service", "h.service"]),
        };
        assert_eq!(take(&root), asked);
        assert_eq!(take(&root), Requests::default());
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
    }
}
