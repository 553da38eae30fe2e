//! The kernel's modules for a firewall. To load them takes longer than all else that a ruleset takes, and nothing of it has to
//! wait: so it begins with the boot, while devices are looked for, and not when nft asks.

use std::path::{Path, PathBuf};

use boot_entries::Root;

use super::Make;
use crate::config::{self, Asked};

/// systemd's own, which loads a module and does not fail where there is none of that name.
const LOADS: &str = "/usr/lib/systemd/system/modprobe@.service";
/// Brings what nearly every ruleset takes: `nf_tables`, connection tracking, and what those need.
const WANTED: &str = "lastgood-firewall.service.wants/modprobe@nft_ct.service";

/// It is there: after a soft-reboot, and when systemd reads its units anew.
const LOADED: &str = "/sys/module/nft_ct";

/// What has the modules loaded, if `closure` has its firewall loaded by lastgood and they are not there yet.
pub(super) fn early(root: &Root, closure: &Path) -> Option<Make> {
    // One that cannot be read is the firewall's to tell.
    let config = config::read(root, closure).ok()?;
    let loads = match config.firewall.asked() {
        Asked::Ruleset(_) | Asked::Rules(_) => {
            root.join(LOADS).is_file() && !root.join(LOADED).is_dir()
        }
        Asked::Nothing | Asked::Unit(_) => false,
    };
    loads.then(|| Make::Link {
        at: PathBuf::from(WANTED),
        to: PathBuf::from(LOADS),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn only_a_firewall_that_lastgood_loads_has_its_modules_loaded_early() {
        const RULESET: &str = "[firewall]\nruleset = \"etc/x.nft\"\n";
        for (text, has_unit, is_loaded, expected) in [
            ("", true, false, false),
            (RULESET, true, false, true),
            (RULESET, false, false, false),
            (RULESET, true, true, false),
            (
                "[firewall]\nunit = \"nftables.service\"\n",
                true,
                false,
                false,
            ),
        ] {
            let tree = tempfile::tempdir().unwrap();
            let root = Root::new(tree.path());
            let closure = Path::new("/nix/store/1");
            let write = |path: &Path, text: &str| {
                let place = root.join(path);
                std::fs::create_dir_all(place.parent().unwrap()).unwrap();
                let mut file = std::fs::File::create(place).unwrap();
                file.write_all(text.as_bytes()).unwrap();
            };
            write(&closure.join(config::PATH), text);
            if has_unit {
                write(Path::new(LOADS), "");
            }
            if is_loaded {
                std::fs::create_dir_all(root.join(LOADED)).unwrap();
            }
            assert_eq!(early(&root, closure).is_some(), expected, "{text}");
        }
    }
}
