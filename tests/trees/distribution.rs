//! The distribution's own packages at work while a trial is armed: what systemd-boot and a kernel do when apt installs,
//! upgrades and removes them. Debian's real scripts.

use std::fs;

use anyhow::{Context, Result};
use lastgood_tests::apt;
use lastgood_tests::container::Rootfs;
use lastgood_tests::debian::Debian;
use lastgood_tests::tree::Tree;

use super::{boots, ok};

/// An upgrade of systemd-boot, or the same version once more.
const SYSTEMD_BOOT: &str = "/var/lib/dpkg/info/systemd-boot.postinst configure 252.0-1";
/// dpkg has unpacked a kernel, and runs what is to know.
const KERNEL_COMES: &str = "\
    mkdir -p /usr/lib/modules/6.1.0-99\n\
    echo kernel >/boot/vmlinuz-6.1.0-99\n\
    echo initrd >/boot/initrd.img-6.1.0-99\n\
    run-parts --arg=6.1.0-99 --arg=/boot/vmlinuz-6.1.0-99 /etc/kernel/postinst.d";
const KERNEL_GOES: &str = "\
    rm -f /boot/vmlinuz-6.1.0-99 /boot/initrd.img-6.1.0-99\n\
    run-parts --arg=6.1.0-99 --arg=/boot/vmlinuz-6.1.0-99 /etc/kernel/postrm.d";
const ENTRY: &str = "boot/loader/entries/0123456789abcdef0123456789abcdef-6.1.0-99.conf";

/// Generation 1 is proven and runs, and generation 2 is to be tried.
fn armed() -> Result<Tree> {
    let tree = Tree::new()?;
    tree.generations(2)?;
    let first = fs::read_link(tree.path("nix/var/nix/profiles/system-1-link"))?;
    ok(&tree.lastgood(&["install", first.to_str().context("a path")?])?);
    ok(&tree.lastgood(&["good", "1"])?);
    let second = fs::read_link(tree.path("nix/var/nix/profiles/system-2-link"))?;
    ok(&tree.lastgood(&["install", second.to_str().context("a path")?])?);
    Ok(tree)
}

/// What boots. What the loader does with an entry that cannot be started is that of the loader, and another one has come.
fn next(tree: &Tree) -> Result<Vec<String>> {
    let told = tree.lastgood(&["next-boot", "--failures", "5"])?;
    let of_the_loader = |line: &&str| line.contains(" that cannot be started: ");
    let lines = ok(&told).lines().filter(|line| !of_the_loader(line));
    Ok(lines.map(str::to_owned).collect())
}

#[test]
fn what_apt_does_to_a_boot_partition_changes_no_boot_to_come() -> Result<()> {
    for debian in Debian::ALL {
        let rootfs = Rootfs::build_bare(debian)?;
        let tree = armed()?;
        let before = next(&tree)?;
        assert_eq!(boots(&tree, 4)?, ["2", "2", "2", "1", "1"]);
        let words = "init=/nix/store/x/init root=/dev/sda2 ro";
        for what in [SYSTEMD_BOOT, KERNEL_COMES, SYSTEMD_BOOT, KERNEL_GOES] {
            apt::run(&rootfs, &tree, words, what)?;
            assert_eq!(next(&tree)?, before, "{}: {what}", debian.name());
            let verified = tree.lastgood(&["verify"])?;
            assert_eq!(
                verified.status,
                0,
                "{}: {what}: {verified:?}",
                debian.name()
            );
        }
        assert!(!tree.path(ENTRY).try_exists()?);

        // A kernel that comes while a generation runs is given its command line, unless the distribution has one.
        apt::run(&rootfs, &tree, words, KERNEL_COMES)?;
        let text = fs::read_to_string(tree.path(ENTRY))?;
        assert!(
            text.contains("options    init=/nix/store/x/init root=/dev/sda2 ro"),
            "{text}"
        );
        let own = format!(
            "mkdir -p /etc/kernel; echo root=/dev/sda2 ro >/etc/kernel/cmdline\n{KERNEL_COMES}"
        );
        apt::run(&rootfs, &tree, words, &own)?;
        let text = fs::read_to_string(tree.path(ENTRY))?;
        assert!(
            text.contains("options    root=/dev/sda2 ro") && !text.contains("init="),
            "{text}"
        );
        assert_eq!(next(&tree)?, before);
    }
    Ok(())
}
