//! A closure's units and the host's, as systemd will read them together, before anything is booted with them.
//!
//! Units that wait for each other in a circle are the one mistake that shows nowhere: systemd leaves one of them out, says so
//! in the journal alone, and which one it is differs from release to release. `systemd-analyze verify` finds the circle
//! (systemd-analyze(1)). It reads units where `SYSTEMD_UNIT_PATH` says, so a directory is made for it as the generator
//! would make it, and removed again.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use boot_entries::{Root, bounded};

use super::{Found, Listed, OF_ALL_SERVICES, apply, plan, units};
use crate::activation::generator::mask::Masks;
use crate::host::{self, ETC_UNITS, Kind, Program, RANDOM_UUID, RUN_UNITS, UNIT_KINDS};
use crate::system::program;

/// Where systemd reads units, below the generator's early directory, in its order (systemd.unit(5)).
pub(super) const BELOW: [&str; 7] = [
    ETC_UNITS,
    RUN_UNITS,
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
];

/// A tenth of a second is usual. A slow machine with thousands of units takes longer.
const PATIENCE: Duration = Duration::from_mins(1);

/// No id is longer.
const ID: u64 = 64;

/// Names of units that wait for each other.
pub type Circle = BTreeSet<String>;

/// Why nobody knows whether there is a circle.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory could not be made.
    #[error("cannot make {path}: {source}")]
    Make {
        /// Which one, or what should be in it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// systemd-analyze could not be asked.
    #[error(transparent)]
    Ask(#[from] program::Error),
}

/// The circles that `closure` brings to this machine. One that the host has without it is the host's.
///
/// # Errors
/// When systemd cannot be asked.
pub fn circles(root: &Root, closure: &Path) -> Result<Vec<Circle>, Error> {
    let listed = units::read(root, closure).listed;
    let found = Found {
        closure: Some(closure.to_owned()),
        masks: Masks::read(root, &listed),
        units: listed,
        host: Some(Kind::Plain),
        trial: false,
    };
    let early = Early::make(&found)?;
    let together = brought_by(&found.units, verify(Some(&early.0))?);
    if together.is_empty() {
        return Ok(Vec::new());
    }
    let alone = verify(None)?;
    Ok(together.difference(&alone).cloned().collect())
}

/// Those of `circles` in which something is the closure's. Of circles that share units systemd tells another one each
/// time, so that one of the host's own may be told only when the closure's units are there.
fn brought_by(listed: &[Listed], mut circles: BTreeSet<Circle>) -> BTreeSet<Circle> {
    let is_brought = |unit: &String| listed.iter().any(|one| is_about(&one.path, unit));
    circles.retain(|circle| circle.iter().any(is_brought));
    circles
}

/// Whether what a closure has at `path` is `unit`, starts it, or says something of it.
fn is_about(path: &Path, unit: &str) -> bool {
    let directory = path.parent().and_then(Path::to_str).unwrap_or_default();
    let of = directory
        .strip_suffix(".d")
        .or_else(|| path.file_name().and_then(OsStr::to_str))
        .unwrap_or_default();
    let (name, kind) = unit.rsplit_once('.').unwrap_or_default();
    let template = name
        .split_once('@')
        .map(|(name, _)| format!("{name}@.{kind}"));
    let is_of_all = directory == OF_ALL_SERVICES && kind == "service";
    // `a-.service.d` is for `a-b.service`, too.
    let is_prefix = of
        .rsplit_once("-.")
        .is_some_and(|(begin, of)| of == kind && name.starts_with(&format!("{begin}-")));
    of == unit || template.as_deref() == Some(of) || is_of_all || is_prefix
}

/// A directory like that of the generator, which is removed at the end.
struct Early(PathBuf);

impl Early {
    fn make(found: &Found) -> Result<Self, Error> {
        let id = bounded::read(Path::new(RANDOM_UUID), ID).unwrap_or_default();
        let path = std::env::temp_dir().join(format!("lastgood-units-{}", id.trim()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|source| Error::Make {
            path: path.clone(),
            source,
        })?;
        let early = Self(path);
        for make in plan(found).makes {
            match apply(&early.0, &make) {
                Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                    let path = early.0.clone();
                    return Err(Error::Make { path, source });
                }
                _ => {}
            }
        }
        Ok(early)
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        // A few links in a temporary directory. Nothing follows from them.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// The circles that systemd finds in what a boot starts.
fn verify(early: Option<&Path>) -> Result<BTreeSet<Circle>, Error> {
    let path: Vec<&Path> = early.into_iter().chain(BELOW.map(Path::new)).collect();
    let path = std::env::join_paths(path).unwrap_or_default();
    let analyze = host::program(Program::Analyze).map_err(program::Error::from)?;
    let mut command = Command::new(analyze);
    command
        .args(["verify", "--man=no", "default.target"])
        .env("SYSTEMD_UNIT_PATH", path)
        .env("SYSTEMD_LOG_LEVEL", "warning")
        .env("SYSTEMD_COLORS", "0");
    // Its exit status is about other mistakes as well, also of units that are the host's.
    let ran = program::run_within(&mut command, Stdio::null(), PATIENCE)?;
    Ok(told(&ran.stderr))
}

/// The circles in what `systemd-analyze verify` said: over several lines until systemd 261, in one since.
fn told(said: &str) -> BTreeSet<Circle> {
    let mut circles = BTreeSet::new();
    let mut circle = Circle::new();
    for line in said.lines() {
        if let Some((_, found)) = line.split_once("Found ordering cycle") {
            circles.insert(std::mem::replace(&mut circle, names(found)));
        } else if let Some((_, found)) = line.split_once("Found dependency on") {
            circle.append(&mut names(found));
        }
    }
    circles.insert(circle);
    circles.remove(&Circle::new());
    circles
}

/// The units that are named in `words`, with or without what is to be done with them (`a.service/start`).
fn names(words: &str) -> Circle {
    let unit = |word: &str| {
        let name = word.trim_matches([',', ':', '.']);
        let name = name.split_once('/').map_or(name, |(name, _)| name);
        let (_, kind) = name.rsplit_once('.')?;
        UNIT_KINDS.contains(&kind).then(|| name.to_owned())
    };
    words.split_whitespace().filter_map(unit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle(names: &[&str]) -> Circle {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// The host's own circle is told in another way each time.
    #[test]
    fn a_circle_without_anything_of_the_closure_s_is_the_host_s() {
        let found = circle(&["a.service", "b@x.service", "c-d.service"]);
        for (path, is_brought) in [
            ("z.service", false),
            ("a.service", true),
            ("a.service.d/more.conf", true),
            ("z.service.d/more.conf", false),
            ("multi-user.target.wants/a.service", true),
            ("a.service.wants/z.service", false),
            ("b@.service", true),
            ("b@x.service.d/more.conf", true),
            ("b@y.service", false),
            ("c-.service.d/more.conf", true),
            ("service.d/more.conf", true),
            ("a.socket", false),
        ] {
            let listed = [Listed {
                path: path.into(),
                leads: crate::activation::generator::Leads::File,
            }];
            let brought = brought_by(&listed, BTreeSet::from([found.clone()]));
            assert_eq!(!brought.is_empty(), is_brought, "{path}");
        }
    }

    #[test]
    fn a_circle_is_read_from_what_each_release_says() {
        for (said, circles) in [
            // 252, 257
            (
                "cyb.service: Found ordering cycle on cya.service/start\n\
                 cyb.service: Found dependency on cyb.service/start\n\
                 cyb.service: Job cya.service/start deleted to break ordering cycle starting with cyb.service/start\n",
                vec![circle(&["cya.service", "cyb.service"])],
            ),
            // 262
            (
                "Found ordering cycle: cyb.service/start after cya.service/start - after cyb.service",
                vec![circle(&["cya.service", "cyb.service"])],
            ),
            (
                "a.service: Found ordering cycle on b.socket/start\n\
                 a.service: Found dependency on sysinit.target/start\n\
                 c.service: Found ordering cycle on d@x.service/start\n",
                vec![
                    circle(&["b.socket", "sysinit.target"]),
                    circle(&["d@x.service"]),
                ],
            ),
            (
                "/etc/systemd/system/x.service:3: Unknown key 'A' in section [Unit], ignoring.\n",
                vec![],
            ),
            ("", vec![]),
        ] {
            assert_eq!(told(said), circles.into_iter().collect(), "{said}");
        }
    }
}
