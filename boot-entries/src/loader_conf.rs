//! What we want `loader/loader.conf` to say (loader.conf(5)). It is shared with the operator: we set what safety needs
//! and keep every other line as it is.

use std::collections::BTreeSet;

use systemd_boot_model::{endless_timeout, lines, read_part};

/// First good entry of ours, in every version of systemd-boot: bad entries sort last, and the first match wins.
/// Never an exact id, which would start a bad entry for ever from 257.10 and 258.1 on.
///
/// It has the form of our names, and of few others: an entry that an operator calls `lastgood-rescue` is not chosen by
/// it, wherever that sorts.
pub const DEFAULT_PATTERN: &str = "lastgood-[0-9b]*-????????*.conf";
/// What earlier versions wrote in its place.
const FORMER_PATTERN: &str = "lastgood-*";

/// Whether a `default` is one that we write.
#[must_use]
pub fn is_ours(default: &str) -> bool {
    [DEFAULT_PATTERN, FORMER_PATTERN].contains(&default)
}

/// What the closure says about the loader. None: as the operator has it in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `timeout`: seconds, or a word that the loader knows.
    pub timeout: Option<String>,
    /// `editor`
    pub editor: Option<bool>,
    /// `console-mode`
    pub console_mode: Option<String>,
}

impl Settings {
    /// Keys, what each must be, and what it is if neither the closure nor the operator says anything.
    fn lines(&self) -> [(&'static str, Option<&str>, Option<&'static str>); 3] {
        let editor = self.editor.map(|on| if on { "yes" } else { "no" });
        [
            ("timeout", self.timeout.as_deref(), Some("3")),
            // Whoever can edit a command line at the console is root.
            ("editor", editor, Some("no")),
            ("console-mode", self.console_mode.as_deref(), None),
        ]
    }
}

/// How a comment begins that says which line of a key that had none is ours: it goes when we go.
const ADDED: &str = "# added by lastgood: ";

/// The lines that are said to be ours.
fn added(present: Option<&str>) -> Vec<&str> {
    let lines = kept_lines(present);
    lines.filter_map(|line| line.strip_prefix(ADDED)).collect()
}

/// The text the file must have, given the text it has.
///
/// `default` becomes our pattern, and `preferred` goes: it would choose over our order. So does a `timeout` without
/// end: nobody is there to press a key. What `settings` say is set, and every other line stays.
#[must_use]
pub fn wanted(present: Option<&str>, settings: &Settings) -> String {
    let mut lines = settings.lines();
    let added = added(present);
    let mut theirs = BTreeSet::new();
    let mut marks = String::new();
    let mut mark = |line: &str| marks.extend([ADDED, line, "\n"]);
    let mut text = String::new();
    for line in kept_lines(present).filter(|line| !line.starts_with(ADDED)) {
        let key = key(line);
        let is_added = added.contains(&line);
        theirs.extend(key.filter(|_| !is_added));
        if matches!(key, Some("default" | "preferred")) || endless_timeout(line).is_some() {
            continue;
        }
        let ours = lines.iter_mut().find(|(ours, ..)| key == Some(*ours));
        match ours {
            Some((_, None, default)) => *default = None,
            Some((..)) => continue,
            None => {}
        }
        if is_added {
            mark(line);
        }
        text.extend([line, "\n"]);
    }
    for (key, value, default) in lines {
        if let Some(value) = value.or(default) {
            let line = format!("{key} {value}");
            text.extend([&line, "\n"]);
            if !theirs.contains(key) {
                mark(&line);
            }
        }
    }
    text.extend(["default ", DEFAULT_PATTERN, "\n", &marks]);
    text
}

/// The text the file must have for nothing that we added to be in it, given the text it has. None: nothing is.
#[must_use]
pub fn without_added(present: &str) -> Option<String> {
    let present = Some(present);
    let is_marked = kept_lines(present).any(|line| line.starts_with(ADDED));
    is_marked.then(|| theirs(present).flat_map(|line| [line, "\n"]).collect())
}

/// The lines that are not said to be ours.
fn theirs(present: Option<&str>) -> impl Iterator<Item = &str> {
    let added = added(present);
    kept_lines(present).filter(move |line| !line.starts_with(ADDED) && !added.contains(line))
}

/// The text the file must have for `id` to be started and nothing else of it to be ours, given the text it has. A line
/// that somebody has changed since we added it is theirs.
#[must_use]
pub fn with_default(present: Option<&str>, id: &str) -> String {
    let mut text = String::new();
    for line in theirs(present) {
        if !matches!(key(line), Some("default" | "preferred")) {
            text.extend([line, "\n"]);
        }
    }
    text.extend(["default ", id, "\n"]);
    text
}

/// The lines that the loader reads: what follows a NUL is nothing to it, and would be if we wrote ours behind that.
/// Either line end ends a line, and both together end one.
fn kept_lines(text: Option<&str>) -> impl Iterator<Item = &str> {
    let lines = read_part(text.unwrap_or_default()).lines();
    lines.flat_map(|line| line.split('\r'))
}

