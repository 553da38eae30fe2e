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

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use lastgood_tests::loader_rig::{
    Layout, Power, Tally, compare, disagreements_with_bootctl, generate,
};

/// The first boot, three failures, and one more: by then every counter of three is used up.
const BOOTS: usize = 5;
/// Layouts of one session, each a disk.
const AT_ONCE: usize = 8;

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

/// Seeds in which these matter: bad entries, versions, a counter that has nowhere to go (39, 152), a one-shot variable
/// (55), a medium that cannot be written (97), XBOOTLDR (55, 152).
const FEW: [u64; 4] = [39, 55, 97, 152];

#[test]
fn the_model_is_right_about_a_few_layouts() -> Result<()> {
    agree(&session(FEW.map(generate).into())?);
    Ok(())
}

/// The shipped binary's own entries: what it foretells is what the model says, and that is what the real loader does.
#[test]
fn next_boot_is_right_about_what_install_leaves() -> Result<()> {
    let layouts = own::layouts(BOOTS)?;
    agree(&session(layouts)?);
    Ok(())
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

/// New ones each time.
#[test]
fn long_the_model_is_right_about_many_layouts() -> Result<()> {
    let seed = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let seeds: Vec<u64> = (seed..seed + 64).collect();
    let mut tally = Tally::default();
    for seeds in seeds.chunks(AT_ONCE) {
        tally.add(session(seeds.iter().copied().map(generate).collect())?);
        println!("{} layouts", tally.layouts);
    }
    for seed in seed + 64..seed + 66 {
        let layout = first_of_session(generate(seed));
        tally.add(compare(&[layout], BOOTS, Power::Cycled)?);
    }
    println!("from seed {seed}");
    agree(&tally);
    Ok(())
}
