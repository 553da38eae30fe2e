//! The same plans where `$BOOT` is an XBOOTLDR partition.

use std::path::Path;

use super::Case;
use super::place::Held;
use super::volume::Files;
use systemd_boot_model::LOADER_CONF;

impl Case {
    /// The same with an XBOOTLDR partition that has been there all the time: the ESP holds the loader and its settings.
    pub(super) fn beside(&self) -> Self {
        let mut boot = self.held.boot.clone();
        let is_loaders = |path: &Path| {
            path == Path::new(LOADER_CONF)
                || path.starts_with("EFI/systemd")
                || path.starts_with("EFI/BOOT")
        };
        let esp = boot.extract_if(.., |path, _| is_loaders(path)).collect();
        let esp = Some(esp);
        Self {
            held: Held { boot, esp },
            ..self.clone()
        }
    }

    /// The same with an XBOOTLDR partition that has just come, and nothing on it: everything has to move there.
    pub(super) fn moved(&self) -> Self {
        Self {
            held: Held {
                boot: Files::new(),
                esp: Some(self.held.boot.clone()),
            },
            ..self.clone()
        }
    }
}
