//! The real systemd-boot in the real firmware, to compare the model with: no kernel, no guest, about a second a boot.
//!
//! Every layout is a disk of its own. What the entries start is no program, so each boot fails at once and the loader
//! returns to the firmware. The firmware's shell then runs our script, which writes down what the loader said (its EFI
//! variables) and what it did (the names in `loader/entries`), and starts the loader again.
//!
//! ```text
//! random    numbers from a seed
//! generate  a layout from a seed: counters, keys, versions, patterns, and what else makes a choice hard
//! layout    what is on one disk, and the model's view of it
//! uki       what images and `uki` lines add to it
//! loaders   the real loaders, 252, 257 and 262
//! disk      a layout as a GPT disk with a FAT ESP, and an XBOOTLDR partition where it has one
//! script    what the firmware's shell does
//! session   one run of QEMU with several layouts
//! results   what the script has written down
//! check     the model against it
//! userspace the model against bootctl
//! ```

mod check;
mod disk;
mod generate;
mod layout;
mod loaders;
mod random;
mod results;
mod script;
mod session;
mod uki;
mod userspace;

pub use check::{Tally, compare, compare_power_on};
pub use generate::generate;
pub use layout::{EntryText, Image, Layout};
pub use loaders::loaders;
pub use random::Random;
pub use session::Power;
pub use userspace::disagreements_with_bootctl;
