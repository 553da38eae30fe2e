//! Build steps whose result is found again by the hash of what went into it.
//!
//! A result is a directory `target/rig/<step>-<key>`. It is built beside that under a temporary name and renamed when
//! it is complete, so a run that dies leaves no half image; what such runs left is removed by the next build of the
//! step.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::{files, paths};

/// A step and the inputs named so far.
pub struct Step {
    name: &'static str,
    hash: Sha256,
}

/// A step's result.
#[derive(Debug, Clone)]
pub struct Built {
    /// Where it is.
    pub dir: PathBuf,
    /// The hash of all its inputs, for steps that build on it.
    pub key: String,
    /// How long building took; `None` when it was there already.
    pub took: Option<Duration>,
}

impl Step {
    /// A step called `name`, with no inputs yet.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            hash: Sha256::new(),
        }
    }

    /// An input that is text.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.add(b"text", text.as_bytes());
        self
    }

    /// An input that is a file or a tree: names, kinds, executable bits and contents.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn tree(mut self, path: &Path) -> Result<Self> {
        self.add_tree(path, Path::new(""))?;
        Ok(self)
    }

    /// The result: found, or made by `build` in the empty directory it is given.
    ///
    /// # Errors
    /// Those of `build`, and of the file system.
    pub fn get(self, build: impl FnOnce(&Path) -> Result<()>) -> Result<Built> {
        let key = hex(&self.hash.finalize());
        let prefix = format!("{}-", self.name);
        let rig = paths::rig();
        fs::create_dir_all(&rig).with_context(|| format!("cannot create {}", rig.display()))?;
        // Tests run in parallel and all want the same image.
        let lock = File::create(rig.join(format!("{}.lock", self.name)))?;
        lock.lock()?;

        let dir = rig.join(format!("{prefix}{key}"));
        if dir.try_exists()? {
            return Ok(Built {
                dir,
                key,
                took: None,
            });
        }
        for stale in files::sorted_entries(&rig)? {
            if stale
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
            {
                files::remove(&stale)?;
            }
        }
        let begun = Instant::now();
        let unfinished = rig.join(format!("{prefix}{key}.unfinished"));
        fs::create_dir(&unfinished)?;
        build(&unfinished).with_context(|| format!("cannot build the rig's {}", self.name))?;
        fs::rename(&unfinished, &dir)?;
        Ok(Built {
            dir,
            key,
            took: Some(begun.elapsed()),
        })
    }

    fn add(&mut self, kind: &[u8], content: &[u8]) {
        for part in [kind, content] {
            self.hash.update(part.len().to_le_bytes());
            self.hash.update(part);
        }
    }

    fn add_tree(&mut self, path: &Path, name: &Path) -> Result<()> {
        let metadata = fs::symlink_metadata(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        self.add(b"name", name.as_os_str().as_encoded_bytes());
        if metadata.is_dir() {
            for child in files::sorted_entries(path)? {
                let name = name.join(child.file_name().unwrap_or_default());
                self.add_tree(&child, &name)?;
            }
        } else if metadata.is_symlink() {
            self.add(b"link", fs::read_link(path)?.as_os_str().as_encoded_bytes());
        } else {
            let executable = metadata.permissions().mode() & 0o100 != 0;
            let kind: &[u8] = if executable { b"program" } else { b"file" };
            self.add(
                kind,
                &fs::read(path).with_context(|| format!("cannot read {}", path.display()))?,
            );
        }
        Ok(())
    }
}

/// Whether this is a complete result, by its name.
pub(crate) fn is_a_result(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let key = name.rsplit_once('-').map_or("", |(_, key)| key);
    key.len() == 2 * KEY && key.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// So many bytes of a hash make a key.
const KEY: usize = 16;

/// The first half is long enough to tell inputs apart, and keeps paths readable.
fn hex(hash: &[u8]) -> String {
    let digits: Vec<String> = hash
        .iter()
        .take(KEY)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    digits.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(step: Step) -> String {
        hex(&step.hash.finalize())
    }

    #[test]
    fn a_key_changes_with_content_and_with_names() {
        let dir = tempfile::tempdir().unwrap();
        let of = |name: &str, content: &str| {
            let tree = dir.path().join("tree");
            files::remove(&tree).unwrap();
            files::write(&tree.join(name), content).unwrap();
            key(Step::new("x").tree(&tree).unwrap())
        };
        assert_eq!(of("a", "1"), of("a", "1"));
        assert_ne!(of("a", "1"), of("a", "2"));
        assert_ne!(of("a", "1"), of("b", "1"));
    }

    #[test]
    fn a_result_is_known_by_its_name_and_half_a_one_is_none() {
        let key = key(Step::new("x").text("a"));
        for (name, expected) in [
            (format!("image-{key}"), true),
            (format!("image-{key}.unfinished"), false),
            ("image.lock".to_owned(), false),
            ("run".to_owned(), false),
        ] {
            assert_eq!(is_a_result(Path::new(&name)), expected, "{name}");
        }
    }

    #[test]
    fn two_inputs_are_not_their_concatenation() {
        assert_ne!(
            key(Step::new("x").text("ab").text("c")),
            key(Step::new("x").text("a").text("bc"))
        );
    }
}
