//! The closure's units, as systemd gets them: what is missing is part of the verdict, and what the operator says of them
//! holds.

use anyhow::Result;
use lastgood::state::Subject;
use lastgood::state::fault::Fault;
use lastgood_tests::container::{Boot, Container, Ended, Reach};
use lastgood_tests::debian::Debian;
use lastgood_tests::files;
use lastgood_tests::machine::Fact;
use lastgood_tests::scenario::in_container;

use crate::{proven, rejection, selected};

on_each_debian! {
    what_the_operator_says_of_a_closures_unit_holds,
    a_masked_unit_is_not_started_by_the_next_boot,
    a_unit_that_could_not_be_linked_rejects_the_generation,
    a_generator_that_hangs_is_ended_long_before_systemd_would,
    units_that_wait_for_each_other_are_told_before_a_boot,
}

/// A unit of the closure that nothing requires, under two names, one of a template, and one with a drop-in.
const UNITS: [(&str, &str); 3] = [
    (
        "etc/systemd/system/rig.service",
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n",
    ),
    (
        "etc/systemd/system/rig.service.d/closure.conf",
        "[Service]\nEnvironment=FROM=closure\n",
    ),
    (
        "etc/systemd/system/rig@.service",
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n",
    ),
];

/// The links among them.
const LINKS: [(&str, &str); 3] = [
    ("second.service", "rig.service"),
    ("rig@one.service", "rig@.service"),
    ("multi-user.target.wants/rig.service", "../rig.service"),
];

fn linked(server: &Container, subject: &Subject) -> Result<()> {
    let units = subject.toplevel.join("etc/systemd/system");
    for (name, target) in LINKS {
        files::link(target, &server.disk().join(units.join(name)))?;
    }
    Ok(())
}

/// All that is in the closure: nothing that systemctl does may change it.
fn tree(server: &Container) -> Result<String> {
    server.run_ok(
        "cd $(readlink -f /run/current-system)/etc/systemd/system && find . -printf '%p %y %l %m\\n' | sort && \
         find . -type f | sort | xargs cat",
    )
}

fn load_state(server: &Container, unit: &str) -> Result<String> {
    server.property(unit, "LoadState")
}

fn left_out(server: &Container) -> Result<String> {
    let units: serde_json::Value =
        serde_json::from_str(&server.run_ok("cat /run/lastgood/units.json")?)?;
    Ok(units["left_out"].to_string())
}

/// `systemctl edit` by an operator who types `text`.
fn edit(server: &Container, how: &str, text: &str) -> Result<()> {
    // It wants a terminal. The file is the last argument; some releases give a line number before it.
    let script = format!(
        "printf '{text}' > /tmp/new && \
         printf '#!/bin/sh\nfor file; do :; done\ncp /tmp/new \"$file\"\n' > /tmp/editor && chmod +x /tmp/editor && \
         SYSTEMD_EDITOR=/tmp/editor script -qec 'systemctl edit {how} rig.service' /dev/null"
    );
    server.run_ok(&script)?;
    Ok(())
}

