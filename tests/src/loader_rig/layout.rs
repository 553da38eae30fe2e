//! What is on one disk.

use std::path::Path;
use std::{fmt, fs};

use anyhow::{Context as _, Result};

use systemd_boot_model::{Listed, Loader, LoaderVariables, Medium, Partition, ReleaseRange, Uki};

use crate::files;

/// A file in `loader/entries`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryText {
    /// The ESP, or the XBOOTLDR partition.
    pub on: Partition,
    /// What it is called.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// A unified kernel image in `EFI/Linux`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The ESP, or the XBOOTLDR partition.
    pub on: Partition,
    /// What it is called.
    pub name: String,
    /// Names and texts of its sections, in order.
    pub sections: Vec<(&'static str, String)>,
}

/// Everything a choice depends on, as files and variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Where it comes from.
    pub label: String,
    /// Files in `loader/entries`, in the order in which they are written.
    pub entries: Vec<EntryText>,
    /// Files in `EFI/Linux`, likewise.
    pub images: Vec<Image>,
    /// Paths that entries start, on every partition of the layout.
    pub programs: Vec<String>,
    /// `loader/loader.conf`.
    pub conf: String,
    /// Variables as they are before the first boot.
    pub variables: Vec<(&'static str, String)>,
    /// The disk cannot be written.
    pub read_only: bool,
    /// The loader may reset the machine by itself. Only [`super::compare_power_on`] copes with that.
    pub may_reset: bool,
}

impl Image {
    /// The file: headers that the loader takes for a program's, and the firmware for those of no EFI application, so
    /// that it does not start.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        const HEADERS: usize = 0x1000;
        let mut bytes = vec![0; HEADERS];
        let mut put = |at: usize, value: &[u8]| {
            if let Some(place) = bytes.get_mut(at..at + value.len()) {
                place.copy_from_slice(value);
            }
        };
        let word = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
        let half = |number: usize| u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes();
        put(0, b"MZ");
        put(0x3c, &word(0x40));
        put(0x40, b"PE\0\0");
        put(0x44, &half(0x8664));
        put(0x46, &half(self.sections.len()));
        put(0x54, &half(240));
        // The optional header: PE32+, the size in memory, 16 directories.
        put(0x58, &half(0x20b));
        put(0x58 + 56, &word(1 << 20));
        put(0x58 + 108, &word(16));
        let mut at = HEADERS;
        let mut data = Vec::new();
        for (number, (name, text)) in self.sections.iter().enumerate() {
            let (header, size) = (0x58 + 240 + 40 * number, text.len().next_multiple_of(512));
            put(header, name.as_bytes());
            put(header + 8, &word(text.len()));
            put(header + 12, &word(at));
            put(header + 16, &word(size));
            put(header + 20, &word(at));
            at += size;
            data.extend(text.as_bytes());
            data.resize(at - HEADERS, 0);
        }
        bytes.extend(data);
        bytes
    }

    /// What the model is told of it.
    fn says(&self) -> Uki {
        let bytes = self.bytes();
        Uki::of_bytes(&bytes)
    }
}

impl Layout {
    /// A trial of three tries above a proven generation. What they start is no program, as all of a layout: neither can
    /// be started.
    #[must_use]
    pub fn that_cannot_start() -> Self {
        let entry = |name: &str, version: u8| EntryText {
            on: Partition::Esp,
            name: name.to_owned(),
            text: format!("sort-key lastgood\nversion {version}\nlinux /kernel\n"),
        };
        Self {
            label: "a kernel that cannot be loaded".to_owned(),
            entries: vec![entry("gen-2.conf", 2), entry("gen-3+3-0.conf", 3)],
            programs: vec!["/kernel".to_owned()],
            conf: "timeout 0\nauto-firmware no\nauto-entries no\n".to_owned(),
            may_reset: true,
            ..Self::default()
        }
    }

