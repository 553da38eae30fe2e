//! `[boot]`: what a closure says about boot partitions and the loader. The names are those of NixOS's options, where it
//! has one.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Component, Path, PathBuf};

use boot_entries::loader_conf::Settings;
use serde::Deserialize;
use toml::Spanned;

/// `[boot]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct BootConfig {
    /// Where the first ESP is mounted. None: where the loader's is, or at one of the usual places.
    pub esp: Option<MountPoint>,
    /// Mount points of further ESPs, each kept bootable by itself.
    pub mirrors: Vec<MountPoint>,
    /// How long the loader's menu waits: seconds, or one of loader.conf's words. None: as the operator has it.
    pub timeout: Option<Spanned<Timeout>>,
    /// Whether the loader lets whoever is at the console edit command lines. None: as the operator has it, else not.
    pub editor: Option<bool>,
    /// The loader's console mode. None: as the operator has it.
    pub console_mode: Option<ConsoleMode>,
    /// How many generations of each profile get entries, besides those that a fallback may need. None: all.
    pub configuration_limit: Option<NonZeroUsize>,
    /// Whether EFI variables may be written: the loader's boot option, and requests that override the selection.
    pub can_touch_efi_variables: bool,
    /// Whether the second of two proven generations keeps its entry when there is no room for a third. Its closure is
    /// kept either way.
    pub keep_second_proven: bool,
    /// Files to put on `$BOOT`, by their path there: where each is, in this closure or in the store. Entries are files,
    /// too.
    pub extra_files: BTreeMap<ExtraPath, PathBuf>,
}

impl Default for BootConfig {
    fn default() -> Self {
        Self {
            esp: None,
            mirrors: Vec::new(),
            timeout: None,
            editor: None,
            console_mode: None,
            configuration_limit: None,
            can_touch_efi_variables: true,
            keep_second_proven: true,
            extra_files: BTreeMap::new(),
        }
    }
}

impl BootConfig {
    /// Where the first ESP is mounted, as a path of the machine.
    #[must_use]
    pub fn esp(&self) -> Option<PathBuf> {
        self.esp.as_ref().map(|esp| esp.0.clone())
    }

    /// The mount points of the mirrors, as paths of the machine.
    #[must_use]
    pub fn mirrors(&self) -> Vec<PathBuf> {
        self.mirrors.iter().map(|mirror| mirror.0.clone()).collect()
    }

    /// Where in the file it says that the loader is to wait at its menu until somebody presses a key. A generation that
    /// was installed when that was no mistake boots without it; no other one is installed.
    pub(super) fn endless_menu(&self) -> Option<usize> {
        let timeout = self.timeout.as_ref()?;
        let is_endless = timeout.get_ref().seconds().is_none();
        is_endless.then(|| timeout.span().start)
    }

    /// The loader's own settings.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            timeout: self.timeout.as_ref().and_then(|t| t.get_ref().seconds()),
            editor: self.editor,
            console_mode: self.console_mode.as_ref().map(|mode| mode.0.clone()),
        }
    }
}

/// An absolute path without `..`, spelled in one way (`/boot2` for `/boot2/`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PathBuf")]
pub struct MountPoint(PathBuf);

impl TryFrom<PathBuf> for MountPoint {
    type Error = String;

    fn try_from(path: PathBuf) -> Result<Self, String> {
        let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        if path.is_absolute() && path != Path::new("/") && path.components().all(plain) {
            Ok(Self(path.components().collect()))
        } else {
            Err("must be an absolute path without `..`, such as \"/boot2\"".to_owned())
        }
    }
}

/// A path on `$BOOT` that is nobody's business of ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct ExtraPath(String);

impl ExtraPath {
    /// As text, relative to `$BOOT`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ExtraPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        boot_entries::extra::check(&text)?;
        Ok(Self(text))
    }
}

/// `timeout` of loader.conf(5).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Word")]
pub struct Timeout(String);

impl Timeout {
    /// As in loader.conf. None: it would have no end.
    fn seconds(&self) -> Option<String> {
        (self.0 != FORCE).then(|| self.0.clone())
    }
}

