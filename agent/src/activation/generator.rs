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

use boot_entries::{Root, efi};

use crate::host::{self, CURRENT_SYSTEM, INITRD_RELEASE, Kind, NOWHERE, PROVEN, TRIAL};
use crate::report::line::one_line;
use crate::store::handover::{LeftOut, Units, mark, unmark};
use crate::system::kernel_log::{KernelLog, Level};
use crate::system::{command_line, ourselves, userspace};

/// How the kernel's log calls it.
const STEP: &str = "lastgood-generator";

mod blessing;
pub mod known;
pub mod mask;
mod modules;
pub mod together;
mod trial;
mod units;

use blessing::{in_another_boot, no_other};
use mask::Masks;
use trial::{has_tries, is_about, is_judged};
use units::UNITS;

/// How long the work may take. A thousand links take a tenth of a second, and on a cold spinning disk a hundred times that.
const PATIENCE: Duration = Duration::from_secs(45);

/// The agent's own services.
const OUR_SERVICES: [&str; 10] = [
    "lastgood-begin.service",
    "lastgood-end.service",
    "lastgood-activate.service",
    "lastgood-firewall.service",
    "lastgood-assess.service",
    "lastgood-bless.service",
    "lastgood-probation.service",
    "lastgood-fall-back.service",
    "lastgood-no-prompt.service",
    "lastgood-emergency.service",
];
/// Drop-ins for all services (systemd.unit(5)).
const OF_ALL_SERVICES: &str = "service.d";

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
# This boot is a trial: no verdict by then, whatever hangs, ends it. Longer than an assessor goes on.
[Unit]
JobTimeoutSec=40min
JobTimeoutAction=reboot-force
";

