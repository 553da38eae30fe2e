//! The systemd generator: the units that run are the booted closure's and no other's.
//!
//! See systemd.generator(7). It runs before any unit is loaded and before any file system is mounted, so it
//! cannot wait, ask or write anything but the directory it is given; there is no journal yet, so it speaks to the
//! kernel's log. Whatever goes wrong is said there and the boot goes on: a generator that fails a boot would be
//! worse than none. Links go to the *early* directory because only that one is above `/etc/systemd/system`.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use boot_entries::digests::Digests;
use boot_entries::generation::{Generation, Profiles, Subject};
use boot_entries::name::{OurName as _, TRIES};
use boot_entries::{Root, closure, efi};
use systemd_boot_model::EntryName;

use crate::host::{self, CURRENT_SYSTEM, INITRD_RELEASE, Kind, NOWHERE, PROVEN};
use crate::report::line::one_line;
use crate::state::started_by::{StartedBy, started_by};
use crate::store::ledger::Ledger;
use crate::system::command_line;
use crate::system::kernel_log::{KernelLog, Level};

/// Where a closure keeps its units.
const UNITS: &str = "etc/systemd/system";
/// Directories whose entries add up over all places systemd looks in, so they are linked entry by entry.
const ADDING_UP: [&str; 4] = ["wants", "requires", "upholds", "d"];

/// One entry of a closure's `etc/systemd/system`, or of a `.wants`, `.requires`, `.upholds` or `.d` directory there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Relative to `etc/systemd/system`.
    pub path: PathBuf,
    /// What it leads to.
    pub leads: Leads,
}

/// What an entry leads to, as far as systemd treats it differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leads {
    /// A file.
    File,
    /// `/dev/null`: the unit is masked.
    Nowhere,
    /// Another unit of the same directory: this is a second name of it.
    Alias(PathBuf),
}

/// What the generator knows when it decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The closure whose units are to run. None: not a boot of ours.
    pub closure: Option<PathBuf>,
    /// Its units.
    pub units: Vec<Listed>,
    /// What kind of host it is. NixOS has linked the units itself, in its own way. None: nobody can tell, and nothing
    /// is linked; activation then says so.
    pub host: Option<Kind>,
    /// The boot is an unproven generation's.
    pub trial: bool,
}

/// One thing to make in the early directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Make {
    /// A symbolic link.
    Link {
        /// Its place, relative to the early directory.
        at: PathBuf,
        /// Its target.
        to: PathBuf,
    },
    /// A file.
    File {
        /// Its place, relative to the early directory.
        at: PathBuf,
        /// Its text.
        text: &'static str,
    },
}

/// On a trial an agent that cannot even fall back ends in a reboot: the loader's counter knows the way. Never on a
/// proven generation (A8).
const FALL_BACK_ON_TRIAL: &str = "\
# This boot is a trial: an agent that cannot fall back by itself must not leave the machine as it is.
[Unit]
FailureAction=reboot
";

/// The end of every hang of a trial that nothing else ends: a mount, an fsck, an agent that never got to run.
///
/// The job of the assessor waits or runs from the first moment of the boot until there is a verdict, so its age is the
/// trial's. The time is longer than that of the assessor, which knows causes and should be first.
const DEADLINE_ON_TRIAL: &str = "\
# This boot is a trial: no verdict by then, whatever hangs, ends it. Longer than TimeoutStartSec= of the assessor.
[Unit]
JobTimeoutSec=40min
JobTimeoutAction=reboot-force
";

/// What to make: a total function of what was found. Ours comes first: the first to take a name has it.
#[must_use]
pub fn plan(found: &Found) -> Vec<Make> {
    let Some(closure) = &found.closure else {
        return Vec::new();
    };
    let mut makes = Vec::new();
    makes.push(Make::Link {
        at: "systemd-bless-boot.service".into(),
        to: NOWHERE.into(),
    });
    if found.trial {
        for (at, text) in [
            ("lastgood-fall-back.service.d", FALL_BACK_ON_TRIAL),
            ("lastgood-assess.service.d", DEADLINE_ON_TRIAL),
        ] {
            makes.push(Make::File {
                at: Path::new(at).join("50-lastgood-trial.conf"),
                text,
            });
        }
        let units = found.host.unwrap_or(Kind::Plain).units();
        for prompt in ["emergency.target", "rescue.target"] {
            makes.push(Make::Link {
                at: Path::new(&format!("{prompt}.wants")).join("lastgood-no-prompt.service"),
                to: Path::new(units).join("lastgood-no-prompt.service"),
            });
        }
    }
    if found.host == Some(Kind::Plain) {
        let units = closure.join(UNITS);
        makes.extend(
            found
                .units
                .iter()
                .filter(|unit| !reserved(&unit.path))
                .map(|unit| Make::Link {
                    at: unit.path.clone(),
                    to: match &unit.leads {
                        Leads::Nowhere => NOWHERE.into(),
                        // Relative, so that systemd sees a second name and not a second unit.
                        Leads::Alias(other) => other.clone(),
                        Leads::File => units.join(&unit.path),
                    },
                }),
        );
    }
    makes
}

