//! What a ruleset would do, read before nft reads it.

use std::io;
use std::path::{Component, Path, PathBuf};

use boot_entries::payload::Digest;
use boot_entries::{Root, bounded};
use sha2::{Digest as _, Sha256};

use crate::config;
use crate::host::NIX_STORE;

mod lexis;
mod rules;

use lexis::{Notable, notables};
pub(super) use lexis::{Place, Table};

/// As nft's own limit on files that include files.
const MAX_DEPTH: usize = 16;

/// Nobody writes a longer file, in bytes: a million addresses take a quarter of it.
const LIMIT: u64 = 64 * 1024 * 1024;

/// Where a ruleset is read, and so what is still to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Somebody can mend it: everything that may cost a boot is a mistake.
    Install,
    /// Nobody can. What was no mistake once is loaded as before.
    Boot,
}

/// A ruleset that may be given to nft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ruleset {
    /// The file that says it.
    pub(super) name: PathBuf,
    /// What is given to nft.
    pub(super) script: String,
    /// The tables that it makes or adds to, each once.
    pub(super) tables: Vec<Table>,
    /// Of everything that nft reads for it.
    pub(super) digest: String,
}

/// Why a ruleset may not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It could not be read.
    #[error("cannot read the ruleset {}: {source}", path.display())]
    Read {
        /// The file, the ruleset or one that it includes.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It would remove the tables of others.
    #[error("the ruleset {} says `flush ruleset` in {place}, which removes the tables of others too: leave it out, the \
             tables that the ruleset names are replaced anyway", path.display())]
    FlushesAll {
        /// The file, the ruleset or one that it includes.
        path: PathBuf,
        /// Where.
        place: Place,
    },
    /// It includes what cannot be looked into beforehand.
    #[error("the ruleset {} includes {pattern:?} in {place}: only absolute paths without wildcards can be checked", path.display())]
    Includes {
        /// The file that includes.
        path: PathBuf,
        /// Where.
        place: Place,
        /// What it includes.
        pattern: String,
    },
    /// It includes what does not roll back with the closure.
    #[error("the ruleset {} includes {file:?} in {place}, which is not in the store: bring the file into the closure, or it \
             does not roll back with it", path.display())]
    Leaves {
        /// The file that includes.
        path: PathBuf,
        /// Where.
        place: Place,
        /// What it includes.
        file: String,
    },
    /// The ruleset itself does not roll back with the closure.
    #[error("the ruleset {} is not in the store: `ruleset` is a path in the closure, such as \"etc/nftables.conf\"", .0.display())]
    Outside(PathBuf),
    /// nft would take it for one that lets everything pass.
    #[error("the ruleset {} makes no table, and so lets everything pass: say a table in it, or leave `ruleset` out", .0.display())]
    Empty(PathBuf),
    /// Somebody's own rules end the chain that they are put into.
    #[error("{}: the extra rules of [firewall] make the table {table}, which is not theirs: say rules only, or \
             a `ruleset` instead", path.display())]
    NotRules {
        /// The configuration.
        path: PathBuf,
        /// A table.
        table: String,
    },
    /// A table of it would be gone at once.
    #[error("the ruleset {} gives a table the flag `owner` in {place}: such a table is gone when nft ends; leave the flag out", path.display())]
    Owned {
        /// The file, the ruleset or one that it includes.
        path: PathBuf,
        /// Where.
        place: Place,
    },
}

