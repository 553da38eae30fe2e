//! docs/screens.md shows what the program prints. The page is compared with what it prints now.
//!
//! `LASTGOOD_WRITE_SCREENS=1` writes the page's answers anew.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};
use lastgood_tests::tree::Tree;
use lastgood_tests::{command, files, paths, program};
use serde_json::{Map, Value, json};

use super::diff::{AFTER, BEFORE, PACKAGES};
use super::ok;
use super::steps::boot;

const PAGE: &str = "docs/screens.md";
const LEDGER: &str = "var/lib/lastgood/ledger.jsonl";
/// What an answer begins with on the page.
const PROMPT: &str = "$ lastgood ";
/// What a hash looks like there.
const HASH: &str = "0123456789abcdfghijklmnpqrsvwxyz";
/// So many columns fit beside the margins of a page.
pub(super) const COLUMNS: u16 = 100;

/// The first generation is proven and runs. The second was tried and failed. The third is only built, and lacks its
/// kernel.
pub(super) fn machine() -> Result<Tree> {
    let tree = Tree::new()?;
    let mut toplevels = Vec::new();
    for (at, extra) in [BEFORE, AFTER].into_iter().enumerate() {
        let toplevel = tree.build_needing(&(at + 1).to_string(), extra, &PACKAGES[at])?;
        tree.set(&toplevel)?;
        toplevels.push(toplevel);
    }
    ok(&tree.lastgood(&["install", "1"])?);
    boot(&tree, &toplevels[0], 1)?;
    ok(&tree.lastgood(&["good", "1"])?);
    ok(&tree.lastgood(&["install", "2"])?);
    tree.count_a_boot(2)?;
    boot(&tree, &toplevels[1], 2)?;
    ok(&tree.lastgood(&["step", "fall-back"])?);
    boot(&tree, &toplevels[0], 3)?;
    let third = tree.build("3", "echo '{}' > $out/boot.json")?;
    tree.set(&third)?;
    rewrite(&tree, |events| {
        for event in events {
            if let Some(cause) = event.get_mut("cause") {
                *cause = failure("2");
            }
        }
    })?;
    Ok(tree)
}

fn failure(number: &str) -> Value {
    let log = [
        format!("nginx: [emerg] unknown directive \"lissten\" in /etc/nginx/nginx.conf:{number}"),
        "nginx: configuration file /etc/nginx/nginx.conf test failed".to_owned(),
    ];
    let unit = json!({"unit": "nginx.service", "result": "exit-code", "exitStatus": 1, "log": log});
    json!({
        "stage": "services",
        "summary": "required nginx.service failed (exit-code)",
        "units": [unit],
        "faults": [{"key": "unit:nginx.service", "kind": "unit"}],
    })
}

/// Changes what is on record, and gives each event a time of its own.
pub(super) fn rewrite(
    tree: &Tree,
    change: impl FnOnce(&mut Vec<Map<String, Value>>),
) -> Result<()> {
    let text = fs::read_to_string(tree.path(LEDGER))?;
    let events = text.lines().map(serde_json::from_str);
    let mut events: Vec<Map<String, Value>> = events.collect::<Result<_, _>>()?;
    change(&mut events);
    let mut now: jiff::Timestamp = "2026-01-12T08:00:00Z".parse()?;
    let mut lines = String::new();
    for mut event in events {
        let after = match event["event"].as_str().unwrap_or_default() {
            "selected" => 3600,
            "began" => 75,
            "proven" | "rejected" | "degraded" => 45,
            _ => 1,
        };
        now = now.checked_add(jiff::SignedDuration::from_secs(after))?;
        event.insert("time".to_owned(), now.to_string().into());
        // A line without a checksum has the first members only.
        for other in ["crc", "min", "binding", "logLines", "reset"] {
            event.remove(other);
        }
        lines.push_str(&Value::Object(event).to_string());
        lines.push('\n');
    }
    files::write(&tree.path(LEDGER), lines)
}

/// The same machine, a day later: what is proven fails.
fn unwell() -> Result<Tree> {
    let tree = machine()?;
    let running = fs::read_link(tree.path("nix/var/nix/profiles/system-1-link"))?;
    rewrite(&tree, |events| {
        let subject = json!({"generation": "1", "toplevel": running});
        let degraded =
            json!({"v": 1, "event": "degraded", "subject": subject, "cause": failure("7")});
        if let Value::Object(degraded) = degraded {
            events.push(degraded);
        }
    })?;
    tree.firmware_says("LoaderEntryDefault", "debian.conf")?;
    Ok(tree)
}

