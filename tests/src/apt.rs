//! What apt runs on a machine for the packages that boot the distribution itself: systemd-boot and kernels. Debian's real
//! scripts, on a tree's boot partition.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::command;
use crate::container::Rootfs;
use crate::tree::Tree;

/// Runs a shell command in the release's tree, with the boot partition of `tree` at `/boot`, on a machine that was booted
/// with these words. There are no firmware variables.
///
/// # Errors
/// When it ends with a status other than 0.
pub fn run(rootfs: &Rootfs, tree: &Tree, words: &str, what: &str) -> Result<String> {
    const SCRIPT: &str = include_str!("apt.sh");
    let work = tempfile::tempdir()?;
    let root = rootfs.root();
    let boot = tree.path("boot");
    let places: [&Path; 3] = [work.path(), &root, &boot];
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--mount", "sh", "-euc", SCRIPT, "apt"])
        .args(places)
        .args([words, what])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command::output(&mut unshare)
}
