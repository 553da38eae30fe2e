//! How answers look on a terminal: colour and width. In a pipe they are plain, and no line is broken.
//!
//! [`Style::of`] decides, from plain facts; [`Style::table`] lays out. Both are pure. Colour is never the only carrier
//! of a meaning: each coloured word says by itself what it says.

use std::ffi::OsStr;
use std::io::{IsTerminal as _, stdout};

use anstyle::{AnsiColor, Effects};
use boot_entries::bounded;

/// What somebody is to make of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// Nothing beyond what it says.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// It works, and something is to be known about it.
    Limit,
    /// Something is to be done.
    Bad,
    /// What stands over other words, or names them.
    Heading,
}

/// What is known of where an answer goes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// Standard output is a terminal.
    pub is_terminal: bool,
    /// `NO_COLOR`: any value but an empty one forbids colour.
    pub no_color: Option<&'a OsStr>,
    /// `TERM`.
    pub term: Option<&'a OsStr>,
    /// How many columns the terminal says it has.
    pub columns: Option<u16>,
}

/// How an answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    colour: bool,
    /// In characters. None: lines are as long as they are.
    width: Option<usize>,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A piece with a tone.
    #[must_use]
    pub fn new(tone: Tone, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { text, tone }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(Tone::Plain, text)
    }
}

/// A line of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Cells, one for each column.
    Row(Vec<Cell>),
    /// What belongs to the row before it, in no column.
    Note(Cell),
}

/// What is between two columns.
const GAP: usize = 2;
/// How far a line goes in that continues another one.
const INDENT: usize = 4;
/// A column of running text that is narrower cannot be read.
const NARROWEST: usize = 28;
/// No terminal is narrower: what claims to be does not know.
const LEAST: u16 = 20;

impl Style {
    /// How an answer looks there.
    #[must_use]
    pub fn of(there: &Surroundings<'_>) -> Self {
        let is_forbidden = there.no_color.is_some_and(|value| !value.is_empty());
        let is_dumb = there.term.is_none_or(|name| name == "dumb");
        let columns = there.columns.filter(|columns| *columns >= LEAST);
        Self {
            colour: there.is_terminal && !is_forbidden && !is_dumb,
            width: columns.filter(|_| there.is_terminal).map(usize::from),
        }
    }

    /// How answers of this process look.
    #[must_use]
    pub fn here() -> Self {
        let variable = |name| std::env::var_os(name);
        let (no_color, term) = (variable("NO_COLOR"), variable("TERM"));
        let stdout = stdout();
        Self::of(&Surroundings {
            is_terminal: stdout.is_terminal(),
            no_color: no_color.as_deref(),
            term: term.as_deref(),
            columns: terminal_size::terminal_size_of(stdout).map(|(width, _)| width.0),
        })
    }

