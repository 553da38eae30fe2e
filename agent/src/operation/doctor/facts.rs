//! Looking at a host. What cannot be looked at is said in the place of the answer.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use boot_entries::boot_partition::Place;
use boot_entries::{GenerationId, Root, closure};
use nix::sys::statvfs::statvfs;
use systemd_boot_model::{ReleaseRange, too_old};

use crate::host::{self, AGENT, ETC_UNITS, Kind, Program, StoreMount, store_mount};
use crate::report::line::one_line;
use crate::store::handover::Units;
use crate::view::View;

/// Where the firmware's tables are, where there is UEFI.
const UEFI: &str = "/sys/firmware/efi";
/// The first watchdog.
const WATCHDOG: &str = "/dev/watchdog0";
/// The generator, on a plain host.
const GENERATOR: &str = "/usr/lib/systemd/system-generators/lastgood-generator";
/// The generator, on NixOS: it links those of its packages here.
const GENERATOR_OF_NIXOS: &str = "/etc/systemd/system-generators/lastgood-generator";
/// What makes entries of the distribution's kernels, and the files that say with which command line. Without them it takes
/// that of the running kernel.
const KERNEL_INSTALL: &str = "/usr/bin/kernel-install";
const COMMAND_LINES: [&str; 2] = ["/etc/kernel/cmdline", "/usr/lib/kernel/cmdline"];
/// The units that must be enabled, each with the target that starts it.
const ENABLED: [(&str, &str); 5] = [
    ("lastgood-begin.service", "sysinit.target.wants"),
    ("lastgood-activate.service", "sysinit.target.wants"),
    ("lastgood-firewall.service", "sysinit.target.wants"),
    ("lastgood-assess.service", "boot-complete.target.requires"),
    ("lastgood-bless.service", "multi-user.target.wants"),
];
/// 1 January 2024, in seconds since 1970: no machine that runs this was built before.
const BUILT: u64 = 1_704_067_200;

/// What was seen.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing that is there or is not"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// UEFI has started this boot.
    pub is_uefi: bool,
    /// Who has started the kernel.
    pub loader: Loader,
    /// The boot partitions, or why there are none.
    pub partitions: Result<Vec<Partition>, String>,
    /// What kernel and initrd of the current generation take, in bytes. None: nobody knows.
    pub payload: Option<u64>,
    /// The file system that the store has of its own.
    pub store: Option<StoreMount>,
    /// In this boot the store was there before systemd looked for units.
    pub was_in_time: bool,
    /// Why nothing that is recorded outlives a boot.
    pub volatile: Option<String>,
    /// What kind of host it is. None: nobody knows.
    pub kind: Option<Kind>,
    /// What of the agent is not there.
    pub missing: Vec<String>,
    /// Programs that are not there, each with what to do.
    pub programs: Vec<(String, String)>,
    /// Where the system profile points.
    pub current: Option<Current>,
    /// The firmware asks for signatures.
    pub checks_signatures: bool,
    /// There is a watchdog.
    pub has_watchdog: bool,
    /// A kernel that the distribution installs gets the command line of the running generation.
    pub copies_command_line: bool,
    /// The clock does not say a time before any machine that runs this was built.
    pub is_clock_right: bool,
}

/// Who has started the kernel, or will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loader {
    /// A systemd-boot whose choices are known.
    Known(String),
    /// One that is too old.
    TooOld(String),
    /// Another loader.
    Unknown(String),
    /// Nobody knows.
    None,
}

/// A boot partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Where it is mounted.
    pub name: PathBuf,
    /// Nothing can be written to it.
    pub is_read_only: bool,
    /// Users other than root can read it.
    pub is_open_to_all: bool,
    /// In bytes.
    pub free: u64,
}

/// The generation at which the system profile points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    /// Which.
    pub id: GenerationId,
    /// Why it cannot be booted, if that is so.
    pub unbootable: Option<String>,
    /// Its `init` leads to the agent.
    pub has_our_init: bool,
}

/// Looks at the running machine.
pub(super) fn look(view: &View) -> Facts {
    let root = &view.root;
    let is_there = |path: &str| root.join(path).symlink_metadata().is_ok();
    let kind = host::kind(root).ok();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let places = view.places(&view.state);
    Facts {
        is_uefi: is_there(UEFI),
        loader: loader(view),
        partitions: match places {
            Ok(places) if places.usable.is_empty() => Err(places
                .unusable
                .first()
                .map_or_else(|| "there is none".to_owned(), |why| one_line(why))),
            Ok(places) => Ok(places.usable.iter().map(partition).collect()),
            Err(error) => Err(one_line(&error)),
        },
        payload: payload(view),
        store: store_mount(root).ok().flatten(),
        was_in_time: Units::are_complete(root),
        volatile: view.volatile_state().map(|volatile| volatile.to_string()),
        kind,
        missing: kind.map_or_else(Vec::new, |kind| missing(root, kind)),
        programs: programs(root),
        current: current(view),
        checks_signatures: view.keys().is_some(),
        has_watchdog: is_there(WATCHDOG),
        copies_command_line: kind == Some(Kind::Plain)
            && is_there(KERNEL_INSTALL)
            && !COMMAND_LINES.into_iter().any(is_there),
        is_clock_right: now.is_ok_and(|now| now.as_secs() > BUILT),
    }
}

