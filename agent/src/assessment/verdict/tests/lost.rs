//! What the last good generation had.

use super::*;
use crate::state::baseline::{Listener, Looks, Surroundings};

fn listener(port: u16, local: bool, unit: Option<&str>) -> Listener {
    Listener {
        port,
        local,
        unit: unit.map(str::to_owned),
    }
}

fn before(around: Surroundings, up: &[&str]) -> Baseline {
    Baseline {
        failing: [].into(),
        looks: Some(Looks {
            up: up.iter().map(|name| (*name).to_owned()).collect(),
            around,
            ..Looks::default()
        }),
    }
}

/// The boot was to start `a.service`, `web.service` and `data.mount`.
fn now(around: &Surroundings, units: &[(&str, Unit)]) -> Snapshot {
    let boot = ["a.service", "web.service", "data.mount"];
    Snapshot {
        boot: Some(boot.map(str::to_owned).into()),
        around: Some(around.clone()),
        ..with(units)
    }
}

fn ports(listening: &[Listener]) -> Surroundings {
    Surroundings {
        listening: Some(listening.iter().cloned().collect()),
        ..Surroundings::default()
    }
}

fn faults(baseline: &Baseline, seen: &Snapshot) -> (u64, Vec<Fault>) {
    match usual(Some(baseline), |_| seen.clone()) {
        (at, Judgement::Unhealthy { faults, .. }) => (at, faults),
        (at, Judgement::Healthy { .. }) => (at, Vec::new()),
        (_, other) => panic!("{other:?}"),
    }
}

#[test]
fn a_port_that_is_lost() {
    let web = Some("web.service");
    let running = || ("web.service", unit("active", "running"));
    let gone = || ("web.service", unloadable("not-found"));
    let outside = Some("outside.service");
    for (had, has, units, is_lost) in [
        // It is as it was.
        (
            listener(80, false, web),
            vec![listener(80, false, None)],
            vec![running()],
            false,
        ),
        (
            listener(80, true, web),
            vec![listener(80, true, None)],
            vec![running()],
            false,
        ),
        (
            listener(80, true, web),
            vec![listener(80, false, None)],
            vec![running()],
            false,
        ),
        // It is not.
        (listener(80, false, web), vec![], vec![running()], true),
        (
            listener(80, false, web),
            vec![listener(81, true, None)],
            vec![running()],
            true,
        ),
        // It may have moved. A management port may not.
        (
            listener(80, false, web),
            vec![listener(81, false, None)],
            vec![running()],
            false,
        ),
        (
            listener(22, false, web),
            vec![listener(81, false, None)],
            vec![running()],
            true,
        ),
        (
            listener(80, false, web),
            vec![listener(80, true, None)],
            vec![running()],
            true,
        ),
        // The closure has the unit no more; the boot was not to start it; nobody knows whose it was.
        (listener(80, false, web), vec![], vec![gone()], false),
        (listener(80, false, web), vec![], vec![], false),
        (
            listener(80, false, outside),
            vec![],
            vec![("outside.service", unit("active", "running"))],
            false,
        ),
        (listener(80, false, None), vec![], vec![running()], false),
        // By a management port somebody logs in, whoever it was.
        (listener(22, false, None), vec![], vec![], true),
        (listener(22, false, web), vec![], vec![gone()], true),
        (
            listener(22, false, web),
            vec![listener(22, false, None)],
            vec![gone()],
            false,
        ),
        (listener(22, true, None), vec![], vec![], false),
    ] {
        let case = format!("{had:?} {has:?} {units:?}");
        let port = had.port;
        let (at, found) = faults(&before(ports(&[had]), &[]), &now(&ports(&has), &units));
        let expected = is_lost.then_some(Fault::Listener(port));
        assert_eq!(found, Vec::from_iter(expected), "{case}");
        assert_eq!(at, if is_lost { DEADLINE } else { SETTLE }, "{case}");
    }
}

#[test]
fn a_route_and_name_servers_that_are_lost() {
    let around = |route, servers: Option<&[&str]>| Surroundings {
        default_route: route,
        resolvers: servers.map(|all| all.iter().map(|one| (*one).to_owned()).collect()),
        ..Surroundings::default()
    };
    let good = around(Some(true), Some(&["10.0.0.1"]));
    for (had, has, expected) in [
        (good.clone(), good.clone(), vec![]),
        (
            good.clone(),
            around(Some(false), Some(&["10.0.0.2"])),
            vec![Fault::Route],
        ),
        (
            good.clone(),
            around(Some(true), Some(&[])),
            vec![Fault::Resolvers],
        ),
        // What was not read is not lost; what was not there neither.
        (good.clone(), around(None, None), vec![]),
        (around(None, None), around(Some(false), Some(&[])), vec![]),
        (
            around(Some(false), Some(&[])),
            around(Some(false), Some(&[])),
            vec![],
        ),
    ] {
        let (_, found) = faults(&before(had, &[]), &now(&has, &[]));
        assert_eq!(found, expected, "{has:?}");
    }
}

/// Not before the deadline: that is what it is for.
#[test]
fn a_network_that_comes_late_is_waited_for() {
    let around = |up: bool| Surroundings {
        default_route: Some(up),
        listening: Some(if up {
            [listener(22, false, None)].into()
        } else {
            [].into()
        }),
        ..Surroundings::default()
    };
    let baseline = before(around(true), &[]);
    let late = |at: u64| now(&around(at >= 7), &[]);
    let (at, judgement) = usual(Some(&baseline), late);
    assert_eq!(at, 7 + SETTLE);
    assert!(
        matches!(judgement, Judgement::Healthy { .. }),
        "{judgement:?}"
    );
}

#[test]
fn a_mount_that_is_lost() {
    let baseline = before(
        Surroundings::default(),
        &["data.mount", "other.mount", "web.service"],
    );
    let nothing = Surroundings::default();
    for (units, expected) in [
        (vec![("data.mount", unit("active", "mounted"))], vec![]),
        (
            vec![("data.mount", unit("inactive", "dead"))],
            vec![Fault::Mount("/data".to_owned())],
        ),
        (vec![("data.mount", unloadable("not-found"))], vec![]),
        // This closure's fstab does not have it.
        (vec![("other.mount", unit("inactive", "dead"))], vec![]),
        (vec![], vec![]),
    ] {
        assert_eq!(
            faults(&baseline, &now(&nothing, &units)).1,
            expected,
            "{units:?}"
        );
    }
}

#[test]
fn nothing_is_lost_where_nobody_has_looked() {
    let had = before(ports(&[listener(22, false, None)]), &["data.mount"]);
    let blind = Snapshot {
        around: None,
        ..now(&Surroundings::default(), &[])
    };
    assert_eq!(faults(&had, &blind).1, []);
    assert_eq!(faults(&baseline(&[]), &now(&ports(&[]), &[])).1, []);
}
