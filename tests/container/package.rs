//! The Debian package, from the file that a user gets: installed, upgraded, removed and purged by real dpkg.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use lastgood::system::journal::message;
use lastgood_tests::container::{Boot, Container, Ended, Reach};
use lastgood_tests::debian::Debian;
use lastgood_tests::machine::Fact;
use lastgood_tests::package;
use lastgood_tests::scenario::{in_container, with_package};

use super::{NO_BOOT, proven, rejection, selected};

on_each_debian! {
    a_package_comes_and_goes_and_restarts_nothing,
    a_package_is_upgraded_in_the_middle_of_a_probation,
    a_package_that_the_machine_boots_with_is_not_removed,
    a_tarball_is_installed_as_its_text_says,
    restarts_that_somebody_asks_for_are_no_deaths_until_systemd_gives_up,
}

const INSTALL: &str = "apt-get install --yes /rig/lastgood.deb";
const UNITS: [&str; 5] = ["begin", "activate", "firewall", "assess", "bless"];

/// Holds up the assessment until somebody says so. A static program: needrestart has nothing against it.
const GATE: &str = "\
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/busybox sh -c 'until [ -e /run/go ]; do busybox sleep 0.1; done'
";

/// Which start of each unit that is active this is.
fn invocations(server: &Container) -> Result<BTreeMap<String, String>> {
    let shown = server.run_ok(
        "systemctl show --property=Id,InvocationID,ActiveState -- $(systemctl list-units --all --plain --no-legend | \
         awk '{print $1}')",
    )?;
    let units = shown.split("\n\n").filter_map(|unit| {
        let of = |key| unit.lines().find_map(|line| line.strip_prefix(key));
        let is_active = matches!(of("ActiveState=")?, "active" | "activating");
        // What is a login's or a command's comes and goes.
        let id = of("Id=")?.to_owned();
        let kind = id.rsplit('.').next();
        let is_kept = is_active && !matches!(kind, Some("scope" | "device"));
        is_kept.then_some(())?;
        Some((id, of("InvocationID=")?.to_owned()))
    });
    Ok(units.collect())
}

fn wait_until_booted(server: &Container) -> Result<()> {
    // Degraded is what a machine without a disk may be.
    server.run("until [ -S /run/systemd/private ]; do sleep 0.05; done; systemctl is-system-running --wait")?;
    Ok(())
}

fn links(server: &Container) -> Result<String> {
    server.run_ok("cd /etc/systemd/system && find . -name 'lastgood-*' | sort")
}

fn status_of_package(server: &Container) -> Result<String> {
    server.run_ok("dpkg-query --show --showformat='${Status}' lastgood")
}

