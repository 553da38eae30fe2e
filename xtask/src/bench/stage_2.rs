//! What stage 2 adds to a boot: the time from the initrd's last word to systemd's first one, by the kernel's clock,
//! which counts instructions here.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lastgood_tests::closures::Variant;
use lastgood_tests::machine::Machine;
use lastgood_tests::scenario::scenario;
use lastgood_tests::story::{VERDICT, first_boot};

use crate::output;

/// How often a boot is measured, besides the first one of a closure.
const TIMES: usize = 2;

/// A boot that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    /// `init` leads to systemd.
    Without,
    /// `init` leads to stage 2, which finds everything in place.
    Again,
    /// `init` leads to stage 2, which puts everything in place.
    First,
}

/// What was measured.
#[derive(Debug, Clone, Copy)]
struct Boot {
    /// From the initrd's last word to systemd's first.
    between: Duration,
    /// Of that, until stage 2 says that all is in place. Nothing without it.
    stage_2: Duration,
    /// From the kernel's start to multi-user.target.
    whole: Duration,
}

/// Boots closures with so many files in `/etc`, each with stage 2 and without it, in turns.
pub(super) fn run(counts: &[u64]) -> Result<()> {
    scenario("bench-stage-2", |vm| {
        vm.count_instructions();
        first_boot(vm)?;
        vm.wait_for("blessed: generation 1", VERDICT)?;
        output::line(&format!(
            "\nfrom the initrd's last word to systemd's first, and from the kernel's start to multi-user.target; in instructions \
             of 8 ns; median and least of {TIMES}"
        ));
        for (at, count) in (2..).zip(counts) {
            measure(vm, at, *count)?;
        }
        vm.power_off()
    })
}

fn measure(vm: &mut Machine, generation: u64, count: u64) -> Result<()> {
    let toplevel = add(vm, generation, count)?;
    let first = boot(vm, &toplevel, Case::First)?;
    let (mut without, mut again) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        without.push(boot(vm, &toplevel, Case::Without)?);
        again.push(boot(vm, &toplevel, Case::Again)?);
    }
    for (case, boots) in [
        (Case::Without, &without[..]),
        (Case::Again, &again),
        (Case::First, &[first]),
    ] {
        let (between, whole) = (
            median(boots, |boot| boot.between),
            median(boots, |boot| boot.whole),
        );
        let least = boots.iter().map(|boot| boot.between).min();
        let stage_2 = median(boots, |boot| boot.stage_2);
        output::line(&format!(
            "{count:6} files, {:24}  {:7.1} {:7.1} ms, {:6.2} s; stage 2: {:6.1} ms, {:4.2} % of the boot",
            case.name(),
            ms(between),
            ms(least.unwrap_or_default()),
            whole.as_secs_f64(),
            ms(stage_2),
            100.0 * stage_2.as_secs_f64() / whole.as_secs_f64()
        ));
    }
    Ok(())
}

impl Case {
    fn name(self) -> &'static str {
        match self {
            Self::Without => "without stage 2",
            Self::Again => "all in place",
            Self::First => "nothing in place",
        }
    }

    fn init(self) -> &'static str {
        match self {
            Self::Without => "/usr/lib/systemd/systemd",
            Self::Again | Self::First => "/usr/bin/lastgood",
        }
    }
}

/// Makes a closure with `count` links more in its `etc`, a hundred in a directory, and installs it.
fn add(vm: &mut Machine, generation: u64, count: u64) -> Result<String> {
    let one = vm.toplevel(Variant::One)?;
    let toplevel = format!("/nix/store/{count:032}-nixos-system-rig-bench");
    let profiles = "/nix/var/nix/profiles";
    vm.run_ok(&format!(
        "set -eu
        cp -a {one} {toplevel}
        sed -i 's#{one}#{toplevel}#g' {toplevel}/boot.json
        for last in $(seq 100 100 {count}); do
            mkdir -p {toplevel}/etc/bench/$last
            seq $((last - 99)) $last | sed 's#.*#/nix/store/bench/&.conf#' | xargs ln -s -t {toplevel}/etc/bench/$last
        done
        ln -sfn {toplevel} {profiles}/system-{generation}-link
        ln -sfn system-{generation}-link {profiles}/system
        lastgood --quiet install {toplevel}
        lastgood --quiet good {generation}"
    ))?;
    Ok(toplevel)
}

fn boot(vm: &mut Machine, toplevel: &str, case: Case) -> Result<Boot> {
    vm.run_ok(&format!("ln -sfn {} {toplevel}/init && sync", case.init()))?;
    vm.reboot()?;
    vm.wait_until_settled()?;
    let log = vm.run_ok("dmesg")?;
    let stages = log.matches("lastgood-stage-2: in place: ").count();
    ensure!(
        stages == usize::from(case != Case::Without),
        "{stages} runs of stage 2: {log}"
    );
    let over = stamp(&log, "initrd: over")?;
    let between = stamp(&log, "systemd[1]: systemd ")?.saturating_sub(over);
    let stage_2 = match case {
        Case::Without => Duration::ZERO,
        _ => stamp(&log, "lastgood-stage-2: in place: ")?.saturating_sub(over),
    };
    let entered =
        vm.run_ok("systemctl show --value -p ActiveEnterTimestampMonotonic multi-user.target")?;
    let whole = Duration::from_micros(entered.trim().parse()?);
    Ok(Boot {
        between,
        stage_2,
        whole,
    })
}

/// The kernel's time of the line that says `what`.
fn stamp(log: &str, what: &str) -> Result<Duration> {
    let line = log.lines().find(|line| line.contains(what));
    let line = line.with_context(|| format!("the kernel's log has no {what:?}"))?;
    let (stamp, _) = line.split_once(']').context("no time")?;
    let seconds: f64 = stamp.trim_start_matches('[').trim().parse()?;
    Ok(Duration::from_secs_f64(seconds))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(boots: &[Boot], of: impl Fn(&Boot) -> Duration) -> Duration {
    let mut times: Vec<Duration> = boots.iter().map(of).collect();
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
