//! What the firmware remembers and the loader puts above everything on `$BOOT`.

use std::fmt;

use serde::Serialize;

use super::Band;
use crate::efi::{LoaderVariables, Variable};
use crate::small;

/// A variable that is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Override {
    /// Which.
    pub variable: Variable,
    /// To what.
    pub value: String,
}

impl Override {
    /// Whether it may keep a machine with a loader of `band`, at which nobody stands, from starting what is selected.
    #[must_use]
    pub fn is_harmful(&self, band: Band) -> bool {
        match self.variable {
            Variable::EntryDefault => true,
            Variable::EntryPreferred => band == Band::V260,
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
                "the loader waits at its menu until somebody presses a key, over loader.conf"
            }
            Variable::ConfigTimeout => {
                "it says how many seconds the loader waits at its menu, over loader.conf"
            }
        }
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, value) = (self.variable.name(), small::one_line(&self.value, LONGEST));
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

/// Whether a timeout is `menu-force`, by that name or by the number that the loader itself stores for it; it takes every
/// number above for the same.
fn waits_for_ever(timeout: &str) -> bool {
    let number = timeout.parse::<u64>();
    timeout == "menu-force" || number.is_ok_and(|seconds| seconds >= u64::from(u32::MAX))
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
            ("4294967294", false),
            ("menu-hidden", false),
            ("0", false),
        ] {
            let is = told(timeout)[1].contains("until somebody presses a key");
            assert_eq!(is, for_ever, "{timeout}");
        }
        assert_eq!(overrides(&LoaderVariables::default()), []);
    }
}
