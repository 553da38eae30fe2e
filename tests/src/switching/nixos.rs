//! A container that is as NixOS is, as far as a switch can tell: `/etc/systemd/system` leads to the closure's through
//! `/etc/static`, and the closure's own `activate` puts `/etc` in place.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Closure, Entry, digits, seal};
use crate::container::Container;
use crate::files;

/// What NixOS's stage 2 has done when systemd starts. And the programs of the release at one place, as in a profile.
const BEFORE: &str = r#"
top=$(sed 's/^init=\([^ ]*\)\/init .*/\1/' /proc/cmdline)
if [ ! -d /rig/bin ]; then
    mkdir -p /rig/bin
    ln -sf /usr/sbin/* /usr/bin/* /rig/bin/
fi
ln -sfn "$top/etc" /etc/static
rm -rf /etc/systemd/system
ln -s /etc/static/systemd/system /etc/systemd/system
: >/etc/NIXOS
ln -sfn "$top" /run/current-system
ln -sfn "$top" /run/booted-system
"#;

/// As nixpkgs', but shorter: what it does to `/etc`, and its last step.
const ACTIVATE: &str = "\
#!/bin/sh
set -e
ln -sfn \"$1/etc\" /etc/.static-new
mv -T /etc/.static-new /etc/static
ln -sfn \"$1\" /run/current-system-new
mv -T /run/current-system-new /run/current-system
";

/// Without anything in `/etc` but links.
const NGINX: &str = "[Unit]\nAfter=network.target\n[Service]\nType=exec\nRuntimeDirectory=nginx\n\
                     ExecStart=/usr/sbin/nginx -c /etc/static/nginx/nginx.conf -g 'daemon off;'\n";

/// What a restart of the units before sysinit.target hangs on.
const REACTIVATION: &str = "[Unit]\nDescription=Reactivate sysinit units\n";

/// Makes the machine, which is off, one whose closures are activated as NixOS's are.
///
/// # Errors
/// As the file system says.
pub fn is_nixos(server: &Container) -> Result<()> {
    server.write("/usr/lib/os-release", "ID=nixos\nNAME=NixOS\n")?;
    server.write("/rig/before", BEFORE)
}

impl Closure {
    /// With what a NixOS toplevel has beside it, and with the units that the release has in `/etc`, which is where all
    /// units are there.
    ///
    /// # Errors
    /// When the release's cannot be read.
    pub fn for_nixos(mut self, server: &Container) -> Result<Self> {
        let units = server.release().join("etc/systemd/system");
        let mut left = vec![units.clone()];
        while let Some(directory) = left.pop() {
            for path in files::sorted_entries(&directory)? {
                let inside = path.strip_prefix(&units)?.display().to_string();
                let inside = format!("etc/systemd/system/{inside}");
                if path.is_symlink() {
                    let target = fs::read_link(&path)?;
                    self = self.link(&inside, &target.display().to_string());
                } else if path.is_dir() {
                    left.push(path);
                } else {
                    self = self.file(&inside, read(&path)?);
                }
            }
        }
        let conf = include_str!("../../guest/closure/nginx.conf");
        let conf = conf.replace("/etc/nginx/www", "/etc/static/nginx/www");
        self.file("etc/nginx/nginx.conf", conf)
            .unit("nginx.service", NGINX)
            // As in every closure of NixOS's: what is there is what is wanted.
            .file("etc/fstab", read(&server.release().join("etc/fstab"))?)
            .link("etc/systemd/system.conf", "/etc/systemd/system.conf")
            .activates_also("")
            .link("sw/bin", "/rig/bin")
            .link("systemd", "/usr")
            .file("init-interface-version", "systemd 1")
            .file("switch-inhibitors", "{}")
            .unit("sysinit-reactivation.target", REACTIVATION)
            .with_units_apart(server)
    }
}

impl Closure {
    /// With each unit's file in a store path of its own, named after what it holds, as NixOS has them: what did not change
    /// is the same path in the next closure.
    ///
    /// # Errors
    /// When it cannot be written there.
    pub fn with_units_apart(mut self, server: &Container) -> Result<Self> {
        for (path, entry) in &mut self.0 {
            let Entry::File(text) = entry else {
                continue;
            };
            let Some(name) = path.strip_prefix("etc/systemd/system/") else {
                continue;
            };
            let flat = name.replace('/', "-");
            let place = format!("/nix/store/{}-unit-{flat}/{name}", digits(&[name, text]));
            let at = server.disk().join(&place);
            if !at.try_exists()? {
                Entry::File(text.clone()).write(&at)?;
                seal(&at)?;
            }
            *entry = Entry::Link(place);
        }
        Ok(self)
    }
}

impl Closure {
    /// With further lines in its `activate`.
    #[must_use]
    pub fn activates_also(self, lines: &str) -> Self {
        self.program("activate", format!("{ACTIVATE}{lines}"))
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
