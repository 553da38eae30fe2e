//! `loader/loader.conf`: the loader's own settings (loader.conf(5)), as far as they decide what is started and when.

use crate::lines::lines;

/// More seconds than this, and nobody waits for the machine any more.
const LONGEST_WAIT: u64 = 65_535;
/// What the loader takes `menu-force` for: until somebody presses a key.
const FOR_EVER: u64 = 0xffff_ffff;

/// A `timeout`, in seconds, as the loader reads it in a variable of the firmware. None: it cannot. (`menu-disabled` is
/// known from version 255 on.)
fn seconds(timeout: &str) -> Option<u64> {
    match timeout {
        "menu-force" => Some(FOR_EVER),
        "menu-hidden" | "menu-disabled" => Some(0),
        // `str::parse` alone would take a sign.
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
        _ => None,
    }
}

/// Whether the loader waits at its menu for days, or until somebody presses a key, if the variable says this. None: the
/// loader cannot read it, and takes what loader.conf says.
pub(crate) fn is_endless(timeout: &str) -> Option<bool> {
    seconds(timeout).map(|seconds| seconds > LONGEST_WAIT)
}

/// The same for a line of the file, where the loader takes no number that is larger than its own for "for ever".
fn is_endless_line(timeout: &str) -> Option<bool> {
    let seconds = seconds(timeout).filter(|seconds| *seconds <= FOR_EVER)?;
    Some(seconds > LONGEST_WAIT)
}

/// The `timeout` by which the loader waits at its menu for days, or until somebody presses a key, with this text in the
/// file. None: it does not.
#[must_use]
pub fn endless_timeout(text: &str) -> Option<&str> {
    let timeouts = lines(text).filter(|(key, _)| *key == "timeout");
    let read = timeouts.filter_map(|(_, value)| Some((value, is_endless_line(value)?)));
    // Versions before 255 pass over that word, as over any they do not know.
    let last = read.filter(|(value, _)| *value != "menu-disabled").last();
    last.filter(|(_, is_endless)| *is_endless)
        .map(|(value, _)| value)
}

/// In place of a pattern: what was booted last.
pub(crate) const SAVED: &str = "@saved";

/// `reboot-on-error`, known from version 258 on: whether the loader resets the machine when an entry cannot be started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RebootOnError {
    /// If the entry has tries left.
    #[default]
    Auto,
    /// Always.
    Yes,
    /// Never.
    No,
}

impl RebootOnError {
    /// Reads the value of the line. None: the loader passes over the line.
    fn parse(value: &str) -> Option<Self> {
        match value {
            "auto" => Some(Self::Auto),
            "1" | "yes" | "y" | "true" | "t" | "on" => Some(Self::Yes),
            "0" | "no" | "n" | "false" | "f" | "off" => Some(Self::No),
            _ => None,
        }
    }
}

/// What the loader takes from the file, as far as choosing an entry goes, and what follows if it cannot be started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoaderConf {
    /// `default`, a pattern over ids.
    pub default: Option<String>,
    /// `preferred`, known from version 260 on.
    pub preferred: Option<String>,
    /// `reboot-on-error`, known from version 258 on.
    pub reboot_on_error: RebootOnError,
}

impl LoaderConf {
    /// Reads the text of the file.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::of_lines(lines(text))
    }

    pub(crate) fn of_lines<'a>(lines: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut conf = Self::default();
        for (key, value) in lines {
            // No other word with an `@` means anything to the loader.
            if value.starts_with('@') && !value.eq_ignore_ascii_case(SAVED) {
                continue;
            }
            match key {
                "default" => conf.default = Some(value.to_owned()),
                "preferred" => conf.preferred = Some(value.to_owned()),
                "reboot-on-error" => {
                    conf.reboot_on_error =
                        RebootOnError::parse(value).unwrap_or(conf.reboot_on_error);
                }
                _ => {}
            }
        }
        conf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_menu_that_waits_for_ever() {
        for (timeout, is_endless) in [
            ("menu-force", true),
            ("4294967295", true),
            ("4294967294", true),
            ("0065536", true),
            ("65535", false),
            // These are read by nobody.
            ("4294967296", false),
            ("18446744073709551616", false),
            ("+4294967295", false),
            ("Menu-Force", false),
            ("menu-hidden", false),
        ] {
            let text = format!("# mine\ntimeout {timeout}\neditor yes\n");
            let told = endless_timeout(&text);
            assert_eq!(told, is_endless.then_some(timeout), "{timeout}");
        }
        let later = |text: &str| endless_timeout(text).is_some();
        assert!(!later("timeout menu-force\ntimeout 5\n"));
        assert!(later("timeout 5\ntimeout menu-force\ntimeout x\n"));
        assert!(later("timeout menu-force\ntimeout menu-disabled\n"));
    }
}
