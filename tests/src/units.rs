//! The project's `units/`, put where a package would put them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{command, files, guest, paths};

const UNIT_KINDS: [&str; 7] = [
    "service", "target", "timer", "socket", "path", "mount", "slice",
];

/// Where the files are.
#[must_use]
pub fn source() -> PathBuf {
    paths::repository().join("units")
}

/// Installs every file of `units/` into the tree `root` and enables what has an `[Install]` section.
///
/// # Errors
/// When a file is of a kind that has no place: a file that is silently left out would be tested by nobody.
pub fn install(root: &Path) -> Result<()> {
    for path in files::sorted_entries(&source())? {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        // About the units, for whoever changes them.
        if extension(&name) == Some("md") {
            continue;
        }
        let Some(place) = place(&name) else {
            bail!("units/{name}: nobody knows where this goes; teach tests/src/units.rs")
        };
        let into = root.join(place);
        fs::create_dir_all(&into)?;
        if path.is_dir() {
            let into = if place.ends_with(&name) {
                into
            } else {
                into.join(&name)
            };
            fs::create_dir_all(&into)?;
            files::overlay(&path, &into)?;
        } else {
            fs::copy(&path, into.join(&name))?;
        }
    }
    for unit in units()? {
        let text = fs::read_to_string(source().join(&unit))?;
        if text.lines().any(|line| line.trim() == "[Install]") {
            guest::systemctl_enable(root, &unit)?;
        }
    }
    Ok(())
}

/// Has systemd itself check every unit of the project, in a tree where they, and what they run, are installed.
///
/// # Errors
/// systemd's own words about each mistake.
pub fn verify(root: &Path) -> Result<usize> {
    let units = units()?;
    if units.is_empty() {
        return Ok(0);
    }
    let root = fs::canonicalize(root).with_context(|| format!("no tree {}", root.display()))?;
    // The guest's own systemd: the version that will run them.
    let analyze = ["verify", "--man=no", "--recursive-errors=yes"].map(str::to_owned);
    let mut verify = command::inside(
        &root,
        "systemd-analyze",
        analyze.into_iter().chain(units.clone()),
    );
    command::output(verify.env("SYSTEMD_LOG_LEVEL", "warning"))?;
    for unit in units.iter().filter(|unit| *unit != FREE) {
        let threshold = format!("--threshold={MOST_EXPOSED}");
        let security = ["security", "--no-pager", "--offline=true", &threshold, unit];
        let security = security.map(str::to_owned);
        let security = command::output(&mut command::inside(&root, "systemd-analyze", security));
        security.with_context(|| format!("{unit} may do more than its work needs"))?;
    }
    Ok(units.len())
}

/// What a unit may be exposed to, in tenths of systemd-analyze's figure: 4.0 is "OK" there.
const MOST_EXPOSED: u8 = 40;
/// It runs the closure's own script, so it may do anything.
const FREE: &str = "lastgood-activate.service";

/// The names of the units, without drop-ins.
fn units() -> Result<Vec<String>> {
    let entries = files::sorted_entries(&source())?;
    let names = entries
        .iter()
        .filter_map(|path| path.file_name())
        .map(|name| name.to_string_lossy().into_owned());
    Ok(names.filter(|name| is_unit(name)).collect())
}

/// Where a file or directory of `units/` goes in a tree; `None` when nobody knows.
fn place(name: &str) -> Option<&'static str> {
    match name {
        "tmpfiles.d" => return Some("usr/lib/tmpfiles.d"),
        "sysusers.d" => return Some("usr/lib/sysusers.d"),
        _ => {}
    }
    match extension(name)? {
        "d" if is_unit(name.strip_suffix(".d")?) => Some("usr/lib/systemd/system"),
        // Rulesets the units load, for when a closure's cannot be.
        "nft" => Some("usr/lib/lastgood"),
        "catalog" => Some("usr/lib/systemd/catalog"),
        "preset" => Some("usr/lib/systemd/system-preset"),
        _ if is_unit(name) => Some("usr/lib/systemd/system"),
        _ => None,
    }
}

fn is_unit(name: &str) -> bool {
    extension(name).is_some_and(|kind| UNIT_KINDS.contains(&kind))
}

fn extension(name: &str) -> Option<&str> {
    Path::new(name).extension()?.to_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_place_or_is_refused() {
        assert_eq!(
            place("lastgood-begin.service"),
            Some("usr/lib/systemd/system")
        );
        assert_eq!(
            place("boot-complete.target.d"),
            Some("usr/lib/systemd/system")
        );
        assert_eq!(place("lastgood-begin.servcie"), None);
    }
}
