//! People who are there while a machine is switched, as logind knows them: real sessions, opened by PAM.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lastgood_tests::container::Container;
use lastgood_tests::debian::Debian;
use lastgood_tests::packages;
use lastgood_tests::scenario::in_container;
use lastgood_tests::switching::{Closure, Record, traced_by};

use super::{SWITCH, ends, laid, proven_first, runs, started, switched};

on_one_debian! {
    Thirteen: an_account_with_a_session_and_no_manager_costs_nothing,
    Twelve: a_manager_that_is_gone_costs_a_line,
    Thirteen: a_user_who_logs_out_before_it_is_their_turn_costs_nothing,
    Twelve: a_user_who_is_thrown_out_in_their_own_reload_costs_a_line,
    Thirteen: a_logind_that_does_not_answer_costs_no_switch,
}

/// How long a switch may take in which everybody answers but one. A user's manager has five seconds for one answer.
const BOUND: Duration = Duration::from_secs(25);

/// Opens a session in whatever says `PAMName=rig`, and asks for nothing.
const PAM: &str = "auth sufficient pam_permit.so\naccount sufficient pam_permit.so\n\
                   session optional pam_systemd.so class=user\n";

/// A user's manager that is told to, stays in its reload for a while.
const GENERATOR: &str =
    "#!/bin/sh\n[ -e /run/rig-slow ] || exit 0\ntouch $XDG_RUNTIME_DIR/rig-reload\nsleep 2\n";

/// Boots the first of `closures` on a machine with logind, and tells `story` over it.
fn with_logind(
    name: &str,
    debian: Debian,
    closures: &[Closure],
    story: impl FnOnce(&Container, &[lastgood::state::Subject]) -> Result<()>,
) -> Result<()> {
    let step = match debian {
        Debian::Twelve => "libpam-systemd-12",
        Debian::Thirteen => "libpam-systemd-13",
        Debian::Sid => "libpam-systemd-sid",
    };
    let pam = packages::unpacked(step, debian, &["libpam-systemd"])?;
    in_container(&format!("switch-{name}"), debian, |server| {
        server.has(pam);
        server.write("/etc/pam.d/rig", PAM)?;
        server.program("/etc/systemd/user-generators/rig", GENERATOR)?;
        let subjects = laid(server, closures)?;
        proven_first(server, &subjects)?;
        started(server)?;
        server.run_ok(
            "systemctl unmask systemd-logind.service && systemctl start systemd-logind.service",
        )?;
        story(server, &subjects)?;
        server.power_off()
    })
}

/// Somebody with this name and id has a session, of which `NAME.service` is the only process.
fn log_in(server: &Container, name: &str, id: u32) -> Result<()> {
    server.run_ok(&format!(
        "useradd --create-home --uid {id} {name} && \
         systemd-run --quiet --unit={name}.service --uid={name} --property=PAMName=rig sleep infinity"
    ))?;
    server.run_ok(&format!(
        "timeout 20 sh -c 'until loginctl list-sessions --no-legend | grep -q {name}; do sleep 0.1; done'"
    ))?;
    Ok(())
}

/// Somebody is there with a session and a manager.
fn alice_logs_in(server: &Container) -> Result<()> {
    log_in(server, "alice", 1000)?;
    server.run_ok(
        "timeout 20 sh -c 'until systemctl is-active user@1000.service; do sleep 0.1; done'",
    )?;
    Ok(())
}

/// With a service of the system's and one of users', which both change.
fn closure(mark: &str) -> Closure {
    let stop = "ExecStop=/bin/sh -c 'touch /run/rig-middle; [ ! -e /run/rig-wait ] || sleep 3'\n";
    let user = "etc/systemd/user";
    Closure::new()
        .wanted("slow.service", traced_by("slow", mark, stop))
        .file(
            &format!("{user}/of-user.service"),
            format!("[Service]\nEnvironment=MARK={mark}\nExecStart=/bin/sleep infinity\n"),
        )
        .link(
            &format!("{user}/default.target.wants/of-user.service"),
            "../of-user.service",
        )
}

/// Switches to the second closure, within bounds; gives all that it said.
fn in_bounds(server: &Container) -> Result<String> {
    let begun = Instant::now();
    let said = ends(server, "test 2", 0)?;
    ensure!(begun.elapsed() < BOUND, "{:?}: {said}", begun.elapsed());
    Ok(said)
}

/// The lines about one user.
fn of(said: &str, id: u32) -> Vec<&str> {
    let user = format!("user {id}");
    said.lines().filter(|line| line.contains(&user)).collect()
}

