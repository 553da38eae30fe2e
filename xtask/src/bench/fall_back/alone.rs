//! What systemd takes by itself, without the agent: what no agent's way back can be quicker than.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use lastgood_tests::machine::Machine;
use lastgood_tests::patience::Patience;

use super::{Clock, PATIENCE, served};

/// Nothing of ours is started by this systemd any more, until the kernel is started anew. The closure's units stay; and the
/// guest agent comes back without a new device that wants it.
const WITHOUT_THE_AGENT: &str =
    "systemctl add-wants --runtime multi-user.target qemu-guest-agent.service
    for unit in /usr/lib/systemd/system/lastgood-*.service
    do ln -s /dev/null /run/systemd/system/${unit##*/}
    done
    systemctl daemon-reload";

/// Says when something is asked for, the guest and this host.
const ASKED: &str = "date +%s.%N >/root/faults; echo rig: asked >/dev/console";

/// From a request until the server runs: to read all units again and start it, and a soft-reboot where there is one.
pub(super) fn measure(
    vm: &mut Machine,
    clock: Clock,
    has_soft_reboot: bool,
) -> Result<Vec<(&'static str, Duration)>> {
    vm.run_ok(WITHOUT_THE_AGENT)?;
    let reload = "systemctl daemon-reload && systemctl start nginx";
    vm.run_ok("systemctl stop nginx")?;
    let mut all = vec![("systemd alone, a reload", took(vm, clock, reload)?)];
    if has_soft_reboot {
        let request = "systemctl --no-block soft-reboot";
        all.push(("systemd alone, a soft-reboot", took(vm, clock, request)?));
    }
    Ok(all)
}

/// How long after `request` the server runs that did not run before, or was ended by it.
fn took(vm: &mut Machine, clock: Clock, request: &str) -> Result<Duration> {
    const SINCE: &str = "systemctl show --value --property=ActiveEnterTimestampMonotonic nginx";
    let before = vm.run_ok(SINCE)?;
    // After the guest agent has answered, which may be ended by it.
    vm.run_ok(&format!(
        "{{ sleep 1; {ASKED}; {request}; }} >/dev/null 2>&1 &"
    ))?;
    let asked = vm.wait_for("rig: asked", PATIENCE)?.at;
    let mut patience = Patience::of(PATIENCE);
    // So it may leave a question unanswered.
    while !vm
        .run(SINCE)
        .is_ok_and(|said| is_later(&said.stdout, &before))
    {
        ensure!(
            !patience.is_over(),
            "the server does not run again after `{request}`"
        );
        thread::sleep(Duration::from_secs(1));
    }
    served(vm, clock, asked)
}

/// What is 0, or nothing, is not since when something runs.
fn is_later(now: &str, before: &str) -> bool {
    let of = |text: &str| text.trim().parse::<u64>().unwrap_or(0);
    of(now) > of(before)
}
