//! What was probably meant by a key that nobody knows.

/// What was probably meant by `typed`, of the names that can stand there: a misspelt one, or one as NixOS or systemd would
/// spell it.
#[must_use]
pub fn nearest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = plain(typed);
    let distances = names.into_iter().map(|name| {
        let name_plain = plain(name);
        let distance = strsim::damerau_levenshtein(&name_plain, &typed);
        // A third of the letters wrong is another word.
        (
            distance,
            distance * 3 <= name_plain.len().max(typed.len()),
            name,
        )
    });
    let near = distances.filter(|(_, is_near, _)| *is_near);
    near.min_by_key(|(distance, ..)| *distance)
        .map(|(.., name)| name)
}

/// `allowedTCPPorts`, `allowed_tcp_ports` and `allowed-tcp-ports` are the same to a person.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}
