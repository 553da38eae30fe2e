//! What a closure itself says: whose it is, what it was built for, what only a boot puts in place, and what its activation
//! asks for.

use anyhow::{Result, ensure};
use lastgood::state::Standing;
use lastgood_tests::container::Container;
use lastgood_tests::debian::Debian;
use lastgood_tests::switching::{Closure, Record, is_nixos, look, show, steps, traced, traced_by};

use super::{ends, is_as, lastgood, runs, switched, switching, switching_on};

on_one_debian! {
    Thirteen: what_could_not_boot_next_is_refused_before_the_first_change,
    Twelve: another_machines_closure_is_taken_by_insisting,
    Thirteen: what_only_a_boot_puts_in_place_is_not_held_against_the_closure,
    Twelve: systemd_is_executed_anew_when_its_settings_change,
    Thirteen: systemd_is_not_executed_anew_over_a_mount_that_does_not_answer,
    Twelve: two_units_that_become_one_are_one,
    Thirteen: on_nixos_the_activation_has_its_requests_granted,
    Twelve: on_nixos_what_forbids_a_switch_is_named,
}

fn app(mark: &str) -> Closure {
    Closure::new().wanted("app.service", traced("app", mark))
}

/// No machine of this ring has a boot partition, so nothing can be selected: that is known beforehand.
fn what_could_not_boot_next_is_refused_before_the_first_change(debian: Debian) -> Result<()> {
    switching(
        "unselectable",
        debian,
        &[app("one"), app("two")],
        |server, _| {
            steps(server)?;
            let before = look(server)?;
            for words in [
                "switch 2",
                "rollback --to 2",
                "switch 2 --confirm-within 1m",
            ] {
                let ended = lastgood(server, words)?;
                ensure!(ended.status == 1, "{words}: {ended:?}");
                ensure!(
                    ended.stderr.contains("EFI system partition"),
                    "{words}: {ended:?}"
                );
                is_as(server, &before)?;
            }
            ensure!(steps(server)?.is_empty());
            ensure!(server.state()?.switching.is_none());
            Ok(())
        },
    )
}

/// An installer's name, or none, says nothing. Debian's own stays in `/etc`, in this ring: what is compared is what the
/// closure has at `etc/hostname`, so that one which brings it has it in the way.
fn another_machines_closure_is_taken_by_insisting(debian: Debian) -> Result<()> {
    // Below a link, so that nothing of it is put into /etc.
    let named = |name: &str| {
        app(name)
            .link("etc/hostname", "../hostname-of-this")
            .file("etc/hostname.mode", "direct-symlink\n")
            .file("hostname-of-this", format!("{name}\n"))
    };
    let without_the_hosts = |server: &Container| {
        server.write(
            "/rig/before",
            "[ -L /etc/hostname ] || rm -f /etc/hostname\nhostname rig\n",
        )
    };
    let closures = [named("rig"), named("other"), named("nixos")];
    switching_on(
        "hostname",
        debian,
        &closures,
        without_the_hosts,
        |server, subjects| {
            let said = ends(server, "test 2", 1)?;
            ensure!(
                said.contains("other") && said.contains("--new-hostname"),
                "{said}"
            );
            runs(server, &subjects[0])?;
            switched(server, 3)?;
            switched(server, 1)?;
            ends(server, "test 2 --new-hostname", 0)?;
            runs(server, &subjects[1])
        },
    )
}

fn what_only_a_boot_puts_in_place_is_not_held_against_the_closure(debian: Debian) -> Result<()> {
    let other = |mark: &str| app(mark).file("kernel-params", "quiet something=else");
    let bad = other("bad").wanted(
        "bad.service",
        "[Service]\nType=exec\nExecStart=/bin/false\n",
    );
    switching(
        "reboot-needed",
        debian,
        &[app("one"), bad, other("two")],
        |server, subjects| {
            let before = look(server)?;
            let said = ends(server, "test 2", 100)?;
            ensure!(said.contains("parameters"), "{said}");
            is_as(server, &before)?;
            ensure!(server.state()?.standing(&subjects[1]) != Standing::Rejected);
            // One that works is switched to as far as it goes, and what is left is said.
            let said = switched(server, 3)?;
            runs(server, &subjects[2])?;
            ensure!(said.contains("parameters"), "{said}");
            Ok(())
        },
    )
}