/// Whether a path is for a unit that a closure has no say in: the agent's own (they are the host's, whatever is
/// booted), and the one that would touch the boot counter behind its back.
fn reserved(path: &Path) -> bool {
    path.iter()
        .map(OsStr::to_string_lossy)
        .any(|name| name.starts_with("lastgood-") || name == "systemd-bless-boot.service")
}

/// Runs the generator: `early` is its second argument. Never fails; what went wrong is in the kernel's log.
pub fn run(root: &Root, early: &Path) {
    let mut log = KernelLog::open(root, "lastgood-generator");
    let found = observe(root, &mut log);
    let Some(closure) = &found.closure else {
        log.say(
            Level::Info,
            "the boot is not a lastgood generation's: nothing to do",
        );
        return;
    };
    let makes = plan(&found);
    let mut made = 0;
    for make in &makes {
        match apply(early, make) {
            Ok(()) => made += 1,
            Err(error) => log.say(
                Level::Error,
                &format!("cannot make {}: {error}", at(make).display()),
            ),
        }
    }
    let kind = if found.trial { ", a trial" } else { "" };
    log.say(
        Level::Info,
        &format!("{made} units and drop-ins for {}{kind}", closure.display()),
    );
}

/// The entry file that a `LoaderBootCountPath` names.
fn file_of(boot_count_path: &str) -> &str {
    let mut parts = boot_count_path.rsplit(['\\', '/']);
    parts.next().unwrap_or_default()
}

/// Whether the counted entry `file` may be the one that started `booted`. The variable is another boot's after a kexec,
/// and after an entry that could not be started. `$BOOT` is not mounted yet: the name has to tell. What a profile does
/// not say is not known then, and the counter decides.
fn is_about(file: &str, root: &Root, booted: &Path) -> bool {
    let mut known = Profiles::read(root).unwrap_or_default().generations;
    let number = EntryName::parse(file).and_then(|name| name.generation_number());
    let numbered = known.iter().filter(|one| Some(one.id.number()) == number);
    let numbered: Vec<Generation> = numbered.cloned().collect();
    let mut digests = Digests::new(root, None);
    known.extend(closure::with_specialisations(root, &numbered, &mut digests).generations);
    let known: Vec<Subject> = known.iter().map(Generation::subject).collect();
    let by = started_by(booted, Some(file), &[], &known);
    !matches!(by, StartedBy::NotTheLoader { .. })
}

/// Whether the boot of this entry was one of the tries it was given.
///
/// systemd-boot sets `LoaderBootCountPath` for every entry with a counter. One whose tries are used up is started only
/// when nothing good is left: then there is nothing to fall back to, and rebooting would go on for ever (A3).
fn has_tries(file: &str) -> bool {
    let tries = EntryName::parse(file).and_then(|name| name.tries);
    tries.is_some_and(|tries| tries.left > 0 || tries.done.unwrap_or(0) <= TRIES)
}

/// Whether a verdict on this closure is on record. A proven one may still have its counter, because `$BOOT` could not
/// be written: that is no reason to reboot it. A rejected one runs only for want of anything better: neither is it.
///
/// `/var` may not be mounted yet. Then nobody knows, and the counter decides.
fn is_judged(root: &Root, closure: &Path, log: &mut KernelLog) -> bool {
    match Ledger::read(root) {
        Ok(ledger) => {
            let state = ledger.state();
            let proven = state
                .proven
                .iter()
                .any(|good| good.subject.toplevel == closure);
            // And while a record binds that nobody here knows, nothing is rebooted for its health.
            proven || state.rejected.contains_key(closure) || state.bound_by.is_some()
        }
        Err(error) => {
            log.say(Level::Error, &one_line(&error));
            false
        }
    }
}

