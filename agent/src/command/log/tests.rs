use super::*;
use crate::command::ledgers;
use crate::state::reset::Reset;

/// Without the dates: they are local.
fn told(records: &[Record]) -> Vec<String> {
    let mut events = events(records);
    events.retain(|told| told.is_news);
    let text = timeline(&events, Style::default());
    let line = |line: &str| line.get(21..).unwrap_or_default().to_owned();
    text.lines().map(line).collect()
}

#[test]
fn every_boot_is_a_paragraph_that_says_how_it_ended() {
    assert_eq!(
        told(&ledgers::two_fallbacks()),
        [
            "selected: generation 1",
            "proven: generation 1",
            "selected: generation 2",
            "",
            "began: generation 2: /nix/store/2",
            "rejected: generation 2: required nginx.service failed, 45 s after it began",
            "rebooting: generation 1: falling back from generation 2",
            "the next boot began 2 min after this one",
            "",
            "began: generation 1: /nix/store/1",
            "selected: generation 3",
            "the next boot began 53 min after this one",
            "",
            "began: generation 3: /nix/store/3",
            "the next boot began 10 min after this one, which had come to no verdict (stage firewalled): a crash, a hang, a power \
             cut, or somebody's reboot",
            "",
            "began: generation 3: /nix/store/3",
            "the next boot began 10 min after this one, which had come to no verdict (stage begun): a crash, a hang, a power cut, \
             or somebody's reboot",
            "",
            "began: generation 1: /nix/store/1, although generation 3 was selected",
            "rejected: generation 3: the loader started it as often as it may",
        ]
    );
}

/// What was found out when the next boot began is said, in the place of what it may have been.
#[test]
fn how_a_boot_ended_is_said_where_it_is_known() {
    let mut records = ledgers::two_fallbacks();
    let known = |how, words: &str| Reset {
        how,
        stage: None,
        words: Some(words.to_owned()),
    };
    let mut resets = [
        known(How::Orderly, "x"),
        known(How::Panic, "Kernel panic - not syncing: VFS"),
    ]
    .into_iter();
    for record in records.iter_mut().rev() {
        if let Event::Began { reset, .. } = &mut record.event {
            *reset = resets.next();
        }
    }
    let hows = |told: &Told<'_>| told.reset.map(|reset| reset.how);
    let hows: Vec<How> = events(&records).iter().filter_map(hows).collect();
    assert_eq!(hows, [How::Panic, How::Orderly]);
    let told = told(&records);
    let panicked = "the next boot began 10 min after this one, which had come to no verdict (stage firewalled): the kernel \
                    panicked in the boot before: Kernel panic - not syncing: VFS";
    assert!(told.iter().any(|line| line == panicked), "{told:#?}");
    let orderly = "the next boot began 10 min after this one, which had come to no verdict (stage begun): the boot before was \
                   shut down in order: x";
    assert!(told.iter().any(|line| line == orderly), "{told:#?}");
}

#[test]
fn an_event_knows_when_its_boot_began() {
    let records = ledgers::two_fallbacks();
    let events = events(&records);
    assert_eq!(events[0].boot_began, None);
    assert_eq!(events[5].boot_began, Some(records[3].time));
    assert_eq!(events[13].boot_began, Some(records[12].time));
}
