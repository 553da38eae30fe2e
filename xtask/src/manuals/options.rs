//! `nix/options.json`: what the NixOS module makes its typed options of.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use lastgood::config::keys::{KEYS, Key, Kind};
use serde_json::{Map, Value, json};

/// The text of the file.
pub(super) fn json() -> Result<String> {
    let mut sections: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for key in KEYS {
        let option = json!({
            "type": kind(key.kind),
            "default": key.default.map(value).transpose()?,
            "example": value(key.example)?,
            "description": description(key),
        });
        let section = sections.entry(key.section).or_default();
        section.insert(key.name.to_owned(), option);
    }
    Ok(format!("{}\n", serde_json::to_string_pretty(&sections)?))
}

/// For the manual of NixOS's options.
fn description(key: &Key) -> String {
    format!("{} Why the default is the default: {}", key.what, key.why)
}

/// A value of TOML as one of JSON.
fn value(toml: &str) -> Result<Value> {
    let mut table: toml::Table = toml::from_str(&format!("it = {toml}"))?;
    let it = table.remove("it").context("no value")?;
    Ok(serde_json::to_value(it)?)
}

fn kind(kind: Kind) -> Value {
    match kind {
        Kind::Bool => json!({ "type": "bool" }),
        Kind::Integer(min, max) => json!({ "type": "int", "min": min, "max": max }),
        Kind::Text => json!({ "type": "str" }),
        Kind::Path => json!({ "type": "path" }),
        Kind::Word(words) => json!({ "type": "enum", "values": words }),
        Kind::Many(of) => json!({ "type": "listOf", "of": self::kind(*of) }),
        Kind::Map(of) => json!({ "type": "attrsOf", "of": self::kind(*of) }),
        Kind::Either(one, other) => {
            json!({ "type": "either", "of": [self::kind(*one), self::kind(*other)] })
        }
        Kind::Table => json!({ "type": "anything" }),
    }
}
