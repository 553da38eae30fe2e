use std::borrow::Cow;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;

use super::super::Record;
use super::*;
use crate::closure::with_specialisations;
use crate::generation::Generation;
use crate::{GenerationId, Root, durable};

const FILE: &str = "nix/store/t/boot.json";
const LIE: &str = "something else";

/// The same inode, another content.
fn overwrite(path: &Path, text: &str) {
    let mut file = fs::File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A tree with one closure, and the record of what was read of it.
struct Tree {
    place: tempfile::TempDir,
    root: Root,
}

impl Tree {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let root = Root::new(place.path());
        let tree = Self { place, root };
        tree.put("A");
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.place.path().join(path)
    }

    fn record(&self) -> PathBuf {
        self.path("record")
    }

    fn text(label: &str) -> String {
        let spec = |toplevel: &str| {
            serde_json::json!({ "org.nixos.bootspec.v1": {
                "label": label, "system": "x86_64-linux", "init": format!("{toplevel}/init"),
                "kernel": "/nix/store/k/bzImage", "initrd": "/nix/store/i/initrd",
                "initrdSecrets": "/nix/store/s/secrets", "kernelParams": ["quiet", "ä=\"b c\""],
                "toplevel": toplevel,
            }})
        };
        let mut value = spec("/nix/store/t");
        value["org.nixos.specialisation.v1"] =
            serde_json::json!({ "good": spec("/nix/store/c"), "": spec("/nix/store/d") });
        value["org.nixos.systemd-boot"] = serde_json::json!({ "devicetree": "/nix/store/d/dtb" });
        value["org.nixos.extra-initrd.v1"] = serde_json::json!({ "paths": ["a", "/b"] });
        value.to_string()
    }

    fn put(&self, label: &str) {
        durable::put_text(&Self::text(label), &self.path(FILE)).unwrap();
    }

    fn load(&self) -> Digests {
        Digests::load(&self.root, None, &self.record())
    }

    /// What the closure says, and whether there was news, which is kept.
    fn run(&self) -> (Result<Document, String>, bool) {
        let mut digests = self.load();
        let generation = Generation {
            id: GenerationId::system(3),
            toplevel: "/nix/store/t".into(),
        };
        let listed = with_specialisations(&self.root, &[generation], &mut digests);
        let news = digests.news();
        if let Some(text) = &news {
            durable::put_text(text, &self.record()).unwrap();
        }
        let said = listed.documents.of(&self.root, Path::new("/nix/store/t"));
        (said.map(Cow::into_owned), news.is_some())
    }

    /// Lets the record say what the file does not. Whoever believes it has not read the file.
    fn lie(&self) {
        let text = fs::read_to_string(self.record()).unwrap();
        let mut record = Record::parse(&text).unwrap();
        for said in record.documents.values_mut() {
            Arc::make_mut(&mut said.document).bootspec.label = LIE.to_owned();
        }
        durable::put_text(
            &record.asked_text(super::super::LIMIT).unwrap(),
            &self.record(),
        )
        .unwrap();
    }

    fn label(&self) -> String {
        self.run().0.unwrap().bootspec.label
    }
}

#[test]
fn what_is_known_is_not_read_again_and_is_all_that_was_said() {
    let tree = Tree::new();
    let (first, news) = tree.run();
    assert!(news);
    let (second, news) = tree.run();
    assert!(!news, "nothing was read, and something would be written");
    assert_eq!(first, second);
    let said = second.unwrap();
    assert_eq!(said, Document::parse(&Tree::text("A")).unwrap());
    let told = said.specialisations;
    assert_eq!((told.closures.len(), told.troubles.len()), (1, 1));
    tree.lie();
    assert_eq!(tree.label(), LIE);
}

#[test]
fn a_file_that_changed_is_read() {
    let changes: [fn(&Tree); 4] = [
        // The same inode and size.
        |tree| overwrite(&tree.path(FILE), &Tree::text("B")),
        // The same time, too: nobody can set the change time back.
        |tree| {
            let path = tree.path(FILE);
            let before = fs::metadata(&path).unwrap().modified().unwrap();
            overwrite(&path, &Tree::text("B"));
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(before).unwrap();
        },
        |tree| tree.put("B"),
        // A closure that was deleted and built again.
        |tree| {
            fs::remove_dir_all(tree.path("nix/store/t")).unwrap();
            tree.put("B");
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let tree = Tree::new();
        drop(tree.run());
        tree.lie();
        change(&tree);
        let (said, news) = tree.run();
        assert_eq!(said.unwrap().bootspec.label, "B", "{number}");
        assert!(news, "{number}");
    }
    // What is gone is not there, whatever was known of it; neither is what is no document any more.
    let tree = Tree::new();
    drop(tree.run());
    overwrite(&tree.path(FILE), "{}");
    assert!(tree.run().0.unwrap_err().contains("boot.json: "));
    tree.put("A");
    drop(tree.run());
    fs::rename(tree.path("nix/store/t"), tree.path("nix/store/u")).unwrap();
    assert!(tree.run().0.unwrap_err().contains("is not there"));
    // A link to another file.
    symlink("u", tree.path("nix/store/t")).unwrap();
    durable::put_text(&Tree::text("C"), &tree.path("nix/store/u/boot.json")).unwrap();
    assert_eq!(tree.label(), "C");
}

#[test]
fn a_record_that_is_damaged_or_older_says_nothing_of_closures() {
    let tree = Tree::new();
    drop(tree.run());
    let whole = fs::read_to_string(tree.record()).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone().into_bytes();
        flipped[at] ^= 1;
        let flipped = String::from_utf8_lossy(&flipped);
        assert_eq!(Record::parse(&flipped), None, "{at}");
        if let Some(cut) = whole.get(..at) {
            assert_eq!(Record::parse(cut), None, "{at}");
        }
    }
    tree.lie();
    overwrite(&tree.record(), "damaged");
    assert_eq!(tree.label(), "A");
}

#[test]
fn what_is_wrong_or_has_no_boot_json_is_not_remembered() {
    let tree = Tree::new();
    overwrite(&tree.path(FILE), "{}");
    assert!(!tree.run().1);
    fs::remove_file(tree.path(FILE)).unwrap();
    for (file, text) in [
        ("kernel-params", "quiet"),
        ("nixos-version", "21.11"),
        ("system", "x86_64-linux"),
        ("kernel", ""),
    ] {
        durable::put_text(text, &tree.path(&format!("nix/store/t/{file}"))).unwrap();
    }
    let (said, news) = tree.run();
    assert!(said.is_ok() && !news);
}

#[test]
fn closures_that_are_gone_are_forgotten_and_those_of_the_last_look_kept() {
    let tree = Tree::new();
    drop(tree.run());
    let mut digests = tree.load();
    let none = with_specialisations(&tree.root, &[], &mut digests);
    assert!(none.generations.is_empty() && digests.news().is_none());
    digests.in_store(&tree.path(FILE)).unwrap();
    let text = digests.news().unwrap();
    assert!(!text.contains("document"), "{text}");
    // Loaded again in the same run, for payload: what closures say stays.
    let mut digests = tree.load();
    digests.in_store(&tree.path(FILE)).unwrap();
    durable::put_text(&digests.news().unwrap(), &tree.record()).unwrap();
    tree.lie();
    assert_eq!(tree.label(), LIE);
}