    /// `text` in its tone.
    #[must_use]
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let style = match tone {
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Limit => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default().effects(Effects::BOLD),
            Tone::Heading => anstyle::Style::new().bold(),
            Tone::Plain => return text.to_owned(),
        };
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        format!("{style}{text}{style:#}")
    }

    /// `cell` as lines, the first one after `before` and the others below it.
    #[must_use]
    pub fn paragraph(self, before: &str, cell: &Cell) -> String {
        let indent = before.chars().count();
        let mut text = before.to_owned();
        for (number, piece) in self.broken(cell, indent).iter().enumerate() {
            if number > 0 {
                text.push_str(&" ".repeat(indent));
            }
            text.push_str(piece);
            text.push('\n');
        }
        text
    }

    /// Columns, each as wide as its widest cell. Where that is too wide the columns `first_to_go` are left out, in this
    /// order; then the last column is broken into lines, and where that cannot be read either, what does not fit beside
    /// the first columns comes below them.
    #[must_use]
    pub fn table(self, lines: &[Line], first_to_go: &[usize]) -> String {
        let mut lines = lines.to_vec();
        let mut gone: Vec<usize> = Vec::new();
        for column in first_to_go {
            if self.fits(&widths(&lines)) {
                break;
            }
            // Those before it that are gone do not count any more.
            let at = column - gone.iter().filter(|gone| *gone < column).count();
            for line in &mut lines {
                if let Line::Row(cells) = line
                    && at < cells.len()
                {
                    cells.remove(at);
                }
            }
            gone.push(*column);
        }
        let widths = widths(&lines);
        let beside = self.beside(&widths);
        let text = lines.iter().map(|line| match line {
            Line::Row(cells) => self.row(cells, &widths, beside),
            Line::Note(cell) => self.paragraph(&" ".repeat(INDENT), cell),
        });
        text.collect()
    }

    fn fits(self, widths: &[usize]) -> bool {
        self.width.is_none_or(|width| length(widths) <= width)
    }

    /// How many columns stand beside each other.
    fn beside(self, widths: &[usize]) -> usize {
        let Some(width) = self.width else {
            return widths.len();
        };
        let but_last = widths.len().saturating_sub(1);
        let head = length(widths.get(..but_last).unwrap_or_default()) + GAP;
        if length(widths) <= width || head + NARROWEST <= width {
            return widths.len();
        }
        let fit = |count: &usize| length(widths.get(..*count).unwrap_or_default()) <= width;
        (1..=but_last).rev().find(fit).unwrap_or(1)
    }

    fn row(self, cells: &[Cell], widths: &[usize], beside: usize) -> String {
        let (head, below) = cells.split_at(beside.min(cells.len()));
        let (last, columns) = match head.split_last() {
            Some((last, columns)) => (last.clone(), columns),
            None => (Cell::default(), head),
        };
        let mut before = String::new();
        let mut indent = 0;
        for (cell, width) in columns.iter().zip(widths) {
            before.push_str(&self.paint(cell.tone, &plain(&cell.text)));
            before.push_str(&" ".repeat(width.saturating_sub(cell.width()) + GAP));
            indent += width + GAP;
        }
        let pieces = self
            .broken(&last, indent)
            .join(&format!("\n{}", " ".repeat(indent)));
        let mut text = format!("{before}{pieces}").trim_end().to_owned() + "\n";
        for cell in below.iter().filter(|cell| !cell.text.is_empty()) {
            text.push_str(&self.paragraph(&" ".repeat(INDENT), cell));
        }
        text
    }

    /// The lines of `cell`, where there is as much room as `indent` leaves. Each has its colour of its own.
    fn broken(self, cell: &Cell, indent: usize) -> Vec<String> {
        let text = plain(&cell.text);
        let room = self.width.map(|width| width.saturating_sub(indent));
        let lines = match room {
            Some(room) => wrapped(&text, room),
            None => vec![text],
        };
        lines
            .iter()
            .map(|line| self.paint(cell.tone, line))
            .collect()
    }
}

/// Names and messages may be anybody's: nothing of them moves a cursor.
fn plain(text: &str) -> String {
    bounded::one_line(text, usize::MAX)
}

fn widths(lines: &[Line]) -> Vec<usize> {
    let mut widths: Vec<usize> = Vec::new();
    for line in lines {
        let Line::Row(cells) = line else { continue };
        for (column, cell) in cells.iter().enumerate() {
            match widths.get_mut(column) {
                Some(width) => *width = cell.width().max(*width),
                None => widths.push(cell.width()),
            }
        }
    }
    widths
}

fn length(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

/// `text` in lines of at most `room` characters. What has no blank in it is never broken: a path or the name of a unit
/// is there to be copied. So is what stands between backquotes, if it has room in a line.
#[must_use]
pub fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in words(text, room) {
        let length = line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && length > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    lines.push(line);
    lines
}

/// What is not to be broken, piece by piece.
fn words(text: &str, room: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut quoted: Option<Vec<&str>> = None;
    for word in text.split(' ') {
        let has_odd = word.matches('`').count() % 2 == 1;
        match quoted.take() {
            None if has_odd => quoted = Some(vec![word]),
            None => all.push(word.to_owned()),
            Some(mut open) => {
                open.push(word);
                if !has_odd {
                    quoted = Some(open);
                    continue;
                }
                let whole = open.join(" ");
                if whole.chars().count() <= room {
                    all.push(whole);
                } else {
                    all.extend(open.into_iter().map(str::to_owned));
                }
            }
        }
    }
    all.extend(quoted.into_iter().flatten().map(str::to_owned));
    all
}

#[cfg(test)]
mod tests;
