//! What the firmware remembers and the loader puts above everything on `$BOOT`.

use std::fmt;

use serde::Serialize;

use crate::conf::{endless_timeout, is_endless};
use crate::partition::LOADER_CONF;
use crate::release::ReleaseRange;
use crate::variables::{LoaderVariables, Variable};

/// A variable that is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Override {
    /// Which.
    pub variable: Variable,
    /// To what.
    pub value: String,
}

impl Override {
    /// Whether it may keep a machine with a loader of `release`, at which nobody stands, from starting what is
    /// selected.
    #[must_use]
    pub fn is_harmful(&self, release: ReleaseRange) -> bool {
        match self.variable {
            Variable::EntryDefault => true,
            Variable::EntryPreferred => release.prefers(),
            Variable::ConfigTimeout => waits_for_ever(&self.value),
        }
    }

    /// What it does to the boots to come.
    #[must_use]
    pub fn effect(&self) -> &'static str {
        match self.variable {
            Variable::EntryDefault => {
                "the loader starts what it matches, over loader.conf, even an entry without tries left"
            }
            Variable::EntryPreferred => {
                "from version 260 on the loader starts the first good entry that it matches, over loader.conf"
            }
            Variable::ConfigTimeout if waits_for_ever(&self.value) => {
                "the loader waits at its menu for days, or until somebody presses a key, over loader.conf"
            }
            Variable::ConfigTimeout => {
                "it says how many seconds the loader waits at its menu, over loader.conf"
            }
        }
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, value) = (self.variable.name(), shown(&self.value));
        let verb = self.variable.verb();
        write!(
            f,
            "EFI variable {name} is {value:?}: {}; `bootctl {verb} ''` clears it",
            self.effect()
        )
    }
}

/// How much of a value is shown, in characters.
const LONGEST: usize = 120;

/// What somebody wrote, in one line of bearable length.
fn shown(value: &str) -> String {
    let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut shown: String = value.chars().take(LONGEST).map(printable).collect();
    if value.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

fn waits_for_ever(timeout: &str) -> bool {
    is_endless(timeout) == Some(true)
}

/// What makes the loader wait at its menu for days, or until somebody presses a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndlessMenu {
    /// A variable of the firmware.
    Variable(Override),
    /// A line of loader.conf, with this `timeout`.
    Conf(String),
}

impl fmt::Display for EndlessMenu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(one) => one.fmt(f),
            Self::Conf(timeout) => write!(
                f,
                "{LOADER_CONF} says `timeout {timeout}`: the loader waits at its menu for days, or until somebody \
                 presses a key"
            ),
        }
    }
}

/// What makes the loader wait at its menu without end. `conf` is the text of loader.conf; the variable wins over it.
/// None: it does not wait.
#[must_use]
pub fn endless_menu(conf: Option<&str>, variables: &LoaderVariables) -> Option<EndlessMenu> {
    let variable = variables.config_timeout.as_deref();
    if let Some(value) = variable.filter(|value| is_endless(value).is_some()) {
        let set = Override {
            variable: Variable::ConfigTimeout,
            value: value.to_owned(),
        };
        return waits_for_ever(value).then_some(EndlessMenu::Variable(set));
    }
    endless_timeout(conf?).map(|timeout| EndlessMenu::Conf(timeout.to_owned()))
}

/// The variables that win over what is written on `$BOOT`. An empty one matches nothing.
#[must_use]
pub fn overrides(variables: &LoaderVariables) -> Vec<Override> {
    let all = [
        (Variable::EntryDefault, &variables.default),
        (Variable::EntryPreferred, &variables.preferred),
        (Variable::ConfigTimeout, &variables.config_timeout),
    ];
    let set = all.into_iter().filter_map(|(variable, value)| {
        let value = value.clone().filter(|value| !value.is_empty())?;
        Some(Override { variable, value })
    });
    set.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wins_over_loader_conf_is_told_in_one_line() {
        let variables = |timeout: &str| LoaderVariables {
            default: Some("nixos-\n*".to_owned()),
            preferred: Some(String::new()),
            config_timeout: Some(timeout.to_owned()),
            one_shot: Some("x.conf".to_owned()),
            ..LoaderVariables::default()
        };
        let told = |timeout: &str| -> Vec<String> {
            let all = overrides(&variables(timeout));
            all.iter().map(ToString::to_string).collect()
        };
        let [default, timeout] = &told("5")[..] else {
            panic!("{:?}", told("5"));
        };
        assert!(default.starts_with("EFI variable LoaderEntryDefault is \"nixos-\u{fffd}*\": "));
        assert!(timeout.starts_with("EFI variable LoaderConfigTimeout is \"5\": "));
        for (timeout, for_ever) in [
            ("menu-force", true),
            ("4294967295", true),
            ("18446744073709551615", true),
            ("65536", true),
            ("65535", false),
            // The loader cannot read these.
            ("18446744073709551616", false),
            ("+4294967295", false),
            ("menu-hidden", false),
            ("0", false),
        ] {
            let is = told(timeout)[1].contains("until somebody presses a key");
            assert_eq!(is, for_ever, "{timeout}");
        }
        assert_eq!(overrides(&LoaderVariables::default()), []);
    }

    #[test]
    fn every_release_that_knows_a_variable_is_harmed_by_it() {
        let preferred = Override {
            variable: Variable::EntryPreferred,
            value: "x".to_owned(),
        };
        for (info, is_harmful) in [
            ("systemd-boot 259.6", false),
            ("systemd-boot 260", true),
            ("systemd-boot 260.2", true),
            ("systemd-boot 262.1", true),
        ] {
            let release = ReleaseRange::of_loader_info(info).unwrap();
            assert_eq!(preferred.is_harmful(release), is_harmful, "{info}");
        }
    }

    #[test]
    fn the_variable_decides_about_the_menu_and_then_the_file() {
        let told = |variable: Option<&str>, conf: &str| {
            let variables = LoaderVariables {
                config_timeout: variable.map(str::to_owned),
                ..LoaderVariables::default()
            };
            endless_menu(Some(conf), &variables).map_or_else(String::new, |menu| menu.to_string())
        };
        let force = "timeout menu-force\n";
        for (variable, conf, word) in [
            (None, "timeout 5\n", ""),
            (None, force, "loader/loader.conf says `timeout menu-force`"),
            (Some("5"), force, ""),
            (Some("x"), force, "loader/loader.conf"),
            (Some("menu-force"), "timeout 5\n", "LoaderConfigTimeout"),
        ] {
            let line = told(variable, conf);
            assert_eq!(line.is_empty(), word.is_empty(), "{line}");
            assert!(line.contains(word), "{line}");
        }
    }
}
