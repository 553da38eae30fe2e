//! What a fleet is told: the file for Prometheus, alerts, a dashboard, the line at login. Checked by Prometheus' own tool.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use lastgood_tests::tree::Tree;
use lastgood_tests::{command, files, paths, prometheus};
use serde_json::Value;

use super::ok;
use super::steps::boot;

const DIRECTORY: &str = "var/lib/prometheus/node-exporter";
const BANNER: &str = "run/motd.d/lastgood";

fn docs() -> std::path::PathBuf {
    paths::repository().join("docs")
}

fn promtool(words: &[&str], file: &Path) -> Result<String> {
    let mut promtool = Command::new(prometheus::promtool()?);
    command::output(promtool.args(words).arg(file))
}

/// The numbers that are there.
fn numbers(tree: &Tree) -> Result<String> {
    let file = tree.path(DIRECTORY).join("lastgood.prom");
    fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
}

fn value(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.strip_prefix(' ')?.parse().ok()
}

/// The names in a text of `PromQL`, or of the format, that are ours.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|one: char| !one.is_ascii_alphanumeric() && one != '_');
    let ours = words.filter(|word| word.starts_with("lastgood_"));
    ours.map(str::to_owned).collect()
}

/// Two generations that tell Prometheus; the first is proven, the second is selected.
fn machine() -> Result<(Tree, Vec<std::path::PathBuf>)> {
    let tree = Tree::new()?;
    let says = format!(
        "printf '[metrics]\\ntextfile-directory = \"/{DIRECTORY}\"\\n' > $out/etc/lastgood/lastgood.toml"
    );
    let mut toplevels = Vec::new();
    for number in ["1", "2"] {
        let toplevel = tree.build(number, &says)?;
        tree.set(&toplevel)?;
        toplevels.push(toplevel);
    }
    ok(&tree.lastgood(&["install", "1"])?);
    boot(&tree, &toplevels[0], 1)?;
    ok(&tree.lastgood(&["good", "1"])?);
    Ok((tree, toplevels))
}

#[test]
fn prometheus_is_told_of_a_fallback() -> Result<()> {
    let (tree, toplevels) = machine()?;
    // Nobody made the directory: it is not made, and nothing fails for it.
    assert!(!tree.path(DIRECTORY).try_exists()?);
    fs::create_dir_all(tree.path(DIRECTORY))?;
    ok(&tree.lastgood(&["install", "2"])?);
    let told = numbers(&tree)?;
    assert!(
        told.contains("part=\"selected\",generation=\"2\""),
        "{told}"
    );
    tree.count_a_boot(2)?;
    boot(&tree, &toplevels[1], 2)?;
    let told = numbers(&tree)?;
    assert!(
        told.contains("lastgood_running_state{state=\"trial\"} 1\n"),
        "{told}"
    );
    assert_eq!(value(&told, "lastgood_trial_boots_left"), Some(2), "{told}");
    ok(&tree.lastgood(&["step", "fall-back"])?);
    boot(&tree, &toplevels[0], 3)?;
    let told = numbers(&tree)?;
    for (name, expected) in [
        ("lastgood_fallbacks_total", 1),
        ("lastgood_rejections_total", 1),
        ("lastgood_automatic_reboots_total", 1),
        ("lastgood_fallback_unanswered", 1),
    ] {
        assert_eq!(value(&told, name), Some(expected), "{name}: {told}");
    }
    // Everybody may read it, and nothing else is left there.
    let left: Vec<_> = files::sorted_entries(&tree.path(DIRECTORY))?;
    assert_eq!(left, [tree.path(DIRECTORY).join("lastgood.prom")]);
    let mut check = Command::new(prometheus::promtool()?);
    check.args(["check", "metrics"]).stdin(Stdio::piped());
    check.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn()?;
    let mut stdin = check.stdin.take().context("no stdin")?;
    stdin.write_all(told.as_bytes())?;
    drop(stdin);
    let said = check.wait_with_output()?;
    let words = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    ensure!(said.status.success() && words.is_empty(), "{words}");

    // A ledger that was shortened has fewer of them, and one that was lost none.
    let file = tree.path(DIRECTORY).join("lastgood.prom");
    let many = told.replace(
        "lastgood_fallbacks_total 1\n",
        "lastgood_fallbacks_total 41\n",
    );
    files::write(&file, many)?;
    ok(&tree.lastgood(&["install", "--again", "2"])?);
    let told = numbers(&tree)?;
    assert_eq!(value(&told, "lastgood_fallbacks_total"), Some(41), "{told}");
    assert_eq!(
        value(&told, "lastgood_fallback_unanswered"),
        Some(0),
        "{told}"
    );
    tree.count_a_boot(2)?;
    boot(&tree, &toplevels[1], 4)?;
    ok(&tree.lastgood(&["step", "fall-back"])?);
    let told = numbers(&tree)?;
    assert_eq!(value(&told, "lastgood_fallbacks_total"), Some(42), "{told}");
    Ok(())
}

