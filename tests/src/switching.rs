//! Closures for stories about switches, by what is in them; and what a machine looks like before and after.
//!
//! A closure lies in the store as Nix leaves it: under a name that its content decides, with all times 1, and nobody may
//! write to it. systemd takes two files with the same times for the same file (`NeedDaemonReload`), and a cache of a
//! directory for fresh, so that a switch that trusts in times is found out.

mod look;
mod nixos;
mod records;
mod trace;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use boot_entries::generation::GenerationId;
use lastgood::state::Subject;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use serde_json::json;
use sha2::{Digest as _, Sha256};

pub use self::look::{Difference, Look, look};
pub use self::nixos::is_nixos;
pub use self::records::{Record, show};
pub use self::trace::{TRACE, steps, traced, traced_by};
use crate::container::{Container, goes_back_at_once};
use crate::files;

/// What a closure of these stories says to lastgood, if it says nothing else: short times.
pub const CONFIG: &str = "\
[health]
required-units = [\"nginx.service\"]
settle-sec = 1
deadline-sec = 20

[firewall]
ruleset = \"etc/nftables.conf\"

[switch]
settle-sec = 1
patience-sec = 10
";

/// Nix's digits: no vowels but these, so that no name is a word.
const DIGITS: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// One thing in a closure.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    File(String),
    Program(String),
    Link(String),
}

/// A closure that is not yet on a machine.
#[derive(Debug, Clone)]
pub struct Closure(BTreeMap<String, Entry>);

impl Default for Closure {
    fn default() -> Self {
        Self::new()
    }
}

impl Closure {
    /// A web server behind a firewall, as the guest has it, and nothing else.
    #[must_use]
    pub fn new() -> Self {
        Self(BTreeMap::new())
            .file("etc/lastgood/lastgood.toml", CONFIG)
            .file("etc/nginx/www/index.html", "<p>a page</p>\n")
            .file(
                "etc/nginx/nginx.conf",
                include_str!("../guest/closure/nginx.conf"),
            )
            .file(
                "etc/nftables.conf",
                include_str!("../guest/closure/nftables.conf"),
            )
            .wanted(
                "nginx.service",
                include_str!("../guest/closure/nginx.service"),
            )
    }

    /// With a file.
    #[must_use]
    pub fn file(self, path: &str, text: impl Into<String>) -> Self {
        self.with(path, Entry::File(text.into()))
    }

    /// With a file that can be run.
    #[must_use]
    pub fn program(self, path: &str, text: impl Into<String>) -> Self {
        self.with(path, Entry::Program(text.into()))
    }

    /// With a link.
    #[must_use]
    pub fn link(self, path: &str, target: &str) -> Self {
        self.with(path, Entry::Link(target.to_owned()))
    }

    /// With a unit that nothing wants.
    #[must_use]
    pub fn unit(self, name: &str, text: impl Into<String>) -> Self {
        self.file(&format!("etc/systemd/system/{name}"), text)
    }

    /// With a unit that every boot wants.
    #[must_use]
    pub fn wanted(self, name: &str, text: impl Into<String>) -> Self {
        self.unit(name, text).wants("multi-user.target", name)
    }

    /// With an entry in the `.wants` directory of a unit.
    #[must_use]
    pub fn wants(self, wanting: &str, name: &str) -> Self {
        let of = template_of(name).unwrap_or_else(|| name.to_owned());
        self.link(
            &format!("etc/systemd/system/{wanting}.wants/{name}"),
            &format!("../{of}"),
        )
    }

    /// Without what is there under this path, and below it.
    #[must_use]
    pub fn without(mut self, path: &str) -> Self {
        self.0.retain(|at, _| !Path::new(at).starts_with(path));
        self
    }

    /// Without a unit, and without its entry in `multi-user.target.wants`.
    #[must_use]
    pub fn without_unit(self, name: &str) -> Self {
        self.without(&format!("etc/systemd/system/{name}"))
            .without(&format!(
                "etc/systemd/system/multi-user.target.wants/{name}"
            ))
    }

    fn with(mut self, path: &str, entry: Entry) -> Self {
        self.0.insert(path.to_owned(), entry);
        self
    }

    /// Puts it into the store of a machine that is off, as generation `number` of the system profile, which is the
    /// current one if it is the first. What is booted is the same in all of them, so that a switch may be live.
    ///
    /// # Errors
    /// As the file system says.
    pub fn lay(&self, server: &Container, number: u64) -> Result<Subject> {
        let name = format!("{}-nixos-system-rig-26.05.{number}", self.digest(number));
        let toplevel = Path::new("/nix/store").join(name);
        let tree = server.disk().join(&toplevel);
        for (path, entry) in &self.0 {
            entry.write(&tree.join(path))?;
        }
        for (path, text) in booted(server, &toplevel, number)? {
            if !self.0.contains_key(path) {
                text.write(&tree.join(path))?;
            }
        }
        goes_back_at_once(&tree)?;
        seal(&tree)?;
        let generation = GenerationId::system(number);
        let profile = server.disk().join(generation.profile_link());
        let link = generation.link_name();
        files::link(&toplevel, &profile.with_file_name(&link))?;
        if number == 1 {
            files::link(link, &profile)?;
        }
        Ok(Subject {
            generation,
            toplevel,
        })
    }

    fn digest(&self, number: u64) -> String {
        let entries = self.0.iter();
        let entries = entries.map(|(path, entry)| format!("{path}\0{entry:?}"));
        let all: Vec<String> = std::iter::once(number.to_string()).chain(entries).collect();
        digits(&all)
    }
}

