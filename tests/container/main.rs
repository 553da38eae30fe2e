//! Ring 4: real systemd as PID 1, in a container. Each story is a test on each release.
//!
//! No machine here has a boot partition; [`lastgood_tests::container`] says why, and what that proves.

#![allow(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics is a test that fails"
)]

/// Makes each story a test on each release.
macro_rules! on_each_debian {
    ($($story:ident),+ $(,)?) => {
        mod debian_12 {
            $(#[test]
            fn $story() -> anyhow::Result<()> {
                super::$story(lastgood_tests::debian::Debian::Twelve)
            })+
        }
        mod debian_13 {
            $(#[test]
            fn $story() -> anyhow::Result<()> {
                super::$story(lastgood_tests::debian::Debian::Thirteen)
            })+
        }
    };
}

/// Makes each story a test of long runs, on the newest systemd there is.
macro_rules! on_debian_sid {
    ($($story:ident),+ $(,)?) => {
        mod long_debian_sid {
            $(#[test]
            fn $story() -> anyhow::Result<()> {
                super::$story(lastgood_tests::debian::Debian::Sid)
            })+
        }
    };
}

/// Makes each story a test on one release, and with `--long` on all others too.
macro_rules! on_one_debian {
    ($($release:ident: $story:ident),+ $(,)?) => {
        mod one_debian {
            $(#[test]
            fn $story() -> anyhow::Result<()> {
                super::$story(lastgood_tests::debian::Debian::$release)
            })+
        }
        mod long_other_debian {
            $(#[test]
            fn $story() -> anyhow::Result<()> {
                super::$story(lastgood_tests::debian::Debian::$release.other())
            })+
        }
        on_debian_sid! { $($story),+ }
    };
}

mod activation;
mod agent;
mod checks;
mod deadlines;
mod descriptions;
mod firewall;
mod judging;
mod manager;
mod others;
mod package;
mod probation;
mod rules;
mod stage_2;
mod switching;
mod telling;
mod unit_files;
mod units;
mod way_down;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use lastgood::state::baseline::Baseline;
use lastgood::state::cause::{Cause, Stage};
use lastgood::state::fault::Fault;
use lastgood::state::{Event, Standing, Subject};
use lastgood_tests::container::{Boot, Container, Ended, Reach};
use lastgood_tests::debian::Debian;
use lastgood_tests::machine::Fact;
use lastgood_tests::scenario::in_container;

on_each_debian! {
    a_good_trial_is_put_in_place_in_order_and_proven,
    a_trial_whose_firewall_does_not_load_is_rejected_and_reboots,
    a_firewall_that_does_not_load_leaves_the_management_port_and_no_other,
    a_trial_that_hangs_ends_at_the_deadline,
    a_proven_generation_that_fails_stays_up,
    a_failed_trial_without_a_last_good_one_stays_up,
    a_file_that_is_not_ours_is_not_overwritten,
    a_rejected_generation_is_left_three_times_and_no_more,
    a_trial_that_ends_in_emergency_mode_reboots,
}

/// A ruleset that nft does not take, and would not be missed if it did.
const BROKEN_RULESET: (&str, &str) = (
    "etc/nftables.conf",
    "table inet lastgood-demo { chian input }\n",
);

/// The required unit fails.
const BROKEN_NGINX: (&str, &str) = ("etc/nginx/nginx.conf", "evnets { }\n");

/// What the agent says when it looks for a boot partition: by then the verdict is on record.
const NO_BOOT: &str = "no EFI system partition";

/// Generation `number` was found good by an earlier boot.
fn proven(server: &Container, number: u64, changes: &[(&str, &str)]) -> Result<Subject> {
    let subject = server.add(number, changes)?;
    server.past(&Event::Proven {
        subject: subject.clone(),
        baseline: Baseline::default(),
    })?;
    Ok(subject)
}

/// The operator asked for generation `number`.
fn selected(server: &Container, number: u64, changes: &[(&str, &str)]) -> Result<Subject> {
    let subject = server.add(number, changes)?;
    server.past(&Event::Selected {
        subject: subject.clone(),
        by: None,
    })?;
    Ok(subject)
}

