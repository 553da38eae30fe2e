//! What people have met with other tools that switch: none of it happens here.

use std::time::Duration;

use anyhow::{Result, ensure};
use lastgood_tests::container::{Container, Reach, Watch};
use lastgood_tests::debian::Debian;
use lastgood_tests::switching::{
    Closure, Record, TRACE, deploy, look, register, show, steps, traced, traced_by,
};

use super::{SWITCH, Seen, ends, is_as, lastgood, runs, switched, switching, until};

on_one_debian! {
    Twelve: what_stood_stopped_stands_stopped,
    Thirteen: what_waits_for_something_that_comes_later_holds_nothing_up,
    Thirteen: what_has_waited_and_then_fails_is_told,
    Twelve: what_was_failed_before_is_not_this_switchs_fault,
    Thirteen: the_network_is_away_for_less_than_a_second,
    Twelve: the_sessions_address_is_away_after_all_else_and_for_no_longer_than_it_takes,
    Twelve: accounts_and_what_they_own_are_as_they_were,
    Thirteen: garbage_is_collected_at_any_time_and_harms_neither_way,
    Twelve: what_set_property_and_transient_units_shadow_is_told,
    Thirteen: a_page_is_served_again_at_once_after_going_back,
}

/// By hand, or between a timer's runs; they did not change, and those that hang on them neither.
fn what_stood_stopped_stands_stopped(debian: Debian) -> Result<()> {
    let oneshot = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo ran >>/run/rig-ran'\n";
    let closure = |mark: &str| {
        Closure::new()
            .wanted("by-hand.service", traced("by-hand", "x"))
            .wanted("changed-by-hand.service", traced("changed-by-hand", mark))
            .unit("timed.service", oneshot)
            .unit("timed.timer", "[Timer]\nOnCalendar=2099-01-01\n")
            .wants("timers.target", "timed.timer")
            .wanted("app.service", traced("app", mark))
            .wanted(
                "bad.service",
                if mark == "bad" {
                    "[Service]\nExecStart=/bin/false\n"
                } else {
                    oneshot
                },
            )
    };
    let closures = [closure("one"), closure("two"), closure("bad")];
    switching("stopped", debian, &closures, |server, _| {
        server.run_ok(
            "systemctl stop by-hand.service changed-by-hand.service && rm -f /run/rig-ran",
        )?;
        for (words, status) in [("test 2", 0), ("test 3", 4), ("test 1", 0)] {
            ends(server, words, status)?;
            for (unit, now) in show(server, &["by-hand.service", "timed.service"])? {
                ensure!(now.state() == "inactive", "after {words} {unit} is {now:?}");
            }
        }
        let ran = server.run_ok("cat /run/rig-ran 2>/dev/null || true")?;
        ensure!(!ran.contains("ran\nran\nran"), "{ran}");
        Ok(())
    })
}

/// As colmena's keys, which it copies when the switch has returned.
fn what_waits_for_something_that_comes_later_holds_nothing_up(debian: Debian) -> Result<()> {
    let waiting = "[Service]\nType=oneshot\nRemainAfterExit=yes\nTimeoutStartSec=infinity\n\
                   ExecStart=/bin/sh -c 'until [ -e /run/keys/key ]; do sleep 0.1; done'\n";
    let before = Closure::new();
    let after = Closure::new().wanted("key.service", waiting).wanted(
        "needs-key.service",
        format!(
            "[Unit]\nRequires=key.service\nAfter=key.service\n{}",
            traced("needs-key", "x")
        ),
    );
    switching("keys", debian, &[before, after], |server, subjects| {
        let said = switched(server, 2)?;
        ensure!(said.contains("key.service"), "{said}");
        runs(server, &subjects[1])?;
        let now = Record::of(server, "key.service")?;
        ensure!(now.state() == "activating", "{now:?}");
        server.run_ok("mkdir -p /run/keys && touch /run/keys/key")?;
        server.run_ok(
            "timeout 10 sh -c 'until systemctl is-active needs-key.service; do sleep 0.1; done'",
        )?;
        // It is judged again, though nobody waits for that.
        server.run_ok(
            "timeout 15 sh -c 'until journalctl -u lastgood-later | grep \"up by now: key.service\"; do sleep 0.1; done'",
        )?;
        runs(server, &subjects[1])
    })
}

