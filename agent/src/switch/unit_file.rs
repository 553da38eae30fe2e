//! The text of a unit (`systemd.syntax(7)`).

use std::collections::BTreeMap;

/// A unit's file, with drop-ins merged in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitFile {
    /// By section, then by key: all its values in their order, at least one. A section may be there without a key.
    pub sections: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl UnitFile {
    /// The unit that `text` describes. What systemd ignores is ignored.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut unit = Self::default();
        unit.add(text);
        unit
    }

    /// Adds the text of a drop-in: a key that is there goes on, and an empty value throws away what it had.
    pub fn add(&mut self, text: &str) {
        let mut section: Option<String> = None;
        for line in logical_lines(text) {
            let line = line.trim();
            if let Some(name) = header(line) {
                self.sections.entry(name.to_owned()).or_default();
                section = Some(name.to_owned());
                continue;
            }
            let (Some(name), Some((key, value))) = (&section, line.split_once('=')) else {
                continue;
            };
            let keys = self.sections.entry(name.clone()).or_default();
            let (key, value) = (key.trim(), value.trim());
            if value.is_empty() {
                keys.remove(key);
            } else {
                keys.entry(key.to_owned())
                    .or_default()
                    .push(value.to_owned());
            }
        }
    }

    /// All values of a key.
    #[must_use]
    pub fn values(&self, section: &str, key: &str) -> &[String] {
        let keys = self.sections.get(section);
        keys.and_then(|keys| keys.get(key))
            .map_or(&[], Vec::as_slice)
    }

    /// The last value of a key: the one that counts where there can be only one.
    #[must_use]
    pub fn last(&self, section: &str, key: &str) -> Option<&str> {
        self.values(section, key).last().map(String::as_str)
    }

    /// All words of a key's values.
    pub fn words(&self, section: &str, key: &str) -> impl Iterator<Item = &str> {
        let values = self.values(section, key).iter();
        values.flat_map(|value| value.split_whitespace())
    }

    /// A yes or no. `default`: nothing is said.
    #[must_use]
    pub fn flag(&self, section: &str, key: &str, default: bool) -> bool {
        self.last(section, key).map_or(default, |value| {
            let value = value.to_ascii_lowercase();
            matches!(value.as_str(), "1" | "yes" | "y" | "true" | "t" | "on")
        })
    }
}

fn header(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.strip_suffix(']')
}

/// Lines, those that end in a backslash joined with the next one. Comments may lie in between.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        let line = line.trim_start();
        if line.starts_with(['#', ';']) {
            continue;
        }
        let mut whole = open.take().unwrap_or_default();
        whole.push_str(line);
        let backslashes = whole.chars().rev().take_while(|char| *char == '\\').count();
        if backslashes % 2 == 1 {
            whole.pop();
            whole.push(' ');
            open = Some(whole);
        } else {
            lines.push(whole);
        }
    }
    lines.extend(open);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_as_systemd_reads_it() {
        let unit = UnitFile::parse(concat!(
            "Lost=before any section\n",
            "# comment\n; comment\n",
            "[Unit]\n",
            "Description=a = b\n",
            "After=dev-disk-by\\x2dlabel-root.device  \n",
            "no assignment\n",
            "[Service]\n",
            "ExecStart=-/bin/a --flag \\\n",
            "  # a comment in between\n",
            "  second \\\n",
            "  third\n",
            "ExecStart=-/bin/b\n",
            "Environment=A=1\n",
            "Environment=\n",
            "Environment=\"B=2 3\"\n",
            "Escaped=two\\\\\n",
            "Gone=x\nGone=\n",
            "  Indented = yes \n",
            "[X-Own]\n",
        ));
        let values = |section, key| unit.values(section, key).to_vec();
        assert_eq!(values("Unit", "Description"), ["a = b"]);
        assert_eq!(
            values("Unit", "After"),
            [r"dev-disk-by\x2dlabel-root.device"]
        );
        assert_eq!(
            values("Service", "ExecStart"),
            ["-/bin/a --flag  second  third", "-/bin/b"]
        );
        assert_eq!(values("Service", "Environment"), ["\"B=2 3\""]);
        assert_eq!(values("Service", "Escaped"), [r"two\\"]);
        assert_eq!(values("Service", "Gone"), [""; 0]);
        assert!(unit.flag("Service", "Indented", false));
        assert!(unit.sections.contains_key("X-Own"));
        assert_eq!(unit.sections.len(), 3);
        assert_eq!(unit.words("Unit", "Description").count(), 3);
    }

    #[test]
    fn a_drop_in_adds_to_a_list_and_empties_it() {
        let mut unit = UnitFile::parse("[Service]\nExecStart=/a\nExecStop=/s\nType=simple\n");
        unit.add("[Service]\nExecStart=\nExecStart=/b\nExecStop=/t\n[Service]\nType=notify\n");
        assert_eq!(unit.values("Service", "ExecStart"), ["/b"]);
        assert_eq!(unit.values("Service", "ExecStop"), ["/s", "/t"]);
        assert_eq!(unit.last("Service", "Type"), Some("notify"));
    }

    #[test]
    fn a_yes_is_what_systemd_takes_for_one() {
        for (text, is) in [
            ("1", true),
            ("yes", true),
            ("True", true),
            ("on", true),
            ("0", false),
            ("no", false),
            ("nonsense", false),
        ] {
            let unit = UnitFile::parse(&format!("[Unit]\nKey={text}\n"));
            assert_eq!(unit.flag("Unit", "Key", !is), is, "{text}");
        }
        assert!(UnitFile::parse("[Unit]\nKey=no\nKey=\n").flag("Unit", "Key", true));
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(text in "([\\[\\]=#;\\\\ \n a-zA-Z]|\\PC){0,200}") {
            let unit = UnitFile::parse(&text);
            for keys in unit.sections.values() {
                proptest::prop_assert!(keys.values().all(|values| !values.is_empty()));
            }
        }
    }
}
