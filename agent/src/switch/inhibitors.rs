//! What forbids a live switch: two closures that say different things of the same matter (`switch-inhibitors`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What a closure says of such matters, by their names.
pub type Matters = BTreeMap<String, Value>;

/// What a closure's `switch-inhibitors` says.
///
/// # Errors
/// When it is no JSON object.
pub fn parse(text: &str) -> Result<Matters, serde_json::Error> {
    serde_json::from_str(text)
}

/// The names of the matters in which two closures differ. One that only one of them knows forbids nothing.
#[must_use]
pub fn inhibitors(old: &Matters, new: &Matters) -> BTreeSet<String> {
    let differ = old.iter().filter(|(name, value)| {
        let other = new.get(*name);
        other.is_some_and(|other| other != *value)
    });
    differ.map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(all: &[(&str, &str)]) -> Matters {
        let pairs = all.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
            .collect()
    }

    #[test]
    fn a_file_is_a_json_object() -> Result<(), serde_json::Error> {
        let read = parse(r#"{"dbus": "a", "other": {"deep": 1}}"#)?;
        assert_eq!(read.get("dbus"), Some(&Value::from("a")));
        assert_eq!(
            inhibitors(&read, &parse(r#"{"other": {"deep": 2}}"#)?).len(),
            1
        );
        assert!(parse("[]").is_err());
        Ok(())
    }

    #[test]
    fn only_a_matter_that_both_know_and_see_differently_forbids() {
        let none = map(&[]);
        for (old, new, names) in [
            (none.clone(), map(&[("dbus", "a")]), vec![]),
            (map(&[("dbus", "a")]), none.clone(), vec![]),
            (map(&[("dbus", "a")]), map(&[("dbus", "a")]), vec![]),
            (map(&[("dbus", "a")]), map(&[("dbus", "b")]), vec!["dbus"]),
            (
                map(&[("dbus", "a"), ("old", "x")]),
                map(&[("dbus", "a"), ("new", "y")]),
                vec![],
            ),
            (
                map(&[("a", "1"), ("b", "1"), ("c", "1")]),
                map(&[("a", "2"), ("b", "1"), ("c", "2")]),
                vec!["a", "c"],
            ),
        ] {
            let found = inhibitors(&old, &new);
            assert_eq!(found.iter().collect::<Vec<_>>(), names);
        }
    }
}
