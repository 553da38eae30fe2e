//! A tree with many generations, made without Nix: what counts here is what lies where.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use lastgood_tests::files;
use lastgood_tests::tree::{KERNEL, Tree};
use serde_json::json;

const PROFILES: &str = "nix/var/nix/profiles";
/// How many bytes are made at once: what is measured must not have to wait for this process's memory.
const PIECE: usize = 64 * 1024;

/// The tree.
#[derive(Debug)]
pub(crate) struct Fixture {
    tree: Tree,
    /// An EFI application, which plays every kernel with bytes of that kernel's own behind it.
    kernel: Vec<u8>,
    /// The size of a kernel, and of an initrd, in bytes.
    half: u64,
}

impl Fixture {
    /// `count` generations with `payload` bytes each.
    pub(crate) fn new(count: u64, payload: u64) -> Result<Self> {
        let fixture = Self {
            tree: Tree::new()?,
            kernel: fs::read(KERNEL).context(KERNEL)?,
            half: payload / 2,
        };
        fs::create_dir_all(fixture.tree.path(PROFILES))?;
        for number in 1..=count {
            fixture.add(number)?;
        }
        Ok(fixture)
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Kernel and initrd together, in bytes.
    pub(crate) fn payload_of_one(&self) -> u64 {
        self.half.max(self.kernel.len() as u64) + self.half
    }

    /// Makes generation `number`, and lets the profile point at it. Its files are new ones, whatever was there.
    pub(crate) fn add(&self, number: u64) -> Result<()> {
        let kernel = store_path(number, "linux");
        let initrd = store_path(number, "initrd");
        let toplevel = store_path(number, "nixos-system-bench");
        for path in [&kernel, &initrd, &toplevel] {
            files::remove(&self.here(path))?;
            fs::create_dir_all(self.here(path))?;
        }
        let (kernel, initrd) = (kernel.join("bzImage"), initrd.join("initrd"));
        self.fill(&kernel, &self.kernel, number)?;
        self.fill(&initrd, &[], number)?;
        let document = json!({
            "org.nixos.bootspec.v1": {
                "system": "x86_64-linux",
                "init": toplevel.join("init"),
                "kernel": kernel,
                "initrd": initrd,
                "kernelParams": ["loglevel=4", format!("number={number}")],
                "label": format!("NixOS 26.05.{number}"),
                "toplevel": toplevel,
            },
            "org.nixos.specialisation.v1": {},
        });
        files::write(
            &self.here(&toplevel.join("boot.json")),
            document.to_string(),
        )?;
        let profiles = self.tree.path(PROFILES);
        let link = format!("system-{number}-link");
        files::link(&toplevel, &profiles.join(&link))?;
        files::link(&link, &profiles.join("system"))
    }

    /// Takes generations above `count` out of the profile.
    pub(crate) fn keep(&self, count: u64) -> Result<()> {
        let profiles = self.tree.path(PROFILES);
        files::remove(&profiles.join(format!("system-{}-link", count + 1)))?;
        let current = profiles.join("system");
        files::remove(&current)?;
        Ok(symlink(format!("system-{count}-link"), current)?)
    }

    /// As before the first install.
    pub(crate) fn forget_all(&self) -> Result<()> {
        for path in [
            "boot/loader",
            "boot/EFI/lastgood",
            "var",
            "nix/var/nix/gcroots",
        ] {
            files::remove(&self.tree.path(path))?;
        }
        Ok(())
    }

    /// As after a reboot, for what the digest record is worth.
    pub(crate) fn forget_digests(&self) -> Result<()> {
        files::remove(&self.tree.path("var/lib/lastgood/digests.jsonl"))
    }

    /// A file of the right size that no other generation has.
    fn fill(&self, path: &Path, head: &[u8], number: u64) -> Result<()> {
        use std::io::Write as _;
        let mut file = fs::File::create(self.here(path))?;
        file.write_all(head)?;
        let mut left = self.half.saturating_sub(head.len() as u64);
        let piece: Vec<u8> = number
            .to_le_bytes()
            .into_iter()
            .cycle()
            .take(PIECE)
            .collect();
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            file.write_all(piece.get(..length).unwrap_or_default())?;
            left -= length as u64;
        }
        Ok(())
    }

    fn here(&self, path: &Path) -> PathBuf {
        let inside = path.strip_prefix("/").unwrap_or(path);
        self.tree.path("").join(inside)
    }
}

/// As Nix writes them: 32 characters, a hyphen, a name.
fn store_path(number: u64, name: &str) -> PathBuf {
    Path::new("/nix/store").join(format!("{number:032}-{name}-{number}"))
}
