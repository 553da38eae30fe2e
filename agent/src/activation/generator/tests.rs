mod odd;

use super::*;
use boot_entries::Subject;

use std::collections::BTreeMap;

const CLOSURE: &str = "/nix/store/a-nixos";

fn listed(path: &str, leads: Leads) -> Listed {
    Listed {
        path: path.into(),
        leads,
    }
}

fn found(units: Vec<Listed>) -> Found {
    Found {
        closure: Some(CLOSURE.into()),
        units,
        masks: Masks::default(),
        host: Some(Kind::Plain),
        trial: false,
    }
}

/// What is linked where a boot is no trial.
const EMERGENCY: (&str, &str) = (
    "emergency.target.wants/lastgood-emergency.service",
    "/usr/lib/systemd/system/lastgood-emergency.service",
);
const RESCUE: (&str, &str) = (
    "rescue.target.wants/lastgood-emergency.service",
    EMERGENCY.1,
);

/// Links by name; files lead to their text.
fn made(found: &Found) -> BTreeMap<String, String> {
    ours(found)
        .into_iter()
        .chain(plan(found).makes)
        .map(|make| match make {
            Make::Link { at, to } => (at.display().to_string(), to.display().to_string()),
            Make::File { at, text } => (at.display().to_string(), text.to_owned()),
        })
        .collect()
}

#[test]
fn units_lead_into_the_closure_and_masks_and_second_names_stay_what_they_are() {
    let makes = made(&found(vec![
        listed("nginx.service", Leads::File),
        listed("web.service", Leads::Alias("nginx.service".into())),
        listed("telnet.service", Leads::Nowhere),
        listed("multi-user.target.wants/nginx.service", Leads::File),
        listed("sshd.service.d/limits.conf", Leads::File),
    ]));
    let expected = [
        EMERGENCY,
        (
            "multi-user.target.wants/nginx.service",
            "/nix/store/a-nixos/etc/systemd/system/multi-user.target.wants/nginx.service",
        ),
        (
            "nginx.service",
            "/nix/store/a-nixos/etc/systemd/system/nginx.service",
        ),
        RESCUE,
        (
            "sshd.service.d/limits.conf",
            "/nix/store/a-nixos/etc/systemd/system/sshd.service.d/limits.conf",
        ),
        ("systemd-bless-boot.service", "/dev/null"),
        ("telnet.service", "/dev/null"),
        ("web.service", "nginx.service"),
    ];
    let expected = expected.map(|(at, to)| (at.to_owned(), to.to_owned()));
    assert_eq!(makes, BTreeMap::from(expected));
}

#[test]
fn a_closure_has_no_say_in_the_agent_s_own_units() {
    let makes = made(&found(vec![
        listed("lastgood-assess.service", Leads::Nowhere),
        listed("lastgood-firewall.service.d/off.conf", Leads::File),
        listed("sysinit.target.wants/lastgood-begin.service", Leads::File),
        listed("systemd-bless-boot.service", Leads::File),
    ]));
    let only = [
        EMERGENCY,
        RESCUE,
        ("systemd-bless-boot.service", "/dev/null"),
    ];
    assert_eq!(
        makes,
        only.map(|(a, b)| (a.to_owned(), b.to_owned())).into()
    );
}

#[test]
fn what_the_operator_has_masked_is_left_out_and_told() {
    let mut found = found(vec![
        listed("nginx.service", Leads::File),
        listed("web.service", Leads::Alias("nginx.service".into())),
        listed("sshd.service.d/x.conf", Leads::File),
        listed("lastgood-assess.service", Leads::File),
    ]);
    let by = "/etc/systemd/system/nginx.service";
    let drop_in = "/run/systemd/system/sshd.service.d/x.conf";
    found.masks = Masks::from(&[("nginx.service", by), ("sshd.service.d/x.conf", drop_in)]);
    let left_out: Vec<_> = plan(&found)
        .left_out
        .into_iter()
        .map(|one| (one.unit, one.masked_by))
        .collect();
    assert_eq!(
        left_out,
        [
            ("nginx.service".to_owned(), Some(by.to_owned())),
            ("web.service".to_owned(), Some(by.to_owned())),
            ("sshd.service.d/x.conf".to_owned(), Some(drop_in.to_owned())),
            ("lastgood-assess.service".to_owned(), None),
        ]
    );
    let makes = made(&found);
    assert_eq!(
        makes.keys().collect::<Vec<_>>(),
        [
            EMERGENCY.0,
            RESCUE.0,
            "systemd-bless-boot.service",
            "web.service"
        ]
    );
    assert_eq!(makes["web.service"], NOWHERE);
}

