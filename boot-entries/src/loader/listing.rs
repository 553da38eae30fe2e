//! Which entry files the loader lists, and what it takes from them.

use super::{Band, Listed};
use crate::boot_partition::Partition;
use crate::entry::Entry;
use crate::lines::lines;
use crate::name::EntryName;

/// What an `architecture` line must say here.
const ARCHITECTURE: &str = "x64";

impl Listed {
    /// The entry in the file called `file`, with this text. None: the loader does not list it, because of its name, its
    /// content, or because what it starts is not there (`is_there`, asked with a path on the file's partition).
    pub fn read(
        band: Band,
        on: Partition,
        file: &str,
        text: &str,
        is_there: impl FnOnce(&str) -> bool,
    ) -> Option<Self> {
        let name = EntryName::parse(file)?;
        // Of several programs one is started at most, and which one is the loader's affair.
        let mut entry = Entry {
            linux: None,
            efi: None,
            ..Entry::parse(text)
        };
        for (key, value) in lines(text) {
            match key {
                "linux" | "efi" => {
                    let (this, other) = match key {
                        "linux" => (&mut entry.linux, &mut entry.efi),
                        _ => (&mut entry.efi, &mut entry.linux),
                    };
                    *this = Some(value.to_owned());
                    if other.take().is_some() && !band.takes_the_later_program() {
                        return None;
                    }
                }
                "architecture" if !value.eq_ignore_ascii_case(ARCHITECTURE) => return None,
                _ => {}
            }
        }
        let program = entry.linux.as_deref().or(entry.efi.as_deref())?;
        is_there(program).then(|| Self {
            file: file.to_owned(),
            on,
            name,
            entry,
        })
    }
}
