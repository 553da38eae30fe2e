//! What is to be said of a host: a total function of what was seen.

use serde::Serialize;
use systemd_boot_model::ReleaseRange;

use super::facts::{Facts, Loader, Partition};
use crate::host::{AGENT, Kind, StoreMount};

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// As it should be.
    Good,
    /// It works, and something is not to be had here.
    Limit,
    /// Something is to be done before lastgood can keep its word.
    ToDo,
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about. Stable.
    pub about: &'static str,
    /// How that stands.
    pub standing: Standing,
    /// What was seen, and what it means.
    pub text: String,
    /// What to do, most often a command to type. None: nothing.
    pub todo: Option<String>,
}

fn good(about: &'static str, text: impl Into<String>) -> Finding {
    Finding {
        about,
        standing: Standing::Good,
        text: text.into(),
        todo: None,
    }
}

fn limit(about: &'static str, text: impl Into<String>) -> Finding {
    Finding {
        standing: Standing::Limit,
        ..good(about, text)
    }
}

fn todo(about: &'static str, text: impl Into<String>, what: impl Into<String>) -> Finding {
    Finding {
        standing: Standing::ToDo,
        todo: Some(what.into()),
        ..good(about, text)
    }
}

/// Everything there is to say, in the order of a boot.
#[must_use]
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut all = vec![firmware(facts), loader(&facts.loader)];
    all.extend(partitions(facts));
    all.push(store(facts));
    all.push(state_directory(facts));
    all.push(agent(facts));
    all.extend(programs(facts));
    all.push(distribution(facts));
    all.push(generation(facts));
    all.push(secure_boot(facts));
    all.push(watchdog(facts));
    all.push(clock(facts));
    all
}

fn firmware(facts: &Facts) -> Finding {
    if facts.is_uefi {
        good("firmware", "UEFI")
    } else {
        todo(
            "firmware",
            "this boot was not made by UEFI, so there is no systemd-boot",
            "switch the machine's firmware from BIOS (\"legacy\", \"CSM\") to UEFI, or use a machine that has it",
        )
    }
}

fn loader(loader: &Loader) -> Finding {
    match loader {
        Loader::Known(info) => on_failed_start(info),
        Loader::TooOld(info) => todo(
            "loader",
            format!("{info} is older than 252, and does not choose as lastgood needs it"),
            "bootctl update",
        ),
        Loader::Unknown(info) => todo("loader", format!("{info} is not known"), "bootctl install"),
        Loader::None => todo(
            "loader",
            "no systemd-boot has started this machine, and none is on its boot partition",
            "bootctl install, or lastgood install, which does it",
        ),
    }
}

/// What the loader that calls itself `info` does with a trial that cannot be started.
fn on_failed_start(info: &str) -> Finding {
    match ReleaseRange::of_loader_info(info) {
        Some(release) if release.reboots_on_error() => good(
            "loader",
            format!(
                "{info}: where a trial cannot be started, it resets the machine and tries on by itself"
            ),
        ),
        _ => limit(
            "loader",
            format!(
                "{info}: where a trial cannot be started, the machine waits until somebody resets it (from 258 on systemd-boot \
                 does that itself)"
            ),
        ),
    }
}

fn partitions(facts: &Facts) -> Vec<Finding> {
    const ABOUT: &str = "boot partition";
    match &facts.partitions {
        Err(why) => vec![todo(
            ABOUT,
            why,
            "mount the EFI system partition at /boot or /efi, and put it into fstab",
        )],
        Ok(partitions) => partitions
            .iter()
            .map(|partition| one_partition(ABOUT, partition, facts.payload))
            .collect(),
    }
}

fn one_partition(about: &'static str, partition: &Partition, payload: Option<u64>) -> Finding {
    const MIB: u64 = 1024 * 1024;
    let name = partition.name.display();
    if partition.is_read_only {
        let what = format!("mount -o remount,rw {name}");
        return todo(about, format!("{name} is mounted read-only"), what);
    }
    if partition.is_open_to_all {
        return todo(
            about,
            format!("{name} can be read by everybody, and an initrd may hold secrets"),
            format!("add umask=0077 to its options in fstab, then mount -o remount {name}"),
        );
    }
    let free = partition.free / MIB;
    let more = payload.map(|size| partition.free.checked_div(size).unwrap_or(0));
    match more {
        None => good(about, format!("{name}, {free} MiB free")),
        // Nothing to do: this is how a machine looks that keeps as many generations as there is room for.
        Some(0) => limit(
            about,
            format!(
                "{name} has {free} MiB free: the next generation takes the place of the oldest that nothing needs; \
                 `lastgood install --dry-run` says whether that is enough"
            ),
        ),
        Some(more) => good(
            about,
            format!(
                "{name}, {free} MiB free: {more} more generations with a kernel and initrd of their own"
            ),
        ),
    }
}

