//! What activation does beyond `/etc`: the closure's own script on a plain host, and what NixOS has done before.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::Result;
use lastgood::state::Subject;
use lastgood::state::fault::Fault;
use lastgood_tests::container::{Boot, Container, Ended};
use lastgood_tests::debian::Debian;
use lastgood_tests::machine::Fact;
use lastgood_tests::scenario::in_container;

use crate::{proven, rejection, selected, units};

on_each_debian! {
    the_closures_own_script_runs_after_etc_and_its_failure_is_the_generations,
    a_script_that_hangs_is_ended_with_all_that_it_started,
    an_activation_by_nixos_that_did_not_end_well_is_known,
}

/// Asks for a script, with this deadline.
fn asks(seconds: u64) -> String {
    format!(
        "[health]\nrequired-units = [\"nginx.service\"]\nsettle-sec = 1\ndeadline-sec = 20\n\n\
         [firewall]\nruleset = \"etc/nftables.conf\"\n\n\
         [activation]\nscript = \"activate\"\ndeadline-sec = {seconds}\n"
    )
}

fn executable(server: &Container, subject: &Subject) -> Result<()> {
    let script = server.disk().join(subject.toplevel.join("activate"));
    Ok(fs::set_permissions(
        script,
        fs::Permissions::from_mode(0o755),
    )?)
}

fn the_closures_own_script_runs_after_etc_and_its_failure_is_the_generations(
    debian: Debian,
) -> Result<()> {
    in_container("container-script", debian, |server| {
        let config = asks(5);
        let good = "#!/bin/sh\nset -e\ntest -e /etc/static/nginx/nginx.conf\necho \"$1\" > /var/lib/activated\necho did it\n";
        let subject = proven(
            server,
            1,
            &[("etc/lastgood/lastgood.toml", &config), ("activate", good)],
        )?;
        executable(server, &subject)?;
        server.start(Boot::Uncounted(1))?;
        server.wait_for("activate: did it")?;
        server.wait_for("activated: ")?;
        assert_eq!(
            server.run_ok("cat /var/lib/activated")?,
            subject.toplevel.display().to_string()
        );
        server.power_off()?;

        let bad = selected(
            server,
            2,
            &[
                ("etc/lastgood/lastgood.toml", &config),
                ("activate", "#!/bin/sh\necho no such user >&2\nexit 3\n"),
            ],
        )?;
        executable(server, &bad)?;
        server.start(Boot::Counted(2))?;
        server.wait_for("exit status: 3: no such user")?;
        server.wait_for(Fact::Rejected(2))?;
        assert_eq!(server.wait_until_ended()?, Ended::Reboot);
        let cause = rejection(server, &bad)?;
        assert_eq!(cause.faults[0], Fault::Activation);
        assert_eq!(units(&cause)[0], "lastgood-activate.service");
        assert!(
            cause.units[0].log.join("\n").contains("no such user"),
            "{cause:?}"
        );
        Ok(())
    })
}

/// It and all that it has started end at its deadline, long before systemd's own for the unit.
fn a_script_that_hangs_is_ended_with_all_that_it_started(debian: Debian) -> Result<()> {
    in_container("container-script-hangs", debian, |server| {
        proven(server, 1, &[])?;
        let slow = "#!/bin/sh\nsleep 1000 &\nexec sleep 2000\n";
        let subject = proven(
            server,
            2,
            &[("etc/lastgood/lastgood.toml", &asks(1)), ("activate", slow)],
        )?;
        executable(server, &subject)?;
        // The last good one stays up, so that one can look.
        server.start(Boot::Uncounted(2))?;
        server.wait_for("took longer than 1 s and was ended")?;
        server.wait_for(Fact::Degraded(2))?;
        let left = server.run("pgrep -x sleep")?;
        assert_eq!(left.stdout, "");
        server.power_off()
    })
}

/// What real systemd and journald tell of an activation that NixOS did. The host is made one by its marker: no NixOS
/// was booted.
fn an_activation_by_nixos_that_did_not_end_well_is_known(debian: Debian) -> Result<()> {
    in_container("container-nixos", debian, |server| {
        selected(server, 1, &[])?;
        server.start(Boot::Counted(1))?;
        server.wait_for(Fact::Proven(1))?;
        server.run_ok("touch /etc/NIXOS && mv /usr/lib/os-release /usr/lib/os-release.away")?;
        // As NixOS has its programs.
        server.run_ok(
            "top=$(readlink -f /run/booted-system) && mkdir -p $top/sw && ln -sfn /usr/bin $top/sw/bin",
        )?;
        let activate = |server: &Container| server.run("lastgood step activate");
        let well = activate(server)?;
        assert_eq!(well.status, 0, "{well:?}");

        server.run_ok("logger -t stage-2-init \"Activation script snippet 'users' failed (1)\"")?;
        server.run_ok("systemd-run --unit=initrd-nixos-activation.service --service-type=oneshot false || true")?;
        server.run_ok("ln -sfn /nix/store/other /etc/static && journalctl --sync")?;
        let badly = activate(server)?;
        assert_eq!(badly.status, 1);
        for told in [
            "/etc/static is /nix/store/other, and not ",
            "initrd-nixos-activation.service failed in the initrd (exit-code)",
        ] {
            assert!(badly.stderr.contains(told), "{told}: {badly:?}");
        }
        let snippets = server.run_ok("cat /run/lastgood/snippets.json")?;
        assert_eq!(snippets, "[\"users\"]");
        server.power_off()
    })
}