/// What PID 1 has from `system.conf`.
fn timeout_of_all(server: &Container) -> Result<String> {
    server.run_ok("systemctl show --value --property=DefaultTimeoutStartUSec")
}

/// `system.conf` of the closure.
fn settings(mark: &str, seconds: u64) -> Closure {
    app(mark).file(
        "etc/systemd/system.conf",
        format!("[Manager]\nDefaultTimeoutStartSec={seconds}\n"),
    )
}

/// Debian's own is in its way.
fn without_the_hosts_settings(server: &Container) -> Result<()> {
    let file = "/etc/systemd/system.conf";
    server.write("/rig/before", format!("[ -L {file} ] || rm -f {file}\n"))
}

/// Units go on, and those that are changed are changed.
fn systemd_is_executed_anew_when_its_settings_change(debian: Debian) -> Result<()> {
    switching_on(
        "settings",
        debian,
        &[settings("one", 71), settings("two", 72)],
        without_the_hosts_settings,
        |server, _| {
            let before = Record::of(server, "nginx.service")?;
            let told = ends(server, "dry-activate 2", 0)?;
            ensure!(told.contains("systemd"), "{told}");
            switched(server, 2)?;
            let found = timeout_of_all(server)?;
            ensure!(found == "1min 12s", "{found}");
            ensure!(Record::of(server, "nginx.service")?.same_start(&before));
            ensure!(Record::of(server, "app.service")?.state() == "active");
            switched(server, 1)?;
            ensure!(timeout_of_all(server)? == "1min 11s");
            Ok(())
        },
    )
}

/// A FUSE mount whose server never answers: PID 1 would wait for it for ever.
fn systemd_is_not_executed_anew_over_a_mount_that_does_not_answer(debian: Debian) -> Result<()> {
    switching_on(
        "mute-mount",
        debian,
        &[settings("one", 71), settings("two", 72)],
        without_the_hosts_settings,
        |server, subjects| {
            server.run_ok(
            "[ -e /dev/fuse ] || mknod /dev/fuse c 10 229; mkdir -p /srv/mute; \
             systemd-run --unit=mute.service --collect sh -c 'exec 3<>/dev/fuse; \
             mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 mute /srv/mute; sleep infinity'; \
             timeout 10 sh -c 'until grep -q /srv/mute /proc/mounts; do sleep 0.1; done'",
        )?;
            steps(server)?;
            let said = ends(server, "test 2", 100)?;
            ensure!(said.contains("/srv/mute"), "{said}");
            ensure!(steps(server)?.is_empty(), "something was changed");
            runs(server, &subjects[0])?;
            ensure!(server.state()?.standing(&subjects[1]) != Standing::Rejected);
            server.run_ok("umount --lazy --force /srv/mute; systemctl stop mute.service")?;
            switched(server, 2)?;
            runs(server, &subjects[1])
        },
    )
}

/// One of them becomes another name of the other (X24): only one process is left, and it is known.
fn two_units_that_become_one_are_one(debian: Debian) -> Result<()> {
    let before = app("one").wanted("second.service", traced("second", "one"));
    let after = app("one")
        .link("etc/systemd/system/second.service", "app.service")
        .wants("multi-user.target", "second.service");
    switching("one-of-two", debian, &[before, after], |server, _| {
        steps(server)?;
        switched(server, 2)?;
        let all = show(server, &["app.service", "second.service"])?;
        let pids: Vec<&str> = all.values().map(|one| one.get("MainPID")).collect();
        ensure!(pids[0] == pids[1] && pids[0] != "0", "{all:?}");
        ensure!(steps(server)?.contains(&"second stop one".to_owned()));
        switched(server, 1)?;
        let all = show(server, &["app.service", "second.service"])?;
        for (unit, now) in &all {
            ensure!(
                now.state() == "active" && now.get("Id") == unit,
                "{unit}: {now:?}"
            );
        }
        Ok(())
    })
}

