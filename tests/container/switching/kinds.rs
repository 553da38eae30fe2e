//! Units that are no services: sockets, timers, paths, targets, slices, mounts.

use anyhow::{Result, ensure};
use lastgood_tests::container::Container;
use lastgood_tests::debian::Debian;
use lastgood_tests::switching::{Closure, Record, TRACE, show, steps, traced};

use super::{ends, switched, switching, switching_on};

on_one_debian! {
    Twelve: a_socket_listens_where_it_is_said_to,
    Thirteen: a_service_with_a_socket_is_left_for_it_to_start,
    Twelve: what_hangs_on_one_that_makes_way_for_a_socket_is_up_again,
    Twelve: timers_and_paths_do_what_is_said_now,
    Thirteen: targets_are_started_and_stopped,
    Twelve: a_line_of_fstab_is_mounted_and_unmounted,
    Thirteen: a_swap_device_that_is_not_in_use_costs_nothing,
    Twelve: a_kind_of_unit_that_this_machine_has_not_costs_a_line,
    Thirteen: a_mount_whose_source_changed_is_mounted_anew,
}

/// One that answers each line with a word, and serves one connection after the other.
fn answering(word: &str) -> String {
    format!(
        "[Service]\nExecStart=/bin/sh -c 'echo answering {word} >>{TRACE}; exec cat'\nStandardInput=socket\n"
    )
}

fn socket(address: &str, more: &str) -> String {
    format!("[Socket]\nListenStream={address}\nAccept=yes\n{more}")
}

/// Whether somebody listens there, inside the machine.
fn listens(server: &Container, address: &str) -> Result<bool> {
    let found = server.run_ok("ss --no-header --listening --tcp --numeric --oneline")?;
    Ok(found
        .lines()
        .any(|line| line.contains(&format!("{address} "))))
}

/// The reload closes the old socket and opens nothing (A18); the unit says "active" all the same.
fn a_socket_listens_where_it_is_said_to(debian: Debian) -> Result<()> {
    let closure = |address: &str| {
        Closure::new()
            .unit("rig@.service", answering("x"))
            .unit("rig.socket", socket(address, ""))
            .wants("sockets.target", "rig.socket")
    };
    let closures = [
        closure("127.0.0.1:7001"),
        closure("127.0.0.1:7002"),
        closure("0.0.0.0:7002"),
    ];
    switching("socket", debian, &closures, |server, _| {
        for (number, address, other) in [
            (2, "127.0.0.1:7002", "127.0.0.1:7001"),
            (3, "0.0.0.0:7002", "127.0.0.1:7002"),
            (1, "127.0.0.1:7001", "0.0.0.0:7002"),
        ] {
            switched(server, number)?;
            ensure!(listens(server, address)?, "nobody listens at {address}");
            ensure!(!listens(server, other)?, "somebody listens at {other}");
            let socket = Record::of(server, "rig.socket")?;
            ensure!(socket.state() == "active", "{socket:?}");
        }
        Ok(())
    })
}

