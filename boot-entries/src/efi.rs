//! What firmware and systemd-boot tell the running system through EFI variables (UEFI specification; Boot Loader
//! Interface).
//!
//! Read only, and by each function here each variable at most once: some firmware stalls on every read.

use std::io;

use crate::Root;
use crate::signature::{Keys, Signatures};
use systemd_boot_model::LoaderVariables;

/// The vendor of every `Loader*` variable.
const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// The vendor of the firmware's own (`EFI_GLOBAL_VARIABLE`).
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// The vendor of shim's.
const SHIM: &str = "605dab50-e046-4300-abb6-3dd810dd8b23";
/// The vendor of the lists of signatures (`EFI_IMAGE_SECURITY_DATABASE_GUID`).
const SECURITY: &str = "d719b2cb-3d3a-4596-a3bc-dad00e67656f";
/// efivarfs puts the variable's attributes before its data.
const ATTRIBUTES: usize = 4;

/// Reads the variables that the firmware under `root` has. A variable that is not there is None. One that cannot be
/// read is reported and counts as not there, because no boot may depend on it.
#[must_use]
pub fn read(root: &Root) -> LoaderVariables {
    let read = |name: &str| variable(root, name, LOADER).map(|data| text_of(&data));
    LoaderVariables {
        info: read("LoaderInfo"),
        selected: read("LoaderEntrySelected"),
        boot_count_path: read("LoaderBootCountPath"),
        partition: read("LoaderDevicePartUUID"),
        one_shot: read("LoaderEntryOneShot"),
        default: read("LoaderEntryDefault"),
        preferred: read("LoaderEntryPreferred"),
        last_booted: read("LoaderEntryLastBooted"),
        config_timeout: read("LoaderConfigTimeout"),
    }
}

/// Whether this machine starts only what is signed: Secure Boot is on, its keys are enrolled, and shim has not been
/// told to let everything pass (`mokutil --disable-validation`). Linux asks the same three variables. What cannot be
/// read says no.
#[must_use]
pub fn checks_signatures(root: &Root) -> bool {
    let is_set = |name: &str, vendor: &str| {
        variable(root, name, vendor).is_some_and(|data| data.first() == Some(&1))
    };
    is_set("SecureBoot", GLOBAL) && !is_set("SetupMode", GLOBAL) && !is_set("MokSBStateRT", SHIM)
}

/// What the firmware accepts and refuses, where this machine starts only what is signed ([`checks_signatures`]); with
/// what shim does beyond that, if it started this machine. None: it starts everything. A list that cannot be read, or
/// not be understood, is one of which nothing is known.
#[must_use]
pub fn keys(root: &Root) -> Option<Keys> {
    let list = |name: &str, vendor: &str| {
        let data = variable(root, name, vendor)?;
        let parsed = Signatures::parse(&data);
        if parsed.is_none() {
            tracing::warn!(
                "EFI variable {name} is no list of signatures: nobody can say what it accepts"
            );
        }
        Some(parsed)
    };
    checks_signatures(root).then(|| {
        let refused = [list("dbx", SECURITY), list("MokListXRT", SHIM)];
        let shim = list("MokListRT", SHIM).unwrap_or_else(|| Some(Signatures::default()));
        let accepted = list("db", SECURITY).flatten();
        Keys {
            accepted: accepted.zip(shim).map(|(db, shim)| db.and(shim)),
            refused: refused
                .into_iter()
                .flatten()
                .flatten()
                .fold(Signatures::default(), Signatures::and),
        }
    })
}

/// What a variable holds. One that cannot be read is told, and holds nothing.
fn variable(root: &Root, name: &str, vendor: &str) -> Option<Vec<u8>> {
    let path = root.join(format!("/sys/firmware/efi/efivars/{name}-{vendor}"));
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes.get(ATTRIBUTES..).unwrap_or_default().to_vec()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!("cannot read {}: {error}", path.display());
            None
        }
    }
}

/// The text of a variable: UTF-16, little endian, with a NUL at its end.
fn text_of(data: &[u8]) -> String {
    let units = data.chunks_exact(2).map(|pair| match pair {
        [low, high] => u16::from_le_bytes([*low, *high]),
        _ => 0,
    });
    char::decode_utf16(units.take_while(|unit| *unit != 0))
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine whose firmware has these variables.
    fn firmware(variables: &[(&str, &str, &[u8])]) -> (tempfile::TempDir, Root) {
        let tree = tempfile::tempdir().unwrap();
        let efivars = tree.path().join("sys/firmware/efi/efivars");
        std::fs::create_dir_all(&efivars).unwrap();
        for (name, vendor, bytes) in variables {
            let path = efivars.join(format!("{name}-{vendor}"));
            io::Write::write_all(&mut std::fs::File::create(path).unwrap(), bytes).unwrap();
        }
        let root = Root::new(tree.path());
        (tree, root)
    }

    #[test]
    fn text_is_utf16_after_the_attributes() {
        let info = |bytes| {
            let (_tree, root) = firmware(&[("LoaderInfo", LOADER, bytes)]);
            read(&root).info
        };
        let text = info(b"\x06\0\0\0a\0\xe4\0\0\0x\0");
        assert_eq!(text, Some("a\u{e4}".to_owned()));
        for odd in [&b""[..], b"\x06\0", b"\x06\0\0\0a"] {
            assert_eq!(info(odd), Some(String::new()));
        }
    }

    /// The vendors are the specification's and shim's, written out: a test of the constants, too.
    #[test]
    fn signatures_are_checked_where_secure_boot_is_on_and_nothing_lets_everything_pass() {
        const ON: &[u8] = b"\x06\0\0\0\x01";
        const OFF: &[u8] = b"\x06\0\0\0\0";
        let global = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
        let shim = "605dab50-e046-4300-abb6-3dd810dd8b23";
        let secure = ("SecureBoot", global, ON);
        for (variables, checks) in [
            (&[][..], false),
            (&[("SecureBoot", global, OFF)], false),
            (&[("SecureBoot", global, b"\x06\0")], false),
            (&[("SecureBoot", LOADER, ON)], false),
            (&[secure], true),
            (&[secure, ("SetupMode", global, OFF)], true),
            (&[secure, ("SetupMode", global, ON)], false),
            (&[secure, ("MokSBStateRT", shim, OFF)], true),
            (&[secure, ("MokSBStateRT", shim, ON)], false),
        ] {
            let (_tree, root) = firmware(variables);
            assert_eq!(checks_signatures(&root), checks, "{variables:?}");
        }
    }

    #[test]
    fn no_firmware_is_no_variables() {
        let tree = tempfile::tempdir().unwrap();
        let found = read(&Root::new(tree.path()));
        assert_eq!(found, LoaderVariables::default());
    }
}
