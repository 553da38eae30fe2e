//! Firmware that starts only what is signed.

use std::fs;

use anyhow::Result;
use lastgood_tests::files;
use lastgood_tests::tree::{Ended, KERNEL, Tree};
use serde_json::json;

use super::{json, ok};

const VARIABLE: &str = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const LOADERS: [&str; 2] = [
    "boot/EFI/systemd/systemd-bootx64.efi",
    "boot/EFI/BOOT/BOOTX64.EFI",
];

/// Attributes, as efivarfs has them, and the one byte.
fn secure_boot(tree: &Tree, is_on: bool) -> Result<()> {
    files::write(&tree.path(VARIABLE), [6, 0, 0, 0, u8::from(is_on)])
}

/// A program with a certificate table: not a valid one, which is for the firmware to say.
fn signed(mut program: Vec<u8>) -> Vec<u8> {
    program.resize(program.len().next_multiple_of(8), 0);
    let header = u32::from_le_bytes(program[0x3c..0x40].try_into().unwrap());
    let directory = usize::try_from(header).unwrap() + 24 + 112 + 4 * 8;
    let address = u32::try_from(program.len()).unwrap().to_le_bytes();
    program[directory..directory + 4].copy_from_slice(&address);
    program[directory + 4..directory + 8].copy_from_slice(&64_u32.to_le_bytes());
    program.extend([0x42; 64]);
    program
}

fn told(ended: &Ended) -> String {
    format!("{}{}", ended.stdout, ended.stderr)
}

const COMMANDS: [&[&str]; 5] = [
    &["install", "--dry-run"],
    &["install"],
    &["verify"],
    &["status"],
    &["next-boot"],
];

#[test]
fn what_carries_no_signature_is_told_where_the_firmware_asks_for_one() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(2)?;
    ok(&tree.lastgood(&["install", "1"])?);
    ok(&tree.lastgood(&["good", "1"])?);
    for is_on in [false, true] {
        secure_boot(&tree, is_on)?;
        for arguments in COMMANDS {
            let said = tree.lastgood(arguments)?;
            let is_told = told(&said).contains("Secure Boot is on");
            assert_eq!(is_told, is_on, "{arguments:?} {said:?}");
            let only_tells = ["status", "next-boot"].contains(&arguments[0]);
            let status = i32::from(is_on && !only_tells);
            assert_eq!(said.status, status, "{arguments:?} {said:?}");
        }
    }
    tree.set(&tree.build("3", "")?)?;
    let refused = tree.lastgood(&["install"])?;
    assert!(
        refused
            .stderr
            .contains("nothing was changed: Secure Boot is on, and the kernel of generation 3"),
        "{refused:?}"
    );
    assert_eq!(
        tree.entries()?.len(),
        2,
        "what cannot be started is not armed"
    );
    let said = told(&tree.lastgood(&["verify"])?);
    for what in [
        "systemd-boot in ",
        "the kernel of generation 1",
        "the kernel of generation 2",
    ] {
        let line = format!("Secure Boot is on, and {what}");
        assert!(said.contains(&line), "{line}: {said}");
    }
    let rows = json(&tree.lastgood(&["next-boot", "--json", "--failures", "3"])?);
    for row in &rows {
        assert!(row["broken"].to_string().contains("no signature"), "{row}");
    }
    Ok(())
}

#[test]
fn a_machine_that_is_signed_is_left_in_peace() -> Result<()> {
    let tree = Tree::new()?;
    for path in LOADERS {
        let path = tree.path(path);
        files::write(&path, signed(fs::read(&path)?))?;
    }
    files::write(&tree.path("kernels/signed.efi"), signed(fs::read(KERNEL)?))?;
    let more = json!({ "org.nixos.bootspec.v1": { "kernel": "/kernels/signed.efi" } });
    tree.set(&tree.build_with("1", "", &[], &more)?)?;
    secure_boot(&tree, true)?;
    for arguments in COMMANDS {
        let said = tree.lastgood(arguments)?;
        ok(&said);
        assert!(
            !told(&said).contains("Secure Boot"),
            "{arguments:?} {said:?}"
        );
    }
    Ok(())
}
