//! What can be known of `nix/` without a nixpkgs: that all of it parses, that the options are keys which the agent takes,
//! and what the package makes of the units. `nix/check.nix` evaluates the module where there is a nixpkgs.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use lastgood::config::Config;
use lastgood_tests::paths::repository;
use lastgood_tests::{command, files};
use serde_json::{Value, json};

/// Nix without a store: it evaluates and writes nothing.
fn nix(arguments: &[&str]) -> Result<String> {
    let mut nix = Command::new("nix-instantiate");
    nix.args(["--store", "dummy://"]).args(arguments);
    command::output(nix.current_dir(repository()))
}

fn nix_files(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            nix_files(&path, files)?;
        } else if path.extension().is_some_and(|name| name == "nix") {
            files.push(path);
        }
    }
    Ok(())
}

#[test]
fn every_nix_file_parses() -> Result<()> {
    let mut files = vec![repository().join("flake.nix")];
    nix_files(&repository().join("nix"), &mut files)?;
    assert!(files.len() > 4, "{files:?}");
    for file in files {
        let path = file.to_str().context("a path that is text")?;
        nix(&["--parse", path])?;
    }
    Ok(())
}

/// A value as TOML has it: JSON's, but for objects.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let pairs: Vec<String> = object
                .iter()
                .map(|(key, value)| format!("{} = {}", json!(key), toml(value)))
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        plain => plain.to_string(),
    }
}

/// Values that an option of this type takes.
fn values(of: &Value) -> Vec<Value> {
    let within = |name: &str| values(&of[name]);
    match of["type"].as_str().unwrap() {
        "bool" => vec![json!(true), json!(false)],
        "int" => ["min", "max"]
            .iter()
            .filter_map(|end| of.get(end))
            .cloned()
            .collect(),
        "enum" => of["values"].as_array().unwrap().clone(),
        "either" => of["of"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(values)
            .collect(),
        "nullOr" => within("of"),
        "listOf" => within("of")
            .into_iter()
            .map(|value| json!([value]))
            .collect(),
        // What text, a path or a name is to be, only its example says.
        _ => Vec::new(),
    }
}

/// What a person can set by a typed option, the agent reads.
#[test]
fn what_an_option_takes_the_agent_takes() -> Result<()> {
    let text = fs::read_to_string(repository().join("nix/options.json"))?;
    let options: Value = serde_json::from_str(&text)?;
    let mut tried = 0;
    for (section, keys) in options.as_object().unwrap() {
        for (key, option) in keys.as_object().unwrap() {
            let said = [&option["example"], &option["default"]];
            let said = said.into_iter().filter(|value| !value.is_null()).cloned();
            for value in said.chain(values(&option["type"])) {
                let mut text = format!("[{section}]\n");
                // Rules are a mistake by themselves.
                let is_rule = section == "firewall"
                    && !["unit", "ruleset", "enable", "management-ports"].contains(&key.as_str());
                if is_rule {
                    text.push_str("enable = true\n");
                }
                writeln!(text, "{key} = {}", toml(&value))?;
                let parsed = Config::parse(&text);
                assert!(parsed.is_ok(), "{text}{}", parsed.unwrap_err());
                tried += 1;
            }
        }
    }
    assert!(tried > 60, "{tried}");
    Ok(())
}

/// What `nix/package.nix` needs of nixpkgs, as far as the text of its scripts goes.
const POST_INSTALL: &str = r#"
(import ./nix/package.nix {
  lib = {
    importTOML = path: builtins.fromTOML (builtins.readFile path);
    fileset = { toSource = { root, ... }: root; unions = _: null; };
    licenses = { mit = null; asl20 = null; };
  };
  rustPlatform.buildRustPackage = package: package;
  runtimeShell = "/nix/store/bash/bin/bash";
  coreutils = "/nix/store/coreutils";
  nftables = "/nix/store/nftables";
  installShellFiles = null;
}).postInstall
"#;

/// The package's own script, as it is run after the build, on these units.
fn installed(units: &Path, out: &Path) -> Result<String> {
    let script: String = serde_json::from_str(&nix(&[
        "--eval",
        "--strict",
        "--json",
        "--expr",
        POST_INSTALL,
    ])?)?;
    let mut shell = Command::new("bash");
    // The manual and the completions are made by the project's own command, which has its own tests.
    let rest = "cargo() { :; }; installManPage() { :; }; installShellCompletion() { :; }\n";
    shell.args(["-euc", &format!("{rest}{script}")]);
    command::output(shell.env("out", out).current_dir(units))
}

fn copy_of_units(name: &str, change: impl Fn(&str, String) -> String) -> Result<tempfile::TempDir> {
    let tree = tempfile::Builder::new().prefix(name).tempdir()?;
    command::output(
        Command::new("cp")
            .arg("-r")
            .arg(repository().join("units"))
            .arg(tree.path()),
    )?;
    for entry in fs::read_dir(tree.path().join("units"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "service") {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .context("a unit has a name")?;
            files::write(&path, change(name, fs::read_to_string(&path)?))?;
        }
    }
    Ok(tree)
}

#[test]
fn the_package_s_units_need_nothing_outside_the_store() -> Result<()> {
    let units = copy_of_units("units", |_, text| text)?;
    let out = units.path().join("nix/store/lastgood");
    installed(units.path(), &out)?;
    let mut commands = 0;
    for entry in fs::read_dir(out.join("lib/systemd/system"))? {
        let text = fs::read_to_string(entry?.path())?;
        let lines = text.lines().filter(|line| line.starts_with("Exec"));
        for line in lines {
            let (_, command) = line.split_once('=').context("a setting has a value")?;
            let inside = out.to_str().context("a path that is text")?;
            assert!(
                command.starts_with(inside) || command.starts_with("/nix/store/"),
                "{line}"
            );
            for word in ["/usr/", " /bin/", "|| nft", "exec nft"] {
                assert!(!command.contains(word), "{line}");
            }
            commands += 1;
        }
    }
    assert!(commands >= 8, "{commands}");
    let text = fs::read_to_string(out.join("lib/systemd/system/lastgood-firewall.service"))?;
    // NixOS's nftables.service is ordered after sysinit.target: with both lines that is a circle.
    assert!(!text.contains("After=nftables.service"), "{text}");
    assert!(
        text.contains("\nBefore=network-pre.target shutdown.target\n"),
        "{text}"
    );
    assert!(out.join("lib/lastgood/lockdown.nft").is_file());
    let catalogue = "lib/systemd/catalog/lastgood.catalog";
    assert!(out.join(catalogue).is_file());
    Ok(())
}

/// Whoever changes a unit is told that the package does not know it.
#[test]
fn a_unit_that_the_package_does_not_know_stops_its_build() -> Result<()> {
    for (name, from, to) in [
        (
            "lastgood-begin.service",
            "[Service]\n",
            "[Service]\nExecStartPre=/usr/bin/true\n",
        ),
        (
            "lastgood-bless.service",
            "[Service]\n",
            "[Service]\nExecStartPre=/bin/true\n",
        ),
        (
            "lastgood-firewall.service",
            "Before=network-pre.target sysinit.target",
            "Before=sysinit.target",
        ),
    ] {
        let units = copy_of_units("changed", |unit, text| {
            if unit == name {
                text.replace(from, to)
            } else {
                text
            }
        })?;
        let told = installed(units.path(), &units.path().join("out")).unwrap_err();
        assert!(
            format!("{told:#}").contains("mend nix/package.nix"),
            "{told:#}"
        );
    }
    Ok(())
}
