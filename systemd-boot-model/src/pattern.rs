//! The loader's shell patterns (`efi_fnmatch`): `*`, `?`, `[set]`, and `\` before what is meant literally.
//!
//! Not fnmatch(3): `[!a]` is a set of two, and ranges do not chain.

/// A pattern, read once.
#[derive(Debug)]
pub(crate) struct Pattern {
    /// What stands between the `*`: at least one. None: malformed, and matches nothing.
    pieces: Option<Vec<Vec<Unit>>>,
}

#[derive(Debug)]
enum Unit {
    Any,
    One(char),
    /// Ranges, both ends included.
    Set(Vec<(char, char)>),
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Self {
        Self {
            pieces: pieces(text),
        }
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let Some((first, later)) = self.pieces.as_ref().and_then(|p| p.split_first()) else {
            return false;
        };
        let Some((last, middle)) = later.split_last() else {
            return first.len() == text.len() && starts(&text, first);
        };
        if !starts(&text, first) {
            return false;
        }
        // The leftmost place for each piece leaves the most to those that follow.
        let mut at = first.len();
        for piece in middle {
            let rest = text.get(at..).unwrap_or_default();
            let Some(skip) =
                (0..=rest.len()).find(|n| starts(rest.get(*n..).unwrap_or(&[]), piece))
            else {
                return false;
            };
            at += skip + piece.len();
        }
        let tail = text
            .len()
            .checked_sub(last.len())
            .filter(|tail| *tail >= at);
        tail.is_some_and(|tail| starts(text.get(tail..).unwrap_or_default(), last))
    }
}

fn starts(text: &[char], piece: &[Unit]) -> bool {
    text.len() >= piece.len() && piece.iter().zip(text).all(|(unit, c)| unit.takes(*c))
}

impl Unit {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => *one == c,
            Self::Set(ranges) => ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)),
        }
    }
}

fn pieces(text: &str) -> Option<Vec<Vec<Unit>>> {
    let mut done = Vec::new();
    let mut piece = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        piece.push(match c {
            '*' => {
                done.push(std::mem::take(&mut piece));
                continue;
            }
            '?' => Unit::Any,
            '\\' => Unit::One(rest.next()?),
            '[' => Unit::Set(set(&mut rest)?),
            one => Unit::One(one),
        });
    }
    done.push(piece);
    Some(done)
}

/// What follows a `[`, up to the `]` that is not the first of the set.
fn set(rest: &mut std::str::Chars<'_>) -> Option<Vec<(char, char)>> {
    let mut ranges: Vec<(char, char)> = Vec::new();
    // What a range could begin with: not the end of another range.
    let mut low = None;
    loop {
        let c = match (rest.next()?, low) {
            (']', _) if !ranges.is_empty() => return Some(ranges),
            ('-', Some(low_end)) if !rest.as_str().starts_with(']') => {
                ranges.push((low_end, literal(rest)?));
                low = None;
                continue;
            }
            ('\\', _) => rest.next()?,
            (c, _) => c,
        };
        ranges.push((c, c));
        low = Some(c);
    }
}

fn literal(rest: &mut std::str::Chars<'_>) -> Option<char> {
    match rest.next()? {
        '\\' => rest.next(),
        c => Some(c),
    }
}
