use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use super::*;
use crate::payload::Digest;

/// A tree with a store file and one on `$BOOT`, and the record of what was read of them.
struct Tree {
    place: tempfile::TempDir,
    record: PathBuf,
}

impl Tree {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let record = place.path().join("record");
        let tree = Self { place, record };
        for path in ["nix/store/k/bzImage", "boot/EFI/lastgood/k"] {
            durable::put_text("kernel", &tree.path(path)).unwrap();
        }
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.place.path().join(path)
    }

    fn load(&self, boot_id: &str) -> Digests {
        let root = Root::new(self.place.path());
        Digests::load(&root, Some(boot_id.to_owned()), &self.record)
    }

    /// Asks for both files, and gives what they hold.
    fn ask(&self, digests: &mut Digests) -> [Content; 2] {
        let store = digests.in_store(&self.path("nix/store/k/bzImage"));
        let boot = digests.on_boot(&self.path("boot/EFI/lastgood/k"));
        [store.unwrap(), boot.unwrap()]
    }

    /// Asks for both files in the boot `boot_id`, keeps what is new, and says whether there was something.
    fn run(&self, boot_id: &str) -> ([Content; 2], bool) {
        let mut digests = self.load(boot_id);
        let contents = self.ask(&mut digests);
        let news = digests.news();
        if let Some(text) = &news {
            durable::put_text(text, &self.record).unwrap();
        }
        (contents, news.is_some())
    }

    /// Lets the record say of both files what they do not hold. Whoever believes it has not read them.
    fn lie(&self) {
        let text = fs::read_to_string(&self.record).unwrap();
        let mut record = Record::parse(&text).unwrap();
        for known in record.boot.values_mut().chain(record.store.values_mut()) {
            known.digest = Digest::of(LIE);
            known.is_asked = true;
        }
        durable::put_text(&record.asked_text(LIMIT).unwrap(), &self.record).unwrap();
    }
}

/// The same inode, another content.
fn overwrite(path: &Path, bytes: &[u8]) {
    File::create(path).unwrap().write_all(bytes).unwrap();
}

const LIE: &[u8] = b"something else";

/// Which of the two files were read.
fn were_read(contents: [Content; 2]) -> [bool; 2] {
    contents.map(|content| content.digest != Digest::of(LIE))
}

#[test]
fn what_is_known_is_not_read_again() {
    let tree = Tree::new();
    let (contents, news) = tree.run("a");
    assert_eq!(contents.map(|c| c.digest), [Digest::of(b"kernel"); 2]);
    assert_eq!(contents.map(|c| c.size), [6; 2]);
    assert!(news);
    tree.lie();
    let (contents, news) = tree.run("a");
    assert_eq!(were_read(contents), [false, false]);
    assert!(!news, "nothing was read, and something would be written");
}

#[test]
fn every_boot_reads_its_partition_and_not_the_store() {
    let tree = Tree::new();
    tree.run("a");
    tree.lie();
    let (contents, news) = tree.run("b");
    assert_eq!(were_read(contents), [false, true]);
    assert!(news);
    tree.lie();
    assert_eq!(were_read(tree.run("b").0), [false, false]);
    let mut digests = tree.load("b");
    digests.forget_boot();
    assert_eq!(were_read(tree.ask(&mut digests)), [false, true]);
}

#[test]
fn a_file_that_changed_is_read() {
    let set_back = |path: &Path| {
        // Whoever sets the clock back cannot set the change time back.
        let before = fs::metadata(path).unwrap().modified().unwrap();
        overwrite(path, b"lenrek");
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(before).unwrap();
    };
    let changes: [fn(&Path); 2] = [
        |path| overwrite(path, b"kernel, longer"),
        |path| overwrite(path, b"lenrek"),
    ];
    for (number, change) in changes
        .into_iter()
        .chain([set_back as fn(&Path)])
        .enumerate()
    {
        let tree = Tree::new();
        tree.run("a");
        tree.lie();
        for path in ["nix/store/k/bzImage", "boot/EFI/lastgood/k"] {
            change(&tree.path(path));
        }
        let (contents, news) = tree.run("a");
        assert_eq!(were_read(contents), [true, true], "{number}");
        assert!(news, "{number}");
    }
}

#[test]
fn another_file_under_the_name_is_read() {
    let tree = Tree::new();
    tree.run("a");
    tree.lie();
    let before = tree.load("a").record.store;
    let (key, known) = before.into_iter().next().unwrap();
    let mut digests = tree.load("a");
    let inode = known.stamp.inode.map(|inode| inode + 1);
    let stamp = Stamp {
        inode,
        ..known.stamp
    };
    digests.record.store.insert(key, Known { stamp, ..known });
    assert_eq!(were_read(tree.ask(&mut digests)), [true, false]);
    assert_eq!(
        tree.load("a")
            .record
            .boot
            .values()
            .next()
            .unwrap()
            .stamp
            .inode,
        None,
        "FAT's are made up"
    );
}

