//! What is asked of bootctl(1), and what becomes of its answers. The real one is asked in `tests/trees`.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::report::line::one_line;
use boot_entries::durable;

/// A tree with a closure whose bootctl is a shell script.
fn tree(script: &str) -> (tempfile::TempDir, Bootctl) {
    let tree = tempfile::tempdir().unwrap();
    let program = tree.path().join("store/bin/bootctl");
    durable::put_text(&format!("#!/bin/sh -e\n{script}\n"), &program).unwrap();
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
    durable::put_link(Path::new("/store"), &tree.path().join("closure/systemd")).unwrap();
    let root = Root::new(tree.path());
    let bootctl = Bootctl::find(&root, Some(Path::new("/closure")));
    (tree, bootctl)
}

fn place(tree: &tempfile::TempDir, boot: &str) -> Place {
    Place {
        esp: tree.path().join("efi"),
        boot: tree.path().join(boot),
        ..Place::default()
    }
}

#[test]
fn the_closures_bootctl_is_asked_with_the_places_it_is_about() {
    let (tree, bootctl) = tree(r#"echo "$@" >> "$(dirname "$0")/asked""#);
    bootctl.install(&place(&tree, "efi"), true).unwrap();
    bootctl.install(&place(&tree, "boot"), false).unwrap();
    bootctl.complete(&place(&tree, "efi"), true).unwrap();
    bootctl.clear(Variable::EntryDefault).unwrap();
    let asked = std::fs::read_to_string(tree.path().join("store/bin/asked")).unwrap();
    let top = tree.path().display();
    let lines = [
        format!("--esp-path={top}/efi install"),
        format!("--esp-path={top}/efi --boot-path={top}/boot --no-variables install"),
        format!("--esp-path={top}/efi --graceful update"),
        format!("--esp-path={top}/efi random-seed"),
        "set-default ".to_owned(),
    ];
    assert_eq!(asked.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn without_one_in_the_closure_it_is_the_machines() {
    let tree = tempfile::tempdir().unwrap();
    let root = Root::new(tree.path());
    let machines = Bootctl::find(&root, None);
    assert_eq!(Bootctl::find(&root, Some(Path::new("/closure"))), machines);
    let error = machines.start_once("x.conf").unwrap_err();
    assert_eq!(
        one_line(&error),
        "cannot run bootctl: it is in none of /usr/bin, /bin, /usr/sbin, /sbin; install bootctl (systemd-boot, where that is \
         a package of its own)"
    );
    let program = tree.path().join("usr/bin/bootctl");
    durable::put_text("#!/bin/sh -e\n", &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(machines.program().unwrap(), program);
    machines.start_once("x.conf").unwrap();
}

/// In the words of version 252 and of the newest.
#[test]
fn a_variable_it_does_not_know_is_told_as_such() {
    for words in [
        "Unknown command verb set-preferred.",
        "Unknown command verb 'set-preferred', did you mean 'x'?",
    ] {
        let (_tree, bootctl) = tree(&format!("echo \"{words}\" >&2; exit 1"));
        let error = bootctl.clear(Variable::EntryPreferred).unwrap_err();
        let line = one_line(&error);
        assert!(
            line.contains("LoaderEntryPreferred") && line.contains("260"),
            "{line}"
        );
    }
}

#[test]
fn what_goes_wrong_is_told_in_one_line_in_its_own_words() {
    let (_tree, bootctl) = tree("echo 'Not booted with UEFI.' >&2; echo 'No.' >&2; exit 1");
    let line = one_line(&bootctl.clear(Variable::ConfigTimeout).unwrap_err());
    assert!(
        line.ends_with("exit status: 1: Not booted with UEFI.; No."),
        "{line}"
    );
    let gone = Bootctl {
        root: Root::new("/"),
        closures: Some(PathBuf::from("/nowhere/bootctl")),
    };
    let line = one_line(&gone.clear(Variable::ConfigTimeout).unwrap_err());
    assert!(
        line.starts_with("cannot run /nowhere/bootctl set-timeout"),
        "{line}"
    );
}
