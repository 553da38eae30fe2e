//! `docs/lastgood.toml` and `lastgood.toml(5)`: every key, its default, and why that is the default.

use lastgood::config::keys::{KEYS, Kind, SECTIONS};

use super::page::Page;

/// Columns of the example.
const WIDTH: usize = 100;

/// The example file. All that is not a comment in it is a default.
pub(super) fn example() -> String {
    let mut lines = comment(
        "lastgood.toml: what a closure tells lastgood, as etc/lastgood/lastgood.toml inside it. It rolls back with the closure. \
         Every key is here. What is no comment is the default, so the file as it is changes nothing. A line `# key = ...` shows \
         a key that says nothing by default. `lastgood check-config FILE` finds mistakes; a misspelt key is one.",
    );
    for &(section, about) in SECTIONS {
        lines.extend([String::new(), format!("[{section}]")]);
        lines.extend(comment(about));
        for key in KEYS.iter().filter(|key| key.section == section) {
            lines.push(String::new());
            lines.extend(comment(key.what));
            lines.extend(comment(&format!("Why this default: {}", key.why)));
            lines.extend(key.default.map(|value| format!("{} = {value}", key.name)));
            if !key.default.is_some_and(is_telling) {
                lines.push(format!("# {} = {}", key.name, key.example));
            }
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Whether the default shows by itself how a value is written.
fn is_telling(value: &str) -> bool {
    !["[]", "{}", "\"\""].contains(&value)
}

/// Folds `what` into lines of a comment.
fn comment(what: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::from("#");
    for word in what.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::replace(&mut line, "#".to_owned()));
        }
        line.push(' ');
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// The manual page.
pub(super) fn page() -> String {
    let mut page = Page::new("lastgood.toml", 5, "File Formats");
    page.section("NAME");
    page.words("lastgood.toml - what a closure tells lastgood");
    page.section("SYNOPSIS");
    page.words("TOPLEVEL/etc/lastgood/lastgood.toml");
    page.section("DESCRIPTION");
    page.text(
        "The file is part of a closure, so it rolls back with the closure. Without the file, a section or a key the default \
         holds. A misspelt key is a mistake. `lastgood install` refuses a closure whose file has a mistake, with line and \
         column. A boot that finds one goes on with the defaults and says so.",
    );
    for &(section, about) in SECTIONS {
        page.section(&format!("[{section}]"));
        page.text(about);
        for key in KEYS.iter().filter(|key| key.section == section) {
            page.item(&format!("{} = {}", key.name, taken(key.kind)));
            page.text(key.what);
            let default = key.default.unwrap_or("not set");
            page.more(&format!("Default: {default}"));
            page.more(&format!("Why this default: {}", key.why));
            page.more(&format!("Example: {} = {}", key.name, key.example));
        }
    }
    page.section("EXAMPLE");
    page.text("A web server that is well when nginx is up and has stayed so for half a minute:");
    page.literal(
        "[health]\nrequired-units = [\"nginx.service\", \"ssh.service\"]\nsettle-sec = 30\n\n[firewall]\nenable = \
         true\nallowed-tcp-ports = [22, 80, 443]",
    );
    page.section("SEE ALSO");
    page.words("lastgood(8), loader.conf(5), nft(8)");
    page.done()
}

/// What a key takes, in words.
fn taken(kind: Kind) -> String {
    match kind {
        Kind::Bool => "true|false".to_owned(),
        Kind::Integer(min, max) => format!("{min}..{max}"),
        Kind::Text => "\"TEXT\"".to_owned(),
        Kind::Path => "\"PATH\"".to_owned(),
        Kind::Word(words) => {
            let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            quoted.join("|")
        }
        Kind::Many(of) => format!("[{}, ...]", taken(*of)),
        Kind::Map(of) => format!("{{ \"NAME\" = {}, ... }}", taken(*of)),
        Kind::Either(one, other) => format!("{}|{}", taken(*one), taken(*other)),
        Kind::Table => "{ ... }".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lastgood::config::Config;
    use lastgood::config::keys::Key;

    #[test]
    fn the_example_as_it_is_changes_nothing() {
        assert_eq!(Config::parse(&example()), Ok(Config::default()));
    }

    /// Each `# key = value` is one, too, in its section.
    #[test]
    fn what_the_example_shows_in_comments_is_taken() {
        let mut shown = 0;
        for key in KEYS {
            let line = format!("# {} = {}\n", key.name, key.example);
            let is_shown = example().contains(&line);
            assert_eq!(is_shown, !key.default.is_some_and(is_telling), "{line}");
            shown += usize::from(is_shown);
        }
        assert!(shown > 10, "{shown}");
    }

    #[test]
    fn every_key_and_every_reason_is_in_both() {
        let flat = |text: String| {
            text.replace("\\-", "-")
                .replace("\\(aq", "'")
                .replace(['#', '\n'], " ")
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        let (example, page) = (flat(example()), flat(page()));
        for Key {
            name, what, why, ..
        } in KEYS
        {
            for text in [name, what, why] {
                let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                assert!(example.contains(&text), "example: {text}");
                assert!(page.contains(&text), "page: {text}");
            }
        }
    }
}
