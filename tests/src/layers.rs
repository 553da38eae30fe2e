//! Arrows run down: no module of a crate imports from its own layer or from one above it.
//!
//! The layers are those of `docs/architecture.md`, so that the map and the code cannot differ. A line of the page is
//! `layers of DIRECTORY: A > B, C > D`, the highest layer first; it goes on in lines that begin with a blank.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// What a line of layers begins with.
const HEADING: &str = "layers of ";

/// The layers of one crate: modules directly below its `src`, and how high each is.
#[derive(Debug, PartialEq, Eq)]
pub struct Layers {
    /// The crate's `src`, below the repository.
    pub source: PathBuf,
    /// By module: 0 is the lowest layer.
    pub heights: BTreeMap<String, usize>,
}

/// All layers in `page`.
#[must_use]
pub fn read(page: &str) -> Vec<Layers> {
    let mut all = Vec::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((source, first)) = line
            .strip_prefix(HEADING)
            .and_then(|rest| rest.split_once(':'))
        else {
            continue;
        };
        let mut text = first.to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with(' ')) {
            text.push_str(more);
        }
        let mut heights = BTreeMap::new();
        for (height, layer) in text.split('>').rev().enumerate() {
            let names = layer.split(',').map(str::trim);
            heights.extend(names.map(|name| (name.to_owned(), height)));
        }
        all.push(Layers {
            source: PathBuf::from(source),
            heights,
        });
    }
    all
}

/// Everything in the crate below `repository` that is not as `layers` say, a line each.
///
/// # Errors
/// When its files cannot be read.
pub fn broken(repository: &Path, layers: &Layers) -> Result<Vec<String>> {
    let source = repository.join(&layers.source);
    let imports = imports(&source)?;
    ensure!(!imports.is_empty(), "{}: no module", source.display());
    let mut broken = Vec::new();
    for (module, used) in &imports {
        let Some(height) = layers.heights.get(module) else {
            broken.push(format!("{module} is in no layer"));
            continue;
        };
        for other in used {
            let below = layers
                .heights
                .get(other)
                .is_some_and(|other| other < height);
            if !below && imports.contains_key(other) {
                broken.push(format!("{module} imports {other}, which is not below it"));
            }
        }
    }
    let gone = layers.heights.keys();
    let gone = gone.filter(|name| !imports.contains_key(*name));
    broken.extend(gone.map(|name| format!("{name} is a layer and no module")));
    Ok(broken)
}

/// The modules of a crate, and which others of it each imports.
fn imports(source: &Path) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let left_out = test_modules(source)?;
    let mut todo = vec![source.to_owned()];
    while let Some(directory) = todo.pop() {
        let listing = fs::read_dir(&directory);
        for item in listing.with_context(|| format!("cannot list {}", directory.display()))? {
            let path = item?.path();
            let below = path.strip_prefix(source)?;
            let Some(top) = below.iter().next().and_then(|name| name.to_str()) else {
                continue;
            };
            let module = top.strip_suffix(".rs").unwrap_or(top).to_owned();
            let is_test = below
                .iter()
                .any(|part| part == "tests" || part == "tests.rs");
            if is_test || left_out.contains(&module) {
                continue;
            }
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path)?;
                let mut used = used_in(&text);
                used.remove(&module);
                all.entry(module).or_default().extend(used);
            }
        }
    }
    Ok(all)
}

/// What is no module of a layer: the crate's roots, and what they declare for tests alone.
fn test_modules(source: &Path) -> Result<BTreeSet<String>> {
    let path = source.join("lib.rs");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = text.lines();
    let declared = lines
        .clone()
        .zip(lines.skip(1))
        .filter_map(|(above, line)| {
            let module = line.strip_prefix("mod ")?.strip_suffix(';')?;
            (above == "#[cfg(test)]").then(|| module.to_owned())
        });
    let roots = ["lib", "main"].map(str::to_owned);
    Ok(declared.chain(roots).collect())
}

/// The modules that `text` names behind `crate::`, outside of comments and tests.
fn used_in(text: &str) -> BTreeSet<String> {
    let code: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let code = code.join("\n");
    let mut used = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        let rest = code.get(at + found.len()..).unwrap_or_default();
        match rest.strip_prefix('{') {
            Some(group) => used.extend(first_names(group)),
            None => used.extend(name_of(rest)),
        }
    }
    used
}

/// The name at the beginning of `text`.
fn name_of(text: &str) -> Option<String> {
    let is_end = |c: char| !(c.is_alphanumeric() || c == '_');
    let name = text.trim_start().split(is_end).next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// The first name of each path in a group, up to the brace that closes it.
fn first_names(group: &str) -> BTreeSet<String> {
    let mut depth = 0;
    let mut names = BTreeSet::new();
    let mut path = String::new();
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.extend(name_of(&std::mem::take(&mut path))),
            _ => {}
        }
        if c != ',' {
            path.push(c);
        }
    }
    names.extend(name_of(&path));
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths;

    #[test]
    fn no_arrow_runs_up() {
        let repository = paths::repository();
        let page = fs::read_to_string(repository.join("docs/architecture.md")).unwrap();
        let all = read(&page);
        assert!(!all.is_empty(), "the map has no layers");
        for layers in all {
            let broken = broken(&repository, &layers).unwrap();
            assert!(
                broken.is_empty(),
                "{}: {broken:#?}",
                layers.source.display()
            );
        }
    }

    #[test]
    fn an_arrow_that_runs_up_is_seen() {
        let place = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = place.path().join("src").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            #[allow(
                clippy::disallowed_methods,
                reason = "a test's own file, on no machine's disk"
            )]
            fs::write(path, text).unwrap();
        };
        write("lib.rs", "pub mod low;\npub mod high;\n");
        write("high.rs", "use crate::{low::{a, b}, beside};\n");
        write(
            "low/deep.rs",
            "// crate::high is fine here\nfn f() { crate::high::g() }\n",
        );
        write("beside.rs", "#[cfg(test)]\nuse crate::high;\n");
        let page = "layers of src: high >\n  low, beside, lost\nno more\n";
        let [layers] = &read(page)[..] else {
            panic!("one crate")
        };
        assert_eq!(
            broken(place.path(), layers).unwrap(),
            [
                "low imports high, which is not below it",
                "lost is a layer and no module"
            ]
        );
    }
}
