//! A machine is switched to another closure while it runs, and back: what is done to each unit, in which order, and that
//! a switch which does not end well leaves the machine as it was.
//!
//! No machine here has a boot partition, so most stories say `test`: `switch` is the same with a selection after it.

mod accounts;
mod changes;
mod closures;
mod confirm;
mod dry;
mod elsewhere;
mod failing;
mod kills;
mod kinds;
mod late;
mod live;
mod nixos;
mod order;
mod others;
mod sessions;
mod verdicts;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lastgood::state::baseline::Baseline;
use lastgood::state::{Event, Subject};
use lastgood_tests::container::{Boot, Container};
use lastgood_tests::debian::Debian;
use lastgood_tests::machine::{Fact, Output};
use lastgood_tests::patience::Patience;
use lastgood_tests::scenario::in_container;
use lastgood_tests::switching::{Closure, Look, look};

use crate::NO_BOOT;

/// How long a switch may take in which nothing takes long on purpose.
const SWITCH: Duration = Duration::from_mins(1);

/// Boots the first of `closures`, which was proven before, and tells `story` over the machine when it is settled.
fn switching(
    name: &str,
    debian: Debian,
    closures: &[Closure],
    story: impl FnOnce(&mut Container, &[Subject]) -> Result<()>,
) -> Result<()> {
    switching_on(name, debian, closures, |_| Ok(()), story)
}

/// Like [`switching`], on a machine that was prepared while it was off.
fn switching_on(
    name: &str,
    debian: Debian,
    closures: &[Closure],
    prepare: impl FnOnce(&Container) -> Result<()>,
    story: impl FnOnce(&mut Container, &[Subject]) -> Result<()>,
) -> Result<()> {
    in_container(&format!("switch-{name}"), debian, |server| {
        prepare(server)?;
        // Both ways in which closures have their units: files of their own, and links to a store path for each.
        let subjects = if debian == Debian::Twelve {
            laid(server, closures)?
        } else {
            let apart = closures.iter().cloned();
            let apart: Result<Vec<Closure>> = apart
                .map(|closure| closure.with_units_apart(server))
                .collect();
            laid(server, &apart?)?
        };
        proven_first(server, &subjects)?;
        started(server)?;
        story(server, &subjects)?;
        server.power_off()
    })
}

/// All closures in the store, as generations 1, 2 and so on.
fn laid(server: &Container, closures: &[Closure]) -> Result<Vec<Subject>> {
    let numbered = (1..).zip(closures);
    numbered
        .map(|(number, closure)| closure.lay(server, number))
        .collect()
}

/// The first of them was found good by an earlier boot.
fn proven_first(server: &Container, subjects: &[Subject]) -> Result<()> {
    let subject = subjects.first().context("no closure")?.clone();
    server.past(&Event::Proven {
        subject,
        baseline: Baseline::default(),
    })
}

/// The first generation was booted and found good, and nothing of lastgood's runs any more.
fn started(server: &mut Container) -> Result<()> {
    server.start(Boot::Uncounted(1))?;
    server.wait_for(Fact::Proven(1))?;
    server.wait_for(NO_BOOT)?;
    Ok(())
}

/// Runs `lastgood` with these words.
fn lastgood(server: &Container, words: &str) -> Result<Output> {
    server.run_longer(&format!("lastgood {words}"), SWITCH)
}

/// Runs `lastgood` with these words, which must end with `status`; gives all that it said.
fn ends(server: &Container, words: &str, status: i64) -> Result<String> {
    let ended = lastgood(server, words)?;
    ensure!(
        ended.status == status,
        "lastgood {words} ended with {}, not {status}:\n{}{}",
        ended.status,
        ended.stdout,
        ended.stderr
    );
    Ok(ended.stdout + &ended.stderr)
}

/// Runs a test of generation `number`, which must go well.
fn switched(server: &Container, number: u64) -> Result<String> {
    ends(server, &format!("test {number}"), 0)
}

/// Nothing is different since `before`.
fn is_as(server: &Container, before: &Look) -> Result<()> {
    match look(server)?.since(before) {
        None => Ok(()),
        Some(difference) => anyhow::bail!("the machine is not what it was:\n{difference}"),
    }
}

/// Looks until nothing is different since `before`, or `within` is over.
fn is_soon_as(server: &Container, before: &Look, within: Duration) -> Result<()> {
    let difference = until(within, || {
        Ok(match look(server)?.since(before) {
            None => Seen::Yes(()),
            Some(difference) => Seen::NotYet(difference.to_string()),
        })
    });
    difference.context("the machine is not what it was")
}

/// What a look says about what is waited for.
enum Seen<T> {
    Yes(T),
    /// What is there instead.
    NotYet(String),
}

/// Looks four times a second until it is seen.
fn until<T>(within: Duration, mut seen: impl FnMut() -> Result<Seen<T>>) -> Result<T> {
    let mut patience = Patience::of(within);
    loop {
        match seen()? {
            Seen::Yes(found) => return Ok(found),
            Seen::NotYet(instead) if patience.is_over() => {
                anyhow::bail!("not within {} s:\n{instead}", within.as_secs())
            }
            Seen::NotYet(_) => std::thread::sleep(Duration::from_millis(250)),
        }
    }
}

/// Which closure is current.
fn current(server: &Container) -> Result<String> {
    server.run_ok("readlink -f /run/current-system")
}

/// `subject` is what runs, for all that lastgood says.
fn runs(server: &Container, subject: &Subject) -> Result<()> {
    let (found, wanted) = (current(server)?, subject.toplevel.display().to_string());
    ensure!(found == wanted, "{found} runs, and not {wanted}");
    let etc = server.run_ok("readlink -f /etc/static")?;
    ensure!(etc == format!("{wanted}/etc"), "/etc/static leads to {etc}");
    Ok(())
}