/// Reads the ruleset at `path` with all that it includes. `closure` is the one that it belongs to.
pub(super) fn read(
    root: &Root,
    closure: &Path,
    path: &Path,
    when: When,
) -> Result<Ruleset, Refusal> {
    let home = Home {
        root,
        closure,
        when,
    };
    if when == When::Install && !home.has(path) {
        return Err(Refusal::Outside(path.to_owned()));
    }
    let mut all = All::default();
    home.read(path, MAX_DEPTH, &mut all)?;
    // At boot a file of some words is loaded as before. One of none is what a power cut makes of it.
    if all.is_blank || when == When::Install && all.tables.is_empty() {
        return Err(Refusal::Empty(path.to_owned()));
    }
    let file = root.resolve(path).map_err(|source| Refusal::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(Ruleset {
        name: path.to_owned(),
        // Included and not read in here: what nft has to say about it then has the right file and line.
        script: format!("include \"{}\"\n", file.display()),
        tables: all.tables,
        digest: Digest::from(all.digest).to_string(),
    })
}

/// The text of the file at `path`, without what it includes.
pub(super) fn text(root: &Root, path: &Path) -> Result<String, Refusal> {
    let bytes = root
        .resolve(path)
        .and_then(|file| bounded::read_bytes(&file, LIMIT));
    let bytes = bytes.map_err(|source| Refusal::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Makes one of the rules of `firewall`, which `closure` says.
pub(super) fn of_rules(
    root: &Root,
    closure: &Path,
    firewall: &config::Firewall,
    when: When,
) -> Result<Ruleset, Refusal> {
    let home = Home {
        root,
        closure,
        when,
    };
    let path = closure.join(config::PATH);
    let script = rules::script(firewall);
    let mut all = All::default();
    home.scan(&path, script.as_bytes(), MAX_DEPTH, &mut all)?;
    let tables: Vec<String> = all.tables.iter().map(ToString::to_string).collect();
    if tables != [rules::TABLE] {
        let table = tables.last().cloned().unwrap_or_default();
        return Err(Refusal::NotRules { path, table });
    }
    Ok(Ruleset {
        name: path,
        script,
        tables: all.tables,
        digest: Digest::from(all.digest).to_string(),
    })
}

/// What was found in all files.
struct All {
    is_blank: bool,
    tables: Vec<Table>,
    digest: Sha256,
}

impl Default for All {
    fn default() -> Self {
        Self {
            is_blank: true,
            tables: Vec::new(),
            digest: Sha256::new(),
        }
    }
}

/// Where a ruleset belongs.
struct Home<'a> {
    root: &'a Root,
    closure: &'a Path,
    when: When,
}

impl Home<'_> {
    fn read(&self, path: &Path, depth: usize, all: &mut All) -> Result<(), Refusal> {
        let bytes = self
            .root
            .resolve(path)
            .and_then(|file| bounded::read_bytes(&file, LIMIT))
            .map_err(|source| Refusal::Read {
                path: path.to_owned(),
                source,
            })?;
        self.scan(path, &bytes, depth, all)
    }

    /// Looks at the text of the file at `path`, and at what it includes.
    fn scan(&self, path: &Path, bytes: &[u8], depth: usize, all: &mut All) -> Result<(), Refusal> {
        // The length, too: the end of one file must not pass for the beginning of the next.
        all.digest.update((bytes.len() as u64).to_le_bytes());
        all.digest.update(bytes);
        let text = String::from_utf8_lossy(bytes);
        all.is_blank &= text.trim().is_empty();
        for notable in notables(&text) {
            let path = path.to_owned();
            match notable {
                Notable::FlushRuleset(place) => return Err(Refusal::FlushesAll { path, place }),
                Notable::Owner(place) => return Err(Refusal::Owned { path, place }),
                Notable::Table(table) if all.tables.contains(&table) => {}
                Notable::Table(table) => all.tables.push(table),
                Notable::Include(place, file) => {
                    let plain = file.starts_with('/') && !file.contains(['*', '?', '[', '\\', '$']);
                    if !plain || depth == 0 {
                        return Err(Refusal::Includes {
                            path,
                            place,
                            pattern: file,
                        });
                    }
                    if self.when == When::Install && !self.has(Path::new(&file)) {
                        return Err(Refusal::Leaves { path, place, file });
                    }
                    self.read(Path::new(&file), depth - 1, all)?;
                }
            }
        }
        Ok(())
    }

    /// Whether `path` is in the closure or in the store, as it is written and where it leads. One that is not there is
    /// told by reading it.
    fn has(&self, path: &Path) -> bool {
        let is_below = |path: &Path| path.starts_with(self.closure) || path.starts_with(NIX_STORE);
        let is_plain = path.components().all(|part| part != Component::ParentDir);
        let leads = self.root.canonical(path);
        is_plain && is_below(path) && leads.map_or(true, |leads| is_below(&leads))
    }
}

#[cfg(test)]
mod tests;
