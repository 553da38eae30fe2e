//! What is in two closures, read. Nothing is changed, and no program is run but `nix-store`, which is asked what each
//! needs.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::FileType;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use boot_entries::payload::Digest;
use boot_entries::{Root, bounded, closure};
use sha2::{Digest as _, Sha256};

use super::compare::{Content, Contents, File, Files, Firewall, Part};
use super::packages::{Packages, packages};
use crate::activation::firewall;
use crate::config;
use crate::host::{NIX_STORE, Program};
use crate::report::line::{one_line, plain};
use crate::system::program;
use crate::view::versions;

/// Where a closure has its `/etc`.
const ETC: &str = "etc";
/// And its units.
const UNITS: &str = "etc/systemd/system";
/// What is compared by other means, relative to `etc`.
const APART: [&str; 2] = ["systemd/system", "lastgood/lastgood.toml"];
/// Larger files are known by their place only, in bytes.
const LIMIT: u64 = 4 * 1024 * 1024;
/// No closure has directories so deep; what has them is a loop of links.
const DEPTH: usize = 24;
/// A hash in a store path has so many characters.
const HASH: usize = 32;

/// What is in the closures `toplevels`, as far as they may differ, and what could not be read, a line each.
#[must_use]
pub fn read(root: &Root, toplevels: [&Path; 2]) -> ([Contents; 2], Vec<String>) {
    let mut left_out = Vec::new();
    let mut contents = toplevels.map(|toplevel| one(root, toplevel, &mut left_out));
    match needs(root, toplevels) {
        Ok(both) => {
            for (contents, packages) in contents.iter_mut().zip(both) {
                contents.packages = Some(packages);
            }
        }
        Err(why) => left_out.push(format!("packages: {why}")),
    }
    let mut walk = Walk {
        root,
        files: [Files::new(), Files::new()],
        left_out: &mut left_out,
    };
    walk.tops(toplevels.map(|toplevel| toplevel.join(ETC)), &APART);
    let etc = std::mem::take(&mut walk.files);
    walk.tops(toplevels.map(|toplevel| toplevel.join(UNITS)), &[]);
    let units = walk.files;
    for (contents, (etc, units)) in contents.iter_mut().zip(etc.into_iter().zip(units)) {
        contents.etc = etc;
        contents.units = units;
    }
    (contents, left_out)
}

/// What one closure says by itself.
fn one(root: &Root, toplevel: &Path, left_out: &mut Vec<String>) -> Contents {
    let mut contents = Contents::default();
    let name = |name: String| Part { name, place: None };
    if let Some(version) = versions::nixos(root, toplevel) {
        contents.boot.insert("system", name(version));
    }
    match closure::document(root, toplevel) {
        Ok(document) => {
            let kernel = Part {
                name: versions::kernel(root, toplevel).unwrap_or_default(),
                place: Some(document.bootspec.kernel),
            };
            contents.boot.insert("kernel", kernel);
            let files = [
                ("initrd", document.bootspec.initrd),
                ("initrd secrets", document.bootspec.initrd_secrets),
                ("devicetree", document.devicetree),
            ];
            for (what, place) in files {
                let part = |place| Part {
                    name: String::new(),
                    place: Some(place),
                };
                contents.boot.extend(place.map(|place| (what, part(place))));
            }
            let extra = document.extra_initrds.join(" ");
            if !extra.is_empty() {
                contents.boot.insert("extra initrds", name(extra));
            }
            contents.parameters = document.bootspec.kernel_params;
        }
        Err(why) => left_out.push(format!("boot: {}", plain(&why))),
    }
    let path = toplevel.join(config::PATH);
    match text(root, &path) {
        Ok(Some(text)) => match text.parse::<toml::Table>() {
            Ok(table) => flat("", &toml::Value::Table(table), &mut contents),
            Err(error) => {
                let why = error.message().lines().collect::<Vec<_>>().join(" ");
                left_out.push(format!("lastgood.toml: {}: {why}", path.display()));
            }
        },
        Ok(None) => {}
        Err(why) => left_out.push(format!("lastgood.toml: {}: {why}", path.display())),
    }
    match config::read(root, toplevel)
        .map(|config| firewall::text(root, toplevel, &config.firewall))
    {
        Ok(Ok(Some((text, digest)))) => {
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            contents.firewall = Firewall {
                lines: lines.map(spaced).collect(),
                digest,
            };
        }
        Ok(Ok(None)) => {}
        Ok(Err(refusal)) => left_out.push(format!("firewall: {}", one_line(&refusal))),
        Err(error) => left_out.push(format!(
            "firewall: {}: {}",
            path.display(),
            one_line(&error)
        )),
    }
    contents
}