/// Why `subject` was rejected.
fn rejection(server: &Container, subject: &Subject) -> Result<Cause> {
    let rejected = server.state()?.rejected;
    let cause = rejected
        .get(&subject.toplevel)
        .map(|rejection| rejection.cause.clone());
    cause.with_context(|| format!("not rejected: {subject:?}; but {rejected:?}"))
}

/// The names of the units at fault.
fn units(cause: &Cause) -> Vec<&str> {
    cause.units.iter().map(|unit| unit.unit.as_str()).collect()
}

/// When a unit became active, in microseconds since systemd was started.
fn active_since(server: &Container, unit: &str) -> Result<u64> {
    let at = server.property(unit, "ActiveEnterTimestampMonotonic")?;
    let at = at.parse().with_context(|| format!("{unit}: {at:?}"))?;
    assert_ne!(at, 0, "{unit} was never active");
    Ok(at)
}

fn a_good_trial_is_put_in_place_in_order_and_proven(debian: Debian) -> Result<()> {
    in_container("container-good-trial", debian, |server| {
        let old = (
            "etc/systemd/system/old.service",
            "[Service]\nExecStart=/bin/sleep infinity\n",
        );
        proven(server, 1, &[old])?;
        let subject = selected(server, 2, &[])?;
        // Left by somebody, above /usr and below what the generator makes.
        let left = "[Service]\nExecStart=/bin/sleep infinity\n";
        server.write("/etc/systemd/system/nginx.service", left)?;
        server.start(Boot::Counted(2))?;
        let begun = server.wait_for(Fact::Begun(2))?;
        let proven = server.wait_for(Fact::Proven(2))?;
        assert!(proven.at < begun.at + Duration::from_secs(10));
        server.wait_for(NO_BOOT)?;

        let steps =
            ["begin", "activate", "firewall"].map(|step| format!("lastgood-{step}.service"));
        let mut order = Vec::new();
        for unit in &steps {
            order.push(active_since(server, unit)?);
        }
        for unit in [
            "network-pre.target",
            "systemd-networkd.service",
            "boot-complete.target",
        ] {
            order.push(active_since(server, unit)?);
        }
        assert!(order.is_sorted(), "{order:?}");
        assert_eq!(
            server.property("boot-complete.target", "ActiveState")?,
            "active"
        );

        // What runs is the booted closure's, and nobody else's.
        let closure = subject.toplevel.display();
        let fragment = server.property("nginx.service", "FragmentPath")?;
        let fragment = server.run_ok(&format!("readlink -f {fragment}"))?;
        assert_eq!(
            fragment,
            format!("{closure}/etc/systemd/system/nginx.service")
        );
        assert_eq!(server.property("old.service", "LoadState")?, "not-found");
        for (link, leads) in [
            ("/etc/nginx/nginx.conf", "etc/nginx/nginx.conf"),
            ("/run/current-system", ""),
        ] {
            let target = server.run_ok(&format!("readlink -f {link}"))?;
            assert_eq!(
                target.trim_end_matches('/'),
                format!("{closure}/{leads}").trim_end_matches('/')
            );
        }
        let tables = server.run_ok("nft list tables")?;
        assert_eq!(tables, "table inet lastgood-demo");
        for port in [80, 443] {
            let page = server.reach(port)?;
            assert!(
                matches!(&page, Reach::Page(page) if page.contains("generation 2")),
                "{page:?}"
            );
        }
        assert_eq!(server.reach(22)?, Reach::Refused);
        assert_eq!(server.reach(8080)?, Reach::Silent);

        // The release that it is about.
        let (systemd, nft) = match debian {
            Debian::Twelve => ("systemd 252 ", "nftables v1.0.6 "),
            Debian::Thirteen => ("systemd 257 ", "nftables v1.1.3 "),
            Debian::Sid => ("systemd 262 ", "nftables v1.1."),
        };
        for (program, is) in [("systemctl", systemd), ("nft", nft)] {
            let version = server.run_ok(&format!("{program} --version"))?;
            assert!(version.starts_with(is), "{version}");
        }

        let state = server.state()?;
        assert_eq!(state.last_good(), Some(&subject));
        assert_eq!(state.boot.map(|boot| boot.stage), Some(Stage::Proven));
        server.power_off()
    })
}

