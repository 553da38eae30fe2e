//! A manual page, in the macros of man(7).

use clap_mangen::roff::{Roff, bold, roman};

/// One that is being written.
pub(super) struct Page(Roff);

impl Page {
    /// `lastgood(8)` is called `lastgood`, of section 8.
    pub(super) fn new(name: &str, section: u8, about: &str) -> Self {
        let mut page = Roff::new();
        let version = concat!("lastgood ", env!("CARGO_PKG_VERSION"));
        page.control("TH", [name, &section.to_string(), "", version, about]);
        Self(page)
    }

    /// A section of it.
    pub(super) fn section(&mut self, title: &str) {
        self.0.control("SH", [title]);
    }

    /// A part of a section.
    pub(super) fn part(&mut self, title: &str) {
        self.0.control("SS", [title]);
    }

    /// A paragraph. Where it is a sentence without its full stop, as clap leaves the first one of an option, it gets one.
    pub(super) fn text(&mut self, text: &str) {
        let is_sentence = text.contains(' ') && text.ends_with(char::is_alphanumeric);
        let stop = if is_sentence { "." } else { "" };
        self.0.text([roman(format!("{text}{stop}"))]);
    }

    /// Text that is no sentence: a name, a command.
    pub(super) fn words(&mut self, text: &str) {
        self.0.text([roman(text)]);
    }

    /// A paragraph of its own.
    pub(super) fn paragraph(&mut self, text: &str) {
        self.0.control("PP", []);
        self.text(text);
    }

    /// What the paragraphs after it describe.
    pub(super) fn item(&mut self, title: &str) {
        self.0.control("TP", []);
        self.0.text([bold(title)]);
    }

    /// A further paragraph about the same.
    pub(super) fn more(&mut self, text: &str) {
        self.0.control("IP", []);
        self.text(text);
    }

    /// Lines as they are.
    pub(super) fn literal(&mut self, lines: &str) {
        self.0.control("PP", []);
        self.0.control("RS", ["4"]);
        self.0.control("nf", []);
        for line in lines.lines() {
            self.0.text([roman(line)]);
        }
        self.0.control("fi", []);
        self.0.control("RE", []);
    }

    /// Its text.
    pub(super) fn done(self) -> String {
        self.0.to_roff()
    }
}
