//! Closures in directories: whole, old, hostile.

use super::*;
use crate::generation::{Generation, GenerationId};
use proptest::prelude::*;
use std::io::Write as _;
use std::os::unix::fs::symlink;

fn kernel() -> Vec<u8> {
    kernel::tests::image(0x8664, 10, 64)
}

struct Tree {
    directory: tempfile::TempDir,
    root: Root,
}

impl Tree {
    /// A store with kernel, initrd and devicetree, an empty `/boot`, and the closure `/nix/store/t` without
    /// `boot.json`.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tree = Self {
            root: Root::new(directory.path()),
            directory,
        };
        tree.bytes("nix/store/k/bzImage", &kernel());
        tree.text("nix/store/i/initrd", "initrd");
        tree.text("nix/store/d/board.dtb", "devicetree");
        std::fs::create_dir_all(tree.path("boot")).unwrap();
        tree.old("t");
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn text(&self, path: &str, text: &str) {
        self.bytes(path, text.as_bytes());
    }

    /// Not by [`crate::durable`]: hundreds of trees need not survive a power cut.
    fn bytes(&self, path: &str, bytes: &[u8]) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        drop(std::fs::remove_file(&path));
        std::fs::File::create(path)
            .unwrap()
            .write_all(bytes)
            .unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        drop(std::fs::remove_file(&path));
        symlink(target, path).unwrap();
    }

    /// A closure from before bootspec.
    fn old(&self, name: &str) {
        let at = |file: &str| format!("nix/store/{name}/{file}");
        self.link(&at("kernel"), "/nix/store/k/bzImage");
        self.link(&at("initrd"), "../i/initrd");
        self.text(&at("kernel-params"), "loglevel=4  quiet\n");
        self.text(&at("nixos-version"), "21.11\n");
        self.text(&at("system"), "x86_64-linux");
    }

    fn json(&self, name: &str, change: impl FnOnce(&mut serde_json::Value)) {
        let toplevel = format!("/nix/store/{name}");
        let mut value = serde_json::json!({
            "org.nixos.bootspec.v1": {
                "label": "NixOS", "system": "x86_64-linux", "init": format!("{toplevel}/init"),
                "kernel": "/nix/store/k/bzImage", "initrd": "/nix/store/i/initrd",
                "kernelParams": ["quiet"], "toplevel": toplevel,
            },
        });
        change(&mut value);
        self.text(&format!("nix/store/{name}/boot.json"), &value.to_string());
    }

    fn examine(&self) -> Result<Examined<'static>, String> {
        examine(&self.root, Path::new("/nix/store/t"))
    }

    fn bootable(&self, finished: &Finished) -> Result<Bootable, String> {
        let boot = self.path("boot");
        let mut digests = Digests::new(&self.root, None);
        let documents = Documents::default();
        let mut closures = Closures::new(&self.root, finished, &documents, &mut digests);
        let bootable = closures
            .look(Path::new("/nix/store/t"))
            .and_then(|examined| closures.bootable(examined))?;
        on_boot(&boot, &bootable.extra_initrds)?;
        Ok(bootable)
    }

    fn specialisations(&self) -> (Vec<String>, Vec<String>) {
        let generation = Generation {
            id: GenerationId::system(3),
            toplevel: "/nix/store/t".into(),
        };
        let mut digests = Digests::new(&self.root, None);
        let listed = with_specialisations(&self.root, &[generation], &mut digests);
        let (all, troubles) = (listed.generations, listed.troubles);
        let shown = |g: &Generation| format!("{}={}", g.id, g.toplevel.display());
        let troubles = troubles.into_iter().map(|(_, why)| why).collect();
        (all.iter().map(shown).collect(), troubles)
    }
}

