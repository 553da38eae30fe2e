//! What it costs to put a closure's `/etc` in place, beside `cp -rs` of the same tree.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lastgood_tests::tree::Tree;
use lastgood_tests::{command, files};

use super::measure::TIMES;
use crate::output;

/// How old a change must be before the agent relies on nothing having followed it.
const OLD: Duration = Duration::from_secs(4);
/// How many files are in a directory.
const IN_ONE: u64 = 100;

/// Measures with `count` files, each case in turn, so that what else the machine does is in all of them.
pub(super) fn run(count: u64) -> Result<()> {
    let tree = Tree::new()?;
    let etc = tree.path("nix/store/one/etc");
    for number in 0..count {
        let directory = etc.join(format!("d{}", number / IN_ONE));
        fs::create_dir_all(&directory)?;
        let link = directory.join(format!("{number}.conf"));
        symlink(format!("/nix/store/f{number}/file"), link)?;
    }
    files::write(&tree.path("proc/cmdline"), "init=/nix/store/one/init\n")?;
    let places = ["copied", "etc"].map(|place| tree.path(place));
    let mut times: [Vec<Duration>; 4] = Default::default();
    let activate = || -> Result<Duration> {
        let begun = Instant::now();
        let ended = tree.lastgood(&["step", "activate"])?;
        let took = begun.elapsed();
        ensure!(ended.status == 0, "{ended:?}");
        Ok(took)
    };
    for _ in 0..TIMES {
        for place in &places {
            files::remove(place)?;
        }
        let [plain, first, again, sealed] = &mut times;
        let begun = Instant::now();
        command::run(
            "cp",
            [PathBuf::from("-rs"), etc.clone(), tree.path("copied")],
        )?;
        plain.push(begun.elapsed());
        first.push(activate()?);
        again.push(activate()?);
        // Only what has been as it is for a while is sealed, by a run that finds nothing to do.
        sleep(OLD);
        activate()?;
        sealed.push(activate()?);
    }
    output::line(&format!(
        "\n/etc with {count} files; median and least of {TIMES}"
    ));
    let names = [
        "cp -rs",
        "activate, nothing there",
        "activate, all looked at",
        "activate, nothing to do",
    ];
    let base = median(&mut times[0]);
    for (name, times) in names.into_iter().zip(&mut times) {
        let (median, ms) = (median(times), |time: Duration| time.as_secs_f64() * 1000.0);
        let least = times.first().copied().unwrap_or_default();
        output::line(&format!(
            "{name:24}  {:8.1}  {:8.1} ms  {:5.2} of cp",
            ms(median),
            ms(least),
            median.as_secs_f64() / base.as_secs_f64()
        ));
    }
    Ok(())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
