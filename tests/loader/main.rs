//! Ring 3: the model of systemd-boot against systemd-boot itself, in the real firmware, over generated layouts.
//!
//! A layout's seed is its label: `generate(SEED)` gives the same layout again. With `SYSTEMD_BOOT=FILE` another
//! systemd-boot than the host's is put to the test.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that panics is a test that fails, and its figures are for people"
)]

mod own;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use lastgood_tests::loader_rig::{
    Layout, Power, Tally, compare, compare_power_on, disagreements_with_bootctl, generate, loaders,
};

/// The first boot, three failures, and one more: by then every counter of three is used up.
const BOOTS: usize = 5;
/// Layouts of one session, each a disk.
const AT_ONCE: usize = 8;
/// Sessions of a long run, for each loader.
const SESSIONS: usize = 3;

/// The first layout of a session is booted before any variable could be set, and its disk takes the results.
fn first_of_session(mut layout: Layout) -> Layout {
    layout.variables.clear();
    layout.read_only = false;
    layout
}

fn session(loader: &Path, mut layouts: Vec<Layout>) -> Result<Tally> {
    let first = first_of_session(layouts.remove(0));
    layouts.insert(0, first);
    compare(loader, &layouts, BOOTS, Power::Kept)
}

/// What comes of `run` with each of the loaders, side by side, oldest first. All of it must agree.
fn with_each(run: impl Fn(&Path) -> Result<Tally> + Sync) -> Result<()> {
    let loaders = loaders()?;
    let tallies: Vec<Result<Tally>> = thread::scope(|scope| {
        let runs: Vec<_> = loaders
            .iter()
            .map(|loader| scope.spawn(|| run(loader)))
            .collect();
        let ends = runs.into_iter().map(|run| run.join().unwrap());
        ends.collect()
    });
    let tallies: Vec<Tally> = tallies.into_iter().collect::<Result<_>>()?;
    for tally in &tallies {
        println!("{tally}");
    }
    let agrees = |tally: &Tally| tally.disagreements.is_empty();
    assert!(tallies.iter().all(agrees), "the model is wrong");
    Ok(())
}

/// Seeds in which these matter: bad entries, versions, a counter that has nowhere to go (39, 152), a one-shot variable
/// (55), a medium that cannot be written (97), XBOOTLDR (55, 152).
const FEW: [u64; 4] = [39, 55, 97, 152];

#[test]
fn the_model_is_right_about_a_few_layouts() -> Result<()> {
    with_each(|loader| session(loader, FEW.map(generate).into()))
}

/// Where the loader gives up an entry that it cannot start, and where it resets the machine and tries on.
#[test]
fn the_model_is_right_about_a_kernel_that_cannot_be_loaded() -> Result<()> {
    let layout = Layout::that_cannot_start();
    with_each(|loader| compare_power_on(loader, &layout))
}

/// Entries that ask the network, above all others. That took the loader longer than the firmware's
/// watchdog waits, and there were no more boots after it.
const REMOTE: [u64; 2] = [1_795_831_178_340, 1_795_831_178_349];

#[test]
fn long_the_model_is_right_about_layouts_with_remote_images() -> Result<()> {
    with_each(|loader| {
        let first = std::iter::once(FEW[0]);
        session(loader, first.chain(REMOTE).map(generate).collect())
    })
}

/// The shipped binary's own entries: what it foretells is what the model says, and that is what the real loader does.
#[test]
fn next_boot_is_right_about_what_install_leaves() -> Result<()> {
    let machines = own::machines()?;
    let mut layouts = Vec::new();
    for loader in loaders()? {
        // All forms with the oldest loader, half of them with each of the others.
        let some = if layouts.is_empty() { 1 } else { 2 };
        let some = machines.iter().step_by(some);
        let some = some.map(|machine| own::layout(machine, &loader, BOOTS));
        let some = some.collect::<Result<Vec<Layout>>>()?;
        layouts.push((loader, some));
    }
    with_each(|loader| {
        let mut all = layouts.iter().filter(|(of, _)| of == loader);
        let (_, layouts) = all.next().unwrap();
        session(loader, layouts.clone())
    })
}

/// Userspace reads the same files: order and default, as far as it means the same by them.
fn agrees_with_bootctl(seeds: std::ops::Range<u64>) -> Result<()> {
    let begun = Instant::now();
    let layouts = seeds.map(|seed| generate(seed).as_userspace_reads_it());
    let layouts: Vec<Layout> = layouts.filter(|l| !l.entries.is_empty()).collect();
    let wrong = disagreements_with_bootctl(&layouts)?;
    let (count, took) = (layouts.len(), begun.elapsed().as_secs_f64());
    println!(
        "bootctl: {count} layouts, {} disagreements, {took:.1} s",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn the_model_and_bootctl_agree_about_hundreds_of_layouts() -> Result<()> {
    agrees_with_bootctl(0..200)
}

#[test]
fn long_the_model_and_bootctl_agree_about_thousands_of_layouts() -> Result<()> {
    agrees_with_bootctl(0..3000)
}

/// New ones each time, and others for each loader.
#[test]
fn long_the_model_is_right_about_many_layouts() -> Result<()> {
    let seed = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    println!("from seed {seed}");
    let next = AtomicU64::new(seed);
    let layout = || generate(next.fetch_add(1, Ordering::Relaxed));
    with_each(|loader| {
        let mut tally = Tally::default();
        for _ in 0..SESSIONS {
            tally.add(session(loader, (0..AT_ONCE).map(|_| layout()).collect())?);
            println!("{tally}");
        }
        let layout = first_of_session(layout());
        tally.add(compare(loader, &[layout], BOOTS, Power::Cycled)?);
        Ok(tally)
    })
}
