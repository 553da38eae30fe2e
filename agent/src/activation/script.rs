//! The closure's own `activate`, on a plain host: run if the closure's configuration asks for it, never otherwise.
//!
//! NixOS runs it by itself, before systemd. Here it comes after `/etc`, with a deadline at which its whole process group
//! is ended. Its failure is the generation's.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use boot_entries::Root;

use crate::config::Activation;
use crate::system::program::{self, Ran};

/// Where its programs are, if it does not say so itself. nixpkgs' script does.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The first line of a script is no longer than this, in bytes (execve(2)).
const FIRST_LINE: u64 = 256;

/// Why a script cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It is not there, or cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The script.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no file that can be executed.
    #[error("{} is no executable file", .0.display())]
    NotExecutable(PathBuf),
    /// The program in its first line is not there.
    #[error("{}: line 1 names {}, which is not there", path.display(), interpreter.display())]
    NoInterpreter {
        /// The script.
        path: PathBuf,
        /// What it names.
        interpreter: PathBuf,
    },
}

/// Whether the script of `closure` could be run. Nothing is asked for: it could.
///
/// # Errors
/// Why not.
pub fn check(root: &Root, closure: &Path, asked: &Activation) -> Result<(), Unfit> {
    let Some(script) = asked.script() else {
        return Ok(());
    };
    check_program(root, &closure.join(script))
}

/// Whether a program of the closure or of the host could be run, as far as its file tells.
///
/// # Errors
/// Why not.
pub fn check_program(root: &Root, path: &Path) -> Result<(), Unfit> {
    let read = |source| Unfit::Read {
        path: path.to_owned(),
        source,
    };
    let file = root.open(path).map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err(Unfit::NotExecutable(path.to_owned()));
    }
    let mut line = Vec::new();
    BufReader::new(file.take(FIRST_LINE))
        .read_until(b'\n', &mut line)
        .map_err(read)?;
    let Some(interpreter) = interpreter(&line) else {
        return Ok(());
    };
    let place = root.resolve(&interpreter);
    if place.is_ok_and(|place| place.is_file()) {
        Ok(())
    } else {
        Err(Unfit::NoInterpreter {
            path: path.to_owned(),
            interpreter,
        })
    }
}

/// What the first line of a script names as its interpreter.
fn interpreter(line: &[u8]) -> Option<PathBuf> {
    let mut words = line.strip_prefix(b"#!")?.split(u8::is_ascii_whitespace);
    let word = words.find(|word| !word.is_empty())?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(word)))
}

/// Runs the script of `closure`, if one is asked for. What it says is told.
///
/// # Errors
/// When it cannot be run, fails, or takes too long.
pub(super) fn run(closure: &Path, asked: &Activation) -> Result<(), program::Error> {
    let Some(script) = asked.script() else {
        return Ok(());
    };
    let path = closure.join(script);
    let mut command = Command::new(&path);
    // As switch-to-configuration does.
    command.arg(closure).env_clear().env("PATH", PATH);
    let name = script.display();
    let ran = program::run_within(&mut command, Stdio::null(), asked.deadline())?;
    let Ran {
        status,
        stdout,
        stderr,
    } = &ran;
    for line in stdout.lines().chain(stderr.lines()) {
        tracing::info!("{name}: {line}");
    }
    if status.success() {
        Ok(())
    } else {
        Err(ran.failed(&command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::io::Write as _;
    use std::time::{Duration, Instant};

    fn asked(deadline: u64) -> Activation {
        let text = format!("[activation]\nscript = \"activate\"\ndeadline-sec = {deadline}\n");
        Config::parse(&text).unwrap().activation
    }

    /// A closure whose script is `text`.
    fn closure(text: &str, mode: u32) -> tempfile::TempDir {
        let closure = tempfile::tempdir().unwrap();
        let path = closure.path().join("activate");
        std::fs::File::create(&path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        closure
    }

    #[test]
    fn its_failure_is_told_with_its_words() {
        let good = closure("#!/bin/sh\ntest \"$1\" = \"${0%/activate}\"\n", 0o755);
        run(good.path(), &asked(5)).unwrap();
        let bad = closure("#!/bin/sh\necho lost >&2; exit 3\n", 0o755);
        let error = run(bad.path(), &asked(5)).unwrap_err().to_string();
        assert!(error.ends_with("exit status: 3: lost"), "{error}");
        assert!(run(bad.path(), &Activation::default()).is_ok());
    }

    #[test]
    fn at_its_deadline_all_that_it_started_is_ended() {
        let mark = tempfile::NamedTempFile::new().unwrap();
        let text = format!(
            "#!/bin/sh\n(sleep 3; echo late > {}) &\nsleep 60\n",
            mark.path().display()
        );
        let slow = closure(&text, 0o755);
        let began = Instant::now();
        let error = run(slow.path(), &asked(1)).unwrap_err();
        assert!(matches!(error, program::Error::Hung { .. }), "{error}");
        assert!(began.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_secs(4));
        assert_eq!(std::fs::read_to_string(mark.path()).unwrap(), "");
    }

    #[test]
    fn what_could_not_be_run_is_known_before() {
        let live = Root::new("/");
        let why = |text: &str, mode| {
            let closure = closure(text, mode);
            check(&live, closure.path(), &asked(5))
                .err()
                .map(|unfit| unfit.to_string())
        };
        assert_eq!(why("#!/bin/sh\n", 0o755), None);
        assert_eq!(why("\u{7f}ELF", 0o755), None);
        assert!(
            why("#!/bin/sh\n", 0o644)
                .unwrap()
                .ends_with("no executable file")
        );
        let lost = why("#! /nix/store/gone/bin/bash -e\n", 0o755).unwrap();
        assert!(
            lost.ends_with("line 1 names /nix/store/gone/bin/bash, which is not there"),
            "{lost}"
        );
        let gone = check(&live, Path::new("/nix/store/gone"), &asked(5)).unwrap_err();
        assert!(
            gone.to_string()
                .starts_with("cannot read /nix/store/gone/activate"),
            "{gone}"
        );
        assert!(check(&live, Path::new("/nix/store/gone"), &Activation::default()).is_ok());
    }
}
