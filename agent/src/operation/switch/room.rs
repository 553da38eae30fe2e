//! Whether systemd would read its units anew: it refuses that while there is little room in `/run`.

use nix::sys::statvfs::statvfs;

use crate::error::Error;

/// Where systemd looks.
const PLACE: &str = "/run/systemd";
/// systemd refuses below 16 MiB (`RELOAD_DISK_SPACE_MIN` of its manager). A little more, for what the switch writes itself.
const LEAST: u64 = 20 * 1024 * 1024;

/// Refuses a switch in whose middle systemd would refuse to go on.
///
/// # Errors
/// When there is too little room.
pub(super) fn check() -> Result<(), Error> {
    // Who cannot look finds out later.
    let Ok(found) = statvfs(PLACE) else {
        return Ok(());
    };
    let free = found
        .blocks_available()
        .saturating_mul(found.fragment_size());
    if free >= LEAST {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "{PLACE} has {} MiB left, and systemd reads no units anew below 16 MiB; make room in /run (`du -xsh /run/*`), and run \
         again",
        free / (1024 * 1024)
    )))
}
