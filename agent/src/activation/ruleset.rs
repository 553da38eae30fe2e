//! What a ruleset would do to others, read before nft reads it.

use std::io;
use std::path::{Path, PathBuf};

use boot_entries::Root;

use crate::system::program;

/// As nft's own limit on files that include files.
const MAX_DEPTH: usize = 16;

/// What in a ruleset must be looked at, with its line (from 1).
#[derive(Debug, Clone, PartialEq, Eq)]
enum Notable {
    /// `flush ruleset`, of all families or one: the tables of others are in each.
    FlushRuleset(usize),
    /// `include "..."`.
    Include(usize, String),
}

/// Why a ruleset was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It could not be read.
    #[error("cannot read the ruleset {}: {source}", path.display())]
    Read {
        /// The ruleset.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It would remove the tables of others.
    #[error("the ruleset {} says `flush ruleset` in line {line}, which removes the tables of others too: \
             remove its own with `table F N; delete table F N`", path.display())]
    FlushesAll {
        /// The file, the ruleset or one that it includes.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// It includes what cannot be looked into beforehand.
    #[error("the ruleset {} includes {pattern:?} in line {line}: only absolute paths without wildcards can be checked", path.display())]
    Includes {
        /// The file that includes.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What it includes.
        pattern: String,
    },
    /// nft said no.
    #[error("cannot load the ruleset {}: {source}", path.display())]
    Load {
        /// The ruleset.
        path: PathBuf,
        /// What nft said.
        source: program::Error,
    },
    /// What is to be loaded is not known: the configuration could not be read.
    #[error("cannot tell which ruleset to load: {0}")]
    Unknown(String),
}

/// Refuses a ruleset that removes the tables of others, itself or in a file that it includes.
pub(super) fn check(root: &Root, path: &Path) -> Result<(), Refusal> {
    check_at(root, path, MAX_DEPTH)
}

fn check_at(root: &Root, path: &Path, depth: usize) -> Result<(), Refusal> {
    let read =
        |file: PathBuf| std::fs::read(file).map(|b| String::from_utf8_lossy(&b).into_owned());
    let text = root
        .resolve(path)
        .and_then(read)
        .map_err(|source| Refusal::Read {
            path: path.to_owned(),
            source,
        })?;
    for notable in notables(&text) {
        match notable {
            Notable::FlushRuleset(line) => {
                return Err(Refusal::FlushesAll {
                    path: path.to_owned(),
                    line,
                });
            }
            Notable::Include(line, pattern) => {
                let plain =
                    pattern.starts_with('/') && !pattern.contains(['*', '?', '[', '\\', '$']);
                if !plain || depth == 0 {
                    return Err(Refusal::Includes {
                        path: path.to_owned(),
                        line,
                        pattern,
                    });
                }
                check_at(root, Path::new(&pattern), depth - 1)?;
            }
        }
    }
    Ok(())
}

fn notables(text: &str) -> Vec<Notable> {
    let tokens = tokens(text);
    let next = tokens.iter().skip(1).map(Some).chain([None]);
    tokens
        .iter()
        .zip(next)
        .filter_map(|(token, next)| match (token, next) {
            (Token::Word(line, a), Some(Token::Word(_, b))) if a == "flush" && b == "ruleset" => {
                Some(Notable::FlushRuleset(*line))
            }
            (Token::Word(line, word), Some(Token::Quoted(file))) if word == "include" => {
                Some(Notable::Include(*line, file.clone()))
            }
            _ => None,
        })
        .collect()
}

/// As much of nft's lexis as it takes not to be fooled by a comment, a string, or a broken line.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(usize, String),
    Quoted(String),
    Mark,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    let mut line = 1;
    while let Some(c) = chars.next() {
        match c {
            '\n' => {
                line += 1;
                tokens.push(Token::Mark);
            }
            '\\' if chars.peek() == Some(&'\n') => {
                line += 1;
                chars.next();
            }
            '#' => while chars.next_if(|c| *c != '\n').is_some() {},
            '"' => {
                let mut quoted = String::new();
                // nft's strings go on over the end of a line.
                while let Some(c) = chars.next_if(|c| *c != '"') {
                    line += usize::from(c == '\n');
                    quoted.push(c);
                }
                chars.next_if_eq(&'"');
                tokens.push(Token::Quoted(quoted));
            }
            c if c.is_alphanumeric() => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| c.is_alphanumeric() || "-_./".contains(*c)) {
                    word.push(c);
                }
                tokens.push(Token::Word(line, word));
            }
            c if c.is_whitespace() => {}
            _ => tokens.push(Token::Mark),
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_of_all_is_found_however_it_is_written() {
        for (text, line) in [
            ("flush ruleset", 1),
            ("#!/usr/sbin/nft -f\n\nflush\t ruleset\n", 3),
            ("table ip a {}; flush ruleset; table ip b {}", 1),
            ("flush ruleset inet", 1),
            ("# a \"\nflush ruleset # b", 2),
            ("flush \\\n ruleset", 1),
            ("x comment \"a\n\" ; flush ruleset ; y \"b\"", 2),
        ] {
            assert_eq!(notables(text), [Notable::FlushRuleset(line)], "{text:?}");
        }
    }

    #[test]
    fn what_only_looks_like_it_is_none() {
        for text in [
            "",
            "# flush ruleset",
            "table ip a { } # flush ruleset",
            "flush table ip a",
            "add rule ip a b comment \"flush ruleset\"",
            "flush-ruleset",
            "flush ruleset-set",
            "reflush ruleset",
        ] {
            assert_eq!(notables(text), [], "{text:?}");
        }
    }

    #[test]
    fn includes_are_followed_and_wildcards_refused() {
        let tree = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            use std::io::Write;
            let mut file = std::fs::File::create(tree.path().join(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        let root = Root::new(tree.path());
        write("fine", "table ip a {}\n");
        write("bad", "\nflush ruleset\n");
        write("top-fine", "include \"/fine\"\n");
        write("top-bad", "include \"/fine\"\ninclude \"/bad\"\n");
        write("glob", "include \"/rules.d/*.nft\"\n");
        write("loop", "include \"/loop\"\n");
        assert!(check(&root, Path::new("/top-fine")).is_ok());
        let told = |name: &str| check(&root, Path::new(name)).unwrap_err().to_string();
        assert!(
            told("/top-bad").contains("ruleset /bad says"),
            "{}",
            told("/top-bad")
        );
        assert!(
            told("/glob").contains("/rules.d/*.nft"),
            "{}",
            told("/glob")
        );
        assert!(told("/loop").contains("includes"), "{}", told("/loop"));
        assert!(
            told("/absent").contains("cannot read"),
            "{}",
            told("/absent")
        );
    }
}