#[test]
fn a_file_on_another_file_system_is_read() {
    let tree = Tree::new();
    tree.run("a");
    tree.lie();
    let mut digests = tree.load("a");
    for known in digests.record.boot.values_mut() {
        known.stamp.device = known.stamp.device.map(|device| device + 1);
    }
    assert_eq!(were_read(tree.ask(&mut digests)), [false, true]);
    assert_eq!(
        tree.load("a")
            .record
            .store
            .values()
            .next()
            .unwrap()
            .stamp
            .device,
        None,
        "the store's may change"
    );
}

#[test]
fn a_damaged_record_remembers_nothing() {
    let tree = Tree::new();
    tree.run("a");
    let whole = fs::read_to_string(&tree.record).unwrap();
    assert!(Record::parse(&whole).is_some());
    for at in 0..whole.len() {
        let mut flipped = whole.clone().into_bytes();
        flipped[at] ^= 1;
        for damaged in [whole.as_bytes().get(..at).unwrap(), &flipped] {
            let damaged = std::str::from_utf8(damaged).unwrap();
            assert_eq!(Record::parse(damaged), None, "{at}");
        }
    }
    tree.lie();
    overwrite(&tree.record, b"\xff\n");
    assert_eq!(were_read(tree.ask(&mut tree.load("a"))), [true, true]);
    fs::remove_file(&tree.record).unwrap();
    assert_eq!(were_read(tree.ask(&mut tree.load("a"))), [true, true]);
}

#[test]
fn what_is_not_asked_for_is_no_news_and_goes_with_the_next() {
    let tree = Tree::new();
    tree.run("a");
    let mut digests = tree.load("a");
    digests.on_boot(&tree.path("boot/EFI/lastgood/k")).unwrap();
    assert_eq!(digests.news(), None);
    durable::put_text("initrd", &tree.path("boot/EFI/lastgood/i")).unwrap();
    digests.on_boot(&tree.path("boot/EFI/lastgood/i")).unwrap();
    durable::put_text(&digests.news().unwrap(), &tree.record).unwrap();
    let kept = tree.load("a").record;
    assert_eq!((kept.boot.len(), kept.store.len()), (2, 0));
}

#[test]
fn what_was_copied_is_known() {
    let tree = Tree::new();
    let mut digests = tree.load("a");
    for (path, bytes) in [
        ("boot/EFI/lastgood/k", b"lenrek"),
        ("boot/EFI/lastgood/gone", b"kernel"),
    ] {
        let content = Content::of(&mut &bytes[..]).unwrap();
        digests.wrote(&tree.path(path), &content);
    }
    let path = tree.path("boot/EFI/lastgood/k");
    // The bytes are what was said, without reading them.
    let known = digests.on_boot(&path).unwrap();
    assert_eq!(known.digest, Digest::of(b"lenrek"));
    assert!(
        digests
            .on_boot(&tree.path("boot/EFI/lastgood/gone"))
            .is_err()
    );
    assert!(digests.news().is_some());
}

#[test]
fn a_kernel_is_looked_at_once_and_what_is_none_every_time() {
    let tree = Tree::new();
    let path = tree.path("nix/store/k/bzImage");
    let mut digests = tree.load("a");
    assert!(digests.check_kernel(&path).is_err());
    assert!(digests.check_kernel(&path).is_err());
    overwrite(&path, &kernel::tests::image(0x8664, 10, 64));
    let mut digests = tree.load("a");
    digests.check_kernel(&path).unwrap();
    durable::put_text(&digests.news().unwrap(), &tree.record).unwrap();
    let mut digests = tree.load("a");
    let key = key(&digests.root, &path);
    assert!(digests.record.store[key.as_ref()].is_started);
    digests.check_kernel(&path).unwrap();
    assert_eq!(digests.news(), None);
}

#[test]
fn what_is_no_file_cannot_be_had() {
    let tree = Tree::new();
    let fifo = tree.path("boot/fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let mut digests = tree.load("a");
    for path in [fifo, tree.path("boot"), tree.path("gone")] {
        assert!(digests.on_boot(&path).is_err(), "{}", path.display());
    }
}

/// The same file under the same name: by its stamp, and not by what is on the way to it.
#[test]
fn a_store_file_is_known_by_name_and_stamp() {
    let tree = Tree::new();
    tree.run("first");
    let path = tree.path("nix/store/k/bzImage");
    let knows = || tree.load("second").knows_in_store(&path);
    assert!(knows());
    let other = tree.path("nix/store/k/other");
    assert!(!tree.load("second").knows_in_store(&other));
    fs::rename(&path, &other).unwrap();
    assert!(!knows(), "gone");
    durable::put_text("kernel", &path).unwrap();
    assert!(!knows(), "another file with the same bytes");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(tree.path("boot/EFI/lastgood/k"), &path).unwrap();
    assert!(!knows(), "a link to another file");
}
