//! Keys that stay, and what they mean.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// One of each, with its key and whether generations can share it. Written down apart from the code under test.
pub(in crate::state) fn one_of_each() -> Vec<(Fault, &'static str, bool)> {
    vec![
        (
            Fault::Unit("nginx.service".to_owned()),
            "unit:nginx.service",
            true,
        ),
        (Fault::Activation, "activation", true),
        (Fault::Units, "units", true),
        (Fault::Snippet("users".to_owned()), "snippet:users", true),
        (Fault::Firewall, "firewall", true),
        (Fault::Check("web".to_owned()), "check:web", true),
        (Fault::TriesUsedUp, "loader:tries-used-up", false),
        (Fault::NotCounted, "loader:not-counted", false),
        (Fault::Panic, "kernel:panic", false),
        (Fault::Watchdog, "kernel:watchdog", false),
        (Fault::Power, "power", false),
        (Fault::NoVerdict, "agent:no-verdict", false),
        (Fault::NoAnswer, "systemd:no-answer", false),
        (Fault::Operator, "operator", false),
        (Fault::Other("probe:dns".to_owned()), "probe:dns", false),
    ]
}

/// What was there before and is not. Apart from the others, of which every set is tried somewhere.
fn lost() -> Vec<(Fault, &'static str, bool)> {
    vec![
        (Fault::Listener(22), "listener:tcp/22", true),
        (Fault::Route, "route", true),
        (Fault::Resolvers, "resolvers", true),
        (Fault::Mount("/data".to_owned()), "mount:/data", true),
    ]
}

fn all_of_them() -> Vec<(Fault, &'static str, bool)> {
    [one_of_each(), lost()].concat()
}

/// They are in ledgers: none may ever change.
#[test]
fn the_keys() {
    for (fault, key, is_shareable) in all_of_them() {
        assert_eq!(fault.key(), key);
        assert_eq!(fault.is_shareable(), is_shareable, "{key}");
        assert_eq!(fault.kind(), key.split(':').next().unwrap());
    }
}

#[test]
fn each_has_words_of_its_own() {
    let all = all_of_them();
    let words: BTreeSet<String> = all.iter().map(|(fault, ..)| fault.to_string()).collect();
    assert_eq!(words.len(), all.len(), "{words:?}");
    let is_plain = |text: &String| !text.is_empty() && !text.ends_with('.') && !text.contains('\n');
    assert!(words.iter().all(is_plain), "{words:?}");
}

#[test]
fn in_json_it_has_its_key_and_kind() {
    let fault = Fault::of_unit("nginx.service");
    let text = serde_json::to_string(&fault).unwrap();
    assert_eq!(text, r#"{"key":"unit:nginx.service","kind":"unit"}"#);
    assert_eq!(serde_json::from_str::<Fault>(&text).unwrap(), fault);
}

#[test]
fn what_looks_like_a_key_is_kept_as_it_is() {
    for key in [
        "listener:tcp/022",
        "listener:tcp/x",
        "listener:udp/53",
        "mount:data",
        "mount:",
    ] {
        assert_eq!(Fault::from_key(key), Fault::Other(key.to_owned()));
    }
}

/// A newer agent's faults, and its words about them.
#[test]
fn what_is_not_known_is_kept() {
    let newer = r#"{"key":"probe:dns","kind":"probe","answer":"SERVFAIL"}"#;
    let fault: Fault = serde_json::from_str(newer).unwrap();
    assert_eq!(fault, Fault::Other("probe:dns".to_owned()));
    assert_eq!(
        serde_json::to_string(&fault).unwrap(),
        r#"{"key":"probe:dns","kind":"probe"}"#
    );
}

#[test]
fn the_units_of_activation_and_firewall_are_more_than_units() {
    for fault in [Fault::Activation, Fault::Firewall] {
        assert_eq!(Fault::of_unit(fault.unit().unwrap()), fault);
    }
    let other = Fault::of_unit("lastgood-activate.mount");
    assert_eq!(other, Fault::Unit("lastgood-activate.mount".to_owned()));
}

proptest! {
    /// No key gets lost or becomes another one.
    #[test]
    fn every_key_is_read_back(key in "(unit:|loader:|agent:|systemd:|check:|probe:|)[a-z:@ä.\\\\-]{0,24}") {
        let fault = Fault::from_key(&key);
        prop_assert_eq!(fault.key(), key.as_str());
        let json = serde_json::to_string(&fault).unwrap();
        prop_assert_eq!(serde_json::from_str::<Fault>(&json).unwrap(), fault);
    }

    #[test]
    fn every_unit_is_read_back(name in "\\PC{1,40}") {
        let fault = Fault::Unit(name);
        prop_assert_eq!(Fault::from_key(&fault.key()), fault);
    }
}
