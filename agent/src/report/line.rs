//! How an error is told to a person: what, where, why, and what to do, in one line.

use std::error::Error;

use nix::unistd::geteuid;

use crate::report::advice::{Asker, advice, cause_of, chain};

/// How the standard library ends what the kernel said.
const NUMBER: &str = " (os error ";

/// An error, everything that led to it, and what to do about it, in one line.
#[must_use]
pub fn one_line(error: &(dyn Error + 'static)) -> String {
    let asker = if geteuid().is_root() {
        Asker::Root
    } else {
        Asker::User
    };
    let parts: Vec<String> = chain(error).map(ToString::to_string).collect();
    let line = plain(&parts.join(": "));
    match cause_of(error) {
        Some(cause) => format!("{line}; {}", advice(cause, asker)),
        None => line,
    }
}

/// `text` in one line, without the kernel's numbers: the words before them say it.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut plain = text.replace('\n', "; ");
    let mut from = 0;
    while let Some(found) = plain.get(from..).and_then(|rest| rest.find(NUMBER)) {
        let at = from + found;
        let digits = plain.get(at + NUMBER.len()..).unwrap_or_default();
        let count = digits.bytes().take_while(u8::is_ascii_digit).count();
        let end = at + NUMBER.len() + count;
        if count > 0 && plain.get(end..=end) == Some(")") {
            plain.replace_range(at..=end, "");
            from = at;
        } else {
            from = at + NUMBER.len();
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::error::Error;
    use nix::errno::Errno;

    #[test]
    fn the_whole_chain_once() {
        let source = std::io::Error::other("disk\non fire");
        let what = "/efi".to_owned();
        let line = one_line(&Error::Read { what, source });
        assert_eq!(line, "cannot read /efi: disk; on fire");
        let mistake = config::Config::parse("x").unwrap_err();
        assert!(!one_line(&mistake).contains('\n'));
    }

    #[test]
    fn what_the_kernel_says_comes_with_what_to_do_and_without_numbers() {
        let source = Errno::EISDIR.into();
        let what = "/efi".to_owned();
        let line = one_line(&Error::Read { what, source });
        let begin =
            "cannot read /efi: Is a directory; a directory is where a file has to be: move it away";
        assert!(line.starts_with(begin), "{line}");
        assert!(!line.contains("os error"), "{line}");
    }

    #[test]
    fn numbers_go_wherever_they_are_and_nothing_else_does() {
        for (text, shown) in [
            ("a (os error 2), b (os error 40)", "a, b"),
            ("(os error 2)", "(os error 2)"),
            ("a (os error )", "a (os error )"),
            ("x (os error y) (os error 5)", "x (os error y)"),
            ("ends (os error 5", "ends (os error 5"),
            ("ü (os error 1)\nz", "ü; z"),
        ] {
            assert_eq!(plain(text), shown);
        }
    }
}
