//! What a key of lastgood.toml is, and the sections that keys stand in.

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number, from the first to the last.
    Integer(u32, u32),
    /// Text.
    Text,
    /// A path.
    Path,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of such.
    Many(&'static Kind),
    /// Such by a name of one's own.
    Map(&'static Kind),
    /// One or the other.
    Either(&'static Kind, &'static Kind),
    /// A table whose keys the example shows.
    Table,
}

/// A key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `boot` for one below `[boot]`.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// As TOML. None: without the key nothing is said, which no value says.
    pub default: Option<&'static str>,
    /// Another value than the default, as TOML.
    pub example: &'static str,
    /// What it is for, in sentences.
    pub what: &'static str,
    /// Why the default is the default.
    pub why: &'static str,
}

/// What each section is about, in the order of the file.
pub const SECTIONS: &[(&str, &str)] = &[
    (
        "boot",
        "Boot partitions and the loader. Read from the generation that is selected.",
    ),
    (
        "health",
        "What \"healthy\" means for this closure. Read from the generation that was booted.",
    ),
    (
        "firewall",
        "What must be in the kernel before the network. Say a `ruleset`, or `enable` with rules, or a `unit`, or none of them.",
    ),
    (
        "activation",
        "What is run when the closure is put in place, on a plain systemd host.",
    ),
    (
        "switch",
        "When a live switch to this closure has ended well. Read from the closure that is switched to.",
    ),
    (
        "fallback",
        "How the machine goes back from this closure. Read from the generation that was booted.",
    ),
    (
        "hooks",
        "What is run once the outcome of an update is known. Read from the closure that is active then: a fallback is told by the \
         last good one's.",
    ),
    (
        "metrics",
        "How the machine is told in numbers. Read from the generation that was booted.",
    ),
];
