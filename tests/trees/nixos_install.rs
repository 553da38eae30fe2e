//! The hook as `nixos-install` calls it: in a chroot, with no PID 1, no `/run`, no journal and a `PATH` that leads nowhere.
//! Either the ESP boots afterwards, or the status is not 0 and one line says why. Whether it boots is read from the ESP:
//! bootctl may say that all is well and have done nothing.
//!
//! There is no FAT file system here. What the kernel would say of one is written into the chroot's `/proc`.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::Result;
use lastgood_tests::tree::{Ended, Tree};
use lastgood_tests::{files, program};

use super::{boots, ok, refused};

/// The loader that the closure's bootctl installs.
const LOADER: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
const COPIES: [&str; 2] = [
    "boot/EFI/systemd/systemd-bootx64.efi",
    "boot/EFI/BOOT/BOOTX64.EFI",
];
const MOUNTED: &str =
    "20 1 8:2 / / rw - ext4 /dev/sda2 rw\n21 20 8:1 / /boot rw - vfat /dev/sda1 rw\n";
const NOT_MOUNTED: &str = "20 1 8:2 / / rw - ext4 /dev/sda2 rw\n";

/// A new system, as `nixos-install` has it before it calls the hook; its bootctl is this script.
fn new_system(bootctl: &str) -> Result<(Tree, String)> {
    let tree = Tree::new()?;
    for copy in COPIES {
        files::remove(&tree.path(copy))?;
    }
    fs::remove_dir_all(tree.path("boot/EFI"))?;
    let extra = format!(
        "/bin/busybox mkdir -p $out/systemd/bin $out/systemd/lib/systemd/boot/efi\n\
         /bin/busybox ln -s /loader.efi $out/systemd/lib/systemd/boot/efi/systemd-bootx64.efi\n\
         /bin/busybox printf '%s\\n' '#!/bin/busybox sh' '{bootctl}' > $out/systemd/bin/bootctl\n\
         /bin/busybox chmod 555 $out/systemd/bin/bootctl"
    );
    let toplevel = tree.build("1", &extra)?;
    tree.set(&toplevel)?;
    // `/dev` is the installer's, in earnest.
    for empty in ["etc/NIXOS", "dev/null"] {
        files::write(&tree.path(empty), "")?;
    }
    for (from, to) in [("/bin/busybox", "bin/busybox"), (LOADER, "loader.efi")] {
        fs::create_dir_all(tree.path("bin"))?;
        fs::copy(from, tree.path(to))?;
    }
    fs::copy(program::build()?, tree.path("lastgood"))?;
    Ok((tree, toplevel.display().to_string()))
}

fn call_hook(tree: &Tree, mounts: Option<&str>, toplevel: &str) -> Result<Ended> {
    if let Some(mounts) = mounts {
        for place in ["self", "thread-self"] {
            files::write(&tree.path(&format!("proc/{place}/mountinfo")), mounts)?;
        }
        let random = tree.path("proc/sys/kernel/random");
        for name in ["boot_id", "uuid"] {
            files::write(&random.join(name), "0f3f2a6e-6f64-4c8a-9d0b-0a4c1f9b7e11\n")?;
        }
    }
    let output = Command::new("chroot")
        .arg(tree.path(""))
        .args([
            "/bin/busybox",
            "env",
            "-i",
            "NIXOS_INSTALL_BOOTLOADER=1",
            "PATH=/nowhere",
        ])
        .args(["/lastgood", "install", toplevel])
        .stdin(Stdio::null())
        .output()?;
    Ok(Ended {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

#[test]
fn a_new_machine_boots_what_was_installed() -> Result<()> {
    let bootctl = "/bin/busybox mkdir -p /boot/EFI/systemd /boot/EFI/BOOT; \
                   /bin/busybox cp /loader.efi /boot/EFI/systemd/systemd-bootx64.efi; \
                   /bin/busybox cp /loader.efi /boot/EFI/BOOT/BOOTX64.EFI";
    let (tree, toplevel) = new_system(bootctl)?;
    let ended = call_hook(&tree, Some(MOUNTED), &toplevel)?;
    assert!(
        ok(&ended).contains("generation 1 (trial) boots next"),
        "{ended:?}"
    );
    for copy in COPIES {
        assert_eq!(fs::read(tree.path(copy))?, fs::read(LOADER)?, "{copy}");
    }
    assert_eq!(boots(&tree, 0)?, ["1"]);
    ok(&tree.lastgood(&["verify"])?);
    Ok(())
}

/// A new machine has nothing that is selected, so only the closure says where its ESP is.
#[test]
fn the_first_closure_says_where_its_esp_is() -> Result<()> {
    let tree = Tree::new()?;
    fs::rename(tree.path("boot"), tree.path("esp1"))?;
    let config = "echo '[boot]' > $out/etc/lastgood/lastgood.toml; \
                  echo 'esp = \"/esp1\"' >> $out/etc/lastgood/lastgood.toml";
    tree.set(&tree.build("1", config)?)?;
    ok(&tree.lastgood(&["install"])?);
    assert_eq!(
        files::sorted_entries(&tree.path("esp1/loader/entries"))?.len(),
        1
    );
    Ok(())
}

/// Bootctl says no; it says yes and does nothing; it says yes, and what it wrote is cut off.
#[test]
fn a_loader_that_is_not_there_is_told_whatever_bootctl_says() -> Result<()> {
    let half = "/bin/busybox mkdir -p /boot/EFI/systemd /boot/EFI/BOOT; \
                /bin/busybox head -c 30000 /loader.efi > /boot/EFI/systemd/systemd-bootx64.efi; \
                /bin/busybox head -c 30000 /loader.efi > /boot/EFI/BOOT/BOOTX64.EFI";
    for (bootctl, words) in [
        ("echo no such device >&2; exit 1", "no such device"),
        ("exit 0", "has installed no systemd-boot that is whole"),
        (half, "has installed no systemd-boot that is whole"),
    ] {
        let (tree, toplevel) = new_system(bootctl)?;
        let ended = call_hook(&tree, Some(MOUNTED), &toplevel)?;
        refused(&ended, &[words, "generation 1"]);
    }
    Ok(())
}

/// `/boot` is an empty directory of the new root, or nobody can say what is mounted.
#[test]
fn without_an_esp_nothing_is_written() -> Result<()> {
    for (mounts, words) in [
        (Some(NOT_MOUNTED), "no EFI system partition"),
        (None, "/proc/self/mountinfo"),
    ] {
        let (tree, toplevel) = new_system("exit 0")?;
        let ended = call_hook(&tree, mounts, &toplevel)?;
        refused(&ended, &[words]);
        assert_eq!(
            files::sorted_entries(&tree.path("boot"))?,
            [""; 0].map(std::path::PathBuf::from)
        );
        assert!(!tree.path("var/lib/lastgood/ledger.jsonl").try_exists()?);
    }
    Ok(())
}
