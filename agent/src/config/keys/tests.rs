//! The list against the types.

use std::collections::BTreeSet;

use super::*;
use crate::config::Config;

/// What the types beside it say they read: serde lists a table's fields when it meets one that is none of them.
fn fields(section: Option<&str>) -> BTreeSet<String> {
    let header = section.map_or(String::new(), |name| format!("[{name}]\n"));
    let error = toml::from_str::<Config>(&format!("{header}no-such-key = 1\n")).unwrap_err();
    let names = error.message().split('`').skip(1).step_by(2);
    names.skip(1).map(str::to_owned).collect()
}

#[test]
fn the_list_names_what_is_read_and_nothing_else() {
    let sections: BTreeSet<String> = SECTIONS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(fields(None), sections);
    for section in sections {
        let of_it = KEYS.iter().filter(|key| key.section == section);
        let listed: BTreeSet<String> = of_it.map(|key| key.name.to_owned()).collect();
        assert_eq!(fields(Some(&section)), listed, "[{section}]");
    }
}

#[test]
fn the_defaults_are_those_that_hold() {
    for key in KEYS {
        if let Some(value) = key.default {
            let said = format!("[{}]\n{} = {value}\n", key.section, key.name);
            assert_eq!(Config::parse(&said), Ok(Config::default()), "{said}");
        }
    }
}

/// Of a key without a default the example is the only proof of its kind.
#[test]
fn each_example_is_taken_and_is_no_default() {
    for key in KEYS {
        let enabled =
            key.section == "firewall" && !["unit", "ruleset", "enable"].contains(&key.name);
        let enable = if enabled { "enable = true\n" } else { "" };
        let said = |line: &str| format!("[{}]\n{enable}{line}\n", key.section);
        let example = Config::parse(&said(&format!("{} = {}", key.name, key.example)));
        assert!(example.is_ok(), "{}: {example:?}", key.name);
        assert_ne!(example, Config::parse(&said("")), "{}", key.name);
    }
}

/// A value is of the kind that is said, and the ends of a range are its ends.
#[test]
fn what_is_said_of_a_kind_is_so() {
    fn takes(kind: Kind, value: &toml::Value) -> bool {
        match kind {
            Kind::Bool => value.is_bool(),
            Kind::Integer(from, to) => value
                .as_integer()
                .is_some_and(|number| (i64::from(from)..=i64::from(to)).contains(&number)),
            Kind::Text | Kind::Path => value.is_str(),
            Kind::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Kind::Many(kind) => value
                .as_array()
                .is_some_and(|list| list.iter().all(|value| takes(*kind, value))),
            Kind::Map(kind) => value
                .as_table()
                .is_some_and(|table| table.values().all(|value| takes(*kind, value))),
            Kind::Either(one, other) => takes(*one, value) || takes(*other, value),
            Kind::Table => value.is_table(),
        }
    }
    let accepts = |key: &Key, value: &str| {
        Config::parse(&format!("[{}]\n{} = {value}\n", key.section, key.name)).is_ok()
    };
    for key in KEYS {
        for value in key.default.iter().chain([&key.example]) {
            let table: toml::Table = toml::from_str(&format!("it = {value}")).unwrap();
            assert!(takes(key.kind, &table["it"]), "{}: {value}", key.name);
        }
        let range = match key.kind {
            Kind::Integer(from, to) | Kind::Either(&Kind::Integer(from, to), _) => (from, to),
            _ => continue,
        };
        assert!(accepts(key, &range.0.to_string()), "{}", key.name);
        assert!(accepts(key, &range.1.to_string()), "{}", key.name);
        assert!(
            !accepts(key, &(i64::from(range.0) - 1).to_string()),
            "{}",
            key.name
        );
        // How many entries there may be has no end of its own.
        if key.name != "configuration-limit" {
            assert!(!accepts(key, &(range.1 + 1).to_string()), "{}", key.name);
        }
        if let Kind::Either(_, &Kind::Word(words)) = key.kind {
            for word in words {
                assert!(accepts(key, &format!("\"{word}\"")), "{}: {word}", key.name);
            }
        }
    }
}

#[test]
fn what_was_meant() {
    let names = || KEYS.iter().map(|key| key.name);
    for (typed, meaning) in [
        ("dedline-sec", Some("deadline-sec")),
        ("requiredUnits", Some("required-units")),
        ("allowedTCPPorts", Some("allowed-tcp-ports")),
        ("allowed_tcp_port", Some("allowed-tcp-ports")),
        ("allow-pings", Some("allow-ping")),
        ("editors", Some("editor")),
        ("colour", None),
        ("", None),
    ] {
        assert_eq!(nearest(typed, names()), meaning, "{typed}");
    }
}
