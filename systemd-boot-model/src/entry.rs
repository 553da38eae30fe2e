//! A Boot Loader Specification entry of type 1 (UAPI.1): read as the loader reads it, and written so that it does.

use crate::lines::{lines, quoted};

/// What the loader takes from an entry file. Lines it does not know are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// For people.
    pub title: Option<String>,
    /// First ordering criterion among good entries.
    pub sort_key: Option<String>,
    /// Second ordering criterion.
    pub machine_id: Option<String>,
    /// Third, newest first.
    pub version: Option<String>,
    /// The kernel, as a path on `$BOOT`.
    pub linux: Option<String>,
    /// Another EFI program; such entries are not counted by systemd-boot 258 and later.
    pub efi: Option<String>,
    /// A unified kernel image, for systemd-boot 258 and later.
    pub uki: Option<String>,
    /// Which of its profiles, for systemd-boot 259 and later.
    pub profile: Option<String>,
    /// The initrds, in order.
    pub initrds: Vec<String>,
    /// The devicetree that the loader installs.
    pub devicetree: Option<String>,
    /// The kernel's command line. Several `options` lines are joined by a space.
    pub options: String,
}

/// The last line of an entry's text that names a program as every loader knows it: where there are two kinds, those
/// before 258 start what it says, and later ones nothing. Key and path.
#[must_use]
pub fn last_program(text: &str) -> Option<(&str, &str)> {
    let programs = lines(text).filter(|(key, _)| matches!(*key, "linux" | "efi"));
    programs.last()
}

impl Entry {
    /// Reads the text of an entry file. Every text is one: what makes no sense is passed over, as the loader does.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::of_lines(lines(text))
    }

    fn of_lines<'a>(lines: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut entry = Self::default();
        for (key, value) in lines {
            match key {
                "title" => entry.title = Some(value.to_owned()),
                "sort-key" => entry.sort_key = Some(value.to_owned()),
                "machine-id" => entry.machine_id = Some(value.to_owned()),
                "version" => entry.version = Some(value.to_owned()),
                "linux" => entry.linux = Some(value.to_owned()),
                "efi" => entry.efi = Some(value.to_owned()),
                "uki" => entry.uki = Some(value.to_owned()),
                "profile" => entry.profile = Some(value.to_owned()),
                "devicetree" => entry.devicetree = Some(value.to_owned()),
                "initrd" => entry.initrds.push(value.to_owned()),
                "options" => {
                    if !entry.options.is_empty() {
                        entry.options.push(' ');
                    }
                    entry.options.push_str(value);
                }
                _ => {}
            }
        }
        entry
    }

    /// The files that its kernel needs, itself included, as paths on its partition.
    pub fn needs(&self) -> impl Iterator<Item = &str> {
        let files = self.linux.iter().chain(&self.initrds);
        let files = files.chain(&self.devicetree);
        files.map(|path| path.trim_start_matches('/'))
    }

    /// How many bytes the kernel gets for a command line: the loader puts the names of the initrds before the options.
    #[must_use]
    pub fn command_line_length(&self) -> usize {
        let initrds = self
            .initrds
            .iter()
            .map(|path| "initrd= ".len() + path.len());
        initrds.sum::<usize>() + self.options.len()
    }
}

impl Entry {
    /// Its text, with this sort key.
    #[must_use]
    pub fn text(&self, sort_key: Option<&str>) -> String {
        // Most are shorter than that, and a run writes hundreds to compare them with what is there: piece by piece,
        // without the machinery of `write!`.
        let mut text = String::with_capacity(self.options.len() + 512);
        let mut line = |key: &str, value: &str| {
            for piece in [key, " ", &quoted(value), "\n"] {
                text.push_str(piece);
            }
        };
        let optional = [
            ("title", self.title.as_deref()),
            ("sort-key", sort_key),
            ("machine-id", self.machine_id.as_deref()),
            ("version", self.version.as_deref()),
            ("linux", self.linux.as_deref()),
            ("efi", self.efi.as_deref()),
            ("uki", self.uki.as_deref()),
            ("profile", self.profile.as_deref()),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                line(key, value);
            }
        }
        for initrd in &self.initrds {
            line("initrd", initrd);
        }
        if !self.options.is_empty() {
            line("options", &self.options);
        }
        if let Some(devicetree) = &self.devicetree {
            line("devicetree", devicetree);
        }
        text
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text(self.sort_key.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn options_are_joined_and_order_is_kept() {
        let entry = Entry::parse(
            "title A\n# options no\noptions a  b\ninitrd /1\ninitrd /2\noptions c\nversion\nfoo bar\n",
        );
        assert_eq!(entry.options, "a  b c");
        assert_eq!(entry.initrds, ["/1", "/2"]);
        assert_eq!((entry.title.as_deref(), entry.version), (Some("A"), None));
    }

    #[test]
    fn a_text_is_read_as_far_as_the_loader_reads_it() {
        let entry = Entry::parse("linux \"/a b\"\rversion  1\n\0\nsort-key a\n");
        assert_eq!(entry.linux.as_deref(), Some("/a b"));
        assert_eq!(
            (entry.version.as_deref(), entry.sort_key),
            (Some("1"), None)
        );
    }

    proptest! {
        #[test]
        fn any_text_parses_and_prints_stably(
            text in "(?s)((title|sort-key|machine-id|version|linux|efi|uki|profile|initrd|options|devicetree)[ \"\t\r\n\0a#]{0,6}){0,5}.{0,50}"
        ) {
            let once = Entry::parse(&text);
            prop_assert_eq!(Entry::parse(&once.to_string()), once);
        }
    }
}