/// As a name in the store begins: Nix's digits of what these hold.
fn digits<T: AsRef<[u8]>>(parts: &[T]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_ref());
        hash.update([0]);
    }
    let digits = hash.finalize();
    let digits = digits.iter().filter_map(|byte| {
        let digit = DIGITS.get(usize::from(*byte) % DIGITS.len())?;
        Some(char::from(*digit))
    });
    digits.collect()
}

impl Entry {
    fn write(&self, path: &Path) -> Result<()> {
        let mode = match self {
            Self::Link(target) => return files::link(target, path),
            Self::File(text) => {
                files::write(path, text)?;
                0o444
            }
            Self::Program(text) => {
                files::write(path, text)?;
                0o555
            }
        };
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
    }
}

/// What the loader and the kernel need: the guest's first closure's.
fn booted(server: &Container, toplevel: &Path, number: u64) -> Result<Vec<(&'static str, Entry)>> {
    let first = server.first_closure();
    let leads = |name: &str| -> Result<String> {
        let path = first.join(name);
        let target = fs::read_link(&path).with_context(|| path.display().to_string())?;
        Ok(target.display().to_string())
    };
    let parameters = fs::read_to_string(first.join("kernel-params"))?;
    let (kernel, initrd) = (leads("kernel")?, leads("initrd")?);
    let document = json!({
        "org.nixos.bootspec.v1": {
            "system": "x86_64-linux",
            "init": toplevel.join("init"),
            "kernel": kernel,
            "initrd": initrd,
            "kernelParams": parameters.split_whitespace().collect::<Vec<_>>(),
            "label": format!("26.05.{number}"),
            "toplevel": toplevel,
        },
        "org.nixos.specialisation.v1": {},
    });
    Ok(vec![
        ("boot.json", Entry::File(document.to_string())),
        ("init", Entry::Link(leads("init")?)),
        ("kernel", Entry::Link(kernel)),
        ("initrd", Entry::Link(initrd)),
        ("kernel-params", Entry::File(parameters)),
        ("nixos-version", Entry::File(format!("26.05.{number}"))),
        ("system", Entry::File("x86_64-linux".to_owned())),
    ])
}

/// `worker@.service` of `worker@one.service`.
fn template_of(name: &str) -> Option<String> {
    let (prefix, rest) = name.split_once('@')?;
    let (_, kind) = rest.rsplit_once('.')?;
    Some(format!("{prefix}@.{kind}"))
}

/// Times and permissions as in a store.
fn seal(path: &Path) -> Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_dir() {
        for child in files::sorted_entries(path)? {
            seal(&child)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o555))?;
    }
    let then = TimeSpec::new(1, 0);
    utimensat(
        AT_FDCWD,
        path,
        &then,
        &then,
        UtimensatFlags::NoFollowSymlink,
    )
    .with_context(|| format!("cannot set the times of {}", path.display()))
}

/// Tells the machine's own Nix of the closures, which is what building or copying them would have done: from then on
/// `nix-env` and `nix-collect-garbage` know them.
///
/// # Errors
/// When Nix says no.
pub fn register(server: &Container, subjects: &[&Subject]) -> Result<()> {
    let first = server.first_closure();
    let of = |name: &str| -> Result<String> {
        let path = fs::read_link(first.join(name))?;
        let path = path.parent().context("no store path")?;
        Ok(format!("{}\\n", path.display()))
    };
    let mut needed = vec![of("kernel")?, of("initrd")?];
    // Units that are store paths of their own.
    let mut units = Vec::new();
    for path in files::sorted_entries(&server.disk().join("/nix/store"))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.contains("-unit-") {
            units.push(format!("/nix/store/{name}\\n"));
        }
    }
    // Path, deriver, number of references, references.
    let of_units = units.iter().map(|path| format!("{path}\\n0\\n"));
    let of_units = of_units.collect::<Vec<_>>().concat();
    needed.extend(units);
    let (count, needed) = (needed.len(), needed.concat());
    let of_closures = subjects
        .iter()
        .map(|subject| format!("{}\\n\\n{count}\\n{needed}", subject.toplevel.display()));
    let of_closures = of_closures.collect::<Vec<_>>().concat();
    server.run_ok(&format!(
        "printf '{of_units}{of_closures}' | nix-store --register-validity --reregister"
    ))?;
    Ok(())
}

/// What a deploy tool does before a switch: the profile gets the closure as its newest generation.
///
/// # Errors
/// When Nix says no.
pub fn deploy(server: &Container, subject: &Subject) -> Result<()> {
    server.run_ok(&format!(
        "nix-env --profile /nix/var/nix/profiles/system --set {}",
        subject.toplevel.display()
    ))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_follows_from_the_content() {
        let one = Closure::new().unit("a.service", "[Service]\n");
        let two = Closure::new().unit("a.service", "[Service]\nNice=1\n");
        assert_eq!(one.digest(1), one.clone().digest(1));
        assert_ne!(one.digest(1), two.digest(1));
        assert_eq!(one.digest(1).len(), 32);
    }

    #[test]
    fn an_instance_is_wanted_by_its_template() {
        let closure = Closure::new().wants("multi-user.target", "worker@one.service");
        let path = "etc/systemd/system/multi-user.target.wants/worker@one.service";
        assert_eq!(
            closure.0.get(path),
            Some(&Entry::Link("../worker@.service".to_owned()))
        );
        let without = closure.without_unit("worker@one.service");
        assert_eq!(without.0.get(path), None);
    }
}
