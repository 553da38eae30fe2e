//! What the `boot.json` of a closure says, remembered as the files of the store are: by inode, size and times.
//!
//! Only what was read without a mistake is remembered, and only what it says: whether that makes sense, and whether the
//! files are there that it names, every run looks up.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::line::{Line, number, text};
use super::record::Stamp;
use super::{Digests, Kind, key};
use crate::bootspec::{Bootspec, Document, Specialisations};

/// What one file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) stamp: Stamp,
    pub(super) document: Arc<Document>,
    /// This run has asked for it.
    pub(super) is_asked: bool,
}

impl Said {
    /// What [`Self::write`] wrote.
    pub(super) fn read(line: &mut Line<'_>) -> Option<Self> {
        Some(Self {
            stamp: Stamp::read(Kind::Store, line)?,
            document: Arc::new(document(line)?),
            is_asked: false,
        })
    }

    /// Writes the stamp, and then every field of the document. None: a path is no UTF-8, which no JSON can hold.
    pub(super) fn write(&self, line: &mut String) -> Option<()> {
        self.stamp.write(line);
        let Document {
            bootspec: spec,
            specialisations,
            devicetree,
            extra_initrds,
        } = self.document.as_ref();
        for value in [&spec.label, &spec.system] {
            field(line, value);
        }
        for path in [&spec.init, &spec.kernel, &spec.toplevel] {
            field(line, path.to_str()?);
        }
        for path in [&spec.initrd, &spec.initrd_secrets, devicetree] {
            let path = path.as_ref().map(|path| path.to_str().ok_or(()));
            list(line, path.transpose().ok()?.as_slice());
        }
        list(line, &spec.kernel_params);
        list(line, extra_initrds);
        list(line, &specialisations.troubles);
        number(line, specialisations.closures.len());
        for (name, closure) in &specialisations.closures {
            field(line, name);
            field(line, closure.to_str()?);
        }
        Some(())
    }
}

fn document(line: &mut Line<'_>) -> Option<Document> {
    let (label, system) = (owned(line)?, owned(line)?);
    let mut path = || owned(line).map(PathBuf::from);
    let (init, kernel, toplevel) = (path()?, path()?, path()?);
    let mut optional = || {
        let path = texts(line)?;
        (path.len() < 2).then(|| path.into_iter().next().map(PathBuf::from))
    };
    let (initrd, initrd_secrets, devicetree) = (optional()?, optional()?, optional()?);
    let (kernel_params, extra_initrds, troubles) = (texts(line)?, texts(line)?, texts(line)?);
    let mut specialisations = Specialisations {
        troubles,
        ..Specialisations::default()
    };
    for _ in 0..line.number()? {
        let (name, closure) = (owned(line)?, owned(line)?);
        specialisations.closures.insert(name, closure.into());
    }
    Some(Document {
        bootspec: Bootspec {
            label,
            system,
            init,
            kernel,
            kernel_params,
            initrd,
            initrd_secrets,
            toplevel,
        },
        specialisations,
        devicetree,
        extra_initrds,
    })
}

fn owned(line: &mut Line<'_>) -> Option<String> {
    line.text().map(std::borrow::Cow::into_owned)
}

/// How many there are, and then each.
fn texts(line: &mut Line<'_>) -> Option<Vec<String>> {
    let count = line.number()?;
    (0..count).map(|_| owned(line)).collect()
}

fn field(line: &mut String, value: &str) {
    line.push(',');
    text(line, value);
}

fn list(line: &mut String, all: &[impl AsRef<str>]) {
    number(line, all.len());
    for value in all {
        field(line, value.as_ref());
    }
}

impl Digests {
    /// What the `boot.json` at `path` (a path of this process) says, if it is the file that was read under this very
    /// name.
    pub(crate) fn document(&mut self, path: &Path) -> Option<Arc<Document>> {
        let key = key(&self.root, path);
        let said = self.record.documents.get_mut(key.as_ref())?;
        let found = std::fs::metadata(path).ok()?;
        said.is_asked = said.stamp == Stamp::of(Kind::Store, &found);
        said.is_asked.then(|| Arc::clone(&said.document))
    }

    /// Takes note of what the file at `path` says. `found` was asked for before it was read: a change meanwhile makes
    /// another stamp.
    pub(crate) fn learn_document(
        &mut self,
        path: &Path,
        found: &Metadata,
        document: &Arc<Document>,
    ) {
        let said = Said {
            stamp: Stamp::of(Kind::Store, found),
            document: Arc::clone(document),
            is_asked: true,
        };
        let key = key(&self.root, path).into_owned();
        self.record.documents.insert(key, said);
        self.news = true;
    }

    /// Takes note that every document was asked for: the others are not kept. Whoever loads the record again in the same
    /// run asks for none: then all of them stay.
    pub(crate) fn asked_for_documents(&mut self) {
        self.record.is_complete = true;
    }
}

#[cfg(test)]
mod tests;
