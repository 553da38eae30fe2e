//! What systemd and its generators read before a unit of ours can run: with a stage 2 it is the booted generation's, and
//! without one the agent knows that it was not.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use lastgood::state::{Standing, Subject};
use lastgood_tests::container::{Boot, Container, Ended};
use lastgood_tests::debian::Debian;
use lastgood_tests::machine::Fact;
use lastgood_tests::scenario::in_container;

use crate::{BROKEN_NGINX, proven, rejection, selected};

on_each_debian! {
    systemd_reads_what_stage_2_has_put_there,
    a_boot_that_read_another_generations_files_proves_nothing,
    a_boot_that_read_another_generations_files_rejects_nothing,
    a_broken_fstab_is_its_own_generations,
    systemd_is_started_whatever_becomes_of_stage_2,
}

/// PID 1 reads it when it starts, and says what it has read.
const READ_EARLY: (&str, &str) = (
    "etc/systemd/system.conf.d/rig.conf",
    "[Manager]\nDefaultTimeoutStartSec=77\n",
);

/// A mount that cannot be made. It takes the machine to the emergency prompt.
const BROKEN_FSTAB: (&str, &str) = ("etc/fstab", "tmpfs /srv tmpfs no-such-option 0 0\n");

/// What PID 1 has read.
fn has_read(server: &Container) -> Result<bool> {
    let read = server.run_ok("systemctl show --value --property=DefaultTimeoutStartUSec")?;
    Ok(read == "1min 17s")
}

/// What of `/etc` was put in place after systemd had read it.
fn late(server: &Container) -> Result<Vec<String>> {
    let late = server.state()?.late;
    Ok(late.iter().map(|path| path.display().to_string()).collect())
}

fn standing(server: &Container, subject: &Subject) -> Result<Standing> {
    Ok(server.state()?.standing(subject))
}

fn systemd_reads_what_stage_2_has_put_there(debian: Debian) -> Result<()> {
    in_container("container-stage-2", debian, |server| {
        let subject = selected(server, 1, &[READ_EARLY])?;
        server.starts_by_stage_2(&subject)?;
        server.start(Boot::Counted(1))?;
        server.wait_for(Fact::Proven(1))?;
        assert!(has_read(server)?);
        assert_eq!(late(server)?, [""; 0]);
        assert_eq!(
            server.run_ok("readlink -f /run/current-system")?,
            subject.toplevel.display().to_string()
        );
        let left = server.run_ok("cat /run/lastgood/stage-2.json")?;
        assert!(left.contains("\"problems\":[]"), "{left}");
        server.power_off()
    })
}

/// A closure whose `init` is systemd itself: its first boot has read another's files, and proves nothing.
fn a_boot_that_read_another_generations_files_proves_nothing(debian: Debian) -> Result<()> {
    in_container("container-late", debian, |server| {
        let subject = selected(server, 1, &[READ_EARLY])?;
        server.start(Boot::Counted(1))?;
        server.wait_for("files of another generation were read in this boot")?;
        server.wait_for("not blessed: generation 1 is healthy")?;
        assert!(!has_read(server)?);
        assert_eq!(late(server)?, ["systemd/system.conf.d/rig.conf"]);
        assert_eq!(standing(server, &subject)?, Standing::Trial);
        server.power_off()?;
        server.start(Boot::Counted(1))?;
        server.wait_for(Fact::Proven(1))?;
        assert!(has_read(server)?);
        assert_eq!(late(server)?, [""; 0]);
        server.power_off()
    })
}

/// What fails in such a boot is nobody's fault yet: the same generation is tried again with its own files.
fn a_boot_that_read_another_generations_files_rejects_nothing(debian: Debian) -> Result<()> {
    in_container("container-late-bad", debian, |server| {
        proven(server, 1, &[])?;
        let subject = selected(server, 2, &[READ_EARLY, BROKEN_NGINX])?;
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Degraded(2))?;
        server.wait_for(Fact::Rebooting(2))?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        assert_eq!(standing(server, &subject)?, Standing::Trial);

        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Rejected(2))?;
        server.wait_for(Fact::Rebooting(1))?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        assert!(!rejection(server, &subject)?.units.is_empty());

        // The fallback has turned `/etc` to where it goes, before it rebooted.
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;
        assert!(!has_read(server)?);
        assert_eq!(late(server)?, [""; 0]);
        server.power_off()
    })
}

/// A generation's `fstab` that cannot be mounted: judged in its first boot, and no trouble of the one that comes after.
fn a_broken_fstab_is_its_own_generations(debian: Debian) -> Result<()> {
    in_container("container-fstab", debian, |server| {
        let good = proven(server, 1, &[])?;
        let bad = selected(server, 2, &[BROKEN_FSTAB])?;
        for subject in [&good, &bad] {
            server.starts_by_stage_2(subject)?;
        }
        server.start(Boot::Counted(2))?;
        server.wait_for(Fact::Rejected(2))?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        assert_eq!(standing(server, &bad)?, Standing::Rejected);
        server.start(Boot::Uncounted(1))?;
        server.wait_for(Fact::Proven(1))?;
        assert_eq!(
            server.run_ok("systemctl is-active local-fs.target")?,
            "active"
        );
        server.power_off()
    })
}

/// Whatever becomes of the work: systemd is started, and the boot proves nothing.
fn systemd_is_started_whatever_becomes_of_stage_2(debian: Debian) -> Result<()> {
    in_container("container-stage-2-broken", debian, |server| {
        let subject = selected(server, 1, &[READ_EARLY])?;
        server.starts_by_stage_2(&subject)?;
        // Somebody else's: it cannot be switched.
        server.write("/etc/static/mine", "")?;
        server.start(Boot::Counted(1))?;
        server.wait_for("cannot switch /etc/static")?;
        server.wait_for(Fact::Degraded(1))?;
        assert_eq!(standing(server, &subject)?, Standing::Trial);
        server.power_off()
    })
}

/// Nobody knows what systemd has read then. One release is enough: systemd has no part in it, and it takes a minute.
#[test]
fn a_stage_2_that_dies_proves_nothing() -> Result<()> {
    in_container("container-stage-2-dies", Debian::Twelve, |server| {
        let subject = selected(server, 1, &[])?;
        server.starts_by_stage_2(&subject)?;
        // The ledger does not answer. What comes after stage 2 finds it as it was.
        server.write(
            "/rig/before",
            "cd /var/lib/lastgood\nmv ledger.jsonl kept\nmkfifo ledger.jsonl\n(sleep 30; mv kept ledger.jsonl) &\ncd /\n",
        )?;
        server.start(Boot::Counted(1))?;
        server.wait_longer(
            "it took longer than 60 s, and was ended",
            Duration::from_mins(2),
        )?;
        server.wait_for("not blessed: generation 1 is healthy")?;
        assert_eq!(late(server)?, ["static"]);
        assert_eq!(standing(server, &subject)?, Standing::Trial);
        server.power_off()?;

        fs::remove_file(server.disk().join("/rig/before"))?;
        server.start(Boot::Counted(1))?;
        server.wait_for(Fact::Proven(1))?;
        server.power_off()
    })
}