/// What waits until somebody presses a key.
const FORCE: &str = "menu-force";

impl TryFrom<Word> for Timeout {
    type Error = String;

    fn try_from(word: Word) -> Result<Self, String> {
        match word {
            Word::Number(seconds) if u16::try_from(seconds).is_ok() => {
                Ok(Self(seconds.to_string()))
            }
            Word::Text(word) if [FORCE, "menu-hidden", "menu-disabled"].contains(&&*word) => {
                Ok(Self(word))
            }
            Word::Text(_) | Word::Number(_) => {
                Err("must be seconds (0 to 65535), \"menu-hidden\" or \"menu-disabled\"".to_owned())
            }
        }
    }
}

/// `console-mode` of loader.conf(5).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Word")]
pub struct ConsoleMode(String);

impl TryFrom<Word> for ConsoleMode {
    type Error = String;

    fn try_from(word: Word) -> Result<Self, String> {
        match word {
            Word::Number(mode) if u16::try_from(mode).is_ok() => Ok(Self(mode.to_string())),
            Word::Text(word) if ["auto", "max", "keep", "0", "1", "2"].contains(&&*word) => {
                Ok(Self(word))
            }
            Word::Text(_) | Word::Number(_) => {
                Err("must be a number (0 to 65535), \"auto\", \"max\" or \"keep\"".to_owned())
            }
        }
    }
}

/// A number or a word.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Word {
    Number(i64),
    Text(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn boot(text: &str) -> Result<BootConfig, String> {
        let config = Config::parse(&format!("[boot]\n{text}\n"));
        config
            .map(|config| config.boot)
            .map_err(|mistake| mistake.to_string())
    }

    #[test]
    fn loader_settings() {
        let all = boot("timeout = 0\neditor = true\nconsole-mode = \"max\"\nmirrors = [\"/boot2\"]\nconfiguration-limit = 5").unwrap();
        let settings = Settings {
            timeout: Some("0".to_owned()),
            editor: Some(true),
            console_mode: Some("max".to_owned()),
        };
        assert_eq!(all.settings(), settings);
        assert_eq!(all.mirrors(), [Path::new("/boot2")]);
        assert_eq!(boot("").unwrap().settings(), Settings::default());
        let spelled = boot("esp = \"/boot1//\"\nmirrors = [\"/./boot2/\"]").unwrap();
        let spelled = [spelled.esp().unwrap(), spelled.mirrors().remove(0)];
        assert_eq!(spelled.map(PathBuf::into_os_string), ["/boot1", "/boot2"]);
        assert_eq!(
            boot("timeout = \"menu-hidden\"")
                .unwrap()
                .timeout
                .unwrap()
                .get_ref()
                .0,
            "menu-hidden"
        );
    }

    /// It was no mistake once: a generation that says so must boot as before, its firewall included.
    #[test]
    fn a_menu_without_end_is_met_at_boot_and_not_asked_for() {
        let met = boot("editor = true\ntimeout = \"menu-force\"").unwrap();
        assert_eq!(met.settings().timeout, None);
        assert_eq!(met.settings().editor, Some(true));
        assert_eq!(met.endless_menu(), Some(31));
        assert_eq!(
            boot("timeout = \"menu-hidden\"").unwrap().endless_menu(),
            None
        );
        assert_eq!(boot("").unwrap().endless_menu(), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        for wrong in [
            "timeout = -1",
            "timeout = \"soon\"",
            "timeout = \"5\\neditor yes\"",
            "console-mode = \"x\"",
            "mirrors = [\"boot2\"]",
            "mirrors = [\"/boot/../etc\"]",
            "mirrors = [\"/\"]",
            "esp = \"boot\"",
            "configuration-limit = 0",
            "editor = \"no\"",
            "[boot.extra-files]\n\"../x\" = \"y\"",
            "[boot.extra-files]\n\"loader/entries/lastgood-1-00000000.conf\" = \"y\"",
        ] {
            let told = boot(wrong).unwrap_err();
            assert!(told.starts_with("line "), "{wrong}: {told}");
        }
    }
}
