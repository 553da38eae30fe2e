//! What a boot was to start, and what came along: only the first is held against a generation.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use lastgood::state::baseline::{Baseline, Looks};
use lastgood::state::fault::Fault;
use lastgood::state::{Event, Subject};
use lastgood_tests::container::{Boot, Container, Ended};
use lastgood_tests::debian::Debian;
use lastgood_tests::machine::Fact;
use lastgood_tests::scenario::in_container;

use crate::{rejection, selected};

on_each_debian! {
    what_a_timer_a_path_or_a_login_starts_does_not_reject,
    what_was_to_run_and_never_did_rejects,
    a_crash_loop_slower_than_settle_rejects,
    a_slow_starter_that_says_so_has_its_time,
}
on_debian_sid! {
    what_a_timer_a_path_or_a_login_starts_does_not_reject,
    what_was_to_run_and_never_did_rejects,
    a_crash_loop_slower_than_settle_rejects,
}

/// Generation `number` was found good by an earlier boot that looked around.
pub(super) fn proven(server: &Container, number: u64) -> Result<Subject> {
    let subject = server.add(number, &[])?;
    server.past(&Event::Proven {
        subject: subject.clone(),
        baseline: Baseline {
            looks: Some(Looks::default()),
            ..Baseline::default()
        },
    })?;
    Ok(subject)
}

/// A unit of the closure, and a link to it in the target's directory.
fn wanted(files: &mut Vec<(String, String)>, target: &str, name: &str, text: &str) {
    let of_unit = format!("etc/systemd/system/{name}");
    let of_link = format!("etc/systemd/system/{target}.wants/{name}");
    files.extend([of_unit, of_link].map(|path| (path, text.to_owned())));
}

fn borrowed(files: &[(String, String)]) -> Vec<(&str, &str)> {
    let pairs = files.iter();
    pairs
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect()
}

fn settings(text: &str) -> (String, String) {
    ("etc/lastgood/lastgood.toml".to_owned(), text.to_owned())
}

fn alone(name: &str, text: &str) -> (String, String) {
    (format!("etc/systemd/system/{name}"), text.to_owned())
}

/// The remote of a backup is down for a minute, say.
fn what_a_timer_a_path_or_a_login_starts_does_not_reject(debian: Debian) -> Result<()> {
    in_container("container-outside", debian, |server| {
        proven(server, 1)?;
        let mut files = vec![settings("[health]\nsettle-sec = 6\n")];
        let timer = "[Timer]\nOnActiveSec=1s\nAccuracySec=100ms\n";
        wanted(&mut files, "timers.target", "backup.timer", timer);
        let fails = "[Service]\nType=oneshot\nExecStart=/bin/false\n";
        files.push(alone("backup.service", fails));
        let path = "[Path]\nPathExists=/etc/hostname\n";
        wanted(&mut files, "paths.target", "spool.path", path);
        let loops = "[Unit]\nStartLimitIntervalSec=0\n\
                     [Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=1\n";
        files.push(alone("spool.service", loops));
        let subject = selected(server, 2, &borrowed(&files))?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Proven(2))?;
        let state = server.state()?;
        assert_eq!(state.last_good(), Some(&subject));
        // It is told.
        let baseline = state.baseline().context("no baseline")?;
        for unit in ["backup.service", "spool.service"] {
            let fault = Fault::of_unit(unit);
            assert!(baseline.failing.contains(&fault), "{baseline:?}");
        }
        // And what there was is on record, with whose it is.
        let recorded = baseline.looks.as_ref().context("nobody has looked")?;
        assert!(recorded.up.contains("nginx.service"), "{recorded:?}");
        let listening = recorded.around.listening.iter().flatten();
        let web: Vec<_> = listening.filter(|one| one.port == 80).collect();
        assert_eq!(web.len(), 1, "{recorded:?}");
        assert_eq!(
            web[0].unit.as_deref(),
            Some("nginx.service"),
            "{recorded:?}"
        );
        assert!(!web[0].local, "{recorded:?}");
        let status = server.run_ok("lastgood --quiet status")?;
        assert!(status.contains("backup.service"), "{status}");
        server.power_off()
    })
}

