//! systemd, asked and told directly: what the agent's client relies on, from a real one. What is said is in
//! `tests/src/bin/manager-story.rs`.

use anyhow::Result;
use lastgood_tests::container::{Boot, Container};
use lastgood_tests::debian::Debian;
use lastgood_tests::machine::Fact;
use lastgood_tests::scenario::in_container;

use crate::selected;

on_each_debian! {
    systemd_is_asked_and_told_over_its_private_socket,
}
on_debian_sid! {
    systemd_is_asked_and_told_over_its_private_socket,
}

/// Units by name, each with its text.
const UNITS: [(&str, &str); 19] = [
    (
        "rig-up.service",
        "[Service]\nExecStart=/bin/sh -c 'trap : USR1; while :; do sleep 1; done'\n",
    ),
    (
        "rig-other.service",
        "[Service]\nExecStart=/bin/sleep infinity\n",
    ),
    ("rig-broken.service", "no section\n"),
    ("rig-empty.service", "[Unit]\nDescription=nothing to run\n"),
    (
        "rig-refuses.service",
        "[Unit]\nRefuseManualStart=yes\n[Service]\nExecStart=/bin/true\n",
    ),
    (
        "rig-cycle-a.service",
        "[Unit]\nRequires=rig-cycle-b.service\nAfter=rig-cycle-b.service\n[Service]\nExecStart=/bin/true\n",
    ),
    (
        "rig-cycle-b.service",
        "[Unit]\nRequires=rig-cycle-a.service\nAfter=rig-cycle-a.service\n[Service]\nExecStart=/bin/true\n",
    ),
    (
        "rig-torn.target",
        "[Unit]\nRequires=rig-other.service rig-foe.service\n",
    ),
    (
        "rig-foe.service",
        "[Unit]\nConflicts=rig-other.service\n[Service]\nExecStart=/bin/sleep infinity\n",
    ),
    (
        "rig-fails.service",
        "[Service]\nType=oneshot\nExecStartPre=/bin/sh -c 'exit 4'\nExecStart=/bin/true\n",
    ),
    (
        "rig-needs-fails.service",
        "[Unit]\nRequires=rig-fails.service\nAfter=rig-fails.service\nStartLimitBurst=0\n[Service]\nExecStart=/bin/true\n",
    ),
    (
        "rig-asserts.service",
        "[Unit]\nAssertPathExists=/nowhere\n[Service]\nExecStart=/bin/true\n",
    ),
    (
        "rig-conditional.service",
        "[Unit]\nConditionPathExists=/nowhere\n[Service]\nExecStart=/bin/true\n",
    ),
    (
        "rig-late.service",
        "[Unit]\nAfter=rig-slow.service\nWants=rig-slow.service\nJobTimeoutSec=1\n[Service]\nExecStart=/bin/true\n",
    ),
    (
        "rig-slow.service",
        "[Service]\nType=oneshot\nExecStart=/bin/sleep 2\n",
    ),
    (
        "rig-a.service",
        "[Unit]\nRequisite=rig-b.service\nAfter=rig-b.service\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n",
    ),
    (
        "rig-b.service",
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sleep 0.2\n",
    ),
    (
        "rig-chain@.service",
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n",
    ),
    (
        "rig-user.service",
        "[Service]\nType=notify\nUser=1234\nEnvironment=XDG_RUNTIME_DIR=/run/user/1234 HOME=/tmp\nExecStartPre=+/bin/install -d -o 1234 /run/user/1234\nExecStart=/usr/lib/systemd/systemd --user\nDelegate=yes\n",
    ),
];

fn systemd_is_asked_and_told_over_its_private_socket(debian: Debian) -> Result<()> {
    in_container("container-manager", debian, |server| {
        selected(server, 1, &[])?;
        let units = "/etc/systemd/system";
        for (name, text) in UNITS {
            server.write(&format!("{units}/{name}"), text)?;
        }
        for number in 0..99 {
            let next = number + 1;
            server.write(
                &format!("{units}/rig-chain@{number}.service.d/next.conf"),
                format!(
                    "[Unit]\nRequisite=rig-chain@{next}.service\nAfter=rig-chain@{next}.service\n"
                ),
            )?;
        }
        server.start(Boot::Counted(1))?;
        server.wait_for(Fact::Proven(1))?;
        server.run_ok("echo rig:x:1234:1234::/tmp:/bin/sh >>/etc/passwd")?;
        server.run_ok("ln -s /dev/null /etc/systemd/system/rig-masked.service")?;
        server.run_ok("systemctl daemon-reload && systemctl start rig-user.service")?;
        for story in [
            "refusals",
            "properties",
            "results",
            "together",
            "signals",
            "user",
            "reexecute",
        ] {
            told(server, story)?;
        }
        let generator = "#!/bin/sh\nsleep 4\n";
        server.run_ok(&format!(
            "mkdir -p /etc/systemd/system-generators && cd /etc/systemd/system-generators && \
             printf '{generator}' > slow && chmod +x slow"
        ))?;
        told(server, "slow-generator")
    })
}

fn told(server: &Container, story: &str) -> Result<()> {
    let program = env!("CARGO_BIN_EXE_manager-story");
    let output = server.run_beside(program, &[story])?;
    anyhow::ensure!(output.status == 0, "{story}: {output:?}");
    Ok(())
}
