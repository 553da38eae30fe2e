//! What somebody starts from.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use lastgood_tests::{files, paths};

use super::{machine, read, text};
use crate::ok;

/// The template says what is missing, and then is a closure, by `nix-build` and as a flake.
#[test]
fn the_template_asks_for_the_root_and_becomes_a_closure() -> Result<()> {
    let tree = machine()?;
    let nix = paths::repository().join("nix");
    let described = tree.path("described");
    for name in ["default.nix", "system.nix", "flake.nix"] {
        let words = fs::read_to_string(nix.join("template").join(name))?;
        let words = words.replace("/usr/share/lastgood/nix", text(&nix));
        // Debian's kernels are in /boot, which a test leaves alone.
        let boot = described.join("boot");
        let words = words.replace("boot ? /boot", &format!("boot ? {}", boot.display()));
        files::write(&described.join(name), words)?;
    }
    let default = described.join("default.nix");
    let make = || tree.bare_nix("nix-build", &["--no-out-link", text(&default)]);
    let asked = make()?;
    assert_eq!(
        asked.stderr.lines().next(),
        Some(
            "error: system.nix: say here where the root is, as `cat /proc/cmdline` does: \"root=UUID=...\""
        ),
    );
    let system = fs::read_to_string(described.join("system.nix"))?;
    let (before, rest) = system.split_once("(throw ").context("no throw")?;
    let (_, after) = rest.split_once("\")\n").context("no end of it")?;
    files::write(
        &described.join("system.nix"),
        format!("{before}\"root=UUID=1234\"\n{after}"),
    )?;
    let built = make()?;
    assert_eq!(built.status, 0, "{built:?}");
    let toplevel = PathBuf::from(built.stdout.trim());
    tree.set(&toplevel)?;
    ok(&tree.lastgood(&["install"])?);
    assert_eq!(
        read(&tree, &toplevel, "kernel-params")?,
        "root=UUID=1234 ro quiet"
    );

    let flake = format!("path:{}", described.display());
    let built = tree.bare_nix(
        "nix",
        &[
            "--extra-experimental-features",
            "nix-command flakes",
            "eval",
            "--impure",
            "--raw",
            &flake,
        ],
    )?;
    assert_eq!(built.stdout, toplevel.display().to_string(), "{built:?}");
    Ok(())
}
