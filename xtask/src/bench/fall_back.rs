//! From the fault to served again, by each way back, on one machine, in turns; and what the agent's steps take of a boot.
//!
//! By the guest's clocks, which count instructions here, its date as well, so that what else this host does has no part in
//! it. Or by this host's clock, on a host that does nothing else.

mod alone;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lastgood_tests::broken::{self, Broken};
use lastgood_tests::closures::Variant;
use lastgood_tests::debian::Debian;
use lastgood_tests::files;
use lastgood_tests::image::Kind;
use lastgood_tests::machine::{Fact, Machine};
use lastgood_tests::scenario::scenario_of;
use lastgood_tests::story::page_says;

use crate::output;

/// How long a boot may take. Counting instructions is slow, and a busy host makes it slower.
const PATIENCE: Duration = Duration::from_mins(15);

/// The host's own part of the server's unit, in every generation: it says when the server has failed.
const SAYS_WHEN: &str = "mkdir -p /etc/systemd/system/nginx.service.d
    cat >/etc/systemd/system/nginx.service.d/bench.conf <<'END'
[Service]
ExecStopPost=/bin/sh -c 'test $SERVICE_RESULT = success || { date +%%s.%%N >>/root/faults; sync /root/faults; echo rig: fault >/dev/console; }'
END
    sync /etc/systemd/system/nginx.service.d/bench.conf";

/// How much is measured.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How often each way is taken
    #[arg(long, default_value_t = 3)]
    times: usize,
    /// Only this release of Debian
    #[arg(long, value_parser = ["12", "13"])]
    debian: Option<String>,
    /// Only this way, or these
    #[arg(long, value_enum)]
    way: Vec<Way>,
    /// Whose clock says how long it took
    #[arg(long, value_enum, default_value_t = Clock::Guest)]
    clock: Clock,
    /// Keep here what the journal and systemd say of each way, to see where the time goes
    #[arg(long, value_name = "DIRECTORY")]
    keep: Option<PathBuf>,
}

/// What times are taken by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Clock {
    /// The guest's, of which an instruction takes 8 ns, whatever it is
    Guest,
    /// This host's, which must have nothing else to do
    Host,
}

/// A way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Way {
    /// Without the agent: the unit reboots the machine when it fails, and the loader counts three tries.
    Counting,
    Reboot,
    SoftReboot,
    /// The server's unit is another one as well, so that systemd has to read its units first.
    LiveUnits,
    /// The server's unit is the same.
    Live,
}

impl Way {
    /// Those there are on a release, the shortest first.
    fn on(debian: Debian) -> &'static [Self] {
        match debian {
            Debian::Twelve => &[Self::Live, Self::LiveUnits, Self::Reboot, Self::Counting],
            Debian::Thirteen | Debian::Sid => &[
                Self::Live,
                Self::LiveUnits,
                Self::SoftReboot,
                Self::Reboot,
                Self::Counting,
            ],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Counting => "boot counting alone",
            Self::Reboot => "reboot",
            Self::SoftReboot => "soft-reboot",
            Self::LiveUnits => "live, another unit",
            Self::Live => "live",
        }
    }

    /// Makes its closure: the same misspelt word in each, which the server meets in its start.
    fn change(self) -> String {
        const FAULT: &str = "sed -i 's/listen 80;/lissten 80;/' $out/etc/nginx/nginx.conf
            mkdir -p $out/etc/systemd/system/nginx.service.d\n";
        let more = match self {
            // Nothing of ours runs in its boot.
            Self::Counting => concat!(
                "printf '[Unit]\\nFailureAction=reboot\\n' >$out/etc/systemd/system/nginx.service.d/counting.conf\n",
                "sed -i 's/\"quiet\"/\"quiet\",\"systemd.mask=lastgood-begin.service\",\"systemd.mask=lastgood-assess.service\",\"systemd.mask=lastgood-bless.service\",\"systemd.mask=lastgood-fall-back.service\"/' $out/boot.json"
            ),
            Self::Reboot => "echo 'soft-reboot = false' >>$out/etc/lastgood/lastgood.toml",
            Self::SoftReboot => "true",
            Self::Live => "echo 'live = true' >>$out/etc/lastgood/lastgood.toml",
            Self::LiveUnits => concat!(
                "printf '[Service]\\nEnvironment=BENCH=1\\n' >$out/etc/systemd/system/nginx.service.d/another.conf\n",
                "echo 'live = true' >>$out/etc/lastgood/lastgood.toml"
            ),
        };
        [FAULT, more].concat()
    }
}

