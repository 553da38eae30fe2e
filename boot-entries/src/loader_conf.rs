//! `loader/loader.conf`: the loader's own settings (loader.conf(5)). Shared with the operator: we set what safety
//! needs and keep every other line as it is.

/// First good entry of ours, in every version of systemd-boot: bad entries sort last, and the first match wins.
/// Never an exact id, which would start a bad entry for ever from version 258 on.
pub const DEFAULT_PATTERN: &str = "lastgood-*";

/// What the loader takes from the file, as far as choosing an entry goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoaderConf {
    /// `default`, a pattern over ids.
    pub default: Option<String>,
    /// `preferred`, known from version 260 on.
    pub preferred: Option<String>,
}

impl LoaderConf {
    /// Reads the text of the file.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for (key, value) in text.lines().filter_map(setting) {
            match key {
                "default" => conf.default = Some(value.to_owned()),
                "preferred" => conf.preferred = Some(value.to_owned()),
                _ => {}
            }
        }
        conf
    }
}

/// The text the file must have, given the text it has.
///
/// `default` becomes our pattern, `preferred` goes (it would choose over our order), and the editor is off unless
/// the operator turned it on by hand: whoever can edit a command line at the console is root.
#[must_use]
pub fn wanted(present: Option<&str>) -> String {
    let present = present.unwrap_or_default();
    let has = |wanted: &str| {
        present
            .lines()
            .filter_map(setting)
            .any(|(key, _)| key == wanted)
    };
    let mut text = String::new();
    for line in present.lines() {
        if !matches!(setting(line), Some(("default" | "preferred", _))) {
            text.push_str(line);
            text.push('\n');
        }
    }
    for (key, value) in [("timeout", "3"), ("editor", "no")] {
        if !has(key) {
            text.extend([key, " ", value, "\n"]);
        }
    }
    text.extend(["default ", DEFAULT_PATTERN, "\n"]);
    text
}

fn setting(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let (key, value) = line.split_once([' ', '\t'])?;
    (!line.starts_with('#')).then_some((key, value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_has_what_safety_needs() {
        assert_eq!(wanted(None), "timeout 3\neditor no\ndefault lastgood-*\n");
    }

    #[test]
    fn the_operators_lines_stay_and_a_second_time_changes_nothing() {
        let theirs =
            "# mine\ntimeout 0\nconsole-mode max\npreferred x.conf\ndefault nixos-*\neditor yes\n";
        let once = wanted(Some(theirs));
        assert_eq!(
            once,
            "# mine\ntimeout 0\nconsole-mode max\neditor yes\ndefault lastgood-*\n"
        );
        assert_eq!(wanted(Some(&once)), once);
    }
}