/// Its addresses change with a running service, which a socket does not start over (A18); and a service alone changes.
fn a_service_with_a_socket_is_left_for_it_to_start(debian: Debian) -> Result<()> {
    let service = |word: &str| {
        format!(
            "[Service]\nExecStart=/bin/sh -c 'echo rig {word} >>{TRACE}; exec sleep infinity'\n"
        )
    };
    let closure = |port: u16, word: &str| {
        Closure::new()
            .unit("rig.service", service(word))
            .unit(
                "rig.socket",
                format!("[Socket]\nListenStream=127.0.0.1:{port}\n"),
            )
            .wants("sockets.target", "rig.socket")
    };
    let closures = [
        closure(7001, "one"),
        closure(7001, "two"),
        closure(7002, "two"),
    ];
    switching("socket-service", debian, &closures, |server, _| {
        // Somebody knocks: the service is up.
        server.run_ok(
            "curl --silent --max-time 1 http://127.0.0.1:7001/; systemctl is-active rig.service",
        )?;
        for (number, port) in [(2, 7001), (3, 7002), (1, 7001)] {
            steps(server)?;
            switched(server, number)?;
            ensure!(listens(server, &format!("127.0.0.1:{port}"))?, "{number}");
            let socket = Record::of(server, "rig.socket")?;
            ensure!(socket.state() == "active", "{number}: {socket:?}");
            // Whoever knocks now meets the new one.
            server.run(&format!(
                "curl --silent --max-time 1 http://127.0.0.1:{port}/"
            ))?;
            let word = if number == 1 { "one" } else { "two" };
            let steps = steps(server)?;
            ensure!(
                number == 3 || steps.iter().any(|step| *step == format!("rig {word}")),
                "{number}: {steps:?}"
            );
            let service = Record::of(server, "rig.service")?;
            ensure!(service.state() == "active", "{number}: {service:?}");
        }
        Ok(())
    })
}

/// Neither of the two services changed. The first one is stopped, because it cannot be handed a socket while it runs.
fn what_hangs_on_one_that_makes_way_for_a_socket_is_up_again(debian: Debian) -> Result<()> {
    let before = Closure::new()
        .wanted("rig.service", traced("rig", "x"))
        .wanted(
            "app.service",
            format!(
                "[Unit]\nRequires=rig.service\nAfter=rig.service\n{}",
                traced("app", "x")
            ),
        );
    let after = before
        .clone()
        .unit("rig.socket", "[Socket]\nListenStream=127.0.0.1:7001\n")
        .wants("sockets.target", "rig.socket");
    switching("socket-new", debian, &[before, after], |server, _| {
        steps(server)?;
        let told = switched(server, 2)?;
        ensure!(told.contains("app.service"), "{told}");
        ensure!(listens(server, "127.0.0.1:7001")?, "nobody listens");
        let names = ["rig.service", "rig.socket", "app.service"];
        let found = show(server, &names)?;
        for name in names {
            ensure!(found[name].state() == "active", "{:?}", found[name]);
        }
        Ok(())
    })
}

fn timers_and_paths_do_what_is_said_now(debian: Debian) -> Result<()> {
    let oneshot = format!("[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo ran >>{TRACE}'\n");
    let closure = |calendar: &str, path: &str| {
        Closure::new()
            .unit("timed.service", oneshot.as_str())
            .unit("timed.timer", format!("[Timer]\nOnCalendar={calendar}\n"))
            .wants("timers.target", "timed.timer")
            .unit("seen.service", oneshot.replace("ran", "seen"))
            .unit("seen.path", format!("[Path]\nPathChanged={path}\n"))
            .wants("paths.target", "seen.path")
    };
    let closures = [
        closure("2099-01-01 00:00:00 UTC", "/run/rig-old"),
        closure("2098-02-02 00:00:00 UTC", "/run/rig-new"),
        Closure::new(),
    ];
    switching("timer-path", debian, &closures, |server, _| {
        switched(server, 2)?;
        let timers = server.property("timed.timer", "TimersCalendar")?;
        ensure!(timers.contains("2098-02-02"), "{timers}");
        let next = server.property("timed.timer", "NextElapseUSecRealtime")?;
        ensure!(next.contains("2098"), "{next}");
        for unit in ["timed.timer", "seen.path"] {
            let now = Record::of(server, unit)?;
            ensure!(now.state() == "active", "{unit}: {now:?}");
        }
        steps(server)?;
        server.run_ok("touch /run/rig-old /run/rig-new")?;
        server.run_ok(&format!(
            "timeout 5 sh -c 'until grep -q seen {TRACE}; do sleep 0.1; done'"
        ))?;
        // A timer without a file would stay, and go off (X53).
        switched(server, 3)?;
        for (unit, now) in show(server, &["timed.timer", "seen.path"])? {
            ensure!(now.state() == "inactive", "{unit}: {now:?}");
        }
        Ok(())
    })
}

