//! Names and versions, as `nix store diff-closures` finds them in the names of store paths. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// Versions by name.
pub type Packages = BTreeMap<String, BTreeSet<String>>;

/// A hash in a store path has so many characters.
const HASH: usize = 32;

/// The packages that store paths are of, one path a line.
#[must_use]
pub fn packages(paths: &str) -> Packages {
    let mut all = Packages::new();
    for (name, version) in paths.lines().filter_map(package) {
        all.entry(name).or_default().insert(version);
    }
    all
}

/// The name and the version in a store path. None: it is none.
#[must_use]
pub fn package(path: &str) -> Option<(String, String)> {
    let (_, file) = path.trim().rsplit_once('/')?;
    let name = file.get(HASH..)?.strip_prefix('-')?;
    let name = without_output(name);
    let is_version = |rest: &str| rest.starts_with(|first: char| !first.is_ascii_alphabetic());
    let dash = name
        .match_indices('-')
        .find(|(at, _)| name.get(at + 1..).is_some_and(is_version));
    Some(match dash {
        Some((at, _)) => {
            let version = name.get(at + 1..).unwrap_or_default();
            (
                name.get(..at).unwrap_or_default().to_owned(),
                version.to_owned(),
            )
        }
        None => (name.to_owned(), String::new()),
    })
}

/// Which output of a package it is stands at the end, and nothing tells it from the end of a version.
fn without_output(name: &str) -> &str {
    let Some((before, output)) = name.rsplit_once('-') else {
        return name;
    };
    let is_word = !output.is_empty() && output.bytes().all(|byte| byte.is_ascii_lowercase());
    if is_word || matches!(output, "lib32" | "lib64") {
        before
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_where_nix_ends_it() {
        for (file, name, version) in [
            ("nginx-1.24.0", "nginx", "1.24.0"),
            ("nginx-1.24.0-doc", "nginx", "1.24.0"),
            ("gcc-13.2.0-lib", "gcc", "13.2.0"),
            ("x-1-lib64", "x", "1"),
            ("gone", "gone", ""),
            ("unit-nginx.service", "unit-nginx.service", ""),
            ("new-thing-unstable-2024", "new-thing-unstable", "2024"),
            ("nixos-system-web-25.05", "nixos-system-web", "25.05"),
            ("etc", "etc", ""),
            // As Nix 2.8 has them.
            ("a--1", "a", "-1"),
            ("b-_x", "b", "_x"),
            ("d.e+f-?2", "d.e+f", "?2"),
            ("foo-1.0-Doc", "foo", "1.0-Doc"),
            ("g-1-", "g", "1-"),
            ("h-", "h-", ""),
            ("i-a-1-b", "i-a", "1"),
            ("lib-dev", "lib", ""),
        ] {
            let path = format!("/nix/store/{}-{file}", "a".repeat(HASH));
            assert_eq!(
                package(&path),
                Some((name.to_owned(), version.to_owned())),
                "{file}"
            );
        }
        for odd in ["", "/nix/store/short", "nothing", "/nix/store/é"] {
            assert_eq!(package(odd), None, "{odd}");
        }
    }
}
