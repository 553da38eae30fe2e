//! The programs of the running machine. They are looked for at fixed places and never by `$PATH`: a unit's is not an
//! operator's, and under `sudo` it may be anybody's.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use boot_entries::Root;

use super::{Kind, kind};

/// A program of the host that the agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Asks systemd, and tells it to reboot.
    Systemctl,
    /// Reads what a unit wrote.
    Journalctl,
    /// Installs systemd-boot and clears EFI variables, where the closure brings none of its own.
    Bootctl,
    /// Loads rulesets into the kernel.
    Nft,
    /// Reads units as systemd would.
    Analyze,
    /// Makes the users that a closure adds.
    Sysusers,
    /// Loads the kernel modules that a closure adds.
    ModulesLoad,
    /// Says what a closure needs.
    NixStore,
    /// Takes a swap device out of use that a closure has no more.
    Swapoff,
    /// Asks logind who is there, and who holds up a reboot.
    Busctl,
    /// Loads a kernel that the running one is to start.
    Kexec,
}

impl Program {
    /// Its file's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Systemctl => "systemctl",
            Self::Journalctl => "journalctl",
            Self::Bootctl => "bootctl",
            Self::Nft => "nft",
            Self::Analyze => "systemd-analyze",
            Self::Sysusers => "systemd-sysusers",
            Self::ModulesLoad => "systemd-modules-load",
            Self::NixStore => "nix-store",
            Self::Swapoff => "swapoff",
            Self::Busctl => "busctl",
            Self::Kexec => "kexec",
        }
    }

    /// Where it may be, in the order of looking. Distributions differ in whether `/bin` and `/sbin` are links.
    #[must_use]
    pub fn places(self, kind: Kind) -> &'static [&'static str] {
        match (kind, self) {
            (Kind::Plain, Self::ModulesLoad) => &["/usr/lib/systemd", "/lib/systemd"],
            // A distribution's package, or Nix's own installer.
            (Kind::Plain, Self::NixStore) => {
                &["/usr/bin", "/bin", "/nix/var/nix/profiles/default/bin"]
            }
            (Kind::Plain, _) => &["/usr/bin", "/bin", "/usr/sbin", "/sbin"],
            (Kind::NixOs, Self::ModulesLoad) => &[
                "/run/current-system/systemd/lib/systemd",
                "/run/booted-system/systemd/lib/systemd",
            ],
            // What runs, and if a switch has left that half done, what was booted.
            (Kind::NixOs, _) => &[
                "/run/current-system/sw/bin",
                "/run/current-system/systemd/bin",
                "/run/booted-system/sw/bin",
                "/run/booted-system/systemd/bin",
            ],
        }
    }

    /// What to install where it is missing.
    fn brought_by(self, kind: Kind) -> &'static str {
        match (kind, self) {
            (Kind::Plain, Self::Nft) => "install nftables",
            (Kind::Plain, Self::Bootctl) => {
                "install bootctl (systemd-boot, where that is a package of its own)"
            }
            (Kind::NixOs, Self::Nft) => "add pkgs.nftables to environment.systemPackages",
            (Kind::Plain, Self::NixStore) => "install Nix",
            (Kind::Plain, Self::Kexec) => "install kexec-tools",
            (Kind::NixOs, Self::Kexec) => "add pkgs.kexec-tools to environment.systemPackages",
            (Kind::Plain, _) => "install systemd as a whole",
            (Kind::NixOs, _) => "build the system again, and boot it",
        }
    }
}

/// A program that is nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    program: Program,
    kind: Option<Kind>,
}

impl Missing {
    /// That it is missing, and where it was looked for.
    #[must_use]
    pub fn what(&self) -> String {
        let places = places(self.program, self.kind).join(", ");
        format!("{} is in none of {places}", self.program.name())
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        self.program.brought_by(self.kind.unwrap_or(Kind::Plain))
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.program.name();
        let places = places(self.program, self.kind).join(", ");
        let advice = self.advice();
        write!(f, "cannot run {name}: it is in none of {places}; {advice}")
    }
}

impl std::error::Error for Missing {}

/// The running machine's `program`.
///
/// # Errors
/// When it has none.
pub fn program(program: Program) -> Result<PathBuf, Missing> {
    program_in(&Root::new("/"), program)
}

/// The `program` of the host under `root`, as a path of this process.
///
/// # Errors
/// When it has none.
pub fn program_in(root: &Root, program: Program) -> Result<PathBuf, Missing> {
    let kind = kind(root).ok();
    let found = places(program, kind).into_iter().find_map(|directory| {
        let path = PathBuf::from(directory).join(program.name());
        // Its own name is kept, and what it leads to is not: a program may ask by what name it was called.
        is_program(root, &path).then(|| root.join(path))
    });
    found.ok_or(Missing { program, kind })
}