fn a_package_comes_and_goes_and_restarts_nothing(debian: Debian) -> Result<()> {
    with_package("package-comes-and-goes", debian, |server| {
        server.add(1, &[])?;
        server.start(Boot::Uncounted(1))?;
        wait_until_booted(server)?;
        let before = invocations(server)?;
        assert!(
            before.contains_key("systemd-networkd.service"),
            "{before:?}"
        );
        let boot = server.run_ok("cat /proc/sys/kernel/random/boot_id")?;

        let said = server.run_ok(INSTALL)?;
        assert!(said.contains("lastgood: 'lastgood doctor' says"), "{said}");
        assert_eq!(invocations(server)?, before);
        let enabled = "./boot-complete.target.requires/lastgood-assess.service\n\
             ./multi-user.target.wants/lastgood-bless.service\n\
             ./sysinit.target.wants/lastgood-activate.service\n\
             ./sysinit.target.wants/lastgood-assess.service\n\
             ./sysinit.target.wants/lastgood-begin.service\n\
             ./sysinit.target.wants/lastgood-firewall.service";
        assert_eq!(links(server)?, enabled);
        for unit in UNITS {
            let unit = format!("lastgood-{unit}.service");
            assert_eq!(server.property(&unit, "ActiveState")?, "inactive");
            assert_eq!(server.property(&unit, "LoadState")?, "loaded");
        }
        // systemd's trigger.
        let known = server.run_ok("journalctl --list-catalog | grep -c ' lastgood: '")?;
        assert_eq!(known.trim(), message::ALL.len().to_string());
        let doctor = server.run("lastgood doctor")?;
        assert!(
            doctor.stdout.contains("units and generator are in place"),
            "{doctor:?}"
        );
        assert!(doctor.stdout.contains(">/etc/kernel/cmdline"), "{doctor:?}");
        server.run_ok("mkdir -p /etc/kernel && echo root=/dev/sda2 ro >/etc/kernel/cmdline")?;
        let doctor = server.run("lastgood doctor")?;
        assert!(!doctor.stdout.contains("/etc/kernel/cmdline"), "{doctor:?}");
        assert_eq!(server.run_ok("dpkg --verify lastgood")?, "");
        assert_eq!(
            server.run_ok("stat --format=%A:%U:%G /var/lib/lastgood/logs")?,
            "drwxr-x---:root:systemd-journal"
        );

        // Over itself. What the administrator has disabled stays so.
        server.run_ok("systemctl --no-reload disable lastgood-bless")?;
        server.run_ok("dpkg --install /rig/lastgood.deb")?;
        assert_eq!(invocations(server)?, before);
        let without = enabled.replace("./multi-user.target.wants/lastgood-bless.service\n", "");
        assert_eq!(links(server)?, without);

        // Nobody has used it.
        server.run_ok("dpkg --remove lastgood")?;
        assert_eq!(links(server)?, "");
        assert_eq!(
            server.property("boot-complete.target", "Requires")?.trim(),
            "sysinit.target"
        );
        assert_eq!(status_of_package(server)?, "deinstall ok config-files");
        server.run_ok(INSTALL)?;
        assert_eq!(links(server)?, enabled);
        server.run_ok("touch /var/lib/lastgood/lock /etc/.lastgood-etc-seal")?;
        server.run_ok("dpkg --purge lastgood")?;
        assert_eq!(links(server)?, "");
        let left = "find / -xdev -name '*lastgood*' -not -path '/proc/*' -not -path '/rig/*' -not -path '/nix/*'";
        assert_eq!(server.run_ok(left)?, "");
        assert_eq!(invocations(server)?, before);
        assert_eq!(server.run_ok("cat /proc/sys/kernel/random/boot_id")?, boot);
        server.power_off()
    })
}

/// A machine that is off, with the package, and a trial whose verdict waits for [`go`].
fn trial(server: &mut Container, more: &[(&str, &str)]) -> Result<()> {
    server.add(1, &[])?;
    server.start(Boot::Uncounted(1))?;
    wait_until_booted(server)?;
    server.run_ok(INSTALL)?;
    server.power_off()?;
    let mut changes = vec![
        ("etc/systemd/system/gate.service", GATE),
        (
            "etc/systemd/system/multi-user.target.wants/gate.service",
            GATE,
        ),
        (
            "etc/lastgood/lastgood.toml",
            "[health]\nrequired-units = [\"nginx.service\", \"gate.service\"]\nsettle-sec = 1\ndeadline-sec = 300\n\
             [firewall]\nruleset = \"etc/nftables.conf\"\n",
        ),
    ];
    changes.extend(more);
    let subject = selected(server, 2, &changes)?;
    server.starts_by_stage_2(&subject)?;
    server.start(Boot::Counted(2))?;
    server.wait_for(Fact::Begun(2))?;
    server.run_ok(
        "curl --silent --fail --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:80/",
    )?;
    Ok(())
}

fn go(server: &mut Container) -> Result<()> {
    server.run_ok("touch /run/go")?;
    server.wait_for(Fact::Proven(2))?;
    Ok(())
}