fn a_trial_whose_firewall_does_not_load_is_rejected_and_reboots(debian: Debian) -> Result<()> {
    in_container("container-firewall-trial", debian, |server| {
        proven(server, 1, &[])?;
        let subject = selected(server, 2, &[BROKEN_RULESET])?;
        server.start(Boot::Counted(2))?;
        server.wait_for("the machine is closed but for TCP ports [22]")?;
        server.wait_for(Fact::Rejected(2))?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        let cause = rejection(server, &subject)?;
        assert_eq!(cause.faults[0], Fault::Firewall);
        assert_eq!(units(&cause)[0], "lastgood-firewall.service");
        assert_eq!(cause.stage, Stage::Activated);
        // Once, in words and in fields.
        let entries = server.journal(&["LASTGOOD_EVENT=rejected"])?;
        let [entry] = entries.as_slice() else {
            bail!("{entries:?}")
        };
        assert_eq!(entry["LASTGOOD_GENERATION"], "2");
        assert_eq!(entry["LASTGOOD_STAGE"], "activated");
        let closure = subject.toplevel.to_string_lossy();
        assert_eq!(entry["LASTGOOD_CLOSURE"], *closure);
        let faults = entry["LASTGOOD_FAULT"].to_string();
        assert!(faults.contains("\"firewall\""), "{entry}");
        let same = format!("MESSAGE={}", entry["MESSAGE"].as_str().unwrap_or_default());
        assert_eq!(server.journal(&[&same])?.len(), 1, "{entry}");
        assert!(
            cause.units[0].log.join("\n").contains("nftables.conf"),
            "{cause:?}"
        );

        // The next boot is the last good one's, and nothing of this one is in its way.
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;
        server.wait_for(NO_BOOT)?;
        assert_eq!(server.state()?.reboots, 0);
        assert_eq!(
            server.run_ok("readlink /nix/var/nix/profiles/system")?,
            "system-1-link"
        );
        server.power_off()
    })
}

/// Looks from the other end of the cable at a machine that stays up.
fn a_firewall_that_does_not_load_leaves_the_management_port_and_no_other(
    debian: Debian,
) -> Result<()> {
    in_container("container-firewall-closed", debian, |server| {
        proven(server, 1, &[BROKEN_RULESET])?;
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Degraded(1))?;
        server.run_ok("nft list table inet lastgood-lockdown")?;
        // What others let in, before and after, does not open it.
        for priority in [-10, 0, 10] {
            let open = format!(
                "table inet open{} {{ chain x {{ type filter hook input priority {priority}; accept; }}; }}",
                priority + 10
            );
            server.run_ok(&format!("nft '{open}'"))?;
        }
        server.run_ok("curl --silent --fail --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:80/")?;
        assert_eq!(server.reach(22)?, Reach::Refused);
        for port in [80, 443, 8080] {
            assert_eq!(server.reach(port)?, Reach::Silent, "{port}");
        }
        server.power_off()
    })
}

fn a_trial_that_hangs_ends_at_the_deadline(debian: Debian) -> Result<()> {
    in_container("container-hang", debian, |server| {
        proven(server, 1, &[])?;
        let hang = "[Service]\nType=oneshot\nExecStart=/bin/sleep infinity\n";
        let subject = selected(
            server,
            2,
            &[
                ("etc/systemd/system/hang.service", hang),
                (
                    "etc/systemd/system/multi-user.target.wants/hang.service",
                    hang,
                ),
                (
                    "etc/lastgood/lastgood.toml",
                    "[health]\nsettle-sec = 1\ndeadline-sec = 3\n",
                ),
            ],
        )?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Rejected(2))?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        let cause = rejection(server, &subject)?;
        assert_eq!(units(&cause), ["hang.service"]);
        assert!(cause.summary.contains("not well within 3 s"), "{cause:?}");
        Ok(())
    })
}

fn a_proven_generation_that_fails_stays_up(debian: Debian) -> Result<()> {
    in_container("container-degraded", debian, |server| {
        proven(server, 1, &[])?;
        let subject = proven(server, 2, &[BROKEN_NGINX])?;
        server.start(Boot::Uncounted(2))?;
        server.wait_for(Fact::Degraded(2))?;
        server.wait_for("staying up: it is proven")?;
        let state = server.state()?;
        assert_eq!(state.standing(&subject), Standing::Proven);
        assert_eq!(
            units(state.degraded.as_ref().context("not degraded")?),
            ["nginx.service"]
        );
        assert_eq!(state.reboots, 0);
        assert_eq!(
            server.property("boot-complete.target", "ActiveState")?,
            "inactive"
        );
        let status = server.run_ok("lastgood --quiet status")?;
        assert!(status.contains("required nginx.service failed"), "{status}");
        server.power_off()
    })
}

