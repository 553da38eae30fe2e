//! Every combination of evidence.

use super::*;

fn before(ended: Option<Way>, is_left: bool) -> BootRecord {
    BootRecord {
        id: "b".to_owned(),
        running: None,
        stage: Stage::Begun,
        reset: None,
        ended,
        is_left,
        by_kexec: false,
    }
}

#[test]
fn every_combination_of_evidence_has_one_meaning() {
    let ways = [
        None,
        Some(Way::Reboot),
        Some(Way::Kexec),
        Some(Way::SoftReboot),
        Some(Way::PowerOff),
        Some(Way::Unknown),
    ];
    for bits in 0..16_u32 {
        let has = |bit: u32| bits & (1 << bit) != 0;
        let evidence = Evidence {
            same_kernel: has(0),
            panic: has(1).then(|| panic_of("")),
            watchdog: has(2),
            not_by_the_loader: has(3),
        };
        for ended in ways {
            for is_left in [false, true] {
                let how = evidence.clone().tells(Some(&before(ended, is_left))).how;
                let wanted = match (has(0), has(1), has(2), has(3), ended, is_left) {
                    (true, ..) => How::SoftReboot,
                    (_, true, ..) => How::Panic,
                    (_, _, true, ..) => How::Watchdog,
                    (_, _, _, true, ..) | (.., Some(Way::Kexec), _) => How::Kexec,
                    (.., Some(_), _) => How::Orderly,
                    (.., None, true) => How::Forced,
                    (.., None, false) => How::Lost,
                };
                assert_eq!(how, wanted, "{evidence:?} {ended:?} {is_left}");
            }
        }
    }
    assert_eq!(Evidence::default().tells(None).how, How::Unknown);
}

#[test]
fn a_kernel_s_last_words_say_how_far_it_came() {
    let early = "<5>[    0.000000] Linux version 6.1\n\
        <0>[    1.204] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n";
    let found = panic_of(early);
    assert_eq!(found.stage, Stage::Kernel);
    assert_eq!(
        found.words.as_deref(),
        Some("Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)")
    );
    // The parts of a record follow each other in any order.
    let late = "Panic#1 Part1\n<0>[    9.9] Kernel panic - not syncing: sysrq triggered crash\n\
        Panic#1 Part2\n<6>[    2.5] Run /init as init process\n";
    assert_eq!(panic_of(late).stage, Stage::Initrd);
    assert_eq!(panic_of("").words, None);
}

#[test]
fn what_a_newer_agent_says_is_unknown_and_no_error() {
    let reset: Reset = serde_json::from_str(r#"{"how":"brown-out","volts":3}"#).unwrap();
    assert_eq!(reset.how, How::Unknown);
    let way: Way = serde_json::from_str(r#""hibernate""#).unwrap();
    assert_eq!(way, Way::Unknown);
}