/// As those of greeters and of background jobs. Whose manager is there gets the units all the same.
fn an_account_with_a_session_and_no_manager_costs_nothing(debian: Debian) -> Result<()> {
    let closures = [closure("one"), closure("two")];
    with_logind("no-manager", debian, &closures, |server, subjects| {
        server.run_ok("systemctl mask user@990.service")?;
        log_in(server, "greeter", 990)?;
        alice_logs_in(server)?;
        server.run_ok("test -d /run/user/990 && test ! -e /run/user/990/systemd/private")?;
        let session = Record::of(server, "greeter.service")?;
        let said = in_bounds(server)?;
        ensure!(of(&said, 990).is_empty(), "{said}");
        ensure!(of(&said, 1000).len() == 2, "{said}");
        ensure!(
            Record::of(server, "greeter.service")?.same_start(&session),
            "the session has ended"
        );
        runs(server, &subjects[1])
    })
}

/// It was killed, and has left its socket.
fn a_manager_that_is_gone_costs_a_line(debian: Debian) -> Result<()> {
    let closures = [closure("one"), closure("two")];
    with_logind("manager-gone", debian, &closures, |server, subjects| {
        alice_logs_in(server)?;
        server.run_ok(
            "systemctl kill --kill-who=main --signal=KILL user@1000.service && \
             timeout 20 sh -c 'while systemctl is-active user@1000.service; do sleep 0.1; done' && \
             test -S /run/user/1000/systemd/private",
        )?;
        let said = in_bounds(server)?;
        let lines = of(&said, 1000);
        ensure!(
            lines.len() == 1 && lines[0].contains("units of user 1000 are as they were"),
            "{said}"
        );
        runs(server, &subjects[1])
    })
}

/// While units of the system are stopped.
fn a_user_who_logs_out_before_it_is_their_turn_costs_nothing(debian: Debian) -> Result<()> {
    let closures = [closure("one"), closure("two")];
    with_logind("log-out", debian, &closures, |server, subjects| {
        alice_logs_in(server)?;
        server.run_ok("touch /run/rig-wait")?;
        let running = server.begin("lastgood test 2", SWITCH)?;
        server.run_ok(
            "timeout 20 sh -c 'until [ -e /run/rig-middle ]; do sleep 0.05; done' && \
             loginctl terminate-user alice && \
             timeout 20 sh -c 'while [ -e /run/user/1000/systemd/private ]; do sleep 0.05; done'",
        )?;
        let slow = Record::of(server, "slow.service")?;
        ensure!(slow.state() == "deactivating", "too late: {slow:?}");
        let ended = running.wait()?;
        ensure!(ended.status == 0, "{ended:?}");
        let said = ended.stdout + &ended.stderr;
        ensure!(of(&said, 1000).is_empty(), "{said}");
        runs(server, &subjects[1])
    })
}

/// With all their processes, while their manager is waited for.
fn a_user_who_is_thrown_out_in_their_own_reload_costs_a_line(debian: Debian) -> Result<()> {
    let closures = [closure("one"), closure("two")];
    with_logind(
        "log-out-in-reload",
        debian,
        &closures,
        |server, subjects| {
            alice_logs_in(server)?;
            server.run_ok("touch /run/rig-slow")?;
            let begun = Instant::now();
            let running = server.begin("lastgood test 2", SWITCH)?;
            server.run_ok(
                "timeout 20 sh -c 'until [ -e /run/user/1000/rig-reload ]; do sleep 0.05; done' && \
             loginctl kill-user --signal=KILL alice",
            )?;
            let ended = running.wait()?;
            ensure!(ended.status == 0, "{ended:?}");
            ensure!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
            let troubles = of(&ended.stderr, 1000);
            ensure!(troubles.len() == 1, "{ended:?}");
            runs(server, &subjects[1])
        },
    )
}

/// Whatever opens a session waits for it, and nobody waits for that.
fn a_logind_that_does_not_answer_costs_no_switch(debian: Debian) -> Result<()> {
    let opens = "[Service]\nType=oneshot\nRemainAfterExit=yes\nUser=alice\nPAMName=rig\nTimeoutStartSec=60\n\
                 ExecStart=/bin/true\n";
    let after = closure("two").wanted("opens.service", opens);
    let closures = [closure("one"), after];
    with_logind("mute-logind", debian, &closures, |server, subjects| {
        alice_logs_in(server)?;
        let logind = "$(systemctl show --value --property=MainPID systemd-logind.service)";
        server.run_ok(&format!("kill -STOP {logind}"))?;
        let said = in_bounds(server)?;
        ensure!(of(&said, 1000).len() == 2, "{said}");
        ensure!(said.contains("still on its way: opens.service"), "{said}");
        runs(server, &subjects[1])?;
        server.run_ok(&format!("kill -CONT {logind}"))?;
        server.run_ok(
            "timeout 20 sh -c 'until journalctl -u lastgood-later | grep \"up by now: opens.service\"; do sleep 0.1; done'",
        )?;
        switched(server, 1)?;
        runs(server, &subjects[0])
    })
}
