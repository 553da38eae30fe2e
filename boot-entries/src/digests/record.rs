//! The record as it is kept: a file a line, read by every run, and so in a form that is read in one pass.
//!
//! ```text
//! {"v":3,"sum":1234}
//! ["boot id"]
//! ["store","nix/store/…/bzImage",SIZE,INODE,CHANGED,NANOSECONDS,MODIFIED,NANOSECONDS,"SHA-256",IS KERNEL]
//! ["document","nix/store/…/boot.json",SIZE,INODE,CHANGED,NANOSECONDS,MODIFIED,NANOSECONDS,"LABEL",…]
//! ["boot","boot/EFI/lastgood/…-initrd",SIZE,DEVICE,CHANGED,NANOSECONDS,MODIFIED,NANOSECONDS,"SHA-256",0]
//! ```
//!
//! Each line is JSON, without blanks, and with its fields in this order. Whatever is otherwise is no record.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use serde::{Deserialize, Serialize};

use super::Kind;
use super::documents::Said;
use super::line::{Line, number, text};
use crate::payload::{Content, Digest};

/// The version of the format. What is of another one is forgotten: also what [`crate::bootspec::Document::parse`] made
/// of a file, should it ever make something else of it.
const VERSION: u32 = 3;
/// The first line takes less, in bytes.
const HEAD: u64 = 64;
/// A line takes less, nearly always.
const LINE: usize = 256;

/// What is remembered. Keys are paths on the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// The boot in which the files of `boot` were read. None: in a tree, where no boot is under way.
    pub(super) boot_id: Option<String>,
    pub(super) boot: BTreeMap<String, Known>,
    pub(super) store: BTreeMap<String, Known>,
    /// What `boot.json` files of the store say.
    pub(super) documents: BTreeMap<String, Said>,
    /// This run has asked for all of these that there are.
    pub(super) is_complete: bool,
}

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) stamp: Stamp,
    pub(super) digest: Digest,
    /// [`crate::kernel::check`] had nothing, or [`crate::initrd::check`] had nothing against it. Whenever that looks at more, [`VERSION`] has to be another one:
    /// what is remembered was looked at with fewer doubts.
    pub(super) is_started: bool,
    /// This run has asked for it. What no run asks for any more is not kept.
    pub(super) is_asked: bool,
}

/// What changes when a file is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size: u64,
    /// Not on `$BOOT`: FAT has no inodes, and Linux makes up new numbers for it.
    pub(super) inode: Option<u64>,
    /// The file system's device. Only on `$BOOT`, where another one may be mounted next; the store's may be called
    /// otherwise after a reboot.
    pub(super) device: Option<u64>,
    /// Seconds and nanoseconds since 1970.
    pub(super) changed: (i64, i64),
    pub(super) modified: (i64, i64),
}

/// The first line of the file. The others are the [`Record`].
#[derive(Serialize, Deserialize)]
struct Head {
    #[serde(rename = "v")]
    version: u32,
    /// [`sum`] of the other lines.
    sum: u32,
}

/// Tells whether the record was damaged, nothing more, and takes far less time than reading it does.
fn sum(record: &str) -> u32 {
    crc32fast::hash(record.as_bytes())
}

impl Record {
    pub(super) fn of(&mut self, kind: Kind) -> &mut BTreeMap<String, Known> {
        match kind {
            Kind::Store => &mut self.store,
            Kind::Boot => &mut self.boot,
        }
    }

    /// What `whole` says. None: it is damaged, or of another version.
    // As a part of the agent it would be optimised for size.
    #[inline(never)]
    pub(super) fn parse(whole: &str) -> Option<Self> {
        let (head, lines) = whole.split_once('\n')?;
        let head: Head = serde_json::from_str(head).ok()?;
        // A wrong digest would be taken for damage of a file that is well, for as long as the record lives.
        if head.version != VERSION || head.sum != sum(lines) {
            return None;
        }
        let mut lines = lines.strip_suffix('\n')?.split('\n');
        let boot_id = serde_json::from_str::<(Option<String>,)>(lines.next()?)
            .ok()?
            .0;
        // They are in order: a map is made of them in one go.
        let (mut boot, mut store) = (Vec::new(), Vec::new());
        let mut documents = BTreeMap::new();
        for line in lines {
            let mut line = Line::begin(line)?;
            let (what, path) = (line.word()?, line.text()?.into_owned());
            match what {
                "store" => store.push((path, Known::read(Kind::Store, &mut line)?)),
                "boot" => boot.push((path, Known::read(Kind::Boot, &mut line)?)),
                "document" => drop(documents.insert(path, Said::read(&mut line)?)),
                _ => return None,
            }
            line.end()?;
        }
        Some(Self {
            boot_id,
            boot: boot.into_iter().collect(),
            store: store.into_iter().collect(),
            documents,
            is_complete: false,
        })
    }

