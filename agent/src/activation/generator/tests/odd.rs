//! What is odd in a closure, and what others have made or said of its units.

use super::*;

/// Each of these cost every unit of the closure.
#[test]
fn one_odd_link_costs_one_unit() {
    let units = "/nix/store/u-system-units";
    for (target, name, expected) in [
        ("/nix/store/gone", "odd.service", Some("No such file")),
        ("odd.service", "odd.service", Some("in a circle")),
        ("odd", "odd", None),
        ("/nix/store/gone", "README", None),
        ("/nix/store/gone", "odd.service.d", Some("No such file")),
        ("/nix/store/gone", "sshd.service.d2/x.conf", None),
        (
            "/nix/store/gone",
            "nginx.service.d/x.conf",
            Some("No such file"),
        ),
        // Only the name counts.
        (
            "/nix/store/gone",
            "multi-user.target.wants/odd.service",
            None,
        ),
    ] {
        let machine = Machine::new(OURS);
        machine.link(target, &format!("{units}/{name}"));
        let (linked, told) = machine.linked();
        for unit in ["nginx.service", "web.service", "sshd.service.d/x.conf"] {
            assert!(linked.iter().any(|one| one == unit), "{name}: {linked:?}");
        }
        let problem = told.problems.first();
        match expected {
            None => assert_eq!(problem, None, "{name}"),
            Some(why) => {
                let problem = problem.unwrap();
                assert!(problem.contains(name) && problem.contains(why), "{problem}");
                assert_eq!(told.problems.len(), 1, "{:?}", told.problems);
            }
        }
    }
}

#[test]
fn a_store_that_is_not_there_is_told_and_a_closure_without_units_is_not() {
    let told = |machine: &Machine| machine.linked().1.problems;
    let machine = Machine::new("init=/nix/store/z-nixos/init");
    assert_eq!(
        told(&machine),
        [
            "cannot read /nix/store/z-nixos/etc/systemd/system: No such file or directory (os error 2)"
        ]
    );
    let machine = Machine::new("init=/nix/store/z-nixos/init");
    machine.file("/nix/store/z-nixos/etc/motd", "");
    assert_eq!(told(&machine), [""; 0]);
    for lost in [
        "/nix/store/e-etc/etc/systemd/system",
        "/nix/store/a-nixos/etc",
    ] {
        let machine = Machine::new(OURS);
        machine.remove(lost);
        machine.link("/nix/store/gone", lost);
        assert_eq!(told(&machine).len(), 1, "{lost}");
    }
}

/// Links that are made later start nothing: systemd has decided by then what the boot is to start.
#[test]
fn what_an_earlier_run_of_this_boot_could_not_link_is_not_forgotten() {
    let machine = Machine::new(OURS);
    let units = "/nix/store/u-system-units";
    machine.link("/nix/store/late", &format!("{units}/late.service"));
    let (_, told) = machine.linked();
    assert_eq!((told.problems.len(), told.missed.len()), (1, 0));
    machine.file("/nix/store/late", "[Service]\n");
    for _ in 0..2 {
        let (linked, told) = machine.linked();
        assert!(linked.contains(&"late.service".to_owned()));
        assert_eq!((told.problems.len(), told.missed.len()), (0, 1));
    }
    // A live switch is another matter.
    machine.file("/nix/store/b-nixos/etc/systemd/system/only-b.service", "");
    machine.link("/nix/store/b-nixos", "/run/current-system");
    assert_eq!(machine.linked().1.missed, [""; 0]);
}

#[test]
fn a_mask_is_a_link_to_nowhere_or_an_empty_file_where_the_operator_puts_them() {
    let masked_by = |machine: &Machine| {
        let left_out = machine.linked().1.left_out;
        left_out
            .into_iter()
            .map(|one| (one.unit, one.masked_by.unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    let of = |units: &[&str], by: &str| -> Vec<_> {
        let each = units.iter().map(|&unit| (unit.to_owned(), by.to_owned()));
        each.collect()
    };
    let nginx = ["nginx.service", "web.service"];
    for place in ["/etc/systemd/system", "/run/systemd/system"] {
        let path = format!("{place}/nginx.service");
        let machine = Machine::new(OURS);
        machine.link("/dev/null", &path);
        assert_eq!(masked_by(&machine), of(&nginx, &path));
        let machine = Machine::new(OURS);
        machine.file(&path, "");
        assert_eq!(masked_by(&machine), of(&nginx, &path));
        // A file of the operator's own is no mask.
        let machine = Machine::new(OURS);
        machine.file(&path, "[Service]\n");
        assert_eq!(masked_by(&machine), []);
        let drop_in = format!("{place}/sshd.service.d/x.conf");
        let machine = Machine::new(OURS);
        machine.link("/dev/null", &drop_in);
        assert_eq!(
            masked_by(&machine),
            of(&["sshd.service.d/x.conf"], &drop_in)
        );
    }
    let machine = Machine::new(&format!("{OURS} systemd.mask=nginx.service"));
    assert_eq!(
        masked_by(&machine),
        of(&nginx, "systemd.mask=nginx.service")
    );
}

/// systemd's own generator makes a mask of this word in the same directory at the same time.
#[test]
fn a_word_of_the_command_line_may_be_short() {
    let machine = Machine::new(&format!("{OURS} systemd.mask=nginx"));
    let (linked, told) = machine.linked();
    assert!(!linked.contains(&"nginx.service".to_owned()), "{linked:?}");
    assert_eq!(told.left_out.len(), 2, "{told:?}");
}

#[test]
fn what_another_generator_has_made_is_its_own() {
    let machine = Machine::new(OURS);
    let early = tempfile::tempdir().unwrap();
    symlink("/dev/null", early.path().join("nginx.service")).unwrap();
    link(&machine.root(), early.path());
    let told = Units::read(&machine.root()).unwrap().unwrap();
    assert_eq!(told.problems, [""; 0]);
    let left_out = told.left_out.first().unwrap();
    assert_eq!(left_out.unit, "nginx.service");
    let by = left_out.masked_by.as_deref().unwrap();
    assert!(by.starts_with("another generator, in "), "{by}");
}

/// A time limit for all services would be one for the assessment.
#[test]
fn what_a_closure_says_of_all_services_it_does_not_say_of_the_agent_s() {
    let machine = Machine::new(OURS);
    machine.file(
        "/nix/store/u-system-units/service.d/limit.conf",
        "[Service]\nTimeoutStartSec=1\n",
    );
    let made = machine.early();
    assert_eq!(
        made["service.d/limit.conf"],
        Path::new(CLOSURE).join(UNITS).join("service.d/limit.conf")
    );
    for service in OUR_SERVICES {
        assert_eq!(made[&format!("{service}.d/limit.conf")], Path::new(NOWHERE));
    }
}

/// What ends a trial does not wait for a store that may not answer.
#[test]
fn a_trial_without_a_store_is_one() {
    let machine = Machine::new("init=/nix/store/z-nixos/init");
    machine.counted("+2-1");
    let (made, told) = machine.linked();
    assert_eq!(told.problems.len(), 1);
    for name in [
        "lastgood-assess.service.d/50-lastgood-trial.conf",
        "emergency.target.wants/lastgood-no-prompt.service",
    ] {
        assert!(made.contains(&name.to_owned()), "{made:?}");
    }
}

#[test]
fn every_service_of_the_agent_s_is_known() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../units");
    let names = std::fs::read_dir(units)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut services: Vec<String> = names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.ends_with(".service"))
        .collect();
    services.sort();
    let mut known = OUR_SERVICES.map(str::to_owned).to_vec();
    known.sort();
    assert_eq!(services, known);
}
