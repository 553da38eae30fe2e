//! Where things are on a host: every path and every program that the agent uses there.
//!
//! Paths are the machine's own: [`Root`](boot_entries::Root) makes paths of this process of them. [`kind`] tells the
//! two kinds of hosts apart, and nothing else does. What differs between them is a method of [`Kind`]. [`program`]
//! finds the programs of the running machine.
//!
//! Not here: what is inside a closure (`etc/systemd/system`), which is the same on every host, and stands with what
//! reads it; what is on `$BOOT`, in the firmware, in `/sys`, and where profiles are, which is the business of
//! `boot-entries`.

mod kind;
mod program;
mod store_mount;

pub use kind::{Error, Facts, Kind, Release, decide, kind};
pub use program::{Missing, Program, program, program_in};
pub use store_mount::{StoreMount, store_mount};

/// What the agent keeps from one boot to the next.
pub const STATE: &str = "/var/lib/lastgood";
/// What happened, one record a line.
pub const LEDGER: &str = "/var/lib/lastgood/ledger.jsonl";
/// Held by whoever changes something. It is never removed or replaced: a lock on a replaced file locks nothing.
pub const LOCK: &str = "/var/lib/lastgood/lock";
/// What large files held when they were read: a line with its version and checksum, and a line of JSON.
pub const DIGESTS: &str = "/var/lib/lastgood/digests.jsonl";
/// What the firmware was asked to start once, where `$BOOT` could not be written.
pub const ASKED_ONCE: &str = "/var/lib/lastgood/asked-once";
/// Finished initrds. They hold secrets: for root only.
pub const INITRDS: &str = "/var/lib/lastgood/initrds";

/// What an assessment leaves for the blessing. In `/run`: it speaks of this boot only.
pub const HEALTHY: &str = "/run/lastgood/healthy.json";
/// Left by `lastgood-bless.service`: the trial of this boot is over, and it was good. `lastgood-no-prompt.service`
/// looks for it, too.
pub const PROVEN: &str = "/run/lastgood/proven";
/// What whoever watches a proven generation has seen so far.
pub const PROBATION: &str = "/run/lastgood/probation.json";
/// Left by the generator: this boot is a trial, as far as it can tell.
pub const TRIAL: &str = "/run/lastgood/trial";
/// What was set on this trial that is no unit's, and what it was before.
pub const LAST_RESORT: &str = "/run/lastgood/last-resort.json";
/// What was started in emergency mode.
pub const EMERGENCY: &str = "/run/lastgood/emergency.json";
/// The ruleset is in the kernel: `lastgood-firewall.service` looks for it.
pub const FIREWALLED: &str = "/run/lastgood/firewalled";
/// What of it is in the kernel, so that it is not loaded once more.
pub const FIREWALL: &str = "/run/lastgood/firewall.json";

/// How many soft-reboots of this kernel there were, as the last step that asked systemd has left it.
pub const USERSPACE: &str = "/run/lastgood/userspace";
/// What runs since a soft-reboot, where that is not what the kernel's command line names.
pub const SOFT_REBOOTED: &str = "/run/lastgood/soft-reboot.json";
/// Which ways back were tried in this boot.
pub const TRIED: &str = "/run/lastgood/tried.json";
/// The operator holds this boot: no automatic reboot ends it.
pub const HELD: &str = "/run/lastgood/held.json";
/// Into this a soft-reboot goes, where somebody has filled it (systemd-soft-reboot.service(8)).
pub const NEXT_ROOT: &str = "/run/nextroot";

/// The line for whoever logs in: `pam_motd` shows what is in the directory.
pub const BANNER: &str = "/run/motd.d/lastgood";
/// That directory.
pub const BANNERS: &str = "/run/motd.d";

/// What live switches leave for each other and for whoever follows them.
pub const SWITCH: &str = "/run/lastgood/switch";
/// What the machine was before the live switch that is under way.
pub const SWITCH_BEFORE: &str = "/run/lastgood/switch/before.json";
/// There while a live switch is being undone.
pub const SWITCH_GOES_BACK: &str = "/run/lastgood/switch/goes-back";

/// What is gone at the next boot.
pub const RUN: &str = "/run";
/// Nix's own directory: closures are below it.
pub const NIX: &str = "/nix";
/// Closures, and what they lead to. Nothing in it ever changes.
pub const NIX_STORE: &str = "/nix/store";
/// Leads to the closure that is active. NixOS has it before systemd is started; elsewhere activation makes it.
pub const CURRENT_SYSTEM: &str = "/run/current-system";
/// Leads to the closure that was booted, likewise.
pub const BOOTED_SYSTEM: &str = "/run/booted-system";
/// What Nix's garbage collector keeps: what links in here lead to.
pub const GC_ROOTS: &str = "/nix/var/nix/gcroots";
/// Those of them that are the agent's.
pub const OUR_GC_ROOTS: &str = "/nix/var/nix/gcroots/lastgood";

