//! What it costs to watch a settled machine for some minutes: the processor's time of the agent and all that it started, and
//! its memory.

use std::time::Duration;

use anyhow::{Context, Result};
use lastgood::state::Event;
use lastgood_tests::container::{Boot, Container};
use lastgood_tests::debian::Debian;
use lastgood_tests::scenario::in_container;
use lastgood_tests::switching::Closure;

use crate::output;

/// A boot takes no longer.
const BOOT: Duration = Duration::from_mins(1);

/// The verdict comes after those minutes.
fn config(watched: Duration) -> String {
    let settle = watched.as_secs() + 40;
    format!(
        "[health]\nrequired-units = [\"nginx.service\"]\nsettle-sec = {settle}\ndeadline-sec = 800\n"
    )
}

/// Boots a trial, and watches the agent watching it.
pub(super) fn run(debian: Debian, units: usize, minutes: u64) -> Result<()> {
    let watched = Duration::from_mins(minutes);
    let config = config(watched);
    in_container("bench-watching", debian, |server| {
        let mut closure = Closure::new().file("etc/lastgood/lastgood.toml", &config);
        for number in 0..units {
            closure = closure.wanted(
                &format!("unit-{number:03}.service"),
                "[Service]\nExecStart=/bin/sleep infinity\n",
            );
        }
        let subject = closure.lay(server, 1)?;
        server.past(&Event::Selected { subject, by: None })?;
        server.start(Boot::Counted(1))?;
        server.wait_for("waiting: ")?;
        server.run_longer(
            "systemctl is-active --quiet multi-user.target || sleep 5",
            BOOT,
        )?;
        std::thread::sleep(Duration::from_secs(5));
        let before = used(server)?;
        std::thread::sleep(watched);
        let after = used(server)?;
        let resident = server.run_ok(
            "grep VmRSS /proc/$(systemctl show --value --property=MainPID lastgood-assess.service)/status",
        )?;
        output::line(&format!(
            "{}: watching {units} services for {minutes} min: {:.1} ms of the processor; {}",
            debian.name(),
            after.saturating_sub(before).as_secs_f64() * 1000.0,
            resident.split_whitespace().collect::<Vec<_>>().join(" ")
        ));
        Ok(())
    })
}

/// What the assessor and all that it started have used so far.
fn used(server: &Container) -> Result<Duration> {
    let nanoseconds = server.property("lastgood-assess.service", "CPUUsageNSec")?;
    let nanoseconds = nanoseconds.parse().with_context(|| nanoseconds.clone())?;
    Ok(Duration::from_nanos(nanoseconds))
}
