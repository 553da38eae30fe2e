//! JSON Schema, as far as docs/schemas uses it. A keyword that is not known here is an error: nothing is taken for
//! checked that is not.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::paths;

/// Keywords that say nothing about a value.
const COMMENTS: [&str; 4] = ["$schema", "$defs", "title", "description"];

/// A schema of docs/schemas.
#[derive(Debug)]
pub struct Schema(Value);

impl Schema {
    /// That of the command `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(name: &str) -> Result<Self> {
        let path = paths::repository().join(format!("docs/schemas/{name}.json"));
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(Self(serde_json::from_str(&text)?))
    }

    /// Whether `value` is as the schema says.
    ///
    /// # Errors
    /// Where it is not, or where the schema has a keyword that is not known.
    pub fn check(&self, value: &Value) -> Result<()> {
        self.is(&self.0, value, "$")
    }

    fn is(&self, schema: &Value, value: &Value, at: &str) -> Result<()> {
        let keywords = schema.as_object().context("a schema is an object")?;
        for (keyword, said) in keywords {
            let is_so = match keyword.as_str() {
                comment if COMMENTS.contains(&comment) => true,
                "type" => match said {
                    Value::Array(any) => any.iter().any(|one| is_of(one, value)),
                    one => is_of(one, value),
                },
                "const" => said == value,
                "enum" => said.as_array().is_some_and(|all| all.contains(value)),
                "minimum" => value
                    .as_i64()
                    .is_none_or(|value| Some(value) >= said.as_i64()),
                "pattern" => match value.as_str() {
                    Some(text) => matches(said.as_str().context("a pattern is text")?, text)?,
                    None => true,
                },
                "$ref" => {
                    let name = said.as_str().and_then(|said| said.strip_prefix("#/$defs/"));
                    let meant = self
                        .0
                        .get("$defs")
                        .zip(name)
                        .and_then(|(all, name)| all.get(name));
                    let meant = meant.with_context(|| format!("{said} leads nowhere"))?;
                    self.is(meant, value, at)?;
                    true
                }
                "anyOf" => {
                    let any = said.as_array().context("anyOf is a list")?;
                    let mut tried = any.iter().map(|one| self.is(one, value, at));
                    tried.any(|tried| tried.is_ok())
                }
                "items" => {
                    for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.is(said, item, &format!("{at}[{number}]"))?;
                    }
                    true
                }
                "properties" => {
                    for (name, schema) in said.as_object().into_iter().flatten() {
                        if let Some(value) = value.get(name) {
                            self.is(schema, value, &format!("{at}.{name}"))?;
                        }
                    }
                    true
                }
                "required" => {
                    let mut names = said
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_str);
                    let missing = names.find(|name| value.get(*name).is_none());
                    ensure!(
                        !value.is_object() || missing.is_none(),
                        "{at} has no {missing:?}"
                    );
                    true
                }
                "additionalProperties" => {
                    let known = keywords.get("properties");
                    let others = value.as_object().into_iter().flatten();
                    let others = others.filter(|(name, _)| {
                        known.is_none_or(|known| known.get(name.as_str()).is_none())
                    });
                    for (name, other) in others {
                        ensure!(
                            *said != Value::Bool(false),
                            "{at} has {name:?}, of which the schema says nothing"
                        );
                        self.is(said, other, &format!("{at}.{name}"))?;
                    }
                    true
                }
                other => bail!("{at}: the keyword {other:?} is not known"),
            };
            ensure!(is_so, "{at} is {value}, and not {keyword} {said}");
        }
        Ok(())
    }
}

fn is_of(name: &Value, value: &Value) -> bool {
    match name.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("null") => value.is_null(),
        _ => false,
    }
}

/// grep knows regular expressions.
fn matches(pattern: &str, text: &str) -> Result<bool> {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut grep = Command::new("grep")
        .args(["-zqE", "--", pattern])
        .stdin(Stdio::piped())
        .spawn()?;
    let mut stdin = grep.stdin.take().context("grep has no input")?;
    stdin.write_all(text.as_bytes())?;
    drop(stdin);
    Ok(grep.wait()?.success())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Schema {
        Schema(json!({
            "$defs": { "number": { "type": "integer", "minimum": 1 } },
            "type": "object",
            "properties": {
                "a": { "$ref": "#/$defs/number" },
                "b": { "type": "array", "items": { "enum": ["x", "y"] } },
                "c": { "anyOf": [{ "type": "null" }, { "type": "string", "pattern": "^[0-9]+$" }] },
                "d": { "const": true },
            },
            "required": ["a"],
            "additionalProperties": false,
        }))
    }

    #[test]
    fn what_is_no_property_is_checked_too() {
        let schema = Schema(json!({
            "properties": { "a": { "type": "integer" } },
            "additionalProperties": { "type": "string" },
        }));
        for (value, is) in [
            (json!({}), true),
            (json!({"a": 1, "b": "x"}), true),
            (json!({"a": 1, "b": 2}), false),
        ] {
            assert_eq!(schema.check(&value).is_ok(), is, "{value}");
        }
    }

    #[test]
    fn each_keyword_says_yes_and_no() {
        for right in [
            json!({"a": 1}),
            json!({"a": 2, "b": ["x", "y"], "c": null, "d": true}),
            json!({"a": 2, "b": [], "c": "47"}),
        ] {
            schema().check(&right).unwrap();
        }
        for wrong in [
            json!([]),
            json!({}),
            json!({"a": 0}),
            json!({"a": "1"}),
            json!({"a": 1, "b": ["z"]}),
            json!({"a": 1, "b": "x"}),
            json!({"a": 1, "c": "4x"}),
            json!({"a": 1, "c": 4}),
            json!({"a": 1, "d": false}),
            json!({"a": 1, "e": 1}),
        ] {
            assert!(schema().check(&wrong).is_err(), "{wrong}");
        }
        let unknown = Schema(json!({"minLength": 1}));
        assert!(unknown.check(&json!("a")).is_err());
        let nowhere = Schema(json!({"$ref": "#/$defs/gone"}));
        assert!(nowhere.check(&json!("a")).is_err());
    }
}
