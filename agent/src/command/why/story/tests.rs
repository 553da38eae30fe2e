use super::*;
use crate::command::ledgers;

fn story(records: &[Record], number: u64) -> (Story<'_>, &Record) {
    let is_it = |record: &&Record| {
        let is_verdict = record.event.cause().is_some();
        let generation = record.event.subject().map(|one| one.generation.number());
        is_verdict && generation == Some(number)
    };
    let at = records.iter().position(|record| is_it(&record)).unwrap();
    let subject = records[at].event.subject().unwrap();
    (Story::of(records, at, subject), &records[at])
}

#[test]
fn the_agent_s_fallback_and_the_loader_s() {
    let records = ledgers::two_fallbacks();
    let (agents, _) = story(&records, 2);
    assert_eq!(agents.selected_at, Some(records[2].time));
    assert_eq!((agents.boots, agents.began), (1, Some(records[3].time)));
    assert_eq!(
        agents.then(StateLabel::Rejected).as_deref(),
        Some("the machine rebooted by itself, to generation 1")
    );
    let (loaders, _) = story(&records, 3);
    assert_eq!((loaders.boots, loaders.began), (2, None));
    assert_eq!(loaders.back_to.unwrap().generation.to_string(), "1");
    assert_eq!(
        loaders.then(StateLabel::Rejected).as_deref(),
        Some("the loader went on to generation 1")
    );
}

#[test]
fn what_stays_up_says_why() {
    let records = ledgers::degraded();
    let (stayed, _) = story(&records, 1);
    assert_eq!(stayed.back_to, None);
    assert_eq!(
        stayed.then(StateLabel::Proven).as_deref(),
        Some("the machine stayed up: it is proven: a reboot would not make it better")
    );
}