    /// What this run has asked for, as [`Self::parse`] reads it; `limit` is how long that may be, in bytes.
    pub(super) fn asked_text(&self, limit: u64) -> Option<String> {
        let boot_id = serde_json::to_string(&(&self.boot_id,)).ok()?;
        let mut lines = String::with_capacity((self.boot.len() + self.store.len()) * LINE);
        lines.push_str(&boot_id);
        lines.push('\n');
        let begin = |lines: &mut String, what: &str, path: &str| {
            lines.push('[');
            text(lines, what);
            lines.push(',');
            text(lines, path);
        };
        for (kind, all) in [("boot", &self.boot), ("store", &self.store)] {
            for (path, known) in all.iter().filter(|(_, known)| known.is_asked) {
                begin(&mut lines, kind, path);
                known.write(&mut lines);
                lines.push_str("]\n");
            }
        }
        let without = lines.len();
        let is_kept = |said: &Said| said.is_asked || !self.is_complete;
        for (path, said) in self.documents.iter().filter(|(_, said)| is_kept(said)) {
            let before = lines.len();
            begin(&mut lines, "document", path);
            if said.write(&mut lines).is_none() {
                lines.truncate(before);
                continue;
            }
            lines.push_str("]\n");
        }
        // Nobody would read it. What closures say takes most of the room, and the least time to read again.
        if lines.len() as u64 + HEAD > limit {
            lines.truncate(without);
        }
        let head = Head {
            version: VERSION,
            sum: sum(&lines),
        };
        let head = serde_json::to_string(&head).ok()?;
        Some(format!("{head}\n{lines}"))
    }
}

impl Known {
    pub(super) fn new(stamp: Stamp, digest: Digest) -> Self {
        Self {
            stamp,
            digest,
            is_started: false,
            is_asked: true,
        }
    }

    pub(super) fn content(&self) -> Content {
        Content {
            size: self.stamp.size,
            digest: self.digest,
        }
    }

    fn read(kind: Kind, line: &mut Line<'_>) -> Option<Self> {
        Some(Self {
            stamp: Stamp::read(kind, line)?,
            digest: Digest::of_digits(line.word()?)?,
            is_started: match line.number()? {
                0 => false,
                1 => true,
                _ => return None,
            },
            is_asked: false,
        })
    }

    fn write(&self, line: &mut String) {
        self.stamp.write(line);
        line.push(',');
        text(line, &self.digest.to_string());
        number(line, u8::from(self.is_started));
    }
}

impl Stamp {
    pub(super) fn of(kind: Kind, found: &Metadata) -> Self {
        Self {
            size: found.len(),
            inode: (kind == Kind::Store).then(|| found.ino()),
            device: (kind == Kind::Boot).then(|| found.dev()),
            changed: (found.ctime(), found.ctime_nsec()),
            modified: (found.mtime(), found.mtime_nsec()),
        }
    }

    /// What [`Self::write`] wrote of a file that is where `kind` says.
    pub(super) fn read(kind: Kind, line: &mut Line<'_>) -> Option<Self> {
        let (size, place) = (line.number()?, line.number()?);
        Some(Self {
            size,
            inode: (kind == Kind::Store).then_some(place),
            device: (kind == Kind::Boot).then_some(place),
            changed: (line.signed()?, line.signed()?),
            modified: (line.signed()?, line.signed()?),
        })
    }

    pub(super) fn write(&self, line: &mut String) {
        let place = self.inode.or(self.device).unwrap_or_default();
        for value in [self.size, place] {
            number(line, value);
        }
        let (changed, modified) = (self.changed, self.modified);
        for value in [changed.0, changed.1, modified.0, modified.1] {
            number(line, value);
        }
    }
}