fn key(line: &str) -> Option<&str> {
    lines(line).next().map(|(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use systemd_boot_model::LoaderConf;

    #[test]
    fn a_new_file_has_what_safety_needs() {
        assert_eq!(
            wanted(None, &Settings::default()),
            format!(
                "timeout 3\neditor no\ndefault {DEFAULT_PATTERN}\n# added by lastgood: timeout 3\n\
                 # added by lastgood: editor no\n"
            )
        );
    }

    /// What was there before us is there after us.
    #[test]
    fn what_was_added_goes_with_us() {
        let settings = |timeout: Option<&str>, editor| Settings {
            timeout: timeout.map(str::to_owned),
            editor,
            console_mode: None,
        };
        let all = [
            settings(None, None),
            settings(Some("7"), None),
            settings(Some("3"), Some(true)),
            settings(None, Some(false)),
        ];
        for before in [
            "",
            "# mine\nconsole-mode max\n",
            "timeout 5\n",
            "timeout 3\neditor no\n",
        ] {
            for one in &all {
                for other in &all {
                    let once = wanted(Some(before), one);
                    let twice = wanted(Some(&once), other);
                    assert_eq!(wanted(Some(&twice), other), twice);
                    let after = with_default(Some(&twice), "x.conf");
                    // What a closure set in place of the operator's cannot be given back.
                    let is_set = |key: &str| before.contains(key) && after.contains(key);
                    let theirs = before
                        .lines()
                        .filter(|line| !is_set(line.split(' ').next().unwrap()));
                    for line in theirs {
                        assert!(
                            after.contains(line),
                            "{before:?} {one:?} {other:?}: {after}"
                        );
                    }
                    for key in ["timeout", "editor"] {
                        assert_eq!(before.contains(key), after.contains(key), "{twice} {after}");
                    }
                    assert!(!after.contains("lastgood"), "{after}");
                }
            }
        }
        let ours = wanted(None, &all[0]);
        let changed = ours.replace("editor no\ndefault", "editor yes\ndefault");
        let kept = wanted(Some(&changed), &all[0]);
        assert_eq!(
            with_default(Some(&kept), "x.conf"),
            "editor yes\ndefault x.conf\n"
        );
    }

    #[test]
    fn the_operators_lines_stay_and_a_second_time_changes_nothing() {
        let theirs =
            "# mine\ntimeout 0\nconsole-mode max\npreferred x.conf\ndefault nixos-*\neditor yes\n";
        let once = wanted(Some(theirs), &Settings::default());
        assert_eq!(
            once,
            format!("# mine\ntimeout 0\nconsole-mode max\neditor yes\ndefault {DEFAULT_PATTERN}\n")
        );
        assert_eq!(wanted(Some(&once), &Settings::default()), once);
        assert_eq!(
            with_default(Some(&once), "x.conf"),
            "# mine\ntimeout 0\nconsole-mode max\neditor yes\ndefault x.conf\n"
        );
        let settings = Settings {
            timeout: Some("menu-hidden".to_owned()),
            editor: Some(false),
            console_mode: None,
        };
        let told = wanted(Some(&once), &settings);
        assert_eq!(
            told,
            format!(
                "# mine\nconsole-mode max\ntimeout menu-hidden\neditor no\ndefault {DEFAULT_PATTERN}\n"
            )
        );
        assert_eq!(wanted(Some(&told), &settings), told);
    }

    #[test]
    fn what_the_loader_does_not_read_is_not_kept() {
        let zeroes = "\0".repeat(60);
        assert_eq!(
            wanted(Some(&zeroes), &Settings::default()),
            wanted(None, &Settings::default())
        );
        assert_eq!(
            with_default(Some("timeout 1\r\neditor no\0default x\n"), "y"),
            "timeout 1\neditor no\ndefault y\n"
        );
    }

    /// nixpkgs writes the first for `timeout = null`. Nothing that we write has the machine wait, and nothing else
    /// changes.
    #[test]
    fn a_menu_that_waits_for_ever_gets_an_end() {
        for (timeout, is_endless) in [("menu-force", true), ("65536", true), ("65535", false)] {
            let text = format!("# mine\ntimeout {timeout}\neditor yes\n");
            let written = wanted(Some(&text), &Settings::default());
            assert_eq!(endless_timeout(&written), None);
            assert_eq!(written.contains("timeout 3\n"), is_endless, "{written}");
        }
        let written = wanted(
            Some("timeout 5\ntimeout menu-force\n"),
            &Settings::default(),
        );
        assert!(written.starts_with("timeout 5\neditor"), "{written}");
    }

    proptest! {
        #[test]
        fn whatever_there_was_the_loader_takes_what_is_written(
            text in "(?s)((default|preferred|timeout|timeout (menu-force|99999)|#|\\PC{0,3})[ \t\r\n\0\"@a-z*]{0,4}){0,9}.{0,9}"
        ) {
            let written = wanted(Some(&text), &Settings::default());
            let ours = |default: &str| LoaderConf {
                default: Some(default.to_owned()),
                preferred: None,
                ..LoaderConf::default()
            };
            prop_assert_eq!(LoaderConf::parse(&written), ours(DEFAULT_PATTERN));
            prop_assert_eq!(endless_timeout(&written), None);
            prop_assert_eq!(wanted(Some(&written), &Settings::default()), written);
            prop_assert_eq!(LoaderConf::parse(&with_default(Some(&text), "x.conf")), ours("x.conf"));
        }
    }
}
