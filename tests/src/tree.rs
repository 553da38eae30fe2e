//! A directory that plays a machine: a real Nix store and profile in it, made by real Nix, and a `/boot`.
//!
//! The golden-tree ring runs the shipped binary on it with `--root`. There is no kernel to boot here: systemd's EFI
//! stub, which is an x86-64 EFI application like a kernel's, plays it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use serde_json::Value;

use crate::{command, files, paths, program, scratch};

/// An EFI application that every host of the rig has. It plays kernels.
pub const KERNEL: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
/// The loader, as `bootctl install` puts it.
const LOADER: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
/// The system profile.
const PROFILE: &str = "nix/var/nix/profiles/system";

/// A machine in a directory. Gone when dropped.
#[derive(Debug)]
pub struct Tree {
    directory: tempfile::TempDir,
}

/// How a run of `lastgood` ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit status.
    pub status: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

/// One of the processors that there are for this process, another one each time.
fn next_processor() -> Result<usize> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let all = (0..CpuSet::count()).filter(|at| allowed.is_set(*at) == Ok(true));
    let all: Vec<usize> = all.collect();
    let at = NEXT.fetch_add(1, Ordering::Relaxed) % all.len().max(1);
    all.get(at).copied().context("no processor")
}

impl Tree {
    /// A tree with systemd-boot on its `/boot` and no generation.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> Result<Self> {
        let tree = Self {
            directory: scratch::directory("tree-")?,
        };
        for place in ["EFI/systemd/systemd-bootx64.efi", "EFI/BOOT/BOOTX64.EFI"] {
            let place = tree.path("boot").join(place);
            fs::create_dir_all(place.parent().context("no directory")?)?;
            fs::copy(LOADER, place)?;
        }
        Ok(tree)
    }

    /// Another machine just like this one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn copy(&self) -> Result<Self> {
        let directory = scratch::directory("tree-")?;
        let from = self.path(".");
        let words = ["-a", "--reflink=auto"].map(AsRef::as_ref);
        let places = [from.as_os_str(), directory.path().as_os_str()];
        command::run("cp", words.into_iter().chain(places))?;
        Ok(Self { directory })
    }

    /// A path of the tree as a path of this process.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// A store path with NixOS's layout, built by real Nix. `extra` are shell commands that run at the end of its
    /// builder, with `$out` being the closure.
    ///
    /// # Errors
    /// When Nix says no.
    pub fn build(&self, name: &str, extra: &str) -> Result<PathBuf> {
        self.build_with(name, extra, &[], &Value::Object(serde_json::Map::new()))
    }

    /// [`Self::build`], with specialisations of these names, and `more` merged into `boot.json`.
    ///
    /// # Errors
    /// When Nix says no.
    pub fn build_with(
        &self,
        name: &str,
        extra: &str,
        specialisations: &[&str],
        more: &Value,
    ) -> Result<PathBuf> {
        self.built(name, extra, (specialisations, &[]), more)
    }

    fn built(
        &self,
        name: &str,
        extra: &str,
        (specialisations, packages): (&[&str], &[&str]),
        more: &Value,
    ) -> Result<PathBuf> {
        let specialisations = serde_json::to_string(specialisations)?;
        let packages = serde_json::to_string(packages)?;
        let expression = paths::repository().join("tests/trees/closure.nix");
        let built = command::output(
            self.nix("nix-build")
                .arg(expression)
                .args(["--no-out-link", "--argstr", "name", name])
                .args(["--argstr", "extra", extra])
                .args(["--argstr", "specialisations", &specialisations])
                .args(["--argstr", "more", &more.to_string()])
                .args(["--argstr", "packages", &packages])
                .args(["--arg", "kernel", KERNEL]),
        )?;
        Ok(PathBuf::from(built.trim()))
    }

    /// [`Self::build`], with store paths of these names that the closure needs.
    ///
    /// # Errors
    /// When Nix says no.
    pub fn build_needing(&self, name: &str, extra: &str, packages: &[&str]) -> Result<PathBuf> {
        let more = Value::Object(serde_json::Map::new());
        self.built(name, extra, (&[], packages), &more)
    }

    /// What `nix store diff-closures` says of two closures.
    ///
    /// # Errors
    /// When Nix says no.
    pub fn nix_diff(&self, from: &Path, to: &Path) -> Result<String> {
        let mut nix = self.nix("nix");
        let feature = ["--extra-experimental-features", "nix-command"];
        command::output(
            nix.args(feature)
                .args(["store", "diff-closures"])
                .arg(from)
                .arg(to),
        )
    }

    /// Runs a program of Nix's that finds the store of this tree at `/nix`, where links in it lead. In its sandbox there
    /// is nothing of this host.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn bare_nix(&self, program: &str, arguments: &[&str]) -> Result<Ended> {
        const SCRIPT: &str = r#"mkdir -p /nix; mount --bind "$1" /nix; shift; exec "$@""#;
        const CONFIG: &str = "substitute = false\nbuild-users-group =\nsandbox = true\nsandbox-fallback = false\nsandbox-paths =";
        let nix = self.path("nix");
        fs::create_dir_all(&nix)?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-euc", SCRIPT, "bare"]);
        command.arg(nix).arg(program).args(arguments);
        let home = self.directory.path();
        command.env("NIX_REMOTE", "local").env("HOME", home);
        Self::run(command.env("NIX_CONFIG", CONFIG))
    }

    /// Makes `toplevel` the next generation of the system profile, with real `nix-env`.
    ///
    /// # Errors
    /// When Nix says no.
    pub fn set(&self, toplevel: &Path) -> Result<()> {
        let profile = self.path(PROFILE);
        command::output(
            self.nix("nix-env")
                .arg("--profile")
                .arg(profile)
                .arg("--set")
                .arg(toplevel),
        )?;
        Ok(())
    }

    /// Generations 1 to `count`, each with parameters of its own.
    ///
    /// # Errors
    /// When Nix says no.
    pub fn generations(&self, count: u64) -> Result<Vec<PathBuf>> {
        let mut all = Vec::new();
        for number in 1..=count {
            let toplevel = self.build(&number.to_string(), "")?;
            self.set(&toplevel)?;
            all.push(toplevel);
        }
        Ok(all)
    }

    /// Real `nix-env --delete-generations`.
    ///
    /// # Errors
    /// When Nix says no.
    pub fn delete_generation(&self, number: u64) -> Result<()> {
        let profile = self.path(PROFILE);
        let number = number.to_string();
        command::output(
            self.nix("nix-env")
                .arg("--profile")
                .arg(profile)
                .args(["--delete-generations", &number]),
        )?;
        Ok(())
    }

    /// The firmware says that the machine was started from `entry`.
    ///
    /// # Errors
    /// When the tree cannot be written.
    pub fn booted(&self, entry: &str) -> Result<()> {
        self.firmware_says("LoaderEntrySelected", entry)
    }

    /// The loader's variable of this name is `text`.
    ///
    /// # Errors
    /// When the tree cannot be written.
    pub fn firmware_says(&self, variable: &str, text: &str) -> Result<()> {
        // Four bytes of attributes, as efivarfs has them, and UTF-16 with its NUL.
        let mut bytes = vec![6, 0, 0, 0];
        bytes.extend(text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        let name = format!("{variable}-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f");
        let path = self.path("sys/firmware/efi/efivars").join(name);
        files::write(&path, bytes)
    }

    fn nix(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("NIX_REMOTE", format!("local?root={}", self.directory.path().display()))
            .env("NIX_CONFIG", "substitute = false\nbuild-users-group =\nsandbox-paths = /bin/busybox=/bin/busybox")
            .env("HOME", self.directory.path());
        command
    }

    /// Runs the shipped binary on this tree.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub fn lastgood(&self, arguments: &[&str]) -> Result<Ended> {
        self.lastgood_in(&[], arguments)
    }

    /// Runs it with more in its environment.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub fn lastgood_in(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Result<Ended> {
        let mut command = Command::new(program::build()?);
        command.arg("--root").arg(self.directory.path());
        command.args(arguments).env("TZ", "UTC");
        Self::run(command.envs(variables.iter().copied()))
    }

    /// Runs it under strace with the given options, which write to `trace`.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub fn traced(&self, options: &[&str], trace: &Path, arguments: &[&str]) -> Result<Ended> {
        // On one processor it reads in one thread, and so makes the same calls in the same order every time.
        let mut strace = Command::new("taskset");
        strace
            .env("TZ", "UTC")
            .args(["--cpu-list", &next_processor()?.to_string(), "strace"])
            .arg("-o")
            .arg(trace)
            .args(options)
            .arg(program::build()?);
        Self::run(
            strace
                .arg("--root")
                .arg(self.directory.path())
                .args(arguments),
        )
    }

    fn run(command: &mut Command) -> Result<Ended> {
        let output = command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {command:?}"))?;
        Ok(Ended {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    /// What systemd's own reader makes of this tree's `/boot`: `bootctl list --json`.
    ///
    /// bootctl insists on the root of a file system, so it sees a copy on a tmpfs of its own.
    ///
    /// # Errors
    /// When it says no.
    pub fn bootctl_list(&self) -> Result<Vec<Value>> {
        const SCRIPT: &str = r#"mount -t tmpfs tmpfs /mnt; cp -r "$1/." /mnt
            exec bootctl list --esp-path=/mnt --boot-path=/mnt --json=short"#;
        let listed = command::output(
            Command::new("unshare")
                .args(["--mount", "sh", "-euc", SCRIPT, "list"])
                .arg(self.path("boot"))
                .env("SYSTEMD_RELAX_ESP_CHECKS", "1")
                .env("SYSTEMD_RELAX_XBOOTLDR_CHECKS", "1"),
        )?;
        // Version 252 prints one object a line, later ones an array of them.
        let mut entries = Vec::new();
        for value in serde_json::Deserializer::from_str(&listed).into_iter() {
            match value? {
                Value::Array(several) => entries.extend(several),
                one => entries.push(one),
            }
        }
        // What the loader finds by itself (the firmware's setup, say) is not ours to compare.
        entries.retain(|entry| entry.get("linux").is_some());
        Ok(entries)
    }

    /// The names of the entry files, sorted.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn entries(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for path in files::sorted_entries(&self.path("boot/loader/entries"))? {
            names.push(
                path.file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
            );
        }
        Ok(names)
    }

    /// The file name of the entry of a generation.
    ///
    /// # Errors
    /// When there is not exactly one.
    pub fn entry_of(&self, number: u64) -> Result<String> {
        let prefix = format!("lastgood-{number}-");
        let all = self.entries()?;
        let mut names = all.iter().filter(|name| name.starts_with(&prefix));
        let name = names
            .next()
            .with_context(|| format!("no entry of generation {number} in {all:?}"))?;
        anyhow::ensure!(
            names.next().is_none(),
            "generation {number} has several entries: {all:?}"
        );
        Ok(name.clone())
    }

    /// The file names of the entries of a generation, as titles name it (`3`, `3/name`).
    ///
    /// # Errors
    /// When an entry cannot be read.
    pub fn entries_titled(&self, id: &str) -> Result<Vec<String>> {
        let mut names = self.entries()?;
        let ending = format!(" (generation {id})");
        let mut failed = None;
        names.retain(|name| {
            let text = fs::read_to_string(self.path("boot/loader/entries").join(name));
            let text = text.unwrap_or_else(|error| {
                failed = Some(error);
                String::new()
            });
            let title = text.lines().find_map(|line| line.strip_prefix("title "));
            title.is_some_and(|title| title.ends_with(&ending))
        });
        failed.map_or(Ok(names), |error| Err(error.into()))
    }

    /// Plays the loader: counts one boot of a generation, as systemd-boot does, by renaming its entry.
    ///
    /// # Errors
    /// When it has no counter.
    pub fn count_a_boot(&self, number: u64) -> Result<()> {
        let name = self.entry_of(number)?;
        let (stem, rest) = name.rsplit_once('+').context("not counted")?;
        let (left, done) = rest
            .trim_end_matches(".conf")
            .split_once('-')
            .context("not counted")?;
        let (left, done): (u32, u32) = (left.parse()?, done.parse()?);
        let to = format!("{stem}+{}-{}.conf", left.saturating_sub(1), done + 1);
        let entries = self.path("boot/loader/entries");
        Ok(fs::rename(entries.join(name), entries.join(to))?)
    }

    /// Every file and directory under `/boot` and `/var`, with what changes when it is written to: two equal ones mean
    /// that nothing was written in between.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn stamps(&self) -> Result<BTreeMap<PathBuf, (u64, i64, i64, u64)>> {
        let mut stamps = BTreeMap::new();
        let mut todo = vec![
            self.path("boot"),
            self.path("var"),
            self.path("nix/var/nix/gcroots"),
        ];
        while let Some(path) = todo.pop() {
            let found = fs::symlink_metadata(&path)?;
            if found.is_dir() {
                todo.extend(files::sorted_entries(&path)?);
            }
            stamps.insert(
                path,
                (found.ino(), found.ctime(), found.ctime_nsec(), found.size()),
            );
        }
        Ok(stamps)
    }
}