#[test]
fn a_directory_that_is_missing_is_told_and_costs_nothing() -> Result<()> {
    let (tree, toplevels) = machine()?;
    ok(&tree.lastgood(&["install", "2"])?);
    fs::create_dir_all(tree.path("proc"))?;
    let cmdline = format!("init={}/init\n", toplevels[1].display());
    files::write(&tree.path("proc/cmdline"), cmdline)?;
    files::write(&tree.path("proc/sys/kernel/random/boot_id"), "boot-2\n")?;
    let said = tree.lastgood(&["step", "begin"])?;
    ok(&said);
    let words =
        format!("/{DIRECTORY} is no directory; make it, or install prometheus-node-exporter");
    assert!(said.stderr.contains(&words), "{said:?}");
    assert!(!tree.path(DIRECTORY).try_exists()?);
    Ok(())
}

#[test]
fn every_number_is_explained_and_every_explanation_is_of_one() -> Result<()> {
    // What a machine may ever say: the names in the source that makes them.
    let source = include_str!("../../agent/src/report/metrics.rs");
    let page = fs::read_to_string(docs().join("monitoring.md"))?;
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `lastgood_"));
    let rows: BTreeSet<String> = rows
        .filter_map(|row| Some(row.split_once('`')?.0.to_owned()))
        .collect();
    let quoted = source.split('"').skip(1).step_by(2);
    let is_name = |word: &&str| {
        word.contains('_')
            && word
                .chars()
                .all(|one| one == '_' || one.is_ascii_lowercase())
    };
    let mut made: BTreeSet<String> = quoted.filter(is_name).map(str::to_owned).collect();
    made.remove("lastgood_");
    made.extend(["info".to_owned(), "held".to_owned()]);
    assert_eq!(rows, made);
    // And those that are used anywhere are among them.
    let of_rows: BTreeSet<String> = rows.iter().map(|row| format!("lastgood_{row}")).collect();
    let rules = fs::read_to_string(docs().join("prometheus/lastgood.rules.yml"))?;
    let tests = paths::repository().join("tests/prometheus/lastgood.rules.test.yml");
    for text in [rules, fs::read_to_string(tests)?, queries()?.join("\n")] {
        let used = names(&text);
        assert!(used.len() > 10, "{used:?}");
        assert!(used.is_subset(&of_rows), "{:?}", used.difference(&of_rows));
    }
    Ok(())
}