    /// The ESP at `esp`, with the XBOOTLDR partition at `xbootldr`, as they are in a tree.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn read(label: &str, esp: &Path, xbootldr: Option<&Path>) -> Result<Self> {
        let mut layout = Self {
            label: label.to_owned(),
            conf: fs::read_to_string(esp.join("loader/loader.conf"))?,
            ..Self::default()
        };
        layout.add(Partition::Esp, esp)?;
        if let Some(boot) = xbootldr {
            layout.add(Partition::Boot, boot)?;
        }
        layout.programs.sort();
        layout.programs.dedup();
        Ok(layout)
    }

    fn add(&mut self, on: Partition, directory: &Path) -> Result<()> {
        let entries = directory.join("loader/entries");
        // An ESP whose entries are elsewhere may have no such directory.
        if !entries.is_dir() {
            return Ok(());
        }
        for path in files::sorted_entries(&entries)? {
            let text = fs::read_to_string(&path)?;
            let name = path.file_name().context("a file has a name")?;
            let name = name.to_string_lossy().into_owned();
            let programs = text.lines().filter_map(|line| line.strip_prefix("linux "));
            let there =
                programs.filter(|path| directory.join(path.trim_start_matches('/')).is_file());
            self.programs.extend(there.map(str::to_owned));
            self.entries.push(EntryText { on, name, text });
        }
        Ok(())
    }

    /// Whether there is an XBOOTLDR partition.
    #[must_use]
    pub fn has_xbootldr(&self) -> bool {
        let files = self.entries.iter().map(|entry| entry.on);
        let mut all = files.chain(self.images.iter().map(|image| image.on));
        all.any(|on| on == Partition::Boot)
    }

    /// The partitions, in the loader's order.
    #[must_use]
    pub fn partitions(&self) -> &'static [Partition] {
        if self.has_xbootldr() {
            &[Partition::Esp, Partition::Boot]
        } else {
            &[Partition::Esp]
        }
    }

    /// The model's view of it.
    #[must_use]
    pub fn loader(&self, release: ReleaseRange) -> Loader {
        let mut entries = Vec::new();
        let mut medium = Medium {
            read_only: self.read_only,
            ..Medium::default()
        };
        for on in self.partitions() {
            for image in self.images.iter().filter(|image| image.on == *on) {
                let listed = Listed::of_image(release, *on, &image.name, &image.says());
                if listed.is_empty() {
                    medium.other_files.push((*on, image.name.clone()));
                }
                entries.extend(listed);
            }
            for file in self.entries.iter().filter(|file| file.on == *on) {
                let there = |path: &str| self.has_program(path);
                match Listed::read(release, *on, &file.name, &file.text, there) {
                    Some(listed) => entries.push(listed),
                    None => medium.other_files.push((*on, file.name.clone())),
                }
            }
        }
        let variable = |name: &str| {
            let mut all = self.variables.iter();
            all.find_map(|(n, text)| (*n == name).then(|| text.clone()))
        };
        Loader {
            release,
            entries,
            conf: release.read_conf(&self.conf),
            variables: LoaderVariables {
                one_shot: variable("LoaderEntryOneShot"),
                default: variable("LoaderEntryDefault"),
                preferred: variable("LoaderEntryPreferred"),
                last_booted: variable("LoaderEntryLastBooted"),
                ..LoaderVariables::default()
            },
            medium,
        }
    }

    /// Whether the firmware finds a path: `\` and `/` are one to it, and so are capitals.
    fn has_program(&self, path: &str) -> bool {
        let parts = |path: &str| {
            let parts = path.split(['/', '\\']).filter(|part| !part.is_empty());
            parts.map(str::to_ascii_lowercase).collect::<Vec<_>>()
        };
        let wanted = parts(path);
        self.programs.iter().any(|there| parts(there) == wanted)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} (read-only: {})", self.label, self.read_only)?;
        writeln!(f, "  loader.conf {:?}", self.conf)?;
        for (name, text) in &self.variables {
            writeln!(f, "  {name} = {text:?}")?;
        }
        for EntryText { on, name, text } in &self.entries {
            writeln!(f, "  {on:?} {name}: {text:?}")?;
        }
        for Image { on, name, sections } in &self.images {
            writeln!(f, "  {on:?} {name}: {sections:?}")?;
        }
        Ok(())
    }
}