fn store(facts: &Facts) -> Finding {
    match &facts.store {
        None => good("store", "/nix is on the root"),
        Some(StoreMount { source, point }) if facts.was_in_time => good(
            "store",
            format!(
                "{} ({source}) was mounted before systemd was started",
                point.display()
            ),
        ),
        Some(StoreMount { source, point }) => todo(
            "store",
            format!(
                "{} is a mount of its own ({source}), and nobody knows yet whether an initrd mounts it in time",
                point.display()
            ),
            "see operator.md (a package has it in /usr/share/doc/lastgood), \"The initrd, fstab, and /nix\"; nothing, once a generation has booted that way",
        ),
    }
}

fn state_directory(facts: &Facts) -> Finding {
    facts.volatile.as_ref().map_or_else(
        || good("record", "/var/lib/lastgood is on a disk"),
        |why| {
            todo(
                "record",
                why,
                "mount a disk there, before lastgood-begin.service runs",
            )
        },
    )
}

fn agent(facts: &Facts) -> Finding {
    match (facts.kind, facts.missing.as_slice()) {
        (None, _) => todo(
            "agent",
            "nobody can tell whether this is NixOS: /etc/os-release cannot be read",
            "mend /etc/os-release",
        ),
        (Some(_), []) => good("agent", "units and generator are in place"),
        (Some(Kind::NixOs), missing) => todo(
            "agent",
            format!("not there: {}", missing.join(", ")),
            "set services.lastgood.enable (docs/nixos.md), and build the system again",
        ),
        (Some(Kind::Plain), missing) => todo(
            "agent",
            format!("not there: {}", missing.join(", ")),
            "apt install --reinstall ./lastgood_*.deb (elsewhere unpack the tarball as its INSTALL says), then systemctl enable \
             lastgood-begin lastgood-activate lastgood-firewall lastgood-assess lastgood-bless",
        ),
    }
}

fn programs(facts: &Facts) -> Vec<Finding> {
    if facts.programs.is_empty() {
        return vec![good(
            "programs",
            "nft, bootctl, systemctl and journalctl are there",
        )];
    }
    let missing = facts
        .programs
        .iter()
        .map(|(what, advice)| todo("programs", what, advice));
    missing.collect()
}

/// Writes down what this boot was started with, but for what belongs to one entry or one generation. A console stays.
const OWN_COMMAND_LINE: &str = r"sed -E 's/(^| )(BOOT_IMAGE|initrd|init|systemd\.machine_id)=[^ ]*//g; s/^ //' /proc/cmdline >/etc/kernel/cmdline";

/// kernel-install writes what the running kernel was started with into the entry of a new one. On a machine that runs a
/// generation this has `init=`, so the distribution's entry starts a generation with a kernel that is not its own.
fn distribution(facts: &Facts) -> Finding {
    const ABOUT: &str = "distribution";
    if facts.copies_command_line {
        todo(
            ABOUT,
            "an entry that it makes for a kernel of its own gets the command line of what runs then, with the init= of a \
             generation",
            OWN_COMMAND_LINE,
        )
    } else {
        good(ABOUT, "its own kernels start nothing of a generation")
    }
}

fn generation(facts: &Facts) -> Finding {
    const ABOUT: &str = "generation";
    let Some(current) = &facts.current else {
        return todo(
            ABOUT,
            "the system profile points at no generation",
            match facts.kind {
                Some(Kind::NixOs) => "nixos-rebuild boot",
                _ => {
                    "make a closure (/usr/share/doc/lastgood/closures.md, eight lines), then nix-env --profile \
                     /nix/var/nix/profiles/system --set \"$(readlink result)\""
                }
            },
        );
    };
    let id = &current.id;
    if let Some(why) = &current.unbootable {
        return todo(
            ABOUT,
            format!("generation {id} cannot be booted: {why}"),
            "build it again",
        );
    }
    if facts.kind == Some(Kind::Plain) && !current.has_our_init {
        return limit(
            ABOUT,
            format!(
                "generation {id} can be booted; its init is not {AGENT}, so what systemd reads early is one boot late"
            ),
        );
    }
    good(ABOUT, format!("generation {id} can be booted"))
}

fn secure_boot(facts: &Facts) -> Finding {
    if facts.checks_signatures {
        limit(
            "Secure Boot",
            "the firmware starts only what is signed, and lastgood signs nothing: install says which kernels it would refuse",
        )
    } else {
        good("Secure Boot", "off")
    }
}

fn watchdog(facts: &Facts) -> Finding {
    if facts.has_watchdog {
        good(
            "watchdog",
            "there is a watchdog device; lastgood arms it on trials",
        )
    } else {
        limit(
            "watchdog",
            "no watchdog device: a kernel that hangs stays so until somebody resets it. One that panics reboots",
        )
    }
}

fn clock(facts: &Facts) -> Finding {
    if facts.is_clock_right {
        good(
            "clock",
            "the year may be right; nothing that lastgood decides depends on it",
        )
    } else {
        limit(
            "clock",
            "the clock is before 2024: what status and why tell of times is wrong; nothing that is decided depends on it",
        )
    }
}

#[cfg(test)]
mod tests;