/// Every combination of what decides.
#[test]
fn what_is_made_for_whom() {
    for ours in [false, true] {
        for host in [None, Some(Kind::Plain), Some(Kind::NixOs)] {
            for trial in [false, true] {
                let found = Found {
                    closure: ours.then(|| CLOSURE.into()),
                    units: vec![listed("nginx.service", Leads::File)],
                    masks: Masks::default(),
                    host,
                    trial,
                };
                let makes = made(&found);
                let has = |name: &str| makes.contains_key(name);
                assert_eq!(has("systemd-bless-boot.service"), ours);
                assert_eq!(has("nginx.service"), ours && host == Some(Kind::Plain));
                for name in [
                    "lastgood-fall-back.service.d/50-lastgood-trial.conf",
                    "lastgood-assess.service.d/50-lastgood-trial.conf",
                    "emergency.target.wants/lastgood-no-prompt.service",
                    "rescue.target.wants/lastgood-no-prompt.service",
                ] {
                    assert_eq!(has(name), ours && trial, "{name} {found:?}");
                }
                for mode in ["emergency", "rescue"] {
                    let name = format!("{mode}.target.wants/lastgood-emergency.service");
                    assert_eq!(has(&name), ours && !trial, "{found:?}");
                }
            }
        }
    }
}

struct Machine(tempfile::TempDir);

impl Machine {
    fn new(cmdline: &str) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        machine.file("/proc/cmdline", cmdline);
        // As NixOS lays it out: links all the way.
        let units = "/nix/store/u-system-units";
        machine.link("/nix/store/e-etc/etc", &format!("{CLOSURE}/etc"));
        machine.link(units, "/nix/store/e-etc/etc/systemd/system");
        machine.file("/nix/store/n/nginx.service", "[Service]\n");
        machine.link(
            "/nix/store/n/nginx.service",
            &format!("{units}/nginx.service"),
        );
        machine.link("nginx.service", &format!("{units}/web.service"));
        machine.link("/nix/store/n/off", &format!("{units}/off.service"));
        machine.link("/dev/null", "/nix/store/n/off");
        machine.link(
            "../nginx.service",
            &format!("{units}/multi-user.target.wants/nginx.service"),
        );
        machine.link(
            "../getty@.service",
            &format!("{units}/getty.target.wants/getty@tty1.service"),
        );
        machine.file("/nix/store/d/x.conf", "[Unit]\n");
        machine.link("/nix/store/d", &format!("{units}/sshd.service.d"));
        machine
    }

    fn root(&self) -> Root {
        Root::new(self.0.path())
    }

    fn place(&self, path: &str) -> PathBuf {
        let place = self.root().join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        place
    }

    /// What systemd-boot leaves when it has started an entry with this counter.
    fn counted(&self, counter: &str) {
        self.counted_entry(&format!("lastgood-1-00000000{counter}.conf"));
    }

    fn counted_entry(&self, file: &str) {
        self.variable("BootCountPath", &format!("\\loader\\entries\\{file}"));
    }

    fn variable(&self, name: &str, text: &str) {
        let units = text.chars().chain(['\0']).map(|c| format!("{c}\0"));
        let units: String = units.collect();
        let path =
            format!("/sys/firmware/efi/efivars/Loader{name}-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f");
        self.file(&path, &format!("\u{6}\0\0\0{units}"));
    }

    fn file(&self, path: &str, text: &str) {
        let mut file = std::fs::File::create(self.place(path)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn link(&self, target: &str, path: &str) {
        symlink(target, self.place(path)).unwrap();
    }

    fn early(&self) -> BTreeMap<String, PathBuf> {
        let early = tempfile::tempdir().unwrap();
        link(&self.root(), early.path());
        let mut made = BTreeMap::new();
        let mut todo = vec![early.path().to_owned()];
        while let Some(directory) = todo.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.is_symlink() {
                    todo.push(path);
                } else {
                    let name = path
                        .strip_prefix(early.path())
                        .unwrap()
                        .display()
                        .to_string();
                    made.insert(name, std::fs::read_link(&path).unwrap_or_default());
                }
            }
        }
        made
    }
}

impl Machine {
    /// The names that are linked, and what was left for the assessment.
    fn linked(&self) -> (Vec<String>, Units) {
        let names = self.early().into_keys();
        let units = Units::read(&self.root()).unwrap().unwrap();
        (names.collect(), units)
    }

    fn remove(&self, path: &str) {
        std::fs::remove_file(self.place(path)).unwrap();
    }
}

const OURS: &str = "quiet init=/nix/store/a-nixos/init";

