//! Going back to the first closure, as a client at the other end of the cable sees it: from the command to the old page,
//! and how long there is no page at all.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lastgood_tests::container::Watch;

use super::machine::{Bench, Changed, Who};
use super::times::{Pair, Times};
use crate::output;

/// Measures both, in turns.
pub(super) fn run(bench: &Bench, times: usize, with_peer: bool) -> Result<()> {
    let (mut until_page, mut gaps) = (Pair::default(), Pair::default());
    for _ in 0..times {
        once(bench, Who::Us, &mut until_page.ours, &mut gaps.ours)?;
        if with_peer {
            once(bench, Who::Peer, &mut until_page.peers, &mut gaps.peers)?;
        }
    }
    output::line(&until_page.line("back: from the command to the page"));
    output::line(&gaps.line("back: without any page"));
    Ok(())
}

fn once(bench: &Bench, who: Who, until_page: &mut Times, gaps: &mut Times) -> Result<()> {
    bench.switch(who, Changed::Page.number())?;
    let began_watching = Instant::now();
    let watch = bench.server.watch(80)?;
    // It has seen the new page before the command is given.
    std::thread::sleep(Duration::from_millis(100));
    let commanded = began_watching.elapsed();
    bench.switch(who, 1)?;
    let glances = watch.end()?;
    let old = glances
        .iter()
        .find(|glance| glance.page.as_deref() == Some("<p>one</p>"));
    let old = old.context("the old page is not served again")?;
    until_page.add(old.at.saturating_sub(commanded));
    gaps.add(Watch::longest_gap(&glances).context("no page at the end")?);
    Ok(())
}