/// A closure of NixOS's whose activation writes these lists, and says with which words it ends.
fn with_lists(server: &Container, mark: &str, lists: &str) -> Result<Closure> {
    let closure = app("x")
        .wanted("restarted.service", traced("restarted", "x"))
        .wanted("reloaded.service", traced("reloaded", "x"))
        .wanted("both.service", traced("both", "x"))
        .wanted(
            "not.service",
            traced_by("not", "x", "X-RestartIfChanged=false\n"),
        )
        .unit("of@.service", traced("of@%i", "x"))
        .wants("multi-user.target", "of@a.service")
        .file("etc/rig", mark)
        .for_nixos(server)?;
    Ok(closure.activates_also(lists))
}

fn on_nixos_the_activation_has_its_requests_granted(debian: Debian) -> Result<()> {
    let lists = "mkdir -p /run/nixos\n\
                 printf 'restarted.service\\nboth.service\\nnot.service\\nof@a.service\\n' >/run/nixos/activation-restart-list\n\
                 printf 'reloaded.service\\nboth.service\\n' >/run/nixos/activation-reload-list\n";
    lastgood_tests::scenario::in_container("switch-nixos-lists", debian, |server| {
        is_nixos(server)?;
        let closures = [
            with_lists(server, "one", "")?,
            with_lists(server, "two", lists)?,
        ];
        let subjects = super::laid(server, &closures)?;
        super::proven_first(server, &subjects)?;
        super::started(server)?;
        steps(server)?;
        let names = [
            "restarted.service",
            "reloaded.service",
            "both.service",
            "not.service",
            "of@a.service",
            "app.service",
        ];
        let before = show(server, &names)?;
        switched(server, 2)?;
        let (after, steps) = (show(server, &names)?, steps(server)?);
        for unit in ["restarted.service", "both.service", "of@a.service"] {
            ensure!(
                !after[unit].same_start(&before[unit]),
                "{unit} goes on: {steps:?}"
            );
        }
        for unit in ["reloaded.service", "not.service", "app.service"] {
            ensure!(
                after[unit].same_start(&before[unit]),
                "{unit} was started anew: {steps:?}"
            );
        }
        ensure!(steps.contains(&"reloaded reload x".to_owned()), "{steps:?}");
        ensure!(!steps.contains(&"both reload x".to_owned()), "{steps:?}");
        // What was asked for then is not asked for again.
        switched(server, 1)?;
        ensure!(
            show(server, &["restarted.service"])?["restarted.service"]
                .same_start(&after["restarted.service"])
        );
        server.power_off()
    })
}

fn on_nixos_what_forbids_a_switch_is_named(debian: Debian) -> Result<()> {
    lastgood_tests::scenario::in_container("switch-nixos-forbidden", debian, |server| {
        is_nixos(server)?;
        let of = |mark: &str, path: &str, text: &str| -> Result<Closure> {
            Ok(app(mark).for_nixos(server)?.file(path, text))
        };
        let closures = [
            of(
                "one",
                "switch-inhibitors",
                r#"{"dbus-implementation":"dbus"}"#,
            )?,
            of(
                "two",
                "switch-inhibitors",
                r#"{"dbus-implementation":"broker"}"#,
            )?,
            of("three", "switch-inhibitors", r#"{"another":"one"}"#)?,
            of("four", "init-interface-version", "systemd 99")?,
        ];
        let subjects = super::laid(server, &closures)?;
        super::proven_first(server, &subjects)?;
        super::started(server)?;
        steps(server)?;
        let said = ends(server, "test 2", 1)?;
        ensure!(said.contains("dbus-implementation"), "{said}");
        ends(server, "test 4", 100)?;
        ensure!(steps(server)?.is_empty());
        runs(server, &subjects[0])?;
        switched(server, 3)?;
        switched(server, 1)?;
        let insisted = server.run_longer("NIXOS_NO_CHECK=1 lastgood test 2", super::SWITCH)?;
        ensure!(insisted.status == 0, "{insisted:?}");
        runs(server, &subjects[1])?;
        server.power_off()
    })
}