#[test]
fn every_alert_is_taken_fires_and_is_explained() -> Result<()> {
    let rules = docs().join("prometheus/lastgood.rules.yml");
    let said = promtool(&["check", "rules", "--lint-fatal"], &rules)?;
    assert!(said.contains("11 rules found"), "{said}");
    let tests = paths::repository().join("tests/prometheus/lastgood.rules.test.yml");
    promtool(&["test", "rules"], &tests)?;
    let (rules, tests) = (fs::read_to_string(rules)?, fs::read_to_string(tests)?);
    let page = fs::read_to_string(docs().join("monitoring.md"))?;
    let alerts: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert_eq!(alerts.len(), 11);
    for alert in alerts {
        let row = format!("\n| `{alert}` | ");
        assert!(page.contains(&row), "docs/monitoring.md has no {alert}");
        let cases = tests.split("- eval_time: ");
        let fires = |case: &&str| {
            case.contains(&format!("alertname: {alert}\n")) && case.contains("exp_labels")
        };
        assert!(
            cases.clone().any(|case| fires(&case)),
            "{alert} never fires"
        );
        let silent = |case: &&str| {
            case.contains(&format!("alertname: {alert}\n")) && case.contains("exp_alerts: []")
        };
        assert!(
            cases.clone().any(|case| silent(&case)),
            "{alert} is never silent"
        );
    }
    Ok(())
}

fn dashboard() -> Result<Value> {
    let text = fs::read_to_string(docs().join("grafana/lastgood.json"))?;
    Ok(serde_json::from_str(&text)?)
}

/// All that the dashboard asks for.
fn queries() -> Result<Vec<String>> {
    fn of(value: &Value, all: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                let expr = members.get("expr").and_then(Value::as_str);
                all.extend(expr.map(str::to_owned));
                members.values().for_each(|value| of(value, all));
            }
            Value::Array(items) => items.iter().for_each(|value| of(value, all)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    of(&dashboard()?, &mut all);
    Ok(all)
}

#[test]
fn the_dashboard_asks_what_prometheus_understands() -> Result<()> {
    let queries = queries()?;
    assert!(queries.len() > 15, "{queries:?}");
    // As recording rules: promtool has no other way to read a query.
    let mut rules = String::from("groups:\n- name: queries\n  rules:\n");
    for (at, query) in queries.iter().enumerate() {
        let query = query.replace("$instance", ".*");
        let query = serde_json::to_string(&query)?;
        writeln!(
            rules,
            "  - record: query_{at}
    expr: {query}"
        )?;
    }
    let work = tempfile::tempdir()?;
    let file = work.path().join("queries.yml");
    files::write(&file, rules)?;
    promtool(&["check", "rules"], &file)?;

    let dashboard = dashboard()?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64()), "{panel}");
        for key in ["title", "description", "type"] {
            assert!(
                panel[key].as_str().is_some_and(|text| !text.is_empty()),
                "{key}: {panel}"
            );
        }
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap_or(99);
        assert!(at("x") + at("w") <= 24, "{panel}");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "two panels at {x}, {y}");
            }
        }
    }
    Ok(())
}

/// Whoever logs in is told until they have answered.
#[test]
fn a_line_at_login_comes_and_goes() -> Result<()> {
    let (tree, toplevels) = machine()?;
    let line = || fs::read_to_string(tree.path(BANNER)).ok();
    assert_eq!(line(), None);
    ok(&tree.lastgood(&["install", "2"])?);
    assert_eq!(line(), None);
    tree.count_a_boot(2)?;
    boot(&tree, &toplevels[1], 2)?;
    let trial = "lastgood: generation 2 is on trial: there is no verdict yet; `lastgood status` tells more\n";
    assert_eq!(line().as_deref(), Some(trial));
    ok(&tree.lastgood(&["step", "fall-back"])?);
    boot(&tree, &toplevels[0], 3)?;
    let fell = "lastgood: this machine fell back from generation 2 to generation 1: the assessment ended without a verdict; \
                `lastgood why 2` tells why\n";
    assert_eq!(line().as_deref(), Some(fell));
    // Somebody says that they know.
    ok(&tree.lastgood(&["bad", "2"])?);
    assert_eq!(line(), None);
    Ok(())
}

/// An image that is being built has no boot, and nobody logs in.
#[test]
fn a_tree_in_which_nothing_runs_gets_no_line() -> Result<()> {
    let tree = Tree::new()?;
    tree.generations(1)?;
    ok(&tree.lastgood(&["install"])?);
    assert!(!tree.path("run").try_exists()?);
    Ok(())
}
