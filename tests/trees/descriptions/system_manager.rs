//! A profile of system-manager's as part of a closure.

use std::fs;

use anyhow::{Context as _, Result};
use lastgood_tests::paths;

use super::{build, describe, leads, machine, read, text};
use crate::ok;

/// What a profile of system-manager says is in the closure: files, modes, units, masks. The profile is made as its sources
/// make one; the real one needs nixpkgs.
#[test]
fn a_profile_of_system_manager_becomes_part_of_a_closure() -> Result<()> {
    let tree = machine()?;
    let profile = paths::repository().join("tests/trees/system-manager.nix");
    let with = |more: &str| {
        format!(
            "make (plain // {{ systemManager = import {}; {more} }})",
            profile.display()
        )
    };
    let toplevel = build(
        &tree,
        &with(
            r#"
            etc."app/more.conf" = "more\n";
            units."own.service" = { sections.Service.ExecStart = "/bin/true"; wantedBy = [ "system-manager.target" ]; };
            "#,
        ),
    )?;
    for (path, words) in [
        ("etc/app/app.conf", "plain\n"),
        ("etc/app/more.conf", "more\n"),
        ("etc/app/secret.conf", "secret\n"),
        ("etc/app/secret.conf.mode", "0640"),
        ("etc/app/secret.conf.uid", "+0"),
        ("etc/app/secret.conf.gid", "www-data"),
        (
            "etc/systemd/system/own.service",
            "[Service]\nExecStart=/bin/true\n",
        ),
    ] {
        assert_eq!(read(&tree, &toplevel, path)?, words, "{path}");
    }
    for unit in [
        "app.service",
        "system-manager.target.wants/app.service",
        "system-manager.target.wants/own.service",
        "default.target.wants/system-manager.target",
    ] {
        read(&tree, &toplevel, &format!("etc/systemd/system/{unit}")).context(unit)?;
    }
    let masked = leads(
        &tree,
        &toplevel,
        "etc/systemd/system/systemd-tmpfiles-clean.timer",
    )?;
    assert_eq!(masked, "/dev/null");
    // All of it stays while the closure does.
    tree.set(&toplevel)?;
    tree.bare_nix("nix-store", &["--gc"])?;
    read(&tree, &toplevel, "etc/app/secret.conf")?;
    ok(&tree.lastgood(&["install"])?);

    // The same from a profile that is built already, named by its path.
    let built = tree.bare_nix("nix-build", &["--no-out-link", text(&profile)])?;
    let named = format!("systemManager = {};", built.stdout.trim());
    let again = build(&tree, &named)?;
    assert_eq!(read(&tree, &again, "etc/app/app.conf")?, "plain\n");

    // And from where system-manager keeps its generations.
    let link = "/nix/var/nix/profiles/system-manager-profiles/system-manager";
    let place = tree.path(link.trim_start_matches('/'));
    fs::create_dir_all(place.parent().context("no directory")?)?;
    let set = ["--profile", link, "--set", built.stdout.trim()];
    assert_eq!(tree.bare_nix("nix-env", &set)?.status, 0);
    assert_eq!(build(&tree, &format!("systemManager = {link};"))?, again);

    for (more, said) in [
        (
            r#"etc."app/app.conf" = "mine";"#,
            "closure.nix: etc/app/app.conf is system-manager's, and is given here as well; one of them must go",
        ),
        (
            r#"etc."app/secret.conf" = "mine";"#,
            "closure.nix: etc/app/secret.conf: is given twice",
        ),
        (
            "systemManager = (make plain);",
            "has no etcFiles/etcFiles.json, as a profile of system-manager has",
        ),
    ] {
        let more = if more.starts_with("systemManager") {
            "make (plain // { systemManager = make plain; })".to_owned()
        } else {
            with(more)
        };
        let ended = describe(&tree, "nix-build", &more)?;
        assert!(
            ended.status != 0 && ended.stderr.contains(said),
            "{said}: {ended:?}"
        );
    }
    Ok(())
}
