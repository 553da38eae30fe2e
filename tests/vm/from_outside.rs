//! What the world gets to see of a machine that boots, packet by packet.

use anyhow::{Context, Result, ensure};
use lastgood_tests::machine::{Answer, Fact, Heard, Machine, Moment};
use lastgood_tests::scenario::scenario;
use lastgood_tests::story::{VERDICT, first_boot};
use std::time::Duration;

/// The management port, a public one, and one that only the firewall keeps the world from.
const MANAGEMENT: u16 = 22;
const PUBLIC: u16 = 80;
const INTERNAL: u16 = 8080;

/// Of the machine's processor: some twenty rounds of questions.
const SOON: Duration = Duration::from_secs(1);

/// Tells what came back, and looks that somebody asked all the time.
fn told(vm: &mut Machine, heard: &Heard) -> Result<Moment> {
    let address = heard.first(|answer| answer == Answer::Address);
    let address = address.context("the interface never answered")?;
    let (pause, rounds) = heard.longest_pause(address);
    vm.note(format!(
        "from outside: the interface answers from {:.2} s on; {rounds} rounds since, {} ms of its processor apart at most",
        address.at.as_secs_f64(),
        pause.as_millis()
    ));
    for port in [MANAGEMENT, PUBLIC, INTERNAL] {
        let first = heard.first(|answer| answer.is_from(port));
        let count = |is_it: Answer| {
            let answers = heard.answers.iter();
            answers.filter(|(_, answer)| *answer == is_it).count()
        };
        vm.note(format!(
            "    port {port}: open {}, refused {}, first {}",
            count(Answer::Open(port)),
            count(Answer::Refused(port)),
            first.map_or("never".to_owned(), |moment| format!(
                "at {:.2} s",
                moment.at.as_secs_f64()
            ))
        ));
    }
    ensure!(rounds > 20, "asked {rounds} times only");
    // A loaded host keeps a thread waiting, but not while the machine runs.
    ensure!(pause < SOON, "it ran for {pause:?} and nobody asked");
    Ok(address)
}

/// Never open in between: from the first packet that the interface answers, through the whole boot, and while the
/// machine goes down.
#[test]
fn the_firewall_is_there_before_the_first_packet() -> Result<()> {
    scenario("from-outside", |vm| {
        vm.ask_from_outside(&[MANAGEMENT, PUBLIC, INTERNAL])?;
        first_boot(vm)?;
        vm.wait_until_settled()?;
        vm.run_ok("curl --silent --show-error --fail http://127.0.0.1:8080/")
            .context("8080 does not answer inside: that it does not outside means nothing")?;

        // From here on nothing of the closure's firewall can be loaded.
        vm.run_ok("mv /usr/sbin/nft /usr/sbin/nft.away")?;
        vm.reboot()?;
        let heard = vm.heard_outside()?;
        let address = told(vm, &heard)?;
        let first = |port| heard.first(|answer: Answer| answer.is_from(port));
        ensure!(first(INTERNAL).is_none(), "the internal port answered");
        // Who asks is heard from the beginning, before anybody listens.
        let public = first(PUBLIC).context("the public port never answered")?;
        ensure!(public.ran.saturating_sub(address.ran) < SOON);
        ensure!(
            heard
                .first(|answer| answer == Answer::Open(PUBLIC))
                .is_some()
        );

        vm.wait_for(Fact::Degraded(1), VERDICT)?;
        vm.run_ok("curl --silent --show-error --fail http://127.0.0.1:8080/")?;
        let heard = vm.heard_outside()?;
        told(vm, &heard)?;
        let first = |port| heard.first(|answer: Answer| answer.is_from(port));
        ensure!(first(INTERNAL).is_none() && first(PUBLIC).is_none());
        ensure!(first(MANAGEMENT).is_some(), "nobody could reach it");
        vm.power_off()
    })
}