/// Looks. What cannot be told is said, and taken for the harmless answer: no units, no trial.
fn observe(root: &Root, log: &mut KernelLog) -> Found {
    let there = |path: &str, log: &mut KernelLog| match root.join(path).symlink_metadata() {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => {
            log.say(Level::Error, &format!("cannot look at {path}: {error}"));
            false
        }
    };
    // In the initrd `/` is the initrd's own, and its units are none of ours.
    if there(INITRD_RELEASE, log) {
        return Found::default();
    }
    let closure = match command_line::closure(root) {
        Ok(closure) => closure,
        Err(error) => {
            log.say(Level::Error, &one_line(&error));
            None
        }
    };
    let Some(booted) = closure else {
        return Found::default();
    };
    // A live switch moves this link and has systemd reload: generators run again, for the closure that is now active.
    let current = std::fs::read_link(root.join(CURRENT_SYSTEM));
    let closure = current.unwrap_or_else(|_| booted.clone());
    let host = host::kind(root)
        .inspect_err(|error| log.say(Level::Error, &one_line(error)))
        .ok();
    let units = if host == Some(Kind::Plain) {
        list(root, &closure).unwrap_or_else(|error| {
            let place = closure.join(UNITS);
            log.say(
                Level::Error,
                &format!("cannot list {}: {error}", place.display()),
            );
            Vec::new()
        })
    } else {
        Vec::new()
    };
    let counted = efi::read(root).boot_count_path;
    let counted = counted.as_deref().map(file_of);
    let is_counted = counted.is_some_and(|file| has_tries(file) && is_about(file, root, &booted));
    Found {
        trial: is_counted && !there(PROVEN, log) && !is_judged(root, &closure, log),
        closure: Some(closure),
        units,
        host,
    }
}

/// The units of `closure`, in the order of their names. A closure without any has none.
///
/// # Errors
/// When a directory or a link cannot be read.
pub fn list(root: &Root, closure: &Path) -> io::Result<Vec<Listed>> {
    let top = root.canonical(closure.join(UNITS))?;
    let homes = [top.clone(), closure.join(UNITS), Path::new("/").join(UNITS)];
    let mut listed = Vec::new();
    for name in names(root, &top)? {
        let path = PathBuf::from(&name);
        let extension = path.extension().map(OsStr::to_string_lossy);
        let adds = extension.is_some_and(|extension| ADDING_UP.contains(&&*extension));
        let place = root.canonical(top.join(&name))?;
        if adds && root.join(&place).is_dir() {
            for inner in names(root, &place)? {
                let nowhere = root.canonical(place.join(&inner))? == Path::new(NOWHERE);
                listed.push(Listed {
                    path: path.join(&inner),
                    // A name in `.wants` is the dependency whatever it leads to, and a drop-in has no other name.
                    leads: if nowhere { Leads::Nowhere } else { Leads::File },
                });
            }
            continue;
        }
        let leads = if place == Path::new(NOWHERE) {
            Leads::Nowhere
        } else {
            match std::fs::read_link(root.join(top.join(&name))) {
                Ok(target) => alias(&target, &path, &homes),
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => Leads::File,
                Err(error) => return Err(error),
            }
        };
        listed.push(Listed { path, leads });
    }
    listed.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(listed)
}

/// Whether a link to `target` makes `name` another name of a unit in one of `homes`.
fn alias(target: &Path, name: &Path, homes: &[PathBuf]) -> Leads {
    let (Some(other), Some(parent)) = (target.file_name(), target.parent()) else {
        return Leads::File;
    };
    let beside = parent.as_os_str().is_empty() || parent == Path::new(".");
    if other != name.as_os_str() && (beside || homes.iter().any(|home| home == parent)) {
        Leads::Alias(other.into())
    } else {
        Leads::File
    }
}

fn names(root: &Root, directory: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    match std::fs::read_dir(root.join(directory)) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn at(make: &Make) -> &Path {
    match make {
        Make::Link { at, .. } | Make::File { at, .. } => at,
    }
}

/// systemd empties the directory before generators run, so nothing of ours is in the way.
fn apply(early: &Path, make: &Make) -> io::Result<()> {
    let place = early.join(at(make));
    if let Some(parent) = place.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match make {
        Make::Link { to, .. } => symlink(to, place),
        // Never through a link that is already there: it would lead into the closure.
        Make::File { text, .. } => std::fs::File::create_new(place)?.write_all(text.as_bytes()),
    }
}

#[cfg(test)]
mod tests;
