//! Whether what an entry starts can be started, as far as the heads of its files tell.

use std::path::{Path, PathBuf};

use boot_entries::boot_partition::Place;
use boot_entries::entry::EntryFile;
use boot_entries::name::stem_of;
use boot_entries::signature::{self, Keys, Verdict};
use boot_entries::{closure, initrd, kernel};

use super::{View, damage_of};
use crate::state::Subject;

/// The file that `file` in `place` starts, as the entry names it and as a path of this process. None: it names none, or
/// one on the network.
fn program(place: &Place, file: &EntryFile) -> Option<(String, PathBuf)> {
    let entry = &file.entry;
    let named = entry.linux.as_ref().or(entry.uki.as_ref());
    let program = named.or(entry.efi.as_ref())?;
    Some((program.clone(), there(place, file, program)))
}

fn there(place: &Place, file: &EntryFile, path: &str) -> PathBuf {
    let path = path.replace('\\', "/");
    place.directory(file.on).join(path.trim_start_matches('/'))
}

/// Why firmware with these keys refuses the image at `path` (a path of this process). None: it does not, or nobody knows.
/// What cannot be read is told elsewhere.
#[must_use]
pub fn refusal_of(path: &Path, keys: &Keys) -> Option<&'static str> {
    match signature::judge(path, keys).ok()? {
        Verdict::Accepted => None,
        Verdict::Unsigned => Some("carries no signature"),
        Verdict::Stranger => Some("is signed by somebody whom neither the firmware nor shim knows"),
        Verdict::Namesake => Some(
            "is signed with a key that neither the firmware nor shim knows, though they know another of the same name (keys that \
             are made anew must be enrolled)",
        ),
        Verdict::Invalid => Some(
            "carries a signature that is not its own (it was changed after it was signed, or the signature is another image's, or \
             damaged)",
        ),
        Verdict::Revoked => Some("is on the firmware's list of what is revoked (dbx)"),
    }
}

/// That the firmware refuses something, and why, in one line.
#[must_use]
pub fn refused(what: &str, why: &str) -> String {
    format!(
        "Secure Boot is on, and {what} {why}: the firmware refuses to start it; sign it with a key that the firmware knows before \
         it comes into the store, or turn Secure Boot off"
    )
}

/// Why the firmware would not load what `file` in `place` starts, or the loader not read its initrds. None: nothing is
/// known against it. That its files are what was written there is asked elsewhere. `keys` are those of Secure Boot, if
/// that is on.
#[must_use]
pub fn unstartable(place: &Place, file: &EntryFile, keys: Option<&Keys>) -> Option<String> {
    let (name, path) = program(place, file)?;
    if let Err(why) = kernel::check(&path) {
        return Some(format!("{name} {why}"));
    }
    if let Some(why) = keys.and_then(|keys| refusal_of(&path, keys)) {
        return Some(format!("Secure Boot is on, and its kernel {why}"));
    }
    // An image that is no kernel's brings its own.
    let initrds = file.entry.initrds.iter();
    let mut initrds = initrds.filter(|_| file.entry.linux.is_some());
    initrds.find_map(|initrd| {
        let path = there(place, file, initrd);
        let odd = || initrd::check_head(&path).err().map(|why| why.to_string());
        let why = closure::is_payload(&path).err().or_else(odd)?;
        Some(format!("the initrd {initrd} {why}"))
    })
}

