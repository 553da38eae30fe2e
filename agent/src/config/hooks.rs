//! `[hooks]`: what is run at the end of an incident.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::Seconds;
use crate::state::incident::Hook;

/// `[hooks]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Hooks {
    on_proven: Option<Program>,
    on_fallback: Option<Program>,
    on_degraded: Option<Program>,
    /// Below `TimeoutStartSec=` of the units that wait for a hook.
    deadline_sec: Seconds<240>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            on_proven: None,
            on_fallback: None,
            on_degraded: None,
            deadline_sec: Seconds(60),
        }
    }
}

impl Hooks {
    /// The program: absolute, or inside the closure. None: nothing is run.
    #[must_use]
    pub fn program(&self, hook: Hook) -> Option<&Path> {
        let program = match hook {
            Hook::OnProven => &self.on_proven,
            Hook::OnFallback => &self.on_fallback,
            Hook::OnDegraded => &self.on_degraded,
        };
        program.as_ref().map(|program| program.0.as_path())
    }

    /// When a hook is ended, and all that it has started.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.deadline_sec.into()
    }
}

/// A program of the closure or of the host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PathBuf")]
struct Program(PathBuf);

impl TryFrom<PathBuf> for Program {
    type Error = String;

    fn try_from(path: PathBuf) -> Result<Self, String> {
        let is_plain =
            |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
        if path.components().all(is_plain) && path.file_name().is_some() {
            Ok(Self(path))
        } else {
            Err("must be a path without `..`: one inside the closure, such as \"hooks/unlock\", or an absolute one".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn each_hook_has_its_program() {
        let text =
            "[hooks]\non-proven = \"a\"\non-fallback = \"/usr/bin/b\"\non-degraded = \"c/d\"\n";
        let hooks = Config::parse(text).unwrap().hooks;
        for (hook, program) in Hook::ALL.into_iter().zip(["a", "/usr/bin/b", "c/d"]) {
            assert_eq!(hooks.program(hook), Some(Path::new(program)));
            assert_eq!(Hooks::default().program(hook), None);
            // As the operator's words are.
            assert!(text.contains(&format!("{hook} = \"{program}\"")));
        }
        assert_eq!(hooks.deadline(), Duration::from_mins(1));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        for (text, column) in [
            ("on-proven = \"\"", 13),
            ("on-fallback = \"../a\"", 15),
            ("on-degraded = \"/\"", 15),
            ("deadline-sec = 0", 16),
            ("deadline-sec = 241", 16),
            ("on-rejected = \"a\"", 1),
        ] {
            let mistake = Config::parse(&format!("[hooks]\n{text}\n")).unwrap_err();
            assert_eq!(
                (mistake.line, mistake.column),
                (2, column),
                "{text}: {mistake}"
            );
        }
    }
}