/// The key comes, and is the wrong one. Nobody is there any more to whom it could be told, and nothing is undone for it.
fn what_has_waited_and_then_fails_is_told(debian: Debian) -> Result<()> {
    let waiting = "[Service]\nType=oneshot\nRemainAfterExit=yes\nTimeoutStartSec=infinity\n\
                   ExecStart=/bin/sh -c 'until [ -e /run/rig-key ]; do sleep 0.1; done; exit 3'\n";
    let after = Closure::new().wanted("key.service", waiting);
    let closures = [Closure::new(), after];
    switching("wrong-key", debian, &closures, |server, subjects| {
        let said = switched(server, 2)?;
        ensure!(said.contains("still on its way: key.service"), "{said}");
        server.run_ok("touch /run/rig-key")?;
        let told = "not well after the live switch: key.service";
        server.run_ok(&format!(
            "timeout 15 sh -c 'until journalctl -u lastgood-later | grep \"{told}\"; do sleep 0.1; done'"
        ))?;
        runs(server, &subjects[1])
    })
}

fn what_was_failed_before_is_not_this_switchs_fault(debian: Debian) -> Result<()> {
    let failed = "[Service]\nType=oneshot\nExecStart=/bin/false\n";
    let looping = "[Service]\nRestart=always\nRestartSec=20\nExecStart=/bin/sh -c 'sleep 0.3; exit 3'\n[Unit]\nStartLimitIntervalSec=0\n";
    let closure = |mark: &str| {
        Closure::new()
            .unit("failed.service", failed)
            .unit("looping.service", looping)
            .wanted("app.service", traced("app", mark))
    };
    switching(
        "failed-before",
        debian,
        &[closure("one"), closure("two")],
        |server, subjects| {
            server.run_ok(
                "systemctl start failed.service || true; systemctl start looping.service; \
                 timeout 10 sh -c 'until systemctl show looping.service | grep -q SubState=auto-restart; do sleep 0.1; done'",
            )?;
            let said = ends(server, "test 2", 0)?;
            runs(server, &subjects[1])?;
            for unit in ["failed.service", "looping.service"] {
                ensure!(said.contains(unit), "{unit} is not named:\n{said}");
            }
            Ok(())
        },
    )
}

/// Through the cable: the page.
fn is_there_again(server: &Container) -> Result<()> {
    until(SWITCH, || {
        Ok(match server.reach(80)? {
            Reach::Page(_) => Seen::Yes(()),
            other => Seen::NotYet(format!("{other:?}")),
        })
    })
}

/// In one job, after all else; the client at the other end of the cable looks every few milliseconds.
fn the_network_is_away_for_less_than_a_second(debian: Debian) -> Result<()> {
    let closure = |mark: &str| {
        Closure::new()
            .wanted("app.service", traced("app", mark))
            .file(
                "etc/systemd/system/systemd-networkd.service.d/rig.conf",
                format!("[Service]\nEnvironment=MARK={mark}\n"),
            )
    };
    switching(
        "network",
        debian,
        &[closure("one"), closure("two")],
        |server, _| {
            let watch = server.watch(80)?;
            let before = Record::of(server, "systemd-networkd.service")?;
            switched(server, 2)?;
            let after = Record::of(server, "systemd-networkd.service")?;
            ensure!(
                !after.same_start(&before),
                "it was not started anew, which says nothing"
            );
            is_there_again(server)?;
            let glances = watch.end()?;
            let gap = Watch::longest_gap(&glances);
            ensure!(
                gap.is_some_and(|gap| gap < Duration::from_secs(1)),
                "{gap:?}"
            );
            Ok(())
        },
    )
}

