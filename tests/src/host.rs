//! What the rig needs of the host: Debian 12, root, and these packages.

use std::fmt::Write as _;

use anyhow::{Result, ensure};

use crate::command;

/// Debian packages the tests need, and what for.
const PACKAGES: &[(&str, &str)] = &[
    ("busybox-static", "builds the trees' closures"),
    ("cpio", "initrds"),
    ("curl", "a hook of the recipes"),
    (
        "debian-archive-keyring",
        "the guest's packages are verified",
    ),
    ("dosfstools", "mkfs.vfat"),
    ("dpkg-dev", "dpkg-parsechangelog, for the Debian package"),
    ("efitools", "lists of signatures, as firmware has them"),
    ("e2fsprogs", "mkfs.ext4; debugfs for evidence"),
    ("fdisk", "sfdisk"),
    ("fish", "its completions"),
    ("iproute2", "ip, the cable between container and test"),
    ("kmod", "depmod, modprobe --show-depends"),
    ("lintian", "the Debian package, as Debian looks at one"),
    ("mmdebstrap", "the guest's root"),
    ("mtools", "the ESP, without mounting it"),
    ("nftables", "nft -c"),
    ("nix-bin", "profiles made by the real nix-env"),
    ("openssl", "certificates"),
    ("ovmf", "the firmware"),
    ("qemu-system-x86", "the machine"),
    ("sbsigntool", "sbsign, signatures for Secure Boot"),
    ("strace", "the order of writes, as the kernel sees it"),
    ("systemd", "systemd-analyze verify, journalctl"),
    (
        "systemd-boot",
        "bootctl, systemd-boot's own reading of entries",
    ),
    ("systemd-container", "systemd-nspawn"),
    ("time", "peak memory in `xtask bench`"),
    ("util-linux", "unshare, nsenter, setpriv"),
    ("zsh", "its completions"),
    ("zstd", "initrds"),
];

/// Installs what is missing and says so.
///
/// # Errors
/// When this is not root, or a package cannot be installed.
pub fn ensure_packages(say: impl Fn(&str)) -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the rig builds file systems with owners and device nodes: run it as root"
    );
    let missing = missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    let mut line = String::from("installing Debian packages:");
    for (name, why) in &missing {
        write!(line, " {name} ({why})")?;
    }
    say(&line);
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    let install = || {
        let mut apt = std::process::Command::new("apt-get");
        apt.args(["install", "--yes", "--no-install-recommends"])
            .args(&names);
        command::output(apt.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    // Package lists may be missing or too old to name files that still exist.
    if install().is_err() {
        command::run("apt-get", ["update"])?;
        install()?;
    }
    Ok(())
}

/// The packages that are not installed.
fn missing() -> Result<Vec<(&'static str, &'static str)>> {
    let status = command::run(
        "dpkg-query",
        ["--show", "--showformat", "${Package} ${db:Status-Status}\n"],
    )?;
    let installed: Vec<&str> = status
        .lines()
        .filter_map(|line| line.strip_suffix(" installed"))
        .collect();
    Ok(PACKAGES
        .iter()
        .copied()
        .filter(|(name, _)| !installed.contains(name))
        .collect())
}
