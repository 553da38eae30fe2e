//! As much of nft's language as it takes to find what must be looked at.

use std::fmt;

/// Where something is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A table of the kernel's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Table {
    /// `inet`, `ip`, ...
    pub family: String,
    /// Its name within the family.
    pub name: String,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// What in a ruleset must be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notable {
    /// `flush ruleset`, of all families or one: the tables of others are in each.
    FlushRuleset(Place),
    /// `include "..."`.
    Include(Place, String),
    /// A table that it makes, or adds to.
    Table(Table),
    /// `flags owner` of a table: it is gone when nft ends.
    Owner(Place),
}

/// What a table may be of. Without a word it is of the first one.
const FAMILIES: [&str; 6] = ["ip", "ip6", "inet", "arp", "bridge", "netdev"];

/// Everything notable, in the order of the text.
pub(super) fn notables(text: &str) -> Vec<Notable> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    let mut depth = 0_usize;
    let mut rest = tokens.as_slice();
    // What stands before on the same statement: `add table` makes one, `delete table` does not.
    let mut before: Option<&str> = None;
    while let Some((token, after)) = rest.split_first() {
        rest = after;
        match token {
            Token::Open => depth += 1,
            Token::Close => depth = depth.saturating_sub(1),
            Token::Word(place, word) => {
                found.extend(match (word.as_str(), depth) {
                    ("flush", _) => {
                        is_word(after.first(), "ruleset").then_some(Notable::FlushRuleset(*place))
                    }
                    ("include", _) => match after.first() {
                        Some(Token::Quoted(file)) => Some(Notable::Include(*place, file.clone())),
                        _ => None,
                    },
                    ("table", 0) if matches!(before, None | Some("add" | "create")) => {
                        table(after).map(Notable::Table)
                    }
                    ("flags", 1) if before.is_none() => {
                        let mut flags = after.iter().take_while(|token| **token != Token::End);
                        flags
                            .any(|flag| is_word(Some(flag), "owner"))
                            .then_some(Notable::Owner(*place))
                    }
                    _ => None,
                });
            }
            Token::Quoted(_) | Token::End | Token::Mark => {}
        }
        before = match token {
            Token::Word(_, word) => Some(word),
            Token::Quoted(_) | Token::Mark => Some(""),
            Token::Open | Token::Close | Token::End => None,
        };
    }
    found
}

fn is_word(token: Option<&Token>, word: &str) -> bool {
    matches!(token, Some(Token::Word(_, text)) if text == word)
}

fn table(after: &[Token]) -> Option<Table> {
    let word = |at: usize| match after.get(at) {
        Some(Token::Word(_, word)) => Some(word.clone()),
        _ => None,
    };
    let first = word(0)?;
    let (family, name) = if FAMILIES.contains(&first.as_str()) {
        (first, word(1)?)
    } else {
        ("ip".to_owned(), first)
    };
    Some(Table { family, name })
}

/// As much of nft's lexis as it takes not to be fooled by a comment, a string, or a broken line.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(Place, String),
    Quoted(String),
    Open,
    Close,
    /// Of a statement.
    End,
    Mark,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut text = Text::new(text);
    while let Some((place, c)) = text.next() {
        match c {
            '\n' | ';' => tokens.push(Token::End),
            '\\' if text.next_if(|c| c == '\n').is_some() => {}
            '#' => while text.next_if(|c| c != '\n').is_some() {},
            '"' => {
                let mut quoted = String::new();
                // nft's strings go on over the end of a line.
                while let Some(c) = text.next_if(|c| c != '"') {
                    quoted.push(c);
                }
                text.next_if(|c| c == '"');
                tokens.push(Token::Quoted(quoted));
            }
            '{' => tokens.push(Token::Open),
            '}' => tokens.push(Token::Close),
            c if c.is_alphanumeric() || "_.".contains(c) => {
                let mut word = String::from(c);
                while let Some(c) = text.next_if(|c| c.is_alphanumeric() || "-_./".contains(c)) {
                    word.push(c);
                }
                tokens.push(Token::Word(place, word));
            }
            c if c.is_whitespace() => {}
            _ => tokens.push(Token::Mark),
        }
    }
    tokens
}

