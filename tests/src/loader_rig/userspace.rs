//! systemd's other reader of the same files: `bootctl list`, over many layouts.
//!
//! Version 252's (`src/shared/bootspec.c`) has the order of loaders from 258.1 on, with ids that lack the counter.
//! Where it means something else by design, [`Layout::as_userspace_reads_it`] leaves that out:
//!
//! * it lists what cannot start, hidden names and `auto-*`, but no name with a character outside `A-Za-z0-9+-_.`;
//! * it keeps capitals in ids, and quotes in values, and knows no `uki`;
//! * two files of one id are equal to it, whatever their counters (its comparison says `!=` where the loader says
//!   `==`);
//! * `[!set]` is a complement in fnmatch(3);
//! * it does not print in JSON which one is the default, so this is taken from what it prints for people; which one is
//!   selected it knows from `LoaderEntrySelected` only, and a host of ours has no EFI variables.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use systemd_boot_model::{Loader, Partition, ReleaseRange};

use super::layout::{EntryText, Layout};
use crate::{command, files, scratch};

/// The order that userspace has.
const RELEASE: ReleaseRange = ReleaseRange::V258_1;

/// Both readings of one layout.
const SCRIPT: &str = r#"mount -t tmpfs tmpfs /mnt
cd "$1"
for layout in *; do
    rm -rf /mnt/loader; cp -r "$layout/loader" /mnt/
    bootctl list --esp-path=/mnt --boot-path=/mnt --json=short >"$layout/json" 2>"$layout/errors"
    bootctl list --esp-path=/mnt --boot-path=/mnt --no-pager >"$layout/text" 2>>"$layout/errors"
done"#;

impl Layout {
    /// What the loader and userspace mean the same by, on one partition.
    #[must_use]
    pub fn as_userspace_reads_it(&self) -> Self {
        let mut ids = BTreeSet::new();
        let readable = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-_.".contains(c);
        let loader: Loader = self.loader(RELEASE);
        let mut entries = Vec::new();
        for listed in &loader.entries {
            let of = |entry: &&EntryText| entry.on == listed.on && entry.name == listed.file;
            if let Some(entry) = self.entries.iter().find(of)
                && entry.name.chars().all(readable)
                && !entry.text.contains(['"', '\''])
                && !entry.text.contains("uki")
                && ids.insert(listed.id(RELEASE))
            {
                entries.push(EntryText {
                    on: Partition::Esp,
                    ..entry.clone()
                });
            }
        }
        let has_complement = |line: &&str| line.contains("[!");
        let conf: Vec<&str> = self.conf.lines().filter(|l| !has_complement(l)).collect();
        Self {
            entries,
            images: Vec::new(),
            conf: conf.join("\n") + "\n",
            variables: Vec::new(),
            ..self.clone()
        }
    }
}

/// What bootctl makes of each layout that differs from the model's reading: order, then the default.
///
/// # Errors
/// When bootctl does not answer.
pub fn disagreements_with_bootctl(layouts: &[Layout]) -> Result<Vec<String>> {
    let directory = scratch::directory("bootctl-")?;
    let place = |at: usize| directory.path().join(format!("{at:06}"));
    for (at, layout) in layouts.iter().enumerate() {
        fs::create_dir_all(place(at).join("loader/entries"))?;
        files::write(&place(at).join("loader/loader.conf"), &layout.conf)?;
        for EntryText { name, text, .. } in &layout.entries {
            files::write(&place(at).join("loader/entries").join(name), text)?;
        }
    }
    command::output(
        Command::new("unshare")
            .args(["--mount", "sh", "-euc", SCRIPT, "list"])
            .arg(directory.path())
            .env("SYSTEMD_RELAX_ESP_CHECKS", "1")
            .env("SYSTEMD_RELAX_XBOOTLDR_CHECKS", "1"),
    )?;
    let mut all = Vec::new();
    for (at, layout) in layouts.iter().enumerate() {
        let read = |name: &str| fs::read_to_string(place(at).join(name)).context("no answer");
        let (listed, default) = (order(&read("json")?)?, default(&read("text")?)?);
        let model = layout.loader(RELEASE);
        let menu: Vec<String> = model.menu().iter().map(|l| l.file.clone()).collect();
        let first = model.predict(0).into_iter().next().map(|boot| boot.file);
        if listed != menu || default != first {
            all.push(format!(
                "{layout}  bootctl: {listed:?}, {default:?}\n  model:   {menu:?}, {first:?}"
            ));
        }
    }
    Ok(all)
}

/// The files, in order. Version 252 prints one object after the other, later ones an array of them.
fn order(json: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for value in serde_json::Deserializer::from_str(json).into_iter::<Value>() {
        let several = match value? {
            Value::Array(several) => several,
            one => vec![one],
        };
        let paths = several
            .iter()
            .filter_map(|entry| entry.get("path")?.as_str());
        names.extend(paths.map(|path| path.rsplit('/').next().unwrap_or(path).to_owned()));
    }
    Ok(names)
}

/// The file of the entry that is marked so.
fn default(text: &str) -> Result<Option<String>> {
    let marked = "(default)";
    let Some((_, rest)) = text.split_once(marked) else {
        return Ok(None);
    };
    ensure!(!rest.contains(marked), "two defaults");
    let mut sources = rest
        .lines()
        .filter_map(|line| line.trim().strip_prefix("source: "));
    let path = sources.next().context("the default has no source")?;
    Ok(path.rsplit('/').next().map(str::to_owned))
}
