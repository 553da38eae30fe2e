//! Whole-system tests and their harness: a Debian guest with real Nix, real closures and the agent under test, booted
//! through OVMF, systemd-boot and the kernel in QEMU, or started as PID 1 of a container.
//!
//! Building, each step cached under `target/rig/` by the hash of what goes into it:
//!
//! ```text
//! host      Debian packages the rig needs
//! debian    the releases, and where their packages come from
//! packages  single ones of them
//! base      Debian minbase + cloud kernel, of 12 or 13 (mmdebstrap)
//! initrds   Debian's own, made by its programs         (mkinitramfs, dracut)
//! guest     base + tests/guest/ + closures         (initrd.rs, closures.rs: real Nix in a chroot)
//! image     guest + agent + units + entries        (program.rs, units.rs, disk.rs) -> disk.img
//! rootfs    a release + tests/guest/ + the guest's store + agent + units, for containers
//! ```
//!
//! Running:
//!
//! ```text
//! scenario  one story over one machine; leaves evidence when it fails
//! story     the sentences that stories are made of
//! container the typed driver of ring 3: a release's systemd in a container
//! machine   the typed driver: power, serial line, guest agent, network, who asks from outside, timeline
//! switching closures for stories about switches, and what a machine looks like before and after
//! broken    closures with something wrong, made on the machine itself
//! esp       the boot partition, read from outside
//! signing   images that firmware with Secure Boot starts, or does not
//! evidence  what a failed scenario leaves
//! faults    one run with every file-changing call of it failing in turn
//! loader_rig the real loader in the real firmware, without a kernel
//! scratch   directories that nothing leaves behind, and room for a run
//! patience  how long something is waited for
//! layers    imports run down, as the map says
//! tree      a directory that plays a machine, for `--root`
//! nixpkgs   the same, as nixpkgs' systemd-boot builder leaves it
//! ```

pub mod apt;
pub mod base;
pub mod broken;
pub mod cache;
pub mod closures;
pub mod command;
pub mod container;
pub mod debian;
pub mod disk;
pub mod esp;
pub mod evidence;
pub mod faults;
pub mod files;
pub mod guest;
pub mod host;
pub mod image;
pub mod initrd;
pub mod initrds;
pub mod layers;
pub mod loader_rig;
pub mod machine;
pub mod mounts;
pub mod nixpkgs;
pub mod package;
pub mod packages;
pub mod paths;
pub mod patience;
pub mod program;
pub mod prometheus;
pub mod scenario;
pub mod schema;
pub mod scratch;
pub mod signing;
pub mod story;
pub mod switching;
pub mod timeline;
pub mod tree;
pub mod units;