#[test]
fn a_closure_laid_out_as_nixos_does_it() {
    let made = Machine::new(OURS).early();
    let to = |path: &str| PathBuf::from(CLOSURE).join(UNITS).join(path);
    let expected = [
        (EMERGENCY.0, EMERGENCY.1.into()),
        (RESCUE.0, RESCUE.1.into()),
        (
            "getty.target.wants/getty@tty1.service",
            to("getty.target.wants/getty@tty1.service"),
        ),
        (
            "multi-user.target.wants/nginx.service",
            to("multi-user.target.wants/nginx.service"),
        ),
        ("nginx.service", to("nginx.service")),
        ("off.service", NOWHERE.into()),
        ("sshd.service.d/x.conf", to("sshd.service.d/x.conf")),
        ("systemd-bless-boot.service", NOWHERE.into()),
        ("web.service", "nginx.service".into()),
    ];
    assert_eq!(made, expected.map(|(at, to)| (at.to_owned(), to)).into());
}

#[test]
fn nothing_is_made_where_the_boot_is_not_ours() {
    assert_eq!(Machine::new("init=/sbin/init").early(), BTreeMap::new());
    let initrd = Machine::new(OURS);
    initrd.file("/etc/initrd-release", "");
    assert_eq!(initrd.early(), BTreeMap::new());
}

/// The same answer as that of activation, and before it.
#[test]
fn nixos_has_linked_its_units_itself() {
    let names = |machine: &Machine| machine.early().into_keys().collect::<Vec<_>>();
    let only = [EMERGENCY.0, RESCUE.0, "systemd-bless-boot.service"];
    let machine = Machine::new(OURS);
    machine.file("/etc/NIXOS", "");
    assert_eq!(names(&machine), only);
    let overlay = Machine::new(OURS);
    overlay.file("/nix/store/r-os-release", "ID=nixos\n");
    overlay.link("/nix/store/r-os-release", "/etc/os-release");
    assert_eq!(names(&overlay), only);
    overlay.counted("+2-1");
    let prompt = &overlay.early()["emergency.target.wants/lastgood-no-prompt.service"];
    assert_eq!(
        prompt,
        Path::new("/etc/systemd/system/lastgood-no-prompt.service")
    );
    // Nobody can tell: nothing is linked that may be wrong.
    let looped = Machine::new(OURS);
    looped.link("/etc/os-release", "/etc/os-release");
    assert_eq!(names(&looped), only);
    // A plain host that has been activated: its os-release is the closure's.
    let plain = Machine::new(OURS);
    plain.file("/nix/store/e-etc/etc/os-release", "ID=nixos\n");
    plain.link("/nix/store/e-etc/etc", "/etc/static");
    plain.link("/etc/static/os-release", "/etc/os-release");
    assert!(names(&plain).contains(&"nginx.service".to_owned()));
}

#[test]
fn a_trial_is_one_until_it_is_proven() {
    let drop_in = "lastgood-fall-back.service.d/50-lastgood-trial.conf";
    let machine = Machine::new(OURS);
    machine.counted("+2-1");
    assert!(machine.early().contains_key(drop_in));
    machine.file(PROVEN, "");
    assert!(!machine.early().contains_key(drop_in));
}

/// What a newer agent has on record may forbid the reboot.
#[test]
fn nothing_is_rebooted_while_a_record_binds_that_is_not_known() {
    let drop_in = "lastgood-fall-back.service.d/50-lastgood-trial.conf";
    let machine = Machine::new(OURS);
    machine.counted("+2-1");
    let ledger = |line| machine.file(crate::store::ledger::PATH, line);
    ledger("{\"v\":1,\"event\":\"told\",\"binding\":false,\"crc\":\"0545d176\"}\n");
    assert!(machine.early().contains_key(drop_in));
    ledger("{\"v\":1,\"event\":\"held\",\"crc\":\"b9e8ece4\"}\n");
    assert!(!machine.early().contains_key(drop_in));
}

/// The variable is the last firmware boot's after a kexec, and a failed entry's after one that could not be started.
#[test]
fn a_counter_of_another_entry_makes_no_trial() {
    use boot_entries::name::stem_of;
    let drop_in = "lastgood-fall-back.service.d/50-lastgood-trial.conf";
    let stem = |number, toplevel: &str| {
        stem_of(&Subject {
            generation: boot_entries::GenerationId::system(number),
            toplevel: toplevel.into(),
        })
    };
    let other = "/nix/store/b-nixos";
    for (number, toplevel, trial) in [(2, CLOSURE, true), (3, other, false)] {
        let machine = Machine::new(OURS);
        machine.link(CLOSURE, "/nix/var/nix/profiles/system-2-link");
        machine.link(other, "/nix/var/nix/profiles/system-3-link");
        machine.counted_entry(&format!("{}+2-1.conf", stem(number, toplevel)));
        let made = machine.early();
        assert_eq!(made.contains_key(drop_in), trial, "{number} {toplevel}");
    }
    // Somebody else's name says nothing.
    let machine = Machine::new(OURS);
    machine.counted_entry("nixos-generation-3+2-1.conf");
    assert!(machine.early().contains_key(drop_in));
}