/// What systemctl does to a unit of the closure. docs/operator.md has it as a table.
fn what_the_operator_says_of_a_closures_unit_holds(debian: Debian) -> Result<()> {
    in_container("container-masks", debian, |server| {
        let subject = selected(server, 1, &UNITS)?;
        linked(server, &subject)?;
        server.start(Boot::Counted(1))?;
        server.wait_for(Fact::Proven(1))?;
        let before = tree(server)?;
        assert_eq!(server.property("rig.service", "ActiveState")?, "active");
        assert_eq!(server.property("second.service", "Id")?, "rig.service");
        assert_eq!(server.property("rig@one.service", "Id")?, "rig@one.service");
        assert_eq!(
            server.property("rig.service", "Environment")?,
            "FROM=closure"
        );

        for (options, place) in [("", "/etc"), ("--runtime", "/run")] {
            server.run_ok(&format!("systemctl mask {options} rig.service"))?;
            assert_eq!(load_state(server, "rig.service")?, "masked", "{options}");
            // Under its other name as well.
            assert_eq!(load_state(server, "second.service")?, "masked", "{options}");
            let told = left_out(server)?;
            assert!(
                told.contains(&format!("{place}/systemd/system/rig.service")),
                "{told}"
            );
            let status = server.run_ok("lastgood status")?;
            let line = format!(
                "rig.service of the closure is not in effect: it is masked by {place}/systemd/system/rig.service"
            );
            assert!(status.contains(&line), "{status}");
            let start = server.run("systemctl restart rig.service")?;
            assert!(start.stderr.contains("is masked"), "{start:?}");
            server.run_ok(&format!("systemctl unmask {options} rig.service"))?;
            assert_eq!(load_state(server, "rig.service")?, "loaded", "{options}");
            assert_eq!(left_out(server)?, "[]");
        }

        // A template's instance, and a drop-in.
        server.run_ok("systemctl mask rig@two.service rig@one.service")?;
        for instance in ["rig@one.service", "rig@two.service"] {
            assert_eq!(load_state(server, instance)?, "masked");
        }
        server.run_ok("systemctl unmask rig@two.service rig@one.service")?;
        server.run_ok(
            "mkdir -p /etc/systemd/system/rig.service.d && \
             ln -s /dev/null /etc/systemd/system/rig.service.d/closure.conf && systemctl daemon-reload",
        )?;
        assert_eq!(server.property("rig.service", "Environment")?, "");
        server.run_ok("rm -r /etc/systemd/system/rig.service.d && systemctl daemon-reload")?;

        // A generated unit has nothing to disable: the closure says what starts it.
        let wants = server.property("multi-user.target", "Wants")?;
        assert!(wants.contains("rig.service"), "{wants}");
        server.run_ok("systemctl disable rig.service")?;
        let wants = server.property("multi-user.target", "Wants")?;
        assert!(wants.contains("rig.service"), "{wants}");
        // `enable` leaves a link to this very closure in /etc, and `disable` takes it away.
        let enabled = "/etc/systemd/system/rig.service";
        server.run("systemctl enable rig.service")?;
        assert!(
            server
                .run_ok(&format!("readlink {enabled}"))?
                .starts_with("/nix/store/")
        );
        server.run_ok("systemctl disable rig.service")?;
        assert_ne!(server.run(&format!("readlink {enabled}"))?.status, 0);
        assert_eq!(load_state(server, "rig.service")?, "loaded");

        // A drop-in of the operator's is one more.
        edit(server, "", "[Service]\nEnvironment=EDITED=yes\n")?;
        let environment = server.property("rig.service", "Environment")?;
        assert_eq!(environment, "FROM=closure EDITED=yes");
        server.run_ok("systemctl set-property rig.service CPUWeight=77")?;
        assert_eq!(server.property("rig.service", "CPUWeight")?, "77");
        // A whole file does not: the closure's is the one that is judged.
        edit(server, "--full", "[Service]\nExecStart=/bin/false\n")?;
        assert_eq!(server.property("rig.service", "Type")?, "oneshot");
        server.run_ok("systemctl revert rig.service && systemctl daemon-reload")?;
        assert_eq!(
            server.property("rig.service", "Environment")?,
            "FROM=closure"
        );

        assert_eq!(tree(server)?, before);
        server.power_off()
    })
}

/// A mask that is there when the machine starts.
fn a_masked_unit_is_not_started_by_the_next_boot(debian: Debian) -> Result<()> {
    in_container("container-mask-boot", debian, |server| {
        let subject = selected(server, 1, &UNITS)?;
        linked(server, &subject)?;
        files::link(
            "/dev/null",
            &server.disk().join("/etc/systemd/system/rig.service"),
        )?;
        server.start(Boot::Counted(1))?;
        server.wait_for(Fact::Proven(1))?;
        assert_eq!(load_state(server, "rig.service")?, "masked");
        assert_eq!(server.property("rig.service", "ActiveState")?, "inactive");
        server.power_off()
    })
}

/// All other units run; the generation is not what was asked for all the same.
fn a_unit_that_could_not_be_linked_rejects_the_generation(debian: Debian) -> Result<()> {
    in_container("container-unit-lost", debian, |server| {
        proven(server, 1, &[])?;
        let subject = selected(server, 2, &[])?;
        let lost = subject.toplevel.join("etc/systemd/system/lost.service");
        files::link("/nix/store/gone/lost.service", &server.disk().join(&lost))?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Rejected(2))?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        let cause = rejection(server, &subject)?;
        assert_eq!(cause.faults, [Fault::Units]);
        let expected = format!(
            "not all units of the closure were linked (cannot read {}: No such file or directory (os error 2))",
            lost.display()
        );
        assert_eq!(cause.summary, expected);
        server.start(Boot::Uncounted(1))?;
        server.wait_for("healthy")?;
        assert!(matches!(server.reach(80)?, Reach::Page(_)));
        server.power_off()
    })
}

