//! The order of versions: UAPI.10, as systemd's `strverscmp_improved()` has it.
//!
//! The crate `uapi-version` keeps leading zeros (`010` is newer than `24` to it), so this is our own.

use std::cmp::Ordering;

/// Which of two versions is newer: that one is greater.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    // As ours are. What follows would come to the same.
    let is_number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if is_number(a) && is_number(b) {
        return numbers(&mut a, &mut b);
    }
    loop {
        a = from(a, |byte| is_part(*byte));
        b = from(b, |byte| is_part(*byte));
        // `1~rc1` is older than `1`, so this comes before the look at the end.
        let by_tilde = separator(&mut a, &mut b, b'~');
        if by_tilde.is_ne() {
            return by_tilde;
        }
        if a.is_empty() || b.is_empty() {
            return a.len().cmp(&b.len());
        }
        for mark in *b"-^." {
            let by_mark = separator(&mut a, &mut b, mark);
            if by_mark.is_ne() {
                return by_mark;
            }
        }
        let is_number = |text: &[u8]| text.first().is_some_and(u8::is_ascii_digit);
        let order = if is_number(a) || is_number(b) {
            numbers(&mut a, &mut b)
        } else {
            words(&mut a, &mut b)
        };
        if order.is_ne() {
            return order;
        }
    }
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"~-^.".contains(&byte)
}

/// What begins with the first byte that is `wanted`.
fn from(text: &[u8], wanted: impl Fn(&u8) -> bool) -> &[u8] {
    let at = text.iter().position(wanted).unwrap_or(text.len());
    text.get(at..).unwrap_or_default()
}

/// Splits off what comes before the first byte that is `end`.
fn take<'a>(text: &mut &'a [u8], end: impl Fn(&u8) -> bool) -> &'a [u8] {
    let rest = from(text, end);
    let (taken, _) = text.split_at(text.len() - rest.len());
    *text = rest;
    taken
}

/// A part with the mark is older than one without; where both have it, it is passed over.
fn separator(a: &mut &[u8], b: &mut &[u8], mark: u8) -> Ordering {
    match (a.strip_prefix(&[mark]), b.strip_prefix(&[mark])) {
        (Some(rest_a), Some(rest_b)) => {
            (*a, *b) = (rest_a, rest_b);
            Ordering::Equal
        }
        (rest_a, rest_b) => rest_b.is_some().cmp(&rest_a.is_some()),
    }
}

/// By value. A missing number is older than any.
fn numbers(a: &mut &[u8], b: &mut &[u8]) -> Ordering {
    let (a, b) = (
        take(a, |b| !b.is_ascii_digit()),
        take(b, |b| !b.is_ascii_digit()),
    );
    let value = |digits| from(digits, |digit| *digit != b'0');
    let (value_a, value_b) = (value(a), value(b));
    a.is_empty()
        .cmp(&b.is_empty())
        .reverse()
        .then(value_a.len().cmp(&value_b.len()))
        .then(value_a.cmp(value_b))
}

/// Letter by letter; the longer of two that begin alike is newer.
fn words(a: &mut &[u8], b: &mut &[u8]) -> Ordering {
    take(a, |b| !b.is_ascii_alphabetic()).cmp(take(b, |b| !b.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first list is the one in UAPI.10.
    #[test]
    fn newer_ones_are_greater() {
        for chain in [
            &[
                "122.1",
                "123~rc1-1",
                "123",
                "123-a",
                "123-a.1",
                "123-1",
                "123-1.1",
                "123^post1",
                "123.a-1",
                "123.1-1",
                "123a-1",
                "124-1",
            ][..],
            &["", "0", "9", "010", "24.05", "0100"],
            &["1~", "1~~", "1~a", "1", "1-", "1-a", "1."],
            &["A", "AB", "B", "a", "aB", "ab", "1"],
        ] {
            for (at, old) in chain.iter().enumerate() {
                assert_eq!(compare(old, old), Ordering::Equal, "{old}");
                for new in &chain[at + 1..] {
                    assert_eq!(compare(old, new), Ordering::Less, "{old} {new}");
                    assert_eq!(compare(new, old), Ordering::Greater, "{new} {old}");
                }
            }
        }
        for (a, b) in [("1.2", "1_.2"), ("007", "7"), ("0", "00"), ("a_", "a")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
    }
}
