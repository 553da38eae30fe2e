//! The id of the boot that is under way: the kernel's, which is a new one at each of its starts, whatever the clock says.
//! After a soft-reboot, which leaves the kernel as it is, the number of that is added.

use std::io;
use std::path::PathBuf;

use boot_entries::Root;

use super::userspace;
use crate::host::BOOT_ID;

/// It cannot be read; in a tree there is none.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

/// The id: `UUID`, or `UUID.N` since the Nth soft-reboot.
///
/// # Errors
/// When it cannot be read.
pub fn boot_id(root: &Root) -> Result<String, Error> {
    match std::fs::read_to_string(root.join(BOOT_ID)) {
        Ok(text) => Ok(match userspace::count(root) {
            0 => text.trim().to_owned(),
            soft_reboots => format!("{}.{soft_reboots}", text.trim()),
        }),
        Err(source) => Err(Error {
            path: BOOT_ID.into(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot_entries::durable::put_text;

    #[test]
    fn each_user_space_has_an_id_of_its_own() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        put_text("a-b\n", &root.join(BOOT_ID)).unwrap();
        assert_eq!(boot_id(&root).unwrap(), "a-b");
        userspace::note(&root, 0).unwrap();
        assert_eq!(boot_id(&root).unwrap(), "a-b");
        userspace::note(&root, 2).unwrap();
        assert_eq!(boot_id(&root).unwrap(), "a-b.2");
    }
}
