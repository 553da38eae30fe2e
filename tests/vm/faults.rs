//! One bad generation after the other on one machine: each is judged, named and left, and the machine is back on the good
//! one. What is wrong with each is a line or two of shell.
//!
//! On Debian 12 the way back is a reboot, on Debian 13 a soft-reboot.

use std::time::Duration;

use anyhow::{Result, ensure};
use lastgood_tests::broken::{self, Broken};
use lastgood_tests::closures::Variant;
use lastgood_tests::debian::Debian;
use lastgood_tests::image::Kind;
use lastgood_tests::machine::{BOOT, Fact, Machine};
use lastgood_tests::scenario::scenario_of;
use lastgood_tests::story::{VERDICT, blessed_first_boot, is_back, json};

/// A fault that a verdict names.
#[derive(Debug, Clone, Copy)]
struct Case {
    broken: Broken<'static>,
    /// What is done to the closure when it is installed, and `install` can refuse it no more. The closure is `$out`.
    later: &'static str,
    /// The key of a fault that it is rejected for.
    blamed: &'static str,
    /// systemd refuses a soft-reboot there.
    is_emergency: bool,
}

const fn case(name: &'static str, change: &'static str, blamed: &'static str) -> Case {
    Case {
        broken: Broken { name, change },
        later: "",
        blamed,
        is_emergency: false,
    }
}

/// From power-on to a verdict that comes at a closure's own deadline, which is a minute.
const AT_DEADLINE: Duration = VERDICT.saturating_add(Duration::from_mins(2));

const PORT_CLOSED: Case = case(
    "port closed",
    "sed -i '/listen 443/d' $out/etc/nginx/nginx.conf",
    "listener:tcp/443",
);

const FLAPS: Case = case(
    "flaps",
    "printf '[Unit]\\nStartLimitIntervalSec=0\\n[Service]\\nExecStart=/bin/sh -c \"sleep 1; exit 3\"\\nRestart=always\\nRestartSec=1\\n' >$out/etc/systemd/system/flaps.service
    ln -s ../flaps.service $out/etc/systemd/system/multi-user.target.wants/",
    "unit:flaps.service",
);

const FAILS_LATE: Case = case(
    "fails late",
    "printf '[Service]\\nExecStart=/bin/sh -c \"sleep 60; echo gave up; exit 3\"\\n' >$out/etc/systemd/system/late.service
    ln -s ../late.service $out/etc/systemd/system/multi-user.target.wants/
    sed -i -e 's/^settle-sec = 4/settle-sec = 90/' -e 's/^deadline-sec = 60/deadline-sec = 240/' $out/etc/lastgood/lastgood.toml",
    "unit:late.service",
);

const SCRIPT_FAILS: Case = case(
    "script fails",
    "printf '#!/bin/sh\\necho no room for it >&2\\nexit 7\\n' >$out/activate && chmod 755 $out/activate
    printf '[activation]\\nscript = \"activate\"\\n' >>$out/etc/lastgood/lastgood.toml",
    "activation",
);

const HANGS: Case = case(
    "hangs",
    "printf '[Service]\\nType=oneshot\\nExecStart=/bin/sleep infinity\\nTimeoutStartSec=infinity\\n' >$out/etc/systemd/system/hangs.service
    ln -s ../hangs.service $out/etc/systemd/system/multi-user.target.wants/",
    "unit:hangs.service",
);

/// What `install` refuses, so it becomes so afterwards, as a damaged disk makes it.
const FIREWALL_INVALID: Case = Case {
    later: "echo 'table inet x {' >>$out/etc/nftables.conf; sync",
    ..case("firewall invalid", "", "firewall")
};