/// A unit that takes the address itself away and back, as NixOS has one for each interface: whoever is at the other end of
/// the cable does not wait for the other unit, which takes three seconds to stop. It does not take the link down: the
/// kernel may notice up to a second later that there is a carrier again.
fn the_sessions_address_is_away_after_all_else_and_for_no_longer_than_it_takes(
    debian: Debian,
) -> Result<()> {
    let carrier = |mark: &str| {
        format!(
            "[Unit]\nAfter=systemd-networkd.service\n\
             [Service]\nType=oneshot\nRemainAfterExit=yes\nEnvironment=MARK={mark}\n\
             ExecStart=/bin/sh -c 'ip address replace 10.0.2.15/24 dev eth0; echo address start {mark} >>{TRACE}'\n\
             ExecStop=/bin/sh -c 'ip address del 10.0.2.15/24 dev eth0; echo address stop >>{TRACE}'\n"
        )
    };
    // Its start is over when that is in the trace, and not when a process for it is there.
    let slow = |mark: &str| {
        format!(
            "[Service]\nType=oneshot\nRemainAfterExit=yes\n\
             ExecStart=/bin/sh -c 'echo slow start {mark} >>{TRACE}'\n\
             ExecStop=/bin/sh -c 'echo slow stop {mark} >>{TRACE}; sleep 5'\n"
        )
    };
    let closure = |mark: &str| {
        Closure::new()
            .wanted("slow.service", slow(mark))
            .wanted("network-addresses-eth0.service", carrier(mark))
    };
    let closures = [closure("one"), closure("two")];
    switching("address", debian, &closures, |server, _| {
        steps(server)?;
        let watch = server.watch(80)?;
        switched(server, 2)?;
        is_there_again(server)?;
        let gap = Watch::longest_gap(&watch.end()?);
        let steps = steps(server)?;
        ensure!(
            steps
                == [
                    "slow stop one",
                    "slow start two",
                    "address stop",
                    "address start two"
                ],
            "{steps:?}"
        );
        // Less than the other one takes to stop, whatever else the machine is doing.
        ensure!(
            gap.is_some_and(|gap| gap < Duration::from_secs(3)),
            "{gap:?}"
        );
        Ok(())
    })
}

/// Forward and an undo; and forward, back, forward.
fn accounts_and_what_they_own_are_as_they_were(debian: Debian) -> Result<()> {
    let users = |lines: &str| Closure::new().file("etc/sysusers.d/rig.conf", lines);
    let state = |name: &str| {
        format!(
            "[Service]\nUser={name}\nStateDirectory={name}\n\
             ExecStart=/bin/sh -c 'touch /var/lib/{name}/file; exec sleep infinity'\n"
        )
    };
    let one = users("u alpha - \"A\" /var/lib/alpha\n").wanted("alpha.service", state("alpha"));
    let two = users("u alpha - \"A\" /var/lib/alpha\nu beta - \"B\" /var/lib/beta\n")
        .wanted("alpha.service", state("alpha"))
        .wanted("beta.service", state("beta"));
    // Without both, and with another one that could be given what is free.
    let three = users("u gamma - \"C\" /var/lib/gamma\n").wanted("gamma.service", state("gamma"));
    let bad = two.clone().wanted(
        "bad.service",
        "[Service]\nType=exec\nExecStart=/bin/false\n",
    );
    switching("accounts", debian, &[one, two, three, bad], |server, _| {
        server.run_ok("printf 'alpha:secret' | chpasswd -c SHA512; usermod -L alpha")?;
        let of = |name: &str| -> Result<String> {
            server.run_ok(&format!(
                "getent passwd {name}; getent group {name}; getent shadow {name}; stat -c '%u:%g %n' /var/lib/{name} /var/lib/{name}/file"
            ))
        };
        let alpha = of("alpha")?;
        ends(server, "test 4", 4)?;
        ensure!(of("alpha")? == alpha, "{} {alpha}", of("alpha")?);
        switched(server, 2)?;
        let beta = of("beta")?;
        for number in [3, 2, 1, 3, 2] {
            switched(server, number)?;
            ensure!(
                number == 3 || of("alpha")? == alpha,
                "{number}: {}, {alpha}",
                of("alpha")?
            );
            ensure!(
                number != 2 || of("beta")? == beta,
                "{number}: {}, {beta}",
                of("beta")?
            );
        }
        let ids = server.run_ok("getent passwd alpha beta gamma | cut -d: -f3 | sort | uniq -d")?;
        ensure!(ids.is_empty(), "an id belongs to two: {ids}");
        Ok(())
    })
}