/// As at a terminal without colour.
pub(super) fn seen(tree: &Tree, columns: u16, arguments: &str) -> Result<String> {
    let line = format!(
        "stty cols {columns} rows 50; {} --root {} {arguments} 2>&1 || :",
        program::build()?.display(),
        tree.path("").display()
    );
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]);
    script
        .env("TERM", "xterm")
        .env("TZ", "UTC")
        .env("NO_COLOR", "1");
    Ok(same(&command::output(&mut script)?.replace('\r', "")))
}

/// What differs from host to host, and from run to run, made the same.
fn same(text: &str) -> String {
    let mut same = String::new();
    for line in text.lines() {
        let line = after(line, "/nix/store/", HASH);
        let line = (1..=3).fold(line, |line, number| {
            after(&line, &format!("lastgood-{number}-"), "0123abcd")
        });
        let line = after(&line, "copy EFI/lastgood/", HASH);
        let mut line = after(&line, "systemd-boot 2", "xx");
        // What is on record has times of its own. Links were made just now.
        let is_row =
            line.starts_with(|first: char| first.is_ascii_digit()) && !line.starts_with("2026");
        if is_row && line.len() > 31 {
            line.replace_range(12..31, "2026-01-12 08:00:00");
        }
        same.push_str(line.trim_end());
        same.push('\n');
    }
    same
}

/// `line` with `same` after each `word`, in the place of as many characters, or of the rest of the version.
fn after(line: &str, word: &str, same: &str) -> String {
    let mut pieces = line.split(word);
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let rest = match same {
            "xx" => piece.trim_start_matches(|c: char| !c.is_whitespace()),
            _ => piece.get(same.len()..).unwrap_or_default(),
        };
        text = [&text, word, same, rest].concat();
    }
    text
}

#[test]
fn the_page_shows_what_is_printed() -> Result<()> {
    let (machine, unwell) = (machine()?, unwell()?);
    let path = paths::repository().join(PAGE);
    let page = fs::read_to_string(&path)?;
    let mut new = String::new();
    let mut blocks = page.split("```text\n");
    new.push_str(blocks.next().context("no page")?);
    let mut count = 0;
    for block in blocks {
        let (_, after) = block
            .split_once("```\n")
            .context("a block that does not end")?;
        let prompt = block.lines().next().context("an empty block")?;
        let typed = prompt
            .strip_prefix(PROMPT)
            .context("a block without a command")?;
        let (arguments, comment) = typed.split_once("  # ").unwrap_or((typed, ""));
        let tree = if comment.is_empty() {
            &machine
        } else {
            &unwell
        };
        let shown = seen(tree, COLUMNS, arguments.trim_end())?;
        for piece in ["```text\n", prompt, "\n", &shown, "```\n", after] {
            new.push_str(piece);
        }
        count += 1;
    }
    if std::env::var_os("LASTGOOD_WRITE_SCREENS").is_some() {
        files::write(&path, &new)?;
    }
    assert!(count >= 8, "{count} answers");
    assert!(
        page == new,
        "{PAGE} does not show what is printed, which is:\n{new}"
    );
    Ok(())
}

/// Nobody scrolls at 3 a.m.: with a fallback, two things wrong and two notes it is one screen of an old terminal.
#[test]
fn status_fits_on_one_screen() -> Result<()> {
    let tree = unwell()?;
    let shown = seen(&tree, 80, "status")?;
    let words = [
        "running ",
        "state ",
        "boots next ",
        "then ",
        "fell back ",
        "wrong ",
        "-> ",
    ];
    for word in words {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    assert!(shown.lines().count() <= 24, "{shown}");
    Ok(())
}

/// The names of the keys that a schema has, however deep.
fn keys(schema: &Value, all: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            for (name, value) in members {
                if name == "properties" {
                    all.extend(value.as_object().into_iter().flat_map(Map::keys).cloned());
                }
                keys(value, all);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, all)),
        _ => {}
    }
}

#[test]
fn every_key_of_a_schema_is_explained() -> Result<()> {
    let docs = paths::repository().join("docs");
    let page = fs::read_to_string(docs.join("json.md"))?;
    let mut count = 0;
    for path in files::sorted_entries(&docs.join("schemas"))? {
        let mut all = BTreeSet::new();
        keys(
            &serde_json::from_str(&fs::read_to_string(&path)?)?,
            &mut all,
        );
        assert!(!all.is_empty(), "{}", path.display());
        for key in all {
            let named = [format!("`{key}`"), format!("\"{key}\"")];
            let is_named = named.iter().any(|named| page.contains(named));
            assert!(
                is_named,
                "{}: docs/json.md says nothing of {key}",
                path.display()
            );
        }
        count += 1;
    }
    assert_eq!(count, 10);
    Ok(())
}
