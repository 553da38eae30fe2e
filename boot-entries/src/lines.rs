//! The lines of entries and of loader.conf.

use std::borrow::Cow;

/// What of a file the loader reads: up to the first NUL.
pub(crate) fn read_part(text: &str) -> &str {
    text.split('\0').next().unwrap_or_default()
}

/// Keys and values as the loader takes a file apart: without comments, a value without its quotes.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    read_part(text).split(['\n', '\r']).filter_map(|line| {
        let line = line.trim_matches([' ', '\t']);
        let (key, value) = line.split_once([' ', '\t'])?;
        let value = value.trim_start_matches([' ', '\t']);
        let unquoted = value
            .strip_prefix('"')
            .map(|v| v.strip_suffix('"').unwrap_or(v));
        let is_quoted = value.starts_with('"') && line.ends_with('"');
        let value = unquoted.filter(|_| is_quoted).unwrap_or(value);
        (!line.starts_with('#')).then_some((key, value))
    })
}

/// `value` as a line needs it for [`lines`] to give it back.
pub(crate) fn quoted(value: &str) -> Cow<'_, str> {
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
