//! The list against the catalogue.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// What an operator is shown, and where it comes from.
const CATALOGUE: &str = include_str!("../../../../../units/lastgood.catalog");

/// The entries: id, and what stands below it.
fn entries() -> BTreeMap<&'static str, &'static str> {
    let mut all = BTreeMap::new();
    for entry in format!("\n{CATALOGUE}").leak().split("\n-- ").skip(1) {
        let (id, text) = entry.split_once('\n').unwrap();
        assert_eq!(all.insert(id, text), None, "{id} is there twice");
    }
    all
}

#[test]
fn the_catalogue_has_what_the_list_has_and_nothing_else() {
    let listed: BTreeSet<&str> = ALL.iter().map(|one| one.id()).collect();
    assert_eq!(listed.len(), ALL.len(), "an id is there twice");
    assert_eq!(entries().into_keys().collect::<BTreeSet<_>>(), listed);
    for id in listed {
        let is_lower = |digit: char| digit.is_ascii_digit() || ('a'..='f').contains(&digit);
        assert!(id.len() == 32 && id.chars().all(is_lower), "{id}");
    }
}

/// A constant that is left out of the list has no text, and nobody would see that.
#[test]
fn the_list_has_every_constant() {
    let source = include_str!("../message.rs");
    assert_eq!(source.matches(": Message = Message(").count(), ALL.len());
}

/// What is read at 3 a.m.: a headline, who says it, where more is, what it means, and what to type.
#[test]
fn every_text_has_a_headline_a_meaning_and_something_to_type() {
    /// What the agent fills in: a field that is not there would be shown by its name.
    const FIELDS: [&str; 5] = [
        "LASTGOOD_GENERATION",
        "LASTGOOD_CLOSURE",
        "LASTGOOD_FROM",
        "LASTGOOD_STAGE",
        "LASTGOOD_HOOK",
    ];
    for (id, text) in entries() {
        let (head, body) = text.split_once("\n\n").unwrap_or_default();
        let keys: Vec<&str> = head
            .lines()
            .filter_map(|line| Some(line.split_once(": ")?.0))
            .collect();
        assert_eq!(keys, ["Subject", "Defined-By", "Documentation"], "{id}");
        assert!(body.trim().lines().count() > 1, "{id}: {body}");
        assert!(
            body.lines().any(|line| line.starts_with("    ")),
            "{id} names nothing to type"
        );
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{id}: {line}");
        }
        for field in text.split('@').skip(1).step_by(2) {
            assert!(FIELDS.contains(&field), "{id}: @{field}@");
        }
    }
}