/// Up to 257 the path stays in the firmware when it starts the loader again after an entry that could not be started.
/// What the loader started then is what it names, whoever's the other one is; no store and no profile has to tell.
#[test]
fn a_counter_of_an_entry_that_the_loader_does_not_name_makes_no_trial() {
    let drop_in = "lastgood-fall-back.service.d/50-lastgood-trial.conf";
    for (counted, selected, trial) in [
        (
            "lastgood-1-00000000+0-3.conf",
            "lastgood-2-00000000.conf",
            false,
        ),
        ("debian+0-3.conf", "lastgood-2-00000000.conf", false),
        (
            "lastgood-1-00000000+0-3.conf",
            "lastgood-1-00000000+1-2.conf",
            true,
        ),
        (
            "lastgood-1-00000000+0-3.conf",
            "lastgood-1-00000000.conf",
            true,
        ),
        (
            "nixos-generation-3+2-1.conf",
            "nixos-generation-3+3.conf",
            true,
        ),
    ] {
        let machine = Machine::new(OURS);
        machine.counted_entry(counted);
        machine.variable("EntrySelected", selected);
        let made = machine.early();
        assert_eq!(made.contains_key(drop_in), trial, "{counted} {selected}");
    }
}

/// A distribution's own boot never started an entry of ours. systemd would bless the one that the firmware remembers:
/// the trial that could not be started.
#[test]
fn nobody_blesses_an_entry_of_ours_in_a_boot_that_is_no_generation_s() {
    let masked = ["systemd-bless-boot.service".to_owned()];
    for (counted, selected, is_masked) in [
        ("lastgood-1-00000000+0-3.conf", Some("debian.conf"), true),
        // The firmware went on to another loader, which leaves no word; or a kexec.
        (
            "lastgood-1-00000000+0-3.conf",
            Some("lastgood-1-00000000+1-2.conf"),
            true,
        ),
        ("lastgood-1-00000000+2-1.conf", None, true),
        ("debian+2-1.conf", Some("debian+3.conf"), false),
        ("nixos-generation-3+2-1.conf", Some("debian.conf"), false),
    ] {
        let machine = Machine::new("root=/dev/vda2 ro");
        machine.counted_entry(counted);
        if let Some(selected) = selected {
            machine.variable("EntrySelected", selected);
        }
        let made: Vec<String> = machine.early().into_keys().collect();
        let expected: &[String] = if is_masked { &masked } else { &[] };
        assert_eq!(made, expected, "{counted} {selected:?}");
    }
}

#[test]
fn after_a_live_switch_the_units_are_the_current_system_s() {
    let machine = Machine::new(OURS);
    machine.file("/nix/store/b-nixos/etc/systemd/system/only-b.service", "");
    machine.link("/nix/store/b-nixos", "/run/current-system");
    let made = machine.early();
    assert!(made.contains_key("only-b.service"), "{made:?}");
    assert!(!made.contains_key("nginx.service"), "{made:?}");
}

#[test]
fn a_closure_s_file_is_never_written_through() {
    let machine = Machine::new(OURS);
    machine.counted("+2-1");
    let theirs = "/nix/store/u-system-units/lastgood-assess.service.d/50-lastgood-trial.conf";
    machine.file(theirs, "theirs");
    machine.early();
    let text = std::fs::read_to_string(machine.root().join(theirs)).unwrap();
    assert_eq!(text, "theirs");
    // Nor would it be if the closure's link were there first.
    let early = machine.0.path();
    let theirs = machine.root().join(theirs);
    machine.link(&theirs.display().to_string(), "/ours.conf");
    let make = Make::File {
        at: "ours.conf".into(),
        text: "",
    };
    assert!(apply(early, &make).is_err());
}

#[test]
fn a_bad_entry_started_for_want_of_a_good_one_is_no_trial() {
    for (counter, trial) in [("+2-1", true), ("+0-3", true), ("+0-4", false), ("", false)] {
        let file = format!("lastgood-1-00000000{counter}.conf");
        assert_eq!(has_tries(&file), trial, "{counter}");
    }
}

/// systemd asks at every reload, and each line of the kernel's log is one on the console.
#[test]
fn a_machine_that_only_has_the_package_is_told_nothing() {
    let machine = Machine::new("root=/dev/vda2 ro");
    machine.file("/dev/kmsg", "");
    assert_eq!(machine.early(), BTreeMap::new());
    let said = std::fs::read_to_string(machine.root().join("dev/kmsg")).unwrap();
    assert_eq!(said, "");
}
