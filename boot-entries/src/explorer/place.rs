//! The partitions of a place: `$BOOT`, and an ESP beside it or not.
//!
//! Each is a file system of its own: what is not flushed on one is lost, torn or there, whatever becomes of the other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::volume::{Bytes, Files, Volume};
use crate::durable::call::Call;
use systemd_boot_model::Partition;

/// What a place holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held {
    /// On `$BOOT`.
    pub(super) boot: Files,
    /// On the ESP, where that is another partition.
    pub(super) esp: Option<Files>,
}

impl Held {
    pub(super) fn on(&self, on: Partition) -> &Files {
        match (on, &self.esp) {
            (Partition::Esp, Some(esp)) => esp,
            _ => &self.boot,
        }
    }

    pub(super) fn on_mut(&mut self, on: Partition) -> &mut Files {
        match (on, &mut self.esp) {
            (Partition::Esp, Some(esp)) => esp,
            _ => &mut self.boot,
        }
    }

    /// Every file. What is on an ESP that is `$BOOT` counts as on that.
    pub(super) fn all(&self) -> impl Iterator<Item = (Partition, &PathBuf, &Bytes)> {
        let on = |on| move |(path, bytes)| (on, path, bytes);
        let beside = self.esp.iter().flatten();
        beside
            .map(on(Partition::Esp))
            .chain(self.boot.iter().map(on(Partition::Boot)))
    }

    /// The names of all of them.
    pub(super) fn paths(&self) -> BTreeSet<(Partition, &Path)> {
        self.all()
            .map(|(on, path, _)| (on, path.as_path()))
            .collect()
    }
}

/// Both file systems in use.
#[derive(Debug, Clone)]
pub(super) struct Volumes {
    boot: Volume,
    esp: Option<Volume>,
}

impl Volumes {
    /// Unmounted cleanly with `held` on them.
    pub(super) fn new(held: &Held) -> Self {
        Self {
            boot: Volume::new(&held.boot),
            esp: held.esp.as_ref().map(Volume::new),
        }
    }

    /// Makes a call on one of them.
    pub(super) fn call(&mut self, on: Partition, call: &Call) {
        match (on, &mut self.esp) {
            (Partition::Esp, Some(esp)) => esp.call(call),
            _ => self.boot.call(call),
        }
    }

    /// Whether everything that was asked for is on the disk.
    pub(super) fn is_settled(&self) -> bool {
        self.boot.is_settled() && self.esp.as_ref().is_none_or(Volume::is_settled)
    }

    /// What the running system sees.
    pub(super) fn held(&self) -> Held {
        Held {
            boot: self.boot.files(),
            esp: self.esp.as_ref().map(Volume::files),
        }
    }

    /// Everything that may be found after a power cut now: whatever one may hold with whatever the other may.
    pub(super) fn after_a_cut(&self) -> BTreeSet<Held> {
        let boots = self.boot.after_a_cut();
        let Some(esp) = &self.esp else {
            let alone = boots.into_iter().map(|boot| Held { boot, esp: None });
            return alone.collect();
        };
        let mut all = BTreeSet::new();
        for esp in esp.after_a_cut() {
            let with = |boot: &Files| Held {
                boot: boot.clone(),
                esp: Some(esp.clone()),
            };
            all.extend(boots.iter().map(with));
        }
        all
    }
}
