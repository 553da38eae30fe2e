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

/// The program that adds secrets to the initrd. Every closure of NixOS's has it, with secrets or without.
const SECRETS: &str = "append-initrd-secrets";
/// The longest one has a line or two for each secret, in bytes.
const SECRETS_LIMIT: u64 = 1024 * 1024;

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
            initrd_secrets: optional(SECRETS)?.filter(|program| adds_secrets(root, program)),
            toplevel: toplevel.to_owned(),
        },
        specialisations: specialisations(root, toplevel),
        devicetree: None,
        extra_initrds: Vec::new(),
    })
}

/// Whether `program` may add anything. In doubt it does.
fn adds_secrets(root: &Root, program: &Path) -> bool {
    let text = root.resolve(program);
    let text = text.and_then(|here| bounded::read(&here, SECRETS_LIMIT));
    !text.is_ok_and(|text| does_nothing(&text))
}

/// Whether a script looks at its arguments and ends: that is what nixpkgs makes of no secrets (its `stage-1.nix` puts
/// an `exit 0` of its own before everything else). A line of any other kind before that one may do something, and one
/// inside an `if` or a function need not be reached.
fn does_nothing(script: &str) -> bool {
    let Some(rest) = script.strip_prefix("#!") else {
        return false;
    };
    let mut depth = 0_usize;
    for line in rest.lines().skip(1) {
        if line == "exit 0" && depth == 0 {
            return true;
        }
        let line = line.trim();
        let is_harmless = line.is_empty()
            || line.starts_with('#')
            || ["usage", "exit 0", "exit 1"].contains(&line)
            || is_plain(line, "echo \"", "\" >&2");
        if line == "function usage {" || is_plain(line, "if [ ", " ]; then") {
            depth += 1;
        } else if ["}", "fi"].contains(&line) && depth > 0 {
            depth -= 1;
        } else if !is_harmless {
            return false;
        }
    }
    false
}

/// Whether `line` is of this form and has no command in it.
fn is_plain(line: &str, start: &str, end: &str) -> bool {
    let inside = line
        .strip_prefix(start)
        .and_then(|rest| rest.strip_suffix(end));
    inside.is_some_and(|inside| !inside.contains(['`', ';', '&', '|', '>', '<', '(']))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What nixpkgs' `stage-1.nix` writes, in words of our own, with `more` where it says whether there are secrets.
    fn script(more: &str) -> String {
        format!(
            "#!/nix/store/b-bash/bin/bash -e\nfunction usage {{\n  echo \"USAGE: $0 FILE\" >&2\n  echo \"Adds to FILE\" >&2\n}}\n\n\
             if [ $# -ne 1 ]; then\n  usage\n  exit 1\nfi\n\nif [ \"$1\"x = \"--helpx\" ]; then\n  usage\n  exit 0\nfi\n\n\
             {more}\n\nexport PATH=/nix/store/c/bin\ncp -a /key \"$tmp\"\nexit 0\n"
        )
    }

    #[test]
    fn a_program_that_ends_before_it_begins_adds_nothing() {
        assert!(does_nothing(&script("exit 0")));
        assert!(does_nothing(&script(
            "if [ -e /x ]; then\nexit 0\nfi\nexit 0"
        )));
        for something in [
            "",
            "  exit 0",
            "true && exit 0",
            "cp /key \"$1\"\nexit 0",
            "echo \"$(cat /key >> $1)\" >&2\nexit 0",
            "echo key >> \"$1\"\nexit 0",
            "if [ -e \"`add $1`\" ]; then\nexit 0",
            "if [ -e /key ]; then\nexit 0\nfi\ncp /key \"$1\"",
            "function usage {\nexit 0\n}\ncp /key \"$1\"",
            "fi\nexit 0",
        ] {
            assert!(!does_nothing(&script(something)), "{something:?}");
        }
        for none in ["", "exit 0\n", "\u{7f}ELF\nexit 0\n", "#!/bin/sh\n"] {
            assert!(!does_nothing(none), "{none:?}");
        }
    }
}
