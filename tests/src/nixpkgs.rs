//! A tree that nixpkgs' systemd-boot builder wrote, in both of its naming schemes.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::files;
use crate::tree::{KERNEL, Tree};

/// How the builder names entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `nixos-generation-N.conf`
    Numbered,
    /// `nixos-HASH.conf`, the hash being that of the text.
    Hashed,
}

/// The name that the builder gives to the file that a link in a closure leads to, and its bytes.
///
/// # Errors
/// When the closure has no such link.
pub fn payload(tree: &Tree, toplevel: &Path, link: &str) -> Result<(String, Vec<u8>)> {
    let inside =
        |path: &Path| -> Result<PathBuf> { Ok(tree.path("").join(path.strip_prefix("/")?)) };
    let target = fs::read_link(inside(toplevel)?.join(link))?;
    let name = target.file_name().and_then(|name| name.to_str());
    let name = format!("{}.efi", name.context("a store path has a name")?);
    Ok((name, fs::read(inside(&target)?)?))
}

/// Writes what the builder writes for a generation: payload and entry. The name of the entry, without `.conf`.
///
/// # Errors
/// When the closure lacks something, or the tree cannot be written.
pub fn write(tree: &Tree, scheme: Scheme, number: usize, toplevel: &Path) -> Result<String> {
    let put = |link: &str| -> Result<String> {
        let (name, bytes) = payload(tree, toplevel, link)?;
        files::write(&tree.path("boot/EFI/nixos").join(&name), &bytes)?;
        Ok(name)
    };
    let (kernel, initrd, toplevel) = (put("kernel")?, put("initrd")?, toplevel.display());
    let text = format!(
        "title NixOS\nsort-key nixos\nversion Generation {number} NixOS 26.05.{number}, built on 2026-01-0{number}\n\
         linux /EFI/nixos/{kernel}\ninitrd /EFI/nixos/{initrd}\noptions init={toplevel}/init quiet number={number}\n\
         machine-id 0123456789abcdef0123456789abcdef\n",
    );
    let name = match scheme {
        Scheme::Numbered => format!("nixos-generation-{number}"),
        Scheme::Hashed => {
            let mut name = String::from("nixos-");
            for byte in Sha256::digest(text.as_bytes()) {
                write!(name, "{byte:02x}")?;
            }
            name
        }
    };
    let entry = format!("boot/loader/entries/{name}.conf");
    files::write(&tree.path(&entry), text)?;
    Ok(name)
}

/// Three generations that the builder wrote, the third running; a fourth that it did not. And what is nobody's
/// business: Debian, another machine's entry, the builder's notes of extra files.
///
/// The four closures, and the names of the builder's three entries.
///
/// # Errors
/// When Nix says no.
pub fn machine(tree: &Tree, scheme: Scheme) -> Result<(Vec<PathBuf>, Vec<String>)> {
    let mut toplevels = tree.generations(3)?;
    let mut names = Vec::new();
    for (number, toplevel) in (1..).zip(&toplevels) {
        names.push(write(tree, scheme, number, toplevel)?);
    }
    let (running, current) = toplevels.last().zip(names.last()).context("three")?;
    let program = fs::read(KERNEL)?;
    // The other machine's has a number that this one has as well.
    let another = "title NixOS\nsort-key nixos\nlinux /EFI/nixos/another.efi\noptions init=/nix/store/another/init\n";
    let conf = format!("timeout 5\ndefault {current}.conf\nconsole-mode keep\n");
    let cmdline = format!("init={}/init", running.display());
    let texts = [
        ("boot/loader/loader.conf", conf.as_str()),
        (
            "boot/loader/entries/debian.conf",
            "title Debian\nlinux /EFI/debian/vmlinuz\n",
        ),
        ("boot/loader/entries/nixos-generation-4.conf", another),
        ("boot/EFI/nixos/.extra-files/banana.conf", ""),
        ("proc/cmdline", &cmdline),
    ];
    for (path, text) in texts {
        files::write(&tree.path(path), text)?;
    }
    for path in ["boot/EFI/debian/vmlinuz", "boot/EFI/nixos/another.efi"] {
        files::write(&tree.path(path), &program)?;
    }
    let fourth = tree.build("4", "")?;
    tree.set(&fourth)?;
    toplevels.push(fourth);
    Ok((toplevels, names))
}