#[test]
fn a_closure_without_boot_json_boots_by_its_files() {
    let tree = Tree::new();
    tree.link("nix/store/t/specialisation/a b", "/nix/store/child");
    tree.link("nix/store/t/specialisation/loop", "loop");
    let bootable = tree.bootable(&Finished::new()).unwrap();
    assert_eq!(
        bootable.options,
        "init=/nix/store/t/init panic=10 loglevel=4 quiet"
    );
    assert_eq!(bootable.label, "NixOS 21.11");
    assert_eq!(
        bootable.initrd.unwrap().source,
        tree.path("nix/store/i/initrd")
    );
    let (all, troubles) = tree.specialisations();
    assert_eq!(all, ["3=/nix/store/t", "3/a b=/nix/store/child"]);
    assert!(troubles.len() == 1 && troubles[0].contains("\"loop\": too many symbolic links"));

    for needed in ["kernel", "kernel-params", "nixos-version", "system"] {
        let tree = Tree::new();
        std::fs::remove_file(tree.path("nix/store/t").join(needed)).unwrap();
        let why = tree.examine().unwrap_err();
        assert!(why.contains(&format!("/{needed}: ")), "{needed}: {why}");
    }
    // A boot.json that leads nowhere is a broken one, not none.
    tree.link("nix/store/t/boot.json", "gone");
    assert!(tree.examine().unwrap_err().contains("t/boot.json: No such"));
    let gone = examine(&tree.root, Path::new("/nix/store/gone")).unwrap_err();
    assert_eq!(gone, "/nix/store/gone is not there");
}

/// As `kernel/panic.c` takes the parameter: `kstrtoint` with base 0, and the last one that it takes.
#[test]
fn what_a_command_line_says_of_panics() {
    for (options, timeout) in [
        ("quiet", None),
        ("panic=0", Some(0)),
        ("panic=00 quiet", Some(0)),
        ("panic=0x0", Some(0)),
        ("\"panic=0\"", Some(0)),
        ("panic=\"0\"", Some(0)),
        ("panic=-0", Some(0)),
        ("panic=+0x1f", Some(31)),
        ("panic=-1", Some(-1)),
        ("panic=010", Some(8)),
        ("panic=10 panic=0", Some(0)),
        ("panic=0 panic=10", Some(10)),
        ("panic=10 panic=x", Some(10)),
        ("panic=", None),
        ("panic=+-1", None),
        ("panic=-+1", None),
        ("panic=08", None),
        ("panic=99999999999", None),
        ("panic", None),
        ("sysrq.panic=0 panic_on_oops=1", None),
        ("quiet -- panic=0", None),
    ] {
        assert_eq!(panic_timeout(options), timeout, "{options}");
    }
    let tree = Tree::new();
    for (parameters, options) in [
        (["quiet", "panic=0"], "quiet panic=0"),
        // Linux passes over what is no number, and there it would stand still.
        (["quiet", "panic=soon"], "panic=10 quiet panic=soon"),
        (["--", "panic=5"], "panic=10 -- panic=5"),
    ] {
        tree.json("t", |value| {
            value["org.nixos.bootspec.v1"]["kernelParams"] = parameters.to_vec().into();
        });
        let bootable = tree.bootable(&Finished::new()).unwrap();
        let told = bootable.options.strip_prefix("init=/nix/store/t/init ");
        assert_eq!(told, Some(options));
    }
}

/// NixOS's closures all have the program, and their initrd is whole without it where there are no secrets.
#[test]
fn a_program_that_adds_no_secrets_is_none() {
    let tree = Tree::new();
    tree.link("nix/store/t/append-initrd-secrets", "/nix/store/s/append");
    let program = || {
        tree.examine()
            .unwrap()
            .document
            .into_owned()
            .bootspec
            .initrd_secrets
    };
    tree.text(
        "nix/store/s/append",
        "#!/bin/sh -e\nexit 0\ncp key \"$1\"\n",
    );
    assert_eq!(program(), None);
    assert!(tree.bootable(&Finished::new()).is_ok());
    tree.text(
        "nix/store/s/append",
        "#!/bin/sh -e\ncp key \"$1\"\nexit 0\n",
    );
    assert!(program().is_some());
}

#[test]
fn secrets_of_a_closure_without_boot_json_are_not_forgotten() {
    let tree = Tree::new();
    tree.link("nix/store/t/append-initrd-secrets", "/nix/store/s/append");
    let program = tree
        .examine()
        .unwrap()
        .document
        .into_owned()
        .bootspec
        .initrd_secrets;
    assert_eq!(program, Some("/nix/store/s/append".into()));
}