/// Measures on each release, and prints a table of each.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    for debian in Debian::ALL {
        let number = debian.name().trim_start_matches("debian-");
        if arguments.debian.as_ref().is_some_and(|only| only != number) {
            continue;
        }
        scenario_of(debian, Kind::Quick, "bench-fallback", |vm| {
            if arguments.clock == Clock::Guest {
                vm.count_instructions();
            }
            measure(vm, debian, arguments)
        })?;
    }
    Ok(())
}

fn measure(vm: &mut Machine, debian: Debian, arguments: &Arguments) -> Result<()> {
    let times = arguments.times;
    let keep = arguments.keep.as_deref();
    vm.power_on()?;
    vm.wait_for("blessed: generation 1", PATIENCE)?;
    vm.wait_until_settled()?;
    vm.run_ok(SAYS_WHEN)?;
    output::line(&format!(
        "\n{}: from the fault to served again, {}; median and least of {times}",
        debian.name(),
        match arguments.clock {
            Clock::Guest => "in instructions of 8 ns",
            Clock::Host => "by this host's clock",
        }
    ));
    let only = &arguments.way;
    let ways = Way::on(debian).iter().copied();
    let ways: Vec<Way> = ways
        .filter(|way| only.is_empty() || only.contains(way))
        .collect();
    let mut all: Vec<Vec<Duration>> = vec![Vec::new(); ways.len()];
    for _ in 0..times {
        for (way, times) in ways.iter().zip(&mut all) {
            let took = back(vm, *way, arguments.clock, keep)?;
            // As it goes: a round takes many boots.
            output::line(&format!("    {}: {:.1} s", way.name(), took.as_secs_f64()));
            times.push(took);
        }
    }
    let medians: Vec<f64> = all
        .iter_mut()
        .map(|times| median(times).as_secs_f64())
        .collect();
    for ((way, times), median) in ways.iter().zip(&all).zip(&medians) {
        let least = times.iter().min().copied().unwrap_or_default();
        let of: Vec<String> = medians
            .iter()
            .zip(&ways)
            .filter(|(_, other)| other != &way)
            .map(|(other, name)| format!("{:.2} of {}", median / other, name.name()))
            .collect();
        output::line(&format!(
            "{:20}  {median:6.1} {:6.1} s  {}",
            way.name(),
            least.as_secs_f64(),
            of.join(", ")
        ));
    }
    let has_soft_reboot = Way::on(debian).contains(&Way::SoftReboot);
    for (what, took) in alone::measure(vm, arguments.clock, has_soft_reboot)? {
        output::line(&format!("{what:28}  {:6.1} s", took.as_secs_f64()));
    }
    shares(vm, keep)?;
    vm.power_off()
}

/// One way, from the trial's first fault until the good one's server runs.
fn back(vm: &mut Machine, way: Way, clock: Clock, kept: Option<&Path>) -> Result<Duration> {
    vm.run_ok("rm -f /root/faults")?;
    let broken = Broken {
        name: way.name(),
        change: &way.change(),
    };
    let bad = broken::deploy(vm, Variant::One, broken)?;
    let before = vm.boots();
    vm.reboot()?;
    let said = vm.wait_for("rig: fault", PATIENCE)?.at;
    if way == Way::Counting {
        for _ in 0..2 {
            vm.wait_for("rig: fault", PATIENCE)?;
        }
    } else {
        vm.wait_for(Fact::Rejected(bad), PATIENCE)?;
    }
    // Served by then, for what it takes a loaded host to see.
    match way {
        Way::Live | Way::LiveUnits => vm.wait_for("fell-back: generation 1", PATIENCE)?,
        _ => vm.wait_for(Fact::Proven(1), PATIENCE)?,
    };
    page_says(vm, Variant::One)?;
    let boots = vm.boots() - before;
    let expected = match way {
        Way::Counting => 4,
        Way::Reboot => 2,
        Way::SoftReboot | Way::LiveUnits | Way::Live => 1,
    };
    ensure!(boots == expected, "{}: {boots} boots", way.name());
    let took = served(vm, clock, said)?;
    let fault = fault_at(vm)?;
    keep(vm, kept, way.name(), fault)?;
    // The incident is over before the next one begins.
    if matches!(way, Way::Live | Way::LiveUnits) {
        vm.reboot()?;
        vm.wait_for(Fact::Begun(1), PATIENCE)?;
        vm.wait_for(Fact::Proven(1), PATIENCE)?;
    }
    vm.wait_until_settled()?;
    // Nobody has judged one that only the loader has counted, and it is not to have a second chance.
    vm.run(&format!("lastgood bad {bad}"))?;
    Ok(took)
}