fn a_package_is_upgraded_in_the_middle_of_a_probation(debian: Debian) -> Result<()> {
    with_package("package-in-probation", debian, |server| {
        trial(server, &[])?;
        let own = |server: &Container| -> Result<BTreeMap<String, String>> {
            let mut all = invocations(server)?;
            all.retain(|unit, _| unit.starts_with("lastgood-"));
            Ok(all)
        };
        let before = invocations(server)?;
        let ours = own(server)?;
        assert_eq!(ours.len(), 5, "{ours:?}");
        let table = server.run_ok("nft --handle list ruleset")?;

        server.run_ok("dpkg --install /rig/lastgood.deb")?;
        assert_eq!(invocations(server)?, before);
        assert_eq!(server.run_ok("nft --handle list ruleset")?, table);
        assert_eq!(
            server.property("lastgood-assess.service", "ActiveState")?,
            "activating"
        );

        // The assessment runs from a file that is gone now, and so does everything of a C library that is.
        let said = server.run_ok(
            "cd /usr/lib/x86_64-linux-gnu && cp --preserve libc.so.6 libc.new && mv libc.new libc.so.6 && \
             DEBIAN_FRONTEND=noninteractive needrestart -r a -v 2>&1",
        )?;
        assert!(said.contains("lastgood-assess.service"), "{said}");
        assert_eq!(own(server)?, ours, "{said}");
        let after = invocations(server)?;
        assert_ne!(after["nginx.service"], before["nginx.service"], "{said}");

        // That somebody has restarted nginx is no fault of the generation.
        go(server)?;
        server.wait_for(NO_BOOT)?;
        let page = server.reach(80)?;
        assert!(matches!(&page, Reach::Page(_)), "{page:?}");
        server.power_off()
    })
}

fn a_package_that_the_machine_boots_with_is_not_removed(debian: Debian) -> Result<()> {
    with_package("package-stays", debian, |server| {
        trial(server, &[])?;
        let table = server.run_ok("nft --handle list ruleset")?;
        let before = invocations(server)?;
        // During the trial, with nothing proven; then with what runs proven. No boot partition is mounted.
        for is_proven in [false, true] {
            if is_proven {
                go(server)?;
                server.wait_for(NO_BOOT)?;
            }
            for how in ["--remove", "--purge"] {
                let refused = server.run(&format!("dpkg {how} lastgood"))?;
                assert_eq!(refused.status, 1, "{refused:?}");
                let said = refused.stderr.lines();
                let said = said.filter(|line| line.contains("/usr/bin/lastgood stays"));
                let said = said.collect::<Vec<_>>();
                assert_eq!(said.len(), 1, "{refused:?}");
                assert!(
                    said[0].contains(NO_BOOT) && said[0].contains("lastgood uninstall"),
                    "{said:?}"
                );
                assert!(status_of_package(server)?.ends_with(" ok installed"));
            }
            // Its own scripts take the loader off the boot partition, and apt takes away first what needs it.
            let refused = server.run("apt-get remove --yes systemd-boot")?;
            assert_eq!(refused.status, 100, "{refused:?}");
            let stays = server.run_ok("dpkg-query --show --showformat='${Status}' systemd-boot")?;
            assert_eq!(stays, "install ok installed");
            server.run_ok("test -x /usr/bin/lastgood -a -s /var/lib/lastgood/ledger.jsonl")?;
            assert_eq!(links(server)?.lines().count(), 6);
            assert_eq!(server.run_ok("nft --handle list ruleset")?, table);
            let after = invocations(server)?;
            for (unit, invocation) in &before {
                assert_eq!(after.get(unit).context("it is gone")?, invocation, "{unit}");
            }
        }
        server.power_off()
    })
}

