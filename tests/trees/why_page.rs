//! docs/why.md shows what `lastgood why` says of failures of seven kinds. The page is compared with what is said now.
//!
//! `LASTGOOD_WRITE_SCREENS=1` writes the page's answers anew.

use std::fs;

use anyhow::{Context as _, Result, bail};
use lastgood_tests::{files, paths};
use serde_json::{Map, Value, json};

use super::screens_page::{COLUMNS, machine, rewrite, seen};

const PAGE: &str = "docs/why.md";
/// A failure's block is called by the comment before it.
const NAME: &str = "<!-- ";

/// A cause with one fault, and what is known about its unit.
fn of_unit(
    summary: &str,
    key: &str,
    unit: &str,
    ended: (&str, Option<i32>),
    log: &[&str],
) -> Value {
    let kind = key.split(':').next().unwrap_or_default();
    json!({
        "stage": "services",
        "summary": summary,
        "units": [{"unit": unit, "result": ended.0, "exitStatus": ended.1, "log": log}],
        "faults": [{"key": key, "kind": kind}],
    })
}

/// As the agent records them: the words of the summaries are those of `assessment/complaint/wrong.rs`, and the lines are what
/// the units of Debian 12 write.
fn cause(name: &str) -> Result<Value> {
    Ok(match name {
        "service" => of_unit(
            "required nginx.service failed (exit-code)",
            "unit:nginx.service",
            "nginx.service",
            ("exit-code", Some(1)),
            &[
                "nginx: [emerg] unknown directive \"lissten\" in /etc/nginx/nginx.conf:2",
                "nginx: configuration file /etc/nginx/nginx.conf test failed",
            ],
        ),
        "start limit" => of_unit(
            "required app.service is at its start limit: it was started too often in a short time (`systemctl reset-failed` lets \
             it start again)",
            "unit:app.service",
            "app.service",
            ("start-limit-hit", Some(1)),
            &[
                "app: cannot connect to /run/db/socket: No such file or directory",
                "app.service: Start request repeated too quickly.",
            ],
        ),
        "missing" => of_unit(
            "required ngnix.service is not found",
            "unit:ngnix.service",
            "ngnix.service",
            ("not-found", None),
            &["Unit ngnix.service not found."],
        ),
        "firewall" => of_unit(
            "the firewall's ruleset was not loaded",
            "firewall",
            "lastgood-firewall.service",
            ("exit-code", Some(1)),
            &[
                "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nftables.conf:4:14-18: Error: syntax error, unexpected string",
                "    tcp dprot 22 accept",
                "        ^^^^^",
                "the machine is closed but for the management ports 22",
            ],
        ),
        "script" => of_unit(
            "the closure was not put in place",
            "activation",
            "lastgood-activate.service",
            ("exit-code", Some(1)),
            &[
                "activate: /nix/store/0123456789abcdfghijklmnpqrsvwxyz-activate: 12: adduser: not found",
                "cannot run activate: exit status: 127",
            ],
        ),
        "deadline" => of_unit(
            "not well within 300 s: required db.service is activating (start)",
            "unit:db.service",
            "db.service",
            ("activating", None),
            &["db: replaying the log: 41 % (12 GiB of 29 GiB)"],
        ),
        "tries" => json!({
            "stage": "loader",
            "summary": "the loader started it as often as it may, and none of these boots reached the agent: its kernel or its \
                        initrd failed, or the power",
            "units": [],
            "faults": [{"key": "loader:tries-used-up", "kind": "loader"}],
        }),
        name => bail!("no failure {name}"),
    })
}

/// What the loader does by itself: none of the boots began, and the verdict came in the boot of what it went on to.
fn by_the_loader(events: &mut Vec<Map<String, Value>>) -> Result<()> {
    let at = |events: &[Map<String, Value>], name: &str| {
        events.iter().rposition(|event| event["event"] == name)
    };
    let rejected = at(events, "rejected").context("no verdict")?;
    let rejected = events.remove(rejected);
    if let Some(rebooting) = at(events, "rebooting") {
        events.remove(rebooting);
    }
    let running = rejected["subject"].clone();
    events.retain(|event| !(event["event"] == "began" && event["running"] == running));
    events.push(rejected);
    Ok(())
}

#[test]
fn the_page_shows_what_is_said_of_seven_failures() -> Result<()> {
    let path = paths::repository().join(PAGE);
    let page = fs::read_to_string(&path)?;
    let mut blocks = page.split(NAME);
    let mut new = blocks.next().context("no page")?.to_owned();
    let mut count = 0;
    for block in blocks {
        let (name, rest) = block.split_once(" -->\n```text\n").context("no block")?;
        let (_, after) = rest.split_once("```\n").context("a block without an end")?;
        let tree = machine()?;
        let cause = cause(name)?;
        rewrite(&tree, |events| {
            for event in events.iter_mut() {
                if let Some(old) = event.get_mut("cause") {
                    *old = cause.clone();
                }
            }
            if name == "tries" {
                by_the_loader(events).unwrap();
            }
        })?;
        let shown = seen(&tree, COLUMNS, "why 2")?;
        // Where to look, and what to type, without scrolling.
        assert!(shown.contains("\n  mend  "), "{name}: {shown}");
        assert!(shown.lines().count() <= 22, "{name}: {shown}");
        for piece in [
            NAME,
            name,
            " -->
```text
$ lastgood why 2
",
            &shown,
            "```
",
            after,
        ] {
            new.push_str(piece);
        }
        count += 1;
    }
    if std::env::var_os("LASTGOOD_WRITE_SCREENS").is_some() {
        files::write(&path, &new)?;
    }
    assert_eq!(count, 7);
    assert!(
        page == new,
        "{PAGE} does not show what is said, which is:\n{new}"
    );
    Ok(())
}
