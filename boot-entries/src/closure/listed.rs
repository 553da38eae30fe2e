//! Generations with their specialisations, and what their closures say.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use super::{document, read, short};
use crate::Root;
use crate::bootspec::{self, Document};
use crate::digests::Digests;
use crate::generation::{Generation, Subject};

/// What closures say about booting themselves ([`document`]), so that each is asked once.
#[derive(Debug, Clone, Default)]
pub struct Documents(BTreeMap<OsString, Result<Arc<Document>, String>>);

impl Documents {
    /// What `toplevel` says. One that was not asked before is asked now.
    ///
    /// # Errors
    /// As [`document`].
    pub fn of(&self, root: &Root, toplevel: &Path) -> Result<Cow<'_, Document>, String> {
        // As texts: two spellings of a path are read twice, and comparing is one look.
        match self.0.get(toplevel.as_os_str()) {
            Some(Ok(known)) => Ok(Cow::Borrowed(known)),
            Some(Err(why)) => Err(why.clone()),
            None => document(root, toplevel).map(Cow::Owned),
        }
    }
}

/// Generations, and what was found out on the way.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    /// Each followed by its specialisations.
    pub generations: Vec<Generation>,
    /// What is wrong with specialisations that cannot be had. That a closure cannot be read is not told here.
    pub troubles: Vec<(Subject, String)>,
    /// What they say.
    pub documents: Documents,
}

/// `generations`, each followed by its specialisations. A `boot.json` that `digests` knows is not read. Those of other
/// closures are not kept.
#[must_use]
pub fn with_specialisations(
    root: &Root,
    generations: &[Generation],
    digests: &mut Digests,
) -> Listed {
    let mut all = Vec::new();
    let mut troubles = Vec::new();
    let mut documents = Documents::default();
    for generation in generations {
        all.push(generation.clone());
        let toplevel = generation.toplevel.clone().into_os_string();
        let said = documents.0.entry(toplevel);
        let ask = || known(root, &generation.toplevel, digests);
        let Ok(document) = said.or_insert_with(ask) else {
            continue;
        };
        let mut told = document.specialisations.troubles.clone();
        for (name, toplevel) in &document.specialisations.closures {
            // What a boot of it has in `init=` must be what it is known by, as for every closure.
            let real = root.canonical(toplevel);
            let same = real.is_ok_and(|real| real.as_os_str() == toplevel.as_os_str());
            match generation.id.specialised(name) {
                Some(id) if same && toplevel.is_absolute() => {
                    let toplevel = toplevel.clone();
                    all.push(Generation { id, toplevel });
                }
                _ => told.push(format!(
                    "specialisation {name:?}: {} is no plain path of a closure",
                    toplevel.display()
                )),
            }
        }
        let told = told.iter().map(|why| (generation.subject(), short(why)));
        troubles.extend(told);
    }
    digests.asked_for_documents();
    Listed {
        generations: all,
        troubles,
        documents,
    }
}

/// What `toplevel` says: as `digests` knows it, or read now.
fn known(root: &Root, toplevel: &Path, digests: &mut Digests) -> Result<Arc<Document>, String> {
    let path = root.join(toplevel.join(bootspec::FILE));
    if let Some(known) = digests.document(&path) {
        return Ok(known);
    }
    let (document, found) = read(root, toplevel)?;
    let document = Arc::new(document);
    if let Some(found) = found {
        digests.learn_document(&path, &found, &document);
    }
    Ok(document)
}