/// Where nobody can say which kind of host it is, it may be in the places of both.
fn places(program: Program, kind: Option<Kind>) -> Vec<&'static str> {
    let kinds = kind.map_or_else(|| vec![Kind::Plain, Kind::NixOs], |kind| vec![kind]);
    let places = kinds.into_iter().flat_map(|kind| program.places(kind));
    places.copied().collect()
}

fn is_program(root: &Root, path: &std::path::Path) -> bool {
    let found = root.resolve(path).and_then(std::fs::metadata);
    found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot_entries::durable::{put_link, put_text};
    use std::fs::Permissions;
    use std::path::Path;

    fn tree() -> (tempfile::TempDir, Root) {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        (tree, root)
    }

    fn put(root: &Root, path: &str, mode: u32) {
        let place = root.join(path);
        put_text("#!/bin/sh\n", &place).unwrap();
        std::fs::set_permissions(place, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_plain_host_s_are_where_distributions_have_them() {
        let (_tree, root) = tree();
        let find = |program| program_in(&root, program).map_err(|missing| missing.to_string());
        assert_eq!(
            find(Program::Nft).unwrap_err(),
            "cannot run nft: it is in none of /usr/bin, /bin, /usr/sbin, /sbin; install nftables"
        );
        // Not merged, and merged.
        put(&root, "/sbin/nft", 0o755);
        assert_eq!(find(Program::Nft).unwrap(), root.join("/sbin/nft"));
        put(&root, "/usr/sbin/nft", 0o755);
        assert_eq!(find(Program::Nft).unwrap(), root.join("/usr/sbin/nft"));
        put(&root, "/lib/systemd/systemd-modules-load", 0o755);
        assert_eq!(
            find(Program::ModulesLoad).unwrap(),
            root.join("/lib/systemd/systemd-modules-load")
        );
        // No program: a directory, a file that nobody may run, a link that leads nowhere.
        put(&root, "/usr/bin/systemctl/x", 0o755);
        put(&root, "/bin/systemctl", 0o644);
        put_link(Path::new("/gone"), &root.join("/usr/sbin/systemctl")).unwrap();
        assert!(find(Program::Systemctl).is_err());
        // The closure that is active has no say.
        put(&root, "/nix/store/a/sw/bin/systemctl", 0o755);
        put_link(Path::new("/nix/store/a"), &root.join("/run/current-system")).unwrap();
        assert!(find(Program::Systemctl).is_err());
        put_link(Path::new("/gone/../bin/sh"), &root.join("/sbin/systemctl")).unwrap();
        put(&root, "/bin/sh", 0o755);
        assert_eq!(
            find(Program::Systemctl).unwrap(),
            root.join("/sbin/systemctl")
        );
    }

    #[test]
    fn nixos_s_are_the_active_closure_s_and_else_the_booted_one_s() {
        let (_tree, root) = tree();
        let find = |program| program_in(&root, program).map_err(|missing| missing.to_string());
        put_text("ID=nixos\n", &root.join("/etc/os-release")).unwrap();
        // Somebody's /usr/bin is none of NixOS's.
        put(&root, "/usr/bin/journalctl", 0o755);
        assert_eq!(
            find(Program::Journalctl).unwrap_err(),
            "cannot run journalctl: it is in none of /run/current-system/sw/bin, /run/current-system/systemd/bin, \
             /run/booted-system/sw/bin, /run/booted-system/systemd/bin; build the system again, and boot it"
        );
        put(&root, "/nix/store/a/systemd/bin/journalctl", 0o555);
        put_link(Path::new("/nix/store/a"), &root.join("/run/booted-system")).unwrap();
        let booted = root.join("/run/booted-system/systemd/bin/journalctl");
        assert_eq!(find(Program::Journalctl).unwrap(), booted);
        put(&root, "/nix/store/s/journalctl", 0o555);
        put_link(Path::new("/nix/store/s"), &root.join("/nix/store/b/sw/bin")).unwrap();
        put_link(Path::new("/nix/store/b"), &root.join("/run/current-system")).unwrap();
        let current = root.join("/run/current-system/sw/bin/journalctl");
        assert_eq!(find(Program::Journalctl).unwrap(), current);
    }

    /// The rig's host is one.
    #[test]
    fn the_running_machine_s_are_found_whatever_path_says() {
        let found = program(Program::Systemctl).unwrap();
        assert!(found.is_absolute(), "{}", found.display());
    }
}
