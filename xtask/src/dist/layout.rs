//! What goes where in a package, and with which mode. Plain data: nothing is read or written here.

use std::path::Path;

/// Where a file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// The program, as it is released.
    Program,
    /// A file of the repository.
    Repository(&'static str),
    /// What `cargo xtask manuals` makes, by its path there.
    Manual(&'static str),
    /// It is a link, and leads there.
    Link(&'static str),
}

/// One file of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    /// Its path on the machine, without the first `/`.
    pub(super) to: &'static str,
    /// Its permissions. A link has none.
    pub(super) mode: u32,
    /// Where it comes from.
    pub(super) from: From,
}

impl Item {
    /// Whether it is made smaller by gzip on its way, as its name then says.
    pub(super) fn is_compressed(&self) -> bool {
        Path::new(self.to).extension() == Some("gz".as_ref())
    }
}

const fn program(to: &'static str, from: From) -> Item {
    let mode = 0o755;
    Item { to, mode, from }
}

const fn file(to: &'static str, from: &'static str) -> Item {
    let (mode, from) = (0o644, From::Repository(from));
    Item { to, mode, from }
}

const fn manual(to: &'static str, from: &'static str) -> Item {
    let (mode, from) = (0o644, From::Manual(from));
    Item { to, mode, from }
}

const fn link(to: &'static str, leads: &'static str) -> Item {
    let (mode, from) = (0o777, From::Link(leads));
    Item { to, mode, from }
}

/// What the tarball and the Debian package have in common.
pub(super) const COMMON: &[Item] = &[
    program("usr/bin/lastgood", From::Program),
    link(
        "usr/lib/systemd/system-generators/lastgood-generator",
        "../../../bin/lastgood",
    ),
    file(
        "usr/lib/systemd/system/lastgood-activate.service",
        "units/lastgood-activate.service",
    ),
    file(
        "usr/lib/systemd/system/lastgood-assess.service",
        "units/lastgood-assess.service",
    ),
    file(
        "usr/lib/systemd/system/lastgood-begin.service",
        "units/lastgood-begin.service",
    ),
    file(
        "usr/lib/systemd/system/lastgood-bless.service",
        "units/lastgood-bless.service",
    ),
    file(
        "usr/lib/systemd/system/lastgood-emergency.service",
        "units/lastgood-emergency.service",
    ),
    file(
        "usr/lib/systemd/system/lastgood-end.service",
        "units/lastgood-end.service",
    ),
    file(
        "usr/lib/systemd/system/lastgood-fall-back.service",
        "units/lastgood-fall-back.service",
    ),
    file(
        "usr/lib/systemd/system/lastgood-firewall.service",
        "units/lastgood-firewall.service",
    ),
    file(
        "usr/lib/systemd/system/lastgood-no-prompt.service",
        "units/lastgood-no-prompt.service",
    ),
    file(
        "usr/lib/systemd/system/lastgood-probation.service",
        "units/lastgood-probation.service",
    ),
    file("usr/lib/lastgood/lockdown.nft", "units/lockdown.nft"),
    file(
        "usr/lib/systemd/catalog/lastgood.catalog",
        "units/lastgood.catalog",
    ),
    file(
        "usr/lib/tmpfiles.d/lastgood.conf",
        "units/tmpfiles.d/lastgood.conf",
    ),
    program(
        "usr/share/initramfs-tools/scripts/local-bottom/lastgood-nix",
        From::Repository("initrd/initramfs-tools/lastgood-nix"),
    ),
    program(
        "usr/lib/dracut/modules.d/90lastgood-deadline/is-trial",
        From::Repository("initrd/dracut/90lastgood-deadline/is-trial"),
    ),
    file(
        "usr/lib/dracut/modules.d/90lastgood-deadline/lastgood-deadline.timer",
        "initrd/dracut/90lastgood-deadline/lastgood-deadline.timer",
    ),
    file(
        "usr/lib/dracut/modules.d/90lastgood-deadline/lastgood-next-try.service",
        "initrd/dracut/90lastgood-deadline/lastgood-next-try.service",
    ),
    file(
        "usr/lib/dracut/modules.d/90lastgood-deadline/lastgood-no-prompt.timer",
        "initrd/dracut/90lastgood-deadline/lastgood-no-prompt.timer",
    ),
    program(
        "usr/lib/dracut/modules.d/90lastgood-deadline/module-setup.sh",
        From::Repository("initrd/dracut/90lastgood-deadline/module-setup.sh"),
    ),
    program(
        "usr/lib/dracut/modules.d/90lastgood-nix/module-setup.sh",
        From::Repository("initrd/dracut/90lastgood-nix/module-setup.sh"),
    ),
    program(
        "usr/lib/dracut/modules.d/90lastgood-nix/mount-nix.sh",
        From::Repository("initrd/dracut/90lastgood-nix/mount-nix.sh"),
    ),
    program(
        "usr/lib/dracut/modules.d/90lastgood-nix/wait-for-nix.sh",
        From::Repository("initrd/dracut/90lastgood-nix/wait-for-nix.sh"),
    ),
    file(
        "etc/needrestart/conf.d/lastgood.conf",
        "packaging/needrestart.conf",
    ),
    manual("usr/share/man/man8/lastgood.8.gz", "man8/lastgood.8"),
    manual(
        "usr/share/man/man5/lastgood.toml.5.gz",
        "man5/lastgood.toml.5",
    ),
    manual(
        "usr/share/bash-completion/completions/lastgood",
        "bash/lastgood",
    ),
    manual(
        "usr/share/zsh/vendor-completions/_lastgood",
        "zsh/_lastgood",
    ),
    manual(
        "usr/share/fish/vendor_completions.d/lastgood.fish",
        "fish/lastgood.fish",
    ),
    file(
        "usr/share/doc/lastgood/examples/lastgood.toml",
        "docs/lastgood.toml",
    ),
    // What an operator reads. The rest of docs/ is for whoever changes the program.
    file("usr/share/doc/lastgood/boot.md", "docs/boot.md"),
    file("usr/share/doc/lastgood/closures.md", "docs/closures.md"),
    file("usr/share/doc/lastgood/durability.md", "docs/durability.md"),
    file("usr/share/doc/lastgood/entries.md", "docs/entries.md"),
    file(
        "usr/share/doc/lastgood/failure-matrix.md",
        "docs/failure-matrix.md",
    ),
    file(
        "usr/share/doc/lastgood/fstab-stories.md",
        "docs/fstab-stories.md",
    ),
    file(
        "usr/share/doc/lastgood/first-server.md",
        "docs/first-server.md",
    ),
    file("usr/share/doc/lastgood/json.md", "docs/json.md"),
    file("usr/share/doc/lastgood/ledger.md", "docs/ledger.md"),
    file("usr/share/doc/lastgood/limits.md", "docs/limits.md"),
    file(
        "usr/share/doc/lastgood/loader-versions.md",
        "docs/loader-versions.md",
    ),
    file("usr/share/doc/lastgood/monitoring.md", "docs/monitoring.md"),
    file("usr/share/doc/lastgood/nixos.md", "docs/nixos.md"),
    file("usr/share/doc/lastgood/operator.md", "docs/operator.md"),
    file("usr/share/doc/lastgood/packages.md", "docs/packages.md"),
    file("usr/share/doc/lastgood/recipes.md", "docs/recipes.md"),
    file("usr/share/doc/lastgood/screens.md", "docs/screens.md"),
    file("usr/share/doc/lastgood/switch.md", "docs/switch.md"),
    file(
        "usr/share/doc/lastgood/switch-stories.md",
        "docs/switch-stories.md",
    ),
    file("usr/share/doc/lastgood/space.md", "docs/space.md"),
    file("usr/share/doc/lastgood/why.md", "docs/why.md"),
    file(
        "usr/share/doc/lastgood/grafana/lastgood.json",
        "docs/grafana/lastgood.json",
    ),
    file(
        "usr/share/doc/lastgood/prometheus/lastgood.rules.yml",
        "docs/prometheus/lastgood.rules.yml",
    ),
    file(
        "usr/share/doc/lastgood/schemas/check.json",
        "docs/schemas/check.json",
    ),
    file(
        "usr/share/doc/lastgood/schemas/diff.json",
        "docs/schemas/diff.json",
    ),
    file(
        "usr/share/doc/lastgood/schemas/doctor.json",
        "docs/schemas/doctor.json",
    ),
    file(
        "usr/share/doc/lastgood/schemas/dry-activate.json",
        "docs/schemas/dry-activate.json",
    ),
    file(
        "usr/share/doc/lastgood/schemas/list-generations.json",
        "docs/schemas/list-generations.json",
    ),
    file(
        "usr/share/doc/lastgood/schemas/log.json",
        "docs/schemas/log.json",
    ),
    file(
        "usr/share/doc/lastgood/schemas/next-boot.json",
        "docs/schemas/next-boot.json",
    ),
    file(
        "usr/share/doc/lastgood/schemas/status.json",
        "docs/schemas/status.json",
    ),
    file(
        "usr/share/doc/lastgood/schemas/verify.json",
        "docs/schemas/verify.json",
    ),
    file(
        "usr/share/doc/lastgood/schemas/why.json",
        "docs/schemas/why.json",
    ),
    file(
        "usr/share/doc/lastgood/copyright",
        "packaging/debian/copyright",
    ),
];

/// What makes closures on such a host (docs/closures.md).
pub(super) const CLOSURES: &[Item] = &[
    file("usr/share/lastgood/nix/closure.nix", "nix/closure.nix"),
    file(
        "usr/share/lastgood/nix/closure/build.nix",
        "nix/closure/build.nix",
    ),
    file(
        "usr/share/lastgood/nix/closure/etc.nix",
        "nix/closure/etc.nix",
    ),
    file(
        "usr/share/lastgood/nix/closure/files.nix",
        "nix/closure/files.nix",
    ),
    file(
        "usr/share/lastgood/nix/closure/system-manager.nix",
        "nix/closure/system-manager.nix",
    ),
    file(
        "usr/share/lastgood/nix/closure/text.sh",
        "nix/closure/text.sh",
    ),
    file(
        "usr/share/lastgood/nix/closure/toml.nix",
        "nix/closure/toml.nix",
    ),
    file(
        "usr/share/lastgood/nix/closure/toplevel.sh",
        "nix/closure/toplevel.sh",
    ),
    file(
        "usr/share/lastgood/nix/closure/units.nix",
        "nix/closure/units.nix",
    ),
    file(
        "usr/share/lastgood/nix/closure/words.nix",
        "nix/closure/words.nix",
    ),
    file(
        "usr/share/lastgood/nix/examples/compose/default.nix",
        "nix/examples/compose/default.nix",
    ),
    file(
        "usr/share/lastgood/nix/examples/nginx/default.nix",
        "nix/examples/nginx/default.nix",
    ),
    file(
        "usr/share/lastgood/nix/examples/nginx/www/index.html",
        "nix/examples/nginx/www/index.html",
    ),
    file(
        "usr/share/lastgood/nix/examples/prometheus/default.nix",
        "nix/examples/prometheus/default.nix",
    ),
    file(
        "usr/share/lastgood/nix/examples/prometheus/prometheus.yml",
        "nix/examples/prometheus/prometheus.yml",
    ),
    file(
        "usr/share/lastgood/nix/template/default.nix",
        "nix/template/default.nix",
    ),
    file(
        "usr/share/lastgood/nix/template/flake.nix",
        "nix/template/flake.nix",
    ),
    file(
        "usr/share/lastgood/nix/template/system.nix",
        "nix/template/system.nix",
    ),
];

/// What the Debian package has besides.
pub(super) const OF_DEBIAN: &[Item] = &[
    file(
        "usr/share/doc/lastgood/changelog.Debian.gz",
        "packaging/debian/changelog",
    ),
    file(
        "usr/share/lintian/overrides/lastgood",
        "packaging/debian/lintian-overrides",
    ),
];

/// The members of a Debian package's control archive, each with its mode: what dpkg reads and runs.
pub(super) const CONTROL: &[(&str, u32)] = &[
    ("control", 0o644),
    ("conffiles", 0o644),
    ("postinst", 0o755),
    ("prerm", 0o755),
    ("postrm", 0o755),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use lastgood_tests::{files, paths};

    use super::*;

    fn all() -> impl Iterator<Item = &'static Item> {
        [COMMON, CLOSURES, OF_DEBIAN].into_iter().flatten()
    }

    fn below(dir: &Path, found: &mut BTreeSet<PathBuf>) {
        for path in files::sorted_entries(dir).unwrap() {
            if path.is_dir() {
                below(&path, found);
            } else {
                found.insert(path);
            }
        }
    }

    /// What is left out of the table is on no machine.
    #[test]
    fn each_unit_each_hook_of_an_initrd_each_schema_and_what_makes_closures_has_a_place() {
        let mut there = BTreeSet::new();
        for dir in [
            "units",
            "initrd",
            "docs/schemas",
            "nix/closure",
            "nix/examples",
            "nix/template",
        ] {
            below(&paths::repository().join(dir), &mut there);
        }
        assert!(there.len() > 10, "{there:?}");
        for path in there {
            let path = path.strip_prefix(paths::repository()).unwrap();
            let is_it = |from: &str| Path::new(from) == path;
            let places =
                all().filter(|item| matches!(item.from, From::Repository(from) if is_it(from)));
            assert_eq!(places.count(), 1, "{}", path.display());
        }
    }

    /// A page that names another one, by a link, is with that one on the machine.
    #[test]
    fn each_page_that_a_page_leads_to_is_there() {
        let pages = all().filter_map(|item| match item.from {
            From::Repository(from) => from.strip_prefix("docs/"),
            _ => None,
        });
        let pages: BTreeSet<&str> = pages.filter(|page| page.ends_with("md")).collect();
        assert!(pages.len() > 10, "{pages:?}");
        for page in &pages {
            let path = paths::repository().join("docs").join(page);
            let text = std::fs::read_to_string(path).unwrap();
            for (_, rest) in text
                .match_indices("](")
                .map(|(at, _)| text.split_at(at + 2))
            {
                let leads = rest.split([')', '#']).next().unwrap_or_default();
                let is_page = leads.ends_with("md") && !leads.contains('/');
                assert!(!is_page || pages.contains(leads), "{page}: {leads}");
            }
        }
    }

    #[test]
    fn each_manual_and_each_completion_has_a_place() {
        let made = tempfile::tempdir().unwrap();
        for path in crate::manuals::write(made.path()).unwrap() {
            let is_it = |item: &&Item| item.from == From::Manual(path.clone().leak());
            assert_eq!(all().filter(is_it).count(), 1, "{path}");
        }
    }

    #[test]
    fn no_place_is_taken_twice_and_all_are_where_a_package_may_write() {
        let places: BTreeSet<_> = all().map(|item| item.to).collect();
        assert_eq!(places.len(), all().count());
        for item in all() {
            assert!(
                item.to.starts_with("usr/") || item.to.starts_with("etc/needrestart/"),
                "{}",
                item.to
            );
            assert_eq!(item.mode & 0o7022 != 0, matches!(item.from, From::Link(_)));
        }
    }

    /// dpkg asks before it replaces what somebody has changed in /etc, but only where this list says so.
    #[test]
    fn each_file_in_etc_is_a_configuration_file_of_the_package() {
        let listed = files::list(&paths::repository().join("packaging/debian/conffiles")).unwrap();
        let etc = all().filter(|item| item.to.starts_with("etc/"));
        let etc: Vec<String> = etc.map(|item| format!("/{}", item.to)).collect();
        assert_eq!(listed, etc);
    }

    /// Each maintainer script that has the list has the same one: the units with an `[Install]` section.
    #[test]
    fn the_scripts_know_the_units_that_are_enabled() {
        let units = paths::repository().join("units");
        let mut enabled = BTreeSet::new();
        for path in files::sorted_entries(&units).unwrap() {
            if !path.is_dir()
                && std::fs::read_to_string(&path)
                    .unwrap()
                    .contains("\n[Install]\n")
            {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                enabled.insert(name);
            }
        }
        for script in ["postinst", "postrm"] {
            let path = paths::repository().join("packaging/debian").join(script);
            let text = std::fs::read_to_string(path).unwrap();
            let list = text.lines().find_map(|line| line.strip_prefix("UNITS="));
            let list = list.unwrap().trim_matches('"').split(' ');
            let list: BTreeSet<String> = list.map(str::to_owned).collect();
            assert_eq!(list, enabled, "{script}");
        }
    }
}
