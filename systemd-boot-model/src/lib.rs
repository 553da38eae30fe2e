//! A model of systemd-boot: which entry it starts next, and after how many failed boots which other one.
//!
//! Source: systemd's `src/boot/boot.c` (before 255 `src/boot/efi/boot.c`), versions 252 to 262: what is listed, in
//! which order, what is chosen, and what the entry file is renamed to before it is started.
//!
//! The crate reads no file and no variable. The caller brings their contents, and gets the boots to come:
//!
//! ```
//! use systemd_boot_model::{Listed, Loader, LoaderConf, LoaderVariables, Medium, Partition, ReleaseRange};
//!
//! let release = ReleaseRange::of_loader_info("systemd-boot 257.9").unwrap();
//! let read = |file: &str, text: &str| {
//!     // The kernels are there.
//!     Listed::read(release, Partition::Esp, file, text, |_| true)
//! };
//! let files = [
//!     read("new+2-0.conf", "sort-key x\nversion 2\nlinux /new\n"),
//!     read("old.conf", "sort-key x\nversion 1\nlinux /old\n"),
//! ];
//! let loader = Loader {
//!     release,
//!     entries: files.into_iter().flatten().collect(),
//!     conf: LoaderConf::parse("timeout 3\n"),
//!     variables: LoaderVariables::default(),
//!     medium: Medium::default(),
//! };
//! // The next boot, and those after one, two and three boots that nobody blessed.
//! let boots: Vec<String> = loader.predict(3).into_iter().map(|boot| boot.file).collect();
//! assert_eq!(boots, ["new+2-0.conf", "new+1-1.conf", "old.conf", "old.conf"]);
//! ```
//!
//! The reading order:
//!
//! 1. What is there, taken apart as the loader does: `lines` (of every file), `name` (an id and its counter), `entry`,
//!    `conf` (loader.conf), `uki` (what an image says of itself), `variables` (of the firmware), `partition` (where it
//!    looks).
//! 2. Which loader it is: `release`. Releases differ in small things, and they are all named there.
//! 3. What it makes of that: `listing` (which files are entries, and what of them counts), `listed` (ids, and what
//!    becomes of a counter), `order` (of the menu) by `version`, `pattern` (what `default` and the like match).
//! 4. What it starts: `choice`; and what the firmware's variables do to that: `overrides`.
//! 5. What becomes of a machine whose loader cannot start what it has chosen: `start`.
//!
//! What can be listed: entry files (`linux`, `efi`, `uki`, `uki-url`, `profile`) and unified kernel images with their
//! profiles, on both partitions. `LoaderEntrySysFail` is no part of this: every release that knows it, from 258 to 262,
//! looks for a failure only after it has chosen, so that the variable has no effect.
//!
//! Not modelled: what the loader finds by itself (other systems, `auto-reboot` and the like), which comes after
//! everything listed here and is started only where a pattern matches nothing else, or where nothing else is there; an
//! `efi` entry that starts the loader itself, which is not listed; entries that a virtual machine is given from outside
//! (258 and later); files with the attribute "read-only", which releases of 2026 do not count; and images that some
//! release finds damaged and others do not: section names that only begin with `.osrel`, sections larger in memory than
//! in the file or outside of the image.

mod choice;
mod conf;
mod entry;
mod lines;
mod listed;
mod listing;
mod name;
mod order;
mod overrides;
mod partition;
mod pattern;
mod release;
mod start;
#[cfg(test)]
mod tests;
mod uki;
mod variables;
mod version;

pub use choice::{Choice, Loader, Medium, Why};
pub use conf::{LoaderConf, RebootOnError, endless_timeout};
pub use entry::{Entry, last_program};
pub use lines::{lines, quoted, read_part};
pub use listed::{Listed, Program};
pub use name::{EntryName, Tries};
pub use overrides::{EndlessMenu, Override, endless_menu, overrides};
pub use partition::{ENTRIES, IMAGES, LOADER_CONF, Partition};
pub use release::{OLDEST, ReleaseRange, TooOld, too_old};
pub use start::{Attempt, End, FailedStart, PowerOn};
pub use uki::{HEAD, Part, Uki};
pub use variables::{LoaderVariables, Variable};
pub use version::compare as compare_versions;
