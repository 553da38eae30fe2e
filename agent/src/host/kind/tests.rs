use std::os::unix::fs::symlink;

use boot_entries::durable::put_text;

use super::*;
use Release::{Absent, Farm, NixOs, Other};

const NIXOS: &str = "NAME=NixOS\nID=nixos\nVERSION_ID=\"25.11\"\n";
const DEBIAN: &str = "PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n";

/// Every combination. A row is a vendor's word, a column the system's own: NixOS is `n`, a plain host `p`.
#[test]
fn what_decides() {
    let all = [Absent, Farm, NixOs, Other];
    let table = |marker: bool| {
        all.map(|vendor| {
            let row = all.map(|own| {
                let kind = decide(Facts {
                    marker,
                    vendor,
                    own,
                });
                if kind == Kind::NixOs { 'n' } else { 'p' }
            });
            row.iter().collect::<String>()
        })
    };
    assert_eq!(table(true), ["nnnn", "nnnn", "nnnn", "pppp"]);
    //                        A F N O, of /etc
    assert_eq!(table(false), ["ppnp", "ppnp", "nnnn", "pppp"]);
}

struct Machine(tempfile::TempDir);

impl Machine {
    /// A tree with these files, and these links.
    fn new(files: &[(&str, &str)], links: &[(&str, &str)]) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            put_text(text, &machine.root().join(path)).unwrap();
        }
        for (path, target) in links {
            let place = machine.root().join(path);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            symlink(target, place).unwrap();
        }
        machine
    }

    fn root(&self) -> Root {
        Root::new(self.0.path())
    }

    fn kind(&self) -> Kind {
        kind(&self.root()).unwrap()
    }
}

/// As nixpkgs lays them out.
#[test]
fn nixos_is_known_with_a_link_farm_and_with_an_overlay() {
    let store = "/nix/store/r-os-release";
    let farm = Machine::new(
        &[("/etc/NIXOS", ""), (store, NIXOS)],
        &[
            ("/etc/static", "/nix/store/e-etc/etc"),
            ("/nix/store/e-etc/etc/os-release", store),
            ("/etc/os-release", "/etc/static/os-release"),
        ],
    );
    assert_eq!(farm.kind(), Kind::NixOs);
    // Its links lead into the store by themselves, and nothing makes /etc/NIXOS.
    let overlay = Machine::new(&[(store, NIXOS)], &[("/etc/os-release", store)]);
    assert_eq!(overlay.kind(), Kind::NixOs);
    let copied = Machine::new(&[("/etc/os-release", NIXOS)], &[]);
    assert_eq!(copied.kind(), Kind::NixOs);
    // In a container of systemd-nspawn it has to have this one.
    let nspawn = Machine::new(&[("/usr/lib/os-release", NIXOS)], &[]);
    assert_eq!(nspawn.kind(), Kind::NixOs);
}

#[test]
fn a_closure_does_not_make_a_host_nixos() {
    let closure = |links: &[(&str, &str)], vendor: &[(&str, &str)]| {
        let files = [&[("/nix/store/e-etc/etc/os-release", NIXOS)], vendor].concat();
        let farm = [
            ("/etc/static", "/nix/store/e-etc/etc"),
            ("/run/current-system", "/nix/store/a-nixos"),
        ];
        Machine::new(&files, &[&farm, links].concat()).kind()
    };
    let debian = [("/usr/lib/os-release", DEBIAN)];
    let linked = [("/etc/os-release", "/etc/static/os-release")];
    assert_eq!(closure(&linked, &debian), Kind::Plain);
    // A distribution without one of its own.
    assert_eq!(closure(&linked, &[]), Kind::Plain);
    let relative = [("/etc/os-release", "static/os-release")];
    assert_eq!(closure(&relative, &[]), Kind::Plain);
    let twice = [
        ("/etc/os-release", "../etc/./release"),
        ("/etc/release", "/etc/static/os-release"),
    ];
    assert_eq!(closure(&twice, &[]), Kind::Plain);
    // The store is not mounted yet: the same answer.
    let dangling = Machine::new(&[], &[("/etc/os-release", "/etc/static/os-release")]);
    assert_eq!(dangling.kind(), Kind::Plain);
    // Even if something were to copy it.
    let copied = Machine::new(&[("/etc/os-release", NIXOS), debian[0]], &[]);
    assert_eq!(copied.kind(), Kind::Plain);
}

#[test]
fn distributions_are_plain_hosts() {
    let usual = [("/etc/os-release", "../usr/lib/os-release")];
    let debian = Machine::new(&[("/usr/lib/os-release", DEBIAN)], &usual);
    assert_eq!(debian.kind(), Kind::Plain);
    assert_eq!(Machine::new(&[], &[]).kind(), Kind::Plain);
    let only_etc = Machine::new(&[("/etc/os-release", DEBIAN)], &[]);
    assert_eq!(only_etc.kind(), Kind::Plain);
    // A directory is no marker, as for nixpkgs.
    let directory = Machine::new(&[("/etc/NIXOS/x", "")], &[]);
    assert_eq!(directory.kind(), Kind::Plain);
    let not_text = Machine::new(&[("/etc/os-release/x", "")], &[]);
    assert_eq!(not_text.kind(), Kind::Plain);
}

#[test]
fn names_are_read_as_os_release_has_them() {
    for text in [
        "ID=nixos",
        "ID=\"nixos\"\n",
        "ID='nixos'\r\n",
        "# ID=debian\nID=debian\n  ID=nixos  \n",
        "ID=mine\nID_LIKE=\"arch nixos\"\n",
    ] {
        assert!(is_nixos(text), "{text:?}");
    }
    for text in [
        "",
        "ID=",
        "ID=nixos-like\n",
        "ID=\"nixos\n",
        "VARIANT_ID=nixos\n",
        "ID=nixos\nID=debian\n",
        "BUILD_ID=nixos\nID_LIKE=nixosish\n",
        "#ID=nixos\n",
    ] {
        assert!(!is_nixos(text), "{text:?}");
    }
}

#[test]
fn what_cannot_be_read_is_an_error_and_no_guess() {
    let looped = Machine::new(&[], &[("/etc/os-release", "/etc/os-release")]);
    let error = kind(&looped.root()).unwrap_err();
    let told = crate::report::line::one_line(&error);
    assert!(
        told.starts_with("cannot tell whether this is NixOS: cannot read /etc/os-release: "),
        "{told}"
    );
}