/// A line as it is shown: nft indents with tabs, and a tab is not printed.
fn spaced(line: &str) -> String {
    line.trim_end().replace('\t', "  ")
}

/// The text of a file. None: there is none.
fn text(root: &Root, path: &Path) -> Result<Option<String>, String> {
    let text = root
        .resolve(path)
        .and_then(|here| bounded::read(&here, LIMIT));
    match text {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(one_line(&error)),
    }
}

/// Each value by the keys that lead to it.
fn flat(key: &str, value: &toml::Value, contents: &mut Contents) {
    let toml::Value::Table(table) = value else {
        contents.config.insert(key.to_owned(), value.to_string());
        return;
    };
    for (name, value) in table {
        let key = match key {
            "" => name.clone(),
            key => format!("{key}.{name}"),
        };
        flat(&key, value, contents);
    }
}

/// The packages that each closure needs. Nix knows: what refers to what is in its database.
fn needs(root: &Root, toplevels: [&Path; 2]) -> Result<[Packages; 2], String> {
    let ask = |toplevel: &Path| {
        let mut nix = program::command(Program::NixStore)?;
        if !root.is_live() {
            nix.arg("--store").arg(store(root));
        }
        let nix = nix.args(["--query", "--requisites"]).arg(toplevel);
        program::stdout_of(nix).map(|paths| packages(&paths))
    };
    let both = ask(toplevels[0]).and_then(|from| Ok([from, ask(toplevels[1])?]));
    both.map_err(|error| one_line(&error))
}

/// What Nix calls the store of a tree.
fn store(root: &Root) -> String {
    let mut store = "local?root=".to_owned();
    let directory = std::path::absolute(root.directory());
    let directory = directory.unwrap_or_else(|_| root.directory().to_owned());
    for byte in directory.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                store.push(char::from(*byte));
            }
            _ => store.extend(format!("%{byte:02X}").chars()),
        }
    }
    store
}

/// Goes through two directories at once: what is one place of the store on both sides is not gone into.
struct Walk<'a> {
    root: &'a Root,
    files: [Files; 2],
    left_out: &'a mut Vec<String>,
}

/// Something in a directory.
#[derive(Clone)]
struct Found {
    /// Where it is, links followed.
    place: PathBuf,
    /// What a link says, where it leads to something beside it.
    beside: Option<OsString>,
    is_link: bool,
    is_directory: bool,
    attributes: Vec<String>,
}