fn targets_are_started_and_stopped(debian: Debian) -> Result<()> {
    let target =
        |description: &str, more: &str| format!("[Unit]\nDescription={description}\n{more}");
    let before = Closure::new()
        .wanted("changed.target", target("one", ""))
        .wanted("gone.target", target("one", ""))
        .wanted(
            "anew.target",
            target("one", "X-StopOnReconfiguration=true\n"),
        )
        .unit("by-hand.target", target("one", "X-OnlyManualStart=true\n"))
        .wanted(
            "of-anew.service",
            format!("[Unit]\nPartOf=anew.target\n{}", traced("of-anew", "x")),
        );
    let after = before
        .clone()
        .without_unit("gone.target")
        .wanted("changed.target", target("two", ""))
        .wanted("new.target", target("two", ""))
        .unit("by-hand.target", target("two", "X-OnlyManualStart=true\n"))
        // More that is wanted by a target which is up already.
        .unit("more.service", traced("more", "x"))
        .wants("changed.target", "more.service");
    switching("targets", debian, &[before, after], |server, _| {
        steps(server)?;
        switched(server, 2)?;
        // It went down and up with its target, though nothing of them changed.
        let steps = steps(server)?;
        let anew = |what: &str| steps.iter().position(|step| step == what);
        let (stop, start) = (anew("of-anew stop x"), anew("of-anew start x"));
        ensure!(stop.is_some() && stop < start, "{steps:?}");
        let units = [
            "changed.target",
            "new.target",
            "anew.target",
            "more.service",
            "of-anew.service",
        ];
        for (unit, now) in show(server, &units)? {
            ensure!(now.state() == "active", "{unit}: {now:?}");
        }
        for (unit, now) in show(server, &["gone.target", "by-hand.target", "sleep.target"])? {
            ensure!(now.state() == "inactive", "{unit}: {now:?}");
        }
        Ok(())
    })
}

fn options(server: &Container, at: &str) -> Result<String> {
    server.run_ok(&format!(
        "findmnt --noheadings --output SOURCE,FSTYPE,OPTIONS {at} || true"
    ))
}

/// The lines of `fstab` are the host's generator's, and those of the closure's `/etc/fstab`.
fn a_line_of_fstab_is_mounted_and_unmounted(debian: Debian) -> Result<()> {
    // With a stage 2, so that the first boot has read it, too.
    let closure = |fstab: &str| {
        Closure::new()
            .file("etc/fstab", fstab)
            .link("init", "/usr/bin/lastgood")
            .wanted(
                "user.service",
                format!(
                    "[Unit]\nRequiresMountsFor=/srv/one\n{}",
                    traced("user", "x")
                ),
            )
    };
    let without_the_hosts =
        |server: &Container| server.write("/rig/before", "[ -L /etc/fstab ] || rm -f /etc/fstab\n");
    let closures = [
        closure("one /srv/one tmpfs size=1M,nofail 0 0\n"),
        closure("one /srv/one tmpfs size=2M,nofail 0 0\ntwo /srv/two tmpfs size=1M,nofail 0 0\n"),
        closure("two /srv/two tmpfs size=1M,nofail 0 0\n"),
    ];
    switching_on(
        "fstab",
        debian,
        &closures,
        without_the_hosts,
        |server, _| {
            ensure!(options(server, "/srv/one")?.contains("size=1024k"));
            server.run_ok("echo kept >/srv/one/file")?;
            // Another option: remounted, and nothing is lost. A new line: mounted.
            switched(server, 2)?;
            ensure!(options(server, "/srv/one")?.contains("size=2048k"));
            server.run_ok("grep kept /srv/one/file")?;
            ensure!(options(server, "/srv/two")?.contains("size=1024k"));
            // A line that is gone: unmounted.
            switched(server, 3)?;
            ensure!(
                options(server, "/srv/one")?.is_empty(),
                "{}",
                options(server, "/srv/one")?
            );
            // What hung on it has no other place to be now, and is up again.
            let user = Record::of(server, "user.service")?;
            ensure!(user.state() == "active", "{user:?}");
            Ok(())
        },
    )
}

