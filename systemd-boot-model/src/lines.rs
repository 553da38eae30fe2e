//! The lines of entries and of loader.conf.

use std::borrow::Cow;

/// What of a file the loader reads: up to the first NUL.
#[must_use]
pub fn read_part(text: &str) -> &str {
    text.split_once('\0').map_or(text, |(read, _)| read)
}

/// What a value loses when it stands at both its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quotes {
    /// `"`: what every loader takes for a quote.
    Double,
    /// Either `"` or `'`, as newer ones do.
    Both,
}

impl Quotes {
    /// Keys and values as the loader takes a file apart: without comments, a value without its quotes. Between key and
    /// value is any number of `separators`.
    pub(crate) fn lines<'a>(
        self,
        text: &'a str,
        separators: &'static [char],
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let text = read_part(text);
        let has_returns = text.contains('\r');
        let mut rest = Some(text);
        let lines = std::iter::from_fn(move || {
            let (line, more) = first_line(rest?, has_returns);
            rest = more;
            Some(line)
        });
        lines.filter_map(move |line| {
            let line = line.trim_matches(BLANKS);
            let (key, value) = divided(line, |byte| separators.contains(&char::from(byte)));
            let value = value?.trim_start_matches(separators);
            (!line.starts_with('#')).then_some((key, self.unquoted(value)))
        })
    }

    fn unquoted(self, value: &str) -> &str {
        let quote = value.chars().next();
        let quote = quote.filter(|c| *c == '"' || *c == '\'' && self == Self::Both);
        let inside = quote.filter(|quote| value.ends_with(*quote)).map(|quote| {
            let rest = value.strip_prefix(quote).unwrap_or_default();
            rest.strip_suffix(quote).unwrap_or(rest)
        });
        inside.unwrap_or(value)
    }
}

/// Keys and values as every loader takes entries and loader.conf apart.
pub fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    Quotes::Double.lines(text, &BLANKS)
}

const BLANKS: [char; 2] = [' ', '\t'];

/// The first line, and what comes after it; None: that was the last one.
///
/// A carriage return ends one, too. Hardly any text has one, which `has_returns` says.
fn first_line(text: &str, has_returns: bool) -> (&str, Option<&str>) {
    let (line, rest) = match text.split_once('\n') {
        Some((line, rest)) => (line, Some(rest)),
        None => (text, None),
    };
    let return_at = if has_returns { line.find('\r') } else { None };
    match return_at {
        Some(at) => (line.get(..at).unwrap_or_default(), text.get(at + 1..)),
        None => (line, rest),
    }
}

/// What comes before and after the first byte that is `end`; None: there is none. Byte by byte, because a run takes
/// hundreds of files apart, and `str::split` looks for characters.
fn divided(text: &str, end: impl Fn(u8) -> bool) -> (&str, Option<&str>) {
    match text.bytes().position(end) {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..)),
        None => (text, None),
    }
}

/// `value` as a line needs it for [`lines`] to give it back.
#[must_use]
pub fn quoted(value: &str) -> Cow<'_, str> {
    let is_blank = |c| matches!(c, ' ' | '\t');
    let is_quoted = value.starts_with('"') && value.ends_with('"');
    if value.is_empty() || value.starts_with(is_blank) || value.ends_with(is_blank) || is_quoted {
        Cow::Owned(format!("\"{value}\""))
    } else {
        Cow::Borrowed(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_at_either_character() {
        for text in [
            "a 1\nb 2\rc 3",
            "a 1\rb 2\nc 3\n",
            "\n\ra 1\r\nb 2\r\rc 3\r",
            "a 1\r\r\nb 2\n\nc 3",
        ] {
            let read: Vec<_> = lines(text).collect();
            assert_eq!(read, [("a", "1"), ("b", "2"), ("c", "3")], "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for value in [
            "x", "a b", "\"x\"", "\"\"", "\"", "", " x", "x\t", "a\" \"b", "\"a\" b",
        ] {
            let line = format!("key {}", quoted(value));
            let read: Vec<_> = lines(&line).collect();
            assert_eq!(read, [("key", value)], "{line}");
        }
    }
}