impl View {
    /// Why the entry of `subject` that the loader reads next would not start: its files are not what was written there, or
    /// nothing could start them. None: nothing is known against it, or there is nothing to be read.
    #[must_use]
    pub fn why_not_started(&self, subject: &Subject) -> Option<String> {
        let boot = self.boot().ok()?;
        let stem = stem_of(subject);
        let Some((_, file)) = boot.files_of(&stem).next() else {
            return Some("it has no entry".to_owned());
        };
        let mut digests = self.digests();
        let damage = damage_of(&boot.place, file, &mut digests);
        let damage = damage.map(|damage| damage.to_string());
        damage.or_else(|| unstartable(&boot.place, file, self.keys().as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use systemd_boot_model::{Entry, EntryName, Partition};

    /// The headers of an EFI application for `x86_64`, and 64 bytes that they speak of.
    fn kernel() -> Vec<u8> {
        let mut bytes = vec![0; 0x200 + 64];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, b"MZ");
        put(0x3c, &[0x40]);
        put(0x40, b"PE\0\0\x64\x86\x01");
        put(0x54, &[240]);
        put(0x58, &0x20b_u16.to_le_bytes());
        // Entry point, size in memory, size of the headers, subsystem, directories.
        let optional = [
            (16, 0x1000_u32),
            (56, 0x1040),
            (60, 0x200),
            (68, 10),
            (108, 16),
        ];
        for (at, number) in optional {
            put(0x58 + at, &number.to_le_bytes());
        }
        // Of the section: size and address in memory, size and address in the file.
        for (at, number) in [(8, 64_u32), (12, 0x1000), (16, 64), (20, 0x200)] {
            put(0x58 + 240 + at, &number.to_le_bytes());
        }
        bytes
    }

    /// What was changed after it was signed, and what is signed with a key made anew under the old name.
    #[test]
    fn why_a_signature_is_refused_is_told() {
        let tree = tempfile::tempdir().unwrap();
        let path = |name: &str| tree.path().join(name);
        let write = |name: &str, bytes: &[u8]| {
            let mut file = std::fs::File::create(path(name)).unwrap();
            file.write_all(bytes).unwrap();
        };
        write("kernel", &kernel());
        let script = "for it in old new; do openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj '/CN=Database Key' \
             -keyout $it.key -out $it.pem; sbsign --key $it.key --cert $it.pem --output by-$it kernel; done; \
             cert-to-efi-sig-list old.pem db";
        let mut sh = std::process::Command::new("sh");
        let ended = sh.args(["-euc", script]).current_dir(tree.path());
        let ended = ended.output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        let mut changed = std::fs::read(path("by-old")).unwrap();
        changed[0x200] ^= 1;
        write("changed", &changed);
        let keys = Keys {
            accepted: signature::Signatures::parse(&std::fs::read(path("db")).unwrap()),
            ..Keys::default()
        };
        for (name, why) in [
            ("by-old", None),
            ("by-new", Some("made anew")),
            ("changed", Some("changed after it was signed")),
            ("kernel", Some("no signature")),
        ] {
            let told = refusal_of(&path(name), &keys);
            assert_eq!(told.is_some(), why.is_some(), "{name}");
            assert!(told.unwrap_or_default().contains(why.unwrap_or_default()));
        }
    }

    fn told(entry: &str, files: &[(&str, &[u8])]) -> Option<String> {
        let tree = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let mut file = std::fs::File::create(tree.path().join(name)).unwrap();
            file.write_all(bytes).unwrap();
        }
        let place = Place {
            esp: tree.path().to_owned(),
            boot: tree.path().to_owned(),
            ..Place::default()
        };
        let file = EntryFile {
            on: Partition::Boot,
            name: EntryName::parse("x.conf").unwrap(),
            text: entry.to_owned(),
            entry: Entry::parse(entry),
            has_program: true,
        };
        unstartable(&place, &file, None)
    }

    #[test]
    fn the_first_file_that_stands_in_the_way_is_named() {
        let whole = kernel();
        let good: (&str, &[u8]) = ("k", &whole);
        let entry = "linux /k\ninitrd /a\ninitrd \\b\n";
        for (files, says) in [
            (vec![good, ("a", b"x"), ("b", b"x")], None),
            (
                vec![("k", b"" as &[u8]), ("a", b"x"), ("b", b"x")],
                Some("/k is no EFI image"),
            ),
            (
                vec![("k", &whole[..whole.len() - 1]), ("a", b"x")],
                Some("/k is cut short"),
            ),
            (vec![("a", b"x")], Some("/k cannot be read: No such file")),
            (
                vec![good, ("a", b"x")],
                Some("the initrd \\b cannot be read: No such file"),
            ),
            (
                vec![good, ("a", b""), ("b", b"x")],
                Some("the initrd /a is empty"),
            ),
            (
                vec![good, ("a", b"x"), ("b", &whole)],
                Some("the initrd \\b is no initrd: it is an EFI image"),
            ),
        ] {
            let told = told(entry, &files);
            match says {
                None => assert_eq!(told, None),
                Some(says) => assert!(told.clone().unwrap().starts_with(says), "{told:?}"),
            }
        }
        // Nothing of the network is here to be looked at.
        assert_eq!(super::tests::told("uki-url http://x/\n", &[]), None);
    }
}
