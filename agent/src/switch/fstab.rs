//! `/etc/fstab` (`fstab(5)`), and what a change of it asks for.

use std::collections::BTreeMap;

/// One file system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub device: String,
    /// Its type.
    pub kind: String,
    /// Its options, as written.
    pub options: String,
}

/// A file of that kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fstab {
    /// By mount point.
    pub mounts: BTreeMap<String, Mount>,
    /// Swap devices with their options.
    pub swaps: BTreeMap<String, String>,
}