impl Walk<'_> {
    fn tops(&mut self, tops: [PathBuf; 2], apart: &[&str]) {
        self.directory(Path::new(""), tops.map(Some), apart, 0);
    }

    fn directory(
        &mut self,
        path: &Path,
        places: [Option<PathBuf>; 2],
        apart: &[&str],
        depth: usize,
    ) {
        if depth > DEPTH {
            let what = path.display();
            self.left_out
                .push(format!("{what}: links in it lead in a circle"));
            return;
        }
        let names = places.map(|place| {
            let place = place?;
            let names = self.names(&place);
            Some((place, names))
        });
        let all: BTreeSet<&OsString> = names
            .iter()
            .flatten()
            .flat_map(|(_, names)| names.keys())
            .collect();
        for name in all {
            let path = path.join(name);
            if apart.iter().any(|apart| path == Path::new(apart)) {
                continue;
            }
            let found = [0, 1].map(|side| {
                let (place, names) = names.get(side)?.as_ref()?;
                self.found(place, name, names)
            });
            self.one(&path, found, apart, depth);
        }
    }

    fn names(&mut self, place: &Path) -> BTreeMap<OsString, FileType> {
        let listed = self.root.resolve(place).and_then(|here| {
            std::fs::read_dir(here)?
                .map(|entry| {
                    let entry = entry?;
                    Ok((entry.file_name(), entry.file_type()?))
                })
                .collect::<io::Result<_>>()
        });
        match listed {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::default(),
            Err(error) => {
                self.left_out
                    .push(format!("{}: {}", place.display(), one_line(&error)));
                BTreeMap::default()
            }
        }
    }

    /// What `name` in `directory` is. None: it is not there, or says something of another file.
    fn found(
        &self,
        directory: &Path,
        name: &OsStr,
        names: &BTreeMap<OsString, FileType>,
    ) -> Option<Found> {
        let kind = names.get(name)?;
        let beside = |name: &OsStr, ending: &str| {
            let mut name = name.to_owned();
            name.push(ending);
            names.contains_key(&name).then_some(name)
        };
        let text = name.to_string_lossy();
        let about = ENDINGS
            .iter()
            .find_map(|(ending, _)| text.strip_suffix(ending));
        let orders = |about: &str| {
            let about = OsStr::new(about);
            names.contains_key(about) && beside(about, ".mode").is_some()
        };
        if about.is_some_and(orders) {
            return None;
        }
        let mut attributes = Vec::new();
        if beside(name, ".mode").is_some() {
            for (ending, word) in ENDINGS {
                let Some(file) = beside(name, ending) else {
                    continue;
                };
                let here = self.root.resolve(directory.join(file));
                let text = here.and_then(|here| bounded::read(&here, LIMIT));
                let text =
                    text.map_or_else(|error| one_line(&error), |text| text.trim().to_owned());
                attributes.push(format!("{word} {text}"));
            }
        }
        let path = directory.join(name);
        let says = std::fs::read_link(self.root.join(&path)).ok();
        let beside = says
            .filter(|to| to.is_relative())
            .map(PathBuf::into_os_string);
        let place = self.root.canonical(&path).unwrap_or_else(|_| path.clone());
        let is_directory = self.root.join(&place).is_dir();
        Some(Found {
            beside,
            is_link: kind.is_symlink(),
            is_directory,
            place,
            attributes,
        })
    }

    fn one(&mut self, path: &Path, found: [Option<Found>; 2], apart: &[&str], depth: usize) {
        if let [Some(from), Some(to)] = &found {
            let is_same = from.place == to.place && from.place.starts_with(NIX_STORE);
            if is_same && from.attributes == to.attributes {
                return;
            }
        }
        let mut there = found.iter().flatten();
        let both = found.iter().all(Option::is_some);
        // A directory of somebody else's that one side has is one thing.
        if there.clone().count() > 0
            && there.all(|found| found.is_directory && (both || !found.is_link))
        {
            let places = found.map(|found| found.map(|found| found.place));
            self.directory(path, places, apart, depth + 1);
            return;
        }
        let name = path.display().to_string();
        for (files, found) in self.files.iter_mut().zip(found) {
            let Some(found) = found else { continue };
            let mark = if found.is_directory { "/" } else { "" };
            let name = format!("{name}{mark}");
            let content = content(self.root, &found);
            files.insert(
                name,
                File {
                    place: found.place,
                    content,
                    attributes: found.attributes,
                },
            );
        }
    }
}

/// The endings of files that say what is to become of another one, as nixpkgs writes them, and what they say.
const ENDINGS: [(&str, &str); 3] = [(".mode", "mode"), (".uid", "owner"), (".gid", "group")];

fn content(root: &Root, found: &Found) -> Option<Content> {
    if found.is_directory {
        return None;
    }
    let bytes = match &found.beside {
        // What it leads to is compared where it is.
        Some(says) => says.as_bytes().to_vec(),
        None => bounded::read_bytes(&root.join(&found.place), LIMIT).ok()?,
    };
    let digest = |bytes: &[u8]| {
        let mut hash = Sha256::new();
        hash.update(bytes);
        Digest::from(hash).to_string()
    };
    Some(Content {
        digest: digest(&bytes),
        digest_of_rest: digest(&without_hashes(&bytes)),
    })
}

/// `bytes` without the hashes of store paths.
fn without_hashes(bytes: &[u8]) -> Vec<u8> {
    let store = [NIX_STORE.as_bytes(), b"/"].concat();
    let mut rest = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if bytes
            .get(at..)
            .is_some_and(|bytes| bytes.starts_with(&store))
        {
            rest.extend_from_slice(&store);
            at += store.len() + HASH;
        } else {
            rest.push(*byte);
            at += 1;
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::spaced;

    #[test]
    fn a_ruleset_keeps_its_indentation_without_tabs() {
        assert_eq!(
            spaced("\t\ttcp dport 22 accept\t "),
            "    tcp dport 22 accept"
        );
    }
}
