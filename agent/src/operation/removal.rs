//! May the agent's files be taken away? The package asks this before it removes them.
//!
//! A closure's `init` may lead to the agent, and its entry may be what boots next. Without the agent that boot ends in a
//! panic. So [`decide`] lets the files go only when nothing of lastgood's is left and no boot to come starts with them.

use std::path::{Path, PathBuf};

use boot_entries::observe::BootFiles;
use boot_entries::{Root, nixpkgs};

use super::uninstall::what_is_left;
use crate::entries::prediction;
use crate::error::Error;
use crate::host::{AGENT, STATE};
use crate::report::line::one_line;
use crate::session::Session;
use crate::view::View;

/// How many failed boots are looked ahead: a counter has one digit.
const FAILURES: usize = 9;

/// What was seen of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Something is on record, readable or not, or entries of ours are there without a record.
    pub is_used: bool,
    /// How many changes `lastgood uninstall` would make, or why it would be refused.
    pub left: Result<usize, String>,
    /// The first boot to come that starts with the agent, or why nobody can tell.
    pub needs: Result<Option<Needs>, String>,
}

/// A boot that starts with the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Its entry.
    pub entry: String,
    /// The closure whose `init` it is.
    pub closure: PathBuf,
    /// Entries beside it that start no closure: the distribution's.
    pub others: Vec<String>,
}

/// Looks at the machine, and decides. Changes nothing.
///
/// # Errors
/// Why the files must stay, and what to do; or what cannot be read.
pub fn may_be_removed(root: &Root) -> Result<(), Error> {
    let session = Session::look(root)?;
    decide(&look(&session)).map_err(Error::Refused)
}

/// Whether the files may go. Total over what was seen.
///
/// # Errors
/// Why not, and what to do.
pub fn decide(seen: &Seen) -> Result<(), String> {
    if seen.is_used {
        match seen.left {
            Ok(0) => {}
            Ok(_) => {
                return Err(format!(
                    "{AGENT} stays: lastgood is in use on this machine; run `lastgood uninstall`, then remove the package"
                ));
            }
            Err(ref why) => {
                return Err(format!(
                    "{AGENT} stays: nothing can be given back: {why}; mend that, run `lastgood uninstall`, then remove the \
                     package"
                ));
            }
        }
    }
    match &seen.needs {
        Ok(None) => Ok(()),
        Ok(Some(Needs {
            entry,
            closure,
            others,
        })) => Err(format!(
            "{AGENT} stays: {entry} is to boot, and the init of {} is {AGENT}; {}, then remove the package",
            closure.display(),
            match others.as_slice() {
                [] => "$BOOT has no entry of the distribution: let `kernel-install` write one, choose it with `bootctl \
                       set-default ID`"
                    .to_owned(),
                [one] => format!("choose the distribution's entry with `bootctl set-default {one}`"),
                several => format!(
                    "choose an entry of the distribution with `bootctl set-default ID`, which is one of {}",
                    several.join(", ")
                ),
            }
        )),
        // Nobody has ever asked for a generation here.
        Err(_) if !seen.is_used => Ok(()),
        Err(why) => {
            // What it says to do would bring lastgood back.
            let what = why.rsplit_once("; ").map_or(&**why, |(what, _)| what);
            Err(format!(
                "{AGENT} stays: nobody can tell what boots next: {what}; mend that, or remove {STATE} if nothing is to boot by \
                 systemd-boot here any more, then remove the package"
            ))
        }
    }
}

fn look(session: &Session) -> Seen {
    let view = &session.view;
    Seen {
        // Also where all that was recorded is damaged: with the boot partition away there is nothing else that says it.
        is_used: !view.ledger.records.is_empty()
            || !view.ledger.damaged.is_empty()
            || view.state.bound_by.is_some()
            || view.lost_record().is_some(),
        left: what_is_left(session).map_err(|error| one_line(&error)),
        needs: needs(view).map_err(|error| one_line(&error)),
    }
}

/// In each place: with the first disk gone, the firmware starts from a mirror.
fn needs(view: &View) -> Result<Option<Needs>, Error> {
    // Which one is next must be known.
    view.boot()?;
    for place in view.places(&view.state)?.usable {
        let found = needs_from(view, &BootFiles::read(&place)?)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn needs_from(view: &View, boot: &BootFiles) -> Result<Option<Needs>, Error> {
    let release = view.release(&boot.place)?;
    let boots = prediction::predict_of(view, boot, release, FAILURES);
    let agent = view.root.canonical(AGENT).ok();
    // A closure that is gone cannot be started with or without the agent.
    let starts_it = |closure: &Path| {
        let init = view.root.canonical(closure.join("init")).ok();
        init.is_some() && init == agent
    };
    let others = boot
        .all()
        .filter(|(_, file)| nixpkgs::init_of(&file.entry).is_none() && boot.has_payload(file))
        .map(|(_, file)| format!("{}.conf", file.name.stem))
        .collect::<Vec<_>>();
    let of = |name: &str| boot.all().find(|(file, _)| *file == name);
    Ok(boots.into_iter().find_map(|one| {
        let (entry, file) = of(&one.entry)?;
        let closure = nixpkgs::init_of(&file.entry)?;
        starts_it(&closure).then(|| Needs {
            entry: entry.clone(),
            closure,
            others: others.clone(),
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every combination.
    #[test]
    fn files_go_only_when_nothing_is_left_and_nothing_boots_with_them() {
        let needed = Needs {
            entry: "nixos-generation-3.conf".to_owned(),
            closure: "/nix/store/a".into(),
            others: vec!["debian.conf".to_owned()],
        };
        let unknown = || "no EFI system partition".to_owned();
        for is_used in [false, true] {
            for left in [Ok(0), Ok(2), Err(unknown())] {
                for needs in [Ok(None), Ok(Some(needed.clone())), Err(unknown())] {
                    let said = decide(&Seen {
                        is_used,
                        left: left.clone(),
                        needs: needs.clone(),
                    });
                    let expected = match (is_used, &left, &needs) {
                        (true, Ok(0) | Err(_), Err(_)) | (true, Err(_), _) => {
                            Some("no EFI system partition; mend that")
                        }
                        (true, Ok(2), _) => Some("run `lastgood uninstall`"),
                        (_, _, Ok(Some(_))) => Some("`bootctl set-default debian.conf`"),
                        _ => None,
                    };
                    match (said, expected) {
                        (Ok(()), None) => {}
                        (Err(line), Some(what)) => {
                            assert!(line.contains(what) && !line.contains('\n'), "{line}");
                        }
                        (said, expected) => {
                            panic!("{is_used} {left:?} {needs:?}: {said:?}, {expected:?}")
                        }
                    }
                }
            }
        }
    }
}