/// How long after the fault the server has run again, or after a request. `said`: when this host heard of it.
fn served(vm: &mut Machine, clock: Clock, said: Duration) -> Result<Duration> {
    match clock {
        Clock::Guest => {
            let fault = fault_at(vm)?;
            let served = vm.run_ok(
                "date --date=\"$(systemctl show --timestamp=us+utc --value --property=ActiveEnterTimestamp nginx)\" +%s.%N",
            )?;
            let served: f64 = served.trim().parse()?;
            ensure!(served > fault, "served at {served}, fault at {fault}");
            Ok(Duration::from_secs_f64(served - fault))
        }
        Clock::Host => {
            let served = runs_since(vm)?;
            let took = served.checked_sub(said);
            took.with_context(|| format!("served at {served:?}, fault at {said:?}"))
        }
    }
}

/// The guest's date of the first fault, or of a request, in seconds.
fn fault_at(vm: &mut Machine) -> Result<f64> {
    let faults = vm.run_ok("cat /root/faults")?;
    Ok(faults.lines().next().context("no fault")?.trim().parse()?)
}

/// Since when the server runs, by this host's clock, since the machine was first switched on.
fn runs_since(vm: &mut Machine) -> Result<Duration> {
    let begun = vm.timeline().begun();
    let said = vm.run_ok(
        "cut -d' ' -f1 /proc/uptime; systemctl show --value --property=ActiveEnterTimestampMonotonic nginx",
    )?;
    // What it takes to ask counts against whoever is measured.
    let asked = begun.elapsed();
    let (now, since) = said.trim().split_once('\n').context("half an answer")?;
    let (now, since): (f64, f64) = (now.parse()?, since.parse()?);
    let runs_for = Duration::try_from_secs_f64(now - since / 1e6)?;
    asked
        .checked_sub(runs_for)
        .context("the server runs for longer than the machine")
}

/// What the agent's steps on the way to the services take of a boot that has nothing to do.
fn shares(vm: &mut Machine, kept: Option<&Path>) -> Result<()> {
    vm.reboot()?;
    vm.wait_for(Fact::Begun(1), PATIENCE)?;
    vm.wait_for(Fact::Proven(1), PATIENCE)?;
    vm.wait_until_settled()?;
    let microseconds = |vm: &mut Machine, unit: &str, property: &str| -> Result<f64> {
        let shown = vm.run_ok(&format!(
            "systemctl show --value --property={property} {unit}"
        ))?;
        Ok(shown.trim().parse()?)
    };
    let whole = microseconds(vm, "multi-user.target", "ActiveEnterTimestampMonotonic")?;
    keep(vm, kept, "boot", 0.0)?;
    output::line(&format!(
        "of a boot, from the kernel's start to multi-user.target: {:.2} s",
        whole / 1e6
    ));
    for step in ["begin", "activate", "firewall"] {
        let unit = format!("lastgood-{step}.service");
        let from = microseconds(vm, &unit, "ExecMainStartTimestampMonotonic")?;
        let to = microseconds(vm, &unit, "ExecMainExitTimestampMonotonic")?;
        let busy = microseconds(vm, &unit, "CPUUsageNSec")? / 1e3;
        output::line(&format!(
            "{step:20}  {:6.1} ms, {:4.2} %; busy for {:6.1} ms, {:4.2} %",
            (to - from) / 1e3,
            100.0 * (to - from) / whole,
            busy / 1e3,
            100.0 * busy / whole
        ));
    }
    Ok(())
}

/// Writes down what the journal says since the fault, and since when each unit is what it is.
fn keep(vm: &mut Machine, kept: Option<&Path>, name: &str, since: f64) -> Result<()> {
    let Some(directory) = kept else {
        return Ok(());
    };
    for (what, command) in [
        (
            "journal",
            format!("journalctl --output=short-unix --no-pager --since=@{since:.0}"),
        ),
        (
            "units",
            "systemctl show --no-pager --timestamp=us --property=Id,Job,InactiveExitTimestampMonotonic,\
             ActiveEnterTimestampMonotonic,ExecMainStartTimestampMonotonic,ExecMainExitTimestampMonotonic,CPUUsageNSec '*'"
                .to_owned(),
        ),
        ("plot", "systemd-analyze plot".to_owned()),
    ] {
        let said = vm.run_ok(&command)?;
        files::write(&directory.join(format!("{name}.{what}")), said)?;
    }
    Ok(())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
