//! What systemd-boot and the system say to each other through EFI variables (Boot Loader Interface).

use serde::Serialize;

use crate::name::EntryName;

/// The variables that say which entry was started and what may be started next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoaderVariables {
    /// `LoaderInfo`, e.g. `systemd-boot 252.39-1~deb12u2`. None: no systemd-boot started this machine, or its
    /// variables cannot be seen from here.
    pub info: Option<String>,
    /// `LoaderEntrySelected`: the entry this boot was started from; up to version 257 with the counter it had
    /// *before* the boot was counted.
    pub selected: Option<String>,
    /// `LoaderBootCountPath`: an entry's file after a boot of it was counted. It may be that of another entry than the
    /// one that was started ([`LoaderVariables::counted_file`]).
    pub boot_count_path: Option<String>,
    /// `LoaderDevicePartUUID`: the partition the loader itself came from.
    pub partition: Option<String>,
    /// `LoaderEntryOneShot`: a pattern that wins the next boot only.
    pub one_shot: Option<String>,
    /// `LoaderEntryDefault`: a pattern that wins over `default` in loader.conf until somebody clears it.
    pub default: Option<String>,
    /// `LoaderEntryPreferred`: likewise over `preferred`, from version 260 on.
    pub preferred: Option<String>,
    /// `LoaderEntryLastBooted`: what `@saved` stands for.
    pub last_booted: Option<String>,
    /// `LoaderConfigTimeout`: wins over `timeout` in loader.conf until somebody clears it.
    pub config_timeout: Option<String>,
}

/// A variable that stays until somebody clears it, and wins over what is written on `$BOOT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Variable {
    /// `LoaderEntryDefault`.
    #[serde(rename = "LoaderEntryDefault")]
    EntryDefault,
    /// `LoaderEntryPreferred`.
    #[serde(rename = "LoaderEntryPreferred")]
    EntryPreferred,
    /// `LoaderConfigTimeout`.
    #[serde(rename = "LoaderConfigTimeout")]
    ConfigTimeout,
}

impl Variable {
    /// The verb of bootctl(1) that sets it, and with an empty word clears it.
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            Self::EntryDefault => "set-default",
            Self::EntryPreferred => "set-preferred",
            Self::ConfigTimeout => "set-timeout",
        }
    }

    /// As the firmware has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EntryDefault => "LoaderEntryDefault",
            Self::EntryPreferred => "LoaderEntryPreferred",
            Self::ConfigTimeout => "LoaderConfigTimeout",
        }
    }
}

impl LoaderVariables {
    /// The file of the entry that the loader started last, as it is called since that boot was counted. None: it was
    /// not counted.
    ///
    /// Releases up to 257 do not clear `LoaderBootCountPath` when they start an entry without a counter. When the
    /// firmware has started the loader twice, because the first entry could not be started, the path is still that
    /// entry's. `LoaderEntrySelected` is set each time, so an entry that it does not name was not started.
    ///
    /// A kexec leaves both variables as they were: that they agree does not say that this boot is theirs.
    #[must_use]
    pub fn counted_file(&self) -> Option<&str> {
        let file = file_of(self.boot_count_path.as_deref()?);
        let Some(selected) = self.selected.as_deref().filter(|id| !id.is_empty()) else {
            // Every release names what it starts: nobody can tell.
            return Some(file);
        };
        let is_it = stem(selected).eq_ignore_ascii_case(&stem(file));
        is_it.then_some(file)
    }

    /// The file that `LoaderBootCountPath` names, whether or not the loader started it last.
    #[must_use]
    pub fn last_counted_file(&self) -> Option<&str> {
        self.boot_count_path.as_deref().map(file_of)
    }

    /// These without `variable`.
    #[must_use]
    pub fn without(mut self, variable: Variable) -> Self {
        match variable {
            Variable::EntryDefault => self.default = None,
            Variable::EntryPreferred => self.preferred = None,
            Variable::ConfigTimeout => self.config_timeout = None,
        }
        self
    }
}

/// The last part of a path of the firmware's.
fn file_of(path: &str) -> &str {
    path.rsplit(['\\', '/']).next().unwrap_or_default()
}

/// What an id and the file it is of have in common: all but the counter, an image's profile, the ending and capitals.
fn stem(id: &str) -> String {
    let is_image = |id: &str| EntryName::of_image(id).map(|name| name.stem);
    // `NAME.efi@PROFILE`; a file may have an `@` as well.
    let without_profile = || id.rsplit_once('@').and_then(|(image, _)| is_image(image));
    let entry = EntryName::parse(id).map(|name| name.stem);
    let stem = entry.or_else(|| is_image(id)).or_else(without_profile);
    stem.unwrap_or_else(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(selected: Option<&str>, path: Option<&str>) -> Option<String> {
        let variables = LoaderVariables {
            selected: selected.map(str::to_owned),
            boot_count_path: path.map(str::to_owned),
            ..LoaderVariables::default()
        };
        variables.counted_file().map(str::to_owned)
    }

    /// As 252, 257 and 262 leave them.
    #[test]
    fn the_entry_that_was_started_is_the_one_that_was_counted() {
        for (selected, path, file) in [
            (
                "g-3+3.conf",
                "\\loader\\entries\\g-3+2-1.conf",
                "g-3+2-1.conf",
            ),
            (
                "g-3.conf",
                "\\loader\\entries\\g-3+2-1.conf",
                "g-3+2-1.conf",
            ),
            (
                "g-3.conf",
                "\\loader\\entries\\G-3+0-3.CONF",
                "G-3+0-3.CONF",
            ),
            ("g-3+3.efi", "\\EFI\\Linux\\g-3+2-1.efi", "g-3+2-1.efi"),
            ("g-3.efi@rescue", "\\EFI\\Linux\\g-3+2-1.efi", "g-3+2-1.efi"),
            ("g-3+3.efi@1", "\\EFI\\Linux\\g-3+2-1.efi", "g-3+2-1.efi"),
            (
                "a@b.conf",
                "\\loader\\entries\\a@b+2-1.conf",
                "a@b+2-1.conf",
            ),
        ] {
            let told = counted(Some(selected), Some(path));
            assert_eq!(told.as_deref(), Some(file), "{selected}");
        }
    }

    /// The firmware started the loader again after an entry that could not be started.
    #[test]
    fn the_count_of_another_entry_is_not_believed() {
        let stale = "\\loader\\entries\\g-3+0-3.conf";
        for selected in [
            "g-2.conf",
            "g-2+3.conf",
            "debian.conf",
            "g-3x.conf",
            "auto-osx",
        ] {
            assert_eq!(counted(Some(selected), Some(stale)), None, "{selected}");
        }
        assert_eq!(counted(Some("g-2.conf"), None), None);
        // A loader that names nothing says nothing against it.
        assert_eq!(counted(None, Some(stale)).as_deref(), Some("g-3+0-3.conf"));
    }
}
