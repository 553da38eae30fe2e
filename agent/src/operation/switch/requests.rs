//! What the closure's activation script asks for (NixOS): units to restart and to reload, a line each.

use std::collections::BTreeSet;
use std::io;

use boot_entries::Root;

use crate::switch::situation::Requests;

const RESTART: &str = "/run/nixos/activation-restart-list";
const RELOAD: &str = "/run/nixos/activation-reload-list";

/// What was asked for. The lists are gone then: the next switch is not to find them.
pub(super) fn take(root: &Root) -> Requests {
    Requests {
        restart: list(root, RESTART),
        reload: list(root, RELOAD),
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
