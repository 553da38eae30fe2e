//! PID 1 is not executed anew over a mount that does not answer: it looks at its mounts then, and would hang.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use boot_entries::{Root, mountinfo};

use crate::error::Error;
use crate::exit::Exit;
use crate::host::MOUNTS;

/// How long all of them together may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// File systems that ask somebody else, who may be gone.
const REMOTE: [&str; 8] = [
    "nfs",
    "cifs",
    "smb",
    "fuse",
    "9p",
    "ceph",
    "glusterfs",
    "afs",
];

/// Looks at every mount whose answer comes from elsewhere.
///
/// # Errors
/// The one that does not answer: nothing was changed.
pub(super) fn check_mounts(root: &Root) -> Result<(), Error> {
    let text = std::fs::read(root.join(MOUNTS)).map_err(|source| Error::Read {
        what: MOUNTS.to_owned(),
        source,
    })?;
    let remote: Vec<PathBuf> = mountinfo::mounts(&text)
        .filter(|mount| is_remote(&mount.file_system))
        .map(|mount| mount.point)
        .collect();
    let (said, answers) = mpsc::channel();
    for point in &remote {
        let (said, point) = (said.clone(), point.clone());
        // It may never end. Nobody waits for it then.
        thread::spawn(move || {
            // Whatever it answers: it answers.
            let answer = nix::sys::statvfs::statvfs(&point);
            tracing::debug!("{}: {}", point.display(), answer.is_ok());
            said.send(point).unwrap_or_default();
        });
    }
    let until = Instant::now() + PATIENCE;
    let mut open = remote;
    while !open.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        match answers.recv_timeout(left) {
            Ok(point) => open.retain(|one| *one != point),
            Err(_) => return Err(silent(&open)),
        }
    }
    Ok(())
}

fn silent(points: &[PathBuf]) -> Error {
    let names: Vec<String> = points
        .iter()
        .map(|point| Path::new(point).display().to_string())
        .collect();
    Error::Ended {
        exit: Exit::RebootNeeded,
        text: format!(
            "it takes a reboot: systemd itself changes, and would hang over what is mounted on {}, which does not answer; \
             nothing was changed; unmount it and run again, or `lastgood boot` selects it for the next boot",
            names.join(", ")
        ),
    }
}

fn is_remote(kind: &str) -> bool {
    REMOTE.iter().any(|remote| kind.starts_with(remote))
}