fn a_failed_trial_without_a_last_good_one_stays_up(debian: Debian) -> Result<()> {
    in_container("container-nothing-proven", debian, |server| {
        selected(server, 1, &[BROKEN_NGINX])?;
        server.start(Boot::Counted(1))?;
        server.wait_for(Fact::Degraded(1))?;
        server.wait_for("staying up: no generation is proven yet")?;
        server.run_ok("systemctl is-system-running --wait || true")?;
        let state = server.state()?;
        assert_eq!(
            units(state.degraded.as_ref().context("not degraded")?),
            ["nginx.service"]
        );
        assert_eq!((state.reboots, state.rejected.len()), (0, 0));
        server.power_off()
    })
}

fn a_file_that_is_not_ours_is_not_overwritten(debian: Debian) -> Result<()> {
    in_container("container-foreign-file", debian, |server| {
        proven(server, 1, &[])?;
        let subject = selected(server, 2, &[("etc/motd.d/rig", "of the closure\n")])?;
        server.write("/etc/motd.d/rig", "of the operator\n")?;
        server.start(Boot::Counted(2))?;
        server.wait_for("cannot link /etc/motd.d/rig: lastgood did not make /etc/motd.d/rig")?;
        server.wait_for(Fact::Rejected(2))?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        let cause = rejection(server, &subject)?;
        assert_eq!(cause.faults, [Fault::Activation]);
        assert_eq!(units(&cause), ["lastgood-activate.service"]);
        assert_eq!(cause.stage, Stage::Begun);
        let kept = std::fs::read_to_string(server.disk().join("/etc/motd.d/rig"))?;
        assert_eq!(kept, "of the operator\n");
        Ok(())
    })
}

/// The loader's counter could not be written, say: the rejected generation comes up again and again.
fn a_rejected_generation_is_left_three_times_and_no_more(debian: Debian) -> Result<()> {
    in_container("container-demotion-lost", debian, |server| {
        let good = proven(server, 1, &[])?;
        let subject = selected(server, 2, &[BROKEN_NGINX])?;
        server.past(&Event::Rejected {
            subject: subject.clone(),
            cause: Cause::of(Stage::Services, Fault::of_unit("nginx.service")),
        })?;
        server.past(&Event::Rebooting {
            from: subject.clone(),
            to: good.clone(),
        })?;
        for reboots in [2, 3] {
            server.start(Boot::Counted(2))?;
            // It waits longer each time.
            server.wait_longer(Fact::Rebooting(1), Duration::from_mins(2))?;
            assert_eq!(server.wait_until_ended()?, Ended::Reboot);
            assert_eq!(server.state()?.reboots, reboots);
        }
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Degraded(2))?;
        server.wait_for("staying up: too many automatic reboots in a row")?;
        server.run_ok("systemctl is-system-running --wait || true")?;
        assert_eq!(server.state()?.reboots, 3);
        assert_eq!(rejection(server, &subject)?.units.len(), 1);
        server.power_off()
    })
}

/// systemd has given up on the boot, and refuses a plain reboot. Nobody is there to answer its prompt.
fn a_trial_that_ends_in_emergency_mode_reboots(debian: Debian) -> Result<()> {
    in_container("container-emergency", debian, |server| {
        proven(server, 1, &[])?;
        let mount = "[Mount]\nWhat=/dev/null\nWhere=/srv/data\nType=ext4\n";
        let subject = selected(
            server,
            2,
            &[
                ("etc/systemd/system/srv-data.mount", mount),
                (
                    "etc/systemd/system/local-fs.target.requires/srv-data.mount",
                    mount,
                ),
            ],
        )?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Rejected(2))?;
        server.wait_for("rebooting by force")?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        let cause = rejection(server, &subject)?;
        assert_eq!(units(&cause), ["srv-data.mount"]);
        assert_eq!(server.state()?.reboots, 1);
        Ok(())
    })
}