/// PID 1 answers nobody meanwhile.
fn a_generator_that_hangs_is_ended_long_before_systemd_would(debian: Debian) -> Result<()> {
    in_container("container-generator", debian, |server| {
        selected(server, 1, &[])?;
        server.start(Boot::Counted(1))?;
        server.wait_for(Fact::Proven(1))?;
        let script = "rm /run/lastgood/units.json && mkfifo /run/lastgood/units.json && systemctl daemon-reload";
        // systemctl itself gives up after 25 s; the reload goes on.
        server.run(&format!("({script}) >/dev/null 2>&1; true"))?;
        server.run_ok("timeout 80 sh -c 'until systemctl is-active nginx.service; do :; done'")?;
        let left = server.run_ok("timeout 5 cat /run/lastgood/units.json")?;
        assert!(
            left.contains("it took longer than 45 s, and was ended"),
            "{left}"
        );
        server.power_off()
    })
}

/// A unit that is started after `other`, as a file below `directory`.
fn after(directory: &str, name: &str, other: &str) -> (String, String) {
    let path = format!("{directory}/{name}");
    let text = format!(
        "[Unit]\nAfter={other}\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"
    );
    (path, text)
}

/// Has `check` find no circle. What it finds instead is the last thing that it looks for: a closure of this rig has the
/// boot.json of another one.
fn in_order(server: &Container, check: &str) -> Result<()> {
    let told = server.run(check)?;
    assert!(told.stderr.contains("boot.json: init is "), "{told:?}");
    assert!(!told.stderr.contains("wait for each other"), "{told:?}");
    Ok(())
}

/// systemd would leave one of them out, and say so in the journal alone. A circle of the host's own is not the closure's
/// fault, and a unit that the operator has masked is in none.
fn units_that_wait_for_each_other_are_told_before_a_boot(debian: Debian) -> Result<()> {
    in_container("container-circle", debian, |server| {
        let good = proven(server, 1, &[])?;
        let good = format!("lastgood check-config {}", good.toplevel.display());
        let [one, other] =
            [("one", "other.service"), ("other", "one.service")].map(|(name, after_it)| {
                after("etc/systemd/system", &format!("{name}.service"), after_it)
            });
        let files = [&one, &other].map(|(path, text)| (path.as_str(), text.as_str()));
        let subject = server.add(2, &files)?;
        for name in ["one.service", "other.service"] {
            let wants = format!("etc/systemd/system/multi-user.target.wants/{name}");
            let link = server.disk().join(subject.toplevel.join(wants));
            files::link(format!("../{name}"), &link)?;
        }
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;

        let check = format!("lastgood check-config {}", subject.toplevel.display());
        let told = server.run(&check)?;
        assert_eq!(told.status, 1, "{told:?}");
        let words = "lastgood: units wait for each other: one.service, other.service; ";
        assert!(told.stderr.starts_with(words), "{told:?}");
        assert_eq!(told.stderr.lines().count(), 1, "{told:?}");
        in_order(server, &good)?;

        // The host has one of its own, before the closure's are added.
        for (name, other) in [("mine", "yours.service"), ("yours", "mine.service")] {
            let (path, text) = after("/etc/systemd/system", &format!("{name}.service"), other);
            server.run_ok(&format!(
                "printf '{}' > {path} && mkdir -p /etc/systemd/system/multi-user.target.wants && \
                 ln -s {path} /etc/systemd/system/multi-user.target.wants/",
                text.replace('\n', "\\n")
            ))?;
        }
        in_order(server, &good)?;
        let told = server.run(&check)?;
        assert!(told.stderr.starts_with(words), "{told:?}");
        assert!(!told.stderr.contains("mine"), "{told:?}");

        server.run_ok("systemctl mask other.service")?;
        in_order(server, &check)?;
        assert_eq!(server.run_ok("ls /tmp")?, "");
        server.power_off()
    })
}
