//! Ring 4: the model of systemd-boot against systemd-boot itself, in the real firmware, over generated layouts.
//!
//! A layout's seed is its label: `generate(SEED)` gives the same layout again. With `SYSTEMD_BOOT=FILE` another
//! systemd-boot than the host's is put to the test.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that panics is a test that fails, and its figures are for people"
)]

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use lastgood_tests::loader_rig::{Layout, Power, Tally, compare, generate};

/// The first boot, three failures, and one more: by then every counter of three is used up.
const BOOTS: usize = 5;
/// Layouts of one session: as many disks as the machine has slots for, and some to spare.
const AT_ONCE: usize = 16;

/// The first layout of a session is booted before any variable could be set, and its disk takes the results.
fn first_of_session(mut layout: Layout) -> Layout {
    layout.variables.clear();
    layout.read_only = false;
    layout
}

fn session(mut layouts: Vec<Layout>) -> Result<Tally> {
    let first = first_of_session(layouts.remove(0));
    layouts.insert(0, first);
    compare(&layouts, BOOTS, Power::Kept)
}

fn agree(tally: &Tally) {
    println!("{tally}");
    assert!(tally.disagreements.is_empty(), "{tally}");
}

#[test]
fn the_model_is_right_about_a_few_layouts() -> Result<()> {
    agree(&session((1..=5).map(generate).collect())?);
    Ok(())
}

/// New ones each time.
#[test]
fn long_the_model_is_right_about_many_layouts() -> Result<()> {
    let seed = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let seeds: Vec<u64> = (seed..seed + 96).collect();
    let mut tally = Tally::default();
    for seeds in seeds.chunks(AT_ONCE) {
        tally.add(session(seeds.iter().copied().map(generate).collect())?);
    }
    for seed in seed + 96..seed + 99 {
        let layout = first_of_session(generate(seed));
        tally.add(compare(&[layout], BOOTS, Power::Cycled)?);
    }
    println!("from seed {seed}");
    agree(&tally);
    Ok(())
}