/// systemd says "failed" of none of them.
fn what_was_to_run_and_never_did_rejects(debian: Debian) -> Result<()> {
    in_container("container-missed", debian, |server| {
        proven(server, 1)?;
        let mut files = vec![settings(
            "[health]\nsettle-sec = 3\nrequired-units = [\"gone.service\"]\n",
        )];
        let target = "multi-user.target";
        for (name, other) in [("one", "two"), ("two", "one")] {
            let text = format!(
                "[Unit]\nAfter={other}.service\n[Service]\nExecStart=/bin/sleep infinity\n"
            );
            wanted(&mut files, target, &format!("{name}.service"), &text);
        }
        // Up at the second try, which is too late for what needs it.
        let second = "[Unit]\nAfter=starts.service\n\
                      [Service]\nType=oneshot\nRemainAfterExit=yes\nRestart=on-failure\nRestartSec=1\n\
                      ExecStart=/bin/sh -c 'test -e /run/tried || { touch /run/tried; exit 1; }'\n";
        wanted(&mut files, target, "second.service", second);
        let needs = "[Unit]\nRequires=second.service\nAfter=second.service\n\
                     [Service]\nExecStart=/bin/sleep infinity\n";
        wanted(&mut files, target, "needs.service", needs);
        // Nothing but a timer wants it, so that systemd forgets it.
        let gone = "[Unit]\nCollectMode=inactive-or-failed\n\
                    [Service]\nType=oneshot\nExecStart=/bin/false\n";
        files.push(alone("gone.service", gone));
        let starts = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'systemctl start gone.service || true'\n";
        wanted(&mut files, target, "starts.service", starts);
        let subject = selected(server, 2, &borrowed(&files))?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Rejected(2))?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        let cause = rejection(server, &subject)?;
        let faults: BTreeSet<&str> = cause.faults.iter().filter_map(Fault::unit).collect();
        // Which one of the circle is left out is systemd's business.
        let circle = ["one.service", "two.service"].into_iter();
        assert_eq!(
            circle.filter(|name| faults.contains(name)).count(),
            1,
            "{cause:?}"
        );
        for name in ["needs.service", "gone.service"] {
            assert!(faults.contains(name), "{name}: {cause:?}");
        }
        assert!(!faults.contains("second.service"), "{cause:?}");
        assert!(
            cause.summary.contains("systemd has forgotten it"),
            "{cause:?}"
        );
        Ok(())
    })
}

/// It is up for two seconds each time, and zero units are failed in between.
fn a_crash_loop_slower_than_settle_rejects(debian: Debian) -> Result<()> {
    in_container("container-slow-loop", debian, |server| {
        proven(server, 1)?;
        let mut files = vec![settings("[health]\nsettle-sec = 1\ndeadline-sec = 15\n")];
        let target = "multi-user.target";
        let loops = "[Unit]\nStartLimitIntervalSec=0\n\
                     [Service]\nExecStart=/bin/sh -c 'sleep 2; exit 1'\nRestart=always\nRestartSec=100ms\n";
        wanted(&mut files, target, "loops.service", loops);
        // As long as it takes to die three times.
        let slow = "[Service]\nType=oneshot\n\
                    ExecStart=/bin/sh -c 'until [ $(systemctl show -P NRestarts loops.service) -ge 3 ]; do sleep 0.2; done'\n";
        wanted(&mut files, target, "slow.service", slow);
        let subject = selected(server, 2, &borrowed(&files))?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Rejected(2))?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        let cause = rejection(server, &subject)?;
        assert_eq!(cause.faults, [Fault::of_unit("loops.service")]);
        Ok(())
    })
}

/// A model server that loads, say: it says again and again that it is still at it (`EXTEND_TIMEOUT_USEC=`), for longer than
/// its own limit and the deadline.
fn a_slow_starter_that_says_so_has_its_time(debian: Debian) -> Result<()> {
    in_container("container-slow-starter", debian, |server| {
        proven(server, 1)?;
        let config =
            "[health]\nsettle-sec = 1\ndeadline-sec = 15\nrequired-units = [\"model.service\"]\n";
        let mut files = vec![settings(config)];
        let target = "multi-user.target";
        let loads = "[Service]\nType=notify\nNotifyAccess=all\nTimeoutStartSec=4s\n\
                     ExecStart=/bin/sh -c 'until [ -e /rig/loaded ]; do systemd-notify EXTEND_TIMEOUT_USEC=60000000; sleep 0.5; done; \
                     systemd-notify --ready; exec sleep infinity'\n";
        wanted(&mut files, target, "model.service", loads);
        let subject = selected(server, 2, &borrowed(&files))?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Begun(2))?;
        // Beyond the deadline, which counts from about now, and before the second one.
        let late = "until journalctl --boot --output=cat -u lastgood-begin.service | grep -q .; do sleep 0.2; done; sleep 18";
        server.run_ok(late)?;
        assert_eq!(
            server
                .state()?
                .last_good()
                .map(|good| good.generation.number()),
            Some(1)
        );
        server.run_ok("touch /rig/loaded")?;
        server.wait_for(Fact::Proven(2))?;
        assert_eq!(server.state()?.last_good(), Some(&subject));
        server.power_off()
    })
}