/// A text that is read from its beginning to its end.
struct Text<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    at: Place,
}

impl<'a> Text<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            chars: text.chars().peekable(),
            at: Place { line: 1, column: 1 },
        }
    }

    fn next(&mut self) -> Option<(Place, char)> {
        let c = self.chars.next()?;
        let place = self.at;
        self.at = match c {
            '\n' => Place {
                line: place.line + 1,
                column: 1,
            },
            _ => Place {
                column: place.column + 1,
                ..place
            },
        };
        Some((place, c))
    }

    fn next_if(&mut self, wanted: impl Fn(char) -> bool) -> Option<char> {
        let next = *self.chars.peek()?;
        if !wanted(next) {
            return None;
        }
        self.next().map(|(_, c)| c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_of_all_is_found_however_it_is_written() {
        for (text, line, column) in [
            ("flush ruleset", 1, 1),
            ("#!/usr/sbin/nft -f\n\nflush\t ruleset\n", 3, 1),
            ("table ip a {}; flush ruleset; table ip b {}", 1, 16),
            ("flush ruleset inet", 1, 1),
            ("# a \"\n flush ruleset # b", 2, 2),
            ("flush \\\n ruleset", 1, 1),
            ("x comment \"a\n\" ; flush ruleset ; y \"b\"", 2, 5),
        ] {
            let mut found = notables(text);
            found.retain(|notable| !matches!(notable, Notable::Table(_)));
            let place = Place { line, column };
            assert_eq!(found, [Notable::FlushRuleset(place)], "{text:?}");
        }
    }

    #[test]
    fn what_only_looks_like_it_is_none() {
        for text in [
            "",
            "# flush ruleset",
            "# table ip a { }",
            "flush table ip a",
            "delete table ip a",
            "list table ip a",
            "add rule ip a b comment \"flush ruleset\"",
            "flush-ruleset",
            "flush ruleset-set",
            "reflush ruleset",
            "_flush ruleset",
            "add rule ip a table accept",
        ] {
            assert_eq!(notables(text), [], "{text:?}");
        }
    }

    #[test]
    fn the_tables_that_it_makes_are_found() {
        for (text, expected) in [
            ("table inet a { chain b { } }", "inet a"),
            ("table a { }", "ip a"),
            ("add table ip6 a; delete table ip6 a", "ip6 a"),
            ("create table arp a.b/c-d", "arp a.b/c-d"),
            ("define x = { 1, 2 }\ntable netdev _a {}", "netdev _a"),
            ("table \\\n bridge \\\n a { }", "bridge a"),
            (
                "table ip a { set s { elements = { 1.2.3.4 }\n}\n}\ntable ip6 b {\n}\n",
                "ip a, ip6 b",
            ),
            // Inside of one it is something else.
            ("table ip a { chain table { } }", "ip a"),
        ] {
            let tables: Vec<String> = notables(text)
                .into_iter()
                .filter_map(|notable| match notable {
                    Notable::Table(table) => Some(table.to_string()),
                    _ => None,
                })
                .collect();
            assert_eq!(tables.join(", "), expected, "{text:?}");
        }
    }

    #[test]
    fn a_table_that_goes_with_nft_is_found() {
        let owner = |text: &str| {
            let found = notables(text);
            found
                .iter()
                .any(|notable| matches!(notable, Notable::Owner(_)))
        };
        assert!(owner("table ip a { flags owner; }"));
        assert!(owner("table ip a {\n\tflags dormant, owner\n}"));
        assert!(!owner("table ip a { flags dormant; set owner { } }"));
        assert!(!owner(
            "table ip a { set s { flags dynamic; comment \"owner\"; } }"
        ));
    }
}
