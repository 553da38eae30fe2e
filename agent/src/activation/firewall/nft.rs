//! Running `nft`, and what it has to say.

use std::fmt;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::super::ruleset::{Place, Table};
use crate::host::Program;
use crate::system::program::{self, Ran};

/// How a script reaches nft: by its standard input.
const STDIN: &str = "/dev/stdin";

/// How long nft may take. A million addresses take ten seconds. A name that no server resolves takes for ever.
const PATIENCE: Duration = Duration::from_mins(2);

/// What nft calls an error of the kernel's.
const BY_THE_KERNEL: [&str; 2] = ["Could not process rule: ", "kernel support is missing"];

/// Makes a command that runs nft, here or elsewhere.
pub(super) type Nft<'a> = &'a (dyn Fn() -> Result<Command, program::Error> + Sync);

/// Why nft did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be run.
    #[error(transparent)]
    Program(#[from] program::Error),
    /// A script could not be handed to it.
    #[error("cannot hand a script to nft: {0}")]
    Input(#[from] io::Error),
    /// It has something against the script.
    #[error("{0}")]
    Complaint(Complaint),
    /// It cannot work here.
    #[error("nft: {0}")]
    Unable(String),
}

/// What nft has against a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The file. None: the script itself.
    pub file: Option<String>,
    /// Where.
    pub place: Place,
    /// What.
    pub message: String,
    /// The line, without blanks around it.
    pub source: String,
}

/// What a complaint depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// The text, and nothing else.
    Text,
    /// Somebody who may not be there yet: activation makes the closure's users before it loads its firewall.
    Users,
    /// What is on this machine: interfaces, what the kernel can do.
    Machine,
}

impl Complaint {
    /// What it depends on.
    pub(super) fn about(&self) -> About {
        match self.message.as_str() {
            "User does not exist" | "Group does not exist" => About::Users,
            "Interface does not exist" => About::Machine,
            message if BY_THE_KERNEL.iter().any(|words| message.contains(words)) => About::Machine,
            _ => About::Text,
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Places in a script are those of a text that nobody has seen.
        if let Some(file) = &self.file {
            write!(f, "{file}, {}: ", self.place)?;
        }
        write!(f, "{}", self.message)?;
        if !self.source.is_empty() {
            write!(f, " (`{}`)", self.source)?;
        }
        let advice = match self.message.as_str() {
            "Interface does not exist" => {
                "write iifname or oifname, which wait for an interface that is not there yet"
            }
            message if message.starts_with("Could not resolve hostname") => {
                "write the address: there is no network yet when a firewall is loaded"
            }
            _ => return Ok(()),
        };
        write!(f, "; {advice}")
    }
}

/// Runs one script, which is one transaction: all of it is in, or nothing.
pub(super) fn run(nft: Nft<'_>, script: &str) -> Result<(), Error> {
    ran(nft()?.args(["-f", "-"]), script)
}

/// Has nft and the kernel look at a script, which changes nothing. What it complains of, in order; none: nothing.
pub(super) fn look(nft: Nft<'_>, script: &str) -> Result<Vec<Complaint>, Error> {
    let mut command = nft()?;
    let ran = run_on(command.args(["-c", "-f", "-"]), script)?;
    let complaints = complaints(&ran.stderr);
    if !ran.status.success() && complaints.is_empty() {
        return Err(Error::Unable(last_words(&ran)));
    }
    Ok(if ran.status.success() {
        Vec::new()
    } else {
        complaints
    })
}

/// The handles of a table and of everything in it, the table's own first. The kernel gives each but once. None: it is
/// not there.
///
/// Not its text: no nft lists what another one has loaded in the same words.
pub(super) fn handles(nft: Nft<'_>, table: &Table) -> Option<Vec<u64>> {
    let words = ["-a", "-t", "list", "table", &table.family, &table.name];
    let mut command = nft().ok()?;
    let listed = program::stdout_of(command.args(words)).ok()?;
    let handles: Vec<u64> = listed.lines().filter_map(handle).collect();
    (!handles.is_empty()).then_some(handles)
}

/// nft of the running machine.
pub(super) fn of_this_machine() -> Result<Command, program::Error> {
    program::command(Program::Nft)
}

fn handle(line: &str) -> Option<u64> {
    let (_, handle) = line.rsplit_once("# handle ")?;
    handle.parse().ok()
}

fn ran(command: &mut Command, script: &str) -> Result<(), Error> {
    let ran = run_on(command, script)?;
    if ran.status.success() {
        return Ok(());
    }
    Err(match complaints(&ran.stderr).into_iter().next() {
        Some(complaint) => Error::Complaint(complaint),
        None => Error::Unable(last_words(&ran)),
    })
}

fn run_on(command: &mut Command, script: &str) -> Result<Ran, Error> {
    // Not an argument: its length is limited. Not a pipe: somebody would have to write into it meanwhile.
    let mut file: File = memfd_create("nft", MFdFlags::MFD_CLOEXEC)
        .map_err(io::Error::from)?
        .into();
    file.write_all(script.as_bytes())?;
    file.rewind()?;
    Ok(program::run_within(command, Stdio::from(file), PATIENCE)?)
}

/// Reads `FILE:LINE:COLUMN-COLUMN: Error: MESSAGE`, the line after it, and no more.
fn complaints(stderr: &str) -> Vec<Complaint> {
    let next = stderr.lines().skip(1).chain([""]);
    let with_source = stderr.lines().zip(next);
    let complaint = |(line, source): (&str, &str)| {
        let (at, message) = line.split_once(": Error: ")?;
        let (at, columns) = at.rsplit_once(':')?;
        let (file, line) = at.rsplit_once(':')?;
        let (column, _) = columns.split_once('-')?;
        Some(Complaint {
            file: (file != STDIN).then(|| file.to_owned()),
            place: Place {
                line: line.parse().ok()?,
                column: column.parse().ok()?,
            },
            message: message.trim().to_owned(),
            source: boot_entries::bounded::one_line(source.trim(), 120),
        })
    };
    with_source.filter_map(complaint).collect()
}

fn last_words(ran: &Ran) -> String {
    let last = ran.stderr.lines().rfind(|line| !line.trim().is_empty());
    last.map_or_else(|| ran.status.to_string(), |line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nft_says_is_read_with_its_place() {
        let said = "In file included from /dev/stdin:3:1-28:\n\
                    /nix/store/a:b/port.nft:3:15-19: Error: Service out of range\n    tcp dport 70000 accept\n              ^^^^^\n\
                    /dev/stdin:5:1-1: Error: syntax error, unexpected '}'\n}\n^\n";
        let found = complaints(said);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(
            found[0].to_string(),
            "/nix/store/a:b/port.nft, line 3, column 15: Service out of range (`tcp dport 70000 accept`)"
        );
        assert_eq!(found[1].to_string(), "syntax error, unexpected '}' (`}`)");
        for none in [
            "",
            "netlink: Error: cache initialization failed: Operation not permitted\n",
            "mnl.c:60: Unable to initialize Netlink socket: Protocol not supported\n",
        ] {
            assert_eq!(complaints(none), [], "{none}");
        }
    }

    #[test]
    fn handles_are_read_and_nothing_that_looks_like_one() {
        let listed = "table inet ours { # handle 17\n\tset s { # handle 4\n\tchain c { # handle 1\n\
                      \t\taccept comment \"# handle 99\" # handle 5\n\t\taccept comment \"# handle 8\"\n";
        let found: Vec<u64> = listed.lines().filter_map(handle).collect();
        assert_eq!(found, [17, 4, 1, 5]);
    }
}
