//! What bootctl(1) does better than anybody else: the first installation of systemd-boot on a live machine, with its
//! random seed and the firmware's boot entry, and clearing EFI variables.
//!
//! It refuses what is no mounted ESP, so in a tree (`--root`) nothing here is used.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use boot_entries::Root;
use boot_entries::boot_partition::Place;
use systemd_boot_model::Variable;

use crate::host::{self, Program};
use crate::system::program;

/// Firmware may take its time to write a variable; bootctl waits for nothing else.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is left out where bootctl(1) cannot be asked.
pub const LEFT_OUT: &str = "systemd-boot is only copied in a tree: its random seed, and the firmware's boot entry, are left \
     to `bootctl install` on the machine; until then it starts from EFI/BOOT/BOOTX64.EFI";

/// Something that bootctl(1) did not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be run, or said no.
    #[error(transparent)]
    Program(#[from] program::Error),
    /// It is too old to know this variable.
    #[error(
        "{program} cannot clear the EFI variable {variable}: it does not know it; use that of systemd {since} or newer"
    )]
    TooOld {
        /// The program.
        program: String,
        /// The variable.
        variable: &'static str,
        /// What is needed.
        since: u32,
    },
}

/// The bootctl(1) to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootctl {
    root: Root,
    /// None: the machine's.
    closures: Option<PathBuf>,
}

impl Bootctl {
    /// That of the closure `toplevel`, which installs the systemd-boot of the closure; if it has none, the machine's.
    #[must_use]
    pub fn find(root: &Root, toplevel: Option<&Path>) -> Self {
        let closures = toplevel.map(|toplevel| root.resolve(toplevel.join("systemd/bin/bootctl")));
        let closures = closures.and_then(Result::ok).filter(|path| path.is_file());
        Self {
            root: root.clone(),
            closures,
        }
    }

    /// Installs systemd-boot on an ESP that has none. Overwrites whatever is `EFI/BOOT/BOOTX64.EFI`.
    ///
    /// # Errors
    /// When bootctl says no, in its own words.
    pub fn install(&self, place: &Place, touch_variables: bool) -> Result<(), Error> {
        self.in_place(place, touch_variables, &["install"])
    }

    /// What is left of an installation when the loader itself has been copied already: the firmware's boot entry, and
    /// the random seed. Overwrites no other program. Comes after the entries: bootctl makes no directories then.
    ///
    /// # Errors
    /// When bootctl says no, in its own words.
    pub fn complete(&self, place: &Place, touch_variables: bool) -> Result<(), Error> {
        // Without `--graceful`, it is an error that the loader is there already.
        self.in_place(place, touch_variables, &["--graceful", "update"])?;
        self.in_place(place, touch_variables, &["random-seed"])
    }

    /// Removes a variable that wins over what is written on `$BOOT`.
    ///
    /// # Errors
    /// When bootctl says no, in its own words, or does not know the variable.
    pub fn clear(&self, variable: Variable) -> Result<(), Error> {
        let verb = variable.verb();
        let since = match variable {
            Variable::EntryDefault => 246,
            Variable::EntryPreferred => 260,
            Variable::ConfigTimeout => 250,
        };
        let said = self.run([verb, ""].map(OsString::from));
        match &said {
            Err(program::Error::Failed { stderr, .. }) if is_unknown(stderr, verb) => {
                Err(Error::TooOld {
                    program: self.program()?.display().to_string(),
                    variable: variable.name(),
                    since,
                })
            }
            _ => Ok(said?),
        }
    }

    /// Has the loader start the entry of this file once, and once only.
    ///
    /// # Errors
    /// When bootctl says no, in its own words.
    pub fn start_once(&self, file: &str) -> Result<(), Error> {
        Ok(self.run(["set-oneshot", file].map(OsString::from))?)
    }

    fn in_place(&self, place: &Place, touch_variables: bool, words: &[&str]) -> Result<(), Error> {
        let mut arguments = vec![option("--esp-path=", &place.esp)];
        if place.has_xbootldr() {
            arguments.push(option("--boot-path=", &place.boot));
        }
        if !touch_variables {
            arguments.push("--no-variables".into());
        }
        arguments.extend(words.iter().map(OsString::from));
        Ok(self.run(arguments)?)
    }

    fn program(&self) -> Result<PathBuf, program::Error> {
        match &self.closures {
            Some(program) => Ok(program.clone()),
            None => Ok(host::program_in(&self.root, Program::Bootctl)?),
        }
    }

    fn run(&self, arguments: impl IntoIterator<Item = OsString>) -> Result<(), program::Error> {
        let mut command = Command::new(self.program()?);
        let said = program::stdout_within(command.args(arguments), PATIENCE)?;
        for line in said.lines() {
            tracing::info!("bootctl: {line}");
        }
        Ok(())
    }
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

/// systemd's words for a verb that it does not know, in every version.
fn is_unknown(stderr: &str, verb: &str) -> bool {
    stderr.contains("Unknown command verb") && stderr.contains(verb)
}

#[cfg(test)]
mod tests;