/// What is to be made of a closure's units, and what is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order of the units' names.
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
    if found.host != Some(Kind::Plain) {
        return plan;
    }
    let units = closure.join(UNITS);
    for unit in &found.units {
        if unit.path.parent() == Some(Path::new(OF_ALL_SERVICES)) {
            plan.makes.extend(not_for_us(&unit.path));
        }
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

/// What is for all services is not for the agent's own: a mask by the same name is more specific.
fn not_for_us(drop_in: &Path) -> impl Iterator<Item = Make> {
    let masks = drop_in.file_name().map(|name| {
        OUR_SERVICES.map(|service| Make::Link {
            at: Path::new(&format!("{service}.d")).join(name),
            to: NOWHERE.into(),
        })
    });
    masks.into_iter().flatten()
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

/// What is made for every boot of a generation, and for a trial. The store has no part in it.
#[must_use]
pub fn ours(found: &Found) -> Vec<Make> {
    if found.closure.is_none() {
        return Vec::new();
    }
    let mut makes = vec![no_other()];
    let in_emergency = if found.trial {
        "lastgood-no-prompt.service"
    } else {
        "lastgood-emergency.service"
    };
    let units = found.host.unwrap_or(Kind::Plain).units();
    for prompt in ["emergency.target", "rescue.target"] {
        makes.push(Make::Link {
            at: Path::new(&format!("{prompt}.wants")).join(in_emergency),
            to: Path::new(units).join(in_emergency),
        });
    }
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
    let work = [OsStr::new("step"), OsStr::new("units"), early.as_os_str()];
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
/// Those that could not be linked, and why.
pub fn units_of(root: &Root, closure: &Path) -> Result<usize, Vec<String>> {
    let units = units::read(root, closure);
    if units.problems.is_empty() {
        Ok(units.listed.len())
    } else {
        Err(units.problems)
    }
}

/// The work of [`run`].
pub fn link(root: &Root, early: &Path) {
    let mut log = KernelLog::open(root, STEP);
    let Observed {
        mut found,
        booted,
        closure,
        counted,
    } = match observe(root, &mut log) {
        Boot::OfGeneration(observed) => observed,
        // Without a word: systemd asks again at every reload, also of a machine that only has the package.
        Boot::Another(makes) => {
            let mut told = Units::none("");
            for make in &makes {
                put(early, make, &mut told);
            }
            for problem in &told.problems {
                log.say(Level::Error, problem);
            }
            return;
        }
    };
    let mut told = Units::none(&closure);
    // Before the store is asked for anything: if it does not answer, this is what ends a trial.
    for make in ours(&found) {
        put(early, &make, &mut told);
    }
    if found.trial && !is_about(&counted, root, &booted) {
        let trial = ours(&found);
        found.trial = false;
        let others = ours(&found);
        take_back(early, &trial, &others, &mut log);
        for make in others.iter().filter(|make| !trial.contains(make)) {
            put(early, make, &mut told);
        }
    }
    let said = if found.trial { mark } else { unmark };
    if let Err(error) = said(root, TRIAL) {
        log.say(Level::Error, &one_line(&error));
    }
    if found.host == Some(Kind::Plain) {
        if let Some(make) = modules::early(root, &closure) {
            put(early, &make, &mut told);
        }
        let units = units::read(root, &closure);
        found.masks = Masks::read(root, &units.listed);
        found.units = units.listed;
        told.problems.extend(units.problems);
    }
    let plan = plan(&found);
    told.left_out.extend(plan.left_out);
    for make in &plan.makes {
        put(early, make, &mut told);
    }
    tell(&told, found.trial, &mut log);
    match Units::read(root) {
        Ok(before) => told.follows(before),
        Err(error) => log.say(Level::Error, &one_line(&error)),
    }
    leave(root, &told, &mut log);
}

/// Makes one thing. Another generator may have made something by that name at the same time: it has it, then.
fn put(early: &Path, make: &Make, told: &mut Units) {
    let at = at(make);
    match apply(early, make) {
        Ok(()) => told.made += 1,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => told.left_out.push(LeftOut {
            unit: at.display().to_string(),
            masked_by: Some(format!("another generator, in {}", early.display())),
        }),
        Err(error) => {
            let place = early.join(at);
            told.problems
                .push(format!("cannot make {}: {error}", place.display()));
        }
    }
}

/// Removes what of `made` is not in `left`.
fn take_back(early: &Path, made: &[Make], left: &[Make], log: &mut KernelLog) {
    for make in made.iter().filter(|make| !left.contains(make)) {
        let place = early.join(at(make));
        if let Err(error) = std::fs::remove_file(&place) {
            log.say(
                Level::Error,
                &format!("cannot remove {}: {error}", place.display()),
            );
        }
    }
}

fn tell(told: &Units, is_trial: bool, log: &mut KernelLog) {
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
    let kind = if is_trial { ", a trial" } else { "" };
    let Units { made, closure, .. } = told;
    log.say(
        Level::Info,
        &format!("{made} units and drop-ins for {closure}{kind}"),
    );
}

/// Leaves word for the assessment.
fn leave(root: &Root, told: &Units, log: &mut KernelLog) {
    if let Err(error) = told.leave(root) {
        log.say(Level::Error, &one_line(&error));
    }
}

/// The closure that is active: a live switch moves this link and has systemd reload, and generators run again.
fn active(root: &Root, booted: PathBuf) -> PathBuf {
    let current = std::fs::read_link(root.join(CURRENT_SYSTEM));
    current.unwrap_or(booted)
}

/// Whose boot this is.
enum Boot {
    /// A generation's.
    OfGeneration(Observed),
    /// Nobody's of ours, or an initrd's; and what is made all the same.
    Another(Vec<Make>),
}

/// What can be told of a boot without the store.
struct Observed {
    /// All but the units. It is a trial as far as the loader's counter says so.
    found: Found,
    /// The closure that was booted.
    booted: PathBuf,
    /// The closure that is active.
    closure: PathBuf,
    /// The counted entry that the loader started, so far as its variables go.
    counted: String,
}

/// Looks. What cannot be told is said, and taken for the harmless answer: no trial.
fn observe(root: &Root, log: &mut KernelLog) -> Boot {
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
        return Boot::Another(Vec::new());
    }
    let variables = efi::read(root);
    let booted = command_line::closure(root).unwrap_or_else(|error| {
        log.say(Level::Error, &one_line(&error));
        None
    });
    let Some(booted) = booted else {
        return Boot::Another(in_another_boot(&variables));
    };
    let counted = variables.counted_file().unwrap_or_default().to_owned();
    // After a soft-reboot generators are the first to run, and nobody has taken notice of it yet.
    let (booted, closure) = match userspace::on_its_way(root) {
        Some(closure) => (closure.clone(), closure),
        None => (booted.clone(), active(root, booted)),
    };
    let host = host::kind(root)
        .inspect_err(|error| log.say(Level::Error, &one_line(error)))
        .ok();
    let found = Found {
        trial: has_tries(&counted) && !there(PROVEN, log) && !is_judged(root, &closure, log),
        closure: Some(closure.clone()),
        host,
        ..Found::default()
    };
    Boot::OfGeneration(Observed {
        found,
        booted,
        closure,
        counted,
    })
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