#[test]
fn an_initrd_with_secrets_is_the_finished_one_or_none() {
    let tree = Tree::new();
    tree.json("t", |value| {
        value["org.nixos.bootspec.v1"]["initrdSecrets"] = "/nix/store/s/append".into();
    });
    let told = |finished: Option<Result<PathBuf, String>>| {
        let finished = finished.map(|finished| (PathBuf::from("/nix/store/t"), finished));
        tree.bootable(&finished.into_iter().collect())
    };
    assert!(told(None).unwrap_err().contains("nobody has added"));
    assert_eq!(told(Some(Err("no key".to_owned()))).unwrap_err(), "no key");
    let finished = tree.path("var/finished");
    assert!(
        told(Some(Ok(finished.clone())))
            .unwrap_err()
            .contains("cannot be read")
    );
    tree.text("var/finished", "initrd and key");
    let bootable = told(Some(Ok(finished.clone()))).unwrap();
    assert_eq!(bootable.initrd.unwrap().source, finished);
}

#[test]
fn devicetree_and_extra_initrds() {
    let tree = Tree::new();
    tree.json("t", |value| {
        value["org.nixos.systemd-boot"] =
            serde_json::json!({ "sortKey": 3, "devicetree": "/nix/store/d/board.dtb" });
        value["org.nixos.extra-initrd.v1"] = serde_json::json!({ "paths": ["/EFI/extra.img"] });
    });
    let why = tree.bootable(&Finished::new()).unwrap_err();
    assert!(
        why.contains("/EFI/extra.img on $BOOT cannot be read: No such file"),
        "{why}"
    );
    // A link out of $BOOT leads nowhere: the firmware knows no links.
    tree.link("boot/EFI/extra.img", "/nix/store/i/initrd");
    assert!(tree.bootable(&Finished::new()).is_err());
    tree.text("boot/EFI/extra.img", "extra");
    let bootable = tree.bootable(&Finished::new()).unwrap();
    assert_eq!(bootable.extra_initrds, ["/EFI/extra.img"]);
    let kinds: Vec<Kind> = bootable.payload().map(|payload| payload.kind).collect();
    assert_eq!(kinds, [Kind::Kernel, Kind::Initrd, Kind::Devicetree]);
    std::fs::remove_file(tree.path("nix/store/d/board.dtb")).unwrap();
    assert!(tree.examine().unwrap_err().contains("board.dtb"));
}

#[test]
fn specialisations_have_plain_closures_of_their_own() {
    let tree = Tree::new();
    tree.link("nix/store/link", "/nix/store/child");
    tree.json("t", |value| {
        let of = |toplevel: &str| serde_json::json!({ "org.nixos.bootspec.v1": { "toplevel": toplevel } });
        value["org.nixos.specialisation.v1"] = serde_json::json!({
            "good": of("/nix/store/child"), "relative": of("child"), "link": of("/nix/store/link"),
            "up": of("/nix/store/../store/child"), "slash": of("/nix/store/child/"),
        });
        // The generation itself cannot be booted; its specialisations may.
        value["org.nixos.bootspec.v1"]["kernel"] = "/gone".into();
    });
    let (all, troubles) = tree.specialisations();
    assert_eq!(all, ["3=/nix/store/t", "3/good=/nix/store/child"]);
    assert_eq!(troubles.len(), 4, "{troubles:?}");
}

/// What a file may be instead of what it should be.
#[derive(Debug, Clone, Copy)]
enum Odd {
    Gone,
    Dangling,
    Loop,
    AboveRoot,
    Directory,
    Fifo,
    Huge,
    Empty,
    Binary,
    /// A directory of closures, with a line break in the name of each.
    Lines,
}

const ODD: [Odd; 10] = [
    Odd::Gone,
    Odd::Dangling,
    Odd::Loop,
    Odd::AboveRoot,
    Odd::Directory,
    Odd::Fifo,
    Odd::Huge,
    Odd::Empty,
    Odd::Binary,
    Odd::Lines,
];

