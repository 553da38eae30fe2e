//! What is asked again, and when.

use super::*;
use crate::system::manager::JobId;
use snapshot::{Active, Load};

fn row(active: Active) -> Unit {
    Unit {
        load: Load::Loaded,
        active,
        ..Unit::default()
    }
}

/// Three units, of which the two services are known.
fn known() -> (Known, BTreeMap<&'static str, Unit>) {
    let units: BTreeMap<&str, Unit> = ["a.service", "b.service", "c.socket"]
        .map(|name| (name, row(Active::Active)))
        .into();
    let mut known = Known::default();
    assert_eq!(known.outdated(&units), ["a.service", "b.service"]);
    for name in ["a.service", "b.service"] {
        let was = (row(Active::Active), Properties::default());
        known.services.insert(name.to_owned(), was);
    }
    (known, units)
}

#[test]
fn nothing_is_asked_twice_while_nothing_changes() {
    let (mut known, units) = known();
    assert!(known.outdated(&units).is_empty());
    // To ask about a unit is enough for systemd to read and forget one.
    for unit in ["a.service", "x.service"].map(str::to_owned) {
        assert!(!known.hears(&Signal::UnitNew { unit: unit.clone() }));
        assert!(!known.hears(&Signal::UnitRemoved { unit }));
    }
    assert!(!known.hears(&Signal::Reloading { begins: true }));
    assert!(known.outdated(&units).is_empty());
}

#[test]
fn what_was_told_of_is_asked_again() {
    let unit = || "b.service".to_owned();
    let (id, result) = (JobId(1), manager::JobResult::Done);
    for signal in [
        Signal::Changed { unit: unit() },
        Signal::JobNew { id, unit: unit() },
        Signal::JobRemoved {
            id,
            unit: unit(),
            result,
        },
    ] {
        let (mut known, units) = known();
        assert!(known.hears(&signal), "{signal:?}");
        assert_eq!(known.outdated(&units), ["b.service"], "{signal:?}");
    }
    for signal in [Signal::Reloading { begins: false }, Signal::Missed] {
        let (mut known, units) = known();
        assert!(known.hears(&signal), "{signal:?}");
        assert_eq!(known.outdated(&units).len(), 2, "{signal:?}");
    }
}

#[test]
fn a_row_that_differs_is_asked_again_and_one_that_is_gone_is_forgotten() {
    let (mut known, mut units) = known();
    units.insert("a.service", row(Active::Failed));
    let b = units.remove("b.service").unwrap();
    assert_eq!(known.outdated(&units), ["a.service"]);
    units.insert("b.service", b);
    assert_eq!(known.outdated(&units), ["a.service", "b.service"]);
}

#[test]
fn whoever_is_only_stopped_has_not_failed() {
    for active in ["active", "activating", "deactivating", "inactive", "failed"] {
        for result in [
            "success",
            "signal",
            "timeout",
            "exit-code",
            "core-dump",
            "oom-kill",
            "",
        ] {
            for status in [None, Some(0), Some(1), Some(6), Some(9), Some(15)] {
                let is_stopped = result == "signal" && status == Some(15);
                let expected = active == "failed" && !is_stopped;
                assert_eq!(
                    has_failed(active, result, status),
                    expected,
                    "{active} {result} {status:?}"
                );
            }
        }
    }
}

/// What has no job ends by itself. Who has not heard everything cannot tell.
#[test]
fn what_systemd_was_asked_for_is_known_while_all_is_heard() {
    let job = |unit: &str| Signal::JobNew {
        id: JobId(1),
        unit: unit.to_owned(),
    };
    let mut systemd = Systemd::watching(&[], None);
    systemd.hears(&job("a.service"));
    assert_eq!(
        systemd.asked, None,
        "nobody has listened from the beginning"
    );
    systemd.asked = Some(BTreeSet::new());
    systemd.hears(&job("a.service"));
    let snapshot = Snapshot {
        asked: systemd.asked.clone(),
        ..Snapshot::default()
    };
    assert!(!snapshot.ended_by_itself("a.service"));
    assert!(snapshot.ended_by_itself("b.service"));
    for deaf in [Signal::Missed, Signal::Reloading { begins: false }] {
        let is_missed = deaf == Signal::Missed;
        systemd.asked = Some(BTreeSet::new());
        systemd.hears(&deaf);
        assert_eq!(systemd.asked.is_none(), is_missed);
    }
    systemd.asked = Some(BTreeSet::new());
    systemd.hang_up();
    assert_eq!(systemd.asked, None);
    assert!(!Snapshot::default().ended_by_itself("b.service"));
}

/// Once: what is started again and again is not looked at each time.
#[test]
fn only_a_required_unit_that_comes_to_nothing_cuts_a_rest_short() {
    let mut systemd = Systemd::watching(&["a.service".to_owned()], None);
    let removed = |unit: &str, result| Signal::JobRemoved {
        id: JobId(1),
        unit: unit.to_owned(),
        result,
    };
    for (signal, hurries) in [
        (removed("a.service", manager::JobResult::Done), false),
        (removed("b.service", manager::JobResult::Failed), false),
        (
            Signal::Changed {
                unit: "a.service".to_owned(),
            },
            false,
        ),
        (removed("a.service", manager::JobResult::Failed), true),
        (removed("a.service", manager::JobResult::Failed), false),
    ] {
        assert_eq!(systemd.is_hurried_by(&signal), hurries, "{signal:?}");
    }
}
