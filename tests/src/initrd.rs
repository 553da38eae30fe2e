//! Initrds: static busybox, a few modules in loading order, an `init` script. zstd over cpio.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{command, files};

/// What the name of a compressed module ends with. busybox wants it plain.
const PACKED: &str = ".xz";

/// What an initrd is made of.
pub struct Parts<'a> {
    /// A tree with `lib/modules/<release>`.
    pub kernel: &'a Path,
    /// The kernel's release.
    pub release: &'a str,
    /// A static busybox.
    pub busybox: &'a Path,
    /// The script that becomes `/init`.
    pub init: &'a Path,
    /// Modules to load; their dependencies are found.
    pub modules: &'a [String],
}

impl Parts<'_> {
    /// Writes the initrd to `out`; `scratch` is a directory that does not exist yet and is gone afterwards.
    ///
    /// # Errors
    /// When a part is missing or a tool fails.
    pub fn write(&self, scratch: &Path, out: &Path) -> Result<()> {
        for dir in ["bin", "dev", "proc", "sys", "newroot", "modules"] {
            fs::create_dir_all(scratch.join(dir))?;
        }
        fs::copy(self.busybox, scratch.join("bin/busybox")).context("no static busybox")?;
        files::link("busybox", &scratch.join("bin/sh"))?;
        fs::copy(self.init, scratch.join("init"))?;
        fs::set_permissions(scratch.join("init"), fs::Permissions::from_mode(0o755))?;
        self.copy_modules(&scratch.join("modules"))?;
        let pack = r#"find . -print0 | LC_ALL=C sort -z | cpio --null -o -H newc -R 0:0 --quiet | zstd -q -3 -o "$0""#;
        command::output(
            Command::new("sh")
                .args(["-euc", pack])
                .arg(out)
                .current_dir(scratch),
        )?;
        files::remove(scratch)
    }

    /// Copies the modules flat and writes `order`, the list `init` loads them by.
    fn copy_modules(&self, into: &Path) -> Result<()> {
        let mut order: Vec<String> = Vec::new();
        for module in self.modules {
            let mut modprobe = Command::new("modprobe");
            modprobe.arg("-d").arg(self.kernel).args([
                "-S",
                self.release,
                "--show-depends",
                module,
            ]);
            for line in command::output(&mut modprobe)?.lines() {
                // "insmod PATH" for what must be loaded, "builtin NAME" for what is there already.
                let Some(path) = line
                    .strip_prefix("insmod ")
                    .map(|path| Path::new(path.trim()))
                else {
                    continue;
                };
                let name = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .trim_end_matches(PACKED)
                    .to_owned();
                if order.contains(&name) {
                    continue;
                }
                if path.to_string_lossy().ends_with(PACKED) {
                    let unpack = r#"xz --decompress --stdout "$0" >"$1""#;
                    let mut shell = Command::new("sh");
                    shell.args(["-euc", unpack]).arg(path);
                    command::output(shell.arg(into.join(&name)))?;
                } else {
                    fs::copy(path, into.join(&name))
                        .with_context(|| format!("no module {}", path.display()))?;
                }
                order.push(name);
            }
        }
        order.push(String::new());
        files::write(&into.join("order"), order.join("\n"))
    }
}
