//! What the script has written down.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// Entries that the loader finds by itself.
const BY_ITSELF: [&str; 5] = [
    "auto-efi-default",
    "auto-efi-shell",
    "auto-osx",
    "auto-reboot-to-firmware-setup",
    "auto-windows",
];

/// What was to be seen after one boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Which layout of the session.
    pub(super) layout: usize,
    /// What its disk says of itself.
    pub(super) label: String,
    /// The loader's variables, as text.
    pub(super) variables: BTreeMap<String, Vec<u16>>,
    /// The files in the directories that the loader changes, by partition, sorted.
    pub(super) files: Vec<Vec<String>>,
}

impl Seen {
    /// A variable's text, up to its NUL.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let units = self.variables.get(name)?;
        let end = units.iter().position(|unit| *unit == 0);
        let text = units.get(..end.unwrap_or(units.len()))?;
        Some(String::from_utf16_lossy(text))
    }

    /// The ids in the menu, without those that the loader found by itself.
    pub(super) fn menu(&self) -> Vec<String> {
        let units = self.variables.get("LoaderEntries");
        let ids = units
            .into_iter()
            .flat_map(|all| all.split(|unit| *unit == 0));
        ids.filter(|id| !id.is_empty())
            .map(String::from_utf16_lossy)
            .filter(|id| !BY_ITSELF.contains(&id.as_str()))
            .collect()
    }
}

/// Reads the boots, in the order in which they were made.
pub(super) fn parse(text: &str) -> Result<Vec<Seen>> {
    let mut all: Vec<Seen> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(numbers) = line.strip_prefix("boot ") {
            let layout = numbers.split(' ').next().unwrap_or_default();
            all.push(Seen {
                layout: layout.parse().context("no number of a layout")?,
                ..Seen::default()
            });
            continue;
        }
        let Some(seen) = all.last_mut() else { continue };
        if let Some(label) = line.strip_prefix("label ") {
            label.clone_into(&mut seen.label);
        } else if line.starts_with("partition ") {
            seen.files.push(Vec::new());
        } else if let Some(fields) = fields(line, "VariableInfo,") {
            let [name, _, _, _, data] = fields.as_slice() else {
                anyhow::bail!("not understood: {line}");
            };
            seen.variables.insert((*name).to_owned(), units(data)?);
        } else if let Some(fields) = fields(line, "FileInfo,") {
            let (Some(path), Some(kind)) = (fields.first(), fields.get(3)) else {
                anyhow::bail!("not understood: {line}");
            };
            let files = seen.files.last_mut().context("files of no partition")?;
            if !kind.contains('d') {
                files.push(path.rsplit('\\').next().unwrap_or_default().to_owned());
                files.sort();
            }
        }
    }
    Ok(all)
}

fn fields<'a>(line: &'a str, kind: &str) -> Option<Vec<&'a str>> {
    let rest = line.strip_prefix(kind)?;
    Some(rest.trim_matches('"').split("\",\"").collect())
}

fn units(hex: &str) -> Result<Vec<u16>> {
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(hex.get(2 * at..2 * at + 2).unwrap_or_default(), 16))
        .collect::<Result<_, _>>()?;
    let pairs = bytes.chunks_exact(2);
    Ok(pairs
        .map(|pair| {
            pair.iter()
                .rev()
                .fold(0, |unit, byte| unit << 8 | u16::from(*byte))
        })
        .collect())
}
