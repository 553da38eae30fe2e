//! How much room a file system must have.

use std::fmt;

use serde::Deserialize;

/// So much, or such a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Text")]
pub enum Room {
    /// Bytes.
    Bytes(u64),
    /// Hundredths of the whole.
    Percent(u8),
}

impl Room {
    /// Whether `free` of `all` bytes is that much.
    #[must_use]
    pub fn is_in(self, free: u64, all: u64) -> bool {
        match self {
            Self::Bytes(bytes) => free >= bytes,
            Self::Percent(percent) => {
                u128::from(free) * 100 >= u128::from(all) * u128::from(percent)
            }
        }
    }
}

/// A number or a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Number(u64),
    Text(String),
}

/// As systemd and df have them: each a thousand and twenty-four of the one before.
const UNITS: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];

impl TryFrom<Text> for Room {
    type Error = String;

    fn try_from(text: Text) -> Result<Self, String> {
        let text = match text {
            Text::Number(bytes) => return Ok(Self::Bytes(bytes)),
            Text::Text(text) => text,
        };
        let wrong = || {
            format!(
                "{text:?} is no amount of room: say bytes, or such as \"500M\", \"2G\" or \"10%\""
            )
        };
        if let Some(number) = text.strip_suffix('%') {
            let percent = number.parse().ok().filter(|percent| *percent <= 100);
            return percent.map(Self::Percent).ok_or_else(wrong);
        }
        let with_unit = UNITS
            .iter()
            .find_map(|(letter, shift)| Some((text.strip_suffix(*letter)?, *shift)));
        let (number, shift) = with_unit.unwrap_or((&text, 0));
        let number: u64 = number.parse().ok().ok_or_else(wrong)?;
        number
            .checked_mul(1 << shift)
            .map(Self::Bytes)
            .ok_or_else(wrong)
    }
}

/// As it is written: the largest unit that it is a whole number of.
impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Bytes(bytes) => {
                let whole = |(_, shift): &&(char, u32)| *bytes > 0 && bytes % (1 << shift) == 0;
                match UNITS.iter().rev().find(whole) {
                    Some((letter, shift)) => write!(f, "{}{letter}", bytes >> shift),
                    None => write!(f, "{bytes} bytes"),
                }
            }
        }
    }
}
