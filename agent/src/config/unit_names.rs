//! Names of units that systemd could never have: a mistake where somebody can mend it. At boot such a unit is not found, and
//! is judged like one that is missing.

use serde::Deserialize;
use toml::Spanned;

use super::keys::nearest;
use crate::host::UNIT_KINDS;

/// No name of a unit is longer, its suffix included (systemd.unit(5)).
const LONGEST: usize = 255;

/// Of a whole configuration the names of units, with their places.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Names {
    health: OfHealth,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct OfHealth {
    required_units: Vec<Spanned<String>>,
    wanted_units: Vec<Spanned<String>>,
}

/// The first name in `text` that can never be a unit's: its byte, and what is wrong. None as well where the text is no
/// configuration, which is another mistake.
pub(super) fn mistake(text: &str) -> Option<(usize, String)> {
    let health = toml::from_str::<Names>(text).ok()?.health;
    let names = health.required_units.iter().chain(&health.wanted_units);
    let mistakes = names.filter_map(|name| {
        let why = never_a_unit(name.get_ref())?;
        Some((name.span().start, why))
    });
    mistakes.min_by_key(|(at, _)| *at)
}

/// Why this can never be the name of a unit. A name without a suffix is a service's, as for systemctl.
fn never_a_unit(name: &str) -> Option<String> {
    let shown = format!("{name:?}");
    let trimmed = name.trim();
    if trimmed.is_empty() {
        return Some(format!(
            "{shown} is no unit: name one, as in \"nginx.service\""
        ));
    }
    if trimmed != name {
        return Some(format!(
            "{shown} is no unit: leave the blanks out, as in {trimmed:?}"
        ));
    }
    // systemd's VALID_CHARS of a unit's name (systemd.unit(5)).
    let is_odd = |c: &char| !(c.is_ascii_alphanumeric() || ":-_.\\@".contains(*c));
    if let Some(odd) = name.chars().find(is_odd) {
        return Some(format!(
            "{shown} is no unit: {odd:?} is in no name of a unit"
        ));
    }
    let (stem, kind) = name.rsplit_once('.').unwrap_or((name, "service"));
    if !UNIT_KINDS.contains(&kind) {
        let meant = nearest(kind, UNIT_KINDS);
        let advice = meant.map_or_else(
            || format!("if it is a service, name it \"{name}.service\""),
            |kind| format!("did you mean \"{stem}.{kind}\"?"),
        );
        return Some(format!(
            "{shown} is no unit: there is no kind .{kind}; {advice}"
        ));
    }
    if stem.is_empty() || stem.starts_with('@') {
        return Some(format!("{shown} is no unit: it has a suffix and no name"));
    }
    if stem.ends_with('@') {
        return Some(format!(
            "{shown} is a template, which never runs: name an instance, as in \"{stem}NAME.{kind}\""
        ));
    }
    (stem.len() + 1 + kind.len() > LONGEST)
        .then(|| format!("{shown} is no unit: a name has at most {LONGEST} characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_never_be_a_unit_is_told_with_what_to_write() {
        for (name, told) in [
            (
                "nginx.service ",
                "leave the blanks out, as in \"nginx.service\"",
            ),
            ("", "name one"),
            (
                "nginx@.service",
                "name an instance, as in \"nginx@NAME.service\"",
            ),
            ("nginx@", "name an instance, as in \"nginx@NAME.service\""),
            (
                "nginx.servce",
                "there is no kind .servce; did you mean \"nginx.service\"?",
            ),
            ("sshd.soket", "did you mean \"sshd.socket\"?"),
            (
                "org.example",
                "there is no kind .example; if it is a service, name it \"org.example.service\"",
            ),
            ("a b.service", "' ' is in no name"),
            ("ngin\u{e4}.service", "is in no name"),
            ("/usr/bin/x", "'/' is in no name"),
            (".service", "it has a suffix and no name"),
            ("@x.service", "it has a suffix and no name"),
        ] {
            let why = never_a_unit(name).unwrap_or_default();
            assert!(why.contains(told), "{name:?}: {why}");
        }
        assert!(never_a_unit(&"x".repeat(250)).is_some());
    }

    #[test]
    fn what_may_be_a_unit_is_not_refused() {
        for name in [
            "nginx",
            "nginx.service",
            "getty@tty1.service",
            "dev-disk-by\\x2dlabel-data.swap",
            "srv-data.mount",
            "a:b_c.target",
            "nginx@x",
        ] {
            assert_eq!(never_a_unit(name), None, "{name}");
        }
        assert_eq!(never_a_unit(&"x".repeat(247)), None);
    }

    #[test]
    fn the_first_mistake_has_its_place() {
        let text = "[health]\nwanted-units = [\n  \"a.service\",\n  \"b@.service\",\n]\nrequired-units = [\"c \"]\n";
        let (at, why) = mistake(text).unwrap();
        assert!(text[at..].starts_with("\"b@.service\""), "{at}: {why}");
        assert_eq!(mistake("[health]\nsettle-sec = 3\n"), None);
        assert_eq!(mistake("[health\n"), None);
    }
}
