//! What systemd-boot tells the running system through EFI variables (Boot Loader Interface).
//!
//! Read only, and each variable at most once: some firmware stalls on every read.

use std::io;

use systemd_boot_model::LoaderVariables;

use crate::Root;

/// The vendor of every `Loader*` variable.
const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// efivarfs puts the variable's attributes before its data.
const ATTRIBUTES: usize = 4;

/// Reads the variables that the firmware under `root` has. A variable that is not there is None; one that cannot be
/// read is told and is None: firmware has its moods, and no boot may depend on them.
#[must_use]
pub fn read(root: &Root) -> LoaderVariables {
    let read = |name: &str| {
        let path = root.join(format!("/sys/firmware/efi/efivars/{name}-{LOADER}"));
        match std::fs::read(&path) {
            Ok(bytes) => Some(text_of(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!("cannot read {}: {error}", path.display());
                None
            }
        }
    };
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

/// The text of a variable: UTF-16, little endian, with a NUL at its end.
fn text_of(file: &[u8]) -> String {
    let data = file.get(ATTRIBUTES..).unwrap_or_default();
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

    #[test]
    fn text_is_utf16_after_the_attributes() {
        assert_eq!(text_of(b"\x06\0\0\0a\0\xe4\0\0\0x\0"), "a\u{e4}");
        for odd in [&b""[..], b"\x06\0", b"\x06\0\0\0a"] {
            assert_eq!(text_of(odd), "");
        }
    }

    #[test]
    fn no_firmware_is_no_variables() {
        let tree = tempfile::tempdir().unwrap();
        let found = read(&Root::new(tree.path()));
        assert_eq!(found, LoaderVariables::default());
    }
}