fn loader(view: &View) -> Loader {
    let installed = view.places(&view.state).ok().and_then(|places| {
        let place = places.usable.first()?;
        boot_entries::systemd_boot::Installed::info(&place.esp)
    });
    let Some(info) = installed.or_else(|| view.variables.info.clone()) else {
        return Loader::None;
    };
    if ReleaseRange::of_loader_info(&info).is_some() {
        Loader::Known(info)
    } else if too_old(&info).is_some() {
        Loader::TooOld(info)
    } else {
        Loader::Unknown(info)
    }
}

fn partition(place: &Place) -> Partition {
    let free = statvfs(&place.boot).map_or(0, |found| {
        found
            .blocks_available()
            .saturating_mul(found.fragment_size())
    });
    let mode = std::fs::metadata(&place.boot).map_or(0, |found| found.mode());
    Partition {
        name: place.name.clone(),
        is_read_only: place.is_read_only,
        is_open_to_all: mode & 0o077 != 0,
        free,
    }
}

fn payload(view: &View) -> Option<u64> {
    let id = view.profiles.current_system()?;
    let subject = view.subject(id).ok()?;
    let document = closure::document(&view.root, &subject.toplevel).ok()?;
    let size = |path: &Path| {
        let place = view.root.resolve(path).ok()?;
        Some(place.metadata().ok()?.len())
    };
    let initrd = document.bootspec.initrd.as_deref();
    Some(size(&document.bootspec.kernel)? + initrd.map_or(Some(0), size)?)
}

fn missing(root: &Root, kind: Kind) -> Vec<String> {
    let mut missing = Vec::new();
    // On NixOS each of these directories is a link from the top.
    let place = |path: &Path| root.place(path).and_then(|place| place.symlink_metadata());
    let is_there = |path: &Path| place(path).is_ok();
    let generator = match kind {
        Kind::Plain => GENERATOR,
        Kind::NixOs => GENERATOR_OF_NIXOS,
    };
    if !is_there(Path::new(generator)) {
        missing.push(generator.to_owned());
    }
    let units = Path::new(kind.units());
    for (unit, target) in ENABLED {
        let links = [Path::new(ETC_UNITS), units].map(|place| place.join(target).join(unit));
        if !is_there(&units.join(unit)) {
            missing.push(unit.to_owned());
        } else if !links.iter().any(|link| is_there(link)) {
            missing.push(format!("{unit} (it is not enabled)"));
        }
    }
    missing
}

fn programs(root: &Root) -> Vec<(String, String)> {
    let needed = [
        Program::Systemctl,
        Program::Journalctl,
        Program::Bootctl,
        Program::Nft,
    ];
    let missing = needed
        .into_iter()
        .filter_map(|one| host::program_in(root, one).err());
    missing
        .map(|missing| (missing.what(), missing.advice().to_owned()))
        .collect()
}

fn current(view: &View) -> Option<Current> {
    let id = view.profiles.current_system()?;
    let all = view.generations();
    let generation = all.iter().find(|one| one.id == *id)?;
    let leads = |path: &Path| view.root.canonical(path).ok();
    let init = leads(&generation.toplevel.join("init"));
    Some(Current {
        id: id.clone(),
        unbootable: view.examine(generation, None).err(),
        has_our_init: init.is_some() && init == leads(Path::new(AGENT)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot_entries::durable::{put_link, put_text};

    /// As NixOS links it: `/etc/systemd` leads to `/etc/static`, and that into the store, each from the top.
    #[test]
    fn units_of_nixos_are_found_through_its_links() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let etc = "/nix/store/e-etc/etc";
        put_link(Path::new(etc), &root.join("/etc/static")).unwrap();
        put_link(Path::new("/etc/static/systemd"), &root.join("/etc/systemd")).unwrap();
        let units = Path::new(etc).join("systemd/system");
        for (unit, target) in ENABLED {
            put_text("[Unit]\n", &root.join(units.join(unit))).unwrap();
            let link = root.join(units.join(target).join(unit));
            put_link(&Path::new("..").join(unit), &link).unwrap();
        }
        assert_eq!(missing(&root, Kind::NixOs), [GENERATOR_OF_NIXOS]);
        let generators = Path::new(etc).join("systemd/system-generators");
        let generator = root.join(generators.join("lastgood-generator"));
        put_link(Path::new("/nix/store/l/bin/lastgood"), &generator).unwrap();
        assert_eq!(missing(&root, Kind::NixOs), [""; 0]);
    }
}
