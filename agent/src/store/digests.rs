//! Where [`Digests`] are kept between runs. Only whoever holds the lock saves them; nothing depends on them but time.

use boot_entries::digests::Digests;
use boot_entries::{Root, durable};

use crate::host::DIGESTS;
use crate::report::line::one_line;
use crate::system::boot_id::boot_id;

/// Whoever has the digest of an initrd, and all of that initrd but a password in it, can try passwords at leisure. And what
/// closures say may hold secrets, too, where somebody has closed the store.
const ROOT: durable::Access = durable::Access {
    mode: 0o600,
    group: None,
};

/// What is remembered under `root`. Where nobody can say which boot this is, nothing of what is on `$BOOT` counts.
#[must_use]
pub fn load(root: &Root) -> Digests {
    let boot_id = boot_id(root).ok();
    let nobody_knows = boot_id.is_none() && root.is_live();
    // A path that leads nowhere is a record that is not there.
    let path = root.resolve(DIGESTS).unwrap_or_else(|_| root.join(DIGESTS));
    let mut digests = Digests::load(root, boot_id, &path);
    if nobody_knows {
        digests.forget_boot();
    }
    digests
}

/// Keeps what this run has learnt, if it has learnt anything. That it cannot be kept costs the next run time, and is
/// told. A power cut may take it, or leave a part of it, which its checksum tells.
pub fn save(root: &Root, digests: &Digests) {
    let Some(text) = digests.news() else {
        return;
    };
    let place = match root.place(DIGESTS) {
        Ok(place) => place,
        Err(error) => {
            tracing::warn!(
                "{DIGESTS} cannot be written, so the next run reads everything: {error}"
            );
            return;
        }
    };
    if let Err(error) = durable::put_unflushed_for(ROOT, &text, &place) {
        let why = one_line(&error);
        tracing::warn!("the next run has to read everything: {why}");
    }
}
