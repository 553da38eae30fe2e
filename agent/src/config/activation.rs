//! `[activation]`: what a closure wants to be run when it is put in place.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::Seconds;

/// `[activation]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Activation {
    script: Option<Script>,
    /// Well below `TimeoutStartSec=` of `lastgood-activate.service`.
    deadline_sec: Seconds<240>,
}

impl Default for Activation {
    fn default() -> Self {
        Self {
            script: None,
            deadline_sec: Seconds(120),
        }
    }
}

impl Activation {
    /// The script, inside the closure. None: nothing is run.
    #[must_use]
    pub fn script(&self) -> Option<&Path> {
        self.script.as_ref().map(|script| script.0.as_path())
    }

    /// When it is ended, and all that it has started.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.deadline_sec.into()
    }
}

/// A path inside the closure.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PathBuf")]
struct Script(PathBuf);

impl TryFrom<PathBuf> for Script {
    type Error = String;

    fn try_from(path: PathBuf) -> Result<Self, String> {
        let is_inside = path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if is_inside && path.file_name().is_some() {
            Ok(Self(path))
        } else {
            Err("must be a path inside the closure without `..`, such as \"activate\"".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn nothing_is_run_unless_the_closure_asks_for_it() {
        assert_eq!(Activation::default().script(), None);
        let config = Config::parse("[activation]\nscript = \"bin/activate\"\n").unwrap();
        let asked = config.activation;
        assert_eq!(asked.script(), Some(Path::new("bin/activate")));
        assert_eq!(asked.deadline(), Duration::from_mins(2));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        for (text, column, why) in [
            ("script = \"\"", 10, "inside the closure"),
            ("script = \"/bin/true\"", 10, "inside the closure"),
            ("script = \"../a\"", 10, "inside the closure"),
            ("script = true", 10, "invalid type"),
            ("deadline-sec = 0", 16, "between 1 and 240"),
            ("deadline-sec = 241", 16, "between 1 and 240"),
            ("run = \"activate\"", 1, "unknown key"),
        ] {
            let mistake = Config::parse(&format!("[activation]\n{text}\n")).unwrap_err();
            assert_eq!((mistake.line, mistake.column), (2, column), "{text}");
            assert!(mistake.message.contains(why), "{mistake}");
        }
    }
}
