//! The last good generation's kernel, loaded by name: what `systemctl kexec` takes by itself may be the sick trial's.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use boot_entries::name::stem_of;

use crate::error::Error;
use crate::host::{self, Program};
use crate::state::Subject;
use crate::system::program;
use crate::view::View;

/// How long loading may take: it reads a kernel and an initrd, and checks signatures.
const PATIENCE: Duration = Duration::from_mins(1);
/// Several initrds are one, in a row (initramfs buffer format).
const INITRD: &str = "/run/lastgood/kexec-initrd";

/// What is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Load {
    linux: PathBuf,
    initrds: Vec<PathBuf>,
    options: String,
}

impl Load {
    /// What the entry of `to` starts: its kernel, its initrds with their secrets, its command line. None: there is no
    /// kexec(8), or no entry that says so in its text.
    pub(super) fn of(view: &View, to: &Subject) -> Option<Self> {
        host::program(Program::Kexec).ok()?;
        let boot = view.boot().ok()?;
        let stem = stem_of(to);
        let (_, file) = boot.files_of(&stem).find(|(_, file)| file.has_program)?;
        let directory = boot.place.directory(file.on);
        let at = |path: &String| directory.join(path.trim_start_matches(['/', '\\']));
        Some(Self {
            linux: at(file.entry.linux.as_ref()?),
            initrds: file.entry.initrds.iter().map(at).collect(),
            options: file.entry.options.clone(),
        })
    }

    /// The words for kexec(8), where all initrds are in `initrd`.
    fn words(&self, initrd: Option<&Path>) -> Vec<String> {
        let mut words = vec![
            "--load".to_owned(),
            // The kernel checks a signature by the one call, and older ones know only the other.
            "--kexec-syscall-auto".to_owned(),
            format!("--command-line={}", self.options),
        ];
        words.extend(initrd.map(|path| format!("--initrd={}", path.display())));
        words.push(self.linux.display().to_string());
        words
    }

    /// Loads it.
    ///
    /// # Errors
    /// Why it is not loaded: then nothing is.
    pub(super) fn load(&self) -> Result<(), Error> {
        let initrd = match self.initrds.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            all => {
                join(all, Path::new(INITRD)).map_err(|source| Error::Read {
                    what: format!("the initrds of {}", self.linux.display()),
                    source,
                })?;
                Some(INITRD.into())
            }
        };
        let mut kexec = program::command(Program::Kexec)?;
        kexec.args(self.words(initrd.as_deref()));
        match program::stdout_within(&mut kexec, PATIENCE) {
            Ok(_) => Ok(()),
            Err(error) => {
                unload();
                Err(error.into())
            }
        }
    }
}

/// Unloads what is loaded, so that nobody else's reboot becomes a kexec.
pub(super) fn unload() {
    let unloaded = program::command(Program::Kexec)
        .and_then(|mut kexec| program::stdout_within(kexec.arg("--unload"), PATIENCE));
    if let Err(error) = unloaded {
        tracing::debug!("{error}");
    }
}

fn join(all: &[PathBuf], to: &Path) -> io::Result<()> {
    let mut joined = File::create(to)?;
    for one in all {
        io::copy(&mut File::open(one)?, &mut joined)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_name_kernel_initrd_and_command_line() {
        let mut load = Load {
            linux: "/boot/EFI/nixos/k-bzImage.efi".into(),
            initrds: vec!["/boot/EFI/nixos/i-initrd.efi".into()],
            options: "init=/nix/store/1/init quiet x=\"a b\"".to_owned(),
        };
        assert_eq!(
            load.words(load.initrds.first().map(PathBuf::as_path)),
            [
                "--load",
                "--kexec-syscall-auto",
                "--command-line=init=/nix/store/1/init quiet x=\"a b\"",
                "--initrd=/boot/EFI/nixos/i-initrd.efi",
                "/boot/EFI/nixos/k-bzImage.efi",
            ]
        );
        load.initrds.clear();
        assert_eq!(load.words(None).len(), 4);
    }

    #[test]
    fn initrds_are_joined_in_their_order() {
        let tree = tempfile::tempdir().unwrap();
        let all: Vec<PathBuf> = ["one", "two"].map(|name| tree.path().join(name)).into();
        for path in &all {
            let text = path.file_name().unwrap().to_string_lossy();
            boot_entries::durable::put_text(&text, path).unwrap();
        }
        let to = tree.path().join("joined");
        join(&all, &to).unwrap();
        assert_eq!(std::fs::read_to_string(to).unwrap(), "onetwo");
    }
}
