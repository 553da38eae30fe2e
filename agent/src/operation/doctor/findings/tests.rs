use super::Standing::{Limit, ToDo};
use super::*;
use crate::operation::doctor::facts::Current;
use boot_entries::GenerationId;

/// A host at which nothing is to be done.
fn ready() -> Facts {
    Facts {
        is_uefi: true,
        loader: Loader::Known("systemd-boot 258.4".to_owned()),
        partitions: Ok(vec![Partition {
            name: "/boot".into(),
            is_read_only: false,
            is_open_to_all: false,
            free: 300 << 20,
        }]),
        payload: Some(60 << 20),
        store: None,
        was_in_time: false,
        volatile: None,
        kind: Some(Kind::Plain),
        missing: Vec::new(),
        programs: Vec::new(),
        current: Some(Current {
            id: GenerationId::system(7),
            unbootable: None,
            has_our_init: true,
        }),
        checks_signatures: false,
        has_watchdog: true,
        copies_command_line: false,
        is_clock_right: true,
    }
}

fn partition(change: impl FnOnce(&mut Partition)) -> Facts {
    let mut facts = ready();
    change(&mut facts.partitions.as_mut().unwrap()[0]);
    facts
}

fn with(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = ready();
    change(&mut facts);
    facts
}

#[test]
fn where_all_is_well_nothing_is_to_be_done() {
    let all = findings(&ready());
    assert!(
        all.iter().all(|one| one.standing == Standing::Good),
        "{all:#?}"
    );
    let boot = all
        .iter()
        .find(|one| one.about == "boot partition")
        .unwrap();
    assert!(boot.text.contains("5 more generations"), "{}", boot.text);
}

type Case = (Facts, &'static str, Standing, &'static str);

/// What is wrong with what a boot begins with.
fn early() -> Vec<Case> {
    let store = || StoreMount {
        source: "/dev/sdb1".to_owned(),
        point: "/nix".into(),
    };
    vec![
        (
            with(|f| f.is_uefi = false),
            "firmware",
            ToDo,
            "not made by UEFI",
        ),
        (
            with(|f| f.loader = Loader::Known("systemd-boot 257.13".into())),
            "loader",
            Limit,
            "waits until somebody resets it",
        ),
        (
            with(|f| f.loader = Loader::None),
            "loader",
            ToDo,
            "no systemd-boot",
        ),
        (
            with(|f| f.loader = Loader::TooOld("systemd-boot 249".into())),
            "loader",
            ToDo,
            "older than 252",
        ),
        (
            with(|f| f.loader = Loader::Unknown("grub".into())),
            "loader",
            ToDo,
            "grub is not known",
        ),
        (
            with(|f| f.partitions = Err("there is none".into())),
            "boot partition",
            ToDo,
            "there is none",
        ),
        (
            partition(|p| p.is_read_only = true),
            "boot partition",
            ToDo,
            "read-only",
        ),
        (
            partition(|p| p.is_open_to_all = true),
            "boot partition",
            ToDo,
            "by everybody",
        ),
        (
            partition(|p| p.free = 59 << 20),
            "boot partition",
            Limit,
            "59 MiB free: the next generation takes the place",
        ),
        (
            with(|f| f.store = Some(store())),
            "store",
            ToDo,
            "/nix is a mount of its own (/dev/sdb1)",
        ),
    ]
}

/// What is wrong with what comes after that.
fn later() -> Vec<Case> {
    vec![
        (
            with(|f| f.volatile = Some("in memory".into())),
            "record",
            ToDo,
            "in memory",
        ),
        (
            with(|f| f.kind = None),
            "agent",
            ToDo,
            "whether this is NixOS",
        ),
        (
            with(|f| f.missing = vec!["lastgood-begin.service".into()]),
            "agent",
            ToDo,
            "not there: lastgood-begin.service",
        ),
        (
            with(|f| f.programs = vec![("nft is in none".into(), "install nftables".into())]),
            "programs",
            ToDo,
            "nft is in none",
        ),
        (
            with(|f| f.copies_command_line = true),
            "distribution",
            ToDo,
            "the init= of a generation",
        ),
        (
            with(|f| f.current = None),
            "generation",
            ToDo,
            "points at no generation",
        ),
        (
            with(|f| f.current.as_mut().unwrap().unbootable = Some("no kernel".into())),
            "generation",
            ToDo,
            "cannot be booted: no kernel",
        ),
        (
            with(|f| f.current.as_mut().unwrap().has_our_init = false),
            "generation",
            Limit,
            "one boot late",
        ),
        (
            with(|f| f.checks_signatures = true),
            "Secure Boot",
            Limit,
            "only what is signed",
        ),
        (
            with(|f| f.has_watchdog = false),
            "watchdog",
            Limit,
            "no watchdog device",
        ),
        (
            with(|f| f.is_clock_right = false),
            "clock",
            Limit,
            "before 2024",
        ),
    ]
}

/// Each thing that can be wrong is one line, with what to type, and no other line changes.
#[test]
fn whatever_is_wrong_is_told_by_itself() {
    let well = findings(&ready());
    for (facts, about, standing, words) in early().into_iter().chain(later()) {
        let all = findings(&facts);
        let told: Vec<&Finding> = all
            .iter()
            .filter(|one| one.standing != Standing::Good)
            .collect();
        assert_eq!(told.len(), 1, "{about}: {told:#?}");
        let one = told[0];
        assert_eq!((one.about, one.standing), (about, standing));
        assert!(one.text.contains(words), "{words}: {}", one.text);
        assert_eq!(one.todo.is_some(), standing == ToDo, "{about}");
        for same in all.iter().filter(|one| one.about != about) {
            assert!(well.contains(same), "{about} changes {same:?}");
        }
    }
}

#[test]
fn what_the_store_is_on_does_not_matter_once_a_boot_has_had_it_in_time() {
    let facts = with(|f| {
        f.store = Some(StoreMount {
            source: "/dev/sdb1".to_owned(),
            point: "/nix".into(),
        });
        f.was_in_time = true;
    });
    assert!(
        findings(&facts)
            .iter()
            .all(|one| one.standing == Standing::Good)
    );
    // NixOS has an init of its own.
    let nixos = with(|f| {
        f.kind = Some(Kind::NixOs);
        f.current.as_mut().unwrap().has_our_init = false;
    });
    assert!(
        findings(&nixos)
            .iter()
            .all(|one| one.standing == Standing::Good)
    );
}

#[test]
fn the_distribution_s_own_command_line_keeps_what_the_machine_needs() {
    let (command, _) = OWN_COMMAND_LINE.split_once(" >").unwrap();
    let command = format!(
        "printf %s \"$1\" | {}",
        command.replace("/proc/cmdline", "")
    );
    for before in [
        "initrd=\\a\\initrd root=UUID=1 ro console=ttyS0 systemd.machine_id=0\n",
        "init=/nix/store/a/init root=UUID=1 ro console=ttyS0\n",
        "BOOT_IMAGE=/vmlinuz root=UUID=1 ro initrd=b console=ttyS0\n",
    ] {
        let mut sh = std::process::Command::new("sh");
        let said = sh.args(["-c", &command, "sh", before]).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert_eq!(said, "root=UUID=1 ro console=ttyS0\n", "{before}");
    }
}