/// `nix-collect-garbage -d` in the middle of a switch, while it waits, and after an undo; also where no profile names
/// the closure that is switched to.
fn garbage_is_collected_at_any_time_and_harms_neither_way(debian: Debian) -> Result<()> {
    const COLLECT: &str =
        "if [ -e /run/rig-known ]; then nix-collect-garbage --delete-old >/dev/null 2>&1; fi";
    let closure = |mark: &str, start: &str| {
        Closure::new()
            .wanted("app.service", traced_by("app", mark, start))
            .wanted(&format!("only-{mark}.service"), traced("only", mark))
    };
    let collecting = format!(
        "ExecStartPre=/bin/sh -c '{COLLECT}'\nExecStop=/bin/sh -c '{COLLECT}'\nTimeoutSec=30\n"
    );
    let bad = closure("bad", &collecting).wanted(
        "bad.service",
        "[Service]\nType=exec\nExecStart=/bin/false\n",
    );
    let closures = [
        closure("one", &collecting),
        closure("two", &collecting),
        bad,
    ];
    switching("garbage", debian, &closures, |server, subjects| {
        let all: Vec<_> = subjects.iter().collect();
        register(server, &all)?;
        server.run_ok("touch /run/rig-known")?;
        let exists = |number: usize| -> Result<bool> {
            let path = subjects[number - 1].toplevel.display();
            Ok(server
                .run(&format!(
                    "nix-store --check-validity {path} && test -e {path}/nixos-version"
                ))?
                .status
                == 0)
        };
        // Only the first is a generation from now on. The others are paths that no profile names, each kept by a root of
        // its own until it is its turn.
        let root = |number: usize| format!("/nix/var/nix/gcroots/rig-{number}");
        for number in [2, 3] {
            server.run_ok(&format!(
                "ln -s {} {} && rm /nix/var/nix/profiles/system-{number}-link",
                subjects[number - 1].toplevel.display(),
                root(number)
            ))?;
        }
        let its_turn = |number: usize| server.run_ok(&format!("rm {}", root(number)));
        let before = look(server)?;
        its_turn(3)?;
        ends(
            server,
            &format!("test {}", subjects[2].toplevel.display()),
            4,
        )?;
        ensure!(exists(1)?, "what runs is gone");
        is_as(server, &before)?;
        its_turn(2)?;
        ends(
            server,
            &format!(
                "test {} --confirm-within 12s",
                subjects[1].toplevel.display()
            ),
            0,
        )?;
        server.run_ok(COLLECT)?;
        ensure!(
            exists(1)? && exists(2)?,
            "what is waited for, or what it goes back to, is gone"
        );
        super::is_soon_as(server, &before, Duration::from_secs(40))?;
        server.run_ok(COLLECT)?;
        ensure!(exists(1)?);
        Ok(())
    })
}

/// They beat every generation (X26, X27).
fn what_set_property_and_transient_units_shadow_is_told(debian: Debian) -> Result<()> {
    let closure = |mark: &str| {
        Closure::new()
            .wanted("app.service", traced("app", mark))
            .wanted("shadowed.service", traced("shadowed", mark))
    };
    switching(
        "shadowed",
        debian,
        &[closure("one"), closure("two")],
        |server, _| {
            server.run_ok(
            "systemctl set-property app.service CPUWeight=77 && systemctl stop shadowed.service && \
             mkdir -p /run/systemd/system.control && \
             printf '[Service]\\nExecStart=/bin/sleep infinity\\n' >/run/systemd/system.control/shadowed.service && \
             systemctl daemon-reload && systemctl start shadowed.service",
        )?;
            let said = switched(server, 2)?;
            for word in ["system.control", "app.service", "shadowed.service"] {
                ensure!(said.contains(word), "nothing of {word}:\n{said}");
            }
            Ok(())
        },
    )
}

/// Back to what ran, from the command to the page: under a second besides the service's own time, which is the time that
/// systemd takes to restart it.
fn a_page_is_served_again_at_once_after_going_back(debian: Debian) -> Result<()> {
    let closure = |mark: &str| {
        let unit = include_str!("../../guest/closure/nginx.service");
        Closure::new()
            .file("etc/nginx/www/index.html", format!("<p>{mark}</p>\n"))
            .wanted(
                "nginx.service",
                format!("{unit}# {mark}\n[X-Rig]\nMark={mark}\n"),
            )
    };
    switching(
        "page",
        debian,
        &[closure("one"), closure("two")],
        |server, subjects| {
            let all: Vec<_> = subjects.iter().collect();
            register(server, &all)?;
            deploy(server, &subjects[1])?;
            switched(server, 2)?;
            steps(server)?;
            let watch = server.watch(80)?;
            let ended = server.run_longer("lastgood test 1", SWITCH)?;
            ensure!(ended.status == 0, "{ended:?}");
            is_there_again(server)?;
            let glances = watch.end()?;
            let gap = Watch::longest_gap(&glances);
            ensure!(
                gap.is_some_and(|gap| gap < Duration::from_millis(1500)),
                "{gap:?}"
            );
            let last = glances.last().and_then(|glance| glance.page.clone());
            ensure!(last.as_deref() == Some("<p>one</p>"), "{last:?}");
            ensure!(lastgood(server, "status")?.status == 0);
            Ok(())
        },
    )
}