/// A mount that local-fs.target requires: systemd goes to emergency mode, and refuses soft-reboot and reboot while the jobs of
/// that are queued. By force it reboots.
const EMERGENCY: Case = Case {
    is_emergency: true,
    ..case(
    "emergency",
    "printf '[Mount]\\nWhat=/dev/disk/by-label/nobody\\nWhere=/srv\\n[Unit]\\nJobTimeoutSec=5\\n' >$out/etc/systemd/system/srv.mount
    mkdir -p $out/etc/systemd/system/local-fs.target.requires
    ln -s ../srv.mount $out/etc/systemd/system/local-fs.target.requires/
    mkdir -p $out/etc/systemd/system/dev-disk-by\\\\x2dlabel-nobody.device.d
    printf '[Unit]\\nJobTimeoutSec=3\\n' >$out/etc/systemd/system/dev-disk-by\\\\x2dlabel-nobody.device.d/soon.conf",
    "unit:local-fs.target",
)
};

/// The bad one is booted, judged and left, and what was healthy before is healthy again.
fn is_left(vm: &mut Machine, debian: Debian, case: Case) -> Result<()> {
    vm.chapter(case.broken.name);
    let change = format!("{}{}", broken::SOON, case.broken.change);
    let broken = Broken {
        change: &change,
        ..case.broken
    };
    let number = broken::deploy(vm, Variant::One, broken)?;
    if !case.later.is_empty() {
        let out = broken::toplevel(number, case.broken);
        vm.run_ok(&format!("out={out}; {}", case.later))?;
    }
    let before = vm.boots();
    vm.reboot()?;
    vm.wait_for(Fact::Begun(number), BOOT)?;
    vm.wait_for(Fact::Rejected(number), AT_DEADLINE)?;
    let boots = if debian == Debian::Twelve || case.is_emergency {
        vm.wait_for(Fact::LoaderStarted, VERDICT)?;
        2
    } else {
        vm.wait_for("going down by soft-reboot", VERDICT)?;
        1
    };
    vm.wait_for(Fact::Begun(1), VERDICT)?;
    vm.wait_for(Fact::Proven(1), VERDICT)?;
    is_well(vm, number, case.blamed)?;
    ensure!(
        vm.boots() == before + boots,
        "{} boots by the loader",
        vm.boots() - before
    );
    Ok(())
}

/// Generation 1 runs, is what boots next, and `why` names what generation `bad` was rejected for.
fn is_well(vm: &mut Machine, bad: u32, blamed: &str) -> Result<()> {
    is_back(vm, bad)?;
    vm.wait_for_ssh(BOOT)?;
    let why = json(vm, &format!("why {bad}"))?;
    let faults = why["cause"]["faults"].as_array();
    let mut keys = faults.into_iter().flatten().map(|fault| &fault["key"]);
    ensure!(keys.any(|key| key == blamed), "no {blamed:?} in {why}");
    vm.note(format!("why {bad}: {}", why["cause"]["summary"]));
    Ok(())
}

fn all_are_left(name: &str, debian: Debian, cases: &[Case]) -> Result<()> {
    scenario_of(debian, Kind::Quick, name, |vm| {
        blessed_first_boot(vm)?;
        for case in cases {
            is_left(vm, debian, *case)?;
        }
        vm.power_off()
    })
}

/// The most telling ones, by soft-reboots.
#[test]
fn what_a_verdict_names_is_left_on_debian_13() -> Result<()> {
    let cases = [PORT_CLOSED, FIREWALL_INVALID, EMERGENCY];
    all_are_left("faults", Debian::Thirteen, &cases)
}

#[test]
fn long_what_a_verdict_names_is_left_by_a_reboot() -> Result<()> {
    let cases = [
        PORT_CLOSED,
        SCRIPT_FAILS,
        FIREWALL_INVALID,
        FLAPS,
        HANGS,
        FAILS_LATE,
        EMERGENCY,
    ];
    all_are_left("faults", Debian::Twelve, &cases)
}

#[test]
fn long_more_that_a_verdict_names_is_left_on_debian_13() -> Result<()> {
    let cases = [SCRIPT_FAILS, HANGS, FLAPS, FAILS_LATE];
    all_are_left("more-faults", Debian::Thirteen, &cases)
}