/// What a live switch keeps from it until it has ended.
pub const SWITCH_GC_ROOTS: &str = "/nix/var/nix/gcroots/lastgood-switch";

/// The host's configuration.
pub const ETC: &str = "/etc";
/// The link farm: leads to the active closure's `etc`. NixOS makes it by itself (but for an overlay `/etc`); elsewhere
/// activation does.
pub const STATIC: &str = "/etc/static";
/// What of `/etc` is the agent's. In `/etc`, because it must be there before `/var` is mounted, and goes where `/etc` goes.
pub const ETC_MANIFEST: &str = "/etc/.lastgood-etc";
/// What of it was found to be as it should be, and when.
pub const ETC_SEAL: &str = "/etc/.lastgood-etc-seal";
/// NixOS makes it, but for an overlay `/etc`. Activation never does, whatever a closure holds.
pub const NIXOS_MARKER: &str = "/etc/NIXOS";
/// What the system that is running calls itself (os-release(5)).
pub const OS_RELEASE: &str = "/etc/os-release";
/// What the distribution calls itself: no closure can bring it.
pub const VENDOR_OS_RELEASE: &str = "/usr/lib/os-release";
/// Only in an initrd, in which `/` is not the host's.
pub const INITRD_RELEASE: &str = "/etc/initrd-release";
/// Where the operator's units are, and on NixOS the closure's.
pub const ETC_UNITS: &str = "/etc/systemd/system";
/// Where `systemctl --runtime` puts what the operator wants until the next boot.
pub const RUN_UNITS: &str = "/run/systemd/system";
/// What the names of units end in (systemd.unit(5)).
pub const UNIT_KINDS: [&str; 11] = [
    "service",
    "socket",
    "target",
    "mount",
    "automount",
    "timer",
    "path",
    "swap",
    "device",
    "slice",
    "scope",
];
/// A unit that leads here is masked.
pub const NOWHERE: &str = "/dev/null";

/// The host's users, by name.
pub const USERS: &str = "/etc/passwd";
/// The host's groups, by name.
pub const GROUPS: &str = "/etc/group";

/// The agent, where a plain host has it. A closure's `init` leads there.
pub const AGENT: &str = "/usr/bin/lastgood";
/// The agent, from within itself: no closure and no unit has a say in which one that is.
pub const OURSELVES: &str = "/proc/self/exe";
/// systemd on a plain host, in the order of looking. Not `/sbin/init`: that may lead to the agent, which would start
/// itself for ever.
pub const SYSTEMD: [&str; 2] = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
/// The failed snippets of NixOS's activation, for the assessment.
pub const SNIPPETS: &str = "/run/lastgood/snippets.json";
/// What the generator leaves for the assessment.
pub const UNITS: &str = "/run/lastgood/units.json";
/// What stage 2 leaves for the steps that follow.
pub const STAGE_2: &str = "/run/lastgood/stage-2.json";

/// What the kernel tells.
pub const PROC: &str = "/proc";
/// What the kernel was started with.
pub const COMMAND_LINE: &str = "/proc/cmdline";
/// The kernel's id of this boot.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// A new random UUID at every look.
pub const RANDOM_UUID: &str = "/proc/sys/kernel/random/uuid";
/// What is mounted where, as this thread sees it (`proc_pid_mountinfo(5)`).
pub const MOUNTS: &str = "/proc/thread-self/mountinfo";
/// How long the kernel has run, in seconds.
pub const UPTIME: &str = "/proc/uptime";
/// Whether a kernel is loaded for kexec: `1` if so.
pub const KEXEC_LOADED: &str = "/sys/kernel/kexec_loaded";
/// What the firmware keeps of a kernel that panicked, until systemd-pstore.service moves it.
pub const PSTORE: &str = "/sys/fs/pstore";
/// Where that goes.
pub const PSTORE_KEPT: &str = "/var/lib/systemd/pstore";
/// The hardware watchdogs.
pub const WATCHDOGS: &str = "/sys/class/watchdog";
/// The kernel's log.
pub const KERNEL_LOG: &str = "/dev/kmsg";

/// A unit's full name: `nginx` means `nginx.service`, as for systemctl.
#[must_use]
pub fn full_name(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((_, suffix)) if UNIT_KINDS.contains(&suffix) => name.to_owned(),
        _ => format!("{name}.service"),
    }
}
