//! The lines of entries and of loader.conf.

/// Keys and values as the loader takes a file apart: up to the first NUL, without comments, a value without its quotes.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let text = text.split('\0').next().unwrap_or_default();
    text.split(['\n', '\r']).filter_map(|line| {
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