impl Odd {
    fn put(self, tree: &Tree, path: &str) {
        let here = tree.path(path);
        drop(std::fs::remove_file(&here));
        match self {
            Self::Gone => {}
            Self::Dangling => tree.link(path, "/nix/store/gone/x"),
            Self::Loop => tree.link(path, &format!("/{path}")),
            Self::AboveRoot => tree.link(path, "../../../../../../../../../etc/passwd"),
            Self::Directory => tree.link(path, "/nix/store"),
            Self::Fifo => {
                nix::unistd::mkfifo(&here, nix::sys::stat::Mode::S_IRUSR).unwrap();
            }
            Self::Huge => std::fs::File::create(&here)
                .unwrap()
                .set_len(1 << 40)
                .unwrap(),
            Self::Empty => tree.text(path, ""),
            Self::Binary => {
                tree.bytes(path, &[0xff, 0, 10, 27]);
            }
            Self::Lines => {
                let closure = format!("/nix/store/a\n{}", "b".repeat(200));
                let within = closure.trim_start_matches('/');
                tree.link(&format!("{within}/x"), &closure);
                tree.link(path, &closure);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Any two files of a closure, replaced by anything: an answer of one line, soon, and a neighbour unharmed. What is
    /// said to be bootable is made of files with something in them.
    #[test]
    fn odd_files_are_one_line(
        with_json: bool,
        odd in prop::collection::vec(
            (prop::sample::select(vec![
                "nix/store/t/boot.json", "nix/store/t/kernel", "nix/store/t/initrd", "nix/store/t/kernel-params",
                "nix/store/t/nixos-version", "nix/store/t/system", "nix/store/t/specialisation",
                "nix/store/t/append-initrd-secrets", "boot/extra",
            ]), prop::sample::select(ODD.to_vec())),
            1..3,
        ),
    ) {
        let tree = Tree::new();
        if with_json {
            tree.json("t", |value| {
                value["org.nixos.bootspec.v1"]["kernel"] = "/nix/store/t/kernel".into();
                value["org.nixos.bootspec.v1"]["initrd"] = "/nix/store/t/initrd".into();
                value["org.nixos.systemd-boot"]["devicetree"] = "/nix/store/t/system".into();
                value["org.nixos.extra-initrd.v1"] = serde_json::json!({ "paths": ["/extra"] });
            });
        }
        tree.old("neighbour");
        for (path, odd) in &odd {
            odd.put(&tree, path);
        }
        let mut told = Vec::new();
        // An odd `initrd` may be a terabyte: what is too large for FAT is never read.
        match tree.bootable(&Finished::new()) {
            Ok(bootable) => {
                for payload in bootable.payload() {
                    let found = std::fs::metadata(&payload.source).unwrap();
                    prop_assert!(found.is_file() && found.len() > 0, "{:?}", payload);
                }
            }
            Err(why) => told.push(why),
        }
        let (all, troubles) = tree.specialisations();
        prop_assert_eq!(&all[0], "3=/nix/store/t");
        told.extend(troubles);
        for one in &all {
            let (_, closure) = one.split_once('=').unwrap();
            told.extend(examine(&tree.root, Path::new(closure)).err());
        }
        for why in told {
            prop_assert_eq!(why.lines().count(), 1, "{}", why);
            prop_assert!(why.chars().count() <= REASON + 1);
        }
        prop_assert!(examine(&tree.root, Path::new("/nix/store/neighbour")).is_ok());
    }
}

/// An entry is read back as far as it is bounded: a longer one would be written anew by every run.
#[test]
fn a_closure_that_says_too_much_for_an_entry_cannot_be_booted() {
    let tree = Tree::new();
    for (words, is_bootable) in [(1_000, true), (10_000, false), (200_000, false)] {
        tree.json("t", |value| {
            value["org.nixos.bootspec.v1"]["kernelParams"] = vec!["a=b"; words].into();
        });
        let why = tree.examine().map(drop);
        assert_eq!(why.is_ok(), is_bootable, "{words} {why:?}");
        if let Err(why) = why {
            assert!(why.contains("kernelParams and extra initrds are"), "{why}");
            assert_eq!(tree.bootable(&Finished::new()).map(drop), Err(why));
        }
    }
    // Words of no letters take room as well.
    for key in ["kernelParams", "paths"] {
        tree.json("t", |value| {
            value["org.nixos.extra-initrd.v1"] = serde_json::json!({"paths": []});
            let (extension, text) = match key {
                "paths" => ("org.nixos.extra-initrd.v1", "/a"),
                _ => ("org.nixos.bootspec.v1", ""),
            };
            value[extension][key] = vec![text; 100_000].into();
        });
        assert!(
            tree.examine().unwrap_err().contains("an entry takes"),
            "{key}"
        );
    }
}