fn a_tarball_is_installed_as_its_text_says(debian: Debian) -> Result<()> {
    let tarball = package::tarball()?;
    let name = tarball.file_name().context("a name")?.to_string_lossy();
    let tree = name.trim_end_matches(".tar.gz");
    with_package("tarball", debian, |server| {
        server.write(&format!("/rig/{name}"), fs::read(&tarball)?)?;
        server.add(1, &[])?;
        server.start(Boot::Uncounted(1))?;
        wait_until_booted(server)?;
        let before = invocations(server)?;
        let modes = "stat --format='%n %a %u %g' /usr /usr/bin /usr/lib /usr/lib/systemd/system /usr/share /etc";
        let directories = server.run_ok(modes)?;
        // Unpacked by somebody else first, to read it.
        let text = server.run_ok(&format!(
            "cd /rig && umask 077 && tar -xzOf {name} {tree}/INSTALL"
        ))?;
        let (install, _) = text.split_once("To remove it").context("no other part")?;
        let commands: Vec<&str> = install
            .lines()
            .filter_map(|line| line.strip_prefix("       "))
            .collect();
        assert_eq!(commands.len(), 6, "{commands:?}");
        for _time in 0..2 {
            for command in &commands {
                let ended = server.run(&format!("cd /rig && umask 077 && {command}"))?;
                let may_be = i64::from(*command == "lastgood doctor");
                assert_eq!(ended.status, may_be, "{command}: {ended:?}");
                let is_there = ended.stdout.contains("units and generator are in place");
                assert!(may_be == 0 || is_there, "{ended:?}");
            }
        }
        assert_eq!(invocations(server)?, before);
        assert_eq!(server.run_ok(modes)?, directories);
        assert_eq!(links(server)?.lines().count(), 6);

        // What the Debian package has is there, with the same owner and mode, but for what only Debian reads.
        let listed = "dpkg-deb --fsys-tarfile /rig/lastgood.deb | tar -t | grep -v '/$' | sed 's/^.//' | \
             grep -v -e lintian -e changelog.Debian | sort | xargs stat --format='%n %a %u %g %F %s'";
        let of_tarball = server.run_ok(listed)?;
        server.run_ok("dpkg --install /rig/lastgood.deb")?;
        assert_eq!(server.run_ok(listed)?, of_tarball);
        server.power_off()
    })
}

/// What needrestart and packages' own scripts do to a service, a few times and then too often.
fn restarts_that_somebody_asks_for_are_no_deaths_until_systemd_gives_up(
    debian: Debian,
) -> Result<()> {
    const LIMITED: &str = "\
[Unit]
StartLimitIntervalSec=1h
StartLimitBurst=4
[Service]
ExecStart=/bin/sleep infinity
";
    let changes = [
        ("etc/systemd/system/limited.service", LIMITED),
        (
            "etc/systemd/system/multi-user.target.wants/limited.service",
            LIMITED,
        ),
        (
            "etc/lastgood/lastgood.toml",
            "[health]\nrequired-units = [\"limited.service\", \"gate.service\"]\nsettle-sec = 1\ndeadline-sec = 300\n",
        ),
        ("etc/systemd/system/gate.service", GATE),
        (
            "etc/systemd/system/multi-user.target.wants/gate.service",
            GATE,
        ),
    ];
    let restart = "systemctl restart limited.service";
    in_container("restarts-asked-for", debian, |server| {
        proven(server, 1, &[])?;
        selected(server, 2, &changes)?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Begun(2))?;
        server.run_ok("until systemctl is-active --quiet limited.service; do sleep 0.1; done")?;
        for _time in 0..3 {
            server.run_ok(restart)?;
        }
        go(server)?;
        server.wait_for(NO_BOOT)?;
        server.power_off()
    })?;
    in_container("restarts-too-often", debian, |server| {
        proven(server, 1, &[])?;
        let subject = selected(server, 2, &changes)?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Begun(2))?;
        server.run_ok("until systemctl is-active --quiet limited.service; do sleep 0.1; done")?;
        for _time in 0..3 {
            server.run_ok(restart)?;
        }
        assert_ne!(server.run(restart)?.status, 0);
        server.wait_for(Fact::Rejected(2))?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        let cause = rejection(server, &subject)?;
        assert!(
            cause
                .summary
                .contains("required limited.service is at its start limit"),
            "{cause:?}"
        );
        Ok(())
    })
}