/// Its line goes, and comes back with `noauto`. A device that is in use would be the host's as well: nobody here turns
/// one on.
fn a_swap_device_that_is_not_in_use_costs_nothing(debian: Debian) -> Result<()> {
    let closure = |fstab: &str| {
        Closure::new()
            .file("etc/fstab", fstab)
            .link("init", "/usr/bin/lastgood")
    };
    let closures = [
        closure("/srv/swap none swap defaults\n"),
        closure("one /srv/one tmpfs size=1M,nofail 0 0\n"),
        closure("/srv/swap none swap noauto\n"),
    ];
    let with_a_file = |server: &Container| {
        server.write("/srv/swap", vec![0; 1 << 20])?;
        server.write("/rig/before", "[ -L /etc/fstab ] || rm -f /etc/fstab\n")
    };
    switching_on("swap", debian, &closures, with_a_file, |server, _| {
        let listed = server.run_ok("cat /proc/swaps")?;
        ensure!(!listed.contains("/srv/swap"), "{listed}");
        let told = ends(server, "dry-activate 2", 0)?;
        let would = "would swap off /srv/swap: it is gone from fstab";
        ensure!(told.lines().any(|line| line == would), "{told}");
        let said = switched(server, 2)?;
        ensure!(said.contains("swapping off /srv/swap: "), "{said}");
        ensure!(!said.contains("stays in use"), "{said}");
        let said = switched(server, 3)?;
        ensure!(!said.contains("swap"), "{said}");
        Ok(())
    })
}

/// "Reloaded", it would be remounted from where it was (X50). And what may not be taken away is told, not tried.
fn a_mount_whose_source_changed_is_mounted_anew(debian: Debian) -> Result<()> {
    let mount =
        |what: &str| format!("[Mount]\nWhat={what}\nWhere=/srv/data\nType=none\nOptions=bind\n");
    let closure = |what: &str| {
        Closure::new()
            .file(
                "etc/tmpfiles.d/rig.conf",
                "d /srv/a 0755\nd /srv/b 0755\nf /srv/a/one 0644\nf /srv/b/two 0644\n",
            )
            .unit("srv-data.mount", mount(what))
            .wants("local-fs.target", "srv-data.mount")
            .wanted(
                "user.service",
                format!(
                    "[Unit]\nRequiresMountsFor=/srv/data\n{}",
                    traced("user", "x")
                ),
            )
    };
    switching(
        "mount",
        debian,
        &[closure("/srv/a"), closure("/srv/b")],
        |server, _| {
            // tmpfiles come after local file systems in the first boot.
            server.run_ok("systemctl restart srv-data.mount user.service && ls /srv/data/one")?;
            let told = ends(server, "dry-activate 2", 0)?;
            ensure!(told.contains("srv-data.mount"), "{told}");
            switched(server, 2)?;
            server.run_ok("ls /srv/data/two")?;
            let user = Record::of(server, "user.service")?;
            ensure!(user.state() == "active", "{user:?}");
            Ok(())
        },
    )
}

/// systemd has no swap in a container. A boot passes over it; so does a switch, and its undo.
fn a_kind_of_unit_that_this_machine_has_not_costs_a_line(debian: Debian) -> Result<()> {
    let with_swap = Closure::new()
        .unit("srv-rig.swap", "[Swap]\nWhat=/srv/rig\n")
        .wants("multi-user.target", "srv-rig.swap");
    let closures = [Closure::new(), with_swap];
    switching("no-swap", debian, &closures, |server, _| {
        let said = switched(server, 2)?;
        ensure!(
            said.contains("srv-rig.swap: systemd has no such unit on this machine"),
            "{said}"
        );
        switched(server, 1)?;
        Ok(())
    })
}
