//! The systemd generator: the units that run are the booted closure's and no other's.
//!
//! See systemd.generator(7). It runs before any unit is loaded and before any file system is mounted, so it
//! cannot wait, ask or write anything but the directory it is given and `/run`; there is no journal yet, so it speaks to
//! the kernel's log. Whatever goes wrong is said there, left for the assessment, and the boot goes on: a generator that
//! fails a boot would be worse than none. Links go to the *early* directory because only that one is above
//! `/etc/systemd/system`; what the operator has [masked](mask) there is left out for that reason.
//!
//! PID 1 answers nobody while generators run, and kills them after 90 s. So the work is a process of its own, which
//! [`run`] ends after [`PATIENCE`]: a store that does not answer costs the generation and not the machine.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use boot_entries::digests::Digests;
use boot_entries::generation::{Generation, Profiles, Subject};
use boot_entries::name::{OurName as _, TRIES};
use boot_entries::{Root, closure, efi};
use systemd_boot_model::EntryName;

use crate::host::{self, CURRENT_SYSTEM, INITRD_RELEASE, Kind, NOWHERE, PROVEN};
use crate::report::line::one_line;
use crate::state::started_by::{StartedBy, started_by};
use crate::store::handover::{LeftOut, Units};
use crate::store::ledger::Ledger;
use crate::system::kernel_log::{KernelLog, Level};
use crate::system::{command_line, ourselves};

/// How the kernel's log calls it.
const STEP: &str = "lastgood-generator";

pub mod mask;
mod units;

use mask::Masks;
use units::UNITS;

/// How long the work may take. A thousand links take a tenth of a second, and on a cold spinning disk a hundred times that.
const PATIENCE: Duration = Duration::from_secs(30);

/// So many names of names a unit may have. They may lead in a circle.
const MAX_NAMES: usize = 8;

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
    /// Which of them the operator does not want.
    pub masks: Masks,
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

/// What is to be made, and what is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Ours comes first: the first to take a name has it.
    pub makes: Vec<Make>,
    /// What the closure has and systemd does not get.
    pub left_out: Vec<LeftOut>,
}

/// What to make: a total function of what was found.
#[must_use]
pub fn plan(found: &Found) -> Plan {
    let mut plan = Plan::default();
    let Some(closure) = &found.closure else {
        return plan;
    };
    plan.makes = ours(found);
    if found.host != Some(Kind::Plain) {
        return plan;
    }
    let units = closure.join(UNITS);
    for unit in &found.units {
        let masked_by = found.masks.of(&unit.path);
        let meant_by = meant(found, unit).find_map(|other| found.masks.of(other));
        if masked_by.or(meant_by).is_some() || reserved(&unit.path) {
            plan.left_out.push(LeftOut {
                unit: unit.path.display().to_string(),
                masked_by: masked_by.or(meant_by).map(str::to_owned),
            });
        }
        let to = match &unit.leads {
            _ if masked_by.is_some() || reserved(&unit.path) => continue,
            // systemd 252 takes another name of a unit that is masked elsewhere for an error.
            _ if meant_by.is_some() => NOWHERE.into(),
            Leads::Nowhere => NOWHERE.into(),
            // Relative, so that systemd sees a second name and not a second unit.
            Leads::Alias(other) => other.clone(),
            Leads::File => units.join(&unit.path),
        };
        let at = unit.path.clone();
        plan.makes.push(Make::Link { at, to });
    }
    plan
}

/// The units of which `unit` is another name, as far as they are the closure's: names of names as well.
fn meant<'a>(found: &'a Found, unit: &'a Listed) -> impl Iterator<Item = &'a Path> {
    let next = |unit: &&'a Listed| match &unit.leads {
        Leads::Alias(other) => found.units.iter().find(|listed| listed.path == *other),
        Leads::File | Leads::Nowhere => None,
    };
    let all = std::iter::successors(next(&unit), next);
    all.map(|unit| unit.path.as_path()).take(MAX_NAMES)
}

/// What is made for every boot of a generation, and for a trial.
fn ours(found: &Found) -> Vec<Make> {
    let mut makes = vec![Make::Link {
        at: "systemd-bless-boot.service".into(),
        to: NOWHERE.into(),
    }];
    if !found.trial {
        return makes;
    }
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
    makes
}

/// Whether a path is for a unit that a closure has no say in: the agent's own (they are the host's, whatever is
/// booted), and the one that would touch the boot counter behind its back.
fn reserved(path: &Path) -> bool {
    path.iter()
        .map(OsStr::to_string_lossy)
        .any(|name| name.starts_with("lastgood-") || name == "systemd-bless-boot.service")
}

