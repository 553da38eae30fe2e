//! What a closure without `boot.json` says about booting itself: the same, by the names of its files.
//!
//! Closures from before bootspec (NixOS 22.11 and older), and those of builders that leave it out.

use std::io;
use std::path::Path;

use crate::Root;
use crate::bootspec::{Bootspec, Document, Specialisations};
use crate::bounded;

/// No such text is longer: the kernel's own limit for its command line is below that.
const LIMIT: u64 = 64 * 1024;

/// Makes the document that `toplevel` does not have.
///
/// # Errors
/// The file that would be needed, and why it cannot be had.
pub(crate) fn document(root: &Root, toplevel: &Path) -> Result<Document, String> {
    let said = |name: &str, error: io::Error| {
        let path = toplevel.join(name);
        format!("there is no boot.json, and {}: {error}", path.display())
    };
    let text = |name: &str| {
        let here = root.resolve(toplevel.join(name));
        let text = here.and_then(|here| bounded::read(&here, LIMIT));
        text.map(|text| text.trim().to_owned())
            .map_err(|error| said(name, error))
    };
    let link = |name: &str| match root.join(toplevel.join(name)).symlink_metadata() {
        Ok(_) => root.canonical(toplevel.join(name)).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let optional = |name: &str| link(name).map_err(|error| said(name, error));
    let version = text("nixos-version")?;
    let missing = || said("kernel", io::ErrorKind::NotFound.into());
    Ok(Document {
        bootspec: Bootspec {
            label: format!("NixOS {version}"),
            system: text("system")?,
            init: toplevel.join("init"),
            kernel: optional("kernel")?.ok_or_else(missing)?,
            kernel_params: text("kernel-params")?
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            initrd: optional("initrd")?,
            initrd_secrets: optional("append-initrd-secrets")?,
            toplevel: toplevel.to_owned(),
        },
        specialisations: specialisations(root, toplevel),
        devicetree: None,
        extra_initrds: Vec::new(),
    })
}

fn specialisations(root: &Root, toplevel: &Path) -> Specialisations {
    let mut all = Specialisations::default();
    let directory = toplevel.join("specialisation");
    let listing = root.resolve(&directory).and_then(std::fs::read_dir);
    let items = listing.and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let items = match items {
        Ok(items) => items,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return all,
        Err(error) => {
            all.troubles
                .push(format!("{}: {error}", directory.display()));
            return all;
        }
    };
    let mut names: Vec<_> = items.into_iter().map(|item| item.file_name()).collect();
    names.sort();
    for name in names {
        let closure = match name.to_str() {
            Some(_) => root
                .canonical(directory.join(&name))
                .map_err(|error| error.to_string()),
            None => Err("its name is no UTF-8".to_owned()),
        };
        all.add(&name.to_string_lossy(), closure);
    }
    all
}
