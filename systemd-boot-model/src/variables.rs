//! What systemd-boot and the system say to each other through EFI variables (Boot Loader Interface).

use serde::Serialize;

/// The variables that say which entry was started and what may be started next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoaderVariables {
    /// `LoaderInfo`, e.g. `systemd-boot 252.39-1~deb12u2`. None: no systemd-boot started this machine, or its
    /// variables cannot be seen from here.
    pub info: Option<String>,
    /// `LoaderEntrySelected`: the entry this boot was started from; up to version 257 with the counter it had
    /// *before* the boot was counted.
    pub selected: Option<String>,
    /// `LoaderBootCountPath`: the entry's file after the boot was counted. None: the boot was not counted.
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