/// Runs the generator: `early` is its second argument. Never fails; what went wrong is in the kernel's log, and left
/// for the assessment.
pub fn run(root: &Root, early: &Path) {
    let work = [OsStr::new("boot"), OsStr::new("units"), early.as_os_str()];
    let Err(error) = ourselves::run(&work, PATIENCE) else {
        return;
    };
    let mut log = KernelLog::open(root, STEP);
    let problem = format!("cannot link the units: {error}");
    log.say(Level::Error, &problem);
    // Nothing that may hold up the work is read here.
    if let Ok(Some(closure)) = command_line::closure(root) {
        let told = Units {
            problems: vec![problem],
            ..Units::none(active(root, closure))
        };
        leave(root, &told, &mut log);
    }
}

/// How many units and drop-ins `closure` has.
///
/// # Errors
/// The first that could not be linked, and why.
pub fn units_of(root: &Root, closure: &Path) -> Result<usize, String> {
    let units = units::read(root, closure);
    let mut problems = units.problems.into_iter();
    problems.next().map_or(Ok(units.listed.len()), Err)
}

/// The work of [`run`].
pub fn link(root: &Root, early: &Path) {
    let mut log = KernelLog::open(root, STEP);
    let Some((found, problems)) = observe(root, &mut log) else {
        log.say(
            Level::Info,
            "the boot is not a lastgood generation's: nothing to do",
        );
        return;
    };
    let Some(closure) = found.closure.clone() else {
        return;
    };
    let plan = plan(&found);
    let mut told = Units {
        left_out: plan.left_out,
        problems,
        ..Units::none(closure)
    };
    for make in &plan.makes {
        match apply(early, make) {
            Ok(()) => told.made += 1,
            Err(error) => {
                let at = at(make).display();
                told.problems.push(format!("cannot make {at}: {error}"));
            }
        }
    }
    for problem in &told.problems {
        log.say(Level::Error, problem);
    }
    for LeftOut { unit, masked_by } in &told.left_out {
        let why = masked_by.as_ref().map_or_else(
            || "no closure has a say in it".to_owned(),
            |by| format!("masked by {by}"),
        );
        log.say(Level::Info, &format!("{unit} is left out: {why}"));
    }
    let kind = if found.trial { ", a trial" } else { "" };
    log.say(
        Level::Info,
        &format!(
            "{} units and drop-ins for {}{kind}",
            told.made, told.closure
        ),
    );
    match Units::read(root) {
        Ok(before) => told.follows(before),
        Err(error) => log.say(Level::Error, &one_line(&error)),
    }
    leave(root, &told, &mut log);
}

/// Leaves word for the assessment.
fn leave(root: &Root, told: &Units, log: &mut KernelLog) {
    if let Err(error) = told.leave(root) {
        log.say(Level::Error, &one_line(&error));
    }
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

/// The closure that is active: a live switch moves this link and has systemd reload, and generators run again.
fn active(root: &Root, booted: PathBuf) -> PathBuf {
    let current = std::fs::read_link(root.join(CURRENT_SYSTEM));
    current.unwrap_or(booted)
}

/// Looks. What cannot be told is taken for the harmless answer: no units, no trial; what there is to say of that comes
/// second. None: nothing of this boot is ours.
fn observe(root: &Root, log: &mut KernelLog) -> Option<(Found, Vec<String>)> {
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
        return None;
    }
    let booted = command_line::closure(root).unwrap_or_else(|error| {
        log.say(Level::Error, &one_line(&error));
        None
    })?;
    let counted = efi::read(root).boot_count_path;
    let counted = counted.as_deref().map(file_of);
    let is_counted = counted.is_some_and(|file| has_tries(file) && is_about(file, root, &booted));
    let closure = active(root, booted);
    let mut problems = Vec::new();
    let host = host::kind(root)
        .inspect_err(|error| problems.push(one_line(error)))
        .ok();
    let mut units = units::Units::default();
    if host == Some(Kind::Plain) {
        units = units::read(root, &closure);
        problems.append(&mut units.problems);
    }
    let found = Found {
        trial: is_counted && !there(PROVEN, log) && !is_judged(root, &closure, log),
        masks: Masks::read(root, &units.listed),
        closure: Some(closure),
        units: units.listed,
        host,
    };
    Some((found, problems))
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
