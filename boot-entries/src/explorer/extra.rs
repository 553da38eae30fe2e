//! Extra files in the same plans: they come, change and go.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Case;
use super::domain::product;
use super::look::{content, extras};
use super::place::Held;
use crate::extra::{Extra, RECORD};
use crate::plan::tests::{id, proven, select};
use crate::plan::{Intent, Standing};

/// Where an extra program lies, a file beside it, and the entry that starts the program.
const PROGRAM: &str = "EFI/tools/tool.efi";
const DATA: &str = "EFI/tools/data/list";
const ENTRY: &str = "loader/entries/tool.conf";
/// The text of that, which is a name as well: a file of the store holds its own here, and the loader takes either
/// slash.
const TEXT: &str = "efi \\EFI\\tools\\tool.efi";

fn extra(path: &str, name: &str) -> Extra {
    Extra {
        path: path.to_owned(),
        source: Path::new("/nix/store").join(name),
        content: content(&name.as_bytes().into()),
    }
}

/// The extra files of a closure: none, all, and all with another program and without the other file.
fn sets() -> [Vec<Extra>; 3] {
    let with = |program| vec![extra(ENTRY, TEXT), extra(PROGRAM, program)];
    let mut all = with("tool-1");
    all.push(extra(DATA, "data"));
    [Vec::new(), all, with("tool-2")]
}

/// From each set to each other one, with the selection of a trial and the verdict on it.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (before, after) in product(&[0, 1, 2], &[0, 1, 2]) {
        let with = |set: usize, intent: Intent| Intent {
            extras: sets()[set].clone(),
            ..intent
        };
        let mut held = Held::default();
        let installed = with(before, proven(select(2), 2));
        // There was something to boot before there was anything extra.
        Case::install(&held, &with(0, installed.clone()), &[2]).run(&mut held);
        Case::install(&held, &installed, &[2]).run(&mut held);
        let mut passed = with(after, proven(select(3), 2));
        cases.push(Case::install(&held, &passed, &[2]));
        Case::install(&held, &with(before, passed.clone()), &[2]).run(&mut held);
        let mut failed = with(after, proven(select(2), 2));
        let rejected = Standing::Rejected;
        failed.standings.insert(id(3), rejected);
        cases.push(Case::install(&held, &failed, &[2]));
        passed = proven(passed, 3);
        cases.push(Case::install(&held, &passed, &[2, 3]));
        cases.push(Case::uninstall(&held, &passed, &[2, 3]));
    }
    cases
}

fn is_extra(path: &Path) -> bool {
    [RECORD, PROGRAM, DATA, ENTRY]
        .map(Path::new)
        .contains(&path)
        || path.starts_with("EFI/tools")
}

impl Case {
    /// Whether the cut has left what is told and left alone: a record that makes no sense, so that what was on it is
    /// nobody's, or bytes that nobody put there.
    pub(super) fn is_told(&self, found: &Held) -> bool {
        let there = extras(found, &self.intent.extras);
        let put: BTreeSet<_> = sets().iter().flatten().map(|e| e.content.digest).collect();
        let mut present = there.present.values();
        there.is_damaged || present.any(|now| now.size > 0 && !put.contains(&now.digest))
    }

    /// An extra entry is there only while what it starts is, and nothing of what was put there is forgotten.
    pub(super) fn check_extras(&self, done: &Held, found: &Held) -> Result<(), String> {
        let program = |held: &Held| held.boot.get(Path::new(PROGRAM)).cloned();
        let [before, now, after] = [&self.held, found, done].map(program);
        // A program that is replaced may be anything meanwhile.
        let is_replaced = before.is_some() && after.is_some() && before != after;
        let entry = found.boot.get(Path::new(ENTRY));
        if entry.is_some_and(|text| **text == *TEXT.as_bytes()) && !is_replaced {
            let is_right = now.is_some() && (now == before || now == after);
            if !is_right {
                return Err(format!("{ENTRY} starts a damaged {PROGRAM}"));
            }
        }
        if !found.boot.keys().any(|path| is_extra(path)) {
            return Ok(());
        }
        if self.is_told(found) {
            return Ok(());
        }
        let without = Self {
            intent: Intent {
                extras: Vec::new(),
                ..self.intent.clone()
            },
            ..self.clone()
        };
        let mut next = found.clone();
        without.run(&mut next);
        let left = next.boot.keys().filter(|path| is_extra(path));
        let left: Vec<&PathBuf> = left.collect();
        if left.is_empty() {
            return Ok(());
        }
        Err(format!("nobody knows of {left:?}"))
    }
}
