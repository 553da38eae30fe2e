//! A line of the record: a JSON array of texts and numbers, taken field by field.

use std::borrow::Cow;

/// What is left of a line.
pub(super) struct Line<'a> {
    rest: &'a str,
    is_first: bool,
}

impl<'a> Line<'a> {
    /// Begins with a line. None: it is no array.
    pub(super) fn begin(line: &'a str) -> Option<Self> {
        let rest = line.strip_prefix('[')?;
        Some(Self {
            rest,
            is_first: true,
        })
    }

    /// Whether the array ends here, and the line with it.
    pub(super) fn end(self) -> Option<()> {
        (self.rest == "]").then_some(())
    }

    /// The next field, a text.
    pub(super) fn text(&mut self) -> Option<Cow<'a, str>> {
        let before = self.rest;
        let text = self.word()?;
        // Hardly any has something that is written otherwise.
        if text.contains('\\') {
            self.rest = before.strip_prefix(',').unwrap_or(before);
            return self.escaped();
        }
        Some(Cow::Borrowed(text))
    }

    /// The next field, a text in which nothing is written otherwise.
    pub(super) fn word(&mut self) -> Option<&'a str> {
        self.next_field()?;
        self.skip(b'"')?;
        let (text, rest) = self.rest.split_once('"')?;
        self.rest = rest;
        Some(text)
    }

    fn escaped(&mut self) -> Option<Cow<'a, str>> {
        let mut texts = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
        let text = texts.next()?.ok()?;
        self.rest = self.rest.get(texts.byte_offset()..)?;
        Some(Cow::Owned(text))
    }

    /// The next field, a number.
    pub(super) fn number(&mut self) -> Option<u64> {
        self.next_field()?;
        self.digits()
    }

    /// The next field, a number that may be negative.
    pub(super) fn signed(&mut self) -> Option<i64> {
        self.next_field()?;
        match self.skip(b'-') {
            Some(()) => 0_i64.checked_sub_unsigned(self.digits()?),
            None => self.digits()?.try_into().ok(),
        }
    }

    fn digits(&mut self) -> Option<u64> {
        let mut value: u64 = 0;
        let mut count = 0;
        for byte in self.rest.bytes() {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            value = value.checked_mul(10)?.checked_add(digit.into())?;
            count += 1;
        }
        self.rest = self.rest.get(count..)?;
        (count > 0).then_some(value)
    }

    /// Goes on to the next field.
    fn next_field(&mut self) -> Option<()> {
        if std::mem::take(&mut self.is_first) {
            return Some(());
        }
        self.skip(b',')
    }

    /// Goes on behind `byte`, a character by itself, if that comes next. By bytes: a run asks thousands of times.
    fn skip(&mut self, byte: u8) -> Option<()> {
        let (first, _) = self.rest.as_bytes().split_first()?;
        if *first != byte {
            return None;
        }
        self.rest = self.rest.get(1..)?;
        Some(())
    }
}

/// Writes a text.
pub(super) fn text(line: &mut String, text: &str) {
    // A text is one that can be written.
    line.push_str(&serde_json::to_string(text).unwrap_or_default());
}

/// Writes a number that is not the first field.
pub(super) fn number(line: &mut String, value: impl ToString + Copy) {
    line.push(',');
    line.push_str(&value.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(
            name in "(?s).{0,9}", one in any::<u64>(), other in any::<i64>(), last in "[a\"\\\\,\\]]{0,4}"
        ) {
            let mut written = "[".to_owned();
            text(&mut written, &name);
            number(&mut written, one);
            number(&mut written, other);
            written.push(',');
            text(&mut written, &last);
            written.push(']');
            prop_assert!(!written.contains('\n'), "{}", written);
            let json: serde_json::Value = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(json, serde_json::json!([name, one, other, last]));
            let mut line = Line::begin(&written).unwrap();
            prop_assert_eq!(line.text(), Some(name.into()));
            prop_assert_eq!(line.number(), Some(one));
            prop_assert_eq!(line.signed(), Some(other));
            prop_assert_eq!(line.text(), Some(last.into()));
            prop_assert!(line.end().is_some());
        }
    }

    #[test]
    fn what_is_odd_is_nothing() {
        for odd in [
            "[]",
            "[-]",
            "[,1]",
            "[x]",
            "[18446744073709551616]",
            "[\"1\"]",
            "[ 1]",
            "[+1]",
            "",
        ] {
            let number = Line::begin(odd).and_then(|mut line| line.number());
            let signed = Line::begin(odd).and_then(|mut line| line.signed());
            assert_eq!((number, signed), (None, None), "{odd}");
        }
        for odd in ["[]", "[\"]", "[1]", "[\"\\\"]", "[\"\\x\"]", "[ \"\"]", ""] {
            let text = Line::begin(odd).and_then(|mut line| line.text());
            assert_eq!(text, None, "{odd}");
        }
        for odd in ["[9223372036854775808]", "[-9223372036854775809]", "[--1]"] {
            assert_eq!(Line::begin(odd).unwrap().signed(), None, "{odd}");
        }
        let mut line = Line::begin("[1,\"a\",2]").unwrap();
        assert_eq!(line.number(), Some(1));
        assert_eq!(line.number(), None, "a text");
        let mut line = Line::begin("[1 ,2]").unwrap();
        assert_eq!(line.number(), Some(1));
        assert_eq!(line.number(), None, "a blank");
        assert!(Line::begin("[1,2]").is_some_and(|line| line.end().is_none()));
    }
}
