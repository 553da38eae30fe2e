use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::state::Subject;
use boot_entries::GenerationId;

#[test]
fn what_is_lost() {
    for is_started_by_us in [false, true] {
        for remembers in [false, true] {
            let of = |medium| judge(medium, is_started_by_us, remembers);
            assert_eq!(of(Medium::Memory), Some(Volatile::Memory));
            assert_eq!(of(Medium::OverMemory), Some(Volatile::OverMemory));
            let emptied = is_started_by_us && !remembers;
            assert_eq!(of(Medium::Disk), emptied.then_some(Volatile::Emptied));
        }
    }
}

fn ledger(events: &[Event]) -> Ledger {
    let tree = tempfile::tempdir().unwrap();
    let root = Root::new(tree.path());
    let events: Vec<&Event> = events.iter().collect();
    crate::store::ledger::record(&root, jiff::Timestamp::UNIX_EPOCH, &events).unwrap();
    Ledger::read(&root).unwrap()
}

#[test]
fn a_ledger_that_begins_with_this_boot_remembers_nothing() {
    let began = |boot: &str| Event::Began {
        boot: boot.to_owned(),
        running: None,
        reset: None,
    };
    let selected = Event::Selected {
        subject: Subject {
            generation: GenerationId::system(1),
            toplevel: "/nix/store/x".into(),
        },
        by: None,
    };
    assert!(!remembers(&Ledger::default(), "b"));
    assert!(!remembers(&ledger(&[began("b"), selected.clone()]), "b"));
    assert!(remembers(&ledger(&[began("a"), began("b")]), "b"));
    assert!(remembers(&ledger(&[selected, began("b")]), "b"));
    let mut damaged = ledger(&[began("b")]);
    damaged.damaged = vec![1];
    assert!(remembers(&damaged, "b"));
}

/// What the state directory lies on after `script` has mounted something in a mount namespace of its own; `$1` is the
/// tree.
fn after(script: &str) -> Medium {
    // On the disk that the tests are built on: /tmp may be memory itself.
    let tree = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let at = tree.path().to_owned();
    let script = format!("mount --make-rprivate /; {script}");
    let inside = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace needs root");
        let mut shell = Command::new("sh");
        let status = shell.args(["-euc", &script, "sh"]).arg(&at).status();
        assert!(status.unwrap().success(), "{script}");
        medium(&Root::new(at))
    });
    inside.join().unwrap()
}

#[test]
fn what_it_lies_on_is_seen_through_real_mounts() {
    assert_eq!(after("true"), Medium::Disk);
    let own = r#"mkdir -p "$1/var/lib/lastgood"; mount -t tmpfs tmpfs "$1/var/lib/lastgood""#;
    assert_eq!(after(own), Medium::Memory);
    // It is not there yet.
    let above = r#"mkdir "$1/var"; mount -t ramfs ramfs "$1/var""#;
    assert_eq!(after(above), Medium::Memory);
    // A disk that is mounted in memory stays one.
    let bound = r#"mkdir "$1/var" "$1/disk"; mount -t tmpfs tmpfs "$1/var"; mkdir -p "$1/var/lib/lastgood"
        mount --bind "$1/disk" "$1/var/lib/lastgood""#;
    assert_eq!(after(bound), Medium::Disk);
    let overlay = |kind: &str| {
        let prepare = match kind {
            "tmpfs" => r#"mount -t tmpfs tmpfs "$1/rw";"#,
            // Another overlay, which is none of its business.
            _ => {
                r#"mkdir "$1/m" "$1/o"; mount -t tmpfs tmpfs "$1/m"; mkdir "$1/m/upper" "$1/m/work"
                   mount -t overlay -o "lowerdir=$1/lower,upperdir=$1/m/upper,workdir=$1/m/work" overlay "$1/o";"#
            }
        };
        after(&format!(
            r#"mkdir "$1/rw" "$1/lower" "$1/var"; {prepare} mkdir "$1/rw/upper" "$1/rw/work"
               mount -t overlay -o "lowerdir=$1/lower,upperdir=$1/rw/upper,workdir=$1/rw/work" overlay "$1/var""#
        ))
    };
    assert_eq!(overlay("tmpfs"), Medium::OverMemory);
    assert_eq!(overlay("disk"), Medium::Disk);
    let read_only = r#"mkdir "$1/a" "$1/b" "$1/var"
        mount -t overlay -o "lowerdir=$1/a:$1/b" overlay "$1/var""#;
    assert_eq!(after(read_only), Medium::Disk);
}

#[test]
fn it_is_said_what_is_lost_and_what_to_do() {
    for one in [Volatile::Memory, Volatile::OverMemory, Volatile::Emptied] {
        let line = one.to_string();
        assert!(line.starts_with("/var/lib/lastgood "), "{line}");
        assert!(line.contains("never falls back"), "{line}");
        assert!(line.ends_with("on a disk that stays"), "{line}");
    }
}
